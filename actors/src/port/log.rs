//! [`Log`]: one worker's way to read partitions and to commit.

use std::fmt;
use std::sync::Arc;

use tanist_cluster::{Millis, Offset, Partition};
use tokio::sync::Notify;

use super::{Commit, CommitError, LocalPortFuture, Span};
use crate::record::Headers;

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name as the broker knows it.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: Partition,
}

impl TopicPartition {
    /// The partition `partition` of `topic`.
    pub fn new(topic: impl Into<Arc<str>>, partition: Partition) -> Self {
        Self {
            topic: topic.into(),
            partition,
        }
    }
}

impl fmt::Display for TopicPartition {
    /// `orders[3]`, as Kafka's own tools write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.topic, self.partition)
    }
}

/// A record as the log holds it; borrowed from its [`Batch`].
#[derive(Clone, Copy, Debug)]
pub struct RawRecord<'a> {
    /// The key's bytes.
    pub key: Option<&'a [u8]>,
    /// The value's bytes; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The record's timestamp, ms since the epoch.
    pub timestamp: Millis,
    /// Where it stands in its partition.
    pub offset: Offset,
}

/// Records of one partition, in offset order. Keeps the memory that they are read from.
pub trait Batch {
    /// How many records there are; at least one.
    fn len(&self) -> usize;

    /// Never true of a batch that a [`Source`] hands out.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The record at `index`, which is below [`Batch::len`].
    fn get(&self, index: usize) -> RawRecord<'_>;

    /// The headers of the record at `index`, in order. Apart from [`Batch::get`], because few want them, and a client
    /// library may have to parse them.
    fn headers(&self, index: usize) -> Headers;

    /// The offset of the record at `index`.
    fn offset(&self, index: usize) -> Offset {
        self.get(index).offset
    }
}

/// What a [`Source`] had.
#[derive(Default)]
pub struct Pulled {
    /// The next records, if there are any now.
    pub batch: Option<Box<dyn Batch>>,
    /// All below this offset has been handed out (this batch included), though the last offsets may have been
    /// transaction markers, compacted or aborted records that nobody sees. Said when the source comes to the end of
    /// its partition, at least once after every [`Log::open`] and [`Source::seek`].
    pub reached: Option<Offset>,
}

/// The queue of one partition: read_committed, in order, each visible record once.
///
/// Not pulling is the back-pressure: an implementation reads ahead within a fixed bound and then stops fetching this
/// partition alone. Dropping the source gives the partition back.
pub trait Source {
    /// The next records, at most `max_records`, without waiting. When it returns fewer than `max_records`, the
    /// `Notify` given to [`Log::open`] is notified as soon as there is more: records, an end or an error. It may be
    /// notified without cause, too.
    fn pull(&mut self, max_records: usize) -> Result<Pulled, LogError>;

    /// Goes on from `to`: the next record handed out is the first visible one at or after it; nothing read ahead
    /// from elsewhere is handed out any more.
    fn seek(&mut self, to: Offset) -> Result<(), LogError>;
}

/// One worker's access to the log: sources, and one transactional producer.
pub trait Log {
    /// The worker may read any of these topics, or write to it: what can be known of them is to be known before, so
    /// that a shard that comes here begins at once.
    fn prepare(&self, _topics: &[Arc<str>]) {}

    /// Begins to read `partition` at `from` (always explicit: there is no "where we left off" in the log).
    fn open(
        &self,
        partition: &TopicPartition,
        from: Offset,
        ready: Arc<Notify>,
    ) -> Result<Box<dyn Source>, LogError>;

    /// Carries out `commit` as one transaction: all its records and offsets, or nothing (S2); then applies it to the
    /// stores ([`Commit::apply`]) before it answers. Gives the commit back, for its buffers and the stores' positions.
    ///
    /// One at a time: the next is given only after this one's answer. After an error this log is done with: nothing of
    /// `commit` that is not visible already may become visible later (the transaction was aborted, or is fenced and
    /// rolled back by whoever initialises the id next), and the worker comes back with a new log, for a producer that
    /// has been in doubt must not be used again (KIP-890). Where a commit succeeded after a doubt, the next one is
    /// answered with [`CommitError::Aborted`] for that reason: only the worker may take the id up again, since it has to
    /// announce that.
    fn commit(&self, commit: Commit) -> LocalPortFuture<'static, Result<Commit, CommitError>>;

    /// Sends `outputs` (their `records`; no offsets, no state) at once, by an idempotent producer outside of
    /// any transaction, and answers when all are acknowledged: what `at_least_once` uses.
    fn publish(&self, outputs: Commit) -> LocalPortFuture<'static, Result<Commit, CommitError>>;
}

/// Why a partition cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The offset is not, or no longer, in the partition.
    #[error(
        "{partition}: offset {offset} is not in the log any more (it was truncated, or its retention passed, or the \
         topic was created anew): bring it back, or begin anew under another app id, which starts with what there is"
    )]
    OutOfRange {
        /// The partition.
        partition: TopicPartition,
        /// The offset that was asked for.
        offset: Offset,
    },
    /// There is no such topic or partition.
    #[error(
        "{0} does not exist (any more): create it, or correct the topic's name or partition count"
    )]
    UnknownPartition(TopicPartition),
    /// Something that will not mend itself.
    #[error("{partition}: {reason}")]
    Broken {
        /// The partition.
        partition: TopicPartition,
        /// What the client library said.
        reason: String,
    },
}

impl Span {
    /// The bytes that this span names in `bytes`.
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..self.end as usize]
    }
}
