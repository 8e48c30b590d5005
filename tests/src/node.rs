//! [`Orders`]: the orders example with a broker and a folder of its own; each command of it is a [`Process`], to be
//! killed, frozen and stopped.

use std::cell::Cell;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::broker::TestBroker;
use crate::orders::{ORDER_COUNTS, OrderCheck, check_orders};
use crate::program::example;
use crate::reader::read_committed;

/// The topic that the example reads.
pub const ORDERS: &str = "orders";
/// How many partitions each of its topics has.
pub const PARTITIONS: i32 = 8;

/// More than a fence writes: one for each partition and worker.
const MARKERS: i64 = 100;

/// Longer than anything takes that is waited for, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often something is looked at that is waited for.
const PAUSE: Duration = Duration::from_millis(5);
/// How much of a log is shown when a test fails.
const LOG_LINES: usize = 30;

/// See the module. On a broker that tests share, one test at a time has it, and goes on from what the last one left.
pub struct Orders {
    broker: TestBroker,
    scratch: TempDir,
    started: Cell<u32>,
    _turn: Option<MutexGuard<'static, ()>>,
}

impl Orders {
    /// On the broker that the environment names, or an embedded one in this process.
    pub fn start() -> Self {
        Self::on(TestBroker::start())
    }

    /// On an embedded broker: for tests that reach into it, or spoil its topics.
    pub fn embedded() -> Self {
        Self::on(TestBroker::embedded())
    }

    fn on(broker: TestBroker) -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = broker
            .is_shared()
            .then(|| TURN.lock().unwrap_or_else(PoisonError::into_inner));
        Self {
            broker,
            scratch: tempfile::tempdir().expect("a temporary folder can be made"),
            started: Cell::new(0),
            _turn: turn,
        }
    }

    /// The broker.
    pub fn broker(&self) -> &TestBroker {
        &self.broker
    }

    /// The data directory that is called so; nodes of different names are on different machines.
    pub fn data_dir(&self, node: &str) -> PathBuf {
        self.scratch.path().join(node)
    }

    /// Starts `worker` in the data directory of `node`.
    pub fn worker(&self, node: &str, args: &[&str]) -> Process {
        let data_dir = self.data_dir(node);
        let mut all = vec![
            OsStr::new("worker"),
            OsStr::new("--data-dir"),
            data_dir.as_os_str(),
        ];
        all.extend(args.iter().map(OsStr::new));
        self.run(&all)
    }

    /// Starts `generate`, with so many orders a second.
    pub fn generate(&self, rate: u32, args: &[&str]) -> Process {
        let rate = rate.to_string();
        let mut all = vec!["generate", "--rate", &rate];
        all.extend(args);
        self.run(&all)
    }

    /// Starts any command of the example.
    pub fn run(&self, args: &[impl AsRef<OsStr>]) -> Process {
        let number = self.started.get();
        self.started.set(number + 1);
        let log = self.scratch.path().join(format!("{number}.log"));
        let out = File::create(&log).expect("a log file can be made");
        let err = out.try_clone().expect("a log file has two writers");
        let mut command = Command::new(example("02_orders"));
        command
            .args(args)
            // Settings of whoever runs the tests are none of their business.
            .env_clear()
            .env("TANIST_BROKER", self.broker.bootstrap())
            .current_dir(self.scratch.path())
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err);
        let child = command.spawn().expect("the example can be started");
        let words: Vec<_> = args
            .iter()
            .map(|arg| arg.as_ref().to_string_lossy())
            .collect();
        Process {
            what: format!("{number}: {}", words.join(" ")),
            child,
            log,
        }
    }

    /// The sum of the ends of a topic's partitions, open transactions included; grows when anything is written.
    pub fn written(&self, topic: &str) -> i64 {
        let mut raw = self.broker.raw();
        let ends = (0..PARTITIONS).map(|partition| raw.list_offset(topic, partition, -1, false));
        // What does not exist yet ends at -1.
        ends.map(|(_, end, _)| end.max(0)).sum()
    }

    /// Waits until `node` has written order counts beyond what there is now, and beyond the markers of a predecessor's
    /// transactions that its fence has ended.
    pub fn await_progress(&self, node: &mut Process) {
        let before = self.written(ORDER_COUNTS);
        node.await_that("progress", || self.written(ORDER_COUNTS) > before + MARKERS);
    }

    /// Has a worker with the data directory of `node` process what is left to be, and judges all that the example has ever
    /// counted on this broker: every order of the topic, each once.
    pub fn judge(&self, node: &str) -> OrderCheck {
        let (check, sent) = self.count(node, &[]);
        assert!(check.is_sound(), "{check}");
        assert_eq!(check.orders(), sent, "orders counted, orders sent: {check}");
        check
    }

    /// The same without a judgement: what was counted, and the number of orders in the topic.
    pub fn count(&self, node: &str, args: &[&str]) -> (OrderCheck, u64) {
        let args = [args, &["--until-caught-up"]].concat();
        self.worker(node, &args).expect_end(0);
        let broker = self.broker.bootstrap();
        let sent = read_committed(broker, ORDERS, PATIENCE, |_| ());
        let check = check_orders(broker, ORDER_COUNTS, PATIENCE);
        let check = check.expect("the order counts can be read");
        (check, sent.expect("the orders can be read"))
    }
}

/// A process of the example. It is killed when this is dropped.
pub struct Process {
    what: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// What it has written to stdout and stderr so far.
    pub fn log(&self) -> String {
        let log = fs::read(&self.log).expect("a log file can be read");
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Ends it as a power cut would.
    pub fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        self.reap();
    }

    /// Has it stand still until [`Process::thaw`].
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Asks it to stop, and waits until it has done so without complaint.
    pub fn stop(self) -> String {
        self.signal(Signal::SIGTERM);
        self.expect_end(0)
    }

    /// Waits until it ends by itself, with this exit code; what it has written.
    pub fn expect_end(mut self, code: i32) -> String {
        let mut ended = None;
        wait("the end", &self.what.clone(), || {
            ended = self.ended();
            ended.is_some()
        });
        let status = ended.expect("that was waited for");
        assert_eq!(status.code(), Some(code), "{}: {status}", self.what);
        self.log()
    }

    /// Waits until it has written `text`.
    pub fn await_log(&mut self, text: &str) {
        let log = self.log.clone();
        self.await_that(text, || {
            fs::read(&log).is_ok_and(|log| String::from_utf8_lossy(&log).contains(text))
        });
    }

    /// Waits for something while it runs.
    pub fn await_that(&mut self, what: &str, mut holds: impl FnMut() -> bool) {
        wait(what, &self.what.clone(), || {
            let held = holds();
            let ended = self.ended();
            assert!(
                held || ended.is_none(),
                "{} ended before {what}: {ended:?}",
                self.what
            );
            held
        });
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child
            .try_wait()
            .expect("a child can be asked for its status")
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn signal(&self, signal: Signal) {
        // One that has ended by itself is found out by whoever waits for it.
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), signal);
    }

    fn reap(&mut self) {
        self.child
            .wait()
            .expect("a child that was killed can be waited for");
    }
}

impl Drop for Process {
    #[allow(
        clippy::print_stderr,
        reason = "it is the test that fails which prints"
    )]
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.signal(Signal::SIGKILL);
            self.reap();
        }
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
            eprintln!("--- process {}\n{}", self.what, tail.join("\n"));
        }
    }
}

/// Waits until `holds`.
fn wait(what: &str, who: &str, mut holds: impl FnMut() -> bool) {
    let mut waited = Duration::ZERO;
    while !holds() {
        assert!(
            waited < PATIENCE,
            "{who}: {what} did not come within {PATIENCE:?}"
        );
        thread::sleep(PAUSE);
        waited += PAUSE;
    }
}
