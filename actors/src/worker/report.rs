//! [`Reports`]: what a worker tells its node.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tanist_cluster::control::{Begun, Record};
use tanist_cluster::{Epoch, ShardId, WorkerIndex};

use crate::shard::ShardStatus;

/// Where a worker's news go; called on the worker's thread.
pub trait Reports: Send + Sync {
    /// A shard has changed, or its worker has committed.
    fn shard(&self, status: ShardStatus);
    /// Of this shard there is nothing on the worker any more: it may be given to another one.
    fn gone(&self, shard: &ShardId);
    /// To be written to the control log, by the node, in the order of the calls: a permit was given up.
    fn release(&self, released: Record);
    /// To be written to the control log: a position was committed where none was before.
    fn begun(&self, begun: Begun);
    /// A shard that moves has come to a stage, at this moment.
    fn stage(&self, shard: &ShardId, epoch: Epoch, stage: Stage);
    /// The worker sends to this topic; said once, before the first record is visible.
    fn writes(&self, topic: &Arc<str>);
    /// A commit succeeded.
    fn commit(&self, commit: &CommitReport);
    /// An input topic has partitions that nobody reads; said again and again.
    fn unread(&self, topic: &Arc<str>, unread: UnreadPartitions);
}

/// The partitions that an input topic was given while nodes ran. What is sent to them waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadPartitions {
    /// How many there were when the node started: those that are read.
    pub read: i32,
    /// How many there are.
    pub partitions: i32,
    /// Whether tables are divided as the topic is.
    pub has_tables: bool,
}

impl fmt::Display for UnreadPartitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            read, partitions, ..
        } = self;
        write!(
            f,
            "has {partitions} partitions by now, of which this app reads the {read} that it had when its nodes started; what \
             is sent to the others waits. "
        )?;
        f.write_str(match self.has_tables {
            false => "Stop all nodes of the app, then start them again, to read them all",
            true => {
                "Its tables are divided as the topic was, and keys that are in other partitions now would be counted anew \
                 there: begin anew under another app id, or with a new topic (`group_by` keeps its own count)"
            }
        })
    }
}

/// A stage of a shard's move from one worker to another, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The former owner's last commit is done; what it says next is that it has released the shard.
    LastCommit,
    /// The heir has its permit.
    Permitted,
    /// It has read the changelogs to their ends.
    CaughtUp,
    /// Its inputs are being read.
    Assigned,
    /// Its first commit has succeeded.
    FirstCommit,
}

/// A commit that has succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitReport {
    /// By whom.
    pub worker: WorkerIndex,
    /// Outputs and changelog records in it.
    pub records: usize,
    /// Their bytes.
    pub bytes: usize,
    /// From the seal to the answer.
    pub took: Duration,
}
