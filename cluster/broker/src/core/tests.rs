use bytes::Bytes;

use super::*;
use crate::error::{BrokerError, Result};

mod compaction;
mod coordinator;
mod model;
mod properties;

const MINUTE: Millis = Millis(60_000);
const NOW: Millis = Millis(1_000_000);

/// A core with one topic `t` of one partition, and short ways to use it.
struct Fixture {
    core: Core,
    now: Millis,
}

impl Fixture {
    fn new(config: TopicConfig) -> Self {
        let mut core = Core::new(Settings::default());
        core.create_topic("t", Some(1), config).unwrap();
        core.tick(NOW);
        Self { core, now: NOW }
    }

    fn compacted() -> Self {
        Self::new(TopicConfig::compacted())
    }

    fn pass(&mut self, millis: i64) {
        self.now = self.now.plus(Millis(millis));
        self.core.tick(self.now);
    }

    fn plain(&mut self, records: &[(&str, Option<&str>)]) -> Result<i64> {
        let batch = Incoming::encode(&new_records(records, self.now), None, 0, false)?;
        self.core.append("t", 0, &batch, self.now)
    }

    fn init(&mut self, id: &str) -> Result<Producer> {
        self.core.init_producer(Some(id), MINUTE, None, self.now)
    }

    fn join(&mut self, id: &str, producer: Producer) -> Result<()> {
        self.core
            .add_partitions(id, producer, &[TopicPartition::new("t", 0)], self.now)
    }

    fn write(
        &mut self,
        producer: Producer,
        sequence: i32,
        records: &[(&str, Option<&str>)],
    ) -> Result<i64> {
        let batch = Incoming::encode(
            &new_records(records, self.now),
            Some(producer),
            sequence,
            true,
        )?;
        self.core.append("t", 0, &batch, self.now)
    }

    fn end(&mut self, id: &str, producer: Producer, outcome: Outcome) -> Result<()> {
        self.core.end_transaction(id, producer, outcome, self.now)
    }

    /// One whole transaction of a producer of its own.
    fn transact(&mut self, id: &str, records: &[(&str, Option<&str>)], outcome: Outcome) {
        let producer = self.init(id).unwrap();
        self.join(id, producer).unwrap();
        self.write(producer, 0, records).unwrap();
        self.end(id, producer, outcome).unwrap();
    }

    fn compact(&mut self) {
        self.core.compact("t", 0, self.now).unwrap();
    }

    fn bounds(&self) -> Bounds {
        self.core.describe_topic("t").unwrap().partitions[0]
    }

    /// Offset, key and value of what can be read, as `3 k=v`, a deleted value as `3 k`.
    fn read(&self, isolation: Isolation) -> Vec<String> {
        let fetched = self
            .core
            .read("t", 0, self.bounds().start, 1_000, isolation)
            .unwrap();
        fetched.records.iter().map(shown).collect()
    }

    fn committed(&self) -> Vec<String> {
        self.read(Isolation::ReadCommitted)
    }
}

fn text(bytes: &Bytes) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn shown(record: &LogRecord) -> String {
    let key = record.key.as_ref().map_or("-", text);
    let value = record
        .value
        .as_ref()
        .map_or(String::new(), |value| format!("={}", text(value)));
    format!("{} {key}{value}", record.offset)
}

fn new_records(records: &[(&str, Option<&str>)], timestamp: Millis) -> Vec<NewRecord> {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let new = |(key, value): &(&str, Option<&str>)| NewRecord {
        key: Some(bytes(key)),
        value: value.map(bytes),
        headers: vec![("h".to_owned(), Some(bytes("x")))],
        timestamp,
    };
    records.iter().map(new).collect()
}

#[test]
fn a_record_is_read_as_it_was_written() {
    let mut fixture = Fixture::new(TopicConfig::default());
    fixture.plain(&[("a", Some("1")), ("b", None)]).unwrap();
    let fetched = fixture
        .core
        .read("t", 0, 1, 1_000, Isolation::ReadUncommitted)
        .unwrap();
    let headers = vec![("h".to_owned(), Some(Bytes::from_static(b"x")))];
    let expected = LogRecord {
        offset: 1,
        timestamp: NOW,
        key: Some(Bytes::from_static(b"b")),
        value: None,
        headers,
    };
    assert_eq!(fetched.records, [expected]);
    assert_eq!(fetched.next_offset, 2);
}

#[test]
fn topic_settings_are_read_as_kafka_spells_them() {
    let mut config = TopicConfig::default();
    for (name, value) in [
        ("cleanup.policy", "compact, delete"),
        ("retention.ms", "-1"),
        ("retention.bytes", "1000"),
        ("max.message.bytes", "10"),
        ("delete.retention.ms", "5"),
        ("segment.ms", "100"),
    ] {
        config.set(name, value).unwrap();
    }
    let entries = config.entries();
    let entry = |name: &str| entries.get(name).map(String::as_str);
    assert_eq!(entry("cleanup.policy"), Some("compact,delete"));
    assert_eq!(entry("retention.ms"), Some("-1"));
    assert_eq!(entry("segment.ms"), Some("100"));
    for (name, value) in [
        ("cleanup.policy", "shred"),
        ("retention.ms", "-2"),
        ("max.message.bytes", "many"),
        ("message.timestamp.type", "LogAppendTime"),
        ("no.such.setting", "1"),
    ] {
        assert_eq!(
            config.set(name, value),
            Err(BrokerError::InvalidConfig),
            "{name}={value}"
        );
    }
}

#[test]
fn only_one_whole_batch_of_plain_records_is_taken() {
    let batch = |values| {
        let batch = Incoming::encode(&new_records(values, NOW), None, 0, false).unwrap();
        batch.place(0).bytes
    };
    let one = batch(&[("a", Some("1"))]);
    assert!(Incoming::check(one.clone()).is_ok());
    let refused = |bytes: Vec<u8>| Incoming::check(bytes.into()).map(|_| ()).unwrap_err();
    assert_eq!(refused(Vec::new()), BrokerError::InvalidRecord);
    assert_eq!(
        refused([&one[..], &one[..]].concat()),
        BrokerError::InvalidRecord
    );
    assert_eq!(
        refused(one[..one.len() - 1].to_vec()),
        BrokerError::CorruptMessage
    );
    let mut flipped = one.to_vec();
    flipped[70] ^= 1;
    assert_eq!(refused(flipped), BrokerError::CorruptMessage);
    let marker = Producer { id: 1, epoch: 0 };
    let marker = batch::Batch::marker(0, marker, batch::Marker::Commit, NOW).unwrap();
    assert_eq!(refused(marker.bytes.to_vec()), BrokerError::InvalidRecord);
}

#[test]
fn a_start_within_an_open_transaction_shows_nothing_of_it() {
    let mut fixture = Fixture::new(TopicConfig::default());
    let producer = fixture.init("x").unwrap();
    fixture.join("x", producer).unwrap();
    fixture
        .write(producer, 0, &[("a", Some("1")), ("b", Some("1"))])
        .unwrap();
    fixture.core.delete_records("t", 0, Some(1)).unwrap();
    assert_eq!(
        fixture.bounds(),
        Bounds {
            start: 1,
            last_stable: 1,
            end: 2
        }
    );
    assert_eq!(fixture.committed(), [""; 0]);
    let slice = fixture
        .core
        .slice("t", 0, 1, 1_000, true, Isolation::ReadCommitted)
        .unwrap();
    assert!(slice.batches.is_empty());
    fixture.end("x", producer, Outcome::Commit).unwrap();
    assert_eq!(fixture.committed(), ["1 b=1"]);
}
