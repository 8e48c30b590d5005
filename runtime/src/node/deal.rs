//! [`deal`]: which worker of this node a shard lives on. Pure.

use std::collections::BTreeMap;

use tanist_cluster::{GroupName, ShardId, WorkerIndex};

/// Where each shard of this node lives.
pub(super) type Deal = BTreeMap<ShardId, WorkerIndex>;

/// What a shard is to this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// It is processed here.
    Active,
    /// There is a copy here, or one that is about to go.
    Copy,
}

/// What a worker carries.
#[derive(Default)]
struct Load {
    actives: usize,
    replicas: usize,
    actives_by_group: BTreeMap<GroupName, usize>,
}

/// Deals out `shards`. Who has a worker keeps it: a replica cannot move between threads, and its copy is warm there.
/// The others go where least is: actives, which cost most, first, and those of one group, which cost alike, apart.
pub(super) fn deal(shards: &BTreeMap<ShardId, Part>, before: &Deal, workers: u32) -> Deal {
    let mut dealt = Deal::new();
    let mut loads: BTreeMap<WorkerIndex, Load> = (0..workers)
        .map(|worker| (WorkerIndex(worker), Load::default()))
        .collect();
    let mut put = |loads: &mut BTreeMap<WorkerIndex, Load>, shard: &ShardId, part, worker| {
        if let Some(load) = loads.get_mut(&worker) {
            load.take(shard, part);
            dealt.insert(shard.clone(), worker);
        }
    };
    for (shard, part) in shards {
        if let Some(worker) = before.get(shard) {
            put(&mut loads, shard, *part, *worker);
        }
    }
    let mut rest: Vec<(Part, &ShardId)> = shards
        .iter()
        .filter(|(shard, _)| !before.contains_key(shard))
        .map(|(shard, part)| (*part, shard))
        .collect();
    rest.sort();
    for (part, shard) in rest {
        let least = loads.iter().min_by_key(|(_, load)| load.with(shard, part));
        if let Some(worker) = least.map(|(worker, _)| *worker) {
            put(&mut loads, shard, part, worker);
        }
    }
    dealt
}

impl Load {
    fn take(&mut self, shard: &ShardId, part: Part) {
        self.replicas += 1;
        if part == Part::Active {
            self.actives += 1;
            *self
                .actives_by_group
                .entry(shard.group.clone())
                .or_default() += 1;
        }
    }

    /// By which the least is chosen, in the order of a dictionary.
    fn with(&self, shard: &ShardId, part: Part) -> [usize; 3] {
        let of_group = self.actives_by_group.get(&shard.group);
        match part {
            Part::Active => [
                of_group.copied().unwrap_or_default(),
                self.actives,
                self.replicas,
            ],
            Part::Copy => [self.replicas, self.actives, 0],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shards(group: &str, partitions: std::ops::Range<i32>, part: Part) -> Vec<(ShardId, Part)> {
        let shard = |partition| (ShardId::new(group, partition), part);
        partitions.map(shard).collect()
    }

    fn count(dealt: &Deal, wanted: &BTreeMap<ShardId, Part>, part: Part) -> Vec<usize> {
        let of = |worker| {
            let here = dealt.iter().filter(|(_, on)| **on == WorkerIndex(worker));
            here.filter(|(shard, _)| wanted[*shard] == part).count()
        };
        (0..2).map(of).collect()
    }

    #[test]
    fn actives_are_balanced_then_copies_and_each_group_alike() {
        let all = [
            shards("a", 0..3, Part::Active),
            shards("b", 0..3, Part::Active),
            shards("a", 3..8, Part::Copy),
        ];
        let wanted: BTreeMap<_, _> = all.concat().into_iter().collect();
        let dealt = deal(&wanted, &Deal::new(), 2);
        assert_eq!(dealt.len(), wanted.len());
        assert_eq!(count(&dealt, &wanted, Part::Active), [3, 3]);
        let copies = count(&dealt, &wanted, Part::Copy);
        assert_eq!(
            (copies[0].abs_diff(copies[1]), copies[0] + copies[1]),
            (1, 5)
        );
        for group in ["a", "b"] {
            let of_group = dealt.iter().filter(|(shard, on)| {
                shard.group.as_str() == group
                    && wanted[*shard] == Part::Active
                    && **on == WorkerIndex(0)
            });
            assert!((1..=2).contains(&of_group.count()), "{group}: {dealt:?}");
        }
    }

    #[test]
    fn a_shard_stays_with_its_worker_whatever_its_part_becomes() {
        let mut wanted: BTreeMap<_, _> = shards("a", 0..4, Part::Copy).into_iter().collect();
        let before = deal(&wanted, &Deal::new(), 2);
        for part in wanted.values_mut() {
            *part = Part::Active;
        }
        wanted.extend(shards("b", 0..2, Part::Copy));
        let after = deal(&wanted, &before, 2);
        for (shard, worker) in &before {
            assert_eq!(after.get(shard), Some(worker), "{shard}");
        }
        assert_eq!(count(&after, &wanted, Part::Copy), [1, 1]);
        wanted.retain(|shard, _| shard.partition.0 == 0);
        assert_eq!(
            deal(&wanted, &after, 2).len(),
            2,
            "what is gone is not dealt"
        );
    }

    #[test]
    fn a_worker_that_is_no_more_has_no_shards() {
        let wanted: BTreeMap<_, _> = shards("a", 0..2, Part::Active).into_iter().collect();
        let before = Deal::from([(ShardId::new("a", 0), WorkerIndex(7))]);
        let dealt = deal(&wanted, &before, 1);
        assert_eq!(dealt.get(&ShardId::new("a", 1)), Some(&WorkerIndex(0)));
        assert_eq!(dealt.get(&ShardId::new("a", 0)), None);
    }
}
