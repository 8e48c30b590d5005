//! Who should be active, standby and warm-up: a function of the facts and of the plan before.
//!
//! What is wanted of [`assign`], in the order of what gives way to what:
//!
//! 1. **Total.** Every shard has one active, on a node of the facts, whatever they are; only without nodes
//!    there is no plan.
//! 2. **No wait for a restore.** An active that lives keeps its shard until the node that is to have it has
//!    a copy that is open and has caught up (it gets a *warm-up* before); a shard whose active is gone goes to a
//!    copy that has caught up if there is one, an open one first, else to the one that lags least. Not more than
//!    `max_warmups` copies at a time are opened or filled only for the sake of balance.
//! 3. **Balanced actives**: within one of a node's share by weight, compared with each other node.
//! 4. **Standbys**: as many as the group wants, as far as there are nodes; never where the active is, never
//!    where the shard is broken.
//! 5. **Balanced replicas** (actives and standbys together), likewise within one.
//! 6. **Other racks first**: as few copies of a shard on one rack as balance permits.
//! 7. **Spread groups**: shards of one group, which cost alike, are spread over the nodes as far as all the
//!    above permits. Where groups are of one kind and racks do not matter, that is within one, too; there is no
//!    proof of it, but no history was found that ends otherwise.
//! 8. **Sticky.** Nothing moves but for one of these reasons, and says which ([`crate::plan::Why`]).
//!
//! And over time: **idempotent** (the plan that comes out, put in again with the same facts, comes out
//! again), **convergent** (as copies catch up, repeated plans end in one that satisfies 3 and 5 and has no
//! warm-ups), **deterministic** (sorted containers and integers only).
//!
//! Why it ends: every move makes the tuple (imbalance of actives, imbalance of replicas, copies that share a
//! rack, imbalance of groups) smaller, in the order of a dictionary, each imbalance being a sum of squares.
//! Why it ends balanced: while two nodes differ by more than one, some move between them is left; for actives
//! this is plain, for replicas see `balance.rs`.

mod balance;
mod problem;
mod spread;
mod state;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{GroupName, MemberId, ShardId};
use crate::plan::{Plan, Roles};
use problem::{Problem, Slice};
use state::State;

/// How often a plan is worked over before it is handed out. Two passes are usual, one of them to see that
/// nothing is left to do.
const MAX_PASSES: usize = 8;

/// All that [`assign`] goes by, but for the plan before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The members that are alive and ready for shards.
    pub nodes: BTreeMap<MemberId, NodeFacts>,
    /// The groups whose shards are to be placed.
    pub groups: BTreeMap<GroupName, GroupFacts>,
    /// The copies of each shard that exist, whatever their role, with their lag behind the end of the
    /// changelog in records. No entry: no copy, or nothing heard of it yet.
    pub lags: BTreeMap<ShardId, BTreeMap<MemberId, u64>>,
    /// Those of these copies that only lie on a disk, and would have to be opened first.
    pub closed: BTreeMap<ShardId, BTreeSet<MemberId>>,
    /// Where a shard cannot run until an operator has looked at it.
    pub broken: BTreeMap<ShardId, BTreeSet<MemberId>>,
}

/// A node that may have shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFacts {
    /// Its share, compared with the others'. 0: it takes none.
    pub weight: u32,
    /// Where it stands.
    pub rack: Option<String>,
    /// It is stopping: it keeps what it has until others have caught up, and takes nothing.
    pub leaving: bool,
}

/// A group of co-partitioned topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupFacts {
    /// How many shards it has.
    pub partitions: u32,
    /// Whether there is anything to keep a copy of.
    pub has_tables: bool,
    /// How many standbys each shard should have. Counts for groups with tables only.
    pub standbys: u32,
}

/// What an operator may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How many copies may be filled at a time only for the sake of balance. 0 counts as 1.
    pub max_warmups: usize,
    /// Up to this lag a copy counts as caught up: it can take over with a pause that nobody minds.
    pub acceptable_lag_records: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            max_warmups: 8,
            acceptable_lag_records: 10_000,
        }
    }
}

/// The roles of every shard under the next plan. Empty if there are no nodes.
#[must_use]
pub fn assign(facts: &Facts, previous: Option<&Plan>, policy: &Policy) -> BTreeMap<ShardId, Roles> {
    if facts.nodes.is_empty() {
        return BTreeMap::new();
    }
    let problem = Problem::of(facts, policy);
    let shards = problem.shards.iter();
    let before = |it: &Slice| Some(previous?.get(&it.id)?.roles());
    let mut roles: Vec<Option<Roles>> = shards.map(before).collect();
    // Some moves make others possible that are cheap only now: go on until the plan repeats itself.
    for _ in 0..MAX_PASSES {
        let mut state = State::of(&problem, &roles);
        balance::settle(&mut state);
        let next: Vec<_> = (0..roles.len()).map(|s| state.roles(s)).collect();
        if next == roles {
            break;
        }
        roles = next;
    }
    let shards = problem.shards.into_iter().zip(roles);
    shards
        .filter_map(|(shard, roles)| Some((shard.id, roles?)))
        .collect()
}
