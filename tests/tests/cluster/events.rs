//! What happens to nodes: afterwards every shard has its active and its standby again, and not one count is missing,
//! doubled or out of order.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tanist_tests::cluster::Cluster;
use tanist_tests::gaps::Gaps;
use tanist_tests::node::Orders;
use tanist_tests::orders::{ORDER_COUNTS, follow_orders};

/// Orders a second.
const RATE: u32 = 800;
const NODES: [&str; 3] = ["n1", "n2", "n3"];
/// How long the whole of a test may take.
const LIMIT: Duration = Duration::from_secs(600);
/// Longer than a node may be silent.
const LONG: Duration = Duration::from_secs(3);

/// Three nodes are enough for a machine; with more, those that get no time are taken for dead.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs three nodes under load while `events` happen to them; then judges.
fn under_load(what: &str, events: impl FnOnce(&mut Cluster<'_>)) {
    let _turn = turn();
    let orders = Orders::start();
    let load = orders.generate(RATE, &["--accounts", "50"]);
    let mut cluster = Cluster::start(&orders, &NODES);
    orders.await_progress(cluster.node("n1"));
    let broker = orders.broker().bootstrap().to_owned();
    let done = Arc::new(AtomicBool::new(false));
    let enough = done.clone();
    let reader = thread::spawn(move || {
        let mut gaps = Gaps::at_least(100);
        let check = follow_orders(
            &broker,
            ORDER_COUNTS,
            LIMIT,
            || enough.load(Ordering::Relaxed),
            |partition| gaps.observe(partition),
        );
        (check, gaps)
    });
    events(&mut cluster);
    cluster.await_whole();
    let survivor = cluster.by_age().remove(0);
    orders.await_progress(cluster.node(&survivor));
    done.store(true, Ordering::Relaxed);
    let (check, gaps) = reader.join().expect("the reader reads");
    let check = check.expect("the order counts can be read");
    assert!(check.is_sound(), "{check}");
    say(what, &gaps);
    load.stop();
    for name in cluster.by_age() {
        cluster.stop(&name);
    }
    orders.judge(&survivor);
}

#[allow(clippy::print_stdout, reason = "the figures of a test")]
fn say(what: &str, gaps: &Gaps) {
    println!("{what}: {}", serde_json::json!(gaps));
}

#[test]
fn the_shards_of_a_node_that_is_killed_go_to_their_standbys() {
    under_load("a node is killed", |cluster| {
        let by_age = cluster.by_age();
        cluster.kill(&[&by_age[1]]);
    });
}

#[test]
fn the_director_that_is_killed_has_an_heir() {
    under_load("the director is killed", |cluster| {
        let by_age = cluster.by_age();
        cluster.kill(&[&by_age[0]]);
    });
}

#[test]
fn two_nodes_that_are_killed_at_once_leave_all_to_the_third_and_come_back() {
    under_load("two are killed", |cluster| {
        let by_age = cluster.by_age();
        cluster.kill(&[&by_age[0], &by_age[1]]);
        cluster.await_whole();
        cluster.add(&by_age[0]);
        cluster.add(&by_age[1]);
        cluster.await_whole();
        let shares = cluster.shares();
        assert_eq!(shares.len(), NODES.len(), "{shares:?}");
    });
}

#[test]
fn nodes_that_are_all_killed_and_started_again_go_on_where_they_were() {
    under_load("all are killed", |cluster| {
        cluster.kill(&NODES);
        for name in NODES {
            cluster.add(name);
        }
    });
}

#[test]
fn a_node_that_was_frozen_for_longer_than_the_time_out_writes_nothing_and_joins_again() {
    under_load("a node is frozen", |cluster| {
        let by_age = cluster.by_age();
        let frozen = &by_age[2];
        cluster.freeze(frozen);
        cluster.await_whole();
        cluster.thaw(frozen);
        cluster
            .node(frozen)
            .until_logged("the others went on without this node");
        cluster.await_whole();
        assert_eq!(
            cluster.by_age().last(),
            Some(frozen),
            "it joined as the last"
        );
    });
}

#[test]
fn a_director_that_was_frozen_finds_another_one_when_it_wakes() {
    under_load("the director is frozen", |cluster| {
        let by_age = cluster.by_age();
        cluster.freeze(&by_age[0]);
        thread::sleep(LONG);
        cluster.await_whole();
        cluster.thaw(&by_age[0]);
        cluster
            .node(&by_age[0])
            .until_logged("the others went on without this node");
    });
}

#[test]
fn a_broker_that_is_away_for_longer_than_the_time_out_kills_nobody() {
    let _turn = turn();
    let orders = Orders::embedded();
    let load = orders.generate(RATE, &["--accounts", "50"]);
    let mut cluster = Cluster::start(&orders, &NODES);
    orders.await_progress(cluster.node("n1"));
    let before = cluster.by_age();
    let broker = orders.broker().inner();
    broker.stop();
    for name in NODES {
        cluster.node(name).until_logged("no Kafka broker answers");
    }
    thread::sleep(LONG);
    broker.restart().expect("its port is free");
    for name in NODES {
        cluster.node(name).until_logged("Kafka answers again");
    }
    orders.await_progress(cluster.node("n1"));
    cluster.await_whole();
    assert_eq!(cluster.by_age(), before, "nobody had to join again");
    for name in NODES {
        let log = cluster.node(name).stderr();
        assert!(!log.contains("is taken for dead"), "{log}");
    }
    // Who does not come back is found out all the same.
    cluster.freeze(&before[2]);
    cluster.await_whole();
    cluster.kill(&[&before[2]]);
    load.stop();
    for name in &before[..2] {
        cluster.stop(name);
    }
    orders.judge(&before[0]);
}

#[test]
fn a_node_that_stops_hands_its_shards_over_and_a_new_one_gets_its_share() {
    under_load("one stops, one is added", |cluster| {
        let by_age = cluster.by_age();
        let log = cluster.stop(&by_age[0]);
        assert!(!log.contains("nobody has taken over"), "{log}");
        cluster.await_whole();
        cluster.add("n4");
        cluster.await_whole();
        cluster.add(&by_age[0]);
        cluster.await_whole();
        let is_balanced = |cluster: &Cluster<'_>| {
            let shares = cluster.shares();
            let actives = shares.values().map(|(actives, _)| *actives);
            shares.len() == 4 && actives.max() <= actives_min(&shares).map(|least| least + 1)
        };
        let mut waited = Duration::ZERO;
        while !is_balanced(cluster) {
            assert!(waited < LONG * 10, "{:?}", cluster.shares());
            thread::sleep(Duration::from_millis(50));
            waited += Duration::from_millis(50);
        }
    });
}

fn actives_min(shares: &std::collections::BTreeMap<String, (usize, usize)>) -> Option<usize> {
    shares.values().map(|(actives, _)| *actives).min()
}
