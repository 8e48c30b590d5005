//! [`TestApp`]: an app without a broker, with a clock that the test moves, in one thread: for the tests of whoever writes
//! agents, and for our own.
//!
//! It runs the production code, down to the actors; only what touches the world is exchanged: the log is the embedded
//! broker in the same process, stores are in memory, and time is virtual. A run is determined by its seed: the delays of
//! the broker, and what a killed node's disk still holds.

mod drive;
mod reader;
#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tanist_actors::worker::WorkerSettings;
use tanist_cluster::Millis;

pub use reader::{TestTable, TestTopic};

use crate::app::App;
use crate::node::{NodeError, NodeExit};
use drive::Driver;

/// When virtual time begins: 2026-01-01 00:00 UTC.
const EPOCH: Millis = Millis(1_767_225_600_000);
/// How long [`TestApp::settle`] waits, in virtual time, before it gives up.
const SETTLE_LIMIT: Duration = Duration::from_secs(120);

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
/// let mut test = TestApp::new(app);
/// test.topic("words").send("a", "hello");
/// test.settle();
/// assert_eq!(test.topic("shouts").records::<String, String>(), [("a".into(), "HELLO".into())]);
/// ```
pub struct TestApp {
    app: Arc<App>,
    seed: u64,
    settings: WorkerSettings,
    workers: u32,
    /// Made at the first use, when all is known.
    driver: Option<Driver>,
}

impl TestApp {
    /// A test of `app`, with one node. Nothing happens before the test does something.
    pub fn new(app: App) -> Self {
        Self {
            app: Arc::new(app),
            seed: 0,
            settings: WorkerSettings::default(),
            workers: 1,
            driver: None,
        }
    }

    /// Another run: other delays of the broker, other luck of a killed node's disk. 0 unless set.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Other settings of the workers.
    #[must_use]
    pub fn settings(mut self, settings: WorkerSettings) -> Self {
        self.settings = settings;
        self
    }

    /// More than one worker. They share the test's thread, but not their producers.
    #[must_use]
    pub fn workers(mut self, workers: u32) -> Self {
        self.workers = workers.max(1);
        self
    }

    fn driver(&mut self) -> &mut Driver {
        self.driver.get_or_insert_with(|| {
            let mut driver = Driver::new(
                self.app.clone(),
                self.settings.clone(),
                self.workers,
                self.seed,
            );
            driver.start();
            driver
        })
    }

    /// A topic of the app, or any other, by its name.
    pub fn topic<'test>(&'test mut self, name: &'test str) -> TestTopic<'test> {
        let codec = self.app.topic_codec(name);
        TestTopic::new(self.driver(), name, codec)
    }

    /// A table of the app: what is committed of it.
    pub fn table<'test>(&'test mut self, name: &'test str) -> TestTable<'test> {
        TestTable::new(self.driver(), name)
    }

    /// Lets the app work until it has taken in all that was sent, and all that it sent to itself, and has committed it.
    /// Virtual time goes on meanwhile, by fractions of a second.
    ///
    /// # Panics
    /// If it does not come to that within two minutes of virtual time: then something waits that nobody brings. A shard
    /// that is broken is not waited for.
    pub fn settle(&mut self) {
        let driver = self.driver();
        if let Err(rest) = driver.settle(SETTLE_LIMIT) {
            panic!("the app did not settle (seed {}): {rest}", self.seed);
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

    /// Kills the node, as SIGKILL does: at whatever await it stands; its open transaction stays open, and its disk keeps
    /// only some prefix of what was not flushed.
    pub fn kill(&mut self) {
        self.driver().kill();
    }

    /// Loses the node's disk. For a node that does not run.
    pub fn lose_disk(&mut self) {
        self.driver().lose_disk();
    }

    /// Starts a node: after [`TestApp::kill`] or [`TestApp::stop`].
    pub fn start(&mut self) {
        self.driver().start();
    }

    /// Stops the node in an orderly way; how it ended.
    pub fn stop(&mut self) -> Result<NodeExit, NodeError> {
        self.driver().stop()
    }

    /// Why the node ended by itself, if it did.
    pub fn ended(&mut self) -> Option<Result<NodeExit, String>> {
        self.driver().ended()
    }

    /// What the node says of its shards.
    pub fn status(&mut self) -> Vec<tanist_actors::shard::ShardStatus> {
        self.driver().status()
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
            .field("seed", &self.seed)
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
