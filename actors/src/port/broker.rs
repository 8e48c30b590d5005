//! [`Broker`]: what a node asks of the broker beside reading and committing.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tanist_cluster::{Offset, TransactionalId};
use tokio::sync::Notify;

use super::{Log, LogError, PortFuture, Source, TopicPartition};

/// What a topic is like on the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    /// How many partitions it has.
    pub partitions: i32,
    /// Which topic of that name it is; `None` if the broker does not say (Kafka before 2.8).
    pub id: Option<TopicUuid>,
}

/// What tells a topic from one of the same name that was deleted: Kafka's topic id, as the broker writes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TopicUuid(pub Arc<str>);

impl fmt::Display for TopicUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Settings of a topic, by Kafka's names, `cleanup.policy` and the like.
pub type TopicSettings = BTreeMap<String, String>;

/// A topic to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: Arc<str>,
    /// How many partitions.
    pub partitions: i32,
    /// How many replicas; `None` is the broker's default.
    pub replicas: Option<i32>,
    /// Topic settings by Kafka's names, `cleanup.policy` and the like.
    pub config: BTreeMap<String, String>,
}

/// An offset that a consumer group has committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The offset.
    pub offset: Offset,
    /// What stands beside it.
    pub metadata: String,
}

/// Node-wide access to the broker. Every call waits for the broker, with a limit of the implementation's.
pub trait Broker: Send + Sync + 'static {
    /// Those of `names` that exist.
    fn topics<'a>(
        &'a self,
        names: &'a [Arc<str>],
    ) -> PortFuture<'a, Result<BTreeMap<Arc<str>, TopicInfo>, BrokerError>>;

    /// The settings of those of `names` that exist, by Kafka's names. What the broker does not tell to this app is missing.
    fn topic_settings<'a>(
        &'a self,
        names: &'a [Arc<str>],
    ) -> PortFuture<'a, Result<BTreeMap<Arc<str>, TopicSettings>, BrokerError>>;

    /// Creates what does not exist yet; that a topic exists is no error.
    fn create_topics<'a>(
        &'a self,
        topics: &'a [TopicSpec],
    ) -> PortFuture<'a, Result<(), BrokerError>>;

    /// The first offset that each partition still has, and the read_committed end (the last stable offset).
    fn offsets<'a>(
        &'a self,
        partitions: &'a [TopicPartition],
    ) -> PortFuture<'a, Result<BTreeMap<TopicPartition, std::ops::Range<Offset>>, BrokerError>>;

    /// Where each partition ends, whatever its transactions come to (the high watermark). Whoever has read up to there
    /// has seen all that was decided before the question, even where its markers were still on their way then.
    fn high_watermarks<'a>(
        &'a self,
        partitions: &'a [TopicPartition],
    ) -> PortFuture<'a, Result<BTreeMap<TopicPartition, Offset>, BrokerError>>;

    /// What `group` has committed, stable (no transaction pending on it), where it has.
    fn committed<'a>(
        &'a self,
        group: &'a str,
        partitions: &'a [TopicPartition],
    ) -> PortFuture<'a, Result<BTreeMap<TopicPartition, CommittedOffset>, BrokerError>>;

    /// Deletes the records below these offsets, for ever. If it fails, some of them may be gone.
    fn delete_records<'a>(
        &'a self,
        below: &'a [(TopicPartition, Offset)],
    ) -> PortFuture<'a, Result<(), BrokerError>>;

    /// Fences the producers of `ids`: when it returns, their open transactions are aborted and they can write nothing
    /// more (S1). All at once, in parallel.
    fn fence<'a>(&'a self, ids: &'a [TransactionalId]) -> PortFuture<'a, Result<(), BrokerError>>;

    /// Appends a record outside of any transaction, acknowledged by all replicas; its offset.
    fn append<'a>(
        &'a self,
        partition: &'a TopicPartition,
        key: &'a [u8],
        value: Option<&'a [u8]>,
    ) -> PortFuture<'a, Result<Offset, BrokerError>>;

    /// Reads a partition for the node itself (the control log).
    fn open(
        &self,
        partition: &TopicPartition,
        from: Offset,
        ready: Arc<Notify>,
    ) -> Result<Box<dyn Source + Send>, LogError>;

    /// The log of a worker; called on the worker's thread. Its producer is initialised under `id`, which fences and
    /// rolls back what a predecessor of that id left open.
    fn log(&self, id: &TransactionalId)
    -> PortFuture<'_, Result<Box<dyn LogBuilder>, BrokerError>>;
}

/// A worker's [`Log`] that has been prepared and can be sent to the worker's thread.
pub trait LogBuilder: Send {
    /// Makes it usable on this thread.
    fn build(self: Box<Self>) -> Box<dyn Log>;
}

/// Why the broker did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// No broker answers.
    #[error("no Kafka broker answers at {address}: {reason}")]
    Unreachable {
        /// The bootstrap addresses.
        address: String,
        /// What the client said.
        reason: String,
    },
    /// The broker answered with an error that a repetition will not change.
    #[error("the broker refused to {what}: {reason}")]
    Refused {
        /// What was asked for.
        what: String,
        /// The broker's word.
        reason: String,
    },
}
