//! [`Beats`]: the heartbeats of this node and of all others, by way of the topic `{app}.heartbeat`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tanist_actors::port::{
    Broker, BrokerError, Clock, LocalPortFuture, LogError, Source, TopicPartition,
};
use tanist_cluster::heartbeat::{Heartbeat, Report};
use tanist_cluster::{MemberId, Offset};
use tokio::sync::Notify;

use super::control::internal_topic;
use crate::app::heartbeat_topic;

/// Heartbeats that are pulled at a time.
const BATCH_RECORDS: usize = 500;
/// So many may wait to be acknowledged; while the broker is away no more are made. Fewer than prove that a member lives
/// whose process is gone.
const MAX_UNDER_WAY: usize = 2;
/// So many of one's own are remembered until they come back.
const MAX_SENT: usize = 64;
/// Before the topic is opened anew that could not be read.
const PAUSE: Duration = Duration::from_secs(1);
/// How much of it is kept. By size and not by time: that goes by timestamps, and a node whose clock is an hour late
/// would have its heartbeats deleted as soon as they are there. Some twenty minutes of three nodes.
const KEPT_BYTES: &str = "4194304";
/// Kafka keeps whole segments; it has none that are smaller.
const SEGMENT_BYTES: &str = "1048576";

type Opened = Result<Box<dyn Source + Send>, OpenError>;

/// Why heartbeats cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Log(#[from] LogError),
}

/// See the module.
pub(super) struct Beats {
    broker: Arc<dyn Broker>,
    clock: Arc<dyn Clock>,
    partition: TopicPartition,
    ready: Arc<Notify>,
    /// None while it is being opened anew.
    source: Option<Box<dyn Source + Send>>,
    opening: Option<LocalPortFuture<'static, Opened>>,
    under_way: FuturesUnordered<LocalPortFuture<'static, Result<Offset, BrokerError>>>,
    me: Option<MemberId>,
    next: u64,
    sent: VecDeque<(u64, Duration)>,
    /// One was not taken.
    lost: bool,
}

impl Beats {
    /// Opens the topic, made if it does not exist, at its end.
    pub(super) async fn open(
        broker: Arc<dyn Broker>,
        clock: Arc<dyn Clock>,
        app: &str,
    ) -> Result<Self, OpenError> {
        let config = [
            ("cleanup.policy", "delete"),
            ("retention.ms", "-1"),
            ("retention.bytes", KEPT_BYTES),
            ("segment.bytes", SEGMENT_BYTES),
        ];
        let config = config.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let partition = internal_topic(&*broker, heartbeat_topic(app), config.into()).await?;
        let ready = Arc::new(Notify::new());
        let source = at_end(broker.clone(), partition.clone(), ready.clone()).await?;
        Ok(Self {
            broker,
            clock,
            partition,
            ready,
            source: Some(source),
            opening: None,
            under_way: FuturesUnordered::new(),
            me: None,
            next: 0,
            sent: VecDeque::new(),
            lost: false,
        })
    }

    pub(super) fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// From now on they are this member's.
    pub(super) fn begin(&mut self, me: MemberId) {
        self.me = Some(me);
        self.next = 0;
        self.sent.clear();
    }

    /// Sends one, and gives it back. `None` if too many are under way, so that nothing was sent.
    pub(super) fn send(&mut self, leaving: bool, report: Option<Report>) -> Option<Heartbeat> {
        let member = self.me.filter(|_| self.under_way.len() < MAX_UNDER_WAY)?;
        let beat = self.next;
        self.next += 1;
        if self.sent.len() == MAX_SENT {
            self.sent.pop_front();
        }
        self.sent.push_back((beat, self.clock.elapsed()));
        let heartbeat = Heartbeat {
            member,
            beat,
            leaving,
            report,
        };
        let (broker, partition) = (self.broker.clone(), self.partition.clone());
        let (key, value) = (heartbeat.key(), heartbeat.encode());
        self.under_way.push(Box::pin(async move {
            broker
                .append(&partition, key.as_bytes(), Some(&value))
                .await
        }));
        Some(heartbeat)
    }

    /// Whether one was lost since this was asked for the last time.
    pub(super) fn has_lost(&mut self) -> bool {
        std::mem::take(&mut self.lost)
    }

    /// When one's own heartbeat, which has come back, was sent.
    pub(super) fn sent_at(&mut self, beat: u64) -> Option<Duration> {
        while self.sent.front().is_some_and(|(sent, _)| *sent < beat) {
            self.sent.pop_front();
        }
        let found = self.sent.front().copied();
        let (_, at) = found.filter(|(sent, _)| *sent == beat)?;
        Some(at)
    }

    /// The next heartbeats, of whomever. Sees to what is under way.
    pub(super) async fn heard(&mut self) -> Vec<Heartbeat> {
        loop {
            let heard = self.pull();
            if !heard.is_empty() {
                return heard;
            }
            let opened = async {
                match &mut self.opening {
                    Some(opening) => opening.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.ready.notified() => {}
                Some(sent) = self.under_way.next() => {
                    if let Err(error) = sent {
                        // Whether a broker is there is said elsewhere.
                        tracing::debug!("a heartbeat was not taken: {error}");
                        self.lost = true;
                    }
                }
                opened = opened => {
                    self.opening = None;
                    match opened {
                        Ok(source) => self.source = Some(source),
                        Err(error) => self.reopen(&error.to_string()),
                    }
                }
            }
        }
    }

    fn pull(&mut self) -> Vec<Heartbeat> {
        let Some(source) = &mut self.source else {
            return Vec::new();
        };
        let batch = match source.pull(BATCH_RECORDS) {
            Ok(pulled) => pulled.batch,
            Err(error) => {
                // What to do is for logs that have to be kept: here it goes on with what comes.
                let why = match error {
                    LogError::OutOfRange { partition, offset } => {
                        format!("{partition} has no offset {offset} any more")
                    }
                    error => error.to_string(),
                };
                self.reopen(&why);
                return Vec::new();
            }
        };
        let Some(batch) = batch else {
            return Vec::new();
        };
        let records = (0..batch.len()).map(|index| batch.get(index));
        let heard = records.filter_map(|record| {
            let (key, value) = (record.key.unwrap_or_default(), record.value?);
            let heartbeat = Heartbeat::decode(key, value);
            heartbeat
                .inspect_err(|error| tracing::debug!("a heartbeat that cannot be read: {error}"))
                .ok()
        });
        heard.collect()
    }

    /// What was not read meanwhile is past: it begins at the end.
    fn reopen(&mut self, error: &str) {
        tracing::warn!("cannot read heartbeats ({error}); trying again");
        // Two at a time cannot read it.
        self.source = None;
        let pause = self.clock.sleep(PAUSE);
        let open = at_end(
            self.broker.clone(),
            self.partition.clone(),
            self.ready.clone(),
        );
        self.opening = Some(Box::pin(async move {
            pause.await;
            open.await
        }));
    }
}

async fn at_end(broker: Arc<dyn Broker>, partition: TopicPartition, ready: Arc<Notify>) -> Opened {
    let bounds = broker.offsets(std::slice::from_ref(&partition)).await?;
    let end = bounds.get(&partition).map_or(Offset(0), |it| it.end);
    Ok(broker.open(&partition, end, ready)?)
}
