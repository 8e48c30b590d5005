//! [`Commit`]: the sealed content of one transaction of a worker, a value.

use std::ops::Range;
use std::sync::Arc;

use tanist_cluster::{Millis, Offset, Partition};

use super::{Store, StoreError, TopicPartition};
use crate::record::Headers;
use crate::table::Replay;

/// A topic of the app, by its place in [`Commit::topics`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub u16);

/// A piece of [`Commit::bytes`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

/// A record to be produced. Its bytes are in [`Commit::bytes`].
#[derive(Clone, Debug)]
pub struct CommitRecord {
    /// Where to.
    pub topic: TopicId,
    /// Which partition of it: decided by us, so that the client library's partitioner has no say.
    pub partition: Partition,
    /// The key, if it has one.
    pub key: Option<Span>,
    /// The value; `None` is a tombstone.
    pub value: Option<Span>,
    /// The timestamp; `None` leaves it to the producer.
    pub timestamp: Option<Millis>,
    /// The headers, if it has any.
    pub headers: Option<Box<Headers>>,
}

impl CommitRecord {
    /// The bytes of key, value and headers.
    pub fn size_bytes(&self) -> usize {
        let parts = [self.key, self.value].into_iter().flatten();
        let parts: usize = parts.map(|span| (span.end - span.start) as usize).sum();
        parts + self.headers.as_ref().map_or(0, |it| it.size_bytes())
    }
}

/// Input offsets for the consumer group, for Kafka's tools, and the truth for shards without tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetCommit {
    /// The input partition.
    pub partition: TopicPartition,
    /// The smallest unfinished offset (S6).
    pub offset: Offset,
    /// What the shard has to remember beside it; empty if nothing.
    pub metadata: String,
}

/// The changelog records of one shard in a commit, and the store that they go into once it has succeeded.
pub struct StateCommit {
    /// The shard's store.
    pub store: Arc<dyn Store>,
    /// Where the store stood before, and how its records are read: the same function as in a restore (S4).
    pub replay: Replay,
    /// For each changelog that has records here: its place in `replay`, and its records, contiguous in
    /// [`Commit::records`].
    pub changelogs: Vec<(usize, Range<usize>)>,
    /// Why the store did not take it, once the commit has been applied.
    pub failed: Option<StoreError>,
}

/// The sealed content of one transaction of a worker.
pub struct Commit {
    /// Names of the topics that [`CommitRecord::topic`] counts.
    pub topics: Arc<[Arc<str>]>,
    /// Outputs and changelog records. Records of one partition are produced in this order.
    pub records: Vec<CommitRecord>,
    /// The bytes of all keys and values.
    pub bytes: Vec<u8>,
    /// The consumer group that `offsets` belong to: the app's id.
    pub group: Arc<str>,
    /// Input offsets.
    pub offsets: Vec<OffsetCommit>,
    /// What goes into the stores.
    pub states: Vec<StateCommit>,
}

impl Commit {
    /// The records (indices into [`Commit::records`], ascending) whose offsets [`Commit::apply`] wants to know: the
    /// last of each changelog.
    pub fn tracked(&self) -> Vec<usize> {
        let mut tracked: Vec<usize> = self
            .states
            .iter()
            .flat_map(|state| state.changelogs.iter().map(|(_, records)| records.end - 1))
            .collect();
        tracked.sort_unstable();
        tracked
    }

    /// Why this commit failed, when one of the records `suspects` was refused, for its size or for something else: brokers
    /// refuse whole batches, and not all of them say for which record. `suspects` has one at least.
    pub fn refused(
        &self,
        suspects: &[usize],
        is_too_large: bool,
        reason: impl Into<String>,
    ) -> CommitError {
        let suspects = suspects.iter().copied();
        let record = if is_too_large {
            suspects.max_by_key(|index| self.records[*index].size_bytes())
        } else {
            suspects.min_by_key(|index| self.records[*index].key.is_some())
        };
        let record = record.unwrap_or_default();
        let CommitRecord {
            topic, partition, ..
        } = &self.records[record];
        let topic = self.topics[usize::from(topic.0)].clone();
        CommitError::Refused {
            record,
            partition: TopicPartition::new(topic, *partition),
            reason: reason.into(),
        }
    }

    /// Writes the committed records into the stores, each shard's in one batch with its position (S3). `offset_of`
    /// knows the offsets of the [`Commit::tracked`] records. To be called once, after the transaction was committed. What
    /// a store could not take stands in its [`StateCommit::failed`]: that shard is broken here, the others go on (S5).
    pub fn apply(&mut self, offset_of: impl Fn(usize) -> Offset) {
        for state in &mut self.states {
            state.failed = state.apply(&self.records, &self.bytes, &offset_of).err();
        }
    }
}

impl StateCommit {
    fn apply(
        &mut self,
        records: &[CommitRecord],
        bytes: &[u8],
        offset_of: impl Fn(usize) -> Offset,
    ) -> Result<(), StoreError> {
        for (changelog, range) in &self.changelogs {
            for record in &records[range.clone()] {
                let key = record.key.map_or(&[][..], |span| span.of(bytes));
                let value = record.value.map(|span| span.of(bytes));
                self.replay.record(*changelog, key, value)?;
            }
            self.replay
                .written(*changelog, offset_of(range.end - 1).next())?;
        }
        self.store.apply(&self.replay.take())
    }
}

/// Why a commit did not come about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// It did not happen, and never will: all of it was rolled back.
    #[error("the transaction was aborted: {0}")]
    Aborted(String),
    /// As [`CommitError::Aborted`], because of a record that will be refused whenever it comes again.
    #[error("a record for {partition} was refused: {reason}")]
    Refused {
        /// Which one: its place in [`Commit::records`].
        record: usize,
        /// Where it was to go.
        partition: TopicPartition,
        /// Why it was refused.
        reason: String,
    },
    /// Whether it happened is not known. It is decided once the id has a new log ([`super::Broker::log`]): what can be
    /// read then is the truth.
    #[error("the outcome of the transaction is not known: {0}")]
    Unknown(String),
    /// Another member has taken over the transactional id: nothing may be written any more (S1).
    #[error("fenced: another node has taken over ({0})")]
    Fenced(String),
}
