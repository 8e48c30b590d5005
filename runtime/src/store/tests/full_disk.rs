//! A disk that is full.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use tanist_actors::port::{Changes, StoreError, Stores};
use tanist_cluster::ShardId;

use super::small_disk::on_small_disk;
use super::workload::{self, CHILD, Model, Workload};
use crate::store::shard::FILLING;
use crate::store::{RocksStores, StoreOptions};

const OPTIONS: StoreOptions = StoreOptions {
    memory_bytes: StoreOptions::MIN_MEMORY_BYTES,
    background_threads: 2,
};

#[test]
fn a_full_disk_is_said_and_after_it_was_freed_nothing_is_lost() {
    let name = "full_disk::a_full_disk_is_said_and_after_it_was_freed_nothing_is_lost";
    on_a_small_disk(name, fill_and_free);
}

#[test]
fn a_file_that_does_not_fit_is_said_and_leaves_the_store_as_it_was() {
    let name = "full_disk::a_file_that_does_not_fit_is_said_and_leaves_the_store_as_it_was";
    on_a_small_disk(name, restore_and_free);
}

#[test]
fn what_a_killed_process_has_filled_the_disk_with_is_cleared_and_all_stores_go_on() {
    let name =
        "full_disk::what_a_killed_process_has_filled_the_disk_with_is_cleared_and_all_stores_go_on";
    on_a_small_disk(name, leave_and_start_again);
}

/// Lets the test `name` run `test` with a directory on a small disk, and a seed.
fn on_a_small_disk(name: &str, test: fn(&Path, u64)) {
    if let Ok(dir) = std::env::var(CHILD) {
        let seed = workload::any_seed();
        println!("TANIST_SEED={seed}");
        test(Path::new(&dir), seed);
        println!("done");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let Some(mut command) = on_small_disk(dir.path()) else {
        return;
    };
    command.arg(std::env::current_exe().unwrap());
    let child = workload::child(command, name, dir.path().to_str().unwrap());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(
        output.status.success() && said.contains("done"),
        "the test failed on the small disk"
    );
}

fn fill_and_free(dir: &Path, seed: u64) {
    let workload = Workload {
        seed,
        keys: 90_000,
        value_bytes: 1_000,
    };
    let (data, ballast) = (dir.join("data"), dir.join("ballast"));
    std::fs::write(&ballast, vec![1; 24 << 20]).unwrap();

    let reached = fill(&data, &workload);
    std::fs::remove_file(&ballast).unwrap();

    let stores = RocksStores::open(&data, "orders", &OPTIONS).unwrap();
    let store = stores.open(&ShardId::new("orders", 0)).unwrap();
    let position = workload::position(&*store);
    println!("full at {reached}, went on from {position}");
    assert!(0 < position && position <= reached);
    let mut model = Model::default();
    model.replay(&workload, position);
    model.check(&*store);

    // Goes on as a node would: from the position, over what was lost, to beyond where it was.
    for position in position..reached + 20 {
        store.apply(&workload.changes(position)).unwrap();
    }
    store.flush().unwrap();
    model.replay(&workload, reached + 20);
    model.check(&*store);
}

/// Writes until the disk is full, and returns how far it came.
fn fill(data: &Path, workload: &Workload) -> u64 {
    let stores = RocksStores::open(data, "orders", &OPTIONS).unwrap();
    let store = stores.open(&ShardId::new("orders", 0)).unwrap();
    let mut position = 0;
    let error = loop {
        match store.apply(&workload.changes(position)) {
            Ok(()) => position += 1,
            Err(error) => break error,
        }
        assert!(position < 100_000, "the disk never became full");
    };
    let path = stores.path(&ShardId::new("orders", 0));
    let expected = format!(
        "no space left for the store in {}: free some",
        path.display()
    );
    let mut refused = Changes::default();
    refused.put(b"must not", b"come back", b"");
    let errors = [
        error,
        store.apply(&refused).unwrap_err(),
        store.flush().unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, StoreError::DiskFull { .. }), "{error:?}");
        assert!(error.to_string().starts_with(&expected), "{error}");
    }
    // What it holds can be read all the same.
    assert_eq!(workload::position(&*store), position);
    position
}

fn restore_and_free(dir: &Path, seed: u64) {
    let workload = Workload {
        seed,
        keys: 90_000,
        value_bytes: 1_000,
    };
    let ballast = dir.join("ballast");
    std::fs::write(&ballast, vec![1; 24 << 20]).unwrap();
    let stores = RocksStores::open(&dir.join("data"), "orders", &OPTIONS).unwrap();
    let store = stores.open(&ShardId::new("orders", 0)).unwrap();
    let mut position = 0;
    let error = loop {
        match store.fill(&workload.changes(position)) {
            Ok(()) => position += 1,
            Err(error) => break error,
        }
        assert!(position < 100_000, "the disk never became full");
    };
    assert!(matches!(error, StoreError::DiskFull { .. }), "{error:?}");
    let mut model = Model::default();
    model.replay(&workload, position);
    model.check(&*store);

    // Its owner drops it then, and goes on when there is room.
    drop(store);
    std::fs::remove_file(&ballast).unwrap();
    let store = stores.open(&ShardId::new("orders", 0)).unwrap();
    for position in position..position + 20 {
        store.fill(&workload.changes(position)).unwrap();
    }
    model.replay(&workload, position + 20);
    model.check(&*store);
}

fn leave_and_start_again(dir: &Path, seed: u64) {
    let workload = Workload {
        seed,
        keys: 1_000,
        value_bytes: 1_000,
    };
    let (data, shards) = (dir.join("data"), [0, 1].map(|n| ShardId::new("orders", n)));
    let stores = RocksStores::open(&data, "orders", &OPTIONS).unwrap();
    for shard in &shards {
        let store = stores.open(shard).unwrap();
        store.fill(&workload.changes(0)).unwrap();
    }
    let left = stores.path(&shards[1]).join(FILLING);
    drop(stores);
    let mut file = File::create(&left).unwrap();
    for piece_bytes in [1 << 16, 1 << 12, 1] {
        while file.write_all(&vec![1; piece_bytes]).is_ok() {}
    }
    drop(file);
    let stores = RocksStores::open(&data, "orders", &OPTIONS).unwrap();
    for shard in &shards {
        let store = stores.open(shard).unwrap();
        store.fill(&workload.changes(1)).unwrap();
        let mut model = Model::default();
        model.replay(&workload, 2);
        model.check(&*store);
    }
    assert!(!left.exists());
}
