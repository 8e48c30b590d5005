//! A node that lost the app, and one that lost its broker for a while.

use tanist_tests::node::{ORDERS, Orders};
use tanist_tests::orders::ORDER_COUNTS;

/// The exit code of a node that another has taken over from.
const FENCED: i32 = 5;
/// Orders a second.
const RATE: u32 = 1000;

#[test]
fn a_second_node_takes_over_and_the_first_says_so_and_ends() {
    let orders = Orders::start();
    let load = orders.generate(RATE, &[]);
    let mut first = orders.worker("first", &[]);
    orders.await_progress(&mut first);
    let mut second = orders.worker("second", &[]);
    let log = first.expect_end(FENCED);
    assert!(log.contains("fenced: another node (member "), "{log}");
    orders.await_progress(&mut second);
    load.stop();
    second.stop();
    orders.judge("second");
}

#[test]
fn a_node_that_was_frozen_while_another_took_over_writes_nothing_any_more() {
    let orders = Orders::start();
    let load = orders.generate(RATE, &[]);
    let mut first = orders.worker("first", &[]);
    orders.await_progress(&mut first);
    first.freeze();
    let mut second = orders.worker("second", &[]);
    orders.await_progress(&mut second);
    // It wakes while its successor works.
    first.thaw();
    let log = first.expect_end(FENCED);
    assert!(log.contains("fenced: another node (member "), "{log}");
    orders.await_progress(&mut second);

    // The next one wakes when all is done, so that whatever is written is its own.
    second.freeze();
    let mut third = orders.worker("third", &[]);
    orders.await_progress(&mut third);
    load.stop();
    third.stop();
    let counted = orders.judge("third").orders();
    let topics = [
        ORDERS,
        ORDER_COUNTS,
        "orders-account-repartition",
        "orders-order_count-changelog",
        "orders.control",
    ];
    let written = || topics.map(|topic| orders.written(topic));
    let before = written();
    assert!(before.iter().all(|end| *end > 0), "{before:?}");
    second.thaw();
    second.expect_end(FENCED);
    assert_eq!(written(), before, "ends of {topics:?}");
    assert_eq!(orders.judge("third").orders(), counted);
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
