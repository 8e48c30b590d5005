//! The broker goes away and comes back: nobody is taken for dead because of it, and nothing is lost.

use std::thread;
use std::time::Duration;

use tanist_tests::cluster::Cluster;
use tanist_tests::node::Orders;

use super::{NODES, RATE, turn};

/// Time-outs of a node that are over before [`LONG`] is; the usual ones are over before a [`MINUTE`] is.
const SHORT: &[&str] = &["--commit-timeout", "1s", "--transaction-timeout", "2s"];
const LONG: Duration = Duration::from_secs(4);
const MINUTE: Duration = Duration::from_secs(60);

/// Three nodes run, and a fourth is started, while the broker is away for so long.
fn broker_is_away(away: Duration, args: &[&str]) {
    let _turn = turn();
    let orders = Orders::embedded();
    let load = orders.generate(RATE, &["--accounts", "50"]);
    let mut cluster = Cluster::start_with(&orders, &NODES, args);
    orders.await_progress(cluster.node("n1"));
    let mut members = cluster.by_age();
    let broker = orders.broker().inner();
    broker.stop();
    for name in NODES {
        cluster.node(name).until_logged("no Kafka broker answers");
    }
    cluster.add("n4");
    cluster.node("n4").until_logged("waiting for one");
    thread::sleep(away);
    broker.restart().expect("its port is free");
    for name in NODES {
        cluster.node(name).until_logged("Kafka answers again");
    }
    orders.await_progress(cluster.node("n1"));
    cluster.await_whole();
    members.push("n4".to_owned());
    assert_eq!(cluster.by_age(), members, "nobody had to join again");
    for name in &members {
        let log = cluster.node(name).stderr();
        assert!(!log.contains("is taken for dead"), "{log}");
    }
    // Who does not come back is found out all the same.
    cluster.freeze(&members[2]);
    cluster.await_whole();
    cluster.kill(&[&members[2]]);
    load.stop();
    for name in [&members[3], &members[1], &members[0]] {
        cluster.stop(name);
    }
    orders.judge(&members[0]);
}

#[test]
fn a_broker_that_is_away_for_longer_than_all_time_outs_kills_nobody() {
    broker_is_away(LONG, SHORT);
}

#[test]
fn a_broker_that_is_away_for_a_minute_kills_nobody() {
    broker_is_away(MINUTE, &[]);
}
