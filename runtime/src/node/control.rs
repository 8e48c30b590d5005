//! [`ControlLog`]: the control log as this node has read it, and writes to it.

use std::sync::Arc;

use tanist_actors::port::{Broker, BrokerError, LogError, Source, TopicPartition, TopicSpec};
use tanist_cluster::codec::DecodeError;
use tanist_cluster::control::{Entry, Key, Record};
use tanist_cluster::view::{View, WentBack};
use tanist_cluster::{Offset, Partition, garbage};
use tokio::sync::Notify;

/// Records that are pulled at a time.
const BATCH_RECORDS: usize = 500;

/// Why the control log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The broker.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// Its partition.
    #[error(transparent)]
    Log(#[from] LogError),
    /// One of its records.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// It is another one now.
    #[error(transparent)]
    WentBack(#[from] WentBack),
}

/// See the module.
pub(crate) struct ControlLog {
    broker: Arc<dyn Broker>,
    partition: TopicPartition,
    source: Box<dyn Source + Send>,
    ready: Arc<Notify>,
    view: View,
    read_to: Offset,
}

impl ControlLog {
    /// Opens `{app}.control`, made if it does not exist, and reads it to its end.
    pub(crate) async fn open(broker: Arc<dyn Broker>, app: &str) -> Result<Self, ControlError> {
        let topic: Arc<str> = format!("{app}.control").into();
        let spec = TopicSpec {
            name: topic.clone(),
            partitions: 1,
            replicas: None,
            config: [("cleanup.policy".to_owned(), "compact".to_owned())].into(),
        };
        if broker
            .topics(std::slice::from_ref(&topic))
            .await?
            .is_empty()
        {
            broker.create_topics(&[spec]).await?;
        }
        let partition = TopicPartition::new(topic, Partition(0));
        let bounds = broker.offsets(std::slice::from_ref(&partition)).await?;
        let bounds = bounds.get(&partition).cloned().unwrap_or_default();
        let ready = Arc::new(Notify::new());
        let source = broker.open(&partition, bounds.start, ready.clone())?;
        let mut log = Self {
            broker,
            partition,
            source,
            ready,
            view: View::default(),
            read_to: bounds.start,
        };
        log.read_to(bounds.end).await?;
        Ok(log)
    }

    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    /// Reads on to where it ends now.
    pub(crate) async fn refresh(&mut self) -> Result<(), ControlError> {
        let bounds = self
            .broker
            .offsets(std::slice::from_ref(&self.partition))
            .await?;
        let bounds = bounds.get(&self.partition).cloned().unwrap_or_default();
        self.read_to(bounds.end).await
    }

    /// Appends a record, and reads on to it.
    pub(crate) async fn write(&mut self, record: &Record) -> Result<Offset, ControlError> {
        let key = record.key().to_string();
        let offset = self.append(&key, Some(&record.encode())).await?;
        self.read_to(offset.next()).await?;
        Ok(offset)
    }

    /// Clears away what the view does not need any more.
    pub(crate) async fn sweep(&mut self) -> Result<(), ControlError> {
        let superseded: Vec<Key> = garbage(&self.view);
        for key in superseded {
            self.append(&key.to_string(), None).await?;
        }
        Ok(())
    }

    async fn append(&self, key: &str, value: Option<&[u8]>) -> Result<Offset, BrokerError> {
        self.broker
            .append(&self.partition, key.as_bytes(), value)
            .await
    }

    /// Until something new has been read.
    pub(crate) async fn changed(&mut self) -> Result<(), ControlError> {
        while !self.pull()? {
            self.ready.notified().await;
        }
        Ok(())
    }

    async fn read_to(&mut self, end: Offset) -> Result<(), ControlError> {
        while self.read_to < end {
            if !self.pull()? && self.read_to < end {
                self.ready.notified().await;
            }
        }
        Ok(())
    }

    /// Takes in what there is now; true if there were records.
    fn pull(&mut self) -> Result<bool, ControlError> {
        let pulled = self.source.pull(BATCH_RECORDS)?;
        let any = pulled.batch.is_some();
        if let Some(batch) = pulled.batch {
            for index in 0..batch.len() {
                let record = batch.get(index);
                let entry = Entry::decode(record.key.unwrap_or_default(), record.value)?;
                if let Some(entry) = entry {
                    let applied = self.view.apply(record.offset, entry)?;
                    tracing::debug!(offset = %record.offset, ?applied, "control log");
                }
                self.read_to = record.offset.next();
            }
        }
        if let Some(reached) = pulled.reached {
            self.read_to = self.read_to.max(reached);
        }
        Ok(any)
    }
}
