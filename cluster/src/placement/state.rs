//! The placement while it is being worked out, and the few moves that keep its books right.

use std::collections::{BTreeMap, BTreeSet};

use super::problem::{G, N, Problem, S};
use crate::ids::MemberId;
use crate::plan::{Roles, Why};

pub(super) struct State<'p> {
    pub(super) problem: &'p Problem,
    pub(super) shards: Vec<Shard>,
    /// Shards by home, then group.
    pub(super) homes: Vec<Vec<BTreeSet<S>>>,
    /// Shards by standby.
    pub(super) kept: Vec<BTreeSet<S>>,
    /// How many shards each node is the home of.
    actives: Vec<i64>,
    total_replicas: i64,
    /// How many more copies may be filled for the sake of balance.
    pub(super) budget: usize,
}

#[derive(Default)]
pub(super) struct Shard {
    /// Who processes it now, if that node lives and can.
    pub(super) now: Option<N>,
    now_why: Option<Why>,
    /// Who processed it last, dead or alive.
    pub(super) before: Option<MemberId>,
    /// Who is to process it. Differs from `now` while that one is warming up, and is none while nobody else
    /// could be found for the shard of a node that is about to stop.
    pub(super) home: Option<N>,
    home_why: Option<Why>,
    /// Who is to keep a copy. May name `now` while `home` is warming up.
    pub(super) standbys: BTreeMap<N, Why>,
    /// Standbys that go once the one that relieves them has caught up: `new -> old`.
    relieved: BTreeMap<N, N>,
}

impl<'p> State<'p> {
    /// What is left of the roles before.
    pub(super) fn of(problem: &'p Problem, before: &[Option<Roles>]) -> Self {
        let count = problem.nodes.len();
        let mut state = Self {
            shards: Vec::with_capacity(before.len()),
            homes: vec![vec![BTreeSet::new(); problem.groups.len()]; count],
            kept: vec![BTreeSet::new(); count],
            actives: vec![0; count],
            total_replicas: 0,
            budget: 0,
            problem,
        };
        for (s, before) in before.iter().enumerate() {
            state.shards.push(
                before
                    .as_ref()
                    .map(|it| remains(problem, s, it))
                    .unwrap_or_default(),
            );
            state.enter(s);
        }
        state
    }

    fn enter(&mut self, s: S) {
        let slice = &self.problem.shards[s];
        let group = &self.problem.groups[slice.group];
        let shard = &mut self.shards[s];
        if let (Some(now), Some(home)) = (shard.now, shard.home)
            && now != home
            && self.problem.is_fit(now, s)
            && shard.standbys.len() < group.wanted
        {
            shard.standbys.insert(now, Why::Former);
        }
        if let Some(home) = shard.home {
            self.homes[home][slice.group].insert(s);
            self.actives[home] += 1;
        }
        for &n in shard.standbys.keys() {
            self.kept[n].insert(s);
        }
        self.total_replicas += 1 + group.wanted as i64;
        let relieved = std::mem::take(&mut self.shards[s].relieved).into_iter();
        let relieved = relieved.filter(|(new, _)| !self.is_ready(*new, s));
        self.shards[s].relieved = relieved.collect();
    }

    /// Sets the budget to what is left beside the copies that are being filled already.
    pub(super) fn charge_what_is_pending(&mut self) {
        let pending = |s: S| self.shards[s].relieved.len() + usize::from(self.is_warming(s));
        let pending: usize = (0..self.shards.len()).map(pending).sum();
        self.budget = self.problem.max_warmups.saturating_sub(pending);
    }

    pub(super) fn roles(&self, s: S) -> Option<Roles> {
        let shard = &self.shards[s];
        let id = |n: N| self.problem.nodes[n].id;
        let mut warmups = BTreeMap::new();
        let (active, why) = match (shard.now, shard.home) {
            (Some(now), Some(home)) if self.is_warming(s) => {
                warmups.insert(id(home), shard.home_why.unwrap_or(Why::First));
                (now, shard.now_why)
            }
            (_, Some(home)) => (home, shard.home_why),
            (now, None) => (now?, shard.now_why),
        };
        let relieved = shard.relieved.iter();
        let relieved = relieved.map(|(new, old)| (*old, Why::Until { relief: id(*new) }));
        let standbys = relieved.chain(shard.standbys.iter().map(|(n, why)| (*n, *why)));
        let standbys = standbys.filter(|(n, _)| *n != active && Some(*n) != shard.home);
        Some(Roles {
            active: id(active),
            why: why.unwrap_or(Why::First),
            standbys: standbys.map(|(n, why)| (id(n), why)).collect(),
            warmups,
        })
    }
}

/// What can be kept of the roles of a shard.
fn remains(problem: &Problem, s: S, before: &Roles) -> Shard {
    let fit = |id: &MemberId| problem.node(*id).filter(|&n| problem.is_fit(n, s));
    let active = fit(&before.active).map(|n| (n, before.why));
    let mut warmups = before.warmups.iter();
    let warming = warmups.find_map(|(id, why)| Some((fit(id)?, *why)));
    let home = warming.or(active);
    let standbys = before.standbys.iter();
    let mut standbys: BTreeMap<N, Why> = standbys
        .filter_map(|(id, why)| Some((fit(id)?, *why)))
        .collect();
    let mut relieved = BTreeMap::new();
    for (old, why) in standbys.clone() {
        let Why::Until { relief } = why else { continue };
        match fit(&relief).filter(|new| standbys.contains_key(new)) {
            Some(new) => {
                standbys.remove(&old);
                relieved.insert(new, old);
            }
            None => drop(standbys.insert(old, Why::Missing)),
        }
    }
    if let Some((home, _)) = home {
        standbys.remove(&home);
        relieved.remove(&home);
    }
    let broken = &problem.shards[s].broken;
    Shard {
        now: problem.node(before.active).filter(|n| !broken.contains(n)),
        now_why: Some(before.why),
        before: Some(before.active),
        home: home.map(|(n, _)| n),
        home_why: home.map(|(_, why)| why),
        standbys,
        relieved,
    }
}

/// What one can ask of it.
impl State<'_> {
    pub(super) fn group(&self, s: S) -> G {
        self.problem.shards[s].group
    }

    pub(super) fn wanted(&self, s: S) -> usize {
        self.problem.groups[self.group(s)].wanted
    }

    pub(super) fn has_tables(&self, s: S) -> bool {
        self.problem.groups[self.group(s)].has_tables
    }

    pub(super) fn holds(&self, n: N, s: S) -> bool {
        let shard = &self.shards[s];
        shard.home == Some(n) || shard.standbys.contains_key(&n)
    }

    /// Whether `n` could be the active of `s` at once, without a wait that anybody minds.
    pub(super) fn is_ready(&self, n: N, s: S) -> bool {
        !self.has_tables(s)
            || self.shards[s].now == Some(n)
            || (self.is_filled(n, s) && !self.problem.shards[s].closed.contains(&n))
    }

    /// Whether `n` has a copy of `s` that counts as caught up, open or not.
    pub(super) fn is_filled(&self, n: N, s: S) -> bool {
        let lag = self.problem.lag(n, s);
        lag.is_some_and(|lag| lag <= self.problem.acceptable_lag)
    }

    /// What has to be done before `n` could be the active of `s`: nothing, to open its copy, or to fill it.
    pub(super) fn effort(&self, n: N, s: S) -> u8 {
        match (self.is_ready(n, s), self.is_filled(n, s)) {
            (true, _) => 0,
            (false, true) => 1,
            (false, false) => 2,
        }
    }

    /// Whether who processed `s` last is gone.
    pub(super) fn has_lost_active(&self, s: S) -> bool {
        let before = self.shards[s].before;
        before.is_some_and(|id| self.problem.node(id).is_none())
    }

    /// Whether the copy of `s` on `n` has so much to read that a take-over would show it.
    pub(super) fn is_behind(&self, n: N, s: S) -> bool {
        let problem = self.problem;
        let lag = problem.lag(n, s);
        lag.is_some_and(|lag| lag > problem.acceptable_lag / 10)
    }

    /// Whether `s` waits for its home to open its copy, and to catch up.
    pub(super) fn is_warming(&self, s: S) -> bool {
        self.shards[s]
            .home
            .is_some_and(|home| self.would_warm(s, home))
    }

    /// Whether `s` would wait for `n`, if that was its home.
    pub(super) fn would_warm(&self, s: S, n: N) -> bool {
        self.shards[s].now.is_some() && !self.is_ready(n, s)
    }

    /// Whether the standby on `n` must stay for now: it is only being filled itself, in the place of another,
    /// or it is what the active will be once its successor has caught up.
    pub(super) fn is_bound(&self, n: N, s: S) -> bool {
        let shard = &self.shards[s];
        shard.relieved.contains_key(&n) || (shard.now == Some(n) && self.is_warming(s))
    }

    /// Whether the budget allows `n` to be the home of `s`.
    pub(super) fn can_pay(&self, s: S, n: N) -> bool {
        self.budget > 0 || !self.would_warm(s, n) || self.is_warming(s)
    }

    /// How many other copies of `s` would share the rack of `n`, not counting the one on `but`.
    pub(super) fn on_rack_of(&self, n: N, s: S, but: Option<N>) -> usize {
        let rack = self.problem.nodes[n].rack;
        let shard = &self.shards[s];
        let others = shard.standbys.keys().copied().chain(shard.home);
        let others = others.filter(|&other| other != n && Some(other) != but);
        let shares = |other: &N| rack.is_some() && self.problem.nodes[*other].rack == rack;
        others.filter(shares).count()
    }

    /// Whether `s` shares no more racks when its copy on `i` is on `j` instead.
    pub(super) fn keeps_racks(&self, s: S, i: N, j: N) -> bool {
        self.on_rack_of(j, s, Some(i)) <= self.on_rack_of(i, s, None)
    }

    pub(super) fn of_group(&self, n: N, group: G) -> i64 {
        self.homes[n][group].len() as i64
    }

    /// What `n` has beyond its share of something of which there are `total`, in units of a share's
    /// denominator.
    fn deviation(&self, n: N, has: i64, total: i64) -> i64 {
        has * self.problem.total_weight - total * self.problem.nodes[n].weight
    }

    /// The deviation in actives, or what is to be active.
    pub(super) fn active_deviation(&self, n: N) -> i64 {
        self.deviation(n, self.actives[n], self.shards.len() as i64)
    }

    /// The deviation in copies, the actives included.
    pub(super) fn replica_deviation(&self, n: N) -> i64 {
        let copies = self.actives[n] + self.kept[n].len() as i64;
        self.deviation(n, copies, self.total_replicas)
    }

    /// The deviation in actives of one group.
    pub(super) fn group_deviation(&self, n: N, group: G) -> i64 {
        self.deviation(n, self.of_group(n, group), self.problem.groups[group].size)
    }
}

/// What one can do to it.
impl State<'_> {
    /// Makes `n` the one who processes `s` for now.
    pub(super) fn set_now(&mut self, s: S, n: N, why: Why) {
        self.keep(s, n);
        let shard = &mut self.shards[s];
        (shard.now, shard.now_why) = (Some(n), Some(why));
    }

    /// Makes `n` the home of `s`. Where it was the home it stays as a standby if `n` was one, so that the
    /// number of copies stays.
    pub(super) fn set_home(&mut self, s: S, n: N, why: Why) {
        let was_standby = self.drop_standby(s, n);
        self.keep(s, n);
        let group = self.group(s);
        let shard = &mut self.shards[s];
        let old = shard.home.replace(n);
        shard.home_why = match shard.now {
            None => Some(Why::First),
            Some(now) if now == n => shard.now_why,
            Some(_) => Some(why),
        };
        self.homes[n][group].insert(s);
        self.actives[n] += 1;
        if let Some(old) = old {
            self.homes[old][group].remove(&s);
            self.actives[old] -= 1;
            if was_standby {
                self.add_standby(s, old, Why::Former);
            }
        }
        if let Some(now) = self.shards[s].now.filter(|_| self.is_warming(s)) {
            self.keep(s, now);
        }
    }

    /// [`State::set_home`], if the budget allows it.
    pub(super) fn try_home(&mut self, s: S, n: N, why: Why) -> bool {
        if !self.can_pay(s, n) {
            return false;
        }
        self.budget += usize::from(self.is_warming(s));
        self.set_home(s, n, why);
        self.budget -= usize::from(self.is_warming(s));
        true
    }

    pub(super) fn add_standby(&mut self, s: S, n: N, why: Why) {
        self.keep(s, n);
        self.kept[n].insert(s);
        self.shards[s].standbys.insert(n, why);
    }

    pub(super) fn drop_standby(&mut self, s: S, n: N) -> bool {
        self.forget_relief(s, n);
        self.shards[s].standbys.remove(&n);
        self.kept[n].remove(&s)
    }

    /// Moves a standby, if the budget allows it; the old one stays in the plan until the new one has caught up.
    pub(super) fn try_relieve(&mut self, s: S, old: N, new: N) -> bool {
        let ready = self.is_ready(new, s);
        if !ready && self.budget == 0 {
            return false;
        }
        let from = self.problem.nodes[old].id;
        self.drop_standby(s, old);
        self.add_standby(s, new, Why::Relieves { from });
        if !ready {
            self.budget -= 1;
            self.shards[s].relieved.insert(new, old);
        }
        true
    }

    /// `n` stays, and nobody has to relieve it.
    fn keep(&mut self, s: S, n: N) {
        let mut relieved = self.shards[s].relieved.iter();
        if let Some((&new, _)) = relieved.find(|(_, old)| **old == n) {
            self.forget_relief(s, new);
        }
    }

    /// `new` is not to relieve anybody any more.
    fn forget_relief(&mut self, s: S, new: N) {
        let relieved = self.shards[s].relieved.remove(&new).is_some();
        self.budget += usize::from(relieved && !self.is_ready(new, s));
    }
}
