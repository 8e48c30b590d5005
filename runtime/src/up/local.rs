//! [`LocalCluster`]: the processes of a local cluster, and its broker.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::marker::PhantomData;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process;

use tanist_cluster::NodeName;
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};

use super::broker::LocalBroker;
use super::order::{Act, Exit, Order, OrderError, State, Step};
use super::process::NodeProcess;
use crate::error::{Error, Result};
use crate::http::AddressFile;

/// How the nodes are started.
pub(crate) struct NodeLaunch {
    /// What is run.
    pub(crate) program: PathBuf,
    /// A node keeps its tables in a folder of its name in here, and writes its log to `{node}.log`.
    pub(crate) dir: PathBuf,
    /// Settings that are the same for all.
    pub(crate) flags: Vec<OsString>,
}

/// See the module. All processes end when it is dropped. It stays on the thread that made it, because the kernel ends the
/// nodes with the thread that has started them.
pub(crate) struct LocalCluster {
    launch: NodeLaunch,
    /// Its directory, as the system knows it under whatever name.
    dir: Identity,
    broker: LocalBroker,
    /// In the order of their numbers.
    nodes: Vec<LocalNode>,
    children: Signals,
    _stays: PhantomData<*const ()>,
}

/// Device and number of a directory.
type Identity = (u64, u64);

struct LocalNode {
    name: NodeName,
    state: State,
    process: Option<NodeProcess>,
}

/// A node that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) node: NodeName,
    pub(crate) pid: u32,
    /// Its data directory.
    pub(crate) dir: PathBuf,
    /// What it writes goes there.
    pub(crate) log: PathBuf,
}

/// A process of a node has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) node: NodeName,
    pub(crate) exit: Exit,
    /// Whether it was killed by an order, or stopped by one and could do all that this means.
    pub(crate) is_expected: bool,
    /// The last lines of its log.
    pub(crate) last_lines: Vec<String>,
}

impl LocalCluster {
    /// Without a node yet. Makes its directory.
    pub(crate) fn new(launch: NodeLaunch, broker: LocalBroker) -> Result<Self> {
        fs::create_dir_all(&launch.dir).map_err(|error| {
            Error::Failed(format!("cannot make {}: {error}", launch.dir.display()))
        })?;
        Ok(Self {
            dir: identity(&launch.dir)?,
            launch,
            broker,
            nodes: Vec::new(),
            children: signal(SignalKind::child())?,
            _stays: PhantomData,
        })
    }

    /// Where its nodes keep their tables.
    pub(crate) fn dir(&self) -> &Path {
        &self.launch.dir
    }

    /// Whether that is still there, and the same.
    pub(crate) fn has_dir(&self) -> bool {
        identity(&self.launch.dir).is_ok_and(|now| now == self.dir)
    }

    /// Its broker.
    pub(crate) fn broker(&mut self) -> &mut LocalBroker {
        &mut self.broker
    }

    /// Every node, and how it is.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (&NodeName, State)> {
        self.nodes.iter().map(|node| (&node.name, node.state))
    }

    /// Where `node` keeps its tables.
    pub(crate) fn data_dir(&self, node: &NodeName) -> PathBuf {
        self.launch.dir.join(node.as_str())
    }

    /// What `node` writes.
    pub(crate) fn log(&self, node: &NodeName) -> PathBuf {
        self.launch.dir.join(format!("{node}.log"))
    }

    /// Carries an order out; tells which node runs now that did not before. A node that is to end has not yet done so
    /// then: see [`LocalCluster::ended`].
    pub(crate) fn carry_out(&mut self, order: &Order) -> Result<Option<Running>, OrderError> {
        match order {
            Order::Add => self.add().map(Some),
            Order::Node(act, node) => self.act(*act, node),
        }
    }

    /// Starts one more node.
    pub(crate) fn add(&mut self) -> Result<Running, OrderError> {
        let name = NodeName::new(format!("n{}", self.nodes.len() + 1));
        let (process, running) = self.spawn(&name)?;
        self.nodes.push(LocalNode {
            name,
            state: State::Running,
            process: Some(process),
        });
        Ok(running)
    }

    fn act(&mut self, act: Act, name: &NodeName) -> Result<Option<Running>, OrderError> {
        let Some(place) = self.nodes.iter().position(|node| node.name == *name) else {
            let nodes = self.nodes.iter().map(|node| node.name.to_string());
            return Err(OrderError::NoSuchNode {
                node: name.clone(),
                nodes: nodes.collect(),
            });
        };
        let node = &self.nodes[place];
        let step = node.state.step(act).map_err(|is| OrderError::Refused {
            act,
            node: name.clone(),
            is,
        })?;
        let (state, process, running) = match step {
            Step::Spawn => {
                let (process, running) = self.spawn(name)?;
                (State::Running, Some(process), Some(running))
            }
            Step::Send(signal, next) => {
                if let Some(process) = &node.process {
                    process.send(signal).map_err(|error| OrderError::System {
                        act,
                        node: name.clone(),
                        reason: error.to_string(),
                    })?;
                }
                (next, None, None)
            }
        };
        let node = &mut self.nodes[place];
        node.state = state;
        node.process = process.or(node.process.take());
        Ok(running)
    }

    fn spawn(&self, node: &NodeName) -> Result<(NodeProcess, Running), OrderError> {
        let dir = self.data_dir(node);
        // One that was killed has left it behind; the address may be somebody else's by now.
        AddressFile::remove(&dir);
        let mut args: Vec<OsString> = ["worker", "--http", "127.0.0.1:0", "--node", node.as_str()]
            .into_iter()
            .map(OsString::from)
            .collect();
        args.extend(["--data-dir".into(), dir.clone().into_os_string()]);
        args.extend(["--broker".into(), self.broker.address().into()]);
        args.extend(["--parent".into(), process::id().to_string().into()]);
        args.extend(self.launch.flags.iter().cloned());
        let log = self.log(node);
        let spawned = NodeProcess::spawn(&self.launch.program, &args, &log);
        let process = spawned.map_err(|error| OrderError::System {
            act: Act::Start,
            node: node.clone(),
            reason: error.to_string(),
        })?;
        let running = Running {
            node: node.clone(),
            pid: process.id(),
            dir,
            log,
        };
        Ok((process, running))
    }

    /// Waits until processes have ended. Nothing is lost if this is dropped while it waits.
    pub(crate) async fn ended(&mut self) -> Vec<Ended> {
        loop {
            let ended = self.reap();
            if !ended.is_empty() {
                return ended;
            }
            self.children.recv().await;
        }
    }

    fn reap(&mut self) -> Vec<Ended> {
        let mut all = Vec::new();
        for node in &mut self.nodes {
            let Some(process) = &mut node.process else {
                continue;
            };
            // It is our own child, so that it can be asked.
            let Ok(Some(exit)) = process.ended() else {
                continue;
            };
            all.push(Ended {
                node: node.name.clone(),
                exit,
                is_expected: node.state.expects(exit),
                last_lines: process.last_lines(),
            });
            node.state = State::Ended(exit);
            node.process = None;
        }
        all
    }

    /// Sees to it that no log grows without limit.
    pub(crate) fn bound_logs(&mut self) {
        for node in &mut self.nodes {
            let bounded = node.process.as_mut().map_or(Ok(()), NodeProcess::bound_log);
            // One that was taken away does not grow.
            if let Err(error) = bounded
                && error.kind() != ErrorKind::NotFound
            {
                tracing::warn!(node = %node.name, "its log grows: {error}");
            }
        }
    }

    /// Whether any process is there.
    pub(crate) fn is_alive(&self) -> bool {
        self.nodes.iter().any(|node| node.state.is_alive())
    }
}

fn identity(dir: &Path) -> io::Result<Identity> {
    let found = fs::metadata(dir)?;
    Ok((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use tempfile::TempDir;
    use tokio::time::timeout;

    use super::*;

    /// Longer than anything takes here.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// A cluster whose nodes are the shell script `body`, in which `$node` is the name.
    fn cluster(body: &str) -> (LocalCluster, TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("node");
        fs::write(&program, format!("#!/bin/sh\nnode=$5\n{body}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let launch = NodeLaunch {
            program,
            dir: dir.path().join("nodes"),
            flags: Vec::new(),
        };
        let broker = LocalBroker::At("127.0.0.1:1".into());
        (LocalCluster::new(launch, broker).unwrap(), dir)
    }

    /// A node that says when it is ready to be stopped.
    const WAITS: &str = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done";

    async fn ended(cluster: &mut LocalCluster) -> Ended {
        let mut ended = timeout(PATIENCE, cluster.ended()).await.unwrap();
        assert_eq!(ended.len(), 1, "{ended:?}");
        ended.remove(0)
    }

    fn order(
        cluster: &mut LocalCluster,
        act: Act,
        node: &str,
    ) -> Result<Option<Running>, OrderError> {
        cluster.carry_out(&Order::Node(act, node.into()))
    }

    fn await_log(cluster: &LocalCluster, node: &str, text: &str) {
        let log = cluster.log(&node.into());
        while !fs::read_to_string(&log).unwrap().contains(text) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[tokio::test]
    async fn a_node_that_ends_by_itself_is_told_of_with_its_last_words() {
        let (mut cluster, _dir) = cluster("echo one; echo $node cannot go on >&2; exit 5");
        cluster.add().unwrap();
        let first = ended(&mut cluster).await;
        assert_eq!((first.exit, first.is_expected), (Exit::Code(5), false));
        assert_eq!(first.last_lines, ["one", "n1 cannot go on"]);
        assert!(!cluster.is_alive());
        order(&mut cluster, Act::Start, "n1").unwrap().unwrap();
        let second = ended(&mut cluster).await;
        assert_eq!(second, first, "without the words of the one before");
    }

    #[tokio::test]
    async fn a_log_that_grows_large_is_begun_anew() {
        let (mut cluster, dir) = cluster(
            "head -c 17000000 /dev/zero; echo full; until [ -e \"$0.go\" ]; do sleep 0.01; done; echo on; exec sleep 1000",
        );
        cluster.add().unwrap();
        await_log(&cluster, "n1", "full");
        cluster.bound_logs();
        let log = cluster.log(&"n1".into());
        assert_eq!(fs::metadata(&log).unwrap().len(), 0);
        assert!(fs::metadata(log.with_extension("log.old")).unwrap().len() > 17_000_000);
        fs::write(dir.path().join("node.go"), "").unwrap();
        await_log(&cluster, "n1", "on");
        assert_eq!(fs::read_to_string(&log).unwrap(), "on\n");
    }

    #[tokio::test]
    async fn orders_reach_the_process() {
        let (mut cluster, _dir) = cluster(WAITS);
        let running = cluster.add().unwrap();
        await_log(&cluster, "n1", "ready");
        order(&mut cluster, Act::Freeze, "n1").unwrap();
        let stat = format!("/proc/{}/stat", running.pid);
        if fs::exists(&stat).unwrap() {
            while !fs::read_to_string(&stat).unwrap().contains(") T ") {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        order(&mut cluster, Act::Stop, "n1").unwrap_err();
        order(&mut cluster, Act::Thaw, "n1").unwrap();
        order(&mut cluster, Act::Stop, "n1").unwrap();
        let end = ended(&mut cluster).await;
        assert_eq!((end.exit, end.is_expected), (Exit::Code(0), true));
        order(&mut cluster, Act::Start, "n1").unwrap();
        order(&mut cluster, Act::Freeze, "n1").unwrap();
        order(&mut cluster, Act::Kill, "n1").unwrap();
        let end = ended(&mut cluster).await;
        assert_eq!((end.exit, end.is_expected), (Exit::Signal(9), true));
    }

    #[tokio::test]
    async fn a_node_that_does_not_stop_as_it_should_is_a_surprise() {
        let (mut cluster, _dir) =
            cluster("trap 'exit 1' TERM; echo ready; while :; do sleep 0.01; done");
        cluster.add().unwrap();
        await_log(&cluster, "n1", "ready");
        order(&mut cluster, Act::Stop, "n1").unwrap();
        assert!(!ended(&mut cluster).await.is_expected);
    }

    #[tokio::test]
    async fn an_unknown_node_is_named_with_those_that_there_are() {
        let (mut cluster, _dir) = cluster(WAITS);
        for _ in 0..2 {
            cluster.add().unwrap();
        }
        let error = order(&mut cluster, Act::Kill, "n3")
            .unwrap_err()
            .to_string();
        assert_eq!(error, "there is no node n3: there are n1, n2");
    }

    #[tokio::test]
    async fn what_cannot_be_started_is_no_node() {
        let (mut cluster, dir) = cluster("");
        fs::remove_file(dir.path().join("node")).unwrap();
        let error = cluster.add().unwrap_err().to_string();
        assert!(error.starts_with("cannot start n1: "), "{error}");
        assert_eq!(cluster.nodes().count(), 0);
    }

    #[tokio::test]
    async fn no_process_outlives_its_cluster_not_even_a_frozen_one() {
        let (mut cluster, _dir) = cluster(WAITS);
        let pids = [(); 2].map(|()| cluster.add().unwrap().pid.cast_signed());
        order(&mut cluster, Act::Freeze, "n2").unwrap();
        drop(cluster);
        for pid in pids {
            let gone = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None);
            assert_eq!(gone, Err(nix::errno::Errno::ESRCH));
        }
    }
}
