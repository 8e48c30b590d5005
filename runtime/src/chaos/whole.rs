//! [`missing`]: what a cluster lacks to be whole. Pure.

use std::collections::BTreeMap;

use tanist_actors::shard::ShardState;
use tanist_cluster::topology::Topology;
use tanist_cluster::{NodeName, ShardId};

use crate::http::{NodeStatus, Role};

/// Which node has each shard, as the nodes themselves say.
pub(crate) type Actives = BTreeMap<ShardId, NodeName>;

/// Who is active for what, of the shards whose output tells when they stand still: those with tables, if there are any,
/// since what stands before them is spread over all partitions.
pub(crate) fn actives(told: &[NodeStatus], topology: &Topology) -> Actives {
    let has_tables = |shard: &ShardId| {
        let group = topology.groups.get(&shard.group);
        group.is_some_and(|group| !group.tables.is_empty())
    };
    let none_has = topology
        .groups
        .values()
        .all(|group| group.tables.is_empty());
    let lines = told.iter().flat_map(|node| {
        let lines = node.shards.iter();
        lines.map(move |line| (&node.node, line))
    });
    let active = lines
        .filter(|(_, line)| line.role == Role::Active && (none_has || has_tables(&line.shard)));
    active
        .map(|(node, line)| (line.shard.clone(), node.clone()))
        .collect()
}

/// What is missing, in words; `None` if the cluster is whole: so many nodes are there, every shard is at work on exactly one
/// of them, and has its standbys.
pub(crate) fn missing(told: &[NodeStatus], nodes: usize, topology: &Topology) -> Option<String> {
    if told.len() != nodes {
        return Some(format!("{} of {nodes} nodes answer", told.len()));
    }
    for shard in topology.shards() {
        let lines = || {
            let lines = told.iter().flat_map(|node| &node.shards);
            lines.filter(|line| line.shard == shard)
        };
        let active: Vec<_> = lines().filter(|line| line.role == Role::Active).collect();
        match &active[..] {
            [line] => match &line.state {
                Some(ShardState::Running) => {}
                Some(state) => return Some(format!("shard {shard} is {state}")),
                None => return Some(format!("shard {shard} has not begun")),
            },
            all => return Some(format!("shard {shard} has {} actives", all.len())),
        }
        let Some(group) = topology.groups.get(&shard.group) else {
            continue;
        };
        if group.tables.is_empty() {
            continue;
        }
        let wanted = nodes.saturating_sub(1).min(group.standbys as usize);
        let standbys = lines().filter(|line| line.role == Role::Standby).count();
        if standbys != wanted {
            return Some(format!("shard {shard} has {standbys} of {wanted} standbys"));
        }
    }
    None
}
