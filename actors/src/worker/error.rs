//! [`ReplicaError`]: why a replica cannot go on here.

use tanist_cluster::Offset;

use crate::port::{BrokerError, LogError, StoreError, TopicPartition, TopicUuid};

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
    /// The consumer group has forgotten where the app stands.
    #[error(
        "the app has read input {partition}, and its consumer group does not say any more how far: Kafka forgets that when \
         nobody commits for longer than offsets.retention.minutes (a week unless set otherwise), or somebody has deleted \
         it. To begin anew would process every record again. {way_out}"
    )]
    PositionLost {
        /// The input.
        partition: TopicPartition,
        /// What to do.
        way_out: String,
    },
    /// The input is not the one that the app has read.
    #[error(
        "input {partition} was deleted and made anew: this app has read the topic with the id {read}, and the one that is \
         there now has {found}. To go on from the old position would skip records in silence. {way_out}"
    )]
    InputMadeAnew {
        /// The input.
        partition: TopicPartition,
        /// The topic that was read.
        read: TopicUuid,
        /// The topic that is there.
        found: TopicUuid,
        /// What to do.
        way_out: String,
    },
}

impl ReplicaError {
    pub(super) fn made_anew(
        app: &str,
        partition: &TopicPartition,
        read: &TopicUuid,
        found: &TopicUuid,
        has_tables: bool,
    ) -> Self {
        let way_out = match has_tables {
            true => "Its tables hold what came of the old one: begin anew under another app id, which reads the new topic \
                 from its beginning"
                .to_owned(),
            false => reset_offsets(app, partition),
        };
        Self::InputMadeAnew {
            partition: partition.clone(),
            read: read.clone(),
            found: found.clone(),
            way_out,
        }
    }
}

/// How it is said where a shard without tables goes on: nobody is a member of the group, so that anyone may.
pub(super) fn reset_offsets(app: &str, partition: &TopicPartition) -> String {
    let TopicPartition { topic, partition } = partition;
    format!(
        "Stop the app, say where to go on (kafka-consumer-groups --group {app} --topic {topic}:{partition} --reset-offsets \
         --to-offset N --execute; --to-earliest processes again all that is there, --to-latest skips it), and start the app \
         again; or begin anew under another app id"
    )
}
