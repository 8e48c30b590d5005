//! Sequences of idempotent producers, and the bounds of a log.

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tanist_tests::broker::TestBroker;
use tanist_tests::clients::{TIMEOUT, send};
use tanist_tests::raw::batch;

const OFFSET_OUT_OF_RANGE: i16 = 1;
const OUT_OF_ORDER_SEQUENCE: i16 = 45;

#[test]
fn a_batch_that_comes_again_gets_the_offset_that_it_has() {
    let broker = TestBroker::start();
    let topic = broker.topic(1, &[]);
    let mut raw = broker.raw();
    let producer = raw.fence(&broker.unique("id"));
    let mut produce = |sequence: i32| {
        let values: Vec<String> = (sequence..sequence + 2)
            .map(|value| value.to_string())
            .collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let answer = raw.produce(
            None,
            &topic,
            0,
            batch(Some(producer), sequence, false, &values),
        );
        (answer.error_code, answer.base_offset)
    };
    for sequence in [0, 2, 4, 6, 8, 10] {
        assert_eq!(produce(sequence), (0, i64::from(sequence)));
    }
    // Of six batches the last five are known.
    for sequence in [2, 4, 6, 8, 10] {
        assert_eq!(produce(sequence), (0, i64::from(sequence)));
    }
    assert_eq!(produce(0).0, OUT_OF_ORDER_SEQUENCE);
    assert_eq!(produce(13).0, OUT_OF_ORDER_SEQUENCE);
    assert_eq!(produce(12), (0, 12));
    assert_eq!(broker.appended(&topic, 0).len(), 14);
}

#[test]
fn deleted_records_are_out_of_range() {
    let broker = TestBroker::start();
    let topic = broker.topic(1, &[]);
    let producer = broker.producer();
    for value in ["a", "b", "c", "d"] {
        send(&producer, &topic, 0, value);
    }
    rdkafka::producer::Producer::flush(&producer, TIMEOUT).unwrap();
    let mut raw = broker.raw();
    assert_eq!(raw.delete_records(&topic, 0, 5).0, OFFSET_OUT_OF_RANGE);
    assert_eq!(raw.delete_records(&topic, 0, 2), (0, 2));
    assert_eq!(raw.delete_records(&topic, 0, 1), (0, 2));
    assert_eq!(
        raw.fetch(&topic, 0, 1, false).error_code,
        OFFSET_OUT_OF_RANGE
    );
    assert_eq!(
        raw.fetch(&topic, 0, 5, false).error_code,
        OFFSET_OUT_OF_RANGE
    );
    assert_eq!(raw.fetch(&topic, 0, 4, false).error_code, 0);
    assert_eq!(raw.list_offset(&topic, 0, -2, false), (0, 2, -1));
    assert_eq!(broker.appended(&topic, 0), ["c", "d"]);

    let consumer = broker.consumer("reader", "read_committed");
    let mut assignment = TopicPartitionList::new();
    assignment
        .add_partition_offset(&topic, 0, Offset::Offset(0))
        .unwrap();
    consumer.assign(&assignment).unwrap();
    let first = consumer.poll(TIMEOUT).expect("the error comes");
    assert_eq!(
        first.err(),
        Some(KafkaError::MessageConsumption(
            RDKafkaErrorCode::AutoOffsetReset
        ))
    );
}

#[test]
fn the_end_of_a_log_can_be_deleted_up_to() {
    let broker = TestBroker::start();
    let topic = broker.topic(1, &[]);
    let mut raw = broker.raw();
    assert_eq!(
        raw.produce(None, &topic, 0, batch(None, -1, false, &["a", "b"]))
            .error_code,
        0
    );
    assert_eq!(raw.delete_records(&topic, 0, -1), (0, 2));
    assert_eq!(raw.list_offset(&topic, 0, -2, false), (0, 2, -1));
    assert_eq!(raw.list_offset(&topic, 0, -1, false), (0, 2, -1));
    assert_eq!(
        raw.produce(None, &topic, 0, batch(None, -1, false, &["c"]))
            .base_offset,
        2
    );
}
