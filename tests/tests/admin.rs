//! Topics by librdkafka's admin calls, on the embedded broker and on the one that `TANIST_TEST_BROKER` names.

use rdkafka::admin::{
    AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::Offset;
use tanist_tests::broker::TestBroker;
use tanist_tests::clients::{TIMEOUT, send};
use tanist_tests::raw::poll_until;

fn admin(broker: &TestBroker) -> AdminClient<DefaultClientContext> {
    ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .create()
        .expect("the settings are right")
}

fn wait<R>(call: impl Future<Output = R>) -> R {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime can be had").block_on(call)
}

/// How many partitions a topic has, by its metadata; 0 if it does not exist.
fn partitions(broker: &TestBroker, topic: &str) -> usize {
    let metadata = broker
        .consumer("admin", "read_committed")
        .fetch_metadata(Some(topic), TIMEOUT)
        .expect("the broker answers");
    metadata.topics()[0].partitions().len()
}

#[test]
fn topics_are_created_described_grown_and_deleted() {
    let broker = TestBroker::start();
    let (admin, options) = (admin(&broker), AdminOptions::new());
    let name = broker.unique("topic");
    let topic =
        NewTopic::new(&name, 2, TopicReplication::Fixed(1)).set("cleanup.policy", "compact");
    let created = wait(admin.create_topics([&topic], &options)).unwrap();
    assert_eq!(created, [Ok(name.clone())]);
    poll_until("the new topic", || {
        (partitions(&broker, &name) == 2).then_some(())
    });
    let again = wait(admin.create_topics([&topic], &options)).unwrap();
    assert_eq!(
        again,
        [Err((name.clone(), RDKafkaErrorCode::TopicAlreadyExists))]
    );

    let resource = ResourceSpecifier::Topic(&name);
    let described = wait(admin.describe_configs([&resource], &options))
        .unwrap()
        .remove(0)
        .unwrap();
    let policy = described
        .get("cleanup.policy")
        .and_then(|entry| entry.value.as_deref());
    assert_eq!(policy, Some("compact"));

    let grown = wait(admin.create_partitions([&NewPartitions::new(&name, 5)], &options)).unwrap();
    assert_eq!(grown, [Ok(name.clone())]);
    poll_until("the new partitions", || {
        (partitions(&broker, &name) == 5).then_some(())
    });

    let deleted = wait(admin.delete_topics(&[&name], &options)).unwrap();
    assert_eq!(deleted, [Ok(name.clone())]);
    poll_until("the end of the topic", || {
        (partitions(&broker, &name) == 0).then_some(())
    });
}

#[test]
fn settings_that_do_not_exist_are_refused() {
    let broker = TestBroker::start();
    let name = broker.unique("topic");
    let topic = NewTopic::new(&name, 1, TopicReplication::Fixed(1)).set("no.such.setting", "1");
    let created = wait(admin(&broker).create_topics([&topic], &AdminOptions::new())).unwrap();
    assert_eq!(created, [Err((name, RDKafkaErrorCode::InvalidConfig))]);
}

#[test]
fn a_producer_creates_the_topic_that_it_writes_to() {
    let broker = TestBroker::start();
    let name = broker.unique("topic");
    let producer = broker.producer();
    send(&producer, &name, 0, "a");
    rdkafka::producer::Producer::flush(&producer, TIMEOUT).unwrap();
    assert_eq!(broker.appended(&name, 0), ["a"]);
}

#[test]
fn offsets_are_found_by_time() {
    let broker = TestBroker::start();
    let topic = broker.topic(1, &[]);
    let producer = broker.producer();
    for (timestamp, value) in [(1_000, "a"), (3_000, "b"), (2_000, "c")] {
        let record = rdkafka::producer::BaseRecord::to(&topic)
            .partition(0)
            .key(value)
            .payload(value);
        producer
            .send(record.timestamp(timestamp))
            .map_err(|(error, _)| error)
            .unwrap();
        rdkafka::producer::Producer::flush(&producer, TIMEOUT).unwrap();
    }
    let consumer = broker.consumer("times", "read_committed");
    let at = |timestamp| {
        let mut asked = rdkafka::TopicPartitionList::new();
        asked
            .add_partition_offset(&topic, 0, Offset::Offset(timestamp))
            .unwrap();
        let found = consumer.offsets_for_times(asked, TIMEOUT).unwrap();
        found.elements()[0].offset()
    };
    assert_eq!(at(500), Offset::Offset(0));
    assert_eq!(at(1_001), Offset::Offset(1));
    assert_eq!(at(3_000), Offset::Offset(1));
    assert_eq!(at(3_001), Offset::End);
    assert_eq!(
        consumer.fetch_watermarks(&topic, 0, TIMEOUT).unwrap(),
        (0, 3)
    );
}
