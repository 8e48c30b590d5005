//! [`ShardStatus`]: what can be told of a shard.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tanist_cluster::heartbeat::Copy;
use tanist_cluster::{Offset, ShardId};

use super::Shard;

/// How a shard is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ShardState {
    /// Its store is being brought up to the end of its changelogs.
    Restoring {
        /// Changelog records read so far.
        // Written beside `ShardStatus::records`.
        #[serde(rename = "restored_records")]
        records: u64,
        /// Offsets between where it began and the end, an upper bound of the records.
        #[serde(rename = "of_records")]
        of: u64,
    },
    /// Following its changelogs, as a standby or a warm-up, or until it gets its permit.
    Standby,
    /// It has its permit, and reads the rest of its changelogs.
    CatchingUp,
    /// At work.
    Running,
    /// At work, but for a handler that does not come back.
    Stuck {
        /// Which, and for how long.
        reason: String,
    },
    /// An agent failed; it is made anew after a back-off.
    Restarting {
        /// The agent.
        agent: Arc<str>,
        /// How often it has failed at this record or timer since that last succeeded.
        attempt: u32,
        /// The failure.
        reason: String,
    },
    /// Finishing what it has in hand.
    Stopping,
    /// Out of work here until the node is restarted: what could pass by itself has been tried again. Nothing is lost: its
    /// input waits.
    Broken {
        /// Why, and what to do.
        reason: String,
    },
}

impl ShardState {
    /// Whether it processes records, or is about to go on.
    pub fn is_at_work(&self) -> bool {
        matches!(
            self,
            Self::Running | Self::Stuck { .. } | Self::Restarting { .. } | Self::Stopping
        )
    }
}

impl fmt::Display for ShardState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restoring { records, of } => {
                write!(f, "restoring, {records} of at most {of} records")
            }
            Self::Standby => f.write_str("standby"),
            Self::CatchingUp => f.write_str("catching up"),
            Self::Running => f.write_str("running"),
            Self::Stuck { reason } => write!(f, "stuck: {reason}"),
            Self::Restarting {
                agent,
                attempt,
                reason,
            } => {
                write!(f, "restarting {agent} (attempt {attempt}): {reason}")
            }
            Self::Stopping => f.write_str("stopping"),
            Self::Broken { reason } => write!(f, "broken: {reason}"),
        }
    }
}

/// An input of a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputStatus {
    /// The topic.
    pub topic: Arc<str>,
    /// The smallest offset that is not finished.
    pub position: Offset,
    /// What the last successful commit contains: at most `position`, but for `at_most_once`, which commits positions first.
    pub committed: Offset,
}

/// What can be told of a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardStatus {
    /// Which.
    pub shard: ShardId,
    /// How it is.
    #[serde(flatten)]
    pub state: ShardState,
    /// Its inputs, by agent.
    pub inputs: BTreeMap<String, InputStatus>,
    /// Records handled since it became active here.
    pub records: u64,
    /// Some of them, or what they have come to, no commit has succeeded with yet.
    #[serde(default)]
    pub uncommitted: bool,
    /// How far its store is: the sum over its changelogs. None while that is not known, or if it has no tables.
    pub copy: Option<Copy>,
}

impl ShardStatus {
    /// Of a shard that is not at work here.
    pub(crate) fn without_work(shard: &ShardId, state: ShardState) -> Self {
        Self {
            shard: shard.clone(),
            state,
            inputs: BTreeMap::new(),
            records: 0,
            uncommitted: false,
            copy: None,
        }
    }
}

impl Shard {
    /// What can be told of it now.
    pub(crate) fn status(&self) -> ShardStatus {
        let committed = self.committed_inputs();
        let inputs = self.intakes.iter().map(|agent| {
            let input = InputStatus {
                topic: self.desk.topic_name(agent.topic),
                position: agent.intake.borrow().position(),
                committed: committed.get(&agent.key).copied().unwrap_or_default(),
            };
            (agent.key.clone(), input)
        });
        ShardStatus {
            shard: self.id().clone(),
            state: self.state.borrow().clone(),
            inputs: inputs.collect(),
            records: self.records.get(),
            uncommitted: self.has_uncommitted(),
            copy: self.stored.get().map(|position| Copy {
                position,
                lag_records: 0,
                is_closed: false,
            }),
        }
    }

    pub(crate) fn set_state(&self, state: ShardState) {
        tracing::debug!(shard = %self.id(), %state, "shard");
        *self.state.borrow_mut() = state;
        self.desk.report(self.status());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_shard_in_any_state_can_be_read() {
        let reason = || "because".to_owned();
        for state in [
            ShardState::Restoring { records: 7, of: 9 },
            ShardState::Standby,
            ShardState::CatchingUp,
            ShardState::Running,
            ShardState::Stuck { reason: reason() },
            ShardState::Restarting {
                agent: "count".into(),
                attempt: 2,
                reason: reason(),
            },
            ShardState::Stopping,
            ShardState::Broken { reason: reason() },
        ] {
            let shard = ShardId::new("orders", 0);
            let status = ShardStatus::without_work(&shard, state);
            let text = serde_json::to_string(&status).unwrap();
            let read: ShardStatus = serde_json::from_str(&text).unwrap();
            assert_eq!(read, status, "{text}");
        }
    }
}
