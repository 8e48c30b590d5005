//! A node whose disk is full. The test runs itself on a small one.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use tanist_tests::small_disk::on_small_disk;

use super::{assert_counted, orders};

const NAME: &str = "full_disk::a_full_disk_is_said_and_once_there_is_room_the_counts_go_on";
/// Set for the run on the small disk.
const ON_SMALL_DISK: &str = "TANIST_TEST_ON_SMALL_DISK";
/// Long enough that a few make a store write to its disk.
const ACCOUNT_BYTES: usize = 2000;
const ORDERS: u64 = 6000;

#[test]
fn a_full_disk_is_said_and_once_there_is_room_the_counts_go_on() {
    if std::env::var_os(ON_SMALL_DISK).is_some() {
        fill_and_free();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let Some(mut command) = on_small_disk(dir.path()) else {
        return;
    };
    let ran = command
        .arg(std::env::current_exe().unwrap())
        .args([NAME, "--exact", "--nocapture"])
        .env(ON_SMALL_DISK, "yes")
        .env("TMPDIR", dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout) + String::from_utf8_lossy(&ran.stderr);
    assert!(
        ran.status.success() && said.contains("1 passed"),
        "on the small disk: {said}"
    );
}

/// Orders of accounts with long names, no two alike.
fn long_orders(accounts: std::ops::Range<u64>) -> String {
    let order = |account: u64| {
        let name: String = (0..ACCOUNT_BYTES as u64 / 16)
            .map(|part| {
                let mixed = (account * 1000 + part + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                format!("{:016x}", mixed ^ (mixed >> 29))
            })
            .collect();
        format!("{{\"account_id\":\"{name}\",\"product_id\":\"p\",\"amount\":1,\"price\":1.0}}\n")
    };
    accounts.map(order).collect()
}

/// Writes until there is no room for another byte.
fn fill(ballast: &Path) {
    let mut file = File::create(ballast).expect("the disk has room for a name");
    for piece_bytes in [1 << 16, 1 << 12, 1] {
        while file.write_all(&vec![1; piece_bytes]).is_ok() {}
    }
}

fn fill_and_free() {
    let (broker, program) = orders();
    program.file("first.jsonl", long_orders(0..ORDERS / 4));
    program.file("rest.jsonl", long_orders(ORDERS / 4..ORDERS));
    let send = |file| program.answer(&["send", "orders", "--file", file]);
    let small = ["--store-bytes", "8MiB"];
    let catch_up = [&["worker", "--until-caught-up"], &small[..]].concat();

    let mut worker = program.worker(&small);
    send("first.jsonl");
    worker.until("the first are counted", |_| {
        (program.json(&["status"])["records"] == ORDERS / 2).then_some(())
    });
    let ballast = program.folder().join("ballast");
    fill(&ballast);
    send("rest.jsonl");
    let broken = worker.until("a shard is broken", |_| {
        let status = program.json(&["status"]);
        let mut shards = status["shards"].as_array()?.iter();
        shards.find(|shard| shard["state"] == "broken").cloned()
    });
    let reason = broken["reason"].as_str().expect("status tells it");
    let (says, advises) = (
        "no space left for the store in .tanist/orders/shards/account-repartition-",
        ": free some, then restart the node (",
    );
    assert!(
        reason.starts_with(says) && reason.contains(advises),
        "{reason}"
    );
    // It would take long to close its stores: RocksDB waits a second for each, as for a disk that mends itself.
    drop(worker);
    fs::remove_file(ballast).expect("it is ours");
    program.answer(&catch_up);
    assert_counted(&broker, ORDERS);
    // The tables know each account: all go on with a count of 2.
    send("first.jsonl");
    send("rest.jsonl");
    program.answer(&catch_up);
    assert_counted(&broker, 2 * ORDERS);
}
