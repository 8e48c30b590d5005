//! Short words for what the tests do to the ports.

use std::sync::Arc;
use std::time::Duration;

use tanist::kafka::{Kafka, KafkaSettings};
use tanist_actors::port::{
    Broker, Commit, CommitRecord, Log, LogError, OffsetCommit, Source, Span, TopicId,
    TopicPartition,
};
use tanist_cluster::{MemberId, Offset, Partition, TransactionalId, WorkerIndex};
use tanist_tests::broker::TestBroker;
use tokio::sync::Notify;

/// Longer than anything takes.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// The group of all tests: each has its own topics.
pub(crate) const GROUP: &str = "kafka-port";

pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime can be built")
        .block_on(future)
}

/// A node's access to `broker`, with these properties of the client library.
pub(crate) fn kafka(broker: &TestBroker, properties: &[(&str, &str)]) -> Kafka {
    let mut settings = KafkaSettings::new(broker.bootstrap(), GROUP);
    for (name, value) in properties {
        settings
            .properties
            .insert((*name).to_owned(), (*value).to_owned());
    }
    Kafka::new(settings).expect("the settings are right")
}

/// The same, with no patience for commits.
pub(crate) fn impatient(broker: &TestBroker) -> Kafka {
    let mut settings = KafkaSettings::new(broker.bootstrap(), GROUP);
    settings.commit_timeout = Duration::from_secs(1);
    Kafka::new(settings).expect("the settings are right")
}

pub(crate) fn id(broker: &TestBroker) -> TransactionalId {
    TransactionalId::of(&broker.unique("id"), MemberId(1), WorkerIndex(0))
}

pub(crate) async fn log(kafka: &Kafka, id: &TransactionalId) -> Box<dyn Log> {
    let prepared = kafka.log(id).await;
    prepared.expect("a producer can be initialised").build()
}

pub(crate) fn partition(topic: &str, number: i32) -> TopicPartition {
    TopicPartition::new(topic, Partition(number))
}

/// A record of this value for each of these partitions, and `position` as the offset of the first.
pub(crate) fn commit(to: &[TopicPartition], value: &str, position: i64) -> Commit {
    let value_span = Span {
        start: 0,
        end: value.len() as u32,
    };
    let record = |index: usize| CommitRecord {
        topic: TopicId(index as u16),
        partition: to[index].partition,
        key: Some(value_span),
        value: Some(value_span),
        timestamp: None,
        headers: None,
    };
    Commit {
        topics: to.iter().map(|to| to.topic.clone()).collect(),
        records: (0..to.len()).map(record).collect(),
        bytes: value.as_bytes().to_vec(),
        group: GROUP.into(),
        offsets: vec![OffsetCommit {
            partition: to[0].clone(),
            offset: Offset(position),
            metadata: value.to_owned(),
        }],
        states: Vec::new(),
    }
}

/// A source and what wakes its reader.
pub(crate) struct Reader {
    pub(crate) source: Box<dyn Source>,
    ready: Arc<Notify>,
}

impl Reader {
    pub(crate) fn open(log: &dyn Log, partition: &TopicPartition, from: i64) -> Self {
        let ready = Arc::new(Notify::new());
        let source = log.open(partition, Offset(from), ready.clone());
        Self {
            source: source.expect("a partition can be opened"),
            ready,
        }
    }

    /// The next records, at least one, at most `max`: offset and value of each.
    pub(crate) async fn next(&mut self, max: usize) -> Result<Vec<(i64, String)>, LogError> {
        loop {
            if let Some(batch) = self.source.pull(max)?.batch {
                let row = |index| {
                    let record = batch.get(index);
                    assert_eq!(record.offset, batch.offset(index));
                    let value = String::from_utf8_lossy(record.value.unwrap_or_default());
                    (record.offset.0, value.into_owned())
                };
                return Ok((0..batch.len()).map(row).collect());
            }
            self.woken().await;
        }
    }

    pub(crate) async fn woken(&self) {
        let woken = tokio::time::timeout(LONG, self.ready.notified()).await;
        woken.expect("a reader is woken when there is more");
    }
}
