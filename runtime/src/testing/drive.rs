//! [`Driver`]: one thread, paused time, a node as a set of tasks that can be dropped at any await.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tanist_actors::port::{Clock, MemoryStores, TokioClock};
use tanist_actors::shard::{ShardState, ShardStatus};
use tanist_actors::worker::{Thread, WorkerSettings};
use tanist_broker::{BrokerPort, Isolation, Settings, TopicPartition};
use tanist_cluster::{Millis, NodeName};
use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};
use tokio::task::LocalSet;
use uuid::Uuid;

use super::EPOCH;
use crate::app::App;
use crate::memory::MemoryBroker;
use crate::node::{
    Board, ClusterSettings, MemoryProcesses, Node, NodeError, NodeExit, NodeParts, Wish,
};

/// The one node, and its address.
const NODE: &str = "n1";
/// Steps of virtual time in which it is looked whether the app has settled.
const STEP: Duration = Duration::from_millis(5);
/// Virtual time without anything to do before the app counts as settled: longer than a commit waits.
const QUIET: Duration = Duration::from_millis(400);

/// A node that runs.
struct Running {
    tasks: LocalSet,
    wish: watch::Sender<Wish>,
    exit: oneshot::Receiver<Result<NodeExit, NodeError>>,
    ended: Option<Result<NodeExit, NodeError>>,
}

/// See the module.
pub(crate) struct Driver {
    app: Arc<App>,
    settings: WorkerSettings,
    workers: u32,
    /// Chooses, step by step.
    dice: u64,
    broker: MemoryBroker,
    stores: Arc<MemoryStores>,
    board: Arc<Board>,
    processes: MemoryProcesses,
    clock: TokioClock,
    node: Option<Running>,
    starts: u128,
    /// Dropped last: what stands above lives on it.
    runtime: Runtime,
}

impl Driver {
    pub(crate) fn new(app: Arc<App>, settings: WorkerSettings, workers: u32, seed: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without threads can be made");
        let (broker, clock) = {
            let _on_it = runtime.enter();
            let clock = TokioClock::starting_at(EPOCH);
            let port = BrokerPort::new(Settings::default());
            (MemoryBroker::new(port, Arc::new(clock), seed), clock)
        };
        Self {
            app,
            settings,
            workers,
            dice: seed,
            broker,
            stores: Arc::default(),
            board: Arc::new(Board::new(NodeName::from(NODE), Arc::new(clock))),
            processes: MemoryProcesses::default(),
            clock,
            node: None,
            starts: 0,
            runtime,
        }
    }

    pub(crate) fn start(&mut self) {
        assert!(
            self.node.is_none(),
            "the node is running: kill or stop it first"
        );
        self.starts += 1;
        self.board = Arc::new(Board::new(NodeName::from(NODE), Arc::new(self.clock)));
        let parts = NodeParts {
            app: self.app.clone(),
            name: NodeName::from(NODE),
            workers: self.workers,
            settings: self.settings.clone(),
            cluster: ClusterSettings::default(),
            broker: Arc::new(self.broker.client(NODE)),
            stores: self.stores.clone(),
            clock: Arc::new(self.clock),
            thread: Thread::This,
            board: self.board.clone(),
            links: Arc::new(self.processes.links(NODE)),
            http: Some(NODE.to_owned()),
            machine: None,
            // Room for those of a node that joins again.
            incarnation: Uuid::from_u128(self.starts << 64),
        };
        let (wish, wished) = watch::channel(Wish::Run);
        let (tell, exit) = oneshot::channel();
        let tasks = LocalSet::new();
        tasks.spawn_local(async move {
            let ended = match Node::open(parts).await {
                Ok(node) => node.run(wished).await,
                Err(error) => Err(error),
            };
            // The test may be over.
            let _ = tell.send(ended);
        });
        self.node = Some(Running {
            tasks,
            wish,
            exit,
            ended: None,
        });
    }

    /// Runs the node while `work` goes on.
    fn drive<T>(&mut self, work: impl Future<Output = T>) -> T {
        let Self { runtime, node, .. } = self;
        runtime.block_on(async {
            let mut work = pin!(work);
            poll_fn(|task| {
                // First, so that the node is not polled in the pass that ends this: whoever yields there would be woken
                // by a scheduler that is gone.
                if let Poll::Ready(done) = work.as_mut().poll(task) {
                    return Poll::Ready(done);
                }
                if let Some(node) = node.as_mut() {
                    // That all its tasks are done does not end the test.
                    let _ = Pin::new(&mut node.tasks).poll(task);
                    if node.ended.is_none()
                        && let Ok(ended) = node.exit.try_recv()
                    {
                        node.ended = Some(ended);
                    }
                }
                Poll::Pending
            })
            .await
        })
    }

    pub(crate) fn advance(&mut self, duration: Duration) {
        self.drive(async move { tokio::time::sleep(duration).await });
    }

    pub(crate) fn now(&self) -> Millis {
        // Outside of the runtime tokio's time is the machine's.
        let _on_it = self.runtime.enter();
        self.clock.now()
    }

    fn elapsed(&self) -> Duration {
        let _on_it = self.runtime.enter();
        self.clock.elapsed()
    }

    pub(crate) fn settle(&mut self, limit: Duration) -> Result<(), String> {
        let begun = self.elapsed();
        let mut quiet_since = None;
        loop {
            let now = self.elapsed();
            let rest = self.rest();
            match (&rest, quiet_since) {
                (None, None) => quiet_since = Some(now),
                (None, Some(since)) if now - since >= QUIET => return Ok(()),
                (Some(_), _) => quiet_since = None,
                _ => {}
            }
            if let Some(rest) = rest.filter(|_| now - begun > limit) {
                return Err(rest);
            }
            self.advance(STEP);
        }
    }

    /// What is still to be done; `None` if nothing is.
    fn rest(&mut self) -> Option<String> {
        let running = self.node.as_ref()?;
        if let Some(ended) = &running.ended {
            return match ended {
                Ok(_) => None,
                Err(error) => Some(format!("the node ended: {error}")),
            };
        }
        let shards = self.board.shards();
        if shards.is_empty() {
            return Some("the node has not started".to_owned());
        }
        shards.iter().find_map(|shard| match &shard.state {
            ShardState::Broken { .. } => None,
            ShardState::Running => self.unread(shard),
            state => Some(format!("shard {} is {state}", shard.shard)),
        })
    }

    /// An input of the shard with records that no commit contains.
    fn unread(&self, shard: &ShardStatus) -> Option<String> {
        shard.inputs.iter().find_map(|(agent, input)| {
            let partition = TopicPartition::new(&*input.topic, shard.shard.partition.0);
            let records = self.records(&partition, input.committed.0);
            (!records.is_empty()).then(|| {
                format!(
                    "{agent}[{}] has {} records to read",
                    shard.shard.partition,
                    records.len()
                )
            })
        })
    }

    /// What a read_committed reader sees of a partition.
    pub(crate) fn records(
        &self,
        partition: &TopicPartition,
        mut from: i64,
    ) -> Vec<tanist_broker::LogRecord> {
        let mut records = Vec::new();
        loop {
            let fetched = self.broker.port().fetch(
                partition,
                from,
                1000,
                Isolation::ReadCommitted,
                self.broker_now(),
            );
            let Ok(fetched) = fetched else { return records };
            if fetched.next_offset <= from {
                return records;
            }
            from = fetched.next_offset;
            records.extend(fetched.records);
        }
    }

    pub(crate) fn broker(&self) -> BrokerPort {
        self.broker.port().client("test")
    }

    pub(crate) fn broker_now(&self) -> tanist_broker::Millis {
        tanist_broker::Millis(self.now().0)
    }

    pub(crate) fn app(&self) -> &App {
        &self.app
    }

    pub(crate) fn kill(&mut self) {
        let running = self.node.take().expect("a node that runs can be killed");
        self.processes.end(NODE);
        {
            let _on_it = self.runtime.enter();
            drop(running);
        }
        let mut dice = self.dice;
        self.stores.crash(|below| {
            // Knuth's constants for a linear congruential generator: any will do that is the same in each run.
            dice = dice
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (dice >> 33) as usize % below
        });
        self.dice = dice;
    }

    pub(crate) fn lose_disk(&mut self) {
        assert!(
            self.node.is_none(),
            "a disk is lost when its node does not run: kill it first"
        );
        self.stores.erase();
    }

    pub(crate) fn stop(&mut self) -> Result<NodeExit, NodeError> {
        let running = self.node.take().expect("a node that runs can be stopped");
        if let Some(ended) = running.ended {
            return ended;
        }
        running.wish.send_replace(Wish::Stop);
        let (tasks, exit) = (running.tasks, running.exit);
        self.runtime
            .block_on(tasks.run_until(exit))
            .expect("a node says how it ended")
    }

    pub(crate) fn ended(&mut self) -> Option<Result<NodeExit, String>> {
        let ended = self.node.as_ref()?.ended.as_ref()?;
        Some(ended.as_ref().cloned().map_err(NodeError::to_string))
    }

    pub(crate) fn status(&self) -> Vec<ShardStatus> {
        self.board.shards()
    }
}
