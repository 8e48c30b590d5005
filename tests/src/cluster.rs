//! [`Cluster`]: several nodes of the orders example, each a process, under load, and what they say of their shards.
#![allow(clippy::disallowed_methods, reason = "a test waits in real time")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::node::Orders;
use crate::program::Process;

/// The group whose shards have a table, and so standbys.
const WITH_TABLE: &str = "account-repartition/";
/// How many shards the example has.
const SHARDS: usize = 16;
/// Longer than anything takes that is waited for, on a machine that has much else to do.
const LIMIT: Duration = Duration::from_secs(90);
/// How often something is looked at that is waited for.
const PAUSE: Duration = Duration::from_millis(20);
/// How much of a log is shown when a test fails.
const LOG_LINES: usize = 40;
/// How long a node may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// See the module.
pub struct Cluster<'o> {
    orders: &'o Orders,
    /// What every node is started with.
    args: Vec<String>,
    nodes: BTreeMap<String, Process>,
    frozen: BTreeSet<String>,
}

impl<'o> Cluster<'o> {
    /// Starts nodes of these names, and waits until they share all shards.
    pub fn start(orders: &'o Orders, names: &[&str]) -> Self {
        Self::start_with(orders, names, &[])
    }

    /// The same, with these arguments.
    pub fn start_with(orders: &'o Orders, names: &[&str], args: &[&str]) -> Self {
        let mut cluster = Self {
            orders,
            args: args.iter().map(ToString::to_string).collect(),
            nodes: BTreeMap::new(),
            frozen: BTreeSet::new(),
        };
        for name in names {
            cluster.add(name);
        }
        if !names.is_empty() {
            cluster.await_whole();
        }
        cluster
    }

    /// Starts a node, on the disk of the last one of this name.
    pub fn add(&mut self, name: &str) {
        self.add_with(name, &[]);
    }

    /// The same, with variables more.
    pub fn add_with(&mut self, name: &str, variables: &[(String, String)]) {
        let address = self.orders.data_dir(name).join("http");
        // What a killed one has left behind is not its.
        let _ = fs::remove_file(address);
        let mut args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        args.extend(["--node", name]);
        let process = self.orders.worker_with(name, &args, variables);
        self.nodes.insert(name.to_owned(), process);
    }

    /// Kills nodes, one right after the other.
    pub fn kill(&mut self, names: &[&str]) {
        for name in names {
            self.take(name).kill();
        }
    }

    /// Stops a node in an orderly way; what it has logged.
    pub fn stop(&mut self, name: &str) -> String {
        let node = self.take(name);
        node.signal(Signal::SIGTERM);
        node.expect_end(0)
    }

    /// Has a node stand still.
    pub fn freeze(&mut self, name: &str) {
        self.nodes[name].freeze();
        self.frozen.insert(name.to_owned());
    }

    /// Lets it go on.
    pub fn thaw(&mut self, name: &str) {
        self.nodes[name].thaw();
        self.frozen.remove(name);
    }

    /// A node that runs.
    pub fn node(&mut self, name: &str) -> &mut Process {
        self.nodes.get_mut(name).expect("the node runs")
    }

    fn take(&mut self, name: &str) -> Process {
        self.nodes.remove(name).expect("the node runs")
    }

    /// The names of the nodes, in the order in which they joined: the first is the director.
    pub fn by_age(&self) -> Vec<String> {
        let member = |name: &String| Some((self.status(name)?["member"].as_i64()?, name.clone()));
        let members: BTreeMap<i64, String> = self.nodes.keys().filter_map(member).collect();
        members.into_values().collect()
    }

    /// Waits until each shard is at work on one node, and those that have a table have their standby.
    ///
    /// # Panics
    /// If it does not come to that; says what is missing.
    pub fn await_whole(&mut self) {
        let awake = self
            .nodes
            .keys()
            .filter(|name| !self.frozen.contains(*name));
        let names: Vec<String> = awake.cloned().collect();
        let begun = Instant::now();
        loop {
            let missing = self.missing(&names);
            if missing.is_empty() {
                return;
            }
            assert!(
                begun.elapsed() < LIMIT,
                "waited in vain for every shard to have its active and its standby:\n{}\n{}",
                missing.join("\n"),
                self.logs()
            );
            thread::sleep(PAUSE);
        }
    }

    /// The last lines that each node has logged.
    fn logs(&self) -> String {
        let nodes = self.nodes.iter().map(|(name, node)| {
            let log = node.stderr();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
            format!("--- {name}\n{}", tail.join("\n"))
        });
        nodes.collect::<Vec<_>>().join("\n")
    }

    /// What is not as it should be among the nodes of these names.
    fn missing(&self, names: &[String]) -> Vec<String> {
        let mut missing = Vec::new();
        let mut actives: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        let mut standbys: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for name in names {
            let Some(status) = self.status(name) else {
                missing.push(format!("{name} does not answer"));
                continue;
            };
            if status["member"].is_null() {
                missing.push(format!("{name} is no member"));
            }
            for line in status["shards"].as_array().into_iter().flatten() {
                let shard = line["shard"].as_str().unwrap_or_default().to_owned();
                match (line["role"].as_str(), line["state"].as_str()) {
                    (Some("active"), Some("running")) => {
                        actives.entry(shard).or_default().push(name);
                    }
                    (Some("standby"), Some("standby")) => {
                        standbys.entry(shard).or_default().push(name);
                    }
                    (role, state) => {
                        missing.push(format!("{shard} on {name}: {role:?} {state:?}"));
                    }
                }
            }
        }
        if actives.len() != SHARDS {
            missing.push(format!("{} shards are at work: {actives:?}", actives.len()));
        }
        let doubled = actives.iter().filter(|(_, on)| on.len() != 1);
        missing.extend(doubled.map(|(shard, on)| format!("{shard} is at work on {on:?}")));
        let wanted = usize::from(names.len() > 1);
        for shard in actives.keys().filter(|shard| shard.starts_with(WITH_TABLE)) {
            let standbys = standbys.get(shard).map_or(0, Vec::len);
            if standbys != wanted {
                missing.push(format!("{shard} has {standbys} standbys"));
            }
        }
        missing
    }

    /// How many shards each node has at work, and the copies that each has.
    pub fn shares(&self) -> BTreeMap<String, (usize, usize)> {
        let share = |name: &String| {
            let status = self.status(name)?;
            let lines = status["shards"].as_array()?;
            let count = |role| lines.iter().filter(|line| line["role"] == role).count();
            Some((name.clone(), (count("active"), count("standby"))))
        };
        self.nodes.keys().filter_map(share).collect()
    }

    fn status(&self, name: &str) -> Option<Value> {
        serde_json::from_str(&self.get(name, "/status")?).ok()
    }

    /// What a node answers, if it does.
    pub fn get(&self, name: &str, path: &str) -> Option<String> {
        let address = fs::read_to_string(self.orders.data_dir(name).join("http")).ok()?;
        let mut stream = TcpStream::connect(address.trim()).ok()?;
        stream.set_read_timeout(Some(ANSWER)).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        Some(body.to_owned())
    }
}
