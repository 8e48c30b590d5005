//! Who may still write.

use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::Producer;
use tanist_tests::broker::TestBroker;
use tanist_tests::clients::{TIMEOUT, begin, failure, transact};
use tanist_tests::raw::{batch, poll_until};

const INVALID_PRODUCER_EPOCH: i16 = 47;

#[test]
fn a_second_producer_fences_the_first() {
    let broker = TestBroker::start();
    let topic = broker.topic(1, &[]);
    let id = broker.unique("id");
    let first = broker.initialised(&id);
    begin(&first, &topic, &["a"]);
    let second = broker.initialised(&id);
    let failed = failure(first.commit_transaction(TIMEOUT));
    assert_eq!(failed, (RDKafkaErrorCode::Fenced, true));
    transact(&second, &topic, &["b"]);
    broker.expect_committed(&topic, 0, &["b"]);
}

#[test]
fn an_idle_producer_is_fenced_too() {
    let broker = TestBroker::start();
    let topic = broker.topic(1, &[]);
    let id = broker.unique("id");
    let first = broker.initialised(&id);
    transact(&first, &topic, &["a"]);
    broker.raw().fence(&id);
    first.begin_transaction().unwrap();
    tanist_tests::clients::send(&first, &topic, 0, "b");
    let failed = failure(first.commit_transaction(TIMEOUT));
    assert_eq!(failed, (RDKafkaErrorCode::Fenced, true));
    broker.expect_committed(&topic, 0, &["a"]);
}

#[test]
fn a_raw_init_producer_id_fences_and_aborts() {
    let broker = TestBroker::start();
    let topic = broker.topic(1, &[]);
    let id = broker.unique("id");
    let producer = broker.initialised(&id);
    begin(&producer, &topic, &["a"]);
    broker.raw().fence(&id);
    broker.expect_committed(&topic, 0, &[]);
    let failed = failure(producer.commit_transaction(TIMEOUT));
    assert_eq!(failed, (RDKafkaErrorCode::Fenced, true));
    broker.expect_committed(&topic, 0, &[]);
}

#[test]
fn a_fenced_producer_cannot_abort_either() {
    let broker = TestBroker::start();
    let topic = broker.topic(1, &[]);
    let id = broker.unique("id");
    let producer = broker.initialised(&id);
    begin(&producer, &topic, &["a"]);
    broker.raw().fence(&id);
    let failed = failure(producer.abort_transaction(TIMEOUT));
    assert_eq!(failed, (RDKafkaErrorCode::Fenced, true));
}

#[test]
fn a_fenced_producer_cannot_write_into_the_transaction_of_its_successor() {
    let broker = TestBroker::start();
    let topic = broker.topic(1, &[]);
    let mut raw = broker.raw();
    let id = broker.unique("id");
    let old = raw.fence(&id);
    raw.join(&id, old, &topic, 0);
    assert_eq!(
        raw.produce(Some(&id), &topic, 0, batch(Some(old), 0, true, &["a"]))
            .error_code,
        0
    );
    let new = raw.fence(&id);
    assert_eq!(new.0, old.0);
    let late = |raw: &mut tanist_tests::raw::RawClient, sequence| {
        raw.produce(
            Some(&id),
            &topic,
            0,
            batch(Some(old), sequence, true, &["late"]),
        )
        .error_code
    };
    assert_eq!(late(&mut raw, 1), INVALID_PRODUCER_EPOCH);
    raw.join(&id, new, &topic, 0);
    assert_eq!(late(&mut raw, 1), INVALID_PRODUCER_EPOCH);
    assert_eq!(
        raw.produce(Some(&id), &topic, 0, batch(Some(new), 0, true, &["b"]))
            .error_code,
        0
    );
    assert_eq!(late(&mut raw, 1), INVALID_PRODUCER_EPOCH);
    assert_eq!(raw.end(1, &id, old, false), INVALID_PRODUCER_EPOCH);
    assert_eq!(raw.end(1, &id, new, true), 0);
    broker.expect_committed(&topic, 0, &["b"]);
}

#[test]
fn an_overdue_transaction_is_aborted_and_its_producer_fenced() {
    let broker = TestBroker::start();
    let topic = broker.topic(1, &[]);
    let id = broker.unique("id");
    let producer = broker.transactional_with(
        &id,
        &[
            ("transaction.timeout.ms", "1000"),
            ("socket.timeout.ms", "1000"),
        ],
    );
    producer.init_transactions(TIMEOUT).unwrap();
    begin(&producer, &topic, &["a"]);
    let mut raw = broker.raw();
    // Offset 0 is the record, 1 the marker.
    poll_until("the abort", || {
        (raw.list_offset(&topic, 0, -1, true).1 == 2).then_some(())
    });
    let failed = failure(producer.commit_transaction(TIMEOUT));
    assert_eq!(failed, (RDKafkaErrorCode::Fenced, true));
    broker.expect_committed(&topic, 0, &[]);
    // Its successor is not held up.
    let second = broker.initialised(&id);
    transact(&second, &topic, &["b"]);
    broker.expect_committed(&topic, 0, &["b"]);
}
