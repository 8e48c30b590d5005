//! What the director does: fence whoever is dead, then plan for those that live.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::heartbeat::Report;
use crate::ids::{Epoch, Generation, MemberId, NodeName, ShardId};
use crate::placement::{Facts, GroupFacts, NodeFacts, Policy, assign};
use crate::plan::{Draft, Plan, Roles};
use crate::startup::Fence;
use crate::topology::Topology;
use crate::view::{Member, View};

/// All that a member knows when it asks itself what to do as director.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// What the control log says.
    pub view: &'a View,
    /// Oneself.
    pub me: MemberId,
    /// The members that live, by one's own judgement ([`crate::liveness::Liveness::alive`]).
    pub alive: &'a BTreeSet<MemberId>,
    /// The latest report of each member, and whether it said that it is leaving.
    pub reports: &'a BTreeMap<MemberId, (Report, bool)>,
    /// Whom one has fenced, and at which generation: what came with [`Decision::Fence`], once it is done.
    pub fenced: &'a BTreeMap<MemberId, Generation>,
    /// The last epoch for which one wrote a plan; 0: none.
    pub written: Epoch,
    /// For how long one has been the director.
    pub in_office: Duration,
    /// What the operator chose.
    pub policy: &'a Policy,
    /// For how long to wait for the other nodes when all were down, see [`Waiting::Outage`].
    pub gather: Duration,
}

/// What to do. Ask again when anything of the [`Situation`] has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Another one is the director, or nobody that lives.
    NotMine,
    /// Nothing for now.
    Wait(Waiting),
    /// End the producers of these, all at once. The plan comes when all are done.
    Fence(Vec<Fence>),
    /// Write this plan.
    Write(Plan),
    /// All is as it should be.
    Rest,
}

/// What the director waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// Its own plan, or another of that epoch, to be read back.
    Plan(Epoch),
    /// Its own producers to be armed, and its own report.
    Myself,
    /// Everybody was down. Whoever is first would be given all shards, most of which have a copy on the disk
    /// of a node that is about to come back: these are given a moment.
    Outage {
        /// The nodes that have not come back.
        missing: BTreeSet<NodeName>,
    },
}

/// The next thing to do, if it is up to `me`.
#[must_use]
pub fn direct(it: &Situation<'_>) -> Decision {
    let live = |id: &MemberId| it.alive.contains(id);
    let (alive, dead): (Vec<MemberId>, Vec<MemberId>) =
        it.view.members().map(|(id, _)| id).partition(live);
    if alive.first() != Some(&it.me) {
        return Decision::NotMine;
    }
    if it.view.epoch() < it.written {
        return Decision::Wait(Waiting::Plan(it.written));
    }
    let covers = |fence: &Fence| it.fenced.get(&fence.member) >= Some(&fence.generation);
    let fences = dead.iter().filter_map(|id| Fence::of(it.view, *id));
    let open: Vec<Fence> = fences.filter(|fence| !covers(fence)).collect();
    if !open.is_empty() {
        return Decision::Fence(open);
    }
    let ready: BTreeMap<MemberId, &Member> = alive
        .iter()
        .filter_map(|id| Some((*id, it.view.member(*id)?)))
        .filter(|(id, member)| {
            member.generation > Generation::default() && it.reports.contains_key(id)
        })
        .collect();
    let Some(myself) = ready.get(&it.me) else {
        return Decision::Wait(Waiting::Myself);
    };
    let missing = missing(it, &ready);
    if !missing.is_empty() && it.in_office < it.gather {
        return Decision::Wait(Waiting::Outage { missing });
    }
    let facts = facts(it, &ready, &myself.join.topology);
    let roles = assign(&facts, it.view.plan(), it.policy);
    if dead.is_empty() && is_current(it.view, &roles) {
        return Decision::Rest;
    }
    let fenced = dead
        .iter()
        .filter_map(|id| Some((*id, *it.fenced.get(id)?)));
    let draft = Draft {
        author: it.me,
        members: alive.into_iter().collect(),
        fenced: fenced.collect(),
        roles,
    };
    Decision::Write(draft.following(it.view))
}

/// The nodes to wait for, if all actives of the current plan are gone.
fn missing(it: &Situation<'_>, ready: &BTreeMap<MemberId, &Member>) -> BTreeSet<NodeName> {
    let plan = it.view.plan().into_iter().flat_map(Plan::shards);
    let mut actives = plan.map(|(_, it)| it.active);
    if actives.any(|active| ready.contains_key(&active)) {
        return BTreeSet::new();
    }
    let back: BTreeSet<&NodeName> = ready.values().map(|it| &it.join.node).collect();
    let before = it.view.planned_nodes();
    before
        .filter(|name| !back.contains(name))
        .cloned()
        .collect()
}

fn facts(it: &Situation<'_>, ready: &BTreeMap<MemberId, &Member>, topology: &Topology) -> Facts {
    let mut facts = Facts::default();
    for (name, group) in &topology.groups {
        let group = GroupFacts {
            partitions: group.partitions,
            has_tables: !group.tables.is_empty(),
            standbys: group.standbys,
        };
        facts.groups.insert(name.clone(), group);
    }
    for (id, member) in ready {
        let Some((report, leaving)) = it.reports.get(id) else {
            continue;
        };
        let node = NodeFacts {
            weight: member.join.weight,
            rack: member.join.rack.clone(),
            leaving: *leaving,
        };
        facts.nodes.insert(*id, node);
        for (shard, copy) in &report.copies {
            let lags = facts.lags.entry(shard.clone()).or_default();
            lags.insert(*id, copy.lag_records);
        }
        for shard in &report.broken {
            facts.broken.entry(shard.clone()).or_default().insert(*id);
        }
    }
    facts
}

fn is_current(view: &View, roles: &BTreeMap<ShardId, Roles>) -> bool {
    let Some(plan) = view.plan() else {
        return false;
    };
    let same = |(shard, roles): (_, &Roles)| plan.get(shard).is_some_and(|it| it.roles() == *roles);
    roles.len() == plan.shards().len() && roles.iter().all(same)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Entry, Record};
    use crate::heartbeat::Copy;
    use crate::ids::Offset;
    use crate::plan::Why;
    use crate::testing::{World, topology};

    /// What member 0 (`n0`), or whoever else, knows.
    struct Knows {
        view: View,
        alive: BTreeSet<MemberId>,
        reports: BTreeMap<MemberId, (Report, bool)>,
        fenced: BTreeMap<MemberId, Generation>,
        written: Epoch,
        in_office: Duration,
    }

    impl Knows {
        fn decide(&self, me: MemberId) -> Decision {
            direct(&Situation {
                view: &self.view,
                me,
                alive: &self.alive,
                reports: &self.reports,
                fenced: &self.fenced,
                written: self.written,
                in_office: self.in_office,
                policy: &Policy::default(),
                gather: Duration::from_secs(1),
            })
        }

        fn plan(&mut self, me: MemberId) -> Plan {
            let Decision::Write(plan) = self.decide(me) else {
                panic!("{:?}", self.decide(me));
            };
            let entry = Entry::Record(Record::Plan(plan.clone()));
            self.view.apply(self.view.read_to(), entry).unwrap();
            plan
        }
    }

    /// So many nodes, all armed, alive, and heard of.
    fn cluster(names: &[&str]) -> (Knows, Vec<MemberId>) {
        let mut world = World::default();
        for (n, name) in names.iter().enumerate() {
            world.start_as(name);
            world.read(n, usize::MAX);
            world.arm(n);
        }
        world.read(0, usize::MAX);
        let view = world.nodes[0].view.clone();
        let members: Vec<MemberId> = view.members().map(|(id, _)| id).collect();
        let knows = Knows {
            alive: members.iter().copied().collect(),
            reports: members.iter().map(|id| (*id, Default::default())).collect(),
            fenced: BTreeMap::new(),
            written: Epoch(0),
            in_office: Duration::ZERO,
            view,
        };
        (knows, members)
    }

    fn caught_up(knows: &mut Knows) {
        let shards: Vec<_> = topology(2).shards().collect();
        let copy = Copy {
            position: Offset(1),
            lag_records: 0,
        };
        for (report, _) in knows.reports.values_mut() {
            report.copies = shards.iter().map(|id| (id.clone(), copy)).collect();
        }
    }

    #[test]
    fn the_member_that_joined_first_plans_until_there_is_nothing_left_to_do() {
        let (mut knows, members) = cluster(&["n0", "n1", "n2"]);
        assert_eq!(knows.decide(members[1]), Decision::NotMine);
        let plan = knows.plan(members[0]);
        assert_eq!(plan.members().len(), 3);
        assert_eq!(knows.decide(members[0]), Decision::Rest);
        knows.written = plan.epoch().next();
        let waits = Decision::Wait(Waiting::Plan(knows.written));
        assert_eq!(knows.decide(members[0]), waits);
    }

    #[test]
    fn the_dead_are_fenced_first_and_expelled_by_the_plan_that_follows() {
        let (mut knows, members) = cluster(&["n0", "n1", "n2"]);
        knows.plan(members[0]);
        caught_up(&mut knows);
        let [n0, n1, n2] = members[..] else { panic!() };
        knows.alive.remove(&n0);
        assert_eq!(
            knows.decide(n0),
            Decision::NotMine,
            "it is not alive to itself"
        );
        let Decision::Fence(fences) = knows.decide(n1) else {
            panic!("{:?}", knows.decide(n1));
        };
        assert_eq!(fences.len(), 1);
        knows.fenced.insert(n0, Generation(0));
        assert!(
            matches!(knows.decide(n1), Decision::Fence(_)),
            "an earlier generation"
        );
        knows.fenced.insert(n0, fences[0].generation);
        let plan = knows.plan(n1);
        assert_eq!(plan.fenced(), &knows.fenced);
        assert_eq!(plan.members(), &[n1, n2].into());
        assert!(plan.shards().values().all(|it| it.active != n0));
        let failover = |why: &Why| matches!(why, Why::Failover { from, .. } if *from == n0);
        assert!(plan.shards().values().any(|it| failover(&it.why)));
        for shard in plan.shards().keys() {
            assert_eq!(knows.view.awaited(shard).count(), 0, "nothing to wait for");
        }
        assert_eq!(knows.decide(n1), Decision::Rest);
    }

    #[test]
    fn who_is_not_armed_or_has_not_reported_gets_nothing_yet() {
        let (mut knows, members) = cluster(&["n0", "n1"]);
        knows.reports.remove(&members[1]);
        let plan = knows.plan(members[0]);
        assert!(
            plan.shards()
                .values()
                .all(|it| it.active == members[0] && it.standbys.is_empty())
        );
        knows.reports.insert(members[1], Default::default());
        let plan = knows.plan(members[0]);
        assert!(
            plan.shards()
                .values()
                .any(|it| it.standbys.contains_key(&members[1]))
        );
        knows.reports.remove(&members[0]);
        assert_eq!(knows.decide(members[0]), Decision::Wait(Waiting::Myself));
    }

    #[test]
    fn after_an_outage_the_first_waits_a_moment_for_the_others_and_their_disks() {
        let (mut knows, members) = cluster(&["n0", "n1", "n0", "n1"]);
        let [old0, old1, new0, new1] = members[..] else {
            panic!()
        };
        knows.alive = [old0, old1].into();
        let of_old = |id: &MemberId| [old0, old1].contains(id);
        let all = knows.reports.clone();
        knows.reports.retain(|id, _| of_old(id));
        // The new ones are dead to the old ones' first plan only for the sake of the test: it makes a plan of
        // the old ones.
        knows.fenced = [(new0, Generation(1)), (new1, Generation(1))].into();
        let Decision::Write(mut plan) = knows.decide(old0) else {
            panic!("{:?}", knows.decide(old0));
        };
        plan.fenced.clear();
        knows
            .view
            .apply(knows.view.read_to(), Entry::Record(Record::Plan(plan)))
            .unwrap();

        knows.alive = [new0, new1].into();
        knows.fenced = [(old0, Generation(1)), (old1, Generation(1))].into();
        knows.reports = all;
        knows.reports.retain(|id, _| *id == new0);
        let missing = [NodeName::from("n1")].into();
        assert_eq!(
            knows.decide(new0),
            Decision::Wait(Waiting::Outage { missing })
        );
        knows.in_office = Duration::from_secs(1);
        assert!(
            matches!(knows.decide(new0), Decision::Write(_)),
            "it waited long enough"
        );
        knows.in_office = Duration::ZERO;
        knows.reports.insert(new1, Default::default());
        assert!(
            matches!(knows.decide(new0), Decision::Write(_)),
            "all are back"
        );
    }

    #[test]
    fn a_node_may_leave_once_nothing_is_its_own() {
        let (mut knows, members) = cluster(&["n0", "n1"]);
        knows.plan(members[0]);
        caught_up(&mut knows);
        let leaving = members[1];
        assert!(!knows.view.may_leave(leaving));
        knows.reports.get_mut(&leaving).unwrap().1 = true;
        let plan = knows.plan(members[0]);
        assert!(plan.actives_of(leaving).next().is_none());
        assert!(
            !knows.view.may_leave(leaving),
            "it has to release them first"
        );
        let owed: Vec<_> = knows.view.owed(leaving).cloned().collect();
        for shard in owed {
            let released = Entry::Record(knows.view.decline(&shard, leaving));
            knows.view.apply(knows.view.read_to(), released).unwrap();
        }
        assert!(knows.view.may_leave(leaving));
    }
}
