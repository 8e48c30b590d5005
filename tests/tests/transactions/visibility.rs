//! What a reader sees of a transaction.

use kafka_protocol::messages::fetch_response::AbortedTransaction;
use rdkafka::producer::Producer;
use tanist_tests::broker::TestBroker;
use tanist_tests::clients::{TIMEOUT, begin, send, transact};
use tanist_tests::raw::batch;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

#[test]
fn a_commit_makes_the_records_of_all_partitions_visible() {
    let broker = TestBroker::start();
    let topic = broker.topic(2, &[]);
    let producer = broker.initialised(&broker.unique("id"));
    begin(&producer, &topic, &["a", "b"]);
    send(&producer, &topic, 1, "c");
    producer.flush(TIMEOUT).unwrap();
    assert_eq!(broker.committed(&topic, 0), [""; 0]);
    assert_eq!(broker.committed(&topic, 1), [""; 0]);
    assert_eq!(broker.appended(&topic, 0), ["a", "b"]);
    producer.commit_transaction(TIMEOUT).unwrap();
    broker.expect_committed(&topic, 0, &["a", "b"]);
    broker.expect_committed(&topic, 1, &["c"]);
}

#[test]
fn aborted_records_are_never_visible_to_read_committed() {
    let broker = TestBroker::start();
    let topic = broker.topic(1, &[]);
    let producer = broker.initialised(&broker.unique("id"));
    transact(&producer, &topic, &["a"]);
    begin(&producer, &topic, &["b"]);
    producer.abort_transaction(TIMEOUT).unwrap();
    transact(&producer, &topic, &["c"]);
    broker.expect_committed(&topic, 0, &["a", "c"]);
    assert_eq!(broker.appended(&topic, 0), ["a", "b", "c"]);
}

#[test]
fn an_open_transaction_holds_back_what_others_write_behind_it() {
    let broker = TestBroker::start();
    let topic = broker.topic(1, &[]);
    let plain = broker.producer();
    send(&plain, &topic, 0, "before");
    plain.flush(TIMEOUT).unwrap();
    let producer = broker.initialised(&broker.unique("id"));
    begin(&producer, &topic, &["a"]);
    send(&plain, &topic, 0, "after");
    plain.flush(TIMEOUT).unwrap();
    assert_eq!(broker.committed(&topic, 0), ["before"]);
    assert_eq!(broker.appended(&topic, 0), ["before", "a", "after"]);
    producer.abort_transaction(TIMEOUT).unwrap();
    broker.expect_committed(&topic, 0, &["before", "after"]);
}

#[test]
fn an_open_transaction_bounds_the_offsets_that_are_listed() {
    let broker = TestBroker::start();
    let topic = broker.topic(1, &[]);
    let mut raw = broker.raw();
    // Timestamps 1000, 1001 outside of the transaction, then 1000, 1001 in it.
    assert_eq!(
        raw.produce(None, &topic, 0, batch(None, -1, false, &["a", "b"]))
            .error_code,
        0
    );
    let id = broker.unique("id");
    let producer = raw.fence(&id);
    raw.join(&id, producer, &topic, 0);
    assert_eq!(
        raw.produce(
            Some(&id),
            &topic,
            0,
            batch(Some(producer), 0, true, &["c", "d"])
        )
        .base_offset,
        2
    );
    assert_eq!(raw.list_offset(&topic, 0, EARLIEST, true), (0, 0, -1));
    assert_eq!(raw.list_offset(&topic, 0, LATEST, true), (0, 2, -1));
    assert_eq!(raw.list_offset(&topic, 0, LATEST, false), (0, 4, -1));
    assert_eq!(raw.list_offset(&topic, 0, 1_001, true), (0, 1, 1_001));
    assert_eq!(raw.list_offset(&topic, 0, 1_002, true), (0, -1, -1));
    assert_eq!(raw.list_offset(&topic, 0, 1_002, false), (0, -1, -1));
    assert_eq!(raw.end(1, &id, producer, true), 0);
    // The marker takes an offset, and has the time of the broker.
    assert_eq!(raw.await_stable(&topic, 0), 5);
    let (code, offset, timestamp) = raw.list_offset(&topic, 0, 1_002, true);
    assert_eq!((code, offset), (0, 4));
    assert!(timestamp > 1_002);
}

#[test]
fn a_fetch_names_the_aborted_transactions_that_reach_into_it() {
    let broker = TestBroker::start();
    let topic = broker.topic(1, &[]);
    let mut raw = broker.raw();
    let id = broker.unique("id");
    let producer = raw.fence(&id);
    for (sequence, commit) in [(0, false), (1, true), (2, false)] {
        raw.join(&id, producer, &topic, 0);
        let records = batch(Some(producer), sequence, true, &["x"]);
        assert_eq!(raw.produce(Some(&id), &topic, 0, records).error_code, 0);
        assert_eq!(raw.end(1, &id, producer, commit), 0);
        raw.await_stable(&topic, 0);
    }
    // A broker may answer with less than there is, and then names less.
    let mut aborted_from = |offset| {
        let fetched = raw.fetch(&topic, 0, offset, true);
        let aborted = fetched.aborted_transactions.unwrap_or_default();
        let named = |transaction: &AbortedTransaction| {
            (transaction.producer_id.0, transaction.first_offset)
        };
        aborted.iter().map(named).collect::<Vec<_>>()
    };
    let (first, second) = ((producer.0, 0), (producer.0, 4));
    assert_eq!(aborted_from(0).first(), Some(&first));
    assert_eq!(aborted_from(1).first(), Some(&first));
    assert!(!aborted_from(2).contains(&first));
    assert_eq!(aborted_from(4), [second]);
    assert_eq!(aborted_from(6), []);
}

#[test]
fn a_transaction_that_wrote_nothing_leaves_its_marker_all_the_same() {
    let broker = TestBroker::start();
    let topic = broker.topic(1, &[]);
    let mut raw = broker.raw();
    let id = broker.unique("id");
    let producer = raw.fence(&id);
    raw.join(&id, producer, &topic, 0);
    assert_eq!(raw.end(1, &id, producer, false), 0);
    tanist_tests::raw::poll_until("the marker", || {
        (raw.await_stable(&topic, 0) == 1).then_some(())
    });
    assert_eq!(
        raw.fetch(&topic, 0, 0, true)
            .aborted_transactions
            .unwrap_or_default(),
        []
    );
}
