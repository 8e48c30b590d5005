//! [`Node`]: one process of an app: joins the others, takes its share of the shards, and leaves.
//!
//! The way of a node: `admission` (may it join?) -> `Join` in the `control` log -> `life` as a member: `crew` makes its
//! workers ready and `deal`s them their shards; `beats` and `watch` say who is alive; `office` is what the director does;
//! `report` tells it how far the copies here are -> `Leave`, or, when the others went on without it, from the beginning.
//! `board` and `timeline` are what can be told of all that.

mod admission;
mod beats;
mod board;
mod catch_up;
mod control;
mod crew;
mod deal;
mod death;
mod ends;
mod inquiry;
mod life;
mod links;
mod office;
mod report;
mod stores;
mod story;
#[cfg(test)]
mod tests;
mod timeline;
mod undeclared;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use tanist_actors::port::{Broker, BrokerError, Clock, Stores};
use tanist_actors::worker::{Thread, WorkerSettings};
use tanist_cluster::admission::Refusal;
use tanist_cluster::codec::FORMAT;
use tanist_cluster::control::{Join, USUAL_WEIGHT};
use tanist_cluster::placement::Policy;
use tanist_cluster::{NodeName, ShardId};
use tokio::sync::watch as tokio_watch;
use uuid::Uuid;

pub(crate) use board::Work;
pub use board::{Board, CommitTotals};
pub use control::ControlError;
pub use death::Death;
pub(crate) use links::{INCARNATION_HEADER, PATH as ALIVE_PATH, reachable};
pub use links::{Links, MemoryLinks, MemoryProcesses, TcpLinks, machine};
pub use stores::OpenStores;
pub(crate) use timeline::time_of_day;
pub use timeline::{Event, EventKind, Timeline};

use crate::app::{App, AppTopology, Faults, control_topic};
use beats::{Beats, OpenError};
use control::ControlLog;
use life::{Ending, Life};
use timeline::Note;

/// The pause before a node that was put out joins again: doubled while that goes on.
const BACKOFF: Duration = Duration::from_millis(100);
/// The longest such pause.
const MAX_BACKOFF: Duration = Duration::from_secs(5);
/// Who was a member for so long was put out for a new reason.
const SOUND: Duration = Duration::from_secs(30);

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
    /// How it is with the others.
    pub cluster: ClusterSettings,
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
    /// How it sees whether other processes are there.
    pub links: Arc<dyn Links>,
    /// Where the node answers queries, `host:port`.
    pub http: Option<String>,
    /// The machine whose loopback that may be, see [`machine`].
    pub machine: Option<String>,
    /// This start of the node.
    pub incarnation: Uuid,
}

/// How a node is with the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSettings {
    /// For how long a member may be silent before it is taken for dead. Must be the same on all nodes.
    pub failure_timeout: Duration,
    /// How often it says that it lives.
    pub heartbeat_interval: Duration,
    /// How long it waits, when it is to stop, for others to take over its shards.
    pub leave_timeout: Duration,
    /// How much it can carry, compared with the others; [`USUAL_WEIGHT`] unless set.
    pub weight: u32,
    /// Where it stands.
    pub rack: Option<String>,
    /// How it places shards when it is the director.
    pub policy: Policy,
}

impl Default for ClusterSettings {
    fn default() -> Self {
        Self {
            failure_timeout: Duration::from_secs(1),
            heartbeat_interval: Duration::from_millis(100),
            leave_timeout: Duration::from_secs(30),
            weight: USUAL_WEIGHT,
            rack: None,
            policy: Policy::default(),
        }
    }
}

/// How a node ended that did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeExit {
    /// It was asked to. False: the last commit did not succeed, and what it held will be processed again.
    Stopped {
        /// Whether everything that was finished is committed.
        committed: bool,
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
    /// The nodes that are running do not let it in.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It was to stop when it has caught up, which it will not.
    #[error("cannot catch up, because shard {shard} has stopped: {reason}")]
    CannotCatchUp {
        /// The shard.
        shard: ShardId,
        /// Why it has stopped.
        reason: String,
    },
}

impl From<OpenError> for NodeError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Broker(error) => Self::Broker(error),
            OpenError::Log(error) => Self::Control(ControlError::Log(error)),
        }
    }
}

/// Refuses topics that exist and do not keep what this app relies upon.
async fn check_settings(parts: &NodeParts, topology: &AppTopology) -> Result<(), NodeError> {
    let control: Arc<str> = control_topic(parts.app.id()).into();
    let own = topology.internal_topics().map(|(topic, _)| topic.clone());
    let names: Vec<Arc<str>> = own.chain([control.clone()]).collect();
    let settings = parts.broker.topic_settings(&names).await?;
    let max_record_bytes = parts.settings.max_record_bytes;
    Ok(topology.check_settings(&control, &settings, max_record_bytes)?)
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

/// See the module.
pub struct Node {
    parts: NodeParts,
    topology: AppTopology,
    control: ControlLog,
    beats: Beats,
}

impl Node {
    /// Puts the app together, creates what topics are missing, and reads what the others have said.
    pub async fn open(mut parts: NodeParts) -> Result<Self, NodeError> {
        let existing = parts.broker.topics(&parts.app.topic_names()).await?;
        let mut topology = parts.app.topology(&existing)?;
        topology.make_room(parts.settings.max_record_bytes);
        check_settings(&parts, &topology).await?;
        let shards = topology.shared.shards().count();
        parts.workers = parts.workers.min(shards as u32);
        if !topology.missing.is_empty() {
            for topic in &topology.missing {
                tracing::info!(topic = %topic.name, partitions = topic.partitions, "creating topic");
            }
            parts.broker.create_topics(&topology.missing).await?;
        }
        let app = parts.app.id();
        let control = ControlLog::open(&*parts.broker, app).await?;
        let beats = Beats::open(parts.broker.clone(), parts.clock.clone(), app).await?;
        parts.board.follow(None, control.view());
        Ok(Self {
            topology,
            control,
            beats,
            parts,
        })
    }

    /// The app as it runs here.
    pub fn topology(&self) -> &AppTopology {
        &self.topology
    }

    /// Joins and runs the app until `wish` is fulfilled. A node that was put out, because it was frozen or cut off for too
    /// long, joins again.
    pub async fn run(
        mut self,
        mut wish: tokio_watch::Receiver<Wish>,
    ) -> Result<NodeExit, NodeError> {
        let mut join = self.first_join();
        let mut backoff = BACKOFF;
        let mut again = false;
        loop {
            // Nothing is in hand.
            if *wish.borrow() == Wish::Stop {
                return Ok(NodeExit::Stopped { committed: true });
            }
            let mut stop = wish.clone();
            let life = tokio::select! {
                biased;
                life = self.join(&mut join, again) => life?,
                // A `Join` may be on its way: a member that never beats is soon taken for dead.
                () = stopped(&mut stop) => return Ok(NodeExit::Stopped { committed: true }),
            };
            let (since, clock) = (life.parts.clock.elapsed(), life.parts.clock.clone());
            if let Ending::Stopped { committed } = life.run(&mut wish).await? {
                return Ok(NodeExit::Stopped { committed });
            }
            self.put_out();
            if clock.elapsed().saturating_sub(since) >= SOUND {
                backoff = BACKOFF;
            }
            let mut stop = wish.clone();
            tokio::select! {
                biased;
                () = stopped(&mut stop) => {}
                () = self.parts.clock.sleep(backoff) => {}
            }
            backoff = (backoff * 2).min(MAX_BACKOFF);
            join.incarnation = admission::next(join.incarnation);
            again = true;
        }
    }

    fn first_join(&self) -> Join {
        let NodeParts { cluster, .. } = &self.parts;
        Join {
            node: self.parts.name.clone(),
            incarnation: self.parts.incarnation,
            workers: self.parts.workers,
            topology: self.topology.shared.clone(),
            build: env!("CARGO_PKG_VERSION").into(),
            reads_format: FORMAT,
            http: self.parts.http.clone(),
            machine: self.parts.machine.clone(),
            rack: cluster.rack.clone(),
            weight: cluster.weight,
            joined_at: self.parts.clock.now(),
        }
    }

    async fn join(&mut self, join: &mut Join, again: bool) -> Result<Life<'_>, NodeError> {
        let Self {
            parts,
            topology,
            control,
            beats,
        } = self;
        join.joined_at = parts.clock.now();
        // A disk may be slow, and a member beats from its `Join` on, or is taken for dead.
        let on_disk = stores::on_disk(parts.stores.clone(), parts.app.id(), &topology.groups).await;
        if !again {
            undeclared::say(parts, topology, &on_disk.changelogs).await;
        }
        let admitted = admission::admit_and_join(join, parts, control, beats).await;
        let me = admitted.inspect_err(|error| {
            if let NodeError::Refused(refusal) = error {
                parts
                    .board
                    .note(Note::new(EventKind::Refused, refusal.to_string()));
            }
        })?;
        let (kind, how) = match again {
            true => (EventKind::Rejoined, "joined again"),
            false => (EventKind::Joined, "joined"),
        };
        let text = format!("node {} {how} as member {me}", parts.name);
        parts.board.note(Note::new(kind, text).member(me));
        let joined = (join.clone(), me);
        Ok(Life::new(
            parts,
            topology,
            control,
            beats,
            joined,
            on_disk.positions,
        ))
    }

    fn put_out(&self) {
        let board = &self.parts.board;
        board.clear();
        board.follow(None, self.control.view());
        let text =
            "the others went on without this node; it has dropped its shards and joins again";
        board.note(Note::new(EventKind::Outside, text));
    }
}

/// Until the node is to stop, or nobody is left who could say so.
async fn stopped(wish: &mut tokio_watch::Receiver<Wish>) {
    // An error means that nobody is left: that is a wish, too.
    let _ = wish.wait_for(|wish| *wish == Wish::Stop).await;
}
