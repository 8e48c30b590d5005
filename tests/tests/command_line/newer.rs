//! A control log in which a newer build has written.

use rdkafka::producer::{BaseRecord, Producer};
use tanist_tests::broker::TestBroker;
use tanist_tests::clients::TIMEOUT;

use super::{CATCH_UP, CHANGELOG, generate, orders};

const CONTROL: &str = "orders.control";
/// What each node says.
const SAYS: &str = "there is a record of format 3 at key plan/99/7, this build reads up to 2: upgrade this node to the \
                    build that the others run";

/// Writes a record whose format this build does not know.
fn write_newer(broker: &TestBroker) {
    let producer = broker.producer();
    let value = r#"{"format":3,"record":{"plan":{"something":"new"}}}"#;
    let record = BaseRecord::to(CONTROL).partition(0);
    assert!(
        producer
            .send(record.key("plan/99/7").payload(value))
            .is_ok()
    );
    producer.flush(TIMEOUT).expect("the broker takes it");
}

/// Where all partitions end that a node writes to.
fn ends(broker: &TestBroker) -> Vec<i64> {
    let mut raw = broker.raw();
    let own = [(CONTROL, 1), ("orders.heartbeat", 1)];
    let topics = [(CHANGELOG, 8), ("order-counts", 8)];
    let partitions = own
        .into_iter()
        .chain(topics)
        .flat_map(|(topic, partitions)| (0..partitions).map(move |partition| (topic, partition)));
    partitions
        .map(|(topic, partition)| raw.list_offset(topic, partition, -1, false).1)
        .collect()
}

#[test]
fn a_node_does_not_begin_and_changes_nothing() {
    let (broker, program) = orders();
    generate(&program, 100);
    program.answer(CATCH_UP);
    write_newer(&broker);
    generate(&program, 100);
    let before = ends(&broker);
    let log = program.start(&["worker"]).expect_end(1);
    assert!(log.contains(SAYS), "{log}");
    assert_eq!(ends(&broker), before);
}

#[test]
fn nodes_that_run_end_and_say_why() {
    let (broker, program) = orders();
    let worker = program.worker(&[]);
    write_newer(&broker);
    let log = worker.expect_end(1);
    assert!(log.contains(SAYS), "{log}");
}

#[test]
fn a_local_cluster_ends_with_its_nodes_and_shows_what_they_say() {
    let (broker, program) = orders();
    program.answer(CATCH_UP);
    write_newer(&broker);
    let ended = program.run(&["up", "--nodes", "2", "--json", "--records", "0"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains(SAYS), "{ended:?}");
}
