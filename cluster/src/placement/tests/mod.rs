mod histories;

use proptest::test_runner::TestCaseError;

use super::*;
use crate::ids::Epoch;
use crate::plan::{Assignment, Why};

const FAR_BEHIND: u64 = 1_000_000;

/// Nodes that come and go, and copies that are filled.
struct World {
    facts: Facts,
    policy: Policy,
    plan: Option<Plan>,
    next: i64,
}

impl World {
    fn new(groups: &[(u32, Option<u32>)], max_warmups: usize) -> Self {
        let group = |(n, (partitions, standbys)): (usize, &(u32, Option<u32>))| {
            let facts = GroupFacts {
                partitions: *partitions,
                has_tables: standbys.is_some(),
                standbys: standbys.unwrap_or_default(),
            };
            (GroupName::new(format!("g{n}")), facts)
        };
        Self {
            facts: Facts {
                groups: groups.iter().enumerate().map(group).collect(),
                ..Facts::default()
            },
            policy: Policy {
                max_warmups,
                ..Policy::default()
            },
            plan: None,
            next: 0,
        }
    }

    fn add(&mut self, weight: u32, rack: Option<u32>) -> MemberId {
        let id = MemberId(self.next);
        self.next += 1;
        let node = NodeFacts {
            weight,
            rack: rack.map(|n| format!("r{n}")),
            leaving: false,
        };
        self.facts.nodes.insert(id, node);
        id
    }

    fn add_all(&mut self, count: u32, racks: u32) {
        for n in 0..count {
            self.add(100, Some(n % racks));
        }
    }

    fn remove(&mut self, id: MemberId) {
        self.facts.nodes.remove(&id);
        self.facts.lags.values_mut().for_each(|lags| {
            lags.remove(&id);
        });
    }

    fn assign(&self) -> BTreeMap<ShardId, Roles> {
        assign(&self.facts, self.plan.as_ref(), &self.policy)
    }

    /// Takes the next plan, and has its new copies begun and those closed that have no role any more.
    fn plan(&mut self) {
        let roles = self.assign();
        for (shard, it) in &roles {
            if !self.facts.groups[&shard.group].has_tables {
                continue;
            }
            let lags = self.facts.lags.entry(shard.clone()).or_default();
            let closed = self.facts.closed.entry(shard.clone()).or_default();
            closed.extend(lags.keys().copied().filter(|id| !has_role(it, *id)));
            closed.remove(&it.active);
            lags.insert(it.active, 0);
            for id in it.standbys.keys().chain(it.warmups.keys()) {
                lags.entry(*id).or_insert(FAR_BEHIND);
            }
        }
        self.plan = Some(plan_of(roles));
    }

    fn catch_up(&mut self) {
        let lags = self.facts.lags.values_mut().flat_map(BTreeMap::values_mut);
        lags.for_each(|lag| *lag = 0);
        let roles = self.plan.as_ref().map(Plan::shards);
        for (shard, closed) in &mut self.facts.closed {
            let it = roles.and_then(|roles| roles.get(shard));
            closed.retain(|id| it.is_none_or(|it| !has_role(&it.roles(), *id)));
        }
    }

    /// Plans until nothing changes any more.
    fn converge(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..1_000 {
            let before = self.plan.clone();
            self.catch_up();
            self.plan();
            let same = |a: &Plan, b: &Plan| a.shards == b.shards;
            if before
                .zip(self.plan.as_ref())
                .is_some_and(|(a, b)| same(&a, b))
            {
                return Ok(());
            }
        }
        Err(TestCaseError::fail(format!(
            "does not come to rest:\n{}",
            self.show()
        )))
    }

    fn shards(&self) -> &BTreeMap<ShardId, Assignment> {
        self.plan.as_ref().unwrap().shards()
    }

    fn count(&self, counts: impl Fn(MemberId, &ShardId, &Assignment) -> bool) -> Vec<usize> {
        let of = |id: &MemberId| {
            self.shards()
                .iter()
                .filter(|(shard, it)| counts(*id, shard, it))
                .count()
        };
        self.facts.nodes.keys().map(of).collect()
    }

    fn actives(&self) -> Vec<usize> {
        self.count(|id, _, it| it.active == id)
    }

    fn replicas(&self) -> Vec<usize> {
        self.count(|id, _, it| it.active == id || it.standbys.contains_key(&id))
    }

    fn show(&self) -> String {
        let plan = self
            .plan
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        format!("nodes {:?}\n{plan}", self.facts.nodes)
    }
}

fn plan_of(roles: BTreeMap<ShardId, Roles>) -> Plan {
    let assignment = |roles: Roles| Assignment {
        active: roles.active,
        why: roles.why,
        standbys: roles.standbys,
        warmups: roles.warmups,
        after: BTreeSet::new(),
    };
    Plan {
        epoch: Epoch(1),
        author: MemberId(0),
        members: BTreeSet::new(),
        fenced: BTreeMap::new(),
        expelled: BTreeSet::new(),
        shards: roles
            .into_iter()
            .map(|(shard, it)| (shard, assignment(it)))
            .collect(),
    }
}

fn has_role(it: &Roles, id: MemberId) -> bool {
    it.active == id || it.standbys.contains_key(&id) || it.warmups.contains_key(&id)
}

fn spread(counts: &[usize]) -> usize {
    counts.iter().max().unwrap_or(&0) - counts.iter().min().unwrap_or(&0)
}

fn three_nodes() -> World {
    let mut world = World::new(&[(6, Some(1)), (3, None)], 2);
    world.add_all(3, 1);
    world.converge().unwrap();
    world
}

#[test]
fn the_shards_of_a_dead_node_go_to_their_standbys_and_no_other_moves() {
    let mut world = three_nodes();
    let before = world.shards().clone();
    let dead = MemberId(1);
    world.remove(dead);
    world.plan();
    for (shard, was) in &before {
        let now = &world.shards()[shard];
        if was.active != dead {
            assert_eq!(now.active, was.active, "{shard}");
        } else if let Some(heir) = was.standbys.keys().next() {
            assert_eq!(now.active, *heir, "{shard}");
            assert_eq!(
                now.why,
                Why::Failover {
                    from: dead,
                    lag_records: Some(0)
                }
            );
        }
    }
}

#[test]
fn a_failover_prefers_standbys_and_among_them_those_that_are_not_behind() {
    // What the two that are left have of the shard, the first of which carries more; and who gets it.
    let disk = |lag| (false, Some(lag));
    let standby = |lag| (true, Some(lag));
    for (first, second, expected) in [
        (standby(0), standby(0), 1),
        (standby(0), standby(999), 1),
        (standby(0), standby(5332), 0),
        (standby(0), disk(0), 0),
        (standby(5332), disk(0), 0),
        (standby(5332), standby(0), 1),
        (disk(0), disk(5332), 0),
        (standby(20_000), disk(0), 1),
        (standby(20_000), disk(10_001), 1),
        (disk(5332), (false, None), 0),
    ] {
        let mut world = World::new(&[(1, Some(2)), (1, None)], 8);
        let [dead, left, right] = [(); 3].map(|()| world.add(100, None));
        let [shard, other] = ["g0", "g1"].map(|group| ShardId::new(group, 0));
        let mut roles: BTreeMap<ShardId, Roles> = [
            (shard.clone(), crate::testing::roles(dead)),
            (other, crate::testing::roles(left)),
        ]
        .into();
        let lags = world.facts.lags.entry(shard.clone()).or_default();
        for (id, (is_standby, lag)) in [(left, first), (right, second)] {
            if is_standby {
                let standbys = &mut roles.get_mut(&shard).unwrap().standbys;
                standbys.insert(id, Why::Missing);
            } else {
                let closed = world.facts.closed.entry(shard.clone()).or_default();
                closed.insert(id);
            }
            lags.extend(lag.map(|lag| (id, lag)));
        }
        world.plan = Some(plan_of(roles));
        world.remove(dead);
        let active = world.assign()[&shard].active;
        let case = format!("{first:?} {second:?}");
        assert_eq!(active, [left, right][expected], "{case}");
    }
}

#[test]
fn a_planned_move_goes_only_to_a_copy_that_is_open() {
    const AT_ONCE: bool = true;
    // Whether the copy of who has the shards is open, and what the other has of them.
    for (is_running, copy, expected) in [
        (true, None, !AT_ONCE),
        (true, Some((true, 0)), AT_ONCE),
        (true, Some((true, 10_000)), AT_ONCE),
        (true, Some((true, 10_001)), !AT_ONCE),
        (true, Some((false, 0)), !AT_ONCE),
        (true, Some((false, 10_001)), !AT_ONCE),
        // All were down: it has to be opened wherever it goes.
        (false, Some((false, 0)), AT_ONCE),
        (false, Some((false, 10_001)), !AT_ONCE),
    ] {
        for leaves in [false, true] {
            let mut world = World::new(&[(2, Some(0))], 8);
            let from = world.add(100, None);
            world.plan();
            let to = world.add(100, None);
            world.facts.nodes.get_mut(&from).unwrap().leaving = leaves;
            for (shard, lags) in &mut world.facts.lags {
                let closed = world.facts.closed.entry(shard.clone()).or_default();
                lags.extend(copy.map(|(_, lag)| (to, lag)));
                closed.extend(copy.filter(|(is_open, _)| !is_open).map(|_| to));
                closed.extend((!is_running).then_some(from));
            }
            let roles = world.assign();
            let moved = roles.values().filter(|it| it.active == to).count();
            let warm = roles.values().filter(|it| it.warmups.contains_key(&to));
            let all = if leaves { 2 } else { 1 };
            let case = format!("{is_running} {copy:?} {leaves} {roles:?}");
            assert_eq!(
                (moved, warm.count()),
                if expected { (all, 0) } else { (0, all) },
                "{case}"
            );
        }
    }
}

#[test]
fn a_new_node_fills_copies_before_it_gets_actives_and_then_no_more_than_its_share() {
    let mut world = World::new(&[(6, Some(1))], 2);
    world.add_all(3, 1);
    world.converge().unwrap();
    let new = world.add(100, Some(0));
    world.plan();
    let fills = |it: &&Assignment| it.warmups.contains_key(&new);
    let filled: Vec<_> = world.shards().values().filter(fills).collect();
    assert_eq!(filled.len(), 1, "6 shards on 4 nodes\n{}", world.show());
    assert_ne!(filled[0].active, new);
    assert_eq!(world.actives(), [2, 2, 2, 0]);
    world.converge().unwrap();
    assert_eq!(spread(&world.actives()), 1);
    assert_eq!(spread(&world.replicas()), 0);
}

#[test]
fn groups_that_ended_up_on_a_node_each_are_mixed() {
    let mut world = World::new(&[(6, Some(1)), (6, Some(1))], 2);
    world.add_all(2, 1);
    world.converge().unwrap();
    let plan = world.plan.as_mut().unwrap();
    for (shard, it) in &mut plan.shards {
        let (here, there) = match shard.group.as_str() {
            "g0" => (MemberId(0), MemberId(1)),
            _ => (MemberId(1), MemberId(0)),
        };
        it.active = here;
        it.standbys = [(there, Why::Missing)].into();
    }
    world.converge().unwrap();
    let of_g0 = world.count(|id, shard, it| shard.group.as_str() == "g0" && it.active == id);
    assert_eq!(of_g0, [3, 3]);
    assert_eq!(world.actives(), [6, 6]);
}

/// Each node has as many actives and as many copies as the others; where a shard of a group may go has a copy of it, and
/// what could come back for it has none there.
fn lopsided() -> World {
    let mut world = World::new(&[(3, Some(1)), (8, Some(1)), (7, Some(1))], 4);
    world.add_all(3, 1);
    world.converge().unwrap();
    // Active and standby of each shard.
    let groups = [
        &[(1, 2), (0, 1), (0, 1)][..],
        &[
            (1, 2),
            (1, 2),
            (1, 2),
            (2, 1),
            (0, 1),
            (0, 1),
            (2, 0),
            (0, 1),
        ],
        &[(1, 2), (1, 0), (2, 0), (2, 0), (2, 0), (2, 0), (0, 2)],
    ];
    let plan = world.plan.as_mut().unwrap();
    world.facts.closed.clear();
    for ((shard, it), (active, standby)) in plan.shards.iter_mut().zip(groups.concat()) {
        it.active = MemberId(active);
        it.standbys = [(MemberId(standby), Why::Missing)].into();
        let lags = [(it.active, 0), (MemberId(standby), 0)];
        world.facts.lags.insert(shard.clone(), lags.into());
    }
    world
}

#[test]
fn a_group_is_spread_although_copies_have_to_change_places_for_it() {
    let mut world = lopsided();
    let even = (vec![6; 3], vec![12; 3]);
    assert_eq!((world.actives(), world.replicas()), even);
    world.converge().unwrap();
    assert_eq!((world.actives(), world.replicas()), even);
    for group in ["g0", "g1", "g2"] {
        let counts = world.count(|id, shard, it| shard.group.as_str() == group && it.active == id);
        assert!(spread(&counts) <= 1, "{group} {counts:?}\n{}", world.show());
    }
}

#[test]
fn to_spread_a_group_costs_no_balance_and_is_done_as_a_whole_or_not_at_all() {
    for max_warmups in 1..=4 {
        let mut world = lopsided();
        world.policy.max_warmups = max_warmups;
        let problem = Problem::of(&world.facts, &world.policy);
        let before = world.shards().values().map(|it| Some(it.roles()));
        let before: Vec<Option<Roles>> = before.collect();
        let mut state = State::of(&problem, &before);
        state.charge_what_is_pending();
        // Both what comes back and the standby that goes for it have to be filled.
        assert_eq!(spread::spread_groups(&mut state), max_warmups >= 2);
        for n in 0..3 {
            let deviations = (state.active_deviation(n), state.replica_deviation(n));
            assert_eq!(deviations, (0, 0), "{max_warmups}");
        }
    }
}

#[test]
fn a_standby_that_is_missing_goes_where_there_is_least_to_do() {
    // Of the second node and of the third: their copy, whether it is open, and its lag.
    for (second, third, expected) in [
        (None, None, 1),
        (None, Some((false, 0)), 2),
        (None, Some((false, FAR_BEHIND)), 1),
        (Some((false, 0)), Some((true, 0)), 2),
        (Some((true, 0)), Some((false, 0)), 1),
    ] {
        let mut world = World::new(&[(1, Some(1))], 8);
        world.add(100, None);
        world.plan();
        for copy in [second, third] {
            let id = world.add(100, None);
            for (shard, lags) in &mut world.facts.lags {
                lags.extend(copy.map(|(_, lag)| (id, lag)));
                let closed = world.facts.closed.entry(shard.clone()).or_default();
                closed.extend(copy.filter(|(is_open, _)| !is_open).map(|_| id));
            }
        }
        world.plan();
        let it = world.shards().values().next().unwrap();
        let standbys: Vec<_> = it.standbys.keys().collect();
        assert_eq!(standbys, [&MemberId(expected)], "{second:?} {third:?}");
    }
}

#[test]
fn a_node_that_stops_gives_its_shards_to_standbys_that_have_caught_up() {
    let mut world = three_nodes();
    let leaving = MemberId(0);
    let mine: Vec<_> = world
        .shards()
        .iter()
        .filter(|(_, it)| it.active == leaving)
        .map(|(id, _)| id.clone())
        .collect();
    world.facts.nodes.get_mut(&leaving).unwrap().leaving = true;
    world.plan();
    for shard in mine {
        assert_eq!(
            world.shards()[&shard].why,
            Why::Leaving { from: leaving },
            "{}",
            world.show()
        );
    }
    assert!(
        !world
            .shards()
            .values()
            .any(|it| it.standbys.contains_key(&leaving))
    );
}

#[test]
fn a_copy_on_a_node_that_stops_is_better_than_none() {
    let mut world = World::new(&[(1, Some(1))], 1);
    world.add_all(3, 1);
    world.converge().unwrap();
    let (shard, it) = world.shards().iter().next().unwrap();
    let (shard, dead, heir) = (
        shard.clone(),
        it.active,
        *it.standbys.keys().next().unwrap(),
    );
    world.remove(dead);
    world.facts.nodes.get_mut(&heir).unwrap().leaving = true;
    world.plan();
    let it = &world.shards()[&shard];
    assert_eq!(it.active, heir);
    let other = *it.warmups.keys().next().unwrap();
    world.converge().unwrap();
    assert_eq!(world.shards()[&shard].active, other);
}

#[test]
fn without_nodes_there_is_no_plan_and_one_node_takes_all() {
    let mut world = World::new(&[(4, Some(2))], 1);
    assert!(world.assign().is_empty());
    let only = world.add(0, None);
    world.plan();
    assert!(
        world
            .shards()
            .values()
            .all(|it| it.active == only && it.standbys.is_empty())
    );
}

#[test]
fn where_nobody_wants_shards_those_take_them_that_stay() {
    // Of each node its weight, whether it leaves, and how many of six shards it has in the end.
    for nodes in [
        &[(0, false, 0), (100, false, 6)][..],
        &[(0, false, 6), (100, true, 0)],
        &[(0, false, 3), (0, false, 3), (100, true, 0)],
        &[(0, true, 0), (0, false, 6)],
        &[(0, true, 3), (100, true, 3)],
    ] {
        let mut world = World::new(&[(6, Some(1))], 8);
        for (weight, ..) in nodes {
            world.add(*weight, None);
        }
        world.converge().unwrap();
        for (node, (_, leaves, _)) in world.facts.nodes.values_mut().zip(nodes) {
            node.leaving = *leaves;
        }
        world.converge().unwrap();
        let expected: Vec<usize> = nodes.iter().map(|(.., shards)| *shards).collect();
        assert_eq!(world.actives(), expected, "{nodes:?}\n{}", world.show());
    }
}
