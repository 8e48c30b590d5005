//! [`ControlLog`]: the control log as this node has read it; and [`Writes`]: what it has to say in it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tanist_actors::port::{
    Broker, BrokerError, Clock, LocalPortFuture, LogError, Source, TopicPartition, TopicSpec,
};
use tanist_cluster::codec::DecodeError;
use tanist_cluster::control::{Entry, Key, Record};
use tanist_cluster::view::{Applied, View, WentBack};
use tanist_cluster::{Offset, Partition};
use tokio::sync::Notify;

use crate::app::control_topic;

/// Records that are pulled at a time.
const BATCH_RECORDS: usize = 500;
/// A plan for ten thousand shards has up to a megabyte, which is as much as Kafka takes of a record by default. And Kafka
/// compacts no segment that is still written to: by default one is until it has a gigabyte or is a week old, and
/// whoever joins would read all of it. No segment may be smaller than a record.
const CONFIG: [(&str, &str); 4] = [
    ("cleanup.policy", "compact"),
    ("max.message.bytes", "8388608"),
    ("segment.bytes", "8388608"),
    ("segment.ms", "3600000"),
];
/// Before a record is written again whose fate is unknown.
const PAUSE: Duration = Duration::from_millis(100);

/// Why the control log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The broker.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// Its partition.
    #[error("{}", of_log(.0))]
    Log(#[from] LogError),
    /// One of its records.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// It is another one now.
    #[error(transparent)]
    WentBack(#[from] WentBack),
}

/// What it means that the partition cannot be read.
fn of_log(error: &LogError) -> String {
    match error {
        LogError::OutOfRange { partition, .. } | LogError::UnknownPartition(partition) => format!(
            "{partition}, in which the nodes of this app agree who does what, is not there as it was: the broker is \
             another one, or has lost its data. If it is the embedded broker, which forgets all when it ends, stop every \
             node, move their data directories away, and start them again; else bring its topics back, or begin anew \
             under another app id"
        ),
        LogError::Broken { .. } => error.to_string(),
    }
}

/// See the module.
pub(super) struct ControlLog {
    partition: TopicPartition,
    source: Box<dyn Source + Send>,
    ready: Arc<Notify>,
    view: Arc<View>,
    /// Beyond the view, where there are only transaction markers or what was cleared away.
    read_to: Offset,
}

impl ControlLog {
    /// Opens `{app}.control`, made if it does not exist, and reads it to its end.
    pub(super) async fn open(broker: &dyn Broker, app: &str) -> Result<Self, ControlError> {
        let config = CONFIG.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let partition = internal_topic(broker, control_topic(app), config.into()).await?;
        let bounds = broker.offsets(std::slice::from_ref(&partition)).await?;
        let bounds = bounds.get(&partition).cloned().unwrap_or_default();
        let ready = Arc::new(Notify::new());
        let source = broker.open(&partition, bounds.start, ready.clone())?;
        let mut log = Self {
            partition,
            source,
            ready,
            view: Arc::default(),
            read_to: bounds.start,
        };
        while log.read_to < bounds.end {
            if log.pull()?.is_none() && log.read_to < bounds.end {
                log.ready.notified().await;
            }
        }
        Ok(log)
    }

    pub(super) fn view(&self) -> &Arc<View> {
        &self.view
    }

    pub(super) fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// Until something new has been read: what that was.
    pub(super) async fn changed(&mut self) -> Result<Vec<Applied>, ControlError> {
        loop {
            if let Some(applied) = self.pull()? {
                return Ok(applied);
            }
            self.ready.notified().await;
        }
    }

    /// Takes in what there is now, if there is anything.
    fn pull(&mut self) -> Result<Option<Vec<Applied>>, ControlError> {
        let pulled = self.source.pull(BATCH_RECORDS)?;
        let mut all = None;
        if let Some(batch) = pulled.batch {
            let all = all.insert(Vec::with_capacity(batch.len()));
            let view = Arc::make_mut(&mut self.view);
            for index in 0..batch.len() {
                let record = batch.get(index);
                let entry = match Entry::decode(record.key.unwrap_or_default(), record.value) {
                    // Every node leaves it out, so that their views stay equal (S9).
                    Err(error @ DecodeError::Foreign { .. }) => {
                        let (topic, offset) = (&self.partition.topic, record.offset);
                        tracing::warn!(
                            "{error}; it is left out: keep other programs from writing to {topic} (offset {offset})"
                        );
                        None
                    }
                    entry => entry?,
                };
                if let Some(entry) = entry {
                    let applied = view.apply(record.offset, entry)?;
                    tracing::debug!(offset = %record.offset, ?applied, "control log");
                    all.push(applied);
                }
                self.read_to = record.offset.next();
            }
        }
        if let Some(reached) = pulled.reached {
            self.read_to = self.read_to.max(reached);
        }
        Ok(all)
    }
}

/// The one partition of a topic of the nodes' own, made if it does not exist.
pub(super) async fn internal_topic(
    broker: &dyn Broker,
    name: String,
    config: std::collections::BTreeMap<String, String>,
) -> Result<TopicPartition, BrokerError> {
    let name: Arc<str> = name.into();
    let existing = broker.topics(std::slice::from_ref(&name)).await?;
    if existing.is_empty() {
        let spec = TopicSpec {
            name: name.clone(),
            partitions: 1,
            replicas: None,
            config,
        };
        broker.create_topics(&[spec]).await?;
    }
    Ok(TopicPartition::new(name, Partition(0)))
}

/// What became of a write.
pub(super) type Written = (Record, Result<Offset, BrokerError>);

/// Records on their way to the control log, all at once: none depends on another, but for a `Leave`, which is given
/// when there is nothing else.
pub(super) struct Writes {
    broker: Arc<dyn Broker>,
    clock: Arc<dyn Clock>,
    partition: TopicPartition,
    under_way: FuturesUnordered<LocalPortFuture<'static, Written>>,
    sweeping: Option<LocalPortFuture<'static, Result<(), BrokerError>>>,
}

impl Writes {
    pub(super) fn new(
        broker: Arc<dyn Broker>,
        clock: Arc<dyn Clock>,
        partition: TopicPartition,
    ) -> Self {
        Self {
            broker,
            clock,
            partition,
            under_way: FuturesUnordered::new(),
            sweeping: None,
        }
    }

    pub(super) fn write(&mut self, record: Record) {
        let (broker, partition) = (self.broker.clone(), self.partition.clone());
        self.under_way.push(Box::pin(async move {
            let written = append(&*broker, &partition, &record).await;
            (record, written)
        }));
    }

    /// The same after a pause.
    pub(super) fn repeat(&mut self, record: Record) {
        let (broker, partition) = (self.broker.clone(), self.partition.clone());
        let pause = self.clock.sleep(PAUSE);
        self.under_way.push(Box::pin(async move {
            pause.await;
            let written = append(&*broker, &partition, &record).await;
            (record, written)
        }));
    }

    /// Clears `keys` away, one by one in this order; another time if it is at it already.
    pub(super) fn sweep(&mut self, keys: Vec<Key>) {
        if keys.is_empty() || self.sweeping.is_some() {
            return;
        }
        let (broker, partition) = (self.broker.clone(), self.partition.clone());
        self.sweeping = Some(Box::pin(async move {
            for key in keys {
                let key = key.to_string();
                broker.append(&partition, key.as_bytes(), None).await?;
            }
            Ok(())
        }));
    }

    /// What became of one of them. Never done if there are none.
    pub(super) async fn next(&mut self) -> Written {
        loop {
            let sweep = async {
                match &mut self.sweeping {
                    Some(sweeping) => sweeping.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some(written) = self.under_way.next() => return written,
                swept = sweep => {
                    self.sweeping = None;
                    if let Err(error) = swept {
                        tracing::debug!("the control log is not cleared away yet: {error}");
                    }
                }
                else => std::future::pending().await,
            }
        }
    }
}

pub(super) async fn append(
    broker: &dyn Broker,
    partition: &TopicPartition,
    record: &Record,
) -> Result<Offset, BrokerError> {
    let (key, value) = (record.key().to_string(), record.encode());
    broker.append(partition, key.as_bytes(), Some(&value)).await
}
