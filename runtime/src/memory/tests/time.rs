//! Virtual time: when readers are woken, how far they read ahead, and that a seed decides it all.

use bytes::Bytes;
use tanist_broker::NewRecord;

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

fn record(text: &str) -> NewRecord {
    NewRecord {
        value: Some(Bytes::copy_from_slice(text.as_bytes())),
        ..NewRecord::default()
    }
}

#[test]
fn what_a_test_appends_past_the_ports_wakes_readers_soon() {
    on_virtual_time(async {
        let world = World::new(7);
        let address = tanist_broker::TopicPartition::new("a", 0);
        let (mut source, ready) = world.read("a");
        sleep_ms(10).await;
        assert_eq!(source.pull(1).unwrap().reached, Some(Offset(0)));
        let before = world.clock.elapsed();
        world
            .port
            .append(&address, &[record("x")], None, world.now())
            .unwrap();
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
fn no_more_is_read_ahead_than_the_bound_until_it_is_pulled() {
    on_virtual_time(async {
        let world = World::new(7);
        let address = tanist_broker::TopicPartition::new("a", 0);
        const COUNT: usize = 3 * READ_AHEAD_RECORDS;
        for _ in 0..COUNT {
            let record = record("x");
            world
                .port
                .append(&address, &[record], None, world.now())
                .unwrap();
        }
        let ready = Arc::new(Notify::new());
        let mut source = world.broker.source(&partition("a"), Offset(0), ready);
        sleep_ms(1_000).await;
        assert_eq!(source.read_ahead_records(), READ_AHEAD_RECORDS);
        let mut count = 0;
        while count < COUNT {
            let pulled = source.pull(READ_AHEAD_RECORDS / 2).unwrap();
            count += pulled.batch.map_or(0, |batch| batch.len());
            sleep_ms(10).await;
            assert!(source.read_ahead_records() <= READ_AHEAD_RECORDS);
        }
        assert_eq!(count, COUNT);
    });
}
