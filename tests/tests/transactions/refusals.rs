//! Records that the broker refuses, and what becomes of their transaction.

use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseRecord, Producer};
use tanist_tests::broker::TestBroker;
use tanist_tests::clients::{TIMEOUT, begin, failure, transact};
use tanist_tests::raw::batch;

const MESSAGE_TOO_LARGE: i16 = 10;
const POLICY_VIOLATION: i16 = 44;

#[test]
fn a_compacted_topic_refuses_a_record_without_key_and_the_transaction_can_only_be_aborted() {
    let broker = TestBroker::start();
    let topic = broker.topic(1, &[("cleanup.policy", "compact")]);
    let id = broker.unique("id");
    let producer = broker.initialised(&id);
    transact(&producer, &topic, &["a"]);
    producer.begin_transaction().unwrap();
    let keyless = BaseRecord::<(), str>::to(&topic).partition(0).payload("b");
    producer.send(keyless).map_err(|(error, _)| error).unwrap();
    let (code, is_fatal) = failure(producer.commit_transaction(TIMEOUT));
    assert_eq!((code, is_fatal), (RDKafkaErrorCode::InvalidRecord, false));
    producer.abort_transaction(TIMEOUT).unwrap();
    // Its sequences have a hole now: it cannot commit any more, and a new producer has to go on.
    producer.begin_transaction().unwrap();
    tanist_tests::clients::send(&producer, &topic, 0, "b");
    assert!(producer.commit_transaction(Duration::from_secs(5)).is_err());
    let second = broker.initialised(&id);
    transact(&second, &topic, &["c"]);
    broker.expect_committed(&topic, 0, &["a", "c"]);
}

#[test]
fn a_batch_beyond_the_limit_of_its_topic_is_too_large() {
    let broker = TestBroker::start();
    let topic = broker.topic(1, &[("max.message.bytes", "1000")]);
    let large = "x".repeat(2_000);
    let mut raw = broker.raw();
    let refused = raw.produce(None, &topic, 0, batch(None, -1, false, &[&large]));
    assert_eq!(refused.error_code, MESSAGE_TOO_LARGE);

    let producer = broker.initialised(&broker.unique("id"));
    producer.begin_transaction().unwrap();
    let record = BaseRecord::<(), str>::to(&topic)
        .partition(0)
        .payload(&large);
    producer.send(record).map_err(|(error, _)| error).unwrap();
    let (code, is_fatal) = failure(producer.commit_transaction(TIMEOUT));
    assert_eq!(
        (code, is_fatal),
        (RDKafkaErrorCode::MessageSizeTooLarge, false)
    );
    producer.abort_transaction(TIMEOUT).unwrap();
    broker.expect_committed(&topic, 0, &[]);
}

#[test]
fn a_topic_that_is_only_compacted_deletes_no_records() {
    let broker = TestBroker::start();
    let topic = broker.topic(1, &[("cleanup.policy", "compact")]);
    let producer = broker.initialised(&broker.unique("id"));
    begin(&producer, &topic, &["a"]);
    producer.abort_transaction(TIMEOUT).unwrap();
    assert_eq!(
        broker.raw().delete_records(&topic, 0, 1).0,
        POLICY_VIOLATION
    );
}
