//! Producers and consumers of librdkafka, as the tests want them.

use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::broker::TestBroker;

/// Longer than any call takes.
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// A producer whose reports are served on a thread.
pub type TestProducer = ThreadedProducer<rdkafka::producer::DefaultProducerContext>;

impl TestBroker {
    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.bootstrap())
            .set("linger.ms", "0");
        config
    }

    /// A producer without transactions.
    pub fn producer(&self) -> TestProducer {
        self.client().create().expect("the settings are right")
    }

    /// A transactional producer that has not begun yet.
    pub fn transactional(&self, transactional_id: &str) -> TestProducer {
        self.transactional_with(transactional_id, &[])
    }

    /// One that can begin.
    pub fn initialised(&self, transactional_id: &str) -> TestProducer {
        let producer = self.transactional(transactional_id);
        producer
            .init_transactions(TIMEOUT)
            .expect("nobody else uses the id");
        producer
    }

    /// One that has not begun yet, with more settings.
    pub fn transactional_with(
        &self,
        transactional_id: &str,
        settings: &[(&str, &str)],
    ) -> TestProducer {
        let mut config = self.client();
        config
            .set("transactional.id", transactional_id)
            .set("client.id", transactional_id);
        config.set("transaction.timeout.ms", "60000");
        for (key, value) in settings {
            config.set(*key, *value);
        }
        config.create().expect("the settings are right")
    }

    /// A consumer of a group that it never joins.
    pub fn consumer(&self, group: &str, isolation: &str) -> BaseConsumer {
        self.client()
            .set("group.id", group)
            .set("isolation.level", isolation)
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "true")
            .set("fetch.wait.max.ms", "10")
            .create()
            .expect("the settings are right")
    }

    /// The values that read_committed sees, from the start to the end.
    pub fn committed(&self, topic: &str, partition: i32) -> Vec<String> {
        self.read(topic, partition, "read_committed")
    }

    /// Waits until read_committed sees exactly these values; on Apache Kafka a marker comes a little after the commit's
    /// answer.
    pub fn expect_committed(&self, topic: &str, partition: i32, values: &[&str]) {
        self.raw().await_stable(topic, partition);
        assert_eq!(self.committed(topic, partition), values);
    }

    /// The values that read_uncommitted sees, from the start to the end.
    pub fn appended(&self, topic: &str, partition: i32) -> Vec<String> {
        self.read(topic, partition, "read_uncommitted")
    }

    fn read(&self, topic: &str, partition: i32, isolation: &str) -> Vec<String> {
        let consumer = self.consumer("reader", isolation);
        let mut assignment = TopicPartitionList::new();
        assignment
            .add_partition_offset(topic, partition, Offset::Beginning)
            .expect("the beginning is an offset");
        consumer
            .assign(&assignment)
            .expect("any partition can be assigned");
        let mut values = Vec::new();
        loop {
            match consumer
                .poll(TIMEOUT)
                .expect("the end of the partition comes")
            {
                Ok(message) => values.push(text(message.payload())),
                Err(KafkaError::PartitionEOF(_)) => return values,
                Err(error) => panic!("reading {topic}: {error}"),
            }
        }
    }
}

fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}

/// Hands a record over, its value as its key too.
pub fn send(producer: &TestProducer, topic: &str, partition: i32, value: &str) {
    let record = BaseRecord::to(topic)
        .partition(partition)
        .key(value)
        .payload(value);
    producer
        .send(record)
        .map_err(|(error, _)| error)
        .expect("the queue of a producer has room");
}

/// Begins a transaction, writes records to partition 0 and waits until the broker has them.
pub fn begin(producer: &TestProducer, topic: &str, values: &[&str]) {
    producer
        .begin_transaction()
        .expect("a transaction can begin");
    for value in values {
        send(producer, topic, 0, value);
    }
    producer
        .flush(TIMEOUT)
        .expect("the broker takes the records");
}

/// The same, and commits.
pub fn transact(producer: &TestProducer, topic: &str, values: &[&str]) {
    begin(producer, topic, values);
    producer
        .commit_transaction(TIMEOUT)
        .expect("the transaction commits");
}

/// What librdkafka says of a call on transactions that failed: its code, and whether the producer is done for.
pub fn failure(result: KafkaResult<()>) -> (RDKafkaErrorCode, bool) {
    match result {
        Err(KafkaError::Transaction(error)) => (error.code(), error.is_fatal()),
        other => panic!("expected a failed transaction call, found {other:?}"),
    }
}
