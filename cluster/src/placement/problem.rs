//! The facts as numbers: what does not change while a placement is worked out.

use std::collections::BTreeMap;

use super::{Facts, NodeFacts, Policy};
use crate::ids::{MemberId, ShardId};

/// A node, by its place among the sorted members.
pub(super) type N = usize;
/// A shard, by its place among the sorted shards.
pub(super) type S = usize;
/// A group, by its place among the sorted groups.
pub(super) type G = usize;

pub(super) struct Problem {
    pub(super) nodes: Vec<Node>,
    pub(super) groups: Vec<Group>,
    pub(super) shards: Vec<Slice>,
    /// Who takes shards, in order.
    pub(super) takers: Vec<N>,
    pub(super) total_weight: i64,
    pub(super) acceptable_lag: u64,
    pub(super) max_warmups: usize,
    index: BTreeMap<MemberId, N>,
}

pub(super) struct Node {
    pub(super) id: MemberId,
    /// 0 if it takes nothing.
    pub(super) weight: i64,
    pub(super) rack: Option<usize>,
}

pub(super) struct Group {
    pub(super) size: i64,
    pub(super) has_tables: bool,
    /// How many standbys each shard should have, as far as there are nodes.
    pub(super) wanted: usize,
}

/// What is given about a shard.
pub(super) struct Slice {
    pub(super) id: ShardId,
    pub(super) group: G,
    /// Copies and their lag in records, sorted by node.
    pub(super) lags: Vec<(N, u64)>,
    /// The copies that would have to be opened first, unless these are all.
    pub(super) closed: Vec<N>,
    /// Where it must not be, unless that is everywhere.
    pub(super) broken: Vec<N>,
}

impl Problem {
    pub(super) fn of(facts: &Facts, policy: &Policy) -> Self {
        let nodes = nodes(facts);
        let takers: Vec<N> = (0..nodes.len()).filter(|&n| nodes[n].weight > 0).collect();
        let others = takers.len().saturating_sub(1);
        let groups = facts.groups.values().map(|it| Group {
            size: i64::from(it.partitions),
            has_tables: it.has_tables,
            wanted: if it.has_tables {
                others.min(it.standbys as usize)
            } else {
                0
            },
        });
        let mut problem = Self {
            groups: groups.collect(),
            shards: Vec::new(),
            total_weight: nodes.iter().map(|it| it.weight).sum(),
            acceptable_lag: policy.acceptable_lag_records,
            max_warmups: policy.max_warmups.max(1),
            index: facts.nodes.keys().copied().zip(0..).collect(),
            nodes,
            takers,
        };
        for (group, (name, it)) in facts.groups.iter().enumerate() {
            for partition in 0..i32::try_from(it.partitions).unwrap_or(i32::MAX) {
                let id = ShardId::new(name.clone(), partition);
                let slice = problem.slice(id, group, facts);
                problem.shards.push(slice);
            }
        }
        problem
    }

    fn slice(&self, id: ShardId, group: G, facts: &Facts) -> Slice {
        let lags = facts.lags.get(&id).into_iter().flatten();
        let broken = facts.broken.get(&id).into_iter().flatten();
        let mut broken: Vec<N> = broken.filter_map(|id| self.node(*id)).collect();
        // Where it is broken everywhere it stays, for an operator to look at.
        if self.takers.iter().all(|n| broken.contains(n)) {
            broken.clear();
        }
        let lags = lags.filter_map(|(id, lag)| Some((self.node(*id)?, *lag)));
        let lags: Vec<(N, u64)> = lags.collect();
        let closed = facts.closed.get(&id).into_iter().flatten();
        let mut closed: Vec<N> = closed.filter_map(|id| self.node(*id)).collect();
        // Wherever it goes, one of them has to be opened.
        if lags.iter().all(|(n, _)| closed.contains(n)) {
            closed.clear();
        }
        Slice {
            lags,
            closed,
            id,
            group,
            broken,
        }
    }

    pub(super) fn node(&self, id: MemberId) -> Option<N> {
        self.index.get(&id).copied()
    }

    /// Whether `n` may have a copy of `s`.
    pub(super) fn is_fit(&self, n: N, s: S) -> bool {
        self.nodes[n].weight > 0 && !self.shards[s].broken.contains(&n)
    }

    pub(super) fn lag(&self, n: N, s: S) -> Option<u64> {
        let mut lags = self.shards[s].lags.iter();
        lags.find(|(at, _)| *at == n).map(|(_, lag)| *lag)
    }
}

fn nodes(facts: &Facts) -> Vec<Node> {
    let racks = facts.nodes.values().filter_map(|it| it.rack.as_deref());
    let racks: BTreeMap<&str, ()> = racks.map(|rack| (rack, ())).collect();
    let racks: BTreeMap<&str, usize> = racks.into_keys().zip(0..).collect();
    let takes = |it: &NodeFacts| it.weight > 0 && !it.leaving;
    // If nobody wants to take anything, those have to that stay, or else all: a shard without an active is worse.
    let nobody = !facts.nodes.values().any(takes);
    let all_leave = facts.nodes.values().all(|it| it.leaving);
    let weight = |it: &NodeFacts| match takes(it) {
        true => i64::from(it.weight),
        false => i64::from(nobody && (all_leave || !it.leaving)),
    };
    let nodes = facts.nodes.iter().map(|(id, it)| Node {
        id: *id,
        weight: weight(it),
        rack: it.rack.as_deref().and_then(|rack| racks.get(rack).copied()),
    });
    nodes.collect()
}
