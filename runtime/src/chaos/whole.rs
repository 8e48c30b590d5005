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
/// of them and has its standbys, and nothing is about to move: no copy is filled or given up, and no node has two actives
/// more than another. All nodes are taken to be of one weight.
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
    about_to_move(told)
}

fn about_to_move(told: &[NodeStatus]) -> Option<String> {
    for (node, line) in told
        .iter()
        .flat_map(|it| it.shards.iter().map(|line| (&it.node, line)))
    {
        if matches!(line.role, Role::Warmup | Role::Going) {
            return Some(format!("shard {} on {node} is {}", line.shard, line.role));
        }
    }
    let actives = told.iter().map(|it| {
        let active = it.shards.iter().filter(|line| line.role == Role::Active);
        (active.count(), &it.node)
    });
    let actives: Vec<_> = actives.collect();
    let (least, most) = (actives.iter().min()?, actives.iter().max()?);
    (most.0 - least.0 >= 2).then(|| {
        format!(
            "{} has {} shards and {} has {}",
            most.1, most.0, least.1, least.0
        )
    })
}

#[cfg(test)]
mod tests {
    use tanist_cluster::topology::Group;

    use super::*;
    use crate::http::examples::{line, status};

    /// An app of four shards with a standby each.
    fn topology() -> Topology {
        let group = Group {
            partitions: 4,
            tables: vec!["counts".into()],
            standbys: 1,
            ..Group::default()
        };
        Topology {
            groups: [("orders".into(), group)].into(),
            ..Topology::default()
        }
    }

    /// What is missing if each node has these roles: a letter for each shard.
    fn lacks(nodes: &[(&str, &str)]) -> String {
        let told = nodes.iter().map(|(node, roles)| {
            let roles = (0..).zip(roles.chars()).filter_map(|(partition, letter)| {
                let role = match letter {
                    'a' => Role::Active,
                    's' => Role::Standby,
                    'w' => Role::Warmup,
                    'g' => Role::Going,
                    _ => return None,
                };
                let shard = ShardId::new("orders", partition);
                Some(line(shard, role, Some(ShardState::Running)))
            });
            status(node, roles.collect())
        });
        let told: Vec<_> = told.collect();
        missing(&told, 3, &topology()).unwrap_or_default()
    }

    #[test]
    fn a_cluster_is_whole_when_nothing_is_missing_and_nothing_is_about_to_move() {
        for (roles, expected) in [
            (
                ["aas-", "ssa-", "---a"],
                "shard orders/3 has 0 of 1 standbys",
            ),
            (["aas-", "ssa-", "--"], "shard orders/3 has 0 actives"),
            (["aass", "ssaa", "----"], "n2 has 2 shards and n3 has 0"),
            (
                ["aasw", "ssa-", "--sa"],
                "shard orders/2 has 2 of 1 standbys",
            ),
            (["aaws", "ssa-", "--sa"], "shard orders/2 on n1 is warmup"),
            (["aags", "ssa-", "--sa"], "shard orders/2 on n1 is going"),
            (["aa-s", "ssa-", "--sa"], ""),
        ] {
            let nodes: Vec<_> = ["n1", "n2", "n3"].into_iter().zip(roles).collect();
            assert_eq!(lacks(&nodes), expected, "{roles:?}");
        }
        assert_eq!(
            lacks(&[("n1", "aass"), ("n2", "ssaa")]),
            "2 of 3 nodes answer"
        );
    }
}
