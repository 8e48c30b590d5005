//! The records of the control log, topic `{app}.control`: one partition, compacted, read by every node from
//! its start.
//!
//! | record | key | a later tombstone means |
//! | --- | --- | --- |
//! | [`Join`], then [`Leave`] | `member/{incarnation}` | this member is gone for ever |
//! | [`Armed`] | `armed/{member}/{generation}` | superseded by a later generation, or its member is gone |
//! | [`Plan`] | `plan/{epoch}/{author}` | superseded, or never accepted |
//! | [`Released`] | `released/{epoch}/{member}/{shard}` | its epoch is over |
//! | [`Begun`] | `begun/{topic}/{partition}` | never written; by hand: as if nothing had been read |
//!
//! **Keys and compaction.** Whatever compaction removes, the fold of what is left has to be the same view
//! (S9). So a key is never written twice with different meanings, but for `Leave`, which takes the place of
//! its `Join`: a member of whom the log knows nothing *is* gone; and for `Begun`, of which the last one counts. A plan's key names epoch and author, so that
//! an ignored plan cannot push the accepted one of the same epoch out of the log. [`crate::garbage`] says
//! which keys get a tombstone, so that the log does not grow.
//!
//! **Rules for whoever writes** (an idempotent producer, `acks=all`, no transactions: an open one would hold
//! back every reader):
//! - a `Join` is written once per incarnation; when its outcome is unknown, take a new incarnation;
//! - an author writes at most one plan per epoch; after a failed write it may repeat the same bytes, or wait
//!   until the epoch has passed.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::codec::FIRST;
use crate::ids::{Epoch, Generation, MemberId, Millis, NodeName, Partition, ShardId};
use crate::plan::Plan;
use crate::topology::Topology;

/// The weight of a node to which nobody gave one.
pub const USUAL_WEIGHT: u32 = 100;

/// One record of the control log.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Record {
    /// A process has started.
    Join(Join),
    /// A process has stopped, and will not write again.
    Leave(Leave),
    /// A member's producers are initialised.
    Armed(Armed),
    /// Who is to do what.
    Plan(Plan),
    /// A member gives up a shard.
    Released(Released),
    /// A position was committed.
    Begun(Begun),
}

/// A process has started. The offset of this record is its [`MemberId`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Join {
    /// Its name, which a restart keeps.
    pub node: NodeName,
    /// This start of it. Random: how a process finds its own `Join` in the log.
    pub incarnation: Uuid,
    /// How many workers it has, hence which transactional ids a fence must name.
    pub workers: u32,
    /// What it would run.
    pub topology: Topology,
    /// Its build, for people: members of different builds may work together.
    pub build: String,
    /// The newest format of this log's records that it reads ([`FORMAT`](crate::codec::FORMAT)); builds from before the second
    /// did not say.
    #[serde(default = "first_format")]
    pub reads_format: u32,
    /// Where its HTTP server listens, as `host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// The machine on which that is so if it is an address of loopback. Equal texts: the same machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// Where it stands: a shard's standbys are put on other racks than its active if possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rack: Option<String>,
    /// How much it can carry compared with others, see [`USUAL_WEIGHT`]. 0: no shards at all.
    pub weight: u32,
    /// Its clock at the time. For people: nothing compares it.
    pub joined_at: Millis,
}

fn first_format() -> u32 {
    FIRST
}

/// A member has stopped: it holds nothing, its producers are closed, and it will not write again. To be
/// written only if the outcome of its last transactions is known; else say nothing, and be fenced.
///
/// Stands for a [`Released`] of every shard. A node that was fenced says this too, and joins anew.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Leave {
    /// Who.
    pub member: MemberId,
    /// The incarnation of its [`Join`], whose place in the log this record takes.
    pub incarnation: Uuid,
    /// Why, for people.
    pub reason: String,
}

/// All transactional producers of a member have been initialised (Kafka's `InitProducerId`), for the n-th time.
///
/// Kafka's fence has a gap: it ends the producers that exist, but a process that was only frozen can
/// initialise the same transactional id *after* it, and is valid again. So a new producer may be used only
/// once the record that announces it has been read back from the log by a member that is not expelled
/// ([`crate::permit::ProducerPermit`]), and a plan says which generation of a member its author fenced
/// ([`Plan::fenced`]). If a later generation comes before the plan, then the fence missed it and does not
/// count; if it comes after, then the member reads the plan first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Armed {
    /// Who.
    pub member: MemberId,
    /// The how-manieth time, from 1. Greater than in any record that was written before these producers were
    /// initialised, also if that was about other workers: else a fence that came in between would count, and not
    /// have reached them.
    pub generation: Generation,
}

/// A member gives up a shard: its last commit for it is done, and it drops its permit.
///
/// One record per shard, since shards are independent (S5). It counts in its epoch only: by the next plan the
/// shard may have been given back. Whoever the new plan still waits for says it again
/// ([`crate::view::View::owed`]).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Released {
    /// The epoch of the plan that takes the shard away.
    pub epoch: Epoch,
    /// Who.
    pub member: MemberId,
    /// What.
    pub shard: ShardId,
}

/// The app has committed a position in an input partition, and nothing but its consumer group says which: that of a shard
/// without tables. Kafka forgets the offsets of a group without members after a time; by this it is known that there was one.
///
/// Written after that commit has succeeded: where it stands, there was a position. And once every member reads it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Begun {
    /// The input topic.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: Partition,
    /// The broker's id of the topic, if it says: a topic made anew has not been read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Arc<str>>,
}

/// What a record is about; compaction keeps the last record of each key. Their order is the order in which
/// they are cleaned away, see [`crate::garbage`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// One start of a process.
    Member(Uuid),
    /// One author's plan for an epoch.
    Plan(Epoch, MemberId),
    /// One generation of a member's producers.
    Armed(MemberId, Generation),
    /// One shard that one member gave up in an epoch.
    Released(Epoch, MemberId, ShardId),
    /// A position in a partition of a topic.
    Begun(Arc<str>, Partition),
}

/// A record of the control log as it is read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Entry {
    /// A record.
    Record(Record),
    /// A key without a value: what was known of it is of no use any more.
    Tombstone(Key),
}

impl Record {
    /// The key under which this record is written.
    #[must_use]
    pub fn key(&self) -> Key {
        match self {
            Self::Join(join) => Key::Member(join.incarnation),
            Self::Leave(leave) => Key::Member(leave.incarnation),
            Self::Armed(armed) => Key::Armed(armed.member, armed.generation),
            Self::Plan(plan) => Key::Plan(plan.epoch, plan.author),
            Self::Released(it) => Key::Released(it.epoch, it.member, it.shard.clone()),
            Self::Begun(it) => Key::Begun(it.topic.clone(), it.partition),
        }
    }
}

impl Entry {
    /// The key of this entry.
    #[must_use]
    pub fn key(&self) -> Key {
        match self {
            Self::Record(record) => record.key(),
            Self::Tombstone(key) => key.clone(),
        }
    }
}
