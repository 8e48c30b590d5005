//! The log as a value: every call is a function of what is stored, of its arguments and of the time that it is told. No
//! clock, no thread, no socket; nothing whose order is not sorted reaches a result.
//!
//! `topic` → `partition` → `batch` hold the records, `producer` and `transaction` decide who may write them, `group`
//! keeps the offsets, `compaction` forgets.

mod batch;
mod compaction;
mod coordinator;
mod group;
mod log;
mod partition;
mod producer;
mod topic;
mod transaction;
mod upkeep;

use std::collections::BTreeMap;

use crate::faults::Held;

pub(crate) use batch::{Incoming, LEADER_EPOCH, wrap_sequence};
pub use batch::{LogRecord, NewRecord};
use group::Group;
pub(crate) use partition::RawSlice;
pub use partition::{Aborted, Bounds, Fetched};
use topic::Topic;
pub use topic::{Cleanup, TopicConfig, TopicDescription};
use transaction::Transaction;
pub use transaction::{Outcome, TransactionState};
use upkeep::Upkeep;

/// A moment, in milliseconds since 1970 or since whatever the caller's time counts from; or a span of so many milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(pub i64);

impl Millis {
    /// The moment that is `span` later.
    #[must_use]
    pub fn plus(self, span: Self) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

/// A producer in one of its epochs. A newer epoch shuts out the older ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Producer {
    /// The producer id.
    pub id: i64,
    /// The epoch.
    pub epoch: i16,
}

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: String,
    /// The partition's number, from 0 on.
    pub partition: i32,
}

impl TopicPartition {
    /// Names a partition.
    pub fn new(topic: impl Into<String>, partition: i32) -> Self {
        Self {
            topic: topic.into(),
            partition,
        }
    }
}

/// An offset that a group committed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Committed {
    /// The next offset to be read.
    pub offset: i64,
    /// The leader epoch of the record before, if the committer knew it.
    pub leader_epoch: Option<i32>,
    /// Whatever the committer noted.
    pub metadata: Option<String>,
}

/// What a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Everything that was appended.
    ReadUncommitted,
    /// What was committed, up to the last stable offset.
    ReadCommitted,
}

/// Which offset of a partition is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The first one that can be read.
    Earliest,
    /// The end; for read_committed the last stable offset.
    Latest,
    /// Of the record with the largest timestamp.
    MaxTimestamp,
    /// Of the first record with this timestamp or a later one.
    Timestamp(Millis),
}

/// Settings of the broker. The defaults are Kafka's, except for `compaction_min_bytes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `auto.create.topics.enable`.
    pub auto_create_topics: bool,
    /// `num.partitions`: of a topic that is created without a count.
    pub default_partitions: i32,
    /// `transaction.max.timeout.ms`.
    pub max_transaction_timeout: Millis,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`: how often timed-out transactions are looked for.
    pub transaction_check_interval: Millis,
    /// `log.retention.check.interval.ms`.
    pub retention_check_interval: Millis,
    /// How often it is looked whether a partition is to be compacted.
    pub compaction_check_interval: Millis,
    /// A partition is compacted once this much was appended since the last time, and as much as that time left over.
    pub compaction_min_bytes: usize,
    /// `producer.id.expiration.ms`: idle producers are forgotten.
    pub producer_expiration: Millis,
    /// `offsets.retention.minutes`: an offset of a group without members is forgotten so long after its last commit.
    pub offsets_retention: Millis,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            auto_create_topics: true,
            default_partitions: 1,
            max_transaction_timeout: Millis(15 * 60 * 1000),
            transaction_check_interval: Millis(10_000),
            retention_check_interval: Millis(5 * 60 * 1000),
            compaction_check_interval: Millis(15_000),
            compaction_min_bytes: 64 * 1024 * 1024,
            producer_expiration: Millis(24 * 60 * 60 * 1000),
            offsets_retention: Millis(7 * 24 * 60 * 60 * 1000),
        }
    }
}

/// Everything that the broker holds.
#[derive(Debug)]
pub(crate) struct Core {
    settings: Settings,
    topics: BTreeMap<String, Topic>,
    topics_created: u128,
    transactions: BTreeMap<String, Transaction>,
    /// Producer id to transactional id.
    owners: BTreeMap<i64, String>,
    producers_created: i64,
    groups: BTreeMap<String, Group>,
    commits_written: u64,
    /// By order of a test.
    held_markers: Held,
    upkeep: Upkeep,
    /// Grows with every change that a waiting reader might wait for.
    version: u64,
}

impl Core {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            topics: BTreeMap::new(),
            topics_created: 0,
            transactions: BTreeMap::new(),
            owners: BTreeMap::new(),
            producers_created: 0,
            groups: BTreeMap::new(),
            commits_written: 0,
            held_markers: Held::default(),
            upkeep: Upkeep::default(),
            version: 0,
        }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Calls with the markers of transactions that end meanwhile held back.
    pub(crate) fn with_markers_held<R>(
        &mut self,
        held: Held,
        call: impl FnOnce(&mut Self) -> R,
    ) -> R {
        self.held_markers = held;
        let result = call(self);
        self.held_markers = Held::default();
        result
    }
}

#[cfg(test)]
mod tests;
