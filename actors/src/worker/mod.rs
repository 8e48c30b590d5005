//! [`Worker`]: one thread of a node, with its own consumer and its own transactional producer. It carries shards, and
//! commits what they have finished, one transaction at a time, while they go on.
//!
//! A worker that cannot commit ends, and with it all that was not committed: its node makes a new one, under a new
//! producer, whose shards go on from what the log holds.

mod age;
mod copy;
mod desk;
mod error;
mod hand;
mod inputs;
mod patience;
mod purge;
mod refusals;
mod replica;
mod replicas;
mod report;
mod settings;
mod shell;
mod tail;
mod task;
mod upkeep;
mod watch;
mod watchdog;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tanist_cluster::permit::ProducerPermit;
use tanist_cluster::{GroupName, MemberId, ShardId, WorkerIndex};
use tokio::sync::oneshot;

use desk::Outbox;
pub(crate) use desk::{Desk, Idle, LaneCount};
pub(crate) use hand::Grip;
use hand::Hand;
pub use refusals::Refusals;
pub use report::{CommitReport, Reports, Stage, UnreadPartitions};
pub(crate) use settings::{Due, Facts, due};
pub use settings::{Guarantee, WorkerSettings};
pub use shell::{Thread, Unfinished, WorkerHandle};

use crate::group::GroupSpec;
use crate::port::{Broker, Clock, Commit, CommitError, Log, LogBuilder, Stores, TopicId};
use crate::shard::{Draft, Shard, ShardStatus, Worth};
use crate::topic::Topics;

/// What a worker is made of. Can be sent to its thread.
pub struct WorkerParts {
    /// Which worker of its node it is.
    pub index: WorkerIndex,
    /// The app's id: its consumer group.
    pub app: Arc<str>,
    /// Whose worker it is.
    pub me: MemberId,
    /// What the shards of each group run.
    pub groups: Arc<BTreeMap<GroupName, Arc<GroupSpec>>>,
    /// How it works.
    pub settings: WorkerSettings,
    /// The app's topics.
    pub topics: Topics,
    /// The broker.
    pub broker: Arc<dyn Broker>,
    /// The proof that its producer was announced, so that a fence reaches it.
    pub producer: ProducerPermit,
    /// Its log: consumer and producer.
    pub log: Box<dyn LogBuilder>,
    /// The node's stores.
    pub stores: Arc<dyn Stores>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where its news go.
    pub reports: Arc<dyn Reports>,
    /// What the broker refuses; one for all workers of the node.
    pub refusals: Refusals,
}

/// Somebody waits for a commit.
struct Flush {
    worth: Worth,
    done: oneshot::Sender<()>,
}

/// See the module. Belongs to its thread.
pub struct Worker {
    index: WorkerIndex,
    app: Arc<str>,
    me: MemberId,
    groups: Arc<BTreeMap<GroupName, Arc<GroupSpec>>>,
    desk: Rc<Desk>,
    broker: Arc<dyn Broker>,
    log: Box<dyn Log>,
    _producer: ProducerPermit,
    stores: Arc<dyn Stores>,
    refusals: Refusals,
    /// Set when it can commit no more: how far its shards had come.
    unfinished: RefCell<Option<Vec<ShardStatus>>>,
    /// Those at work.
    shards: RefCell<BTreeMap<ShardId, Rc<Shard>>>,
    /// Who waits until all that is finished is committed.
    flushes: RefCell<Vec<Flush>>,
    /// The topics that it has sent to.
    written: RefCell<BTreeSet<TopicId>>,
    /// Memory of the last commit, for the next.
    spare: RefCell<crate::stage::Stage>,
    /// Held while outputs are being published (`at_least_once`), which happens in order.
    publishing: tokio::sync::Mutex<()>,
    retentions: tokio::sync::Mutex<age::Retentions>,
}

impl Worker {
    /// A worker without shards. `hand`: where it shows what its thread is at.
    pub(crate) fn new(parts: WorkerParts, hand: Arc<Hand>) -> Rc<Self> {
        let log = parts.log.build();
        log.prepare(&parts.topics.names);
        Rc::new(Self {
            index: parts.index,
            app: parts.app,
            me: parts.me,
            groups: parts.groups,
            desk: Desk::new(
                parts.settings,
                parts.topics,
                parts.clock,
                parts.reports,
                hand,
            ),
            broker: parts.broker,
            log,
            _producer: parts.producer,
            stores: parts.stores,
            refusals: parts.refusals,
            unfinished: RefCell::default(),
            shards: RefCell::default(),
            flushes: RefCell::default(),
            written: RefCell::default(),
            spare: RefCell::default(),
            publishing: tokio::sync::Mutex::new(()),
            retentions: tokio::sync::Mutex::default(),
        })
    }

    /// Commits whenever it is due, until that fails.
    pub(crate) async fn run(self: Rc<Self>) -> CommitError {
        tokio::select! {
            biased;
            error = self.commit_when_due() => error,
            error = self.publish_at_once() => error,
            error = self.keep_up() => error,
            error = self.watch() => error,
            error = self.watch_topics() => error,
        }
    }

    /// All that is finished by now is committed, positions of no other worth included. False if the worker ended before.
    pub(crate) async fn flush(&self) -> bool {
        self.commit_soon(Worth::Positions).await
    }

    /// The same, and every reader sees all that was sent.
    pub(crate) async fn settle(&self) -> bool {
        self.flush().await && self.commit_soon(Worth::Nothing).await
    }

    async fn commit_soon(&self, worth: Worth) -> bool {
        if self.unfinished.borrow().is_some() {
            return false;
        }
        let (done, flushed) = oneshot::channel();
        self.flushes.borrow_mut().push(Flush { worth, done });
        self.desk.commit_now();
        flushed.await.is_ok()
    }

    fn add(&self, shard: &Rc<Shard>) {
        let mut shards = self.shards.borrow_mut();
        shards.insert(shard.id().clone(), shard.clone());
    }

    fn remove(&self, shard: &ShardId) {
        self.shards.borrow_mut().remove(shard);
    }

    /// It can commit no more.
    pub(crate) fn end(&self) {
        let unfinished = self.statuses();
        self.unfinished.replace(Some(unfinished));
        // Who waits for a commit is told by that.
        self.flushes.take();
    }

    /// What can be told of its shards now, or could when it ended.
    pub(crate) fn statuses(&self) -> Vec<ShardStatus> {
        if let Some(unfinished) = &*self.unfinished.borrow() {
            return unfinished.clone();
        }
        let shards = self.shards.borrow();
        shards.values().map(|shard| shard.status()).collect()
    }

    async fn commit_when_due(&self) -> CommitError {
        let clock = self.desk.clock().clone();
        let mut last = Duration::ZERO;
        loop {
            let since_last = clock.elapsed().saturating_sub(last);
            match due(self.desk.facts(), &self.desk.settings, since_last) {
                Due::Never => self.desk.changed().await,
                Due::In(left) => tokio::select! {
                    biased;
                    () = self.desk.changed() => {}
                    () = clock.sleep(left) => {}
                },
                Due::Now => {
                    last = clock.elapsed();
                    if let Err(error) = self.commit().await {
                        return error;
                    }
                }
            }
        }
    }

    async fn commit(&self) -> Result<(), CommitError> {
        let flushes = std::mem::take(&mut *self.flushes.borrow_mut());
        let started = self.desk.clock().elapsed();
        let worth = flushes.iter().map(|flush| flush.worth).max();
        let draft = self.seal(worth.unwrap_or(Worth::Work));
        self.desk.sealed();
        // Outputs that left before must have arrived before their inputs count as done.
        self.publish().await?;
        if !draft.shards.is_empty() {
            let Draft {
                stage,
                offsets,
                states,
                shards,
                owners,
            } = draft;
            let (records, bytes) = (stage.records.len(), stage.bytes.len());
            self.note_topics(&stage);
            let commit = self.log.commit(self.commit_of(stage, offsets, states));
            let commit = commit.await;
            let commit = commit.inspect_err(|error| self.refused(error, &owners))?;
            self.committed(commit, shards);
            let took = self.desk.clock().elapsed().saturating_sub(started);
            let worker = self.index;
            self.desk.reports().commit(&CommitReport {
                worker,
                records,
                bytes,
                took,
            });
        }
        for flush in flushes {
            // Whoever asked may be gone.
            let _ = flush.done.send(());
        }
        Ok(())
    }

    /// If it is one record that was refused, its shard ends. `owners`: shards, and where their records end.
    fn refused(&self, error: &CommitError, owners: &[(ShardId, usize)]) {
        let CommitError::Refused { record, .. } = error else {
            return;
        };
        let owner = owners.partition_point(|(_, end)| end <= record);
        let Some((shard, _)) = owners.get(owner) else {
            return;
        };
        let reason = self.refusals.add(shard, error);
        let at_work = self.shards.borrow().get(shard).cloned();
        if let Some(shard) = at_work {
            shard.break_down(&*reason);
        }
    }

    fn note_topics(&self, stage: &crate::stage::Stage) {
        let mut written = self.written.borrow_mut();
        for record in &stage.records {
            if written.insert(record.topic) {
                let topic = self.desk.topic_name(record.topic);
                self.desk.reports().writes(&topic);
            }
        }
    }

    fn seal(&self, worth: Worth) -> Draft {
        let mut draft = Draft {
            stage: self.spare.take(),
            ..Draft::default()
        };
        let shards: Vec<Rc<Shard>> = self.shards.borrow().values().cloned().collect();
        for shard in shards {
            if let Err(error) = shard.seal(&mut draft, worth) {
                shard.break_down(error.to_string());
                self.shards.borrow_mut().remove(shard.id());
            }
        }
        draft
    }

    fn commit_of(
        &self,
        stage: crate::stage::Stage,
        offsets: Vec<crate::port::OffsetCommit>,
        states: Vec<crate::port::StateCommit>,
    ) -> Commit {
        Commit {
            topics: self.desk.topics.names.clone(),
            records: stage.records,
            bytes: stage.bytes,
            group: self.app.clone(),
            offsets,
            states,
        }
    }

    fn committed(&self, commit: Commit, shards: Vec<(Rc<Shard>, Option<usize>)>) {
        let mut states: Vec<_> = commit.states.into_iter().map(Some).collect();
        for (shard, place) in shards {
            let state = place.and_then(|place| states[place].take());
            let failed = state.as_ref().and_then(|state| state.failed.clone());
            shard.committed(state);
            if let Some(error) = failed {
                shard.break_down(error.to_string());
                self.shards.borrow_mut().remove(shard.id());
            }
            self.desk.report(shard.status());
        }
        self.keep_memory(commit.records, commit.bytes);
    }

    fn keep_memory(&self, mut records: Vec<crate::port::CommitRecord>, mut bytes: Vec<u8>) {
        records.clear();
        bytes.clear();
        *self.spare.borrow_mut() = crate::stage::Stage { records, bytes };
    }

    /// `at_least_once`: outputs leave as soon as they are there.
    async fn publish_at_once(&self) -> CommitError {
        if self.desk.outbox().is_none() {
            return std::future::pending().await;
        }
        loop {
            self.desk.outgoing().await;
            if let Err(error) = self.publish().await {
                return error;
            }
        }
    }

    async fn publish(&self) -> Result<(), CommitError> {
        let Some(outbox) = self.desk.outbox() else {
            return Ok(());
        };
        let _in_order = self.publishing.lock().await;
        let Outbox { stage, owners } = outbox.take();
        if !stage.is_empty() {
            self.note_topics(&stage);
            let outputs = self.commit_of(stage, Vec::new(), Vec::new());
            let published = self.log.publish(outputs).await;
            published.inspect_err(|error| self.refused(error, &owners))?;
        }
        Ok(())
    }
}
