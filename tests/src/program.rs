//! An app as its users run it: a program with arguments, in a folder of its own, ended by a signal.
#![allow(clippy::disallowed_methods, reason = "a test waits in real time")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// Longer than anything takes that is waited for, on a machine that has much else to do.
const LIMIT: Duration = Duration::from_secs(90);
/// How often something is looked at that is waited for.
const PAUSE: Duration = Duration::from_millis(5);
/// How much of a log is shown when a test fails.
const LOG_LINES: usize = 30;

/// A program in a working directory of its own, where its `.tanist` is.
pub struct Program {
    path: PathBuf,
    folder: Arc<TempDir>,
    variables: Vec<(String, String)>,
}

/// One that has been started. Killed when it is dropped.
pub struct Process {
    what: String,
    child: Child,
    stdout: Reader,
    stderr: Reader,
    /// Kept while it lives.
    _folder: Arc<TempDir>,
}

/// One that has ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it answered.
    pub stdout: String,
    /// Its log, progress and errors.
    pub stderr: String,
}

/// Collects what a process writes.
struct Reader {
    text: Arc<Mutex<String>>,
    thread: Option<JoinHandle<()>>,
}

impl Program {
    /// The example of this name, whose broker is at `broker`.
    pub fn new(name: &str, broker: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        Self {
            path: example(name),
            folder: Arc::new(folder),
            variables: vec![("TANIST_BROKER".into(), broker.into())],
        }
    }

    /// Another example in the same folder, with the same variables.
    pub fn beside(&self, name: &str) -> Self {
        Self {
            path: example(name),
            folder: self.folder.clone(),
            variables: self.variables.clone(),
        }
    }

    /// The same from another file in `folder`, beside which it looks for other programs.
    #[must_use]
    pub fn linked_into(mut self, folder: &Path) -> Self {
        let link = folder.join("app");
        fs::hard_link(&self.path, &link).expect("the folder is on the same file system");
        self.path = link;
        self
    }

    /// With a variable more.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Without any variable, so with no broker named.
    #[must_use]
    pub fn without_variables(mut self) -> Self {
        self.variables.clear();
        self
    }

    /// Its working directory.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file in its working directory.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.folder().join(name), content).expect("the folder is ours");
    }

    /// Starts it.
    pub fn start(&self, args: &[&str]) -> Process {
        let mut command = Command::new(&self.path);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TANIST_") {
                command.env_remove(name);
            }
        }
        let mut child = command
            .args(args)
            .current_dir(self.folder())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", self.path.display()));
        Process {
            what: args.join(" "),
            stdout: Reader::new(child.stdout.take().expect("it is piped")),
            stderr: Reader::new(child.stderr.take().expect("it is piped")),
            child,
            _folder: self.folder.clone(),
        }
    }

    /// Runs it to its end.
    pub fn run(&self, args: &[&str]) -> Ended {
        self.start(args).wait()
    }

    /// Runs it to its end, which has to be a good one; its answer.
    pub fn answer(&self, args: &[&str]) -> String {
        let ended = self.run(args);
        assert_eq!(ended.code, Some(0), "{args:?}: {ended:?}");
        ended.stdout
    }

    /// The same, as JSON.
    pub fn json(&self, args: &[&str]) -> Value {
        let text = self.answer(&[args, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{args:?}: {error}: {text}"))
    }

    /// A node of the app, ready to work.
    pub fn worker(&self, args: &[&str]) -> Process {
        let mut worker = self.start(&[&["worker"], args].concat());
        worker.until("it is ready", |_| {
            let status = self.run(&["status", "--json"]);
            let status: Value = serde_json::from_str(&status.stdout).ok()?;
            let shards = status["shards"].as_array()?;
            let mut actives = shards.iter().filter(|shard| shard["role"] == "active");
            let running = |shard: &Value| shard["state"] == "running";
            (actives.clone().count() > 0 && actives.all(running)).then_some(())
        });
        worker
    }
}

impl Process {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has answered so far.
    pub fn stdout(&self) -> String {
        self.stdout.text().clone()
    }

    /// What it has logged so far.
    pub fn stderr(&self) -> String {
        self.stderr.text().clone()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.id() as i32);
        signal::kill(pid, signal).expect("it has not been waited for");
    }

    /// Waits until `found` finds something; it must not end before.
    pub fn until<T>(&mut self, what: &str, mut found: impl FnMut(&Self) -> Option<T>) -> T {
        self.wait_for(what, |process| {
            let found = found(process);
            let ended = process.ended();
            assert!(
                found.is_some() || ended.is_none(),
                "{} ended before {what}: {ended:?}",
                process.what
            );
            found
        })
    }

    fn wait_for<T>(&mut self, what: &str, mut found: impl FnMut(&mut Self) -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            if let Some(found) = found(self) {
                return found;
            }
            assert!(
                started.elapsed() < LIMIT,
                "{}: waited in vain until {what}",
                self.what
            );
            thread::sleep(PAUSE);
        }
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it can be waited for")
    }

    /// Waits until it logs `text`.
    pub fn until_logged(&mut self, text: &str) {
        self.until(&format!("it logs {text:?}"), |process| {
            process.stderr().contains(text).then_some(())
        });
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Ended {
        let status = self.wait_for("it ends", Self::ended);
        Ended {
            code: status.code(),
            stdout: self.stdout.all(),
            stderr: self.stderr.all(),
        }
    }

    /// Waits for its end, with this exit code; what it has logged.
    pub fn expect_end(self, code: i32) -> String {
        let what = self.what.clone();
        let ended = self.wait();
        assert_eq!(ended.code, Some(code), "{what}: {ended:?}");
        ended.stderr
    }

    /// Ends it by Ctrl-C, as a terminal would.
    pub fn interrupt(self) -> Ended {
        self.signal(Signal::SIGINT);
        self.wait()
    }

    /// Asks it to stop, and waits until it has done so without complaint.
    pub fn stop(self) {
        self.signal(Signal::SIGTERM);
        self.expect_end(0);
    }

    /// Ends it as a power cut would.
    pub fn kill(self) {
        self.signal(Signal::SIGKILL);
        self.wait();
    }

    /// Has it stand still until [`Process::thaw`].
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }
}

impl Drop for Process {
    #[allow(
        clippy::print_stderr,
        reason = "it is the test that fails which prints"
    )]
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = self.stderr();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
            eprintln!("--- {}\n{}{}", self.what, self.stdout(), tail.join("\n"));
        }
    }
}

impl Reader {
    fn new(from: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let into = text.clone();
        let thread = thread::spawn(move || {
            for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
                let mut text = into.lock().unwrap_or_else(PoisonError::into_inner);
                text.push_str(&String::from_utf8_lossy(&line));
                text.push('\n');
            }
        });
        Self {
            text,
            thread: Some(thread),
        }
    }

    fn text(&self) -> MutexGuard<'_, String> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of it, once the process has ended.
    fn all(&mut self) -> String {
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it only reads");
        }
        self.text().clone()
    }
}

/// The program of an example, as `cargo test --workspace` has built it beside the tests. Built here if only the tests were.
pub fn example(name: &str) -> PathBuf {
    static BUILDING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let test = std::env::current_exe().expect("a test knows its file");
    let profile = test
        .ancestors()
        .nth(2)
        .expect("a test is in target/{profile}/deps");
    let program = profile.join("examples").join(name);
    if !is_up_to_date(&program) {
        build(name, profile);
    }
    program
}

/// Whether none of its sources, which cargo lists beside it, is newer.
fn is_up_to_date(program: &Path) -> bool {
    let modified = |path: &Path| fs::metadata(path).and_then(|file| file.modified()).ok();
    let Some(built) = modified(program) else {
        return false;
    };
    let Ok(listed) = fs::read_to_string(program.with_extension("d")) else {
        return false;
    };
    let mut sources = listed.split_whitespace().skip(1);
    sources.all(|source| modified(Path::new(source)).is_some_and(|changed| changed <= built))
}

fn build(name: &str, profile: &Path) {
    let mut cargo = Command::new(env!("CARGO"));
    // Of the whole workspace, as the tests were built: another selection has other features, and compiles anew.
    cargo
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .args(["build", "--workspace", "--example", name])
        .arg("--target-dir")
        .arg(profile.parent().expect("a profile is in a target folder"));
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let built = cargo.status().expect("cargo can be started");
    assert!(built.success(), "the example could not be built");
}
