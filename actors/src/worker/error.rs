//! [`ReplicaError`]: why a replica cannot go on here.

use tanist_cluster::Offset;

use crate::port::{BrokerError, LogError, StoreError, TopicPartition};

/// Why a replica cannot go on here. It is `Broken` then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReplicaError {
    /// Its store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// One of its partitions.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The broker.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The changelog does not reach to the store.
    #[error(
        "changelog {partition} was truncated or created anew: it has offsets {start} to {end}, but the store here has \
         replayed it up to {position}. If the broker is a new one (the embedded broker forgets all when it ends), or the \
         changelog is right, move the data directory away: tables are then rebuilt from what the broker has"
    )]
    ChangelogTruncated {
        /// The changelog.
        partition: TopicPartition,
        /// Where the store stands.
        position: Offset,
        /// The first offset that there is.
        start: Offset,
        /// The end.
        end: Offset,
    },
    /// The changelog has lost its beginning.
    #[error(
        "changelog {partition} begins at offset {start}: what stood before was deleted, and a table that is rebuilt from \
         the rest would lack it. Is `cleanup.policy` of the topic `compact`, and nothing else? A node that still has the \
         shard in its data directory goes on from there; if there is none, begin anew under another app id"
    )]
    ChangelogCut {
        /// The changelog.
        partition: TopicPartition,
        /// The first offset that there is.
        start: Offset,
    },
    /// The changelog is not the one that the store was filled from.
    #[error(
        "changelog {partition} is not the one that the store here was filled from: what stands before offset \
         {position} is not what the store has. Was the topic deleted and made anew, or does another app use this name? \
         Move the data directory away to rebuild tables from this changelog, or give the app an id of its own"
    )]
    ForeignChangelog {
        /// The changelog.
        partition: TopicPartition,
        /// Where the store stands.
        position: Offset,
    },
    /// The changelog does not contain what was committed.
    #[error(
        "changelog {changelog} has lost what was committed to it: it has come to commit {committed}, but what is there \
         ends with commit {found}. Was the topic deleted, or its table renamed? Going on would begin with a table that \
         lacks what was counted: bring the topic back, or begin anew under another app id"
    )]
    ChangelogLost {
        /// The changelog.
        changelog: TopicPartition,
        /// The last commit that it was written to in.
        committed: u64,
        /// The last commit that was found in it; 0 if none was.
        found: u64,
    },
    /// The input that comes next is not there.
    #[error(
        "input {partition} was truncated or created anew: it has offsets {start} to {end}, but this app has come to \
         {position}. Going on would skip records in silence: bring them back, or begin anew under another app id, which \
         starts with what there is"
    )]
    InputTruncated {
        /// The input.
        partition: TopicPartition,
        /// Where the app stands.
        position: Offset,
        /// The first offset that there is.
        start: Offset,
        /// The end.
        end: Offset,
    },
}
