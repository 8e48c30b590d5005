//! Virtual time: when readers are woken, how far they read ahead, and that a seed decides it all.

use bytes::Bytes;
use tanist_actors::port::LogError;
use tanist_broker::{NewRecord, TransactionalProducer};

use super::*;
use crate::memory::source::READ_AHEAD_RECORDS;

/// What two writers and two readers do, with the times.
async fn run(seed: u64) -> Vec<String> {
    let world = World::new(seed);
    let trace = std::cell::RefCell::new(Vec::new());
    let said = |what: String| {
        let line = format!("{} ms: {what}", world.clock.now());
        trace.borrow_mut().push(line);
    };
    let write = async |worker| {
        let id = TransactionalId::of("app", MemberId(1), WorkerIndex(worker));
        let log = world.broker.log(&id).await.unwrap().build();
        for round in 0..5 {
            let text = format!("{worker}.{round}");
            log.commit(commit(&text)).await.unwrap();
            said(format!("committed {text}"));
        }
    };
    let read = async |topic| {
        let (mut source, ready) = world.read(topic);
        let mut count = 0;
        while count < 10 {
            ready.notified().await;
            let pulled = source.pull(100).unwrap();
            let some = pulled.batch.map_or(0, |batch| batch.len());
            said(format!("{topic}: {some} up to {:?}", pulled.reached));
            count += some;
        }
    };
    tokio::join!(write(0), write(1), read("a"), read("b"));
    trace.into_inner()
}

#[test]
fn a_seed_decides_a_whole_run() {
    let of_seven = on_virtual_time(run(7));
    for _ in 0..10 {
        assert_eq!(on_virtual_time(run(7)), of_seven);
    }
    assert_ne!(on_virtual_time(run(8)), of_seven);
}

#[test]
fn a_commit_takes_some_milliseconds() {
    for seed in 0..20 {
        on_virtual_time(async {
            let world = World::new(seed);
            let log = world.log().await;
            let before = world.clock.elapsed();
            log.commit(commit("x")).await.unwrap();
            let took_ms = (world.clock.elapsed() - before).as_millis();
            assert!((2..=25).contains(&took_ms), "{took_ms} ms, seed {seed}");
        });
    }
}

/// Appends past the ports.
fn append(world: &World, texts: impl IntoIterator<Item = &'static str>) {
    for text in texts {
        let record = NewRecord {
            key: Some(Bytes::from_static(b"k")),
            value: Some(Bytes::from_static(text.as_bytes())),
            ..NewRecord::default()
        };
        let appended = world.port.append(&address(), &[record], None, world.now());
        appended.unwrap();
    }
}

fn address() -> tanist_broker::TopicPartition {
    tanist_broker::TopicPartition::new("a", 0)
}

#[test]
fn what_a_test_appends_past_the_ports_wakes_readers_soon() {
    on_virtual_time(async {
        let world = World::new(7);
        let (mut source, ready) = world.read("a");
        sleep_ms(10).await;
        assert_eq!(source.pull(1).unwrap().reached, Some(Offset(0)));
        let before = world.clock.elapsed();
        append(&world, ["x"]);
        let pulled = loop {
            ready.notified().await;
            let pulled = source.pull(1).unwrap();
            if pulled.batch.is_some() {
                break pulled;
            }
        };
        assert_eq!(pulled.reached, Some(Offset(1)));
        let took_ms = (world.clock.elapsed() - before).as_millis();
        assert!(took_ms <= 5, "{took_ms} ms");
    });
}

#[test]
fn as_much_is_read_ahead_as_the_bound_and_no_more() {
    on_virtual_time(async {
        let world = World::new(7);
        const COUNT: usize = 3 * READ_AHEAD_RECORDS;
        append(&world, ["x"; COUNT]);
        let ready = Arc::new(Notify::new());
        let mut source = world.broker.source(&partition("a"), Offset(0), ready);
        let mut left = COUNT;
        while left > 0 {
            sleep_ms(10).await;
            assert_eq!(source.read_ahead_records(), left.min(READ_AHEAD_RECORDS));
            let pulled = source.pull(READ_AHEAD_RECORDS / 2).unwrap();
            left -= pulled.batch.map_or(0, |batch| batch.len());
        }
    });
}

#[test]
fn an_end_that_was_found_twice_before_it_was_pulled_is_said() {
    for seed in 0..20 {
        on_virtual_time(async {
            let world = World::new(seed);
            append(&world, ["x"]);
            let (mut source, _ready) = world.read("a");
            tokio::task::yield_now().await;
            source.seek(Offset(0)).unwrap();
            sleep_ms(20).await;
            let pulled = source.pull(1).unwrap();
            assert_eq!(pulled.reached, Some(Offset(1)), "seed {seed}");
        });
    }
}

#[test]
fn an_end_is_reached_where_the_last_records_were_compacted_away() {
    on_virtual_time(async {
        let world = World::new(7);
        let mut config = TopicConfig::compacted();
        config.set("delete.retention.ms", "0").unwrap();
        world.port.delete_topic("a", world.now()).unwrap();
        let created = world.port.create_topic("a", 1, config, world.now());
        created.unwrap();
        let mut tombstones = commit("x");
        for record in &mut tombstones.records {
            record.value = None;
        }
        world.log().await.commit(tombstones).await.unwrap();
        // A record and a marker; and behind them what is not stable yet, for the last batch is never compacted.
        let end = Offset(2);
        open_transaction(&world).await;
        for _ in 0..4 {
            sleep_ms(10).await;
            world.port.compact(&address(), world.now()).unwrap();
        }
        assert_eq!(world.port.peek(&address()).unwrap().last_stable, end.0);
        let (mut source, ready) = world.read("a");
        loop {
            let pulled = source.pull(1).unwrap();
            assert!(pulled.batch.is_none(), "all was compacted away");
            if pulled.reached == Some(end) {
                break;
            }
            ready.notified().await;
        }
    });
}

/// Leaves records of an open transaction behind.
async fn open_transaction(world: &World) {
    let id = TransactionalId::of("app", MemberId(1), WorkerIndex(9));
    let timeout = tanist_broker::Millis(60_000);
    let now = world.now();
    let producer = TransactionalProducer::start(&world.port, id.as_str(), timeout, now);
    let mut producer = producer.unwrap();
    let record = NewRecord {
        key: Some(Bytes::from_static(b"open")),
        ..NewRecord::default()
    };
    producer.send(&address(), &[record], now).unwrap();
}

#[test]
fn a_reader_that_pulled_the_last_records_is_woken_for_the_failure_behind_them() {
    on_virtual_time(async {
        let world = World::new(7);
        append(&world, ["x"; 5]);
        let (mut source, ready) = world.read("a");
        sleep_ms(10).await;
        world.port.delete_topic("a", world.now()).unwrap();
        sleep_ms(10).await;
        // Both have come, and it was woken once.
        ready.notified().await;
        let pulled = source.pull(10).unwrap();
        assert_eq!(pulled.batch.map(|batch| batch.len()), Some(5));
        ready.notified().await;
        let unknown = LogError::UnknownPartition(partition("a"));
        assert_eq!(source.pull(10).err(), Some(unknown));
    });
}
