//! Clocks that differ: nothing depends on them.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

use serde_json::Value;
use tanist_tests::cluster::Cluster;
use tanist_tests::wall_clock::WallClock;

use super::under_load;

/// Minutes. More, and Apache Kafka refuses the records of the one that is fast (`message.timestamp.after.max.ms`, an hour).
const FAST: i32 = 55;
const HOUR_MS: i64 = 3_600_000;

/// The time by the clock of a node, when something happened to it last.
fn time_ms(cluster: &Cluster<'_>, node: &str) -> i64 {
    let events = cluster.get(node, "/events").expect("the node answers");
    let last = events.lines().last().expect("it has joined");
    let last: Value = serde_json::from_str(last).expect("a line is JSON");
    last["at_ms"].as_i64().expect("a time")
}

#[test]
fn clocks_that_differ_by_more_than_an_hour_have_no_effect() {
    let clock = WallClock::new();
    under_load("clocks differ", |cluster| {
        for (node, minutes) in [("n2", FAST), ("n3", -FAST)] {
            cluster.stop(node);
            cluster.add_with(node, &clock.fast_by(minutes));
            cluster.await_whole();
        }
        let apart_ms = time_ms(cluster, "n2") - time_ms(cluster, "n3");
        assert!(apart_ms > HOUR_MS, "their clocks are {apart_ms} ms apart");
        // The one that is fast becomes the director, and the one that is slow its heir.
        cluster.kill(&["n1"]);
        cluster.await_whole();
        cluster.add("n1");
        cluster.await_whole();
        for node in ["n2", "n3"] {
            cluster.freeze(node);
            cluster.await_whole();
            cluster.thaw(node);
            let put_out = "the others went on without this node";
            cluster.node(node).until_logged(put_out);
            cluster.await_whole();
        }
    });
}
