//! [`TestApp`]: an app without a broker, with a clock that the test moves, in one thread: for the tests of whoever writes
//! agents, and for our own.
//!
//! It runs the production code, down to the actors; only what touches the world is exchanged: the log is the embedded
//! broker in the same process, stores are in memory, and time is virtual. A run is determined by its seed: the delays of
//! the broker, whose turn it is, and what a killed node's disk still holds.
//!
//! With [`TestApp::nodes`] it is a cluster, whose nodes can be killed, frozen, stopped, started and added as those of `up`.
//! `drive` gives each `node` its turn, `settle` says when nothing is left to do, and `reader` reads and writes past the app.

mod drive;
mod node;
mod reader;
mod settle;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tanist_cluster::Millis;

pub use reader::{TestTable, TestTopic};
pub use tanist_actors::shard::ShardStatus;
pub use tanist_actors::worker::{Guarantee, WorkerSettings};
pub use tanist_cluster::NodeName;

use crate::app::App;
use crate::node::{NodeError, NodeExit};
use drive::{Choices, Driver};
use reader::Tables;

/// When virtual time begins: 2026-01-01 00:00 UTC.
const EPOCH: Millis = Millis(1_767_225_600_000);
/// How long [`TestApp::settle`] waits, in virtual time, before it gives up.
const SETTLE_LIMIT: Duration = Duration::from_secs(120);
/// How often it looks whether it has to.
const SETTLE_STEP: Duration = Duration::from_millis(5);

/// See the module.
///
/// ```
/// use tanist::prelude::*;
/// use tanist::testing::TestApp;
///
/// let mut app = App::new("shout");
/// let words = app.topic::<String, String>("words");
/// let shouts = app.topic::<String, String>("shouts");
/// app.agent_fn("shout", &words, async move |word, cx| {
///     cx.send(&shouts, word.key, word.value.to_uppercase())
/// });
///
/// let mut test = TestApp::new(app).nodes(2);
/// test.topic("words").send("a", "hello");
/// test.settle();
/// test.kill("n1");
/// test.topic("words").send("a", "again");
/// test.settle();
/// let heard = test.topic("shouts").records::<String, String>();
/// assert_eq!(heard, [("a".into(), "HELLO".into()), ("a".into(), "AGAIN".into())]);
/// ```
pub struct TestApp {
    app: Arc<App>,
    choices: Choices,
    /// Made at the first use, when all is known.
    driver: Option<Driver>,
}

impl TestApp {
    /// A test of `app`, with one node, `n1`, and the settings that the program gives it ([`App::setting`]); files, variables
    /// and flags have no say. Nothing happens before the test does something.
    pub fn new(app: App) -> Self {
        Self {
            choices: Choices::of(&app),
            app: Arc::new(app),
            driver: None,
        }
    }

    /// A cluster of so many nodes: `n1`, `n2` and so on.
    #[must_use]
    pub fn nodes(mut self, nodes: usize) -> Self {
        self.choices.nodes = nodes;
        self
    }

    /// Another run: other delays of the broker, another order of what happens at the same time, other luck of a killed
    /// node's disk. 0 unless set.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.choices.seed = seed;
        self
    }

    /// Other settings of the workers.
    #[must_use]
    pub fn settings(mut self, settings: WorkerSettings) -> Self {
        self.choices.settings = settings;
        self
    }

    /// More than one worker in each node. They share the test's thread, but not their producers.
    #[must_use]
    pub fn workers(mut self, workers: u32) -> Self {
        self.choices.workers = workers.max(1);
        self
    }

    fn driver(&mut self) -> &mut Driver {
        self.driver.get_or_insert_with(|| {
            let mut driver = Driver::new(self.app.clone(), self.choices.clone());
            driver.start_all();
            driver
        })
    }

    /// A topic of the app, or any other, by its name.
    pub fn topic<'test>(&'test mut self, name: &'test str) -> TestTopic<'test> {
        let codec = self.app.topic_codec(name);
        TestTopic::new(self.driver(), name, codec)
    }

    /// A table of the app: what is committed of it. [`TestTable::on`] says what a node has of it.
    pub fn table<'test>(&'test mut self, name: &'test str) -> TestTable<'test> {
        TestTable::new(self.driver(), name)
    }

    /// Lets the app work until it has taken in all that was sent, and all that it sent to itself, and has committed it, and
    /// until the nodes that live have shared out all shards, and their copies are complete. Virtual time goes on
    /// meanwhile, by fractions of a second, or by seconds where a node has to be missed first.
    ///
    /// # Panics
    /// If it does not come to that within two minutes of virtual time: then something waits that nobody brings. A shard
    /// that is broken is not waited for, nor a node that is frozen.
    pub fn settle(&mut self) {
        let driver = self.driver();
        if let Err(rest) = driver.settle(SETTLE_LIMIT, SETTLE_STEP) {
            panic!(
                "the app did not settle (seed {}): {rest}",
                self.choices.seed
            );
        }
    }

    /// Moves the clock: timers that are due run, as often as they are due.
    pub fn advance(&mut self, duration: Duration) {
        self.driver().advance(duration);
    }

    /// The virtual time, ms since the epoch.
    pub fn now(&mut self) -> Millis {
        self.driver().now()
    }

    /// Kills a node, as SIGKILL does: at whatever await it stands; its open transaction stays open, and its disk keeps
    /// only some prefix of what was not flushed.
    pub fn kill(&mut self, node: impl Into<NodeName>) {
        self.driver().kill(&node.into());
    }

    /// Loses the disk of a node that does not run.
    pub fn lose_disk(&mut self, node: impl Into<NodeName>) {
        self.driver().lose_disk(&node.into());
    }

    /// Starts a node: after [`TestApp::kill`], [`TestApp::stop`], or when it has ended by itself.
    pub fn start(&mut self, node: impl Into<NodeName>) {
        self.driver().start(&node.into());
    }

    /// Nodes that start from now on run `app`, as after a new version of it was deployed. It has to have the same id.
    pub fn deploy(&mut self, app: App) {
        let app = Arc::new(app);
        self.driver().deploy(app.clone());
        self.app = app;
    }

    /// Stops a node in an orderly way; how it ended.
    pub fn stop(&mut self, node: impl Into<NodeName>) -> Result<NodeExit, NodeError> {
        self.driver().stop(&node.into())
    }

    /// Freezes a node, as SIGSTOP does, until [`TestApp::thaw`]: it does nothing, and nobody can tell from its process.
    pub fn freeze(&mut self, node: impl Into<NodeName>) {
        self.driver().node(&node.into()).process.freeze();
    }

    /// Lets a frozen node go on.
    pub fn thaw(&mut self, node: impl Into<NodeName>) {
        self.driver().node(&node.into()).process.thaw();
    }

    /// Starts one node more.
    pub fn add(&mut self) -> NodeName {
        let driver = self.driver();
        let name = driver.add();
        driver.start(&name);
        name
    }

    /// The node that processes the shard with this key of a table.
    ///
    /// # Panics
    /// If there is none just now: [`TestApp::settle`] waits until there is.
    pub fn active_of(&self, table: &str, key: &str) -> NodeName {
        let active = self.driver.as_ref().and_then(|driver| {
            let shard = Tables::of(driver).home(table, key);
            driver.active_of(&shard)
        });
        active.unwrap_or_else(|| panic!("no node has {key:?} of {table} just now: settle first"))
    }

    /// Why a node ended by itself, if it did.
    pub fn ended(&mut self, node: impl Into<NodeName>) -> Option<Result<NodeExit, String>> {
        let ended = self.driver().node(&node.into()).ended()?;
        Some(ended.as_ref().cloned().map_err(NodeError::to_string))
    }

    /// What a node says of its shards.
    pub fn status(&mut self, node: impl Into<NodeName>) -> Vec<ShardStatus> {
        self.driver().node(&node.into()).board.shards()
    }

    /// The broker: to order faults, to pause it, to write and look past the app.
    pub fn broker(&mut self) -> tanist_broker::BrokerPort {
        self.driver().broker()
    }
}

impl Debug for TestApp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestApp")
            .field("app", &self.app.id())
            .field("choices", &self.choices)
            .finish_non_exhaustive()
    }
}

/// What a test gives as a key or value.
pub(crate) fn json(value: impl Serialize) -> serde_json::Value {
    serde_json::to_value(value).expect("a test's keys and values can be written as JSON")
}

/// What a test gets as a key or value.
pub(crate) fn typed<T: DeserializeOwned>(value: serde_json::Value) -> T {
    let shown = value.to_string();
    match serde_json::from_value(value) {
        Ok(typed) => typed,
        Err(error) => panic!("{shown} is not of the type that the test asks for: {error}"),
    }
}
