//! What happens to nodes: afterwards every shard has its active and its standby again, and not one count is missing,
//! doubled or out of order.

use std::thread;
use std::time::Duration;

use tanist_tests::cluster::Cluster;

use super::{NODES, under_load};

/// Longer than a node may be silent.
const LONG: Duration = Duration::from_secs(3);

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
        cluster.await_whole();
        cluster.thaw(&by_age[0]);
        cluster
            .node(&by_age[0])
            .until_logged("the others went on without this node");
    });
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
