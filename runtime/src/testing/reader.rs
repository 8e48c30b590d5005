//! [`TestTopic`], [`TestTable`]: how a test writes to topics and reads what came of it, past the app.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tanist_actors::group::{GroupSpec, GroupTable};
use tanist_actors::partitioner::partition_of;
use tanist_actors::port::{Changes, KeyRange, MemoryStore, Order, Store};
use tanist_actors::table::{Changelog, INPUTS_KEY, Replay, StoreState, TableReader, table_prefix};
use tanist_actors::topic::TopicCodec;
use tanist_broker::{LogRecord, NewRecord, TopicPartition};
use tanist_cluster::{Millis, NodeName, Offset, ShardId};

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
        let nodes = self.driver.nodes().iter();
        let ended = nodes.filter_map(|it| Some(format!("; {} ended: {:?}", it.name, it.ended()?)));
        panic!(
            "there is no topic {:?}{}",
            self.name,
            ended.collect::<String>()
        );
    }
}

/// A table in the hands of a test: what its changelog says is committed, whatever nodes there are; or what a node has of it.
pub struct TestTable<'test> {
    driver: &'test Driver,
    name: &'test str,
    on: Option<NodeName>,
}

impl<'test> TestTable<'test> {
    pub(super) fn new(driver: &'test Driver, name: &'test str) -> Self {
        Self {
            driver,
            name,
            on: None,
        }
    }

    /// What this node has of the table: its shards that it processes, and its copies of others, each of which may be behind.
    #[must_use]
    pub fn on(mut self, node: impl Into<NodeName>) -> Self {
        self.on = Some(node.into());
        self
    }

    /// The value of `key`: a string as it is, everything else as JSON.
    pub fn get<V: DeserializeOwned>(&self, key: &str) -> Option<V> {
        let (store, reader) = self.load();
        let value = reader.key(key).and_then(|key| reader.get(&store, &key));
        value.unwrap_or_else(|error| panic!("{error}")).map(typed)
    }

    /// All entries, in the order of their keys.
    pub fn entries<K: DeserializeOwned, V: DeserializeOwned>(&self) -> Vec<(K, V)> {
        use std::ops::Bound::Unbounded;
        let (store, reader) = self.load();
        let entries = reader.scan(&store, Unbounded, Unbounded, usize::MAX);
        let entries: Vec<(Value, Value)> = entries.unwrap_or_else(|error| panic!("{error}"));
        entries
            .into_iter()
            .map(|(key, value)| (typed(key), typed(value)))
            .collect()
    }

    /// The table, all partitions in one store.
    fn load(&self) -> (MemoryStore, Arc<dyn TableReader>) {
        let tables = Tables::of(self.driver);
        let (group, table) = tables.find(self.name);
        let (store, changes) = (
            MemoryStore::default(),
            match &self.on {
                None => self.committed(&tables.topics[usize::from(table.changelog.0)], group),
                Some(node) => self.copies(node, group),
            },
        );
        let written = store.apply(&changes);
        written.unwrap_or_else(|error| panic!("{error}"));
        (store, table.spec.reader.clone())
    }

    /// The replay of its changelog.
    fn committed(&self, topic: &Arc<str>, group: &GroupSpec) -> Changes {
        let changelog = Changelog {
            topic: topic.clone(),
            prefix: table_prefix(self.name),
            shape: None,
        };
        let state = StoreState::new(self.driver.app().id(), &ShardId::new("test", 0));
        let mut replay = Replay::new([changelog].into(), state);
        for partition in 0..group.partitions {
            let partition = TopicPartition::new(&**topic, partition);
            for record in self.driver.records(&partition, 0) {
                let key = record.key.as_deref().unwrap_or_default();
                // Which are each shard's own.
                if key == INPUTS_KEY {
                    continue;
                }
                let taken = replay.record(0, key, record.value.as_deref());
                taken.unwrap_or_else(|error| panic!("{error}"));
                replay.reached(0, Offset(record.offset));
            }
        }
        replay.take()
    }

    /// What is open on a node.
    fn copies(&self, node: &NodeName, group: &GroupSpec) -> Changes {
        let stores = self.driver.node(node).stores();
        let mut changes = Changes::default();
        for partition in 0..group.partitions {
            let store = stores.find(&ShardId::new(group.name.clone(), partition));
            let Some(store) = store else { continue };
            let all = KeyRange::prefix(&table_prefix(self.name));
            let page = store.page(&all, Order::Ascending, usize::MAX);
            for (key, value) in page.unwrap_or_else(|error| panic!("{error}")) {
                changes.put(&key, &[], &value);
            }
        }
        changes
    }
}

/// The app's tables.
pub(super) struct Tables {
    pub(super) groups: Vec<Arc<GroupSpec>>,
    topics: Arc<[Arc<str>]>,
}

impl Tables {
    pub(super) fn of(driver: &Driver) -> Self {
        let topology = driver.app().topology(&BTreeMap::new());
        let topology = topology.unwrap_or_else(|faults| panic!("{faults}"));
        Self {
            groups: topology.groups,
            topics: topology.topics.names,
        }
    }

    pub(super) fn find(&self, name: &str) -> (&Arc<GroupSpec>, &GroupTable) {
        let groups = self.groups.iter();
        let mut tables = groups.flat_map(|group| group.tables.iter().map(move |it| (group, it)));
        let found = tables.find(|(_, table)| &*table.spec.name == name);
        found.unwrap_or_else(|| panic!("no agent of the app uses a table {name:?}"))
    }

    /// The shard that has `key`.
    pub(super) fn home(&self, table: &str, key: &str) -> ShardId {
        let (group, table) = self.find(table);
        let key = table.spec.reader.key(key);
        let key = key.unwrap_or_else(|error| panic!("{error}"));
        ShardId::new(group.name.clone(), partition_of(&key, group.partitions).0)
    }
}
