//! The stores of a node together.

use std::sync::Arc;

use rocksdb::properties::CURRENT_SUPER_VERSION_NUMBER;
use tanist_actors::port::{Changes, Store, StoreError, Stores};
use tanist_cluster::ShardId;

use crate::store::{RocksStores, StoreOptions};

fn put(store: &dyn Store, key: &[u8], value: &[u8]) {
    let mut changes = Changes::default();
    changes.put(b"", key, value);
    store.apply(&changes).unwrap();
}

#[test]
fn what_was_applied_is_there_after_an_orderly_stop() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions::default();
    let shards: Vec<ShardId> = (0..16).map(|n| ShardId::new("orders", n)).collect();
    for round in 0..3_u8 {
        let stores = RocksStores::open(dir.path(), "orders", &options).unwrap();
        for shard in &shards {
            let store = stores.open(shard).unwrap();
            let before = store.get(b"round").unwrap();
            assert_eq!(
                before,
                round.checked_sub(1).map(|last| vec![last]),
                "{shard}"
            );
            put(&*store, b"round", &[round]);
        }
    }
}

#[test]
fn a_shard_that_is_open_is_shared_and_one_that_is_closed_can_be_opened_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let stores = RocksStores::open(dir.path(), "orders", &StoreOptions::default()).unwrap();
    let shard = ShardId::new("orders", 0);
    let (first, second) = (stores.open(&shard).unwrap(), stores.open(&shard).unwrap());
    assert!(Arc::ptr_eq(&first, &second));
    drop((first, second));
    std::thread::scope(|scope| {
        for thread in 0..8_u8 {
            let (stores, shard) = (&stores, &shard);
            scope.spawn(move || {
                for _ in 0..10 {
                    put(&*stores.open(shard).unwrap(), &[thread], b"x");
                }
            });
        }
    });
}

#[test]
fn the_data_directory_is_held_while_a_store_of_it_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let stores = RocksStores::open(dir.path(), "orders", &StoreOptions::default()).unwrap();
    let store = stores.open(&ShardId::new("orders", 0)).unwrap();
    drop(stores);
    assert!(RocksStores::open(dir.path(), "orders", &StoreOptions::default()).is_err());
    drop(store);
    RocksStores::open(dir.path(), "orders", &StoreOptions::default()).unwrap();
}

#[test]
fn a_damaged_store_is_said_to_be_with_its_path_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let shard = ShardId::new("orders", 0);
    let stores = RocksStores::open(dir.path(), "orders", &StoreOptions::default()).unwrap();
    let store = stores.open(&shard).unwrap();
    put(&*store, b"key", b"value");
    drop(store);
    let path = stores.path(&shard);
    for file in std::fs::read_dir(&path).unwrap() {
        let file = file.unwrap().path();
        if file.extension().is_some_and(|extension| extension == "sst") {
            std::fs::write(&file, "damaged").unwrap();
        }
    }
    let Err(error) = stores.open(&shard).and_then(|store| store.get(b"key")) else {
        panic!("the damage went unnoticed");
    };
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&path.display().to_string()), "{text}");
    assert!(text.contains("move it away, and it is rebuilt"), "{text}");
    // Others are not affected.
    put(
        &*stores.open(&ShardId::new("orders", 1)).unwrap(),
        b"key",
        b"value",
    );
}

#[test]
fn write_buffers_stay_within_the_budget_and_the_largest_is_flushed_first() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        memory_bytes: StoreOptions::MIN_MEMORY_BYTES,
        ..StoreOptions::default()
    };
    let stores = RocksStores::open(dir.path(), "orders", &options).unwrap();
    let node = &stores.node;
    let open = |n| node.open(&ShardId::new("orders", n)).unwrap();
    // Idle shards whose write buffers take up nearly all that there is.
    let idle: Vec<_> = (0..9).map(open).collect();
    let value = vec![7; 1_000];
    for n in 0..340_u32 {
        for store in &idle {
            put(&**store, &n.to_be_bytes(), &value);
        }
    }
    let busy = open(9);
    let mut most_bytes = 0;
    for n in 0..2_000_u32 {
        put(&*busy, &n.to_be_bytes(), &value);
        most_bytes = most_bytes.max(node.budget.write_buffer_bytes());
    }
    assert!(most_bytes <= options.memory_bytes, "{most_bytes} bytes");
    // Counts two for each flush. RocksDB alone would flush the little that this one has, again and again.
    let changes = busy.db.property_int_value(CURRENT_SUPER_VERSION_NUMBER);
    let changes = changes.unwrap().unwrap();
    assert!(changes < 10, "{changes} changes of its files for 2 MB");
}
