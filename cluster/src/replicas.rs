//! The replicas of one worker: what its shell has to do for them when the view changes, and when work is done.
//!
//! ```text
//!   control log --> View --> follow --+                    +--> the worker's own: Open, CatchUp, Activate ...
//!                                     +--> [Task, Task] ---+
//!   "opened", "caught up" ---> on ----+                    +--> control log: Released
//! ```
//!
//! The shell carries out the tasks of a shard in the order in which they come, and those of different shards at the
//! same time if it likes. It decides nothing: whether a shard may be processed is known here.
//!
//! **Answers.** A task with a [`Ticket`] is answered once, with that ticket: by its event, or by
//! [`Event::Failed`]. Answers with older tickets are ignored, since the shard has moved on: what was slow may
//! report the end of something that was given up meanwhile.
//!
//! **Whose shards.** A member deals its shards out to its workers ([`Replicas::follow`]). A shard stays with its worker
//! until its replica is absent there. A worker that was made anew, after its producer had to be replaced, begins with
//! new `Replicas`, which follow for the first time when the new producer is permitted: by then the outcome of the last
//! commit is decided, so that what was taken away meanwhile is declined, and what was not is permitted again.

use std::collections::{BTreeMap, BTreeSet};

use crate::control::Record;
use crate::handover::{Event, Phase, Replica, Role, Step};
use crate::ids::{Epoch, MemberId, ShardId};
use crate::permit::{Closing, Permit, Review};
use crate::plan::Plan;
use crate::view::{Standing, View};

#[cfg(test)]
mod tests;

/// Which task an answer is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Ticket(u64);

/// Something that the shell does. The steps of [`crate::handover`], with what they need.
#[derive(Debug)]
pub enum Task {
    /// [`Step::Open`]. Answered by [`Event::Opened`].
    Open(ShardId, Ticket),
    /// [`Step::Follow`]. Not answered.
    Follow(ShardId),
    /// [`Step::CatchUp`]. Answered by [`Event::CaughtUp`].
    CatchUp(ShardId, Ticket),
    /// [`Step::Activate`]. Not answered.
    Activate(Permit),
    /// [`Step::Finish`]; then the permit is dropped. Answered by [`Event::Committed`].
    Finish(ShardId, Ticket),
    /// [`Step::Close`]. Answered by [`Event::Closed`].
    Close(ShardId, Ticket),
    /// [`Step::Drop`]. Not answered.
    Drop(ShardId),
    /// Append this to the control log, again until it is acknowledged.
    Write(Record),
}

/// See the module.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub struct Replicas {
    me: MemberId,
    /// Of the last plan that was taken in.
    epoch: Epoch,
    /// The shards whose replicas are here.
    mine: BTreeSet<ShardId>,
    shards: BTreeMap<ShardId, Local>,
    last_ticket: Ticket,
}

#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
struct Local {
    replica: Replica,
    permit: Option<Permit>,
    closing: Option<Closing>,
    /// Of the last task that is answered.
    ticket: Ticket,
}

impl Replicas {
    /// The replicas of a worker of `me`, none yet.
    #[must_use]
    pub fn new(me: MemberId) -> Self {
        Self {
            me,
            epoch: Epoch::default(),
            mine: BTreeSet::new(),
            shards: BTreeMap::new(),
            last_ticket: Ticket::default(),
        }
    }

    /// The view has changed, or which shards are dealt to this worker. Call it after every record, or after some at
    /// once, but before anything else is done with the newer view.
    pub fn follow(&mut self, view: &View, mine: &BTreeSet<ShardId>) -> Vec<Task> {
        match view.standing(self.me) {
            Standing::NotYet => return Vec::new(),
            Standing::Outside { .. } => return self.lost(view),
            Standing::Member => {}
        }
        let mut tasks = Vec::new();
        let planned = view.epoch() != self.epoch;
        if planned || *mine != self.mine {
            self.decline(view, mine, planned, &mut tasks);
            (self.epoch, self.mine) = (view.epoch(), mine.clone());
            for shard in self.concerned(view) {
                self.review(&shard, view, &mut tasks);
            }
        }
        for shard in self.known() {
            self.ask(&shard, view, &mut tasks);
        }
        tasks
    }

    /// Answers what others wait for and is not held here, once in an epoch. Before what is held is reviewed: that is
    /// released by its machine.
    fn decline(&self, view: &View, mine: &BTreeSet<ShardId>, planned: bool, tasks: &mut Vec<Task>) {
        let owed = view.owed(self.me).filter(|shard| mine.contains(*shard));
        let new = owed.filter(|shard| planned || !self.mine.contains(*shard));
        let declined = new.filter(|shard| !self.holds(shard));
        tasks.extend(declined.map(|shard| Task::Write(view.decline(shard, self.me))));
    }

    /// An answer to a task, or a failure without one, which comes with the ticket of the shard's latest task.
    pub fn on(&mut self, shard: &ShardId, ticket: Ticket, event: Event, view: &View) -> Vec<Task> {
        let mut tasks = Vec::new();
        if self.shards.get(shard).is_some_and(|it| it.ticket == ticket) {
            self.tell(shard, event, view, &mut tasks);
            self.ask(shard, view, &mut tasks);
        }
        tasks
    }

    /// The member has to end: Kafka refused a commit of it, or it stops and nobody is there to take over.
    pub fn lost(&mut self, view: &View) -> Vec<Task> {
        let mut tasks = Vec::new();
        for shard in self.known() {
            self.tell(&shard, Event::Lost, view, &mut tasks);
        }
        self.shards.clear();
        tasks
    }

    /// Where a replica is.
    #[must_use]
    pub fn phase(&self, shard: &ShardId) -> Phase {
        let local = self.shards.get(shard);
        local.map(|it| it.replica.phase()).unwrap_or_default()
    }

    /// Every replica that is not absent.
    pub fn phases(&self) -> impl Iterator<Item = (&ShardId, Phase)> {
        let all = self.shards.iter().map(|(id, it)| (id, it.replica.phase()));
        all.filter(|(_, phase)| *phase != Phase::Absent)
    }

    /// Whether the member has a permit for the shard that it has not released.
    #[must_use]
    pub fn holds(&self, shard: &ShardId) -> bool {
        let local = self.shards.get(shard);
        local.is_some_and(|it| it.replica.holds_permit())
    }

    /// What tells states of the model apart. Tickets only tell histories apart.
    #[cfg(test)]
    pub(crate) fn essence(&self) -> impl PartialEq + std::hash::Hash + '_ {
        let shards = self.shards.iter();
        let shards = shards.map(|(id, it)| (id, it.replica, &it.permit, &it.closing));
        shards.collect::<Vec<_>>()
    }

    fn known(&self) -> Vec<ShardId> {
        self.shards.keys().cloned().collect()
    }

    /// The shards that a new plan, or another deal, may change something about.
    fn concerned(&self, view: &View) -> BTreeSet<ShardId> {
        let planned = view.plan().into_iter().flat_map(Plan::shards);
        let wanted = planned.filter(|(_, it)| Role::under(it, self.me) == Role::Copy);
        let wanted = wanted.map(|(shard, _)| shard);
        let mine = wanted.filter(|shard| self.mine.contains(*shard));
        self.shards.keys().chain(mine).cloned().collect()
    }

    /// Holds a replica against a new plan.
    fn review(&mut self, shard: &ShardId, view: &View, tasks: &mut Vec<Task>) {
        let local = self.shards.entry(shard.clone()).or_default();
        let taken = match local.permit.take().map(|permit| permit.review(view)) {
            Some(Review::Kept(permit)) => {
                local.permit = Some(permit);
                None
            }
            Some(Review::Close(closing)) => {
                local.closing = Some(closing);
                Some(Event::TakenAway)
            }
            Some(Review::Lost(_)) => Some(Event::Lost),
            None => None,
        };
        let role = match self.mine.contains(shard) {
            true => Role::of(view, self.me, shard),
            false => Role::Nothing,
        };
        let role = Event::Assigned(role);
        for event in taken.into_iter().chain([role]) {
            self.tell(shard, event, view, tasks);
        }
    }

    /// Asks for a permit if one is wanted.
    fn ask(&mut self, shard: &ShardId, view: &View, tasks: &mut Vec<Task>) {
        let Some(local) = self.shards.get_mut(shard) else {
            return;
        };
        if local.replica.wants_permit()
            && let Some(permit) = view.permit(shard, self.me)
        {
            local.permit = Some(permit);
            self.tell(shard, Event::Permitted, view, tasks);
        }
    }

    fn tell(&mut self, shard: &ShardId, event: Event, view: &View, tasks: &mut Vec<Task>) {
        let Some(local) = self.shards.get_mut(shard) else {
            return;
        };
        let (replica, steps) = local.replica.on(event);
        local.replica = replica;
        for step in steps {
            let next = Ticket(self.last_ticket.0 + 1);
            let Some(task) = local.task(shard, step, next, view) else {
                continue;
            };
            if task.ticket() == Some(next) {
                (local.ticket, self.last_ticket) = (next, next);
            }
            tasks.push(task);
        }
        if replica.phase() == Phase::Absent && replica.role() == Role::Nothing {
            self.shards.remove(shard);
        }
    }
}

impl Local {
    fn task(&mut self, id: &ShardId, step: Step, next: Ticket, view: &View) -> Option<Task> {
        let id = id.clone();
        Some(match step {
            Step::Open => Task::Open(id, next),
            Step::Follow => Task::Follow(id),
            Step::CatchUp => Task::CatchUp(id, next),
            Step::Activate => Task::Activate(self.permit.as_ref()?.again()),
            Step::Finish => Task::Finish(id, next),
            Step::Release => Task::Write(self.closing.take()?.done(view)),
            Step::Close => Task::Close(id, next),
            Step::Drop => {
                (self.permit, self.closing) = (None, None);
                Task::Drop(id)
            }
        })
    }
}

impl Task {
    /// With what it is answered, if it is.
    #[must_use]
    pub fn ticket(&self) -> Option<Ticket> {
        match self {
            Self::Open(_, ticket)
            | Self::CatchUp(_, ticket)
            | Self::Finish(_, ticket)
            | Self::Close(_, ticket) => Some(*ticket),
            Self::Follow(_) | Self::Activate(_) | Self::Drop(_) | Self::Write(_) => None,
        }
    }
}
