//! Checks what the orders example wrote, as a process of its own, so that it shares nothing with what it judges.
//!
//! Exit codes: 0 sound, 1 not sound, 2 could not be read.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool"
)]

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tanist_tests::orders::{ORDER_COUNTS, check_orders};

/// Reads the order counts with read_committed, from start to end, and checks that no account's count has a gap or a repeat.
#[derive(Parser)]
#[command(name = "check-orders")]
struct Arguments {
    /// Address of the broker, host:port.
    #[arg(long, env = "TANIST_BROKER")]
    broker: String,
    /// Topic to read.
    #[arg(long, default_value = ORDER_COUNTS)]
    topic: String,
    /// The number of orders that must have been counted.
    #[arg(long, value_name = "N")]
    expect: Option<u64>,
    /// Longest time for the reading, in seconds.
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    within: u64,
    /// Print the result as JSON, every account included.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let check = match check_orders(
        &arguments.broker,
        &arguments.topic,
        Duration::from_secs(arguments.within),
    ) {
        Ok(check) => check,
        Err(error) => {
            eprintln!("check-orders: {error}");
            return ExitCode::from(2);
        }
    };
    if arguments.json {
        println!("{}", serde_json::json!(check));
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
