//! Transactions whose time is up, and epochs that are used up.

use super::*;

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
        .commit_offset("g", &partition, Committed::default(), Millis(0))
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
