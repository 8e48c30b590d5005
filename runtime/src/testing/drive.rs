//! [`Driver`]: one thread, paused time, a broker, and nodes that take turns.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tanist_actors::port::{Clock, TokioClock};
use tanist_actors::worker::{Thread, WorkerSettings};
use tanist_broker::{BrokerPort, Isolation, Settings, TopicPartition};
use tanist_cluster::{Millis, NodeName};
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::EPOCH;
use super::node::TestNode;
use crate::app::App;
use crate::memory::{MemoryBroker, Process, ProcessClock};
use crate::node::{Board, ClusterSettings, MemoryProcesses, NodeError, NodeExit, NodeParts, Wish};
use crate::settings::{Layer, Source};

/// What a test can choose.
#[derive(Clone, Debug)]
pub(crate) struct Choices {
    pub(crate) nodes: usize,
    pub(crate) seed: u64,
    pub(crate) workers: u32,
    pub(crate) settings: WorkerSettings,
    pub(crate) cluster: ClusterSettings,
}

impl Choices {
    pub(super) fn of(app: &App) -> Self {
        let of_app = Layer::new(Source::App, app.settings.clone());
        let settings = crate::settings::Settings::resolve(app.id(), &[of_app]);
        let settings = settings.unwrap_or_else(|faults| panic!("{faults}"));
        Self {
            nodes: 1,
            seed: 0,
            workers: 1,
            settings: WorkerSettings {
                // What is left unsaid depends on the machine.
                cache_bytes: WorkerSettings::default().cache_bytes,
                ..settings.worker()
            },
            cluster: settings.cluster,
        }
    }
}

/// See the module.
pub(crate) struct Driver {
    app: Arc<App>,
    choices: Choices,
    /// Chooses, step by step.
    pub(super) dice: fastrand::Rng,
    broker: MemoryBroker,
    processes: MemoryProcesses,
    clock: TokioClock,
    nodes: Vec<TestNode>,
    starts: u128,
    /// Dropped last: what stands above lives on it.
    runtime: Rc<Runtime>,
}

impl Driver {
    /// With nodes that have not started.
    pub(crate) fn new(app: Arc<App>, choices: Choices) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .map(Rc::new)
            .expect("a runtime without threads can be made");
        let (broker, clock) = {
            let _on_it = runtime.enter();
            let clock = TokioClock::starting_at(EPOCH);
            let port = BrokerPort::new(Settings::default());
            let broker = MemoryBroker::new(port, Arc::new(clock), choices.seed);
            (broker, clock)
        };
        let mut driver = Self {
            app,
            dice: fastrand::Rng::with_seed(choices.seed),
            broker,
            processes: MemoryProcesses::default(),
            clock,
            nodes: Vec::new(),
            starts: 0,
            runtime,
            choices,
        };
        for _ in 0..driver.choices.nodes {
            driver.add();
        }
        driver
    }

    /// One more node, which has not started.
    pub(crate) fn add(&mut self) -> NodeName {
        let name = NodeName::new(format!("n{}", self.nodes.len() + 1));
        let board = Board::new(name.clone(), Arc::new(self.clock));
        self.nodes.push(TestNode::new(name.clone(), board));
        name
    }

    pub(crate) fn start_all(&mut self) {
        let names: Vec<NodeName> = self.nodes.iter().map(|node| node.name.clone()).collect();
        names.iter().for_each(|name| self.start(name));
    }

    pub(crate) fn nodes(&self) -> &[TestNode] {
        &self.nodes
    }

    pub(crate) fn node(&self, name: &NodeName) -> &TestNode {
        let found = self.nodes.iter().find(|node| node.name == *name);
        found.unwrap_or_else(|| panic!("there is no node {name}: they are {}", self.names()))
    }

    pub(crate) fn node_mut(&mut self, name: &NodeName) -> &mut TestNode {
        let names = self.names();
        let found = self.nodes.iter_mut().find(|node| node.name == *name);
        found.unwrap_or_else(|| panic!("there is no node {name}: they are {names}"))
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.nodes.iter().map(|node| node.name.as_str()).collect();
        names.join(", ")
    }

    pub(crate) fn start(&mut self, name: &NodeName) {
        self.starts += 1;
        // Room for those of a node that joins again.
        let incarnation = Uuid::from_u128(self.starts << 64);
        let (app, choices, now) = (self.app.clone(), self.choices.clone(), self.now());
        let process = Arc::<Process>::default();
        let broker = self.broker.of_process(name.as_str(), process.clone());
        let links = self.processes.links(name.as_str());
        let runtime = self.runtime.clone();
        let _on_it = runtime.enter();
        let node = self.node_mut(name);
        assert!(
            !node.is_running() || node.ended().is_some(),
            "node {name} is running: kill or stop it first"
        );
        let clock: Arc<dyn Clock> = Arc::new(ProcessClock {
            clock: TokioClock::starting_at(Millis(now.0 + node.clock_ahead_ms)),
            process: process.clone(),
        });
        let stores = node.open_disk(process);
        node.start(NodeParts {
            app,
            name: name.clone(),
            workers: choices.workers,
            settings: choices.settings,
            cluster: choices.cluster,
            broker: Arc::new(broker),
            stores,
            clock: clock.clone(),
            thread: Thread::This,
            board: Arc::new(Board::new(name.clone(), clock)),
            links: Arc::new(links),
            http: node.is_linked.then(|| name.to_string()),
            machine: None,
            incarnation,
        });
    }

    /// Lets the nodes work until `done`.
    fn drive<T>(&mut self, mut done: impl FnMut(&Self, &mut Context<'_>) -> Poll<T>) -> T {
        let runtime = self.runtime.clone();
        runtime.block_on(poll_fn(|task| {
            // First, so that no node is polled in the pass that ends this: whoever yields there would be woken by a
            // scheduler that is gone.
            if let Poll::Ready(done) = done(self, task) {
                return Poll::Ready(done);
            }
            if self.poll_nodes(task) {
                task.waker().wake_by_ref();
            }
            Poll::Pending
        }))
    }

    /// Gives each node its turn. Whether one has ended.
    fn poll_nodes(&mut self, task: &mut Context<'_>) -> bool {
        let mut any = false;
        let count = self.nodes.len();
        // Whoever comes first has the advantage: not always the same.
        let first = if count > 1 {
            self.dice.usize(..count)
        } else {
            0
        };
        for index in (first..count).chain(0..first) {
            any |= self.nodes[index].poll(task);
            if self.nodes[index].process.is_dead() {
                any |= self.bury(index);
            }
        }
        any
    }

    pub(crate) fn advance(&mut self, duration: Duration) {
        let mut sleep = pin!(async move { tokio::time::sleep(duration).await });
        self.drive(|_, task| sleep.as_mut().poll(task));
    }

    pub(crate) fn now(&self) -> Millis {
        // Outside of the runtime tokio's time is the machine's.
        let _on_it = self.runtime.enter();
        self.clock.now()
    }

    /// Whether a node vouches for what it has.
    #[cfg(test)]
    pub(crate) fn is_sure(&self, name: &NodeName) -> bool {
        let _on_it = self.runtime.enter();
        self.node(name).board.is_sure()
    }

    pub(crate) fn elapsed(&self) -> Duration {
        let _on_it = self.runtime.enter();
        self.clock.elapsed()
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

    pub(crate) fn deploy(&mut self, app: Arc<App>) {
        assert_eq!(
            app.id(),
            self.app.id(),
            "the id of an app is what it is known by"
        );
        self.app = app;
    }

    pub(crate) fn app(&self) -> &App {
        &self.app
    }

    pub(crate) fn kill(&mut self, name: &NodeName) {
        assert!(
            self.node(name).is_running(),
            "node {name} is not running: only a node that runs can be killed"
        );
        let index = self.nodes.iter().position(|node| node.name == *name);
        index.map(|index| self.bury(index));
    }

    /// The process of a node is gone, as by SIGKILL. Whether it was there.
    fn bury(&mut self, index: usize) -> bool {
        let runtime = self.runtime.clone();
        let _on_it = runtime.enter();
        let node = &mut self.nodes[index];
        let was_there = node.is_running();
        node.end();
        if was_there {
            self.processes.end(node.name.as_str());
            let dice = &mut self.dice;
            node.disk.crash(|below| dice.usize(..below));
        }
        was_there
    }

    pub(crate) fn lose_disk(&mut self, name: &NodeName) {
        let node = self.node(name);
        assert!(
            !node.is_running(),
            "the disk of node {name} is lost when it does not run: kill it first"
        );
        node.disk.erase();
    }

    /// Tells a node to stop, which takes time.
    pub(crate) fn begin_to_stop(&mut self, name: &NodeName) {
        self.node(name).wish(Wish::Stop);
    }

    pub(crate) fn stop(&mut self, name: &NodeName) -> Result<NodeExit, NodeError> {
        assert!(
            self.node(name).is_running(),
            "node {name} is not running: only a node that runs can be stopped"
        );
        self.begin_to_stop(name);
        self.drive(|driver, _| match driver.node(name).lives() {
            true => Poll::Pending,
            false => Poll::Ready(()),
        });
        self.collect(name).unwrap_or_else(|| {
            panic!("node {name} can stop only if it is neither frozen nor killed")
        })
    }

    /// The process of a node that has ended by itself is gone. How it ended.
    pub(crate) fn collect(&mut self, name: &NodeName) -> Option<Result<NodeExit, NodeError>> {
        let runtime = self.runtime.clone();
        let _on_it = runtime.enter();
        let ended = self.node_mut(name).end()?;
        self.processes.end(name.as_str());
        Some(ended)
    }
}
