//! A node of the model: the production functions, and as little around them as a shell has.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use super::log::{Logged, Sent};
use super::shard;
use crate::control::{Armed, Leave, Record};
use crate::director::{Decision, Director, Situation};
use crate::fence::Fence;
use crate::handover::{Event, Phase};
use crate::heartbeat::{Copy, Heartbeat, Report, Reports};
use crate::ids::{Generation, MemberId, Offset, ShardId};
use crate::permit::ProducerPermit;
use crate::placement::Policy;
use crate::replicas::{Replicas, Task, Ticket};
use crate::view::{Standing, View};

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) me: MemberId,
    /// A function of the log and of how far it was read, so that only the latter counts in comparisons.
    pub(super) view: Arc<View>,
    pub(super) crashed: bool,
    pub(super) outside: bool,
    replicas: Replicas,
    pub(super) shards: Vec<Local>,
    producers: Option<ProducerPermit>,
    generation: Generation,
    pub(super) suspects: BTreeSet<MemberId>,
    /// Fences that have begun and not ended.
    pub(super) fencing: BTreeMap<MemberId, Fence>,
    director: Director,
    /// Records on their way to the control log.
    pub(super) outbox: VecDeque<Arc<Sent>>,
}

/// What a worker has of a shard.
#[derive(Debug, Clone, Default)]
pub(super) struct Local {
    /// The next input, by the state in its store.
    pub(super) position: u8,
    /// It has a permit.
    active: bool,
    /// A commit was sent whose outcome is not known here.
    pub(super) under_way: bool,
    /// Of what it has still to answer.
    ticket: Ticket,
}

impl Node {
    pub(super) fn new(me: MemberId, shards: usize, log: &[Arc<Logged>]) -> Self {
        let mut node = Self {
            me,
            view: Arc::default(),
            crashed: false,
            outside: false,
            replicas: Replicas::new(me),
            shards: vec![Local::default(); shards],
            producers: None,
            generation: Generation(1),
            suspects: BTreeSet::new(),
            fencing: BTreeMap::new(),
            director: Director::new(me),
            outbox: VecDeque::new(),
        };
        for _ in log {
            node.read(log);
        }
        node
    }

    pub(super) fn is_up(&self) -> bool {
        !self.crashed && !self.outside
    }

    pub(super) fn phase(&self, s: usize) -> Phase {
        self.replicas.phase(&shard(s))
    }

    /// Whether it could change the shard, as far as it knows.
    pub(super) fn writes(&self, s: usize) -> bool {
        let works = self.producers.is_some() && self.replicas.holds(&shard(s));
        self.shards[s].under_way || works && !self.crashed
    }

    /// Whether it would commit something for the shard, if there was something.
    pub(super) fn can_commit(&self, s: usize) -> bool {
        let local = &self.shards[s];
        local.active && self.producers.is_some() && !local.under_way
    }

    /// Whether there is something to read. To whom is outside it is all the same.
    pub(super) fn should_read(&self, log: &[Arc<Logged>]) -> bool {
        self.is_up() && (self.view.read_to().0 as usize) < log.len()
    }

    /// Takes in the next record, and does what it asks for.
    pub(super) fn read(&mut self, log: &[Arc<Logged>]) {
        let at = self.view.read_to().0 as usize;
        self.view = log[at].view.clone();
        match self.view.standing(self.me) {
            Standing::NotYet => {}
            Standing::Outside { .. } => {
                self.work();
                self.end();
            }
            Standing::Member => {
                if self.producers.is_none() {
                    self.producers = self.view.producer_permit(self.me, self.generation);
                }
                if self.producers.is_some() {
                    self.work();
                }
            }
        }
    }

    fn work(&mut self) {
        let mine = (0..self.shards.len()).map(shard).collect();
        let tasks = self.replicas.follow(&self.view, &mine);
        self.carry_out(tasks);
    }

    /// The answer to what was asked of a shard.
    pub(super) fn answer(&mut self, s: usize, event: Event) {
        let ticket = self.shards[s].ticket;
        let tasks = self.replicas.on(&shard(s), ticket, event, &self.view);
        self.carry_out(tasks);
    }

    /// What takes no part in the argument takes no time here.
    fn carry_out(&mut self, tasks: Vec<Task>) {
        let number = |id: &ShardId| id.partition.0 as usize;
        for task in tasks {
            match task {
                Task::Open(id, ticket) => {
                    self.shards[number(&id)].ticket = ticket;
                    self.answer(number(&id), Event::Opened);
                }
                Task::Close(id, ticket) => {
                    self.shards[number(&id)].ticket = ticket;
                    self.answer(number(&id), Event::Closed);
                }
                Task::CatchUp(id, ticket) | Task::Finish(id, ticket) => {
                    self.shards[number(&id)].ticket = ticket;
                }
                Task::Activate(permit) => self.shards[number(permit.shard())].active = true,
                Task::Drop(id) => self.shards[number(&id)].active = false,
                Task::Write(record) => self.send(record),
                Task::Follow(_) => {}
            }
        }
    }

    /// The last commit of the shard is done.
    pub(super) fn finish(&mut self, s: usize) {
        self.shards[s].active = false;
        self.answer(s, Event::Committed);
    }

    fn end(&mut self) {
        self.outside = true;
        self.producers = None;
    }

    /// Says that it is gone: Kafka refused a commit, or nothing is its own any more.
    pub(super) fn leave(&mut self, reason: &str) {
        let tasks = self.replicas.lost(&self.view);
        self.carry_out(tasks);
        let join = &self.view.member(self.me).expect("a member until now").join;
        let leave = Leave {
            member: self.me,
            incarnation: join.incarnation,
            reason: reason.into(),
        };
        self.send(Record::Leave(leave));
        self.end();
    }

    fn send(&mut self, record: Record) {
        self.outbox.push_back(Sent::new(record));
    }

    /// Initialises new producers. Its worker is made anew, and goes on when they are permitted.
    pub(super) fn rearm(&mut self) {
        self.generation = self.generation.next();
        self.producers = None;
        self.replicas = Replicas::new(self.me);
        for local in &mut self.shards {
            (local.active, local.under_way) = (false, false);
        }
        let (member, generation) = (self.me, self.generation);
        self.send(Record::Armed(Armed { member, generation }));
    }

    /// What there is to do for the cluster, if it is up to this node.
    pub(super) fn decide(&mut self, leaving: Option<MemberId>) -> Decision {
        let members = self.view.members().map(|(id, _)| id);
        let alive: BTreeSet<_> = members.filter(|id| !self.suspects.contains(id)).collect();
        // The rest only costs time.
        if alive.first() != Some(&self.me) {
            return Decision::NotMine;
        }
        let copy = Copy {
            position: Offset(0),
            lag_records: 0,
            is_closed: false,
        };
        // Every node has a copy of everything, so that placement is free to move what it likes.
        let report = Report {
            copies: (0..self.shards.len()).map(|s| (shard(s), copy)).collect(),
            ..Report::default()
        };
        let mut reports = Reports::default();
        for (member, _) in self.view.members() {
            reports.heard(Heartbeat {
                member,
                beat: 0,
                leaving: leaving == Some(member),
                report: Some(report.clone()),
            });
        }
        self.director.next(&Situation {
            view: &self.view,
            alive: &alive,
            reports: &reports,
            policy: &Policy::default(),
            gather: Duration::ZERO,
            same_leave: Duration::MAX,
            now: Duration::ZERO,
        })
    }

    pub(super) fn direct(&mut self, leaving: Option<MemberId>) {
        match self.decide(leaving) {
            Decision::Fence(fences) => {
                let fences = fences.into_iter().map(|it| (it.member, it));
                self.fencing.extend(fences);
            }
            Decision::Write(plan) => self.send(Record::Plan(plan)),
            Decision::NotMine | Decision::Wait(_) | Decision::Rest => {}
        }
    }

    pub(super) fn fence_is_done(&mut self, member: MemberId) {
        if let Some(fence) = self.fencing.remove(&member) {
            self.director.fenced(&fence);
        }
    }

    /// What tells states apart. Tickets only tell histories apart.
    fn essence(&self) -> impl PartialEq + Hash + '_ {
        let shards = self.shards.iter();
        let shards = shards.map(|it| (it.position, it.active, it.under_way));
        (
            (self.view.read_to(), self.crashed, self.outside),
            (self.replicas.essence(), shards.collect::<Vec<_>>()),
            (&self.producers, self.generation),
            (&self.suspects, &self.fencing, &self.director),
            &self.outbox,
        )
    }
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.essence() == other.essence()
    }
}

impl Eq for Node {}

impl Hash for Node {
    fn hash<H: Hasher>(&self, to: &mut H) {
        self.essence().hash(to);
    }
}
