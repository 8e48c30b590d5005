//! [`World`]: what a case finds: topics of its own, and short words for what it does to the ports.

use std::cell::Cell;
use std::sync::Arc;

use tanist_actors::port::{
    Broker, Commit, CommitRecord, CommittedOffset, Log, OffsetCommit, Span, StateCommit, TopicId,
    TopicPartition, TopicSpec,
};
use tanist_actors::record::Headers;
use tanist_cluster::{MemberId, Millis, Offset, Partition, TransactionalId, WorkerIndex};

use super::Ports;
use crate::source::{Reader, Row};

/// What a case finds.
pub struct World<'a> {
    ports: &'a Ports<'a>,
    /// What the names of this case begin with.
    name: String,
    topics: Cell<u32>,
}

impl<'a> World<'a> {
    pub(super) fn new(ports: &'a Ports<'a>, rule: &str) -> Self {
        let short = rule.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
        let name = format!("{}-{}", ports.prefix, &short[..short.len().min(60)]);
        Self {
            ports,
            name,
            topics: Cell::new(0),
        }
    }

    /// The port.
    pub(super) fn broker(&self) -> &'a dyn Broker {
        self.ports.broker
    }

    pub(super) async fn delete_records(&self, partition: &TopicPartition, below: Offset) {
        (self.ports.delete_records)(partition.clone(), below).await;
    }

    /// A name that no other topic has.
    pub(super) fn topic_name(&self) -> Arc<str> {
        self.topics.set(self.topics.get() + 1);
        format!("{}-{}", self.name, self.topics.get()).into()
    }

    /// A new topic with these settings, and its partitions.
    pub(super) async fn topic_with<const N: usize>(
        &self,
        config: &[(&str, &str)],
    ) -> [TopicPartition; N] {
        let name = self.topic_name();
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let spec = TopicSpec {
            name: name.clone(),
            partitions: N as i32,
            replicas: None,
            config: config.iter().map(owned).collect(),
        };
        let created = self.broker().create_topics(&[spec]).await;
        created.expect("a topic can be created");
        std::array::from_fn(|partition| {
            TopicPartition::new(name.clone(), Partition(partition as i32))
        })
    }

    /// A new topic of `N` partitions.
    pub(super) async fn topic<const N: usize>(&self) -> [TopicPartition; N] {
        self.topic_with(&[]).await
    }

    /// The consumer group of this case.
    pub(super) fn group(&self) -> Arc<str> {
        self.name.as_str().into()
    }

    /// A transactional id of this case.
    pub(super) fn id(&self, worker: u32) -> TransactionalId {
        TransactionalId::of(&self.name, MemberId(1), WorkerIndex(worker))
    }

    /// A new log under that id.
    pub(super) async fn log(&self, id: &TransactionalId) -> Box<dyn Log> {
        let builder = self.broker().log(id).await;
        builder.expect("a producer can be initialised").build()
    }

    /// Reads with what belongs to the node.
    pub(super) fn read(&self, partition: &TopicPartition, from: i64) -> Reader {
        Reader::open(self.broker(), partition, Offset(from))
    }

    /// All that has become visible. Kafka answers a commit before its records can be read; so this adds a record of its own
    /// and reads up to it: it comes only after all that was begun before it is decided.
    pub(super) async fn all(&self, partition: &TopicPartition) -> Vec<Row> {
        let last = self.append(partition, "the end").await;
        let mut rows = self.read(partition, 0).until(last.next()).await;
        assert_eq!(rows.pop().map(|row| row.offset), Some(last));
        rows
    }

    /// Appends a text outside of any transaction.
    pub(super) async fn append(&self, partition: &TopicPartition, text: &str) -> Offset {
        let value = Some(text.as_bytes());
        let appended = self.broker().append(partition, b"key", value).await;
        appended.expect("a record can be appended")
    }

    /// From the first offset to the last stable one.
    pub(super) async fn bounds(&self, partition: &TopicPartition) -> std::ops::Range<Offset> {
        let of = std::slice::from_ref(partition);
        let mut bounds = self.broker().offsets(of).await.expect("it has offsets");
        bounds.remove(partition).expect("what was asked for")
    }

    /// Behind the last record, whatever becomes of that.
    pub(super) async fn high_watermark(&self, partition: &TopicPartition) -> Offset {
        let of = std::slice::from_ref(partition);
        let ends = self.broker().high_watermarks(of).await;
        ends.expect("it has an end")[partition]
    }

    /// What the group of this case has committed for a partition.
    pub(super) async fn committed(&self, partition: &TopicPartition) -> Option<CommittedOffset> {
        let of = std::slice::from_ref(partition);
        let committed = self.broker().committed(&self.group(), of).await;
        let mut committed = committed.expect("a group's offsets can be read");
        committed.remove(partition)
    }

    /// An empty commit.
    pub(super) fn commit(&self) -> Draft {
        Draft {
            topics: Vec::new(),
            commit: Commit {
                topics: Arc::from([]),
                records: Vec::new(),
                bytes: Vec::new(),
                group: self.group(),
                offsets: Vec::new(),
                states: Vec::new(),
            },
        }
    }
}

/// A commit in the making.
pub(super) struct Draft {
    topics: Vec<Arc<str>>,
    commit: Commit,
}

impl Draft {
    /// A record with a text as value.
    pub(super) fn text(self, to: &TopicPartition, text: &str) -> Self {
        self.record(to, Some(b"key"), Some(text.as_bytes()))
    }

    pub(super) fn record(
        mut self,
        to: &TopicPartition,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Self {
        let topic = self.topic(&to.topic);
        let key = key.map(|key| self.put(key));
        let value = value.map(|value| self.put(value));
        self.commit.records.push(CommitRecord {
            topic,
            partition: to.partition,
            key,
            value,
            timestamp: None,
            headers: None,
        });
        self
    }

    /// What the last record has beside key and value.
    pub(super) fn with(mut self, timestamp: Millis, headers: Headers) -> Self {
        let last = self.commit.records.last_mut().expect("there is a record");
        last.timestamp = Some(timestamp);
        last.headers = Some(Box::new(headers));
        self
    }

    pub(super) fn offset(mut self, of: &TopicPartition, offset: i64, metadata: &str) -> Self {
        self.commit.offsets.push(OffsetCommit {
            partition: of.clone(),
            offset: Offset(offset),
            metadata: metadata.to_owned(),
        });
        self
    }

    pub(super) fn state(mut self, state: StateCommit) -> Self {
        self.commit.states.push(state);
        self
    }

    pub(super) fn seal(mut self) -> Commit {
        self.commit.topics = self.topics.into();
        self.commit
    }

    fn topic(&mut self, name: &Arc<str>) -> TopicId {
        let known = self.topics.iter().position(|topic| topic == name);
        let index = known.unwrap_or_else(|| {
            self.topics.push(name.clone());
            self.topics.len() - 1
        });
        TopicId(index as u16)
    }

    fn put(&mut self, bytes: &[u8]) -> Span {
        let start = self.commit.bytes.len() as u32;
        self.commit.bytes.extend_from_slice(bytes);
        let end = self.commit.bytes.len() as u32;
        Span { start, end }
    }
}
