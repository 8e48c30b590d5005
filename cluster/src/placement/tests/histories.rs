//! What holds after any history: nodes that come and go, stop and break, with copies that are filled or not.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Event {
    Join,
    Die(usize),
    Leave(usize),
    Break(usize),
    CatchUp,
    Nothing,
}

#[derive(Debug, Clone)]
struct History {
    /// Partitions, and standbys if there are tables.
    groups: Vec<(u32, Option<u32>)>,
    max_warmups: usize,
    racks: u32,
    /// To begin with, and at most.
    nodes: (u32, usize),
    events: Vec<Event>,
}

impl History {
    fn begin(&self) -> World {
        let mut world = World::new(&self.groups, self.max_warmups);
        world.add_all(self.nodes.0, self.racks);
        world
    }

    fn happens(&self, world: &mut World, event: &Event) {
        let nodes = &mut world.facts.nodes;
        let some = |n: usize| nodes.keys().copied().nth(n % nodes.len());
        match *event {
            Event::Join if nodes.len() < self.nodes.1 => {
                world.add(100, Some(world.next as u32 % self.racks));
            }
            Event::Die(n) if nodes.len() > 1 => {
                let id = some(n).unwrap();
                world.remove(id);
            }
            Event::Leave(n) => {
                let id = some(n).unwrap();
                nodes.get_mut(&id).unwrap().leaving = true;
            }
            Event::Break(n) => {
                let plan = world.plan.as_ref();
                if let Some((shard, it)) = plan.and_then(|plan| plan.shards.iter().nth(n)) {
                    let broken = world.facts.broken.entry(shard.clone()).or_default();
                    broken.insert(it.active);
                }
            }
            Event::CatchUp => world.catch_up(),
            _ => {}
        }
    }

    /// Its end without what makes balance impossible.
    fn end(&self) -> Result<World, TestCaseError> {
        let mut world = self.begin();
        let balanced = |it: &&Event| !matches!(it, Event::Leave(_) | Event::Break(_));
        for event in self.events.iter().filter(balanced) {
            self.happens(&mut world, event);
            world.plan();
        }
        world.converge()?;
        Ok(world)
    }
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(Event::Join),
        3 => any::<usize>().prop_map(Event::Die),
        1 => any::<usize>().prop_map(Event::Leave),
        1 => (0..64usize).prop_map(Event::Break),
        3 => Just(Event::CatchUp),
        2 => Just(Event::Nothing),
    ]
}

fn histories() -> impl Strategy<Value = History> {
    let standbys = prop_oneof![Just(None), (0..3u32).prop_map(Some)];
    (
        proptest::collection::vec((1..13u32, standbys), 1..5),
        0..6usize,
        1..4u32,
        proptest::collection::vec(event(), 0..30),
    )
        .prop_map(|(groups, max_warmups, racks, events)| History {
            groups,
            max_warmups,
            racks,
            nodes: (1, 9),
            events,
        })
}

/// Up to 200 nodes and 10,000 shards.
fn large_histories() -> impl Strategy<Value = History> {
    let standbys = prop_oneof![Just(None), (0..3u32).prop_map(Some)];
    (
        proptest::collection::vec((100..501u32, standbys), 1..21),
        8..65usize,
        1..6u32,
        20..201u32,
        proptest::collection::vec(event(), 0..12),
    )
        .prop_map(|(groups, max_warmups, racks, nodes, events)| History {
            groups,
            max_warmups,
            racks,
            nodes: (nodes, 200),
            events,
        })
}

/// Total, within the budget, no wait for a restore, idempotent.
fn every_plan_is_sound(history: &History) -> Result<(), TestCaseError> {
    let mut world = history.begin();
    for event in &history.events {
        history.happens(&mut world, event);
        let before = world.plan.clone();
        let facts = world.facts.clone();
        world.plan();
        let mut filled = 0;
        for (shard, it) in world.shards() {
            is_placed(&facts, shard, it)?;
            let was = before.as_ref().and_then(|plan| plan.get(shard));
            if let Some(was) = was.map(|it| it.active) {
                waits_for_nothing(&facts, shard, was, it.active)?;
            }
            let stays = |why: &&Why| matches!(why, Why::Until { .. });
            filled += it.warmups.len() + it.standbys.values().filter(stays).count();
        }
        let budget = history.max_warmups.max(1);
        prop_assert!(filled <= budget, "{} copies are filled at a time", filled);
        let again = plan_of(world.assign());
        let same = again.shards == *world.shards();
        prop_assert!(same, "another plan after {:?}\n{}", event, world.show());
    }
    Ok(())
}

fn is_placed(facts: &Facts, shard: &ShardId, it: &Assignment) -> Result<(), TestCaseError> {
    let copies = it.standbys.keys().chain(it.warmups.keys());
    let all: Vec<_> = copies.chain([&it.active]).collect();
    let set: BTreeSet<_> = all.iter().collect();
    let live = all.iter().all(|id| facts.nodes.contains_key(id));
    prop_assert_eq!(all.len(), set.len(), "{} has two roles on one node", shard);
    prop_assert!(live, "{} is on a dead node", shard);
    prop_assert!(facts.groups[&shard.group].has_tables || all.len() == 1);
    Ok(())
}

fn waits_for_nothing(
    facts: &Facts,
    shard: &ShardId,
    was: MemberId,
    now: MemberId,
) -> Result<(), TestCaseError> {
    let broken = facts.broken.get(shard).is_some_and(|on| on.contains(&was));
    let lags = facts.lags.get(shard);
    let takes = |id: &MemberId| {
        let broken = facts.broken.get(shard).is_some_and(|on| on.contains(id));
        facts.nodes.get(id).is_some_and(|node| !node.leaving) && !broken
    };
    let closed = facts.closed.get(shard);
    let is_open = |id: &MemberId| closed.is_none_or(|closed| !closed.contains(id));
    let mut heirs = lags
        .into_iter()
        .flatten()
        .filter(|(id, lag)| **lag == 0 && takes(id));
    let lives = facts.nodes.contains_key(&was) && !broken;
    if was == now || !facts.groups[&shard.group].has_tables {
        return Ok(());
    }
    let filled = lags.and_then(|lags| lags.get(&now)) == Some(&0);
    let has_heir = heirs.clone().next().is_some();
    let has_open_heir = heirs.any(|(id, _)| is_open(id));
    prop_assert!(
        filled || !(lives || has_heir),
        "{} went where it has to be filled",
        shard
    );
    prop_assert!(
        is_open(&now) || !(lives || has_open_heir),
        "{} went where it has to be opened",
        shard
    );
    Ok(())
}

/// Convergent and balanced, and then at rest.
fn ends_balanced(history: &History) -> Result<(), TestCaseError> {
    let mut world = history.end()?;
    let (actives, replicas) = (world.actives(), world.replicas());
    prop_assert!(
        spread(&actives) <= 1,
        "actives {:?}\n{}",
        actives,
        world.show()
    );
    prop_assert!(
        spread(&replicas) <= 1,
        "replicas {:?}\n{}",
        replicas,
        world.show()
    );
    for (shard, it) in world.shards() {
        let wanted = world.facts.groups[&shard.group].standbys as usize;
        let wanted = wanted.min(world.facts.nodes.len() - 1);
        let full = it.standbys.len() == wanted && it.warmups.is_empty();
        prop_assert!(full, "{}\n{}", shard, world.show());
    }
    let before = world.plan.clone().unwrap();
    world.plan();
    prop_assert!(
        *world.shards() == before.shards,
        "something moved for no reason"
    );
    Ok(())
}

/// Sticky: of what need not move, no more actives with tables move than a new node has to get, or the dead one had, and one
/// a group for balance. Groups may be spread better on the way; what has no tables goes anywhere at no cost, perhaps twice.
/// Where groups differ in their standbys, copies are balanced by way of actives, some of which do not come back: up to as
/// many again.
fn moves_little(history: &History, dies: usize) -> Result<(), TestCaseError> {
    let mut world = history.end()?;
    let moved = |before: &Plan, world: &World| {
        let alive = |it: &(_, &Assignment)| world.facts.nodes.contains_key(&it.1.active);
        let others = before.shards.iter().filter(alive);
        let moved = others.filter(|(shard, was)| {
            let now = &world.shards()[*shard];
            let has_tables = world.facts.groups[&shard.group].has_tables;
            has_tables && now.active != was.active && !matches!(now.why, Why::Spread { .. })
        });
        moved.count()
    };
    let before = world.plan.clone().unwrap();
    world.add(100, Some(0));
    world.converge()?;
    let standbys = history.groups.iter().filter_map(|(_, standbys)| *standbys);
    let detours = 1 + usize::from(standbys.collect::<BTreeSet<u32>>().len() > 1);
    let share = before.shards.len().div_ceil(world.facts.nodes.len());
    let (count, may) = (
        moved(&before, &world),
        share * detours + history.groups.len(),
    );
    prop_assert!(
        count <= may,
        "{} moved:\n{}\n{}",
        count,
        before,
        world.show()
    );

    let before = world.plan.clone().unwrap();
    let mut nodes = world.facts.nodes.keys().copied();
    let dead = nodes.nth(dies % nodes.len()).unwrap();
    world.remove(dead);
    world.converge()?;
    let had = before.actives_of(dead).count();
    let (count, may) = (moved(&before, &world), had * detours + history.groups.len());
    prop_assert!(
        count <= may,
        "{} moved:\n{}\n{}",
        count,
        before,
        world.show()
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn every_plan_of_any_history_is_sound(history in histories()) {
        every_plan_is_sound(&history)?;
    }

    #[test]
    fn any_history_ends_balanced_with_its_standbys(history in histories()) {
        ends_balanced(&history)?;
    }

    #[test]
    fn no_more_moves_than_has_to(history in histories(), dies: usize) {
        moves_little(&history, dies)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn weights_are_respected_within_one(
        groups in proptest::collection::vec((1..30u32, Just(Some(0))), 1..3),
        weights in proptest::collection::vec(1..5u32, 1..6),
    ) {
        let mut world = World::new(&groups, 100);
        for weight in &weights {
            world.add(weight * 50, None);
            world.plan();
        }
        world.converge()?;
        let shards = world.shards().len() as f64;
        let total: u32 = weights.iter().sum();
        for (has, weight) in world.actives().into_iter().zip(&weights) {
            let share = shards * f64::from(*weight) / f64::from(total);
            prop_assert!((has as f64 - share).abs() <= 1.0, "{} of {}\n{}", has, share, world.show());
        }
    }

    #[test]
    fn groups_of_one_kind_are_each_balanced_within_one(
        standbys in 0..3u32,
        history in histories(),
    ) {
        let mut history = History { max_warmups: 4, racks: 1, ..history };
        history.groups.iter_mut().for_each(|group| group.1 = Some(standbys));
        let world = history.end()?;
        for group in world.facts.groups.keys() {
            let counts = world.count(|id, shard, it| shard.group == *group && it.active == id);
            prop_assert!(spread(&counts) <= 1, "{} {:?}\n{}", group, counts, world.show());
        }
    }

    #[test]
    fn no_rack_has_two_copies_where_racks_are_of_one_size(
        size in 1..24u32,
        per_rack in 1..4u32,
        lost in proptest::collection::vec(0..6usize, 0..3),
    ) {
        let mut world = World::new(&[(size, Some(1))], 4);
        for n in 0..per_rack * 2 {
            world.add(100, Some(n % 2));
            world.plan();
        }
        for n in lost {
            let id = *world.facts.nodes.keys().nth(n % world.facts.nodes.len()).unwrap();
            let rack = id.0 as u32 % 2;
            world.remove(id);
            world.plan();
            world.next += i64::from((world.next as u32 % 2) != rack);
            world.add(100, Some(rack));
        }
        world.converge()?;
        for (shard, it) in world.shards() {
            let rack = |id: &MemberId| world.facts.nodes[id].rack.clone();
            let standby = it.standbys.keys().next().map(rack);
            prop_assert_ne!(standby.flatten(), rack(&it.active), "{}\n{}", shard, world.show());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 20, ..ProptestConfig::default() })]

    #[test]
    #[ignore = "minutes: bin/test model"]
    fn the_same_holds_for_up_to_200_nodes_and_10_000_shards(history in large_histories(), dies: usize) {
        every_plan_is_sound(&history)?;
        ends_balanced(&history)?;
        moves_little(&history, dies)?;
    }
}
