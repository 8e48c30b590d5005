//! [`Node`]: one process of an app. Joins, gets its predecessors out of the way, plans, starts its workers, and watches
//! over them until it is stopped or fenced.

mod board;
mod catch_up;
mod control;
mod stop;
mod stores;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tanist_actors::group::GroupSpec;
use tanist_actors::port::{Broker, BrokerError, Clock, CommitError, LogBuilder, Stores};
use tanist_actors::worker::{Thread, WorkerHandle, WorkerParts, WorkerSettings};
use tanist_cluster::control::{Armed, Join, Record, USUAL_WEIGHT};
use tanist_cluster::plan::Plan;
use tanist_cluster::startup::{Step, startup};
use tanist_cluster::view::Standing;
use tanist_cluster::{
    Generation, GroupName, MemberId, NodeName, ShardId, TransactionalId, WorkerIndex,
};
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

pub use board::{Board, CommitTotals};
use catch_up::{CatchUp, Reached};
pub use control::ControlError;
use control::ControlLog;
pub use stores::OpenStores;

use crate::app::{App, AppTopology, Faults};

/// The pause before a worker that could not commit is made anew; doubled while that goes on.
const BACKOFF: Duration = Duration::from_millis(100);
/// The longest such pause.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// What a node is made of.
pub struct NodeParts {
    /// The app.
    pub app: Arc<App>,
    /// What the node is called.
    pub name: NodeName,
    /// How many workers it has at most: one that has no shard is not needed.
    pub workers: u32,
    /// How they work.
    pub settings: WorkerSettings,
    /// The broker.
    pub broker: Arc<dyn Broker>,
    /// Where tables are kept.
    pub stores: Arc<dyn Stores>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where workers run.
    pub thread: Thread,
    /// Where they report.
    pub board: Arc<Board>,
    /// Where the node answers queries, `host:port`.
    pub http: Option<String>,
    /// This start of the node.
    pub incarnation: Uuid,
}

/// How a node ended that did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeExit {
    /// It was asked to. False: the last commit did not succeed, and what it held will be processed again.
    Stopped {
        /// Whether everything that was finished is committed.
        committed: bool,
    },
    /// Another node has taken over.
    Fenced {
        /// Who, if the log says so.
        by: Option<MemberId>,
    },
}

/// Why a node could not run.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The app's declarations, or topics that do not fit them.
    #[error("{0}")]
    Faults(#[from] Faults),
    /// The broker.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The control log.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// It was to stop when it has caught up, which it will not.
    #[error("cannot catch up, because shard {shard} has stopped: {reason}")]
    CannotCatchUp {
        /// The shard.
        shard: ShardId,
        /// Why it has stopped.
        reason: String,
    },
}

/// See the module.
pub struct Node {
    parts: NodeParts,
    topology: AppTopology,
    control: ControlLog,
    me: MemberId,
    workers: BTreeMap<WorkerIndex, WorkerHandle>,
    ended: FuturesUnordered<
        futures_util::future::BoxFuture<'static, (WorkerIndex, Option<CommitError>)>,
    >,
}

/// What a node is told from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wish {
    /// Go on.
    #[default]
    Run,
    /// Go on to the ends that the inputs have now, and what follows from that; commit, and end.
    StopWhenCaughtUp,
    /// Finish what is in hand, commit, and end.
    Stop,
}

impl Node {
    /// Puts the app together, creates what topics are missing, and joins.
    pub async fn join(mut parts: NodeParts) -> Result<Self, NodeError> {
        let existing = parts.broker.topics(&parts.app.topic_names()).await?;
        let topology = parts.app.topology(&existing)?;
        let shards = topology.shared.shards().count();
        parts.workers = parts.workers.min(shards as u32);
        if !topology.missing.is_empty() {
            for topic in &topology.missing {
                tracing::info!(topic = %topic.name, partitions = topic.partitions, "creating topic");
            }
            parts.broker.create_topics(&topology.missing).await?;
        }
        let mut control = ControlLog::open(parts.broker.clone(), parts.app.id()).await?;
        let join = Join {
            node: parts.name.clone(),
            incarnation: parts.incarnation,
            workers: parts.workers,
            topology: topology.shared.clone(),
            build: env!("CARGO_PKG_VERSION").into(),
            http: parts.http.clone(),
            rack: None,
            weight: USUAL_WEIGHT,
            joined_at: parts.clock.now(),
        };
        let me = MemberId(control.write(&Record::Join(join)).await?.0);
        tracing::info!(node = %parts.name, member = %me, "joined");
        Ok(Self {
            parts,
            topology,
            control,
            me,
            workers: BTreeMap::new(),
            ended: FuturesUnordered::new(),
        })
    }

    /// The app as it runs here.
    pub fn topology(&self) -> &AppTopology {
        &self.topology
    }

    /// Which member it is.
    pub fn member(&self) -> MemberId {
        self.me
    }

    /// Runs the app until `wish` is fulfilled, or another node takes over.
    pub async fn run(mut self, mut wish: watch::Receiver<Wish>) -> Result<NodeExit, NodeError> {
        let taken_over = tokio::select! {
            biased;
            taken_over = self.take_over() => taken_over?,
            () = wished(&mut wish) => return self.stop().await,
        };
        if !taken_over {
            return Ok(self.fenced());
        }
        let mut backoff = BACKOFF;
        let mut catch_up = None;
        loop {
            if *wish.borrow() == Wish::StopWhenCaughtUp && catch_up.is_none() {
                catch_up = Some(self.begin_to_catch_up().await?);
            }
            tokio::select! {
                biased;
                wish = next(&mut wish) => {
                    if wish == Wish::Stop {
                        return self.stop().await;
                    }
                }
                changed = self.control.changed() => {
                    changed?;
                    if self.is_outside() {
                        return Ok(self.fenced());
                    }
                    let view = Arc::new(self.control.view().clone());
                    for (worker, handle) in &self.workers {
                        handle.follow(view.clone(), Arc::new(self.shards_of(*worker)));
                    }
                }
                Some((worker, error)) = self.ended.next() => {
                    self.workers.remove(&worker);
                    let Some(error) = error else { continue };
                    tracing::warn!(%worker, "{error}; the worker's shards stand still");
                    self.parts.clock.sleep(backoff).await;
                    backoff = (backoff * 2).min(MAX_BACKOFF);
                    if !self.rearm(worker).await? {
                        return Ok(self.fenced());
                    }
                    tracing::info!(%worker, "the worker was made anew; its shards go on from what is committed");
                }
                Some(()) = wait(&mut catch_up, &self.parts) => match self.check(&mut catch_up).await? {
                    Reached::No => {}
                    Reached::Yes => return self.stop().await,
                    Reached::Never { shard, reason } => {
                        self.stop().await?;
                        return Err(NodeError::CannotCatchUp { shard, reason });
                    }
                },
            }
        }
    }

    async fn begin_to_catch_up(&self) -> Result<CatchUp, BrokerError> {
        let NodeParts { broker, board, .. } = &self.parts;
        CatchUp::begin(&self.topology, &**broker, board).await
    }

    /// All that is finished is committed and visible. False if a worker has ended.
    async fn settle(&self) -> bool {
        let settling: Vec<_> = self.workers.values().map(WorkerHandle::settle).collect();
        let settled = futures_util::future::join_all(settling).await;
        settled.into_iter().all(|settled| settled)
    }

    async fn check(&self, catch_up: &mut Option<CatchUp>) -> Result<Reached, BrokerError> {
        match catch_up {
            Some(catch_up) if self.settle().await => {
                catch_up.check(&self.parts.board, &*self.parts.broker).await
            }
            // A worker has ended; what it did not commit will be processed again.
            _ => Ok(Reached::No),
        }
    }

    fn is_outside(&self) -> bool {
        self.control.view().standing(self.me) != Standing::Member
    }

    /// Takes the app over, as the one node that it has. False if another did so meanwhile.
    async fn take_over(&mut self) -> Result<bool, NodeError> {
        let mut logs = BTreeMap::new();
        while let Some(step) = startup(self.control.view(), self.me).into_iter().next() {
            match step {
                Step::Arm(generation) => logs = self.arm_all(generation).await?,
                Step::Fence(_) | Step::Write(_) => self.fence_and_plan().await?,
            }
        }
        if self.is_outside() {
            return Ok(false);
        }
        self.control.sweep().await?;
        for (worker, log) in logs {
            if !self.start(worker, log) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn arm_all(
        &mut self,
        generation: Generation,
    ) -> Result<BTreeMap<WorkerIndex, Box<dyn LogBuilder>>, NodeError> {
        let mut logs = BTreeMap::new();
        for worker in (0..self.parts.workers).map(WorkerIndex) {
            logs.insert(worker, self.log(worker).await?);
        }
        self.announce(generation).await?;
        Ok(logs)
    }

    async fn log(&self, worker: WorkerIndex) -> Result<Box<dyn LogBuilder>, NodeError> {
        let id = TransactionalId::of(self.parts.app.id(), self.me, worker);
        Ok(self.parts.broker.log(&id).await?)
    }

    async fn announce(&mut self, generation: Generation) -> Result<(), NodeError> {
        let armed = Armed {
            member: self.me,
            generation,
        };
        self.control.write(&Record::Armed(armed)).await?;
        Ok(())
    }

    /// Fences everybody who was here before, all at once, then writes the plan.
    async fn fence_and_plan(&mut self) -> Result<(), NodeError> {
        let steps = startup(self.control.view(), self.me);
        let mut ids = Vec::new();
        for step in &steps {
            if let Step::Fence(fence) = step {
                tracing::info!(member = %fence.member, node = %fence.node, "fencing the predecessor");
                ids.extend(fence.ids(self.parts.app.id()));
            }
        }
        if !ids.is_empty() {
            self.parts.broker.fence(&ids).await?;
        }
        for step in steps {
            if let Step::Write(plan) = step {
                self.control.write(&Record::Plan(plan)).await?;
            }
        }
        Ok(())
    }

    /// A worker of its own producer, which was announced, and its shards. False if this node is outside.
    fn start(&mut self, worker: WorkerIndex, log: Box<dyn LogBuilder>) -> bool {
        let view = self.control.view();
        let Some(member) = view.member(self.me) else {
            return false;
        };
        let Some(producer) = view.producer_permit(self.me, member.generation) else {
            return false;
        };
        let (tell, ended) = oneshot::channel();
        let parts = WorkerParts {
            index: worker,
            app: self.parts.app.id().into(),
            me: self.me,
            groups: self.groups(),
            settings: self.parts.settings.clone(),
            topics: self.topology.topics.clone(),
            broker: self.parts.broker.clone(),
            producer,
            log,
            stores: self.parts.stores.clone(),
            clock: self.parts.clock.clone(),
            reports: self.parts.board.clone(),
        };
        let handle = WorkerHandle::start(parts, self.parts.thread, tell);
        let view = Arc::new(self.control.view().clone());
        handle.follow(view, Arc::new(self.shards_of(worker)));
        self.workers.insert(worker, handle);
        self.ended
            .push(Box::pin(async move { (worker, ended.await.ok()) }));
        true
    }

    fn groups(&self) -> Arc<BTreeMap<GroupName, Arc<GroupSpec>>> {
        let groups = self.topology.groups.iter();
        let named = groups.map(|group| (group.name.clone(), group.clone()));
        Arc::new(named.collect())
    }

    /// Shards are dealt out to workers one by one, group by group.
    fn shards_of(&self, worker: WorkerIndex) -> BTreeSet<ShardId> {
        let workers = self.parts.workers as usize;
        let shards = self.topology.shared.shards().enumerate();
        shards
            .filter(|(place, _)| place % workers == worker.0 as usize)
            .map(|(_, shard)| shard)
            .collect()
    }

    /// Gives a worker a new producer, and announces it. False if this node was put out meanwhile.
    async fn rearm(&mut self, worker: WorkerIndex) -> Result<bool, NodeError> {
        let log = self.log(worker).await?;
        // Who was fenced would announce itself to whoever has taken over, who would have to fence it once more.
        self.control.refresh().await?;
        let Some(member) = self.control.view().member(self.me) else {
            return Ok(false);
        };
        let generation = member.generation.next();
        self.announce(generation).await?;
        Ok(!self.is_outside() && self.start(worker, log))
    }

    fn fenced(&self) -> NodeExit {
        let view = self.control.view();
        let by = match view.standing(self.me) {
            Standing::Outside { expelled } => expelled.map(|expelled| expelled.by),
            Standing::NotYet | Standing::Member => None,
        };
        // Whoever has taken over clears away that this node ever was, which it may read in one go with the plan.
        let planned = || view.plan().map(Plan::author).filter(|by| *by != self.me);
        NodeExit::Fenced {
            by: by.or_else(planned),
        }
    }
}

/// The next wish. That nobody is left who could have one is one, too.
async fn next(wish: &mut watch::Receiver<Wish>) -> Wish {
    match wish.changed().await {
        Ok(()) => *wish.borrow_and_update(),
        Err(_) => Wish::Stop,
    }
}

/// See [`CatchUp::wait`].
async fn wait(catch_up: &mut Option<CatchUp>, parts: &NodeParts) -> Option<()> {
    catch_up.as_mut()?.wait(&parts.board, &*parts.clock).await;
    Some(())
}

/// Until the node is to stop, or nobody is left who could say so.
async fn wished(wish: &mut watch::Receiver<Wish>) {
    // An error means that nobody is left: that is a wish, too.
    let _ = wish.wait_for(|wish| *wish == Wish::Stop).await;
}
