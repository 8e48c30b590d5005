use bytes::Bytes;

use super::*;
use crate::error::{BrokerError, Result};

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
fn compaction_keeps_the_last_value_of_a_key_at_its_offset() {
    let mut fixture = Fixture::compacted();
    fixture
        .plain(&[("a", Some("1")), ("b", Some("1")), ("a", Some("2"))])
        .unwrap();
    fixture
        .plain(&[("c", Some("1")), ("b", Some("2"))])
        .unwrap();
    fixture.plain(&[("c", Some("2"))]).unwrap();
    fixture.compact();
    // The last batch is not touched, and what it supersedes is not known of yet.
    assert_eq!(fixture.committed(), ["2 a=2", "3 c=1", "4 b=2", "5 c=2"]);
    assert_eq!(
        fixture.bounds(),
        Bounds {
            start: 0,
            last_stable: 6,
            end: 6
        }
    );
    fixture.plain(&[("d", Some("1"))]).unwrap();
    fixture.compact();
    assert_eq!(fixture.committed(), ["2 a=2", "4 b=2", "5 c=2", "6 d=1"]);
}

#[test]
fn compaction_stops_at_the_last_stable_offset() {
    let mut fixture = Fixture::compacted();
    fixture.plain(&[("a", Some("1"))]).unwrap();
    let producer = fixture.init("x").unwrap();
    fixture.join("x", producer).unwrap();
    fixture.write(producer, 0, &[("a", Some("2"))]).unwrap();
    fixture.plain(&[("a", Some("3"))]).unwrap();
    fixture.plain(&[("b", Some("1"))]).unwrap();
    fixture.compact();
    let all = ["0 a=1", "1 a=2", "2 a=3", "3 b=1"];
    assert_eq!(fixture.read(Isolation::ReadUncommitted), all);
    assert_eq!(fixture.committed(), ["0 a=1"]);
    fixture.end("x", producer, Outcome::Commit).unwrap();
    fixture.compact();
    assert_eq!(fixture.committed(), ["2 a=3", "3 b=1"]);
}

#[test]
fn an_aborted_value_supersedes_nothing_and_goes() {
    let mut fixture = Fixture::compacted();
    fixture.plain(&[("a", Some("1"))]).unwrap();
    fixture.transact("x", &[("a", Some("aborted"))], Outcome::Abort);
    fixture.plain(&[("b", Some("1"))]).unwrap();
    fixture.compact();
    assert_eq!(fixture.committed(), ["0 a=1", "3 b=1"]);
    assert_eq!(fixture.read(Isolation::ReadUncommitted), ["0 a=1", "3 b=1"]);
}

#[test]
fn tombstones_stay_for_the_delete_retention_after_they_were_met() {
    let mut fixture = Fixture::compacted();
    fixture.plain(&[("a", Some("1"))]).unwrap();
    fixture.plain(&[("a", None)]).unwrap();
    fixture.plain(&[("b", Some("1"))]).unwrap();
    fixture.pass(48 * 60 * 60 * 1000);
    fixture.compact();
    assert_eq!(fixture.committed(), ["1 a", "2 b=1"]);
    fixture.pass(24 * 60 * 60 * 1000);
    fixture.compact();
    assert_eq!(fixture.committed(), ["1 a", "2 b=1"]);
    fixture.pass(1);
    fixture.compact();
    assert_eq!(fixture.committed(), ["2 b=1"]);
}

#[test]
fn a_marker_goes_with_the_last_trace_of_its_transaction_and_hides_nothing_then() {
    let mut fixture = Fixture::compacted();
    fixture.transact("x", &[("a", Some("aborted"))], Outcome::Abort);
    let producer = fixture.init("x").unwrap();
    fixture.join("x", producer).unwrap();
    fixture.write(producer, 0, &[("a", Some("1"))]).unwrap();
    fixture.end("x", producer, Outcome::Commit).unwrap();
    fixture.plain(&[("b", Some("1"))]).unwrap();
    let batches = |fixture: &Fixture| {
        fixture
            .core
            .topic("t")
            .unwrap()
            .partition(0)
            .unwrap()
            .batches
            .len()
    };
    fixture.compact();
    assert_eq!(
        batches(&fixture),
        4,
        "the aborted record has gone, its marker has not"
    );
    fixture.pass(24 * 60 * 60 * 1000 + 1);
    fixture.compact();
    assert_eq!(
        batches(&fixture),
        3,
        "the marker of the commit stays with its record"
    );
    assert_eq!(
        fixture
            .core
            .topic("t")
            .unwrap()
            .partition(0)
            .unwrap()
            .aborted,
        []
    );
    assert_eq!(fixture.committed(), ["2 a=1", "4 b=1"]);
}

#[test]
fn a_partition_is_compacted_by_itself_once_enough_was_appended() {
    let mut fixture = Fixture::compacted();
    fixture.core.settings.compaction_min_bytes = 1_000;
    for value in 0..9 {
        fixture.plain(&[("a", Some(&value.to_string()))]).unwrap();
    }
    fixture.pass(15_000);
    assert_eq!(fixture.committed().len(), 9);
    for value in 9..20 {
        fixture.plain(&[("a", Some(&value.to_string()))]).unwrap();
    }
    fixture.pass(15_000);
    assert_eq!(fixture.committed(), ["18 a=18", "19 a=19"]);
}

#[test]
fn retention_deletes_from_the_front_but_nothing_of_an_open_transaction() {
    let keep = TopicConfig {
        retention: Some(MINUTE),
        ..TopicConfig::default()
    };
    let mut fixture = Fixture::new(keep);
    fixture.plain(&[("a", Some("1"))]).unwrap();
    let producer = fixture.init("x").unwrap();
    fixture.join("x", producer).unwrap();
    fixture.write(producer, 0, &[("b", Some("1"))]).unwrap();
    fixture.plain(&[("c", Some("1"))]).unwrap();
    fixture.core.settings.transaction_check_interval = Millis(i64::MAX);
    fixture.core.upkeep = Upkeep::default();
    fixture.pass(0);
    fixture.pass(5 * 60 * 1000);
    assert_eq!(fixture.read(Isolation::ReadUncommitted), ["1 b=1", "2 c=1"]);
    assert_eq!(
        fixture.bounds(),
        Bounds {
            start: 1,
            last_stable: 1,
            end: 3
        }
    );
    fixture.end("x", producer, Outcome::Commit).unwrap();
    fixture.pass(5 * 60 * 1000);
    assert_eq!(
        fixture.bounds(),
        Bounds {
            start: 4,
            last_stable: 4,
            end: 4
        }
    );
}

#[test]
fn retention_by_size_keeps_the_newest_batches() {
    let mut fixture = Fixture::new(TopicConfig {
        retention_bytes: Some(200),
        ..TopicConfig::default()
    });
    for value in ["1", "2", "3", "4"] {
        fixture.plain(&[("a", Some(value))]).unwrap();
    }
    fixture.pass(5 * 60 * 1000);
    assert_eq!(fixture.committed(), ["2 a=3", "3 a=4"]);
}

#[test]
fn a_transaction_is_overdue_only_at_the_next_check() {
    let mut fixture = Fixture::new(TopicConfig::default());
    let producer = fixture.init("x").unwrap();
    fixture.join("x", producer).unwrap();
    fixture.write(producer, 0, &[("a", Some("1"))]).unwrap();
    assert_eq!(fixture.core.wake_at(), Some(NOW.plus(Millis(10_000))));
    fixture.pass(10_000);
    fixture.pass(50_001);
    assert_eq!(
        fixture.bounds().last_stable,
        2,
        "more than a minute after it was opened"
    );
    assert_eq!(
        fixture.end("x", producer, Outcome::Commit),
        Err(BrokerError::ProducerFenced)
    );
    assert_eq!(
        fixture.write(producer, 1, &[("a", Some("2"))]),
        Err(BrokerError::InvalidProducerEpoch)
    );
    assert_eq!(fixture.init("x").map(|producer| producer.epoch), Ok(2));
}

#[test]
fn a_transaction_within_its_time_is_left_alone() {
    let mut fixture = Fixture::new(TopicConfig::default());
    let producer = fixture.init("x").unwrap();
    fixture.join("x", producer).unwrap();
    fixture.pass(59_999);
    fixture.pass(1);
    assert_eq!(fixture.end("x", producer, Outcome::Commit), Ok(()));
}

#[test]
fn a_producer_whose_epochs_are_used_up_gets_a_new_id() {
    let mut fixture = Fixture::new(TopicConfig::default());
    let mut producer = fixture.init("x").unwrap();
    while producer.epoch < i16::MAX - 1 {
        producer = fixture.init("x").unwrap();
    }
    let renew = |fixture: &mut Fixture| {
        fixture
            .core
            .init_producer(Some("x"), MINUTE, Some(producer), NOW)
    };
    let renewed = renew(&mut fixture).unwrap();
    assert_ne!(renewed.id, producer.id);
    assert_eq!(renewed.epoch, 0);
    assert_eq!(
        renew(&mut fixture),
        Ok(renewed),
        "the repetition of the call is recognised"
    );
    assert_eq!(
        fixture.join("x", producer),
        Err(BrokerError::InvalidProducerIdMapping)
    );
    assert_eq!(fixture.join("x", renewed), Ok(()));
}

#[test]
fn fencing_may_use_the_last_epoch_and_leaves_the_next_one_a_new_id() {
    let mut fixture = Fixture::new(TopicConfig::default());
    let mut producer = fixture.init("x").unwrap();
    while producer.epoch < i16::MAX - 1 {
        producer = fixture.init("x").unwrap();
    }
    fixture.join("x", producer).unwrap();
    fixture.write(producer, 0, &[("a", Some("1"))]).unwrap();
    assert_eq!(fixture.init("x"), Err(BrokerError::ConcurrentTransactions));
    assert_eq!(fixture.bounds().last_stable, 2);
    let renewed = fixture.init("x").unwrap();
    assert_ne!(renewed.id, producer.id);
    assert_eq!(
        fixture.write(producer, 1, &[("a", Some("2"))]),
        Err(BrokerError::InvalidProducerIdMapping)
    );
}

#[test]
fn a_deleted_topic_takes_its_offsets_along_and_its_transactions_still_end() {
    let mut fixture = Fixture::new(TopicConfig::default());
    let partition = TopicPartition::new("t", 0);
    fixture
        .core
        .commit_offset("g", &partition, Committed::default())
        .unwrap();
    let producer = fixture.init("x").unwrap();
    fixture.join("x", producer).unwrap();
    fixture.core.delete_topic("t").unwrap();
    assert_eq!(
        fixture.core.committed_offset("g", &partition, true),
        Ok(None)
    );
    assert_eq!(fixture.end("x", producer, Outcome::Commit), Ok(()));
    let unknown = fixture.core.read("t", 0, 0, 1, Isolation::ReadUncommitted);
    assert_eq!(unknown, Err(BrokerError::UnknownTopicOrPartition));
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
