use super::*;
use crate::control::{Armed, Entry, Record};
use crate::heartbeat::Copy;
use crate::ids::Offset;
use crate::plan::Why;
use crate::testing::{World, topology};

/// What all members know, and the books of each.
struct Knows {
    view: View,
    alive: BTreeSet<MemberId>,
    reports: Reports,
    books: BTreeMap<MemberId, Director>,
    same_leave: Duration,
    now: Duration,
}

impl Knows {
    fn next(&mut self, me: MemberId) -> Decision {
        let books = self.books.entry(me).or_insert(Director::new(me));
        books.next(&Situation {
            view: &self.view,
            alive: &self.alive,
            reports: &self.reports,
            policy: &Policy::default(),
            gather: Duration::from_secs(1),
            same_leave: self.same_leave,
            now: self.now,
        })
    }

    fn fence(&mut self, me: MemberId) -> Vec<Fence> {
        match self.next(me) {
            Decision::Fence(fences) => fences,
            other => panic!("{other:?}"),
        }
    }

    /// What `me` writes, which everybody reads.
    fn plan(&mut self, me: MemberId) -> Plan {
        match self.next(me) {
            Decision::Write(plan) => {
                self.read(Record::Plan(plan.clone()));
                plan
            }
            other => panic!("{other:?}"),
        }
    }

    fn read(&mut self, record: Record) {
        let at = self.view.read_to();
        self.view.apply(at, Entry::Record(record)).unwrap();
    }

    fn ended(&mut self, me: MemberId, fence: &Fence) {
        self.books.get_mut(&me).unwrap().fenced(fence);
    }

    fn all_caught_up(&mut self) {
        let copy = Copy {
            position: Offset(1),
            lag_records: 0,
            is_closed: false,
        };
        for (report, _) in self.reports.0.values_mut() {
            report.copies = topology(2).shards().map(|id| (id, copy)).collect();
        }
    }
}

/// So many nodes, all armed, alive, and heard of.
fn cluster<const N: usize>(names: [&str; N]) -> (Knows, [MemberId; N]) {
    let mut world = World::default();
    for (n, name) in names.iter().enumerate() {
        world.start_as(name);
        world.read(n, usize::MAX);
        world.arm(n);
    }
    world.read(0, usize::MAX);
    let view = world.nodes[0].view.clone();
    let members: Vec<MemberId> = view.members().map(|(id, _)| id).collect();
    let heard = members.iter().map(|id| (*id, Default::default()));
    let knows = Knows {
        alive: members.iter().copied().collect(),
        reports: Reports(heard.collect()),
        books: BTreeMap::new(),
        same_leave: TOGETHER,
        now: Duration::ZERO,
        view,
    };
    (knows, members.try_into().unwrap())
}

#[test]
fn the_member_that_joined_first_plans_until_there_is_nothing_left_to_do() {
    let (mut knows, [n0, n1, _]) = cluster(["n0", "n1", "n2"]);
    assert_eq!(knows.next(n1), Decision::NotMine);
    let Decision::Write(plan) = knows.next(n0) else {
        panic!("there is no plan yet");
    };
    assert_eq!(plan.members().len(), 3);
    let waits = Decision::Wait(Waiting::Plan(plan.epoch()));
    assert_eq!(knows.next(n0), waits, "it is not read back yet");
    knows.read(Record::Plan(plan));
    assert_eq!(knows.next(n0), Decision::Rest);
}

#[test]
fn the_dead_are_fenced_first_and_expelled_by_the_plan_that_follows() {
    let (mut knows, [n0, n1, n2]) = cluster(["n0", "n1", "n2"]);
    knows.plan(n0);
    knows.all_caught_up();
    knows.alive.remove(&n0);
    assert_eq!(
        knows.next(n0),
        Decision::NotMine,
        "it is not alive to itself"
    );
    let fences = knows.fence(n1);
    assert_eq!(fences.len(), 1);
    let waits = Decision::Wait(Waiting::Fences(vec![n0]));
    assert_eq!(knows.next(n1), waits);
    knows.ended(n1, &fences[0]);
    let plan = knows.plan(n1);
    assert_eq!(plan.fenced(), &[(n0, Generation(1))].into());
    assert_eq!(plan.members(), &[n1, n2].into());
    assert!(plan.shards().values().all(|it| it.active != n0));
    let failover = |why: &Why| matches!(why, Why::Failover { from, .. } if *from == n0);
    assert!(plan.shards().values().any(|it| failover(&it.why)));
    for shard in plan.shards().keys() {
        assert_eq!(knows.view.awaited(shard).count(), 0, "nothing to wait for");
    }
    assert_eq!(knows.next(n1), Decision::Rest);
}

#[test]
fn who_is_armed_anew_during_its_fence_is_fenced_again() {
    let (mut knows, [n0, n1]) = cluster(["n0", "n1"]);
    knows.plan(n0);
    knows.alive.remove(&n0);
    let first = knows.fence(n1);
    knows.read(Record::Armed(Armed {
        member: n0,
        generation: Generation(2),
    }));
    knows.ended(n1, &first[0]);
    let second = knows.fence(n1);
    assert_eq!(second[0].generation, Generation(2));
    // The first one's end does not stand for the second's.
    knows.ended(n1, &first[0]);
    let waits = Decision::Wait(Waiting::Fences(vec![n0]));
    assert_eq!(knows.next(n1), waits);
    knows.ended(n1, &second[0]);
    assert_eq!(knows.plan(n1).fenced(), &[(n0, Generation(2))].into());
}

#[test]
fn a_fence_is_remembered_until_its_member_is_put_out_and_no_longer() {
    let (mut knows, [n0, n1, n2]) = cluster(["n0", "n1", "n2"]);
    knows.plan(n0);
    knows.alive.remove(&n2);
    let fences = knows.fence(n0);
    knows.ended(n0, &fences[0]);
    let Decision::Write(lost) = knows.next(n0) else {
        panic!("all who are dead are fenced");
    };
    knows.books.get_mut(&n0).unwrap().plan_refused(lost.epoch());
    let plan = knows.plan(n0);
    assert_eq!(plan.fenced(), lost.fenced(), "it is not fenced twice");
    knows.next(n0);
    assert!(knows.books[&n0].fenced.is_empty());
    // Another one, which was slower, has fenced it as well.
    knows.books.insert(n1, Director::new(n1));
    knows.ended(n1, &fences[0]);
    assert_eq!(knows.next(n1), Decision::NotMine);
    assert!(knows.books[&n1].fenced.is_empty());
}

#[test]
fn a_fence_that_failed_is_asked_for_again() {
    let (mut knows, [n0, n1]) = cluster(["n0", "n1"]);
    knows.plan(n0);
    knows.alive.remove(&n0);
    let fences = knows.fence(n1);
    knows.books.get_mut(&n1).unwrap().fence_failed(&fences[0]);
    assert_eq!(knows.fence(n1), fences);
}

#[test]
fn who_has_not_reported_gets_nothing_yet() {
    let (mut knows, [n0, n1]) = cluster(["n0", "n1"]);
    knows.reports.0.remove(&n1);
    let plan = knows.plan(n0);
    let alone = plan.shards().values();
    assert!(
        alone
            .into_iter()
            .all(|it| it.active == n0 && it.standbys.is_empty())
    );
    knows.reports.0.insert(n1, Default::default());
    let plan = knows.plan(n0);
    let mut shards = plan.shards().values();
    assert!(shards.any(|it| it.standbys.contains_key(&n1)));
    knows.reports.0.remove(&n0);
    assert_eq!(knows.next(n0), Decision::Wait(Waiting::Myself));
}

#[test]
fn what_only_lies_on_a_disk_is_opened_before_a_shard_moves_there() {
    let (mut knows, [n0, n1]) = cluster(["n0", "n1"]);
    knows.reports.0.remove(&n1);
    knows.plan(n0);
    knows.all_caught_up();
    let mut report = knows.reports.0[&n0].clone();
    let copies = report.0.copies.values_mut();
    copies.for_each(|copy| copy.is_closed = true);
    knows.reports.0.insert(n1, report);
    let plan = knows.plan(n0);
    assert_eq!(plan.actives_of(n1).count(), 0);
    assert!(
        plan.shards()
            .values()
            .any(|it| it.warmups.contains_key(&n1))
    );
    knows.all_caught_up();
    assert_eq!(knows.plan(n0).actives_of(n1).count(), 1);
}

#[test]
fn after_an_outage_the_first_waits_a_moment_for_the_others_and_their_disks() {
    for come_back in [false, true] {
        let (mut knows, [old0, old1, new0, new1]) = cluster(["n0", "n1", "n0", "n1"]);
        // The new ones come when the old ones have a plan, and are gone.
        let all = knows.reports.0.clone();
        knows.reports.0.retain(|id, _| [old0, old1].contains(id));
        knows.plan(old0);
        knows.reports.0 = all;
        knows.reports.0.remove(&new1);
        knows.alive = [new0, new1].into();
        for fence in knows.fence(new0) {
            knows.ended(new0, &fence);
        }
        let missing = [NodeName::from("n1")].into();
        let waits = Decision::Wait(Waiting::Outage { missing });
        assert_eq!(knows.next(new0), waits);
        if come_back {
            knows.reports.0.insert(new1, Default::default());
        } else {
            knows.now = Duration::from_secs(1);
        }
        knows.plan(new0);
    }
}

#[test]
fn a_node_may_leave_once_nothing_is_its_own() {
    let (mut knows, [n0, leaving]) = cluster(["n0", "n1"]);
    knows.plan(n0);
    knows.all_caught_up();
    assert!(!knows.view.may_leave(leaving));
    knows.reports.0.get_mut(&leaving).unwrap().1 = true;
    let plan = knows.plan(n0);
    assert!(plan.actives_of(leaving).next().is_none());
    let view = &knows.view;
    assert!(!view.may_leave(leaving), "it has to release them first");
    let owed: Vec<_> = view
        .owed(leaving)
        .map(|it| view.decline(it, leaving))
        .collect();
    for released in owed {
        knows.read(released);
    }
    assert!(knows.view.may_leave(leaving));
}

#[test]
fn nothing_is_handed_from_one_that_leaves_to_the_next() {
    let moment = TOGETHER - Duration::from_millis(1);
    // Who leaves, for how long it has been these, who is dead, and what follows.
    for (leaving, same_leave, dead, expected) in [
        (&[][..], Duration::ZERO, None, "Rest"),
        (&[1], moment, None, "Wait(Leaving)"),
        (&[0], moment, None, "Wait(Leaving)"),
        (&[1], TOGETHER, None, "Write"),
        (&[0, 1], moment, None, "Wait(Leaving)"),
        (&[0, 1, 2], Duration::ZERO, None, "Rest"),
        (&[0, 1, 2], TOGETHER, None, "Rest"),
        // Whoever is dead cannot go on with its shards meanwhile.
        (&[0], moment, Some(2), "Write"),
        (&[0, 1], TOGETHER, Some(2), "Rest"),
    ] {
        let (mut knows, members) = cluster(["n0", "n1", "n2"]);
        knows.plan(members[0]);
        knows.all_caught_up();
        for n in leaving {
            knows.reports.0.get_mut(&members[*n]).unwrap().1 = true;
        }
        knows.same_leave = same_leave;
        if let Some(n) = dead {
            knows.alive.remove(&members[n]);
            for fence in knows.fence(members[0]) {
                knows.ended(members[0], &fence);
            }
        }
        let decision = format!("{:?}", knows.next(members[0]));
        let case = (leaving, same_leave, dead);
        assert!(decision.starts_with(expected), "{case:?}: {decision}");
    }
}
