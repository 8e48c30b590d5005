//! The names of things: small values that cannot be mistaken for one another.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl $name {
            /// The one after this.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }
    };
}

number!(
    /// A position in a Kafka partition.
    Offset(i64)
);
number!(
    /// The number of a partition within its topic.
    Partition(i32)
);
number!(
    /// The number of a plan. 0 is "before the first plan"; every accepted plan has a greater one than the last.
    Epoch(u64)
);
number!(
    /// A member: the offset of its `Join` in the control log, hence unique and ordered for ever. The smallest
    /// joined first.
    MemberId(i64)
);
number!(
    /// How often a member has initialised its transactional producers. 0: not yet.
    ///
    /// A fence covers a member up to a generation, see [`crate::control::Armed`].
    Generation(u32)
);
number!(
    /// A worker (one OS thread) of a node, counted from 0.
    WorkerIndex(u32)
);
number!(
    /// A point in time: milliseconds since the Unix epoch, as in the timestamps of Kafka's records.
    ///
    /// Shown, never compared with the time of another node: clocks may differ by hours.
    Millis(i64)
);

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes the name as it is.
            pub fn new(name: impl Into<Arc<str>>) -> Self {
                Self(name.into())
            }

            /// The name itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self::new(name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

name!(
    /// What an operator calls a node. It survives restarts, a [`MemberId`] does not.
    NodeName
);
name!(
    /// A group of co-partitioned topics, whose partitions of one number are placed together.
    GroupName
);

/// What is placed, moved and failed over: one partition number of one group. Shown, and written to JSON, as
/// `orders/3`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ShardId {
    /// The group of topics.
    pub group: GroupName,
    /// The partition number in each of them.
    pub partition: Partition,
}

impl ShardId {
    /// The shard of `partition` in `group`.
    pub fn new(group: impl Into<GroupName>, partition: i32) -> Self {
        Self {
            group: group.into(),
            partition: Partition(partition),
        }
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.group, self.partition))
    }
}

impl From<ShardId> for String {
    fn from(shard: ShardId) -> Self {
        shard.to_string()
    }
}

impl TryFrom<String> for ShardId {
    type Error = NotAShard;

    fn try_from(text: String) -> Result<Self, NotAShard> {
        text.parse()
    }
}

impl FromStr for ShardId {
    type Err = NotAShard;

    fn from_str(text: &str) -> Result<Self, NotAShard> {
        let not_a_shard = || NotAShard(text.to_owned());
        let (group, partition) = text.rsplit_once('/').ok_or_else(not_a_shard)?;
        let partition: i32 = partition.parse().map_err(|_| not_a_shard())?;
        if group.is_empty() || partition < 0 {
            return Err(not_a_shard());
        }
        Ok(Self::new(group, partition))
    }
}

/// A text that should have named a shard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a shard: write group/partition, as in orders/3")]
pub struct NotAShard(String);

/// The `transactional.id` of one worker of one member.
///
/// Never used again after the member is gone, so that a late fence cannot hit its successor.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionalId(String);

impl TransactionalId {
    /// `{app}-{member}-{worker}`.
    #[must_use]
    pub fn of(app: &str, member: MemberId, worker: WorkerIndex) -> Self {
        Self(format!("{app}-{member}-{worker}"))
    }

    /// The id as Kafka is given it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TransactionalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_written_and_read_as_group_and_partition() {
        for (text, shard) in [
            ("orders/3", Some(ShardId::new("orders", 3))),
            ("by/account/0", Some(ShardId::new("by/account", 0))),
            ("orders", None),
            ("orders/", None),
            ("orders/x", None),
            ("orders/-1", None),
            ("/1", None),
        ] {
            assert_eq!(text.parse().ok(), shard, "{text}");
            if let Some(shard) = shard {
                assert_eq!(shard.to_string(), text);
                assert_eq!(serde_json::to_string(&shard).unwrap(), format!("{text:?}"));
            }
        }
    }

    #[test]
    fn shards_sort_by_number_and_not_by_text() {
        assert!(ShardId::new("orders", 9) < ShardId::new("orders", 10));
    }

    #[test]
    fn a_transactional_id_names_app_member_and_worker() {
        let id = TransactionalId::of("orders", MemberId(40), WorkerIndex(1));
        assert_eq!(id.as_str(), "orders-40-1");
    }
}
