//! Who may still write.

use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::Producer;
use tanist_tests::broker::TestBroker;
use tanist_tests::clients::{TIMEOUT, begin, failure, transact};

#[test]
fn a_second_producer_fences_the_first() {
    let broker = TestBroker::start();
    let topic = broker.topic(1, &[]);
    let id = broker.unique("id");
    let first = broker.transactional(&id);
    first.init_transactions(TIMEOUT).unwrap();
    begin(&first, &topic, &["a"]);
    let second = broker.transactional(&id);
    second.init_transactions(TIMEOUT).unwrap();
    let failed = failure(first.commit_transaction(TIMEOUT));
    assert_eq!(failed, (RDKafkaErrorCode::Fenced, true));
    transact(&second, &topic, &["b"]);
    assert_eq!(broker.committed(&topic, 0), ["b"]);
}
