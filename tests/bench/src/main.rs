//! Benchmarks: Tanist beside a raw librdkafka loop that does the same work without any framework, as good as one can
//! write it.
//!
//! A driver ([`orders_count`], [`restore`], [`latency`]; [`all`]) starts a broker as a process of its own ([`server`]),
//! fills the topics ([`load`]), and runs every contestant as a child process ([`contest`]), of which the system tells
//! CPU and memory ([`measured`]); then it reads what the contestant wrote and fails it when that is wrong. The loops:
//! [`counting`] per account from input that is keyed already, [`regrouping`] with a repartition topic in between,
//! [`restoring`] a table from its changelog.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool"
)]
#![allow(clippy::disallowed_methods, reason = "it measures real time")]

mod all;
mod contest;
mod counting;
mod kafka;
mod latency;
mod load;
mod measured;
mod orders;
mod orders_count;
mod raw;
mod regrouping;
mod restore;
mod restoring;
mod server;
mod store;
mod tallies;
mod tanist_contestant;
mod transaction;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

// librdkafka uses it too, since its names are not prefixed: a fifth less CPU for the loops, and for Tanist's binaries.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

#[derive(Parser)]
#[command(
    name = "tanist-bench",
    about = "Benchmarks of Tanist beside raw librdkafka loops"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// All of them one after the other, as docs/performance.md shows them
    All(all::Settings),
    /// Count orders per account, exactly once, with a changelog and RocksDB: keyed input, and with a repartition topic
    OrdersCount(orders_count::Settings),
    /// Restore a table from its changelog
    Restore(restore::Settings),
    /// How soon a record is seen, committed, when there is little to do, and how soon after a node was started
    Latency(latency::Settings),
    /// Load and read the store of a shard, within a budget of memory
    Store(store::Settings),
    /// A step of `store`
    #[command(hide = true)]
    StoreStep(store::Step),
    /// Contestant: the loop over keyed input
    #[command(hide = true)]
    LoopKeyed(LoopArguments),
    /// Contestant: the loop that writes and reads a repartition topic
    #[command(hide = true)]
    LoopGroupBy(LoopArguments),
    /// Contestant: the loop that restores
    #[command(hide = true)]
    LoopRestore(LoopArguments),
    /// Run a command and print what it used
    #[command(hide = true)]
    Measured(measured::MeasuredArguments),
    /// The embedded broker as a process of its own
    #[command(hide = true)]
    EmbeddedBroker(server::EmbeddedArguments),
}

/// What a loop needs to know.
#[derive(Args)]
struct LoopArguments {
    /// Address of the broker
    #[arg(long)]
    broker: String,
    /// Topic to read, from its start to the end that it has now
    #[arg(long)]
    input: String,
    /// Name of the consumer group, of the transactional id, and prefix of the topics in between
    #[arg(long)]
    app: String,
    /// Folder for RocksDB; must be empty or missing
    #[arg(long)]
    dir: PathBuf,
    /// Time between two commits
    #[arg(long, default_value_t = 100, value_name = "MILLISECONDS")]
    commit_interval_ms: u64,
}

impl LoopArguments {
    fn commit_interval(&self) -> Duration {
        Duration::from_millis(self.commit_interval_ms)
    }

    fn changelog(&self) -> String {
        kafka::changelog(&self.app)
    }
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::OrdersCount(settings) => orders_count::run(&settings),
        Command::All(settings) => all::run(&settings),
        Command::Latency(settings) => latency::run(&settings),
        Command::Restore(settings) => restore::run(&settings),
        Command::Store(settings) => store::run(&settings),
        Command::StoreStep(step) => store::run_step(&step),
        Command::LoopKeyed(arguments) => counting::run(&arguments),
        Command::LoopGroupBy(arguments) => regrouping::run(&arguments),
        Command::LoopRestore(arguments) => restoring::run(&arguments),
        Command::Measured(arguments) => measured::run(&arguments),
        Command::EmbeddedBroker(arguments) => server::run_embedded(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tanist-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
