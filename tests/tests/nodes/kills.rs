//! A node is killed at random moments under load, over and over: nothing is lost, doubled or skipped.
//!
//! `TANIST_TEST_KILLS` says how often, `TANIST_TEST_SEED` with which seed; `bin/test kills` does it fifty times.

use std::fs;
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use tanist_tests::node::Orders;

/// Often enough for every day.
const KILLS: u64 = 8;
/// Orders a second: several commits are between two kills, and the node catches up on what it missed.
const RATE: u32 = 1000;
/// A node that starts is killed at most so long after its start.
const STARTING: Duration = Duration::from_millis(600);
/// One that processes, after its first progress.
const PROCESSING: Duration = Duration::from_millis(500);

#[test]
fn no_order_is_lost_or_doubled_when_the_node_is_killed() {
    let orders = Orders::start();
    kill_over_and_over(&orders, &[], false);
    say(&orders.judge("node"));
}

#[test]
fn no_order_is_lost_or_doubled_when_the_disk_is_lost_with_the_node() {
    let orders = Orders::start();
    kill_over_and_over(&orders, &[], true);
    say(&orders.judge("node"));
}

#[test]
fn at_least_once_loses_no_order_when_the_node_is_killed() {
    let orders = Orders::embedded();
    let guarantee = ["--guarantee", "at_least_once"];
    kill_over_and_over(&orders, &guarantee, false);
    let (check, sent) = orders.count("node", &guarantee);
    let repeats = check.fault_count - check.lost_count;
    say(&format!(
        "{} orders, {sent} sent, {repeats} times gone back",
        check.orders()
    ));
    assert_eq!(check.lost_count, 0, "{check}");
    // More where an order was sent twice to the topic by account.
    assert!(check.orders() >= sent, "{sent} sent, {check}");
}

#[test]
fn at_most_once_repeats_no_order_when_the_node_is_killed() {
    let orders = Orders::embedded();
    let guarantee = ["--guarantee", "at_most_once"];
    kill_over_and_over(&orders, &guarantee, false);
    let (check, sent) = orders.count("node", &guarantee);
    say(&check);
    assert!(check.is_sound(), "{check}");
    assert!(check.orders() <= sent, "{sent} sent, {check}");
}

fn kill_over_and_over(orders: &Orders, args: &[&str], lose_disk: bool) {
    let kills = number("TANIST_TEST_KILLS").unwrap_or(KILLS);
    let seed = number("TANIST_TEST_SEED").unwrap_or_else(some_seed);
    say(&format!(
        "TANIST_TEST_KILLS={kills} TANIST_TEST_SEED={seed}"
    ));
    let mut random = Random(seed);
    let load = orders.generate(RATE, &["--accounts", "50", "--seed", &seed.to_string()]);
    for number in 0..kills {
        let mut node = orders.worker("node", args);
        // Every fourth dies while it still takes over and restores.
        if number % 4 == 3 {
            thread::sleep(random.up_to(STARTING));
        } else {
            orders.await_progress(&mut node);
            thread::sleep(random.up_to(PROCESSING));
        }
        node.kill();
        let disk = orders.data_dir("node");
        // One that died soon has none yet.
        if lose_disk && disk.exists() {
            fs::remove_dir_all(disk).expect("nobody uses the directory");
        }
    }
    load.stop();
}

#[allow(clippy::print_stdout, reason = "the seed and the figures of a test")]
fn say(what: &impl std::fmt::Display) {
    println!("{what}");
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is a whole number, not {text}")),
    )
}

fn some_seed() -> u64 {
    UNIX_EPOCH
        .elapsed()
        .map_or(1, |since| u64::from(since.subsec_micros()))
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn up_to(&mut self, longest: Duration) -> Duration {
        Duration::from_micros(self.below(longest.as_micros() as u64))
    }
}
