//! What the director does: fence whoever is dead, then plan for those that live.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

#[cfg(test)]
mod tests;

use crate::fence::Fence;
use crate::heartbeat::Reports;
use crate::ids::{Epoch, Generation, MemberId, NodeName, ShardId};
use crate::placement::{Facts, GroupFacts, NodeFacts, Policy, assign};
use crate::plan::{Draft, Plan, Roles};
use crate::topology::Topology;
use crate::view::{Member, View};

/// For how long nothing is planned after somebody has said that it leaves: an operator who stops all nodes does so within
/// milliseconds, and their shards are not to go from one to the next.
pub const TOGETHER: Duration = Duration::from_millis(50);

/// What a member knows when it asks itself what to do as director.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// What the control log says.
    pub view: &'a View,
    /// The members that live, by one's own judgement ([`crate::liveness::Liveness::alive`]).
    pub alive: &'a BTreeSet<MemberId>,
    /// What was heard of them.
    pub reports: &'a Reports,
    /// What the operator chose.
    pub policy: &'a Policy,
    /// For how long to wait for the other nodes when all were down, see [`Waiting::Outage`].
    pub gather: Duration,
    /// For how long it has been the same members that are leaving.
    pub same_leave: Duration,
    /// Since the start of this process.
    pub now: Duration,
}

/// The books of a member that is the director, or may become it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Director {
    me: MemberId,
    /// Since when it is up to it.
    since: Option<Duration>,
    /// Fences that have begun and not ended, at which generation.
    fencing: BTreeMap<MemberId, Generation>,
    fenced: BTreeMap<MemberId, Generation>,
    /// The last epoch for which it wrote a plan; 0: none.
    written: Epoch,
}

/// What to do. Ask again when anything of the [`Situation`] has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Another one is the director, or nobody that lives.
    NotMine,
    /// Nothing for now.
    Wait(Waiting),
    /// End the producers of these, all at once. The plan comes when all are done: [`Director::fenced`].
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
    /// Fences that are under way.
    Fences(Vec<MemberId>),
    /// Its own producers to be armed, and its own report.
    Myself,
    /// Somebody leaves: for a moment, for others that do, see [`TOGETHER`].
    Leaving,
    /// Everybody was down. Whoever is first would be given all shards, most of which have a copy on the disk
    /// of a node that is about to come back: these are given a moment.
    Outage {
        /// The nodes that have not come back.
        missing: BTreeSet<NodeName>,
    },
}

impl Director {
    /// Nothing done yet.
    #[must_use]
    pub fn new(me: MemberId) -> Self {
        Self {
            me,
            since: None,
            fencing: BTreeMap::new(),
            fenced: BTreeMap::new(),
            written: Epoch::default(),
        }
    }

    /// The next thing to do, which counts as begun.
    ///
    /// Ask after every change of the view and of who is alive, when a fence has ended, and now and then for the sake
    /// of the reports. Each time: most of the time it is up to another one, which is noticed at once.
    pub fn next(&mut self, it: &Situation<'_>) -> Decision {
        // Only of members it is asked whether they are fenced, and nobody becomes one again. To forget too much would cost
        // no more than another fence.
        self.fenced.retain(|id, _| it.view.member(*id).is_some());
        let decision = self.decide(it);
        match &decision {
            Decision::NotMine => self.since = None,
            _ => self.since = self.since.or(Some(it.now)),
        }
        match &decision {
            Decision::Fence(fences) => {
                let fences = fences.iter().map(|it| (it.member, it.generation));
                self.fencing.extend(fences);
            }
            Decision::Write(plan) => self.written = plan.epoch(),
            Decision::NotMine | Decision::Wait(_) | Decision::Rest => {}
        }
        decision
    }

    /// All transactional ids of the fence were answered.
    pub fn fenced(&mut self, fence: &Fence) {
        self.fence_failed(fence);
        self.fenced.insert(fence.member, fence.generation);
    }

    /// The fence could not be carried out; it will be asked for again.
    pub fn fence_failed(&mut self, fence: &Fence) {
        if self.fencing.get(&fence.member) == Some(&fence.generation) {
            self.fencing.remove(&fence.member);
        }
    }

    /// The broker did not take the plan of `epoch`: it will never be read back. The next may be another.
    pub fn plan_refused(&mut self, epoch: Epoch) {
        if self.written == epoch {
            self.written = Epoch::default();
        }
    }

    /// The next thing to do, if it is up to this member.
    #[must_use]
    pub fn decide(&self, it: &Situation<'_>) -> Decision {
        let live = |id: &MemberId| it.alive.contains(id);
        let (alive, dead): (Vec<MemberId>, Vec<MemberId>) =
            it.view.members().map(|(id, _)| id).partition(live);
        if alive.first() != Some(&self.me) {
            return Decision::NotMine;
        }
        if it.view.epoch() < self.written {
            return Decision::Wait(Waiting::Plan(self.written));
        }
        if let Some(decision) = self.fence(it.view, &dead) {
            return decision;
        }
        let ready = ready(it, &alive);
        let Some(myself) = ready.get(&self.me) else {
            return Decision::Wait(Waiting::Myself);
        };
        let in_office = it.now.saturating_sub(self.since.unwrap_or(it.now));
        let missing = missing(it, &ready);
        if !missing.is_empty() && in_office < it.gather {
            return Decision::Wait(Waiting::Outage { missing });
        }
        if it.reports.all_leave(ready.keys().copied()) {
            // Nobody is there to take over: all keep what they have until they stop, which they do at once.
            return Decision::Rest;
        }
        let somebody_leaves = alive.iter().any(|id| it.reports.leaves(*id));
        if dead.is_empty() && somebody_leaves && it.same_leave < TOGETHER {
            return Decision::Wait(Waiting::Leaving);
        }
        let facts = facts(it, &ready, &myself.join.topology);
        let roles = assign(&facts, it.view.plan(), it.policy);
        if dead.is_empty() && is_current(it.view, &roles) {
            return Decision::Rest;
        }
        let fenced = dead.iter();
        let fenced = fenced.filter_map(|id| Some((*id, *self.fenced.get(id)?)));
        let draft = Draft {
            author: self.me,
            members: alive.into_iter().collect(),
            fenced: fenced.collect(),
            roles,
        };
        Decision::Write(draft.following(it.view))
    }

    /// What has to happen before the dead may lose their shards; none if all of them are fenced.
    fn fence(&self, view: &View, dead: &[MemberId]) -> Option<Decision> {
        let fences = dead.iter().filter_map(|id| Fence::of(view, *id));
        let open = fences.filter(|it| !covers(&self.fenced, it));
        let (waiting, new): (Vec<Fence>, Vec<Fence>) =
            open.partition(|it| covers(&self.fencing, it));
        if !new.is_empty() {
            return Some(Decision::Fence(new));
        }
        let waiting: Vec<MemberId> = waiting.iter().map(|it| it.member).collect();
        (!waiting.is_empty()).then_some(Decision::Wait(Waiting::Fences(waiting)))
    }
}

/// A fence of an earlier generation does not reach the producers of this one.
fn covers(fences: &BTreeMap<MemberId, Generation>, fence: &Fence) -> bool {
    fences.get(&fence.member) >= Some(&fence.generation)
}

/// Who may be given shards.
fn ready<'a>(it: &Situation<'a>, alive: &[MemberId]) -> BTreeMap<MemberId, &'a Member> {
    let alive = alive.iter();
    let members = alive.filter_map(|id| Some((*id, it.view.member(*id)?)));
    let ready = members.filter(|(id, member)| {
        member.generation > Generation::default() && it.reports.get(*id).is_some()
    });
    ready.collect()
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
        let Some((report, leaving)) = it.reports.get(*id) else {
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
            if copy.is_closed {
                facts.closed.entry(shard.clone()).or_default().insert(*id);
            }
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
