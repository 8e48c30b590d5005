//! What a reader sees of a transaction.

use rdkafka::producer::Producer;
use tanist_tests::broker::TestBroker;
use tanist_tests::clients::{TIMEOUT, begin, send, transact};

#[test]
fn a_commit_makes_records_of_all_partitions_visible_at_once() {
    let broker = TestBroker::start();
    let topic = broker.topic(2, &[]);
    let producer = broker.transactional(&broker.unique("id"));
    producer.init_transactions(TIMEOUT).unwrap();
    begin(&producer, &topic, &["a", "b"]);
    send(&producer, &topic, 1, "c");
    producer.flush(TIMEOUT).unwrap();
    assert_eq!(broker.committed(&topic, 0), [""; 0]);
    assert_eq!(broker.committed(&topic, 1), [""; 0]);
    assert_eq!(broker.appended(&topic, 0), ["a", "b"]);
    producer.commit_transaction(TIMEOUT).unwrap();
    assert_eq!(broker.committed(&topic, 0), ["a", "b"]);
    assert_eq!(broker.committed(&topic, 1), ["c"]);
}

#[test]
fn aborted_records_are_never_visible() {
    let broker = TestBroker::start();
    let topic = broker.topic(1, &[]);
    let producer = broker.transactional(&broker.unique("id"));
    producer.init_transactions(TIMEOUT).unwrap();
    transact(&producer, &topic, &["a"]);
    begin(&producer, &topic, &["b"]);
    producer.abort_transaction(TIMEOUT).unwrap();
    transact(&producer, &topic, &["c"]);
    assert_eq!(broker.committed(&topic, 0), ["a", "c"]);
    assert_eq!(broker.appended(&topic, 0), ["a", "b", "c"]);
}
