//! Handlers that block the thread of their worker: for ever, at one node of two: its process ends, and the other goes on; or for
//! a while.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rdkafka::Message;
use serde_json::Value;
use tanist_tests::broker::TestBroker;
use tanist_tests::clients::TIMEOUT;
use tanist_tests::program::{Process, Program};
use tanist_tests::reader::read_committed;

/// More than there are partitions, so that there are some of each.
const KEYS: usize = 40;
const ROUNDS: usize = 3;

/// A broker, and the nodes `blocked`, which blocks, and `other`.
struct World {
    broker: TestBroker,
    blocked: Program,
    other: Program,
}

impl World {
    fn new() -> Self {
        let broker = TestBroker::embedded();
        let program = || Program::new("blocking", broker.bootstrap());
        Self {
            blocked: program().variable("BLOCKS", "1"),
            other: program(),
            broker,
        }
    }

    /// Both, each with its share of the shards; `args` are of the one that blocks.
    fn start(&self, args: &[&str]) -> (Process, Process) {
        let args = [&["--node", "blocked", "--workers", "1"], args].concat();
        let mut blocked = self.blocked.worker(&args);
        let other = self.other.worker(&["--node", "other"]);
        blocked.until("the shards are shared out", |_| {
            let both = [&self.blocked, &self.other];
            both.iter()
                .all(|program| active(program) == 2)
                .then_some(())
        });
        (blocked, other)
    }

    /// Sends words, a third of which block.
    fn send(&self) {
        send_words(&self.other, ROUNDS, |n| n / KEYS == 1);
    }

    /// Until the other node has all shards and has counted all words, each once.
    fn await_counted(&self, other: &mut Process) {
        other.until("all is counted", |_| {
            let counts = self.other.run(&["scan", "counts", "--limit", "1000"]);
            let all = counts.stdout.lines().count() == KEYS;
            let third = format!("\t{ROUNDS}");
            let whole = counts.stdout.lines().all(|line| line.ends_with(&third));
            (all && whole && active(&self.other) == 4).then_some(())
        });
        assert_counted_once(&self.broker, ROUNDS);
    }
}

/// So many words of each key, each once.
fn assert_counted_once(broker: &TestBroker, rounds: usize) {
    let mut counted: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
    read_committed(broker.bootstrap(), "counted", TIMEOUT, |record| {
        let key = record.key().unwrap_or_default().to_vec();
        let value = record.payload().unwrap_or_default().to_vec();
        counted.entry(key).or_default().push(value);
    })
    .expect("the topic can be read");
    assert_eq!(counted.len(), KEYS);
    let once: Vec<Vec<u8>> = (1..=rounds).map(|n| n.to_string().into_bytes()).collect();
    for (key, counts) in counted {
        assert_eq!(counts, once, "{}", String::from_utf8_lossy(&key));
    }
}

/// So many words of each key.
fn send_words(program: &Program, rounds: usize, blocks: impl Fn(usize) -> bool) {
    let words = (0..rounds * KEYS).map(|n| {
        let (key, blocks) = (n % KEYS, blocks(n));
        format!("{{\"key\":\"k{key}\",\"blocks\":{blocks}}}\n")
    });
    program.file("words", words.collect::<String>());
    program.answer(&["send", "words", "--file", "words", "--key-field", "key"]);
}

/// How many shards a node has running.
fn active(program: &Program) -> usize {
    let status = program.run(&["status", "--here", "--json"]).stdout;
    let status: Value = serde_json::from_str(&status).unwrap_or_default();
    let shards = status["shards"].as_array().into_iter().flatten();
    let active = shards.filter(|it| it["role"] == "active" && it["state"] == "running");
    active.count()
}

/// The head and the body of what a node answers.
fn get(program: &Program, path: &str) -> (String, String) {
    let address = program.folder().join(".tanist/blocking/http");
    let address = fs::read_to_string(address).expect("it listens");
    let mut stream = TcpStream::connect(address.trim()).expect("it listens");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n"
    )
    .expect("it reads");
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    read.expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("it speaks HTTP");
    (head.to_owned(), body.to_owned())
}

#[test]
fn a_node_whose_handler_blocks_is_not_ready_and_then_ends_and_the_other_goes_on_with_its_shards() {
    let world = World::new();
    let (mut blocked, mut other) = world.start(&["--max-poll-interval", "12s"]);
    world.send();
    let says = "agent count at words[";
    blocked.until_logged(says);
    let ready = blocked.until("it is not ready", |_| {
        let (status, body) = get(&world.blocked, "/health/ready");
        status.contains(" 503 ").then_some(body)
    });
    assert!(
        ready.contains(says) && ready.contains("blocks its thread"),
        "{ready}"
    );
    let (live, _) = get(&world.blocked, "/health/live");
    assert!(live.contains(" 200 "), "{live}");
    let log = blocked.expect_end(5);
    let last = log.lines().last().unwrap();
    for expected in [
        "worker 0 has not answered for 12 s",
        says,
        "] offset ",
        " of shard words/",
    ] {
        assert!(last.contains(expected), "{expected} in {last}");
    }
    world.await_counted(&mut other);
}

#[test]
#[allow(clippy::disallowed_methods, reason = "what it says takes real time")]
fn a_node_whose_handler_blocks_ends_in_the_end_when_it_is_to_stop() {
    let world = World::new();
    let (mut blocked, mut other) = world.start(&[
        "--leave-timeout",
        "500ms",
        "--finish-timeout",
        "100ms",
        "--commit-timeout",
        "1s",
    ]);
    world.send();
    blocked.until_logged("blocking at ");
    blocked.signal(Signal::SIGTERM);
    let told = Instant::now();
    let log = blocked.expect_end(5);
    // 0.5 + 2 * (0.1 + 1) + 15
    let took = told.elapsed();
    assert!(took >= Duration::from_millis(17_600), "{took:?}");
    assert!(log.contains("the node has not ended within 17.7s"), "{log}");
    world.await_counted(&mut other);
}

#[test]
fn a_node_that_is_put_out_while_its_handler_blocks_does_not_wait_for_it_for_ever() {
    let world = World::new();
    let (mut blocked, mut other) = world.start(&["--max-poll-interval", "3s"]);
    world.send();
    blocked.until_logged("blocking at ");
    blocked.freeze();
    world.await_counted(&mut other);
    blocked.thaw();
    let log = blocked.expect_end(5);
    assert!(log.contains("the node has done nothing for 3s"), "{log}");
    world.await_counted(&mut other);
}

#[test]
fn a_node_whose_commit_fails_while_its_handler_blocks_is_ready_when_that_goes_on() {
    // Slow as it is until it blocks, it is not done with them before.
    const MANY: usize = 1000;
    let broker = TestBroker::embedded();
    let program = Program::new("blocking", broker.bootstrap()).variable("BLOCKS_WHILE", "block");
    let short = ["--commit-timeout", "1s", "--transaction-timeout", "2s"];
    let mut node = program.worker(&[&["--workers", "1"], &short[..]].concat());
    send_words(&program, MANY, |_| false);
    node.until("some are counted", |_| {
        let counts = program.run(&["scan", "counts"]).stdout;
        (!counts.is_empty()).then_some(())
    });
    // A commit is under way, and more words are there.
    broker.inner().stop();
    node.until_logged("no Kafka broker answers");
    program.file("block", "");
    let answer = |status: &'static str| {
        let program = &program;
        move |_: &Process| {
            let (head, body) = get(program, "/health/ready");
            head.contains(status).then_some(body)
        }
    };
    let why = node.until("it is not ready", answer(" 503 "));
    assert!(why.contains("blocks its thread"), "{why}");
    broker.inner().restart().expect("its port is free");
    fs::remove_file(program.folder().join("block")).expect("it is there");
    node.until_logged("it is made anew");
    node.until("it is ready again", answer(" 200 "));
    node.until("all is counted", |_| {
        let counts = program.run(&["scan", "counts", "--limit", "1000"]).stdout;
        let all = format!("\t{MANY}");
        let done = counts.lines().filter(|line| line.ends_with(&all));
        (done.count() == KEYS).then_some(())
    });
    node.stop();
    assert_counted_once(&broker, MANY);
}
