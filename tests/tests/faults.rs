//! What the embedded broker does to librdkafka when a test orders it to.

use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::Producer;
use tanist_broker::{ApiKey, BrokerError, Fault, FaultRule, RuleId};
use tanist_tests::broker::TestBroker;
use tanist_tests::clients::{TIMEOUT, TestProducer, begin, failure, send, transact};
use tanist_tests::raw::batch;

/// What may happen to a request that is sent again.
const FAULTS: [Fault; 5] = [
    Fault::CutBefore,
    Fault::CutAfter,
    Fault::LoseAnswer,
    Fault::LoseRequest,
    Fault::Twice,
];

/// A transactional producer that gives up waiting for an answer soon, and its id.
fn impatient(broker: &TestBroker) -> (TestProducer, String) {
    let id = broker.unique("id");
    let settings = [
        ("socket.timeout.ms", "300"),
        ("transaction.timeout.ms", "60000"),
        ("retry.backoff.ms", "5"),
        ("reconnect.backoff.ms", "5"),
    ];
    let producer = broker.transactional_with(&id, &settings);
    producer
        .init_transactions(TIMEOUT)
        .expect("nothing is wrong yet");
    (producer, id)
}

/// Orders one fault for the next request of this API by this client.
fn order(broker: &TestBroker, fault: Fault, api: ApiKey, client: &str) -> RuleId {
    broker
        .inner()
        .faults()
        .add(FaultRule::new(fault).api(api).client(client))
}

fn hits(broker: &TestBroker, rule: RuleId) -> u64 {
    broker.inner().faults().hits(rule)
}

#[test]
fn a_record_whose_answer_was_cut_off_is_written_once() {
    for fault in FAULTS {
        let broker = TestBroker::embedded();
        let topic = broker.topic(1, &[]);
        let (producer, id) = impatient(&broker);
        let rule = order(&broker, fault, ApiKey::Produce, &id);
        transact(&producer, &topic, &["a"]);
        transact(&producer, &topic, &["b"]);
        assert_eq!(hits(&broker, rule), 1, "{fault:?}");
        assert_eq!(broker.appended(&topic, 0), ["a", "b"], "{fault:?}");
        assert_eq!(broker.committed(&topic, 0), ["a", "b"], "{fault:?}");
    }
}

#[test]
fn a_commit_whose_answer_was_lost_can_be_repeated() {
    for fault in FAULTS {
        let broker = TestBroker::embedded();
        let topic = broker.topic(1, &[]);
        let (producer, id) = impatient(&broker);
        let rule = order(&broker, fault, ApiKey::EndTxn, &id);
        transact(&producer, &topic, &["a"]);
        assert_eq!(hits(&broker, rule), 1, "{fault:?}");
        assert_eq!(broker.committed(&topic, 0), ["a"], "{fault:?}");
    }
}

#[test]
fn an_error_is_answered_as_often_as_ordered() {
    let broker = TestBroker::embedded();
    let topic = broker.topic(1, &[]);
    let (producer, id) = impatient(&broker);
    let error = Fault::Refuse(BrokerError::ConcurrentTransactions);
    let rule = FaultRule::new(error)
        .api(ApiKey::AddPartitionsToTxn)
        .client(&id)
        .times(3);
    let rule = broker.inner().faults().add(rule);
    transact(&producer, &topic, &["a"]);
    assert_eq!(hits(&broker, rule), 3);
    assert_eq!(broker.committed(&topic, 0), ["a"]);
}

#[test]
fn a_fenced_answer_ends_the_producer() {
    let broker = TestBroker::embedded();
    let topic = broker.topic(1, &[]);
    let (producer, id) = impatient(&broker);
    let error = Fault::Refuse(BrokerError::InvalidProducerEpoch);
    order(&broker, error, ApiKey::EndTxn, &id);
    begin(&producer, &topic, &["a"]);
    let failed = failure(producer.commit_transaction(TIMEOUT));
    assert_eq!(failed, (RDKafkaErrorCode::Fenced, true));
}

#[test]
fn markers_that_are_held_back_hold_back_readers_and_the_next_transaction() {
    let broker = TestBroker::embedded();
    let topic = broker.topic(1, &[]);
    let (producer, id) = impatient(&broker);
    let rule = order(
        &broker,
        Fault::DelayMarkers(Duration::from_millis(700)),
        ApiKey::EndTxn,
        &id,
    );
    transact(&producer, &topic, &["a"]);
    assert_eq!(hits(&broker, rule), 1);
    assert_eq!(broker.committed(&topic, 0), [""; 0]);
    transact(&producer, &topic, &["b"]);
    broker.expect_committed(&topic, 0, &["a", "b"]);
}

#[test]
fn other_clients_and_apis_are_spared() {
    let broker = TestBroker::embedded();
    let topic = broker.topic(1, &[]);
    let (producer, id) = impatient(&broker);
    let rules = [
        order(&broker, Fault::CutBefore, ApiKey::Produce, "somebody else"),
        order(&broker, Fault::CutBefore, ApiKey::Fetch, &id),
    ];
    transact(&producer, &topic, &["a"]);
    assert_eq!(rules.map(|rule| hits(&broker, rule)), [0, 0]);
}

#[test]
fn cut_connections_are_opened_again() {
    let broker = TestBroker::embedded();
    let topic = broker.topic(1, &[]);
    let (producer, id) = impatient(&broker);
    transact(&producer, &topic, &["a"]);
    assert_eq!(broker.inner().cut_connections(Some("somebody else")), 0);
    assert!(broker.inner().cut_connections(Some(&id)) > 0);
    transact(&producer, &topic, &["b"]);
    assert_eq!(broker.committed(&topic, 0), ["a", "b"]);
}

#[test]
fn a_paused_broker_does_nothing_until_it_goes_on() {
    let broker = TestBroker::embedded();
    let topic = broker.topic(1, &[]);
    let producer = broker.initialised(&broker.unique("id"));
    begin(&producer, &topic, &["a"]);
    broker.inner().pause();
    let unanswered = producer.commit_transaction(Duration::from_millis(300));
    let Err(KafkaError::Transaction(error)) = unanswered else {
        panic!("expected a time-out, found {unanswered:?}");
    };
    assert!(error.is_retriable());
    broker.inner().resume();
    producer.commit_transaction(TIMEOUT).unwrap();
    assert_eq!(broker.committed(&topic, 0), ["a"]);
}

#[test]
fn a_broker_that_comes_back_has_what_it_held() {
    let broker = TestBroker::embedded();
    let topic = broker.topic(1, &[]);
    let (producer, _) = impatient(&broker);
    transact(&producer, &topic, &["a"]);
    begin(&producer, &topic, &["b"]);
    broker.inner().stop();
    assert!(std::net::TcpStream::connect(broker.bootstrap()).is_err());
    send(&producer, &topic, 0, "c");
    broker.inner().restart().unwrap();
    producer.commit_transaction(TIMEOUT).unwrap();
    assert_eq!(broker.committed(&topic, 0), ["a", "b", "c"]);
}

#[test]
fn a_long_poll_ends_when_a_record_comes_from_another_face() {
    use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
    use kafka_protocol::messages::{FetchRequest, TopicName};
    let broker = TestBroker::embedded();
    let topic = broker.topic(1, &[]);
    let asked = FetchPartition::default().with_partition_max_bytes(1_000);
    let asked = FetchTopic::default()
        .with_topic(TopicName(topic.clone().into()))
        .with_partitions(vec![asked]);
    let request = FetchRequest::default()
        .with_replica_id((-1).into())
        .with_max_wait_ms(15_000)
        .with_min_bytes(1)
        .with_max_bytes(1_000)
        .with_topics(vec![asked]);
    let mut waiting = broker.raw();
    waiting.send(11, &request);
    assert_eq!(
        broker
            .raw()
            .produce(None, &topic, 0, batch(None, -1, false, &["a"]))
            .error_code,
        0
    );
    let answer = waiting.receive::<FetchRequest>(11);
    let records = answer.responses[0].partitions[0].records.as_ref();
    assert!(records.is_some_and(|records| !records.is_empty()));
}
