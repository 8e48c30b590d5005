use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;

use super::*;
use crate::error::BrokerError;
use crate::faults::{Fault, FaultRule};

const MINUTE: Millis = Millis(60_000);
const NOW: Millis = Millis(1_000);

fn record(value: &str) -> NewRecord {
    NewRecord {
        key: Some(Bytes::from_static(b"k")),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        ..NewRecord::default()
    }
}

fn broker() -> (BrokerPort, TopicPartition) {
    let port = BrokerPort::new(Settings::default());
    port.create_topic("t", 1, TopicConfig::default(), NOW)
        .unwrap();
    (port, TopicPartition::new("t", 0))
}

fn values(port: &BrokerPort, partition: &TopicPartition, isolation: Isolation) -> Vec<String> {
    let fetched = port.fetch(partition, 0, 1_000, isolation, NOW).unwrap();
    let text =
        |record: crate::LogRecord| String::from_utf8(record.value.unwrap().to_vec()).unwrap();
    fetched.records.into_iter().map(text).collect()
}

fn committed(port: &BrokerPort, partition: &TopicPartition) -> Vec<String> {
    values(port, partition, Isolation::ReadCommitted)
}

#[test]
fn a_lost_answer_may_be_asked_for_again_without_a_second_record() {
    let (port, partition) = broker();
    let mut producer = TransactionalProducer::start(&port, "x", MINUTE, NOW).unwrap();
    port.faults()
        .add(FaultRule::new(Fault::LoseAnswer).api(ApiKey::Produce));
    assert_eq!(
        producer.send(&partition, &[record("a")], NOW),
        Err(BrokerError::RequestTimedOut)
    );
    assert_eq!(producer.send(&partition, &[record("a")], NOW), Ok(0));
    producer.commit(NOW).unwrap();
    assert_eq!(committed(&port, &partition), ["a"]);
}

#[test]
fn a_late_end_of_transaction_ends_the_next_one_as_on_kafka_before_kip_890() {
    let (port, partition) = broker();
    let mut producer = TransactionalProducer::start(&port, "x", MINUTE, NOW).unwrap();
    producer.send(&partition, &[record("a")], NOW).unwrap();
    port.faults()
        .add(FaultRule::new(Fault::LateBy(Duration::from_millis(5))).api(ApiKey::EndTxn));
    assert_eq!(producer.commit(NOW), Err(BrokerError::RequestTimedOut));
    producer.commit(NOW).unwrap();
    producer.send(&partition, &[record("b")], NOW).unwrap();
    assert_eq!(committed(&port, &partition), ["a"]);
    port.tick(NOW.plus(Millis(5)));
    assert_eq!(committed(&port, &partition), ["a", "b"]);
}

#[test]
fn delayed_markers_keep_the_next_transaction_out_until_they_are_written() {
    let (port, partition) = broker();
    let mut producer = TransactionalProducer::start(&port, "x", MINUTE, NOW).unwrap();
    producer.send(&partition, &[record("a")], NOW).unwrap();
    let delay = Fault::DelayMarkers(Duration::from_millis(5));
    port.faults().add(FaultRule::new(delay).api(ApiKey::EndTxn));
    producer.commit(NOW).unwrap();
    assert_eq!(committed(&port, &partition), [""; 0]);
    assert_eq!(port.wake_at(), Some(NOW.plus(Millis(5))));
    let next = producer.send(&partition, &[record("b")], NOW);
    assert_eq!(next, Err(BrokerError::ConcurrentTransactions));
    port.tick(NOW.plus(Millis(5)));
    assert_eq!(committed(&port, &partition), ["a"]);
    producer
        .send(&partition, &[record("b")], NOW.plus(Millis(5)))
        .unwrap();
}

#[test]
fn offsets_may_count_before_the_records_of_their_transaction_do() {
    let (port, partition) = broker();
    let mut producer = TransactionalProducer::start(&port, "x", MINUTE, NOW).unwrap();
    producer.send(&partition, &[record("a")], NOW).unwrap();
    let offset = Committed {
        offset: 7,
        leader_epoch: None,
        metadata: None,
    };
    let offsets = [(partition.clone(), offset)];
    producer.send_offsets("group", &offsets, NOW).unwrap();
    let delay = Fault::DelayRecordMarkers(Duration::from_millis(5));
    port.faults().add(FaultRule::new(delay).api(ApiKey::EndTxn));
    producer.commit(NOW).unwrap();
    let told = port.committed_offset("group", &partition, true, NOW);
    assert_eq!(told.unwrap().map(|it| it.offset), Some(7));
    assert_eq!(committed(&port, &partition), [""; 0]);
    port.tick(NOW.plus(Millis(5)));
    assert_eq!(committed(&port, &partition), ["a"]);
}

#[test]
fn a_late_request_is_done_after_the_next_one_of_its_kind_and_client() {
    let (port, partition) = broker();
    port.faults()
        .add(FaultRule::new(Fault::Late).api(ApiKey::Produce).client("a"));
    let (a, b) = (port.client("a"), port.client("b"));
    let late = a.append(&partition, &[record("late")], None, NOW);
    assert_eq!(late, Err(BrokerError::RequestTimedOut));
    b.append(&partition, &[record("other")], None, NOW).unwrap();
    a.append(&partition, &[record("next")], None, NOW).unwrap();
    assert_eq!(committed(&port, &partition), ["other", "next", "late"]);
}

#[test]
fn a_stopped_broker_keeps_what_it_holds() {
    let (port, partition) = broker();
    port.append(&partition, &[record("a")], None, NOW).unwrap();
    port.stop();
    let refused = port.append(&partition, &[record("b")], None, NOW);
    assert_eq!(refused, Err(BrokerError::NetworkException));
    port.pause();
    assert_eq!(
        port.bounds(&partition, NOW),
        Err(BrokerError::RequestTimedOut)
    );
    port.resume();
    assert_eq!(committed(&port, &partition), ["a"]);
}

#[test]
fn who_watches_is_told_of_what_becomes_visible_and_may_look_at_a_paused_broker() {
    let (port, partition) = broker();
    let mut changes = port.changes();
    let mut producer = TransactionalProducer::start(&port, "x", MINUTE, NOW).unwrap();
    producer.send(&partition, &[record("a")], NOW).unwrap();
    changes.mark_unchanged();
    assert_eq!(port.peek(&partition).unwrap().last_stable, 0);
    producer.commit(NOW).unwrap();
    assert!(changes.has_changed().unwrap());
    port.pause();
    assert_eq!(port.peek(&partition).unwrap().last_stable, 2);
}
