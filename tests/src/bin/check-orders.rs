//! Checks what the orders example wrote, as a process of its own, so that it shares nothing with what it judges.
//!
//! Exit codes: 0 sound, 1 not sound, 2 could not be read.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool"
)]

use std::io::Read as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use clap::Parser;
use tanist_tests::gaps::Gaps;
use tanist_tests::orders::{
    ORDER_COUNTS, ORDERS, OrderCheck, check_orders, follow_orders, read_orders,
};
use tanist_tests::reader::ReadError;

/// Reads the order counts with read_committed, from start to end, and checks that no account's count has a gap or a repeat;
/// then reads the orders, and checks that these are what was counted.
#[derive(Parser)]
#[command(name = "check-orders")]
struct Arguments {
    /// Address of the broker, host:port.
    #[arg(long, env = "TANIST_BROKER")]
    broker: String,
    /// Topic to read.
    #[arg(long, default_value = ORDER_COUNTS)]
    topic: String,
    /// Topic of the orders.
    #[arg(long, default_value = ORDERS, value_name = "TOPIC")]
    orders: String,
    /// The number of orders that must have been counted.
    #[arg(long, value_name = "N")]
    expect: Option<u64>,
    /// Longest time for the reading, in seconds.
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    within: u64,
    /// Read on until the standard input ends, and tell for how long each partition had nothing to read.
    #[arg(long)]
    follow: bool,
    /// With --follow: shorter times than this, in milliseconds, are not told.
    #[arg(long, default_value_t = 60, value_name = "MILLISECONDS")]
    least_gap: i64,
    /// Print the result as JSON, every account included.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (check, gaps) = match read(&arguments) {
        Ok(read) => read,
        Err(error) => {
            eprintln!("check-orders: {error}");
            return ExitCode::from(2);
        }
    };
    if arguments.json {
        println!("{}", judgement(&check, &gaps));
    } else {
        println!("{check}");
    }
    let mut sound = check.is_sound();
    if let Some(expected) = arguments
        .expect
        .filter(|expected| *expected != check.orders())
    {
        eprintln!(
            "check-orders: {} orders were counted, {expected} were expected",
            check.orders()
        );
        sound = false;
    }
    if sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// In the form that `chaos` asks for.
fn judgement(check: &OrderCheck, gaps: &Gaps) -> serde_json::Value {
    let table = check.accounts.iter().map(|(account, end)| {
        let tally = serde_json::json!({ "count": end.count, "total": end.total });
        (account.clone(), tally)
    });
    serde_json::json!({
        "sound": check.is_sound(),
        "inputs": check.orders(),
        "text": check.to_string(),
        "gaps": gaps,
        "tables": { "order_count": table.collect::<serde_json::Map<_, _>>() },
    })
}

fn read(arguments: &Arguments) -> Result<(OrderCheck, Gaps), ReadError> {
    let (mut check, gaps) = read_counts(arguments)?;
    let limit = Duration::from_secs(arguments.within);
    check.hold_against(&read_orders(&arguments.broker, &arguments.orders, limit)?);
    Ok((check, gaps))
}

fn read_counts(arguments: &Arguments) -> Result<(OrderCheck, Gaps), ReadError> {
    let Arguments { broker, topic, .. } = arguments;
    let limit = Duration::from_secs(arguments.within);
    let mut gaps = Gaps::at_least(arguments.least_gap);
    if !arguments.follow {
        return Ok((check_orders(broker, topic, limit)?, gaps));
    }
    let enough = Arc::new(AtomicBool::new(false));
    let is_enough = enough.clone();
    thread::spawn(move || {
        // An error ends the input as well.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        enough.store(true, Ordering::Relaxed);
    });
    let enough = || is_enough.load(Ordering::Relaxed);
    let check = follow_orders(broker, topic, limit, enough, |partition| {
        gaps.observe(partition);
    })?;
    Ok((check, gaps))
}
