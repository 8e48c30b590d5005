//! [`TestTopic`], [`TestTable`]: how a test writes to topics and reads what came of it, past the app.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tanist_actors::partitioner::partition_of;
use tanist_actors::port::{MemoryStore, Store};
use tanist_actors::table::{Changelog, Replay, StoreState, table_prefix};
use tanist_actors::topic::TopicCodec;
use tanist_broker::{LogRecord, NewRecord, TopicPartition};
use tanist_cluster::{Millis, Offset, ShardId};

use super::drive::Driver;
use super::{json, typed};

/// A topic in the hands of a test.
pub struct TestTopic<'test> {
    driver: &'test mut Driver,
    name: &'test str,
    codec: Option<Arc<dyn TopicCodec>>,
}

impl<'test> TestTopic<'test> {
    pub(super) fn new(
        driver: &'test mut Driver,
        name: &'test str,
        codec: Option<Arc<dyn TopicCodec>>,
    ) -> Self {
        Self {
            driver,
            name,
            codec,
        }
    }

    /// Sends a record, with the virtual time as its timestamp, by the topic's codecs, to the partition of its key.
    ///
    /// # Panics
    /// If the app has no such topic, or key or value are of another type than the topic's.
    pub fn send(&mut self, key: impl Serialize, value: impl Serialize) {
        let now = self.driver.now();
        self.send_at(now, key, value);
    }

    /// The same with another timestamp.
    pub fn send_at(&mut self, timestamp: Millis, key: impl Serialize, value: impl Serialize) {
        let encoded = self.codec().encode(&json(key), &json(value));
        let (key, value) = encoded.unwrap_or_else(|error| panic!("topic {}: {error}", self.name));
        self.send_bytes(timestamp, key, value);
    }

    /// Sends a record of any bytes.
    pub fn send_bytes(&mut self, timestamp: Millis, key: Option<Vec<u8>>, value: Option<Vec<u8>>) {
        let partitions = self.partitions();
        let partition = partition_of(key.as_deref().unwrap_or_default(), partitions);
        let record = NewRecord {
            key: key.map(Into::into),
            value: value.map(Into::into),
            headers: Vec::new(),
            timestamp: tanist_broker::Millis(timestamp.0),
        };
        let partition = TopicPartition::new(self.name, partition.0);
        let (broker, now) = (self.driver.broker(), self.driver.broker_now());
        if let Err(refused) = broker.append(&partition, &[record], None, now) {
            panic!("{partition:?} did not take the record: {refused}");
        }
    }

    /// All keys and values that a read_committed reader sees: partition after partition, each in its order.
    pub fn records<K: DeserializeOwned, V: DeserializeOwned>(&mut self) -> Vec<(K, V)> {
        let (codec, name) = (self.codec(), self.name);
        let decode = |record: LogRecord| {
            let decoded = codec.decode(record.key.as_deref(), record.value.as_deref());
            let (key, value) = decoded.unwrap_or_else(|error| panic!("topic {name}: {error}"));
            (typed(key), typed(value))
        };
        self.raw().into_iter().map(decode).collect()
    }

    /// The same, as they are in the log.
    pub fn raw(&mut self) -> Vec<LogRecord> {
        let partitions = 0..self.partitions();
        let records = |partition| {
            self.driver
                .records(&TopicPartition::new(self.name, partition), 0)
        };
        partitions.flat_map(records).collect()
    }

    fn codec(&self) -> Arc<dyn TopicCodec> {
        let none = || panic!("the app has declared no topic {:?}", self.name);
        self.codec.clone().unwrap_or_else(none)
    }

    /// How many partitions it has; waits for the app to create it.
    fn partitions(&mut self) -> i32 {
        for _ in 0..1000 {
            if let Ok(topic) = self
                .driver
                .broker()
                .describe_topic(self.name, self.driver.broker_now())
            {
                return topic.partitions.len() as i32;
            }
            self.driver.advance(std::time::Duration::from_millis(5));
        }
        let ended = self
            .driver
            .ended()
            .map(|ended| format!("; the node ended: {ended:?}"));
        panic!(
            "there is no topic {:?}{}",
            self.name,
            ended.unwrap_or_default()
        );
    }
}

/// A table in the hands of a test: what its changelog says is committed, whatever nodes there are.
pub struct TestTable<'test> {
    driver: &'test mut Driver,
    name: &'test str,
}

impl<'test> TestTable<'test> {
    pub(super) fn new(driver: &'test mut Driver, name: &'test str) -> Self {
        Self { driver, name }
    }

    /// The value of `key`: a string as it is, everything else as JSON.
    pub fn get<V: DeserializeOwned>(&mut self, key: &str) -> Option<V> {
        let (store, reader) = self.load();
        let value = reader.key(key).and_then(|key| reader.get(&store, &key));
        value.unwrap_or_else(|error| panic!("{error}")).map(typed)
    }

    /// All entries, in the order of their keys.
    pub fn entries<K: DeserializeOwned, V: DeserializeOwned>(&mut self) -> Vec<(K, V)> {
        use std::ops::Bound::Unbounded;
        let (store, reader) = self.load();
        let entries = reader.scan(&store, Unbounded, Unbounded, usize::MAX);
        let entries: Vec<(Value, Value)> = entries.unwrap_or_else(|error| panic!("{error}"));
        entries
            .into_iter()
            .map(|(key, value)| (typed(key), typed(value)))
            .collect()
    }

    /// The table as the replay of its changelog, all partitions in one store.
    fn load(&mut self) -> (MemoryStore, Arc<dyn tanist_actors::table::TableReader>) {
        let app = self.driver.app();
        let existing = Default::default();
        let topology = app
            .topology(&existing)
            .unwrap_or_else(|faults| panic!("{faults}"));
        let tables = topology.groups.iter().flat_map(|group| &group.tables);
        let Some(table) = tables
            .into_iter()
            .find(|table| &*table.spec.name == self.name)
        else {
            panic!("no agent of the app uses a table {:?}", self.name);
        };
        let topic = topology.topics.names[usize::from(table.changelog.0)].clone();
        let store = MemoryStore::default();
        let changelog = Changelog {
            topic: topic.clone(),
            prefix: table_prefix(self.name),
        };
        let state = StoreState::new(app.id(), &ShardId::new("test", 0));
        let mut replay = Replay::new([changelog].into(), state);
        for partition in 0..i32::MAX {
            let partition = TopicPartition::new(&*topic, partition);
            if self
                .driver
                .broker()
                .bounds(&partition, self.driver.broker_now())
                .is_err()
            {
                break;
            }
            for record in self.driver.records(&partition, 0) {
                let key = record.key.as_deref().unwrap_or_default();
                let taken = replay.record(0, key, record.value.as_deref());
                taken.unwrap_or_else(|error| panic!("{error}"));
                replay.reached(0, Offset(record.offset));
            }
        }
        store
            .apply(&replay.take())
            .unwrap_or_else(|error| panic!("{error}"));
        (store, table.spec.reader.clone())
    }
}
