//! [`Shard`]: one partition number of a group at work: its mailboxes, lanes and table shards, and what of their work no
//! commit contains yet.
//!
//! ```text
//!      +-- failure, back-off --+
//!      v                       |
//!   running ----------> restarting -> broken
//!      |  stop                          ^
//!      +-> stopping                     |
//!      +------ store full, ... ---------+
//! ```
//!
//! What is before and after that, the replica knows that it belongs to: `worker/replica.rs`.

mod beside;
mod lease;
mod seal;
mod shell;
mod status;
mod watch;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tanist_cluster::control::Begun;
use tanist_cluster::permit::Permit;
use tanist_cluster::{Epoch, Offset, ShardId};
use tokio::sync::Notify;

pub(crate) use beside::Beside;
use lease::Lease;
pub(crate) use seal::{Draft, Worth};
pub(crate) use shell::RunningShard;
pub use status::{InputStatus, ShardState, ShardStatus};

use crate::agent::{AgentSpec, ShardContext};
use crate::context::Context;
use crate::group::GroupSpec;
use crate::intake::Intake;
use crate::port::{LocalPortFuture, Store, TopicId, TopicPartition, TopicUuid};
use crate::stage::Stage;
use crate::supervision::{FailureKind, LaneFailure, Task};
use crate::table::{Inputs, Replay, Scope, Ticket};
use crate::worker::{Desk, Guarantee, LaneCount};
use watch::Watch;
pub(crate) use watch::describe;

/// An agent's intake in a shard.
pub(crate) struct AgentIntake {
    /// The name under which its progress is kept.
    pub(crate) key: String,
    pub(crate) topic: TopicId,
    /// Which topic of that name it reads, if the broker says.
    pub(crate) topic_uuid: Option<TopicUuid>,
    pub(crate) intake: Rc<RefCell<Intake>>,
}

/// See the module. Belongs to its worker's thread.
pub(crate) struct Shard {
    permit: Permit,
    /// Under which plan it was given to this node.
    epoch: Epoch,
    group: Arc<GroupSpec>,
    desk: Rc<Desk>,
    context: ShardContext,
    /// Of its commits to its store.
    lease: Lease,
    scope: Rc<Scope>,
    intakes: Vec<AgentIntake>,
    /// What the control log is to say once a position is committed.
    to_begin: RefCell<Vec<Begun>>,
    /// Outputs of finished records that no commit contains yet.
    outputs: RefCell<Stage>,
    /// How changelog records change the store; away while a commit is in flight.
    replay: RefCell<Option<Replay>>,
    /// The inputs of the last commit that was sealed.
    sealed: RefCell<Inputs>,
    /// Where the inputs stand in the last commit that has succeeded.
    committed: RefCell<BTreeMap<String, Offset>>,
    /// Records finished since then.
    unsealed_records: Cell<u64>,
    records: Cell<u64>,
    /// A lane waits for `others`: to notify nobody takes a lock, for every record.
    others_awaited: Cell<bool>,
    others: Notify,
    stopping: Cell<bool>,
    stop: Arc<Notify>,
    watch: Watch,
    /// What a lane was at when it panicked.
    panicked_at: Cell<Option<Task>>,
    state: RefCell<ShardState>,
    broke: Notify,
    /// Where its store is after the last commit; none if it has no tables.
    stored: Cell<Option<Offset>>,
    debut: Cell<Debut>,
}

/// How far a shard is to its first commit of finished records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Debut {
    Awaited,
    Sealed,
    Over,
}

/// What a shard is made of.
pub(crate) struct ShardParts {
    pub(crate) permit: Permit,
    pub(crate) epoch: Epoch,
    pub(crate) group: Arc<GroupSpec>,
    pub(crate) desk: Rc<Desk>,
    pub(crate) context: ShardContext,
    pub(crate) scope: Rc<Scope>,
    pub(crate) intakes: Vec<AgentIntake>,
    pub(crate) to_begin: Vec<Begun>,
    pub(crate) replay: Replay,
}

impl Shard {
    pub(crate) fn new(parts: ShardParts) -> Rc<Self> {
        let progress = |agent: &AgentIntake| (agent.key.clone(), agent.intake.borrow().progress());
        let read = |agent: &AgentIntake| {
            let topic = parts.desk.topic_name(agent.topic);
            Some((topic, agent.topic_uuid.clone()?))
        };
        let has_tables = parts.group.has_tables();
        let inputs = Inputs {
            app: has_tables.then(|| parts.replay.state().app.as_str().into()),
            agents: parts.intakes.iter().map(progress).collect(),
            topics: parts.intakes.iter().filter_map(read).collect(),
            ..parts.replay.state().inputs.clone()
        };
        let stored = position(&parts.replay);
        Rc::new(Self {
            permit: parts.permit,
            epoch: parts.epoch,
            group: parts.group,
            desk: parts.desk,
            lease: Lease::new(parts.context.store()),
            context: parts.context,
            scope: parts.scope,
            intakes: parts.intakes,
            to_begin: RefCell::new(parts.to_begin),
            outputs: RefCell::default(),
            replay: RefCell::new(Some(parts.replay)),
            committed: RefCell::new(positions(&inputs)),
            sealed: RefCell::new(inputs),
            unsealed_records: Cell::new(0),
            records: Cell::new(0),
            others_awaited: Cell::new(false),
            others: Notify::new(),
            stopping: Cell::new(false),
            stop: Arc::new(Notify::new()),
            watch: Watch::default(),
            panicked_at: Cell::default(),
            state: RefCell::new(ShardState::Running),
            broke: Notify::new(),
            stored: Cell::new(stored),
            debut: Cell::new(Debut::Awaited),
        })
    }

    pub(crate) fn id(&self) -> &ShardId {
        self.permit.shard()
    }

    pub(crate) fn store(&self) -> Arc<dyn Store> {
        self.context.store()
    }

    /// How changelog records change its store, when it has ended and no commit is in flight.
    pub(crate) fn take_replay(&self) -> Option<Replay> {
        self.replay.borrow_mut().take()
    }

    pub(crate) fn has_tables(&self) -> bool {
        self.group.has_tables()
    }

    /// Its input partitions, where it is known which topics these were when it began.
    pub(crate) fn inputs_read(&self) -> impl Iterator<Item = (TopicPartition, &TopicUuid)> {
        let known = self.intakes.iter();
        known.filter_map(|agent| Some((self.input(agent.topic), agent.topic_uuid.as_ref()?)))
    }

    /// How far a successful commit contains all that is to be done with its inputs that are the app's own.
    pub(crate) fn processed(&self) -> BTreeMap<TopicPartition, Offset> {
        let committed = self.committed.borrow();
        let mut processed = BTreeMap::new();
        for input in self.group.inputs.iter().filter(|input| input.is_own) {
            let agents = self.intakes.iter().filter(|it| it.topic == input.topic);
            // The slowest of them; not known of one is not processed.
            let slowest = agents
                .map(|agent| committed.get(&agent.key).copied().unwrap_or_default())
                .min();
            processed.extend(slowest.map(|offset| (self.input(input.topic), offset)));
        }
        processed
    }

    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.desk.clock().elapsed()
    }

    pub(crate) fn sleep(&self, duration: Duration) -> LocalPortFuture<'static, ()> {
        self.desk.clock().sleep(duration)
    }

    /// A record of `ticket` is finished: its table writes and `outputs` will be in the next commit.
    pub(crate) fn keep(&self, ticket: Ticket, outputs: &mut Stage) {
        self.context.each_table(|table| table.keep(ticket));
        match self.desk.outbox() {
            Some(outbox) if !outputs.is_empty() => {
                self.desk.staged(outputs.bytes.len());
                outbox.borrow_mut().put(self.id(), outputs);
            }
            _ => self.stage(outputs),
        }
        self.desk.uncommitted();
        self.wake_others();
    }

    /// Whether a commit can hold `outputs` beside what waits for it already.
    pub(crate) fn takes(&self, outputs: &Stage) -> Result<(), LaneFailure> {
        let bytes = outputs.bytes.len();
        if self.desk.takes(bytes) {
            return Ok(());
        }
        Err(LaneFailure::new(
            FailureKind::Error,
            format_args!(
                "what it sends, {bytes} bytes, is more than a commit can hold (4 GiB with all that waits for one)"
            ),
        ))
    }

    /// `outputs` will be in the next commit, whatever the guarantee: what goes from one step of the app to the next must
    /// not be doubled, or tables behind it would not be exact.
    pub(crate) fn stage(&self, outputs: &mut Stage) {
        if !outputs.is_empty() {
            self.desk.staged(outputs.bytes.len());
            self.outputs.borrow_mut().absorb(outputs);
        }
    }

    /// A record of `ticket` failed: what it has written goes.
    pub(crate) fn undo(&self, ticket: Ticket) {
        self.context.each_table(|table| table.undo(ticket));
        self.wake_others();
    }

    fn wake_others(&self) {
        if self.others_awaited.take() {
            self.others.notify_waiters();
        }
    }

    pub(crate) fn record_finished(&self) {
        self.records.set(self.records.get() + 1);
        self.unsealed_records.set(self.unsealed_records.get() + 1);
        if self.debut.get() == Debut::Awaited {
            // Whoever waits for a shard that has moved has waited long enough.
            self.wants_commit();
        }
    }

    /// A lane has nothing to do. Where positions have moved over transaction markers alone, no commit will tell of it; where
    /// they have moved over records that were finished before the shard came here, one must, else these count as unread.
    pub(crate) fn tell_of_markers(&self) {
        if self.unsealed_records.get() > 0 {
            return;
        }
        let sealed = self.sealed.borrow();
        let moved = |agent: &AgentIntake| {
            let before = sealed.agents.get(&agent.key);
            before.is_none_or(|before| before.next < agent.intake.borrow().progress().next)
        };
        if self.intakes.iter().any(moved) {
            self.desk.report(self.status());
            if sealed.agents.values().any(|it| it.next < it.ahead.end) {
                self.unsealed_records.set(1);
                self.desk.uncommitted();
            }
        }
    }

    /// A lane has panicked.
    pub(crate) fn panicked_at(&self, task: Task) {
        self.panicked_at.set(Some(task));
    }

    /// Until another record of this shard is finished or undone; a moment, if none is in hand.
    pub(crate) async fn wait_for_others(&self) {
        if self.scope.any_open() {
            self.others_awaited.set(true);
            self.others.notified().await;
        } else {
            tokio::task::yield_now().await;
        }
    }

    /// False while a commit is in flight and as much again waits for the next one (S8).
    pub(crate) fn has_room(&self) -> bool {
        self.desk.has_room()
    }

    /// Until there is room.
    pub(crate) async fn wait_for_room(&self) {
        self.desk.wait_for_room().await;
    }

    /// A commit is wanted at once.
    pub(crate) fn wants_commit(&self) {
        self.desk.commit_now();
    }

    /// A lane has nothing to do for as long as the answer lives.
    pub(crate) fn idle(&self) -> crate::worker::Idle {
        Desk::idle(&self.desk)
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// Notified when the shard is to stop.
    pub(crate) fn stopping(&self) -> Arc<Notify> {
        self.stop.clone()
    }

    /// How long that may take.
    pub(crate) fn finish_timeout(&self) -> Duration {
        self.desk.settings.finish_timeout
    }

    /// Lanes finish what they have in hand, and end.
    pub(crate) fn stop(&self) {
        self.stopping.set(true);
        self.stop.notify_waiters();
        for intake in &self.intakes {
            intake.intake.borrow_mut().stop();
        }
    }

    /// The shard ends its work here. What it has finished is still committed; its input waits.
    pub(crate) fn break_down(&self, reason: impl Into<String>) {
        let reason = reason.into();
        tracing::error!(shard = %self.id(), "{reason}; the shard has stopped, the others go on");
        self.stop();
        self.set_state(ShardState::Broken { reason });
        self.broke.notify_one();
    }

    /// Until the shard has broken down.
    pub(crate) async fn broke(&self) {
        self.broke.notified().await;
    }

    pub(crate) fn is_broken(&self) -> bool {
        matches!(*self.state.borrow(), ShardState::Broken { .. })
    }

    /// How many lanes an agent has here.
    pub(crate) fn lanes_of(&self, spec: &AgentSpec) -> usize {
        match self.desk.settings.guarantee {
            Guarantee::AtMostOnce => 1,
            Guarantee::ExactlyOnce | Guarantee::AtLeastOnce => spec.concurrency,
        }
    }

    /// What a lane's handlers are given.
    pub(crate) fn agent_context(&self) -> Context {
        self.desk.agent_context(self.id())
    }

    /// Counted among the lanes of the worker as long as the answer lives.
    pub(crate) fn count_lane(&self) -> LaneCount {
        Desk::lane(&self.desk)
    }

    /// Whether records were finished that no commit has succeeded with.
    fn has_uncommitted(&self) -> bool {
        let is_in_flight = *self.committed.borrow() != positions(&self.sealed.borrow());
        is_in_flight || self.unsealed_records.get() > 0 || !self.outputs.borrow().is_empty()
    }

    /// What the last successful commit contains.
    fn committed_inputs(&self) -> BTreeMap<String, Offset> {
        self.committed.borrow().clone()
    }
}

/// The sum over all changelogs.
fn position(replay: &Replay) -> Option<Offset> {
    let changelogs = replay.state().changelogs.values();
    changelogs
        .map(|next| next.0)
        .reduce(|a, b| a + b)
        .map(Offset)
}

fn positions(inputs: &Inputs) -> BTreeMap<String, Offset> {
    let agents = inputs.agents.iter();
    agents
        .map(|(key, progress)| (key.clone(), progress.next))
        .collect()
}
