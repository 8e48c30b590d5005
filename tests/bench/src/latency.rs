//! The benchmark `latency`: how long a record takes through a node that has little to do, from the call that sends it until
//! a reader of committed records sees what became of it; and how long a node takes from its start to the first one.

use std::collections::BTreeMap;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message};
use tanist_tests::raw::RawClient;
use tanist_tests::reader::{ReadError, follow_committed};

use crate::Result;
use crate::contest::{Spread, Stage};
use crate::kafka::{PARTITIONS, PATIENCE, changelog};
use crate::orders::scramble;
use crate::server::{Common, Ground};
use crate::tanist_contestant::node_command;

/// How to measure.
#[derive(Args)]
pub(crate) struct Settings {
    /// Number of records in each run, some 40 a second
    #[arg(long, default_value_t = 1_000)]
    records: u64,
    #[command(flatten)]
    common: Common,
}

/// The default, and the smallest.
const COMMIT_INTERVALS: [&str; 2] = ["100ms", "1ms"];

pub(crate) fn run(settings: &Settings) -> Result<()> {
    measure(&settings.common.start()?, settings.records)
}

/// Measures starts and latencies.
pub(crate) fn measure(ground: &Ground, records: u64) -> Result<()> {
    let runs = ground.runs;
    println!("### latency, {records} records, 40 a second, exactly once, runs of each: {runs}\n");
    println!(
        "| `commit_interval` | start to first record seen, ms | record to reader, ms: p50 | p99 | largest |"
    );
    println!("| --- | --- | --- | --- | --- |");
    for interval in COMMIT_INTERVALS {
        let mut starts = Vec::new();
        let mut latencies = Vec::new();
        for run in 1..=runs {
            let app = format!("latency-{interval}-{}-{run}", std::process::id());
            let stage = Stage {
                broker: ground.server.address().into(),
                input: format!("{app}-input"),
                dir: ground.scratch.path().join(&app),
                app,
            };
            eprintln!("{}: {records} records", stage.app);
            let run = Run::start(&stage, interval)?;
            starts.push(run.first_record()?);
            latencies.extend(run.latencies(records)?);
            run.end()?;
        }
        println!(
            "| {interval} | {} | {} | {} | {} |",
            Spread::of(&starts, |start| millis(*start)).show(0),
            percentile(&mut latencies, 50)
                .map_or(f64::NAN, millis)
                .round(),
            percentile(&mut latencies, 99)
                .map_or(f64::NAN, millis)
                .round(),
            percentile(&mut latencies, 100)
                .map_or(f64::NAN, millis)
                .round(),
        );
    }
    println!();
    Ok(())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The smallest that is not exceeded by `percent` of all.
fn percentile(values: &mut [Duration], percent: usize) -> Option<Duration> {
    values.sort_unstable();
    let rank = (values.len() * percent).div_ceil(100);
    values.get(rank.saturating_sub(1)).copied()
}

/// A node, a producer before it and a reader behind it. Every record has an account of its own, whose count appears in the
/// changelog with the commit of the record.
struct Run {
    node: Node,
    started: Instant,
    input: String,
    producer: BaseProducer,
    seen: Receiver<(u64, Instant)>,
    done: Arc<AtomicBool>,
    reader: thread::JoinHandle<Result<u64, ReadError>>,
}

impl Run {
    /// Starts the node; one record waits for it already.
    fn start(stage: &Stage, commit_interval: &str) -> Result<Run> {
        let of_app = changelog(&stage.app);
        let mut client = RawClient::connect(&stage.broker);
        client.create_topic(&stage.input, PARTITIONS, &[]);
        client.create_topic(&of_app, PARTITIONS, &[("cleanup.policy", "compact")]);
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", &stage.broker)
            .set("linger.ms", "0")
            .create()?;
        send(&producer, &stage.input, 0)?;
        producer.flush(PATIENCE)?;
        let (sender, seen) = channel();
        let done = Arc::new(AtomicBool::new(false));
        let (broker, is_done) = (stage.broker.clone(), done.clone());
        let reader = thread::spawn(move || read(&broker, &of_app, &is_done, &sender));
        let started = Instant::now();
        let more = ["--commit-interval", commit_interval];
        Ok(Run {
            node: Node(node_command(stage, "account", &more)?.spawn()?),
            started,
            input: stage.input.clone(),
            producer,
            seen,
            done,
            reader,
        })
    }

    fn first_record(&self) -> Result<Duration> {
        let (_, at) = self.seen.recv_timeout(PATIENCE)?;
        Ok(at - self.started)
    }

    /// Sends records at uneven intervals, so that they meet the rhythm of the commits everywhere.
    fn latencies(&self, records: u64) -> Result<Vec<Duration>> {
        let mut sent = BTreeMap::new();
        for account in 1..=records {
            thread::sleep(Duration::from_millis(10 + scramble(account) % 31));
            sent.insert(account, Instant::now());
            send(&self.producer, &self.input, account)?;
            self.producer.poll(Duration::ZERO);
        }
        let mut latencies = Vec::new();
        while latencies.len() < sent.len() {
            let (account, at) = self.seen.recv_timeout(PATIENCE)?;
            latencies.push(at - sent[&account]);
        }
        Ok(latencies)
    }

    fn end(mut self) -> Result<()> {
        self.done.store(true, Ordering::Relaxed);
        let read = self.reader.join().map_err(|_| "the reader has panicked")?;
        read?;
        let Node(node) = &mut self.node;
        kill(Pid::from_raw(node.id().cast_signed()), Signal::SIGTERM)?;
        let status = node.wait()?;
        if !status.success() {
            return Err(format!("the node ended with {status}").into());
        }
        Ok(())
    }
}

/// A process that does not outlive what it was started for.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        // It has ended, but for an error in between.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn send(producer: &BaseProducer, topic: &str, account: u64) -> Result<()> {
    let key = format!("a{account}");
    let order =
        format!(r#"{{"account_id":"{key}","product_id":"product-1","amount":1,"price":2.5}}"#);
    let partition = (account % u64::from(PARTITIONS.unsigned_abs())) as i32;
    let record = BaseRecord::to(topic).key(&key).payload(&order);
    producer
        .send(record.partition(partition))
        .map_err(|(error, _)| error.into())
}

/// Tells which accounts appear in the changelog, and when.
fn read(
    broker: &str,
    changelog: &str,
    done: &AtomicBool,
    seen: &Sender<(u64, Instant)>,
) -> Result<u64, ReadError> {
    let enough = || done.load(Ordering::Relaxed);
    follow_committed(broker, changelog, PATIENCE, enough, |record| {
        let key = std::str::from_utf8(record.key().unwrap_or_default());
        let account = key.ok().and_then(|key| key.strip_prefix('a')?.parse().ok());
        if let Some(account) = account {
            // Whoever measures has given up, if it is gone.
            let _ = seen.send((account, Instant::now()));
        }
    })
}

#[test]
fn half_of_all_are_at_most_the_median() {
    let mut values = [4, 1, 3, 2].map(Duration::from_secs);
    assert_eq!(percentile(&mut values, 50), Some(Duration::from_secs(2)));
    assert_eq!(percentile(&mut values, 99), Some(Duration::from_secs(4)));
    assert_eq!(percentile(&mut [], 50), None);
}
