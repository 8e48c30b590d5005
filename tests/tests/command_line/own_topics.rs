//! The two topics that nodes have for themselves.

use std::time::UNIX_EPOCH;

use tanist_broker::{Millis, TopicPartition};

use super::{CATCH_UP, orders};

const CONTROL: &str = "orders.control";
const STARTS: usize = 4;
/// Of one node: its `Join`, its producers, and the plan. And what the last tombstone is for: the end of a log is not
/// compacted. And of each partition of the orders, that it is read.
const COUNTS: usize = 4 + 8;

fn now() -> Millis {
    let now = UNIX_EPOCH.elapsed().expect("it is later than 1970");
    Millis(now.as_millis() as i64)
}

#[test]
fn they_are_made_so_that_they_stay_small() {
    let (broker, program) = orders();
    program.answer(CATCH_UP);
    let port = broker.inner().in_process();
    for (topic, name, value) in [
        (CONTROL, "cleanup.policy", "compact"),
        (CONTROL, "max.message.bytes", "8388608"),
        (CONTROL, "segment.bytes", "8388608"),
        (CONTROL, "segment.ms", "3600000"),
        ("orders.heartbeat", "cleanup.policy", "delete"),
        ("orders.heartbeat", "retention.bytes", "4194304"),
        ("orders.heartbeat", "segment.bytes", "1048576"),
    ] {
        let described = port.describe_topic(topic, now()).expect("it is there");
        let entries = described.config.entries();
        assert_eq!(
            entries.get(name).map(String::as_str),
            Some(value),
            "{topic}"
        );
    }
}

#[test]
fn what_a_compaction_leaves_of_the_control_log_is_no_more_than_what_counts() {
    let (broker, program) = orders();
    let port = broker.inner().in_process();
    let left = || {
        port.compact(&TopicPartition::new(CONTROL, 0), now())
            .expect("it can be compacted");
        let records = broker.appended(CONTROL, 0);
        // The others are tombstones, kept for a day.
        records.iter().filter(|value| !value.is_empty()).count()
    };
    (0..STARTS).for_each(|_| drop(program.answer(CATCH_UP)));
    assert!(left() > COUNTS, "each has left something");
    let mut worker = program.worker(&[]);
    worker.until("it has cleared away what is superseded", |_| {
        (left() <= COUNTS).then_some(())
    });
    worker.stop();
    program.answer(CATCH_UP);
}
