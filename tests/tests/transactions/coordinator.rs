//! What the transaction coordinator answers, number by number: in the versions that librdkafka speaks, and in the first
//! ones that know `PRODUCER_FENCED`.

use tanist_tests::broker::TestBroker;
use tanist_tests::raw::{RawClient, batch, poll_until};

const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const INVALID_PRODUCER_EPOCH: i16 = 47;
const INVALID_TXN_STATE: i16 = 48;
const INVALID_PRODUCER_ID_MAPPING: i16 = 49;
const INVALID_TRANSACTION_TIMEOUT: i16 = 50;
const CONCURRENT_TRANSACTIONS: i16 = 51;
const PRODUCER_FENCED: i16 = 90;

/// A transactional id with an open transaction that has one record in partition 0 of the topic.
fn open(raw: &mut RawClient, id: &str, topic: &str) -> (i64, i16) {
    let producer = raw.fence(id);
    raw.join(id, producer, topic, 0);
    assert_eq!(
        raw.produce(Some(id), topic, 0, batch(Some(producer), 0, true, &["a"]))
            .error_code,
        0
    );
    producer
}

/// EndTxn, again while the former one is still being carried out.
fn end(raw: &mut RawClient, version: i16, id: &str, producer: (i64, i16), commit: bool) -> i16 {
    poll_until("the end of the transaction", || {
        let code = raw.end(version, id, producer, commit);
        (code != CONCURRENT_TRANSACTIONS).then_some(code)
    })
}

#[test]
fn each_init_producer_id_raises_the_epoch_by_one() {
    let broker = TestBroker::start();
    let mut raw = broker.raw();
    let id = broker.unique("id");
    let (producer_id, epoch) = raw.fence(&id);
    assert_eq!(epoch, 0);
    assert_eq!(raw.fence(&id), (producer_id, 1));
    assert_eq!(raw.fence(&id), (producer_id, 2));
}

#[test]
fn an_init_producer_id_over_an_open_transaction_has_to_be_repeated_and_raises_the_epoch_by_two() {
    let broker = TestBroker::start();
    let topic = broker.topic(1, &[]);
    let mut raw = broker.raw();
    let id = broker.unique("id");
    let (producer_id, epoch) = open(&mut raw, &id, &topic);
    assert_eq!(
        raw.init_producer(4, &id, (-1, -1)).error_code,
        CONCURRENT_TRANSACTIONS
    );
    assert_eq!(raw.fence(&id), (producer_id, epoch + 2));
}

#[test]
fn a_producer_that_names_itself_gets_the_next_epoch_and_may_ask_again() {
    let broker = TestBroker::start();
    let mut raw = broker.raw();
    let id = broker.unique("id");
    let producer = raw.fence(&id);
    for _ in 0..2 {
        let answer = raw.init_producer(4, &id, producer);
        assert_eq!(
            (
                answer.error_code,
                answer.producer_id.0,
                answer.producer_epoch
            ),
            (0, producer.0, 1)
        );
    }
    raw.fence(&id);
    assert_eq!(
        raw.init_producer(4, &id, producer).error_code,
        PRODUCER_FENCED
    );
    assert_eq!(
        raw.init_producer(3, &id, producer).error_code,
        INVALID_PRODUCER_EPOCH
    );
    assert_eq!(
        raw.init_producer(4, &id, (producer.0 + 1_000, 0))
            .error_code,
        PRODUCER_FENCED
    );
}

#[test]
fn transaction_timeouts_are_positive_and_bounded() {
    use kafka_protocol::messages::{InitProducerIdRequest, TransactionalId};
    let broker = TestBroker::start();
    let mut raw = broker.raw();
    let id = broker.unique("id");
    raw.await_coordinator(&id);
    for timeout_ms in [0, -1, 900_001] {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(TransactionalId(id.clone().into())))
            .with_transaction_timeout_ms(timeout_ms)
            .with_producer_id((-1).into())
            .with_producer_epoch(-1);
        let code = raw.call(4, &request).error_code;
        assert_eq!(code, INVALID_TRANSACTION_TIMEOUT, "time-out {timeout_ms}");
    }
}

#[test]
fn the_end_of_a_transaction_may_be_repeated_but_not_changed() {
    let broker = TestBroker::start();
    let topic = broker.topic(1, &[]);
    let mut raw = broker.raw();
    for (commit, name) in [(true, "commit"), (false, "abort")] {
        let id = broker.unique(name);
        let producer = open(&mut raw, &id, &topic);
        assert_eq!(end(&mut raw, 1, &id, producer, commit), 0);
        assert_eq!(end(&mut raw, 1, &id, producer, commit), 0);
        assert_eq!(end(&mut raw, 1, &id, producer, !commit), INVALID_TXN_STATE);
    }
}

#[test]
fn what_was_never_begun_cannot_be_ended() {
    let broker = TestBroker::start();
    let mut raw = broker.raw();
    let id = broker.unique("id");
    let producer = raw.fence(&id);
    assert_eq!(raw.end(1, &id, producer, true), INVALID_TXN_STATE);
    assert_eq!(raw.end(1, &id, producer, false), INVALID_TXN_STATE);
    let never_used = broker.unique("id");
    raw.await_coordinator(&never_used);
    assert_eq!(
        raw.end(1, &never_used, producer, true),
        INVALID_PRODUCER_ID_MAPPING
    );
}

#[test]
fn an_old_epoch_is_told_so_in_the_words_of_its_version() {
    let broker = TestBroker::start();
    let topic = broker.topic(1, &[]);
    let mut raw = broker.raw();
    let id = broker.unique("id");
    let old = raw.fence(&id);
    let new = raw.fence(&id);
    for (version, code) in [(1, INVALID_PRODUCER_EPOCH), (2, PRODUCER_FENCED)] {
        assert_eq!(raw.add_partition(version, &id, old, &topic, 0), code);
        assert_eq!(raw.add_offsets(version, &id, old, "group"), code);
        assert_eq!(raw.end(version, &id, old, true), code);
    }
    let stranger = (new.0 + 1_000, new.1);
    assert_eq!(
        raw.add_partition(1, &id, stranger, &topic, 0),
        INVALID_PRODUCER_ID_MAPPING
    );
    assert_eq!(raw.end(1, &id, stranger, true), INVALID_PRODUCER_ID_MAPPING);
    assert_eq!(
        raw.commit_offset(&id, old, "group", &topic),
        INVALID_PRODUCER_EPOCH
    );
    let late = raw.produce(Some(&id), &topic, 0, batch(Some(old), 0, true, &["late"]));
    assert_eq!(late.error_code, INVALID_PRODUCER_EPOCH);
}

#[test]
fn only_partitions_and_groups_of_the_transaction_may_be_written() {
    let broker = TestBroker::start();
    let topic = broker.topic(2, &[]);
    let mut raw = broker.raw();
    let id = broker.unique("id");
    let producer = open(&mut raw, &id, &topic);
    let elsewhere = raw.produce(Some(&id), &topic, 1, batch(Some(producer), 0, true, &["b"]));
    assert_eq!(elsewhere.error_code, INVALID_TXN_STATE);
    assert_eq!(
        raw.commit_offset(&id, producer, "group", &topic),
        INVALID_TXN_STATE
    );
    assert_eq!(
        raw.add_partition(1, &id, producer, "no-such-topic", 0),
        UNKNOWN_TOPIC_OR_PARTITION
    );
    assert_eq!(
        raw.add_partition(1, &id, producer, &topic, 7),
        UNKNOWN_TOPIC_OR_PARTITION
    );
    assert_eq!(end(&mut raw, 1, &id, producer, true), 0);
    raw.await_stable(&topic, 0);
    let afterwards = raw.produce(Some(&id), &topic, 0, batch(Some(producer), 1, true, &["c"]));
    assert_eq!(afterwards.error_code, INVALID_TXN_STATE);
    broker.expect_committed(&topic, 0, &["a"]);
}
