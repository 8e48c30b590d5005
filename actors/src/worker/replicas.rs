//! [`Replicas`]: all replicas of a worker: the shell of [`tanist_cluster::replicas`], which decides what is done.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use tanist_cluster::handover::{Event, Phase};
use tanist_cluster::replicas::{Replicas as Decisions, Task, Ticket};
use tanist_cluster::view::View;
use tanist_cluster::{Epoch, ShardId};

use super::Worker;
use super::replica::Replica;

/// See the module. Dropped, all end at once, without a commit.
pub(super) struct Replicas {
    worker: Rc<Worker>,
    decisions: RefCell<Decisions>,
    /// How far the control log was read.
    view: RefCell<Arc<View>>,
    replicas: RefCell<BTreeMap<ShardId, Rc<Replica>>>,
}

impl Replicas {
    pub(super) fn new(worker: Rc<Worker>) -> Rc<Self> {
        Rc::new(Self {
            decisions: RefCell::new(Decisions::new(worker.me)),
            worker,
            view: RefCell::default(),
            replicas: RefCell::default(),
        })
    }

    /// The control log was read further, or other shards are dealt to this worker.
    pub(super) fn follow(self: &Rc<Self>, view: Arc<View>, mine: &BTreeSet<ShardId>) {
        self.view.replace(view.clone());
        let tasks = self.decisions.borrow_mut().follow(&view, mine);
        self.carry_out(tasks);
    }

    /// A replica has done what was asked of it with `ticket`, or has failed.
    pub(super) fn answer(self: &Rc<Self>, shard: &ShardId, ticket: Ticket, event: Event) {
        let view = self.view.borrow().clone();
        let tasks = self.decisions.borrow_mut().on(shard, ticket, event, &view);
        self.carry_out(tasks);
    }

    pub(super) fn phase(&self, shard: &ShardId) -> Phase {
        self.decisions.borrow().phase(shard)
    }

    pub(super) fn view(&self) -> Arc<View> {
        self.view.borrow().clone()
    }

    /// Of the plan that is in force.
    pub(super) fn epoch(&self) -> Epoch {
        self.view.borrow().epoch()
    }

    /// Lets those at work finish what they have in hand, which is not committed then.
    pub(super) fn stop(&self) -> Vec<impl Future<Output = ()> + use<>> {
        let replicas = self.replicas.borrow();
        replicas.values().filter_map(|it| it.stop()).collect()
    }

    /// The worker has ended.
    pub(super) fn end(&self) {
        for shard in self.replicas.take().into_keys() {
            self.worker.desk.reports().gone(&shard);
        }
    }

    fn carry_out(self: &Rc<Self>, tasks: Vec<Task>) {
        let epoch = self.epoch();
        for task in tasks {
            match task {
                Task::Open(shard, ticket) => self.with(&shard, |it| it.open(ticket)),
                Task::Follow(shard) => self.with(&shard, |it| it.follow()),
                Task::CatchUp(shard, ticket) => {
                    self.with(&shard, |it| it.catch_up(ticket, epoch));
                }
                Task::Activate(permit) => {
                    let shard = permit.shard().clone();
                    self.with(&shard, |it| it.activate(permit));
                }
                Task::Finish(shard, ticket) => self.with(&shard, |it| it.finish(ticket)),
                Task::Close(shard, ticket) => self.with(&shard, |it| it.close(ticket)),
                Task::Drop(shard) => self.with(&shard, |it| it.end()),
                Task::Write(record) => self.worker.desk.reports().release(record),
            }
        }
        self.forget_absent();
    }

    fn with(self: &Rc<Self>, shard: &ShardId, work: impl FnOnce(&Rc<Replica>)) {
        let known = self.replicas.borrow().get(shard).cloned();
        let replica = known.or_else(|| {
            let group = self.worker.groups.get(&shard.group)?;
            let replica = Replica::new(self, &self.worker, shard, group);
            let mut replicas = self.replicas.borrow_mut();
            replicas.insert(shard.clone(), replica.clone());
            Some(replica)
        });
        match replica {
            Some(replica) => work(&replica),
            None => tracing::error!(%shard, "the plan has a shard that this build does not know"),
        }
    }

    fn forget_absent(&self) {
        let absent: Vec<ShardId> = {
            let (decisions, replicas) = (self.decisions.borrow(), self.replicas.borrow());
            let is_absent = |shard: &&ShardId| decisions.phase(shard) == Phase::Absent;
            replicas.keys().filter(is_absent).cloned().collect()
        };
        for shard in absent {
            let gone = self.replicas.borrow_mut().remove(&shard);
            drop(gone);
            self.worker.desk.reports().gone(&shard);
        }
    }
}
