//! [`Desk`]: what the shards of a worker have in common, and how they tell it that there is something to commit.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Notify;

use super::hand::{Grip, Hand};
use super::report::Reports;
use super::settings::{Guarantee, WorkerSettings};
use crate::context::Context;
use crate::port::{Clock, TopicId, TopicPartition};
use crate::shard::ShardStatus;
use crate::stage::{Stage, fits};
use crate::table::CacheBudget;
use crate::topic::Topics;
use tanist_cluster::ShardId;

/// See the module.
pub(crate) struct Desk {
    pub(crate) settings: WorkerSettings,
    pub(crate) topics: Topics,
    clock: Arc<dyn Clock>,
    reports: Arc<dyn Reports>,
    hand: Arc<Hand>,
    budget: Rc<CacheBudget>,
    /// Outputs that leave at once (`at_least_once`).
    outbox: Option<RefCell<Outbox>>,
    /// Bytes of outputs, and an estimate of those of tables, that no commit contains yet.
    staged_bytes: Cell<usize>,
    dirty_bytes: Rc<Cell<usize>>,
    uncommitted: Cell<bool>,
    now: Cell<bool>,
    lanes: Cell<usize>,
    idle: Cell<usize>,
    changed: Notify,
    outgoing: Notify,
    room: Notify,
    waiting: Notify,
}

/// Outputs, and whose they are.
#[derive(Default)]
pub(crate) struct Outbox {
    pub(crate) stage: Stage,
    /// Shards, and where their records end.
    pub(crate) owners: Vec<(ShardId, usize)>,
}

impl Outbox {
    pub(crate) fn put(&mut self, shard: &ShardId, outputs: &mut Stage) {
        self.stage.absorb(outputs);
        let end = self.stage.records.len();
        match self.owners.last_mut() {
            Some((last, its_end)) if last == shard => *its_end = end,
            _ => self.owners.push((shard.clone(), end)),
        }
    }
}

impl Desk {
    pub(crate) fn new(
        settings: WorkerSettings,
        topics: Topics,
        clock: Arc<dyn Clock>,
        reports: Arc<dyn Reports>,
        hand: Arc<Hand>,
    ) -> Rc<Self> {
        let leaves_at_once = settings.guarantee == Guarantee::AtLeastOnce;
        Rc::new(Self {
            budget: CacheBudget::new(settings.cache_bytes),
            outbox: leaves_at_once.then(RefCell::default),
            settings,
            topics,
            clock,
            reports,
            hand,
            staged_bytes: Cell::new(0),
            dirty_bytes: Rc::default(),
            uncommitted: Cell::new(false),
            now: Cell::new(false),
            lanes: Cell::new(0),
            idle: Cell::new(0),
            changed: Notify::new(),
            outgoing: Notify::new(),
            room: Notify::new(),
            waiting: Notify::new(),
        })
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    pub(crate) fn budget(&self) -> &Rc<CacheBudget> {
        &self.budget
    }

    pub(crate) fn dirty_bytes(&self) -> &Rc<Cell<usize>> {
        &self.dirty_bytes
    }

    /// Until there are outputs to be published.
    pub(crate) async fn outgoing(&self) {
        while self
            .outbox
            .as_ref()
            .is_some_and(|outbox| outbox.borrow().stage.is_empty())
        {
            self.outgoing.notified().await;
        }
    }

    pub(crate) fn outbox(&self) -> Option<&RefCell<Outbox>> {
        self.outbox.as_ref()
    }

    pub(crate) fn topic_name(&self, topic: TopicId) -> Arc<str> {
        self.topics.names[usize::from(topic.0)].clone()
    }

    pub(crate) fn agent_context(&self, shard: &ShardId) -> Context {
        let max_record_bytes = self.settings.max_record_bytes;
        Context::new(
            shard.clone(),
            self.topics.clone(),
            self.clock.clone(),
            max_record_bytes,
        )
    }

    pub(crate) fn report(&self, status: ShardStatus) {
        self.reports.shard(status);
    }

    /// For a lane of this shard and input.
    pub(crate) fn grip(&self, shard: &ShardId, input: Option<(String, TopicPartition)>) -> Grip {
        Hand::grip(&self.hand, (shard.clone(), input))
    }

    pub(crate) fn reports(&self) -> &dyn Reports {
        &*self.reports
    }

    /// Outputs of so many bytes were staged.
    pub(crate) fn staged(&self, bytes: usize) {
        self.staged_bytes.set(self.staged_bytes.get() + bytes);
        if self.outbox.is_some() {
            self.outgoing.notify_one();
        }
    }

    /// Something was finished.
    pub(crate) fn uncommitted(&self) {
        let full = self.uncommitted_bytes() >= self.settings.commit_bytes;
        if !self.uncommitted.replace(true) || full {
            self.changed.notify_one();
        }
    }

    /// Somebody waits for a commit.
    pub(crate) fn commit_now(&self) {
        self.now.set(true);
        self.changed.notify_one();
    }

    /// What the committer decides upon; see [`super::due`].
    pub(crate) fn facts(&self) -> super::Facts {
        super::Facts {
            uncommitted: self.uncommitted.get(),
            wanted: self.now.get(),
            idle: self.idle.get() == self.lanes.get(),
            bytes: self.uncommitted_bytes(),
        }
    }

    fn uncommitted_bytes(&self) -> usize {
        self.staged_bytes.get() + self.dirty_bytes.get()
    }

    /// Whether a commit can hold so many bytes more.
    pub(crate) fn takes(&self, bytes: usize) -> bool {
        fits(self.uncommitted_bytes(), bytes)
    }

    /// All that was staged is sealed.
    pub(crate) fn sealed(&self) {
        self.uncommitted.set(false);
        self.now.set(false);
        self.staged_bytes.set(0);
        self.dirty_bytes.set(0);
        self.room.notify_waiters();
    }

    /// Until [`Desk::facts`] may have changed.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// False while a commit is in flight and as much again waits for the next one.
    pub(crate) fn has_room(&self) -> bool {
        self.uncommitted_bytes() <= self.settings.commit_bytes
    }

    /// Until there is room.
    pub(crate) async fn wait_for_room(&self) {
        while !self.has_room() {
            self.room.notified().await;
        }
    }

    /// A handler has not come back at once.
    pub(crate) fn note_waiting(&self) {
        self.waiting.notify_one();
    }

    /// Until there is one that has not.
    pub(crate) async fn handler_waits(&self) {
        self.waiting.notified().await;
    }

    pub(crate) fn lane(desk: &Rc<Self>) -> LaneCount {
        desk.lanes.set(desk.lanes.get() + 1);
        LaneCount(desk.clone())
    }

    pub(crate) fn idle(desk: &Rc<Self>) -> Idle {
        desk.idle.set(desk.idle.get() + 1);
        if desk.uncommitted.get() && desk.idle.get() == desk.lanes.get() {
            desk.changed.notify_one();
        }
        Idle(desk.clone())
    }
}

/// A lane exists for as long as this does.
pub(crate) struct LaneCount(Rc<Desk>);

impl Drop for LaneCount {
    fn drop(&mut self) {
        self.0.lanes.set(self.0.lanes.get() - 1);
    }
}

/// A lane has nothing to do for as long as this lives.
pub(crate) struct Idle(Rc<Desk>);

impl Drop for Idle {
    fn drop(&mut self) {
        self.0.idle.set(self.0.idle.get() - 1);
    }
}
