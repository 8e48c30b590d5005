//! Nodes of one name and of several, of another topology, and one that lost its broker for a while.

use tanist_tests::node::{ORDERS, Orders};
use tanist_tests::orders::ORDER_COUNTS;

/// The exit code of a node that the others do not let in.
const REFUSED: i32 = 2;
/// Orders a second.
const RATE: u32 = 1000;

#[test]
fn a_second_node_of_a_name_is_refused_while_the_first_lives_and_let_in_when_it_is_dead() {
    let orders = Orders::start();
    let load = orders.generate(RATE, &[]);
    let mut first = orders.worker("first", &["--node", "one"]);
    orders.await_progress(&mut first);
    let log = orders
        .worker("second", &["--node", "one"])
        .expect_end(REFUSED);
    assert!(
        log.contains("a node named one is running already (member "),
        "{log}"
    );
    assert!(log.contains("give this one another name"), "{log}");
    // It has disturbed nobody.
    orders.await_progress(&mut first);
    first.kill();
    let mut second = orders.worker("second", &["--node", "one"]);
    orders.await_progress(&mut second);
    load.stop();
    second.stop();
    orders.judge("second");
}

#[test]
fn a_frozen_node_has_its_name_until_it_has_been_silent_for_the_time_out_and_may_not_come_back() {
    let orders = Orders::start();
    let load = orders.generate(RATE, &[]);
    let mut first = orders.worker("first", &["--node", "one"]);
    orders.await_progress(&mut first);
    first.freeze();
    let mut second = orders.worker("second", &["--node", "one"]);
    orders.await_progress(&mut second);
    // It wakes while its successor works.
    first.thaw();
    let log = first.expect_end(REFUSED);
    assert!(
        log.contains("the others went on without this node"),
        "{log}"
    );
    assert!(log.contains("a node named one is running already"), "{log}");
    orders.await_progress(&mut second);

    // The next one wakes when all is done, so that whatever is written is its own.
    second.freeze();
    let mut third = orders.worker("third", &["--node", "one"]);
    orders.await_progress(&mut third);
    load.stop();
    let counted = orders.await_all(&mut third);
    let topics = [
        ORDERS,
        ORDER_COUNTS,
        "orders-account-repartition",
        "orders-order_count-changelog",
    ];
    let written = || topics.map(|topic| orders.written(topic));
    let before = written();
    assert!(before.iter().all(|end| *end > 0), "{before:?}");
    second.thaw();
    second.expect_end(REFUSED);
    assert_eq!(written(), before, "ends of {topics:?}");
    third.stop();
    assert_eq!(orders.judge("third").orders(), counted);
}

#[test]
fn a_node_of_another_topology_is_refused_with_what_differs_until_nobody_runs_the_old_one() {
    let orders = Orders::embedded();
    let other = || {
        orders.worker_of(
            "other_orders",
            "two",
            &["--node", "two", "--until-caught-up"],
        )
    };
    let load = orders.generate(RATE, &[]);
    let mut one = orders.worker("one", &["--node", "one"]);
    orders.await_progress(&mut one);
    let log = other().expect_end(REFUSED);
    for part in [
        "node one (member ",
        "runs another topology (",
        "agent look-at-orders is only here",
        "agent count-orders is only there",
        "group account-repartition is only there",
        "stop all nodes of the one before you start the other",
    ] {
        assert!(log.contains(part), "{part} in {log}");
    }
    // It has disturbed nobody.
    orders.await_progress(&mut one);
    load.stop();
    one.stop();
    orders.judge("one");
    other().expect_end(0);
}

#[test]
fn a_broker_that_is_away_for_a_while_delays_and_loses_nothing() {
    let orders = Orders::embedded();
    let load = orders.generate(RATE, &[]);
    let mut node = orders.worker("node", &[]);
    orders.await_progress(&mut node);
    let broker = orders.broker().inner();
    broker.stop();
    node.until_logged("no Kafka broker answers");
    broker.restart().expect("its port is free");
    node.until_logged("Kafka answers again");
    orders.await_progress(&mut node);
    // Connections that break are no reason to say anything.
    assert!(broker.cut_connections(None) > 0);
    orders.await_progress(&mut node);
    load.stop();
    // A stop is an orderly one even right after a connection broke.
    broker.cut_connections(None);
    node.stop();
    orders.judge("node");
}
