//! A node of the model: the production functions, and as little around them as a shell has.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use super::log::{Logged, Sent};
use super::shard;
use crate::control::{Armed, Leave, Record};
use crate::director::{Decision, Situation, direct};
use crate::handover::{Event, Phase, Replica, Role, Step};
use crate::heartbeat::Report;
use crate::ids::{Epoch, Generation, MemberId, Offset};
use crate::permit::{Closing, Permit, ProducerPermit, Review};
use crate::placement::Policy;
use crate::view::{Standing, View};

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) me: MemberId,
    /// A function of the log and of how far it was read, so that only the latter counts in comparisons.
    pub(super) view: Arc<View>,
    pub(super) crashed: bool,
    pub(super) outside: bool,
    pub(super) shards: Vec<Local>,
    pub(super) producers: Option<ProducerPermit>,
    pub(super) generation: Generation,
    pub(super) suspects: BTreeSet<MemberId>,
    /// Fences that have begun and not ended.
    pub(super) fencing: BTreeMap<MemberId, Generation>,
    fenced: BTreeMap<MemberId, Generation>,
    written: Epoch,
    /// Records on their way to the control log.
    pub(super) outbox: VecDeque<Arc<Sent>>,
}

/// What the node has of a shard.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Local {
    pub(super) replica: Replica,
    permit: Option<Permit>,
    closing: Option<Closing>,
    /// The next input, by the state in its store.
    pub(super) position: u8,
    /// A commit was sent whose outcome is not known here.
    pub(super) under_way: bool,
    /// The last epoch in which this node said that it does not have the shard.
    declined: Epoch,
}

impl Node {
    pub(super) fn new(me: MemberId, shards: usize, log: &[Arc<Logged>]) -> Self {
        let mut node = Self {
            me,
            view: Arc::default(),
            crashed: false,
            outside: false,
            shards: vec![Local::default(); shards],
            producers: None,
            generation: Generation(1),
            suspects: BTreeSet::new(),
            fencing: BTreeMap::new(),
            fenced: BTreeMap::new(),
            written: Epoch(0),
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

    /// Whether there is something to read. To whom is outside it is all the same.
    pub(super) fn should_read(&self, log: &[Arc<Logged>]) -> bool {
        self.is_up() && (self.view.read_to().0 as usize) < log.len()
    }

    /// Takes in the next record, and does what it asks for.
    pub(super) fn read(&mut self, log: &[Arc<Logged>]) {
        let at = self.view.read_to().0 as usize;
        self.view = log[at].view.clone();
        if self.view.standing(self.me) == Standing::NotYet {
            return;
        }
        if self.view.standing(self.me) != Standing::Member {
            return self.drop_everything();
        }
        if self.producers.is_none() {
            self.producers = self.view.producer_permit(self.me, self.generation);
        }
        (0..self.shards.len()).for_each(|s| self.observe(s));
    }

    fn observe(&mut self, s: usize) {
        let view = self.view.clone();
        match self.shards[s]
            .permit
            .take()
            .map(|permit| permit.review(&view))
        {
            Some(Review::Kept(permit)) => self.shards[s].permit = Some(permit),
            Some(Review::Close(closing)) => {
                self.shards[s].closing = Some(closing);
                self.tell(s, Event::TakenAway);
            }
            Some(Review::Lost(_)) => self.tell(s, Event::Lost),
            None => {}
        }
        self.tell(s, Event::Assigned(Role::of(&view, self.me, &shard(s))));
        if self.shards[s].replica.wants_permit()
            && let Some(permit) = view.permit(&shard(s), self.me)
        {
            self.shards[s].permit = Some(permit);
            self.tell(s, Event::Permitted);
        }
        let owed = view.owed(self.me).any(|it| *it == shard(s));
        let local = &mut self.shards[s];
        if owed && !local.replica.holds_permit() && local.declined < view.epoch() {
            local.declined = view.epoch();
            let declined = view.decline(&shard(s), self.me);
            self.send(declined);
        }
    }

    /// Lets the machine of a shard go on. What takes no part in the argument takes no time here.
    pub(super) fn tell(&mut self, s: usize, event: Event) {
        let (replica, steps) = self.shards[s].replica.on(event);
        self.shards[s].replica = replica;
        for step in steps {
            match step {
                Step::Open => self.tell(s, Event::Opened),
                Step::Close => self.tell(s, Event::Closed),
                Step::Release => {
                    let local = &mut self.shards[s];
                    let closing = local.closing.take().expect("it was taken away");
                    local.declined = self.view.epoch();
                    let released = closing.done(&self.view);
                    self.send(released);
                }
                Step::Drop => {
                    self.shards[s].permit = None;
                    self.shards[s].closing = None;
                }
                Step::Follow | Step::CatchUp | Step::Activate | Step::Finish => {}
            }
        }
    }

    fn drop_everything(&mut self) {
        self.outside = true;
        self.producers = None;
        (0..self.shards.len()).for_each(|s| self.tell(s, Event::Lost));
    }

    /// Kafka refused a commit.
    pub(super) fn was_fenced(&mut self) {
        self.drop_everything();
        self.leave("fenced");
    }

    fn leave(&mut self, reason: &str) {
        let join = &self.view.member(self.me).expect("a member until now").join;
        let leave = Leave {
            member: self.me,
            incarnation: join.incarnation,
            reason: reason.into(),
        };
        self.send(Record::Leave(leave));
    }

    fn send(&mut self, record: Record) {
        self.outbox.push_back(Sent::new(record));
    }

    /// Orderly: nothing is its own any more.
    pub(super) fn stop(&mut self) {
        self.leave("stopped");
        self.drop_everything();
    }

    /// Initialises new producers; Kafka takes them for valid at once.
    pub(super) fn rearm(&mut self) {
        self.generation = self.generation.next();
        self.producers = None;
        (0..self.shards.len()).for_each(|s| self.tell(s, Event::Rewound));
        let (member, generation) = (self.me, self.generation);
        self.send(Record::Armed(Armed { member, generation }));
    }

    pub(super) fn decide(&self, leaving: Option<MemberId>) -> Decision {
        let members = self.view.members().map(|(id, _)| id);
        let alive: BTreeSet<_> = members.filter(|id| !self.suspects.contains(id)).collect();
        // The rest only costs time.
        if !self.is_up() || alive.first() != Some(&self.me) {
            return Decision::NotMine;
        }
        let copy = crate::heartbeat::Copy {
            position: Offset(0),
            lag_records: 0,
        };
        // Every node has a copy of everything, so that placement is free to move what it likes.
        let report = Report {
            copies: (0..self.shards.len()).map(|s| (shard(s), copy)).collect(),
            ..Report::default()
        };
        let members = self.view.members().map(|(id, _)| id);
        direct(&Situation {
            view: &self.view,
            me: self.me,
            alive: &alive,
            reports: &members
                .map(|id| (id, (report.clone(), leaving == Some(id))))
                .collect(),
            fenced: &self.fenced,
            written: self.written,
            in_office: Duration::ZERO,
            policy: &Policy::default(),
            gather: Duration::ZERO,
        })
    }

    pub(super) fn carry_out(&mut self, decision: Decision) {
        match decision {
            Decision::Fence(fences) => {
                let fences = fences.into_iter().map(|it| (it.member, it.generation));
                self.fencing.extend(fences);
            }
            Decision::Write(plan) => {
                self.written = plan.epoch();
                self.send(Record::Plan(plan));
            }
            Decision::NotMine | Decision::Wait(_) | Decision::Rest => {}
        }
    }

    pub(super) fn fence_is_done(&mut self, member: MemberId) {
        if let Some(generation) = self.fencing.remove(&member) {
            self.fenced.insert(member, generation);
        }
    }

    /// Whether it would commit something for the shard, if there was something.
    pub(super) fn can_commit(&self, s: usize) -> bool {
        let local = &self.shards[s];
        let works = matches!(local.replica.phase(), Phase::Active | Phase::Finishing);
        works && self.producers.is_some() && !local.under_way
    }
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.view.read_to() == other.view.read_to()
            && self.me == other.me
            && (self.crashed, self.outside) == (other.crashed, other.outside)
            && self.shards == other.shards
            && (&self.producers, self.generation) == (&other.producers, other.generation)
            && self.suspects == other.suspects
            && (&self.fencing, &self.fenced) == (&other.fencing, &other.fenced)
            && (self.written, &self.outbox) == (other.written, &other.outbox)
    }
}

impl Eq for Node {}

impl Hash for Node {
    fn hash<H: Hasher>(&self, to: &mut H) {
        (self.view.read_to(), self.me, self.crashed, self.outside).hash(to);
        (&self.shards, &self.producers, self.generation).hash(to);
        (&self.suspects, &self.fencing, &self.fenced).hash(to);
        (self.written, &self.outbox).hash(to);
    }
}
