//! [`Replica`]: a shard's replica on a worker. Carries out what [`Replicas`] says, one task after the other, beside the
//! others (S5), and answers.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use tanist_cluster::handover::{Event, Phase};
use tanist_cluster::permit::Permit;
use tanist_cluster::replicas::Ticket;
use tanist_cluster::{Epoch, ShardId};

use super::Worker;
use super::copy::ShardCopy;
use super::error::ReplicaError;
use super::inputs::Known;
use super::replicas::Replicas;
use super::report::Stage;
use super::tail::{Course, Goal};
use super::task::Task;
use crate::agent::ShardContext;
use crate::group::GroupSpec;
use crate::shard::{RunningShard, Shard, ShardParts, ShardState, ShardStatus};
use crate::table::{Scope, TableHome};

/// See the module. Dropped, it ends at once, without a commit.
pub(super) struct Replica {
    all: Weak<Replicas>,
    worker: Rc<Worker>,
    shard: ShardId,
    group: Arc<GroupSpec>,
    /// Of the latest task that is to be answered.
    ticket: Cell<Ticket>,
    /// Under which plan it got its permit.
    epoch: Cell<Epoch>,
    at: RefCell<CopyAt>,
    /// Where its changelogs are followed to.
    course: Rc<Course>,
    known: RefCell<Known>,
    jobs: RefCell<BTreeMap<Job, Task>>,
}

/// Where the shard's copy is.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one for each replica, and it is seldom moved"
)]
enum CopyAt {
    /// Nobody has it open.
    Disk,
    /// With [`Job::Copy`], which brings it back.
    Job,
    /// Open, and nobody writes it.
    Rest(ShardCopy),
    /// With the shard.
    Work(Rc<Shard>, RunningShard),
}

/// What goes on beside; one of each at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Job {
    /// Opens, follows or closes the copy.
    Copy,
    /// Asks the broker what has to be known to become active.
    Ask,
    /// Lets the shard finish.
    Finish,
    /// Waits for the shard to break down.
    Watch,
}

impl Replica {
    pub(super) fn new(
        all: &Rc<Replicas>,
        worker: &Rc<Worker>,
        shard: &ShardId,
        group: &Arc<GroupSpec>,
    ) -> Rc<Self> {
        Rc::new(Self {
            all: Rc::downgrade(all),
            worker: worker.clone(),
            shard: shard.clone(),
            group: group.clone(),
            ticket: Cell::default(),
            epoch: Cell::default(),
            at: RefCell::new(CopyAt::Disk),
            course: Course::new(),
            known: RefCell::default(),
            jobs: RefCell::default(),
        })
    }

    /// If it is at work, lets it finish what it has in hand, which is not committed then.
    pub(super) fn stop(&self) -> Option<impl Future<Output = ()> + use<>> {
        match &*self.at.borrow() {
            CopyAt::Work(_, running) => Some(running.stop()),
            _ => None,
        }
    }

    pub(super) fn open(self: &Rc<Self>, ticket: Ticket) {
        self.ticket.set(ticket);
        let (worker, shard, group) = (self.worker.clone(), self.shard.clone(), self.group.clone());
        let before = self.at.replace(CopyAt::Job);
        self.report(ShardState::Restoring { records: 0, of: 0 });
        let open = async move {
            if let CopyAt::Rest(copy) = before {
                worker.close_copy(copy).await?;
            }
            worker.open_copy(&shard, &group).await
        };
        self.begin(Job::Copy, open, |replica, copy| {
            replica.bring_back(copy, Event::Opened);
        });
    }

    pub(super) fn follow(self: &Rc<Self>) {
        let CopyAt::Rest(copy) = self.at.replace(CopyAt::Job) else {
            return self.fail("its store is not open");
        };
        self.course.set_goal(Goal::Onward);
        let follow = self.worker.clone().follow(copy, self.course.clone());
        self.begin(Job::Copy, follow, |replica, copy| {
            replica.bring_back(copy, Event::CaughtUp);
        });
    }

    /// [`Job::Copy`] is done.
    fn bring_back(self: &Rc<Self>, copy: Result<ShardCopy, ReplicaError>, done: Event) {
        let failed = match copy {
            Ok(copy) => {
                self.at.replace(CopyAt::Rest(copy));
                None
            }
            Err(error) => {
                self.at.replace(CopyAt::Disk);
                Some(error)
            }
        };
        match (self.phase(), failed) {
            (Phase::Closing, _) => self.close(self.ticket.get()),
            (Phase::Broken, _) => {}
            (_, Some(error)) => self.fail(&error),
            (_, None) => {
                self.answer(done);
                // The permit was taken away while it caught up, for which it need not have hurried.
                if done == Event::CaughtUp && self.phase() == Phase::Following && self.is_at_rest()
                {
                    self.follow();
                }
            }
        }
    }

    /// The permit was given in `epoch`.
    pub(super) fn catch_up(self: &Rc<Self>, ticket: Ticket, epoch: Epoch) {
        self.ticket.set(ticket);
        self.epoch.set(epoch);
        self.stage(Stage::Permitted);
        // Ends of an earlier permit are none now.
        self.course.set_goal(Goal::Onward);
        let (worker, shard, group) = (self.worker.clone(), self.shard.clone(), self.group.clone());
        let ask = async move {
            tokio::try_join!(
                worker.changelog_ends(&shard, &group),
                worker.ask_inputs(&shard, &group),
            )
        };
        self.begin(Job::Ask, ask, |replica, asked| match asked {
            Ok((ends, known)) => {
                replica.known.replace(known);
                replica.course.set_goal(Goal::Ends(ends));
            }
            Err(error) => replica.fail(&error),
        });
    }

    pub(super) fn activate(self: &Rc<Self>, permit: Permit) {
        self.stage(Stage::CaughtUp);
        if let Some(reason) = self.worker.refusals.reason(&self.shard) {
            return self.fail(reason);
        }
        let CopyAt::Rest(copy) = self.at.replace(CopyAt::Disk) else {
            return self.fail("its store is not open");
        };
        let (known, group) = (self.known.take(), &self.group);
        let view = self.all.upgrade().map(|all| all.view());
        let inputs = self.worker.open_inputs(
            &self.shard,
            group,
            &copy.replay,
            &known,
            &view.unwrap_or_default(),
        );
        let (intakes, to_begin) = match inputs {
            Ok(opened) => opened,
            Err(error) => {
                self.at.replace(CopyAt::Rest(copy));
                return self.fail(&error);
            }
        };
        let scope: Rc<Scope> = Rc::default();
        let shard = Shard::new(ShardParts {
            permit,
            epoch: self.epoch.get(),
            group: group.clone(),
            desk: self.worker.desk.clone(),
            context: self.context(&copy, &scope),
            scope,
            intakes,
            to_begin,
            replay: copy.replay,
        });
        self.worker.add(&shard);
        self.stage(Stage::Assigned);
        self.worker.desk.report(shard.status());
        let running = RunningShard::start(&shard);
        self.at.replace(CopyAt::Work(shard.clone(), running));
        let watch = async move { shard.broke().await };
        self.begin(Job::Watch, watch, |replica, ()| replica.end_work());
    }

    fn context(&self, copy: &ShardCopy, scope: &Rc<Scope>) -> ShardContext {
        let home = TableHome {
            store: copy.store.clone(),
            scope: scope.clone(),
            budget: self.worker.desk.budget().clone(),
            dirty_bytes: self.worker.desk.dirty_bytes().clone(),
        };
        ShardContext::new(self.shard.clone(), home, self.worker.desk.topics.clone())
    }

    pub(super) fn finish(self: &Rc<Self>, ticket: Ticket) {
        self.ticket.set(ticket);
        if let CopyAt::Work(shard, _) = &*self.at.borrow()
            && !shard.is_broken()
        {
            shard.set_state(ShardState::Stopping);
        }
        self.end_work();
    }

    /// Lets the shard finish, or stand still if it has broken down, and commits what it has finished.
    fn end_work(self: &Rc<Self>) {
        let Some(stopped) = self.stop() else {
            return self.answer(Event::Committed);
        };
        let worker = self.worker.clone();
        let end = async move {
            stopped.await;
            worker.flush().await
        };
        self.begin(Job::Finish, end, |replica, committed| {
            // Else the worker ends, and this with it: whether the last commit happened is not known.
            if committed {
                replica.work_ended();
            }
        });
    }

    fn work_ended(self: &Rc<Self>) {
        let CopyAt::Work(shard, running) = self.at.replace(CopyAt::Disk) else {
            return;
        };
        drop(running);
        self.worker.remove(&self.shard);
        self.jobs.borrow_mut().remove(&Job::Watch);
        if let Some(replay) = shard.take_replay() {
            self.at.replace(CopyAt::Rest(ShardCopy {
                shard: self.shard.clone(),
                group: self.group.clone(),
                store: shard.store(),
                replay,
            }));
        }
        let is_broken = shard.is_broken();
        drop(shard);
        if let Some(all) = self.all.upgrade()
            && self.phase() == Phase::Finishing
        {
            self.epoch.set(all.epoch());
            self.stage(Stage::LastCommit);
        }
        self.answer(match is_broken {
            true => Event::Failed,
            false => Event::Committed,
        });
    }

    pub(super) fn close(self: &Rc<Self>, ticket: Ticket) {
        self.ticket.set(ticket);
        let copy = match self.at.replace(CopyAt::Disk) {
            CopyAt::Rest(copy) => copy,
            CopyAt::Disk => return self.answer(Event::Closed),
            at => {
                // Whoever has it brings it back, and then it is closed.
                self.course.set_goal(Goal::Nowhere);
                self.at.replace(at);
                return;
            }
        };
        let worker = self.worker.clone();
        let close = async move { worker.close_copy(copy).await };
        self.begin(Job::Copy, close, |replica, closed| {
            if let Err(error) = closed {
                tracing::warn!(shard = %replica.shard, "{error}");
            }
            replica.answer(Event::Closed);
        });
    }

    /// Nothing goes on any more, and nothing will be committed.
    pub(super) fn end(&self) {
        self.jobs.borrow_mut().clear();
        self.worker.remove(&self.shard);
        self.at.replace(CopyAt::Disk);
    }

    fn fail(self: &Rc<Self>, reason: impl ToString) {
        let reason = reason.to_string();
        tracing::error!(shard = %self.shard, "{reason}");
        self.course.set_goal(Goal::Nowhere);
        self.report(ShardState::Broken { reason });
        self.answer(Event::Failed);
    }

    fn answer(&self, event: Event) {
        if let Some(all) = self.all.upgrade() {
            all.answer(&self.shard, self.ticket.get(), event);
        }
    }

    fn phase(&self) -> Phase {
        let all = self.all.upgrade();
        all.map(|all| all.phase(&self.shard)).unwrap_or_default()
    }

    fn is_at_rest(&self) -> bool {
        matches!(*self.at.borrow(), CopyAt::Rest(_))
    }

    fn report(&self, state: ShardState) {
        let status = ShardStatus::without_work(&self.shard, state);
        self.worker.desk.report(status);
    }

    fn stage(&self, stage: Stage) {
        let reports = self.worker.desk.reports();
        reports.stage(&self.shard, self.epoch.get(), stage);
    }

    /// Has `work` done beside, in place of an earlier `job`, and then `done` unless the replica has ended.
    fn begin<T: 'static>(
        self: &Rc<Self>,
        job: Job,
        work: impl Future<Output = T> + 'static,
        done: impl FnOnce(&Rc<Self>, T) + 'static,
    ) {
        let replica = Rc::downgrade(self);
        let task = Task::spawn(async move {
            let outcome = work.await;
            if let Some(replica) = replica.upgrade() {
                done(&replica, outcome);
            }
        });
        self.jobs.borrow_mut().insert(job, task);
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.end();
    }
}
