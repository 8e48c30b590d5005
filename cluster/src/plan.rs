//! Who is active, standby and warm-up for every shard: a numbered value, written to the control log.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, Generation, MemberId, ShardId};
use crate::view::View;

/// A plan, as it stands in the control log. Only [`Draft::following`] makes one, since a plan has to carry
/// whatever permits depend on: compaction removes all earlier plans and their `Released`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Plan {
    pub(crate) epoch: Epoch,
    pub(crate) author: MemberId,
    pub(crate) members: BTreeSet<MemberId>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) fenced: BTreeMap<MemberId, Generation>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) expelled: BTreeSet<MemberId>,
    #[serde(with = "by_group")]
    pub(crate) shards: BTreeMap<ShardId, Assignment>,
}

/// Who has which role for one shard.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Assignment {
    /// Who processes it.
    pub active: MemberId,
    /// Why this one.
    pub why: Why,
    /// Who keeps a copy of its tables, and why these.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub standbys: BTreeMap<MemberId, Why>,
    /// Who fills a copy in order to become active, and why these.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub warmups: BTreeMap<MemberId, Why>,
    /// Whoever may still hold a permit from an earlier plan. The active gets its permit once each of them has
    /// released the shard in this epoch, or is gone.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub after: BTreeSet<MemberId>,
}

/// Why a replica is where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Why {
    /// There is only one node.
    Alone,
    /// Active: nobody had the shard yet, and this node carried the least.
    First,
    /// Active: the one before is gone.
    Failover {
        /// Who had it.
        from: MemberId,
        /// How far behind this node's copy was then, in records; none if it had no copy, as far as the author
        /// knew.
        lag_records: Option<u64>,
    },
    /// Active: the one before could not go on with this shard.
    Broken {
        /// Who had it.
        from: MemberId,
    },
    /// Active: the one before is stopping.
    Leaving {
        /// Who had it.
        from: MemberId,
    },
    /// Active: the one before carried more.
    Balance {
        /// Who had it.
        from: MemberId,
    },
    /// Active: the one before had more shards of this group.
    Spread {
        /// Who had it.
        from: MemberId,
    },
    /// Standby: one was missing.
    Missing,
    /// Standby: it was the active before, and has everything.
    Former,
    /// Standby: instead of another, which carried more, or stands on a rack that has this shard already.
    Relieves {
        /// Whose place it takes.
        from: MemberId,
    },
    /// Standby: it stays until the one that relieves it has caught up.
    Until {
        /// Who takes its place.
        relief: MemberId,
    },
}

/// What an author wants the next plan to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Who writes it.
    pub author: MemberId,
    /// Whom it takes to be alive.
    pub members: BTreeSet<MemberId>,
    /// Whose transactional ids, all of them, the author has fenced, each at the generation that the author's
    /// view had *when the fence began*. The plan expels them.
    pub fenced: BTreeMap<MemberId, Generation>,
    /// The roles of every shard.
    pub roles: BTreeMap<ShardId, Roles>,
}

/// An [`Assignment`] without its history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roles {
    /// See [`Assignment::active`].
    pub active: MemberId,
    /// See [`Assignment::why`].
    pub why: Why,
    /// See [`Assignment::standbys`].
    pub standbys: BTreeMap<MemberId, Why>,
    /// See [`Assignment::warmups`].
    pub warmups: BTreeMap<MemberId, Why>,
}

impl Assignment {
    /// The roles alone.
    #[must_use]
    pub fn roles(&self) -> Roles {
        Roles {
            active: self.active,
            why: self.why,
            standbys: self.standbys.clone(),
            warmups: self.warmups.clone(),
        }
    }
}

impl Draft {
    /// The plan that follows the one of `view`. It will be accepted if no other that follows the same one
    /// comes before it.
    #[must_use]
    pub fn following(self, view: &View) -> Plan {
        let mut shards = BTreeMap::new();
        for (shard, roles) in self.roles {
            let mut after = view.may_hold(&shard);
            after.remove(&roles.active);
            let assignment = Assignment {
                active: roles.active,
                why: roles.why,
                standbys: roles.standbys,
                warmups: roles.warmups,
                after,
            };
            shards.insert(shard, assignment);
        }
        // A shard that the author does not know stays in the plan while somebody may write it, else the next
        // author that knows it would take it for free.
        for (shard, before) in view.plan().map(Plan::shards).into_iter().flatten() {
            let mut after = view.may_hold(shard);
            if !shards.contains_key(shard) && !after.is_empty() {
                after.remove(&before.active);
                let kept = Assignment {
                    after,
                    ..before.clone()
                };
                shards.insert(shard.clone(), kept);
            }
        }
        Plan {
            epoch: view.epoch().next(),
            author: self.author,
            members: self.members,
            fenced: self.fenced,
            expelled: view.expelled().collect(),
            shards,
        }
    }
}

impl Plan {
    /// Its number.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Who wrote it.
    #[must_use]
    pub fn author(&self) -> MemberId {
        self.author
    }

    /// Whom its author took to be alive. Who joined later waits for the next plan.
    #[must_use]
    pub fn members(&self) -> &BTreeSet<MemberId> {
        &self.members
    }

    /// Whom its author had fenced before it wrote the plan, up to which generation.
    #[must_use]
    pub fn fenced(&self) -> &BTreeMap<MemberId, Generation> {
        &self.fenced
    }

    /// Who does what, for every shard.
    #[must_use]
    pub fn shards(&self) -> &BTreeMap<ShardId, Assignment> {
        &self.shards
    }

    /// Who does what for one shard.
    #[must_use]
    pub fn get(&self, shard: &ShardId) -> Option<&Assignment> {
        self.shards.get(shard)
    }

    /// The shards of which `member` is the active, sorted.
    pub fn actives_of(&self, member: MemberId) -> impl Iterator<Item = &ShardId> {
        let of_member = move |(_, it): &(_, &Assignment)| it.active == member;
        self.shards.iter().filter(of_member).map(|(shard, _)| shard)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alone => f.write_str("the only node"),
            Self::First => f.write_str("nobody had it, this node carried the least"),
            Self::Failover {
                from,
                lag_records: Some(lag),
            } => write!(f, "{from} is gone, this copy was {lag} records behind"),
            Self::Failover { from, .. } => write!(f, "{from} is gone, there was no copy"),
            Self::Broken { from } => write!(f, "broken on {from}"),
            Self::Leaving { from } => write!(f, "{from} is stopping"),
            Self::Balance { from } => write!(f, "{from} carried more"),
            Self::Spread { from } => write!(f, "{from} had more of this group"),
            Self::Missing => f.write_str("a copy was missing"),
            Self::Former => f.write_str("was active before"),
            Self::Relieves { from } => write!(f, "instead of {from}"),
            Self::Until { relief } => write!(f, "until {relief} has caught up"),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |ids: &mut dyn Iterator<Item = &MemberId>| {
            let ids: Vec<String> = ids.map(ToString::to_string).collect();
            ids.join(" ")
        };
        writeln!(
            f,
            "plan {} by {} for {}",
            self.epoch,
            self.author,
            list(&mut self.members.iter())
        )?;
        if !self.fenced.is_empty() {
            writeln!(f, "  fenced {}", list(&mut self.fenced.keys()))?;
        }
        for (shard, it) in &self.shards {
            write!(f, "  {shard} on {} ({})", it.active, it.why)?;
            for (member, why) in &it.standbys {
                write!(f, ", standby {member} ({why})")?;
            }
            for (member, why) in &it.warmups {
                write!(f, ", warm-up {member} ({why})")?;
            }
            if !it.after.is_empty() {
                write!(f, ", after {}", list(&mut it.after.iter()))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Writes the name of a group once and not once per shard: plans are the large records of the control log.
mod by_group {
    use super::{Assignment, BTreeMap, ShardId};
    use crate::ids::{GroupName, Partition};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    type ByGroup<A> = BTreeMap<GroupName, BTreeMap<Partition, A>>;

    pub(super) fn serialize<S: Serializer>(
        shards: &BTreeMap<ShardId, Assignment>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let mut groups: ByGroup<&Assignment> = BTreeMap::new();
        for (shard, assignment) in shards {
            let group = groups.entry(shard.group.clone()).or_default();
            group.insert(shard.partition, assignment);
        }
        groups.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<ShardId, Assignment>, D::Error> {
        let groups: ByGroup<Assignment> = BTreeMap::deserialize(from)?;
        let shards = groups.into_iter().flat_map(|(group, partitions)| {
            partitions.into_iter().map(move |(partition, assignment)| {
                let group = group.clone();
                (ShardId { group, partition }, assignment)
            })
        });
        Ok(shards.collect())
    }
}
