//! Offsets of a group that nobody joins, within transactions.

use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer;
use rdkafka::producer::Producer;
use rdkafka::topic_partition_list::Offset;
use tanist_tests::broker::TestBroker;
use tanist_tests::clients::{TIMEOUT, TestProducer, begin};
use tanist_tests::raw::poll_until;

const UNSTABLE_OFFSET_COMMIT: i16 = 88;

/// Sends an offset of the topic's partition 0 into the open transaction.
fn send_offset(
    broker: &TestBroker,
    producer: &TestProducer,
    group: &str,
    topic: &str,
    offset: i64,
) {
    let consumer = broker.consumer(group, "read_committed");
    let mut offsets = TopicPartitionList::new();
    offsets
        .add_partition_offset(topic, 0, Offset::Offset(offset))
        .expect("an offset can be named");
    let metadata = consumer
        .group_metadata()
        .expect("a consumer with a group has its metadata");
    producer
        .send_offsets_to_transaction(&offsets, &metadata, TIMEOUT)
        .expect("the offsets go into the transaction");
}

/// What the group has committed for partition 0, as librdkafka tells it.
fn committed(broker: &TestBroker, group: &str, topic: &str) -> Offset {
    let consumer = broker.consumer(group, "read_committed");
    let mut asked = TopicPartitionList::new();
    asked.add_partition(topic, 0);
    let found = consumer
        .committed_offsets(asked, TIMEOUT)
        .expect("the coordinator answers");
    found.elements()[0].offset()
}

#[test]
fn offsets_count_once_the_transaction_is_committed() {
    let broker = TestBroker::start();
    let topic = broker.topic(1, &[]);
    let group = broker.unique("group");
    let producer = broker.initialised(&broker.unique("id"));
    begin(&producer, &topic, &["a"]);
    send_offset(&broker, &producer, &group, &topic, 41);
    let mut raw = broker.raw();
    assert_eq!(raw.committed_offset(&group, &topic, false), (0, -1));
    assert_eq!(
        raw.committed_offset(&group, &topic, true).0,
        UNSTABLE_OFFSET_COMMIT
    );
    producer.commit_transaction(TIMEOUT).unwrap();
    assert_eq!(committed(&broker, &group, &topic), Offset::Offset(41));
}

#[test]
fn offsets_of_an_aborted_transaction_never_count() {
    let broker = TestBroker::start();
    let topic = broker.topic(1, &[]);
    let group = broker.unique("group");
    let producer = broker.initialised(&broker.unique("id"));
    begin(&producer, &topic, &["a"]);
    send_offset(&broker, &producer, &group, &topic, 41);
    producer.commit_transaction(TIMEOUT).unwrap();
    begin(&producer, &topic, &["b"]);
    send_offset(&broker, &producer, &group, &topic, 42);
    producer.abort_transaction(TIMEOUT).unwrap();
    assert_eq!(committed(&broker, &group, &topic), Offset::Offset(41));
}

#[test]
fn offsets_of_a_fenced_producer_never_count() {
    let broker = TestBroker::start();
    let topic = broker.topic(1, &[]);
    let group = broker.unique("group");
    let id = broker.unique("id");
    let producer = broker.initialised(&id);
    begin(&producer, &topic, &["a"]);
    send_offset(&broker, &producer, &group, &topic, 41);
    let mut raw = broker.raw();
    raw.fence(&id);
    let stable = poll_until("the abort of the offsets", || {
        let (code, offset) = raw.committed_offset(&group, &topic, true);
        (code != UNSTABLE_OFFSET_COMMIT).then_some((code, offset))
    });
    assert_eq!(stable, (0, -1));
}

#[test]
fn a_transaction_of_offsets_alone_commits() {
    let broker = TestBroker::start();
    let topic = broker.topic(1, &[]);
    let group = broker.unique("group");
    let producer = broker.initialised(&broker.unique("id"));
    producer.begin_transaction().unwrap();
    send_offset(&broker, &producer, &group, &topic, 5);
    producer.commit_transaction(TIMEOUT).unwrap();
    assert_eq!(committed(&broker, &group, &topic), Offset::Offset(5));
}

#[test]
fn a_plain_commit_that_was_written_later_is_not_undone_by_the_marker_of_an_earlier_one() {
    let broker = TestBroker::start();
    let topic = broker.topic(1, &[]);
    let group = broker.unique("group");
    let producer = broker.initialised(&broker.unique("id"));
    begin(&producer, &topic, &["a"]);
    send_offset(&broker, &producer, &group, &topic, 41);
    let consumer = broker.consumer(&group, "read_committed");
    let mut offsets = TopicPartitionList::new();
    offsets
        .add_partition_offset(&topic, 0, Offset::Offset(50))
        .unwrap();
    consumer
        .commit(&offsets, rdkafka::consumer::CommitMode::Sync)
        .unwrap();
    producer.commit_transaction(TIMEOUT).unwrap();
    assert_eq!(committed(&broker, &group, &topic), Offset::Offset(50));
}
