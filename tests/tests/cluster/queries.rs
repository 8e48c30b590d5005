//! Asking: every node answers for all of them, and says so when a copy has answered.

use std::collections::BTreeSet;

use serde_json::Value;
use tanist_actors::partitioner::partition_of;
use tanist_tests::cluster::Cluster;
use tanist_tests::node::{Orders, PARTITIONS};

use super::NODES;

const TABLE: &str = "/tables/order_count";

fn json(cluster: &Cluster<'_>, node: &str, path: &str) -> Value {
    let answer = cluster.get(node, path).expect("the node answers");
    serde_json::from_str(&answer)
        .unwrap_or_else(|error| panic!("{node}, {path}: {error}: {answer}"))
}

/// All entries, page by page, none of which is stale.
fn scan(cluster: &Cluster<'_>, node: &str) -> Vec<Value> {
    let (mut entries, mut after) = (Vec::new(), String::new());
    loop {
        let page = json(cluster, node, &format!("{TABLE}?limit=7{after}"));
        assert_eq!(page["stale"], Value::Null, "{node}: {page}");
        entries.extend(page["entries"].as_array().expect("a page").iter().cloned());
        match page["after"].as_str() {
            Some(last) => after = format!("&after={last}"),
            None => return entries,
        }
    }
}

fn shard_of(key: &str) -> String {
    let partition = partition_of(key.as_bytes(), PARTITIONS);
    format!("account-repartition/{partition}")
}

/// Each shard with its node and role there.
fn placed(status: &Value) -> BTreeSet<[String; 3]> {
    let shards = status["shards"].as_array().expect("a status").iter();
    let text = |it: &Value| it.as_str().expect("a text").to_owned();
    let placed = shards.map(|it| [&it["shard"], &it["node"], &it["role"]].map(text));
    placed.collect()
}

fn names(status: &Value) -> Vec<&str> {
    let nodes = status["nodes"].as_array().expect("a status").iter();
    nodes.filter_map(|it| it["node"].as_str()).collect()
}

fn keys(entries: &[Value]) -> Vec<&str> {
    entries.iter().filter_map(|it| it["key"].as_str()).collect()
}

#[test]
fn every_node_answers_for_all_of_them() {
    let orders = Orders::start();
    let load = orders.generate(0, &["--accounts", "40", "--records", "400"]);
    load.expect_end(0);
    let mut cluster = Cluster::start(&orders, &NODES);
    let counted = orders.await_all(cluster.node("n1"));
    let entries = scan(&cluster, "n1");
    let keys = keys(&entries);
    assert!(keys.len() >= 40 && keys.is_sorted(), "{keys:?}");
    let counts = entries
        .iter()
        .filter_map(|it| it["value"]["count"].as_u64());
    assert_eq!(counts.sum::<u64>(), counted);
    let status = json(&cluster, "n1", "/cluster");
    assert_eq!(names(&status), cluster.by_age());
    for node in NODES {
        assert_eq!(scan(&cluster, node), entries, "{node}");
        for entry in &entries {
            let key = entry["key"].as_str().expect("keys are texts");
            for how in ["", "?stale-ok=true"] {
                let found = json(&cluster, node, &format!("{TABLE}/{key}{how}"));
                assert_eq!(
                    found["value"], entry["value"],
                    "{node}, {key}{how}: {found}"
                );
            }
        }
        let missing = json(&cluster, node, &format!("{TABLE}/nobody"));
        assert_eq!(missing["kind"], "no_key", "{node}: {missing}");
        let same = json(&cluster, node, "/cluster");
        assert_eq!(names(&same), names(&status), "{node}");
        assert_eq!(placed(&same), placed(&status), "{node}");
        assert_eq!(json(&cluster, node, "/plan"), json(&cluster, "n1", "/plan"));
    }
}

#[test]
fn while_the_active_is_away_a_copy_answers_with_its_lag_and_status_names_who_is_silent() {
    let orders = Orders::start();
    let load = orders.generate(0, &["--accounts", "40", "--records", "400"]);
    load.expect_end(0);
    // As long as the director is frozen, nobody takes over.
    let mut cluster = Cluster::start_with(&orders, &NODES, &["--failure-timeout", "30s"]);
    orders.await_all(cluster.node("n1"));
    let entries = scan(&cluster, "n1");
    let by_age = cluster.by_age();
    let director = &by_age[0];
    let roles = placed(&json(&cluster, director, "/cluster"));
    let has = |shard: &str, node: &str, role: &str| {
        roles.contains(&[shard, node, role].map(str::to_owned))
    };
    // Standbys are balanced, so that not all are on the director.
    let found = keys(&entries).into_iter().find_map(|key| {
        let shard = shard_of(key);
        let pairs = [[&by_age[1], &by_age[2]], [&by_age[2], &by_age[1]]];
        let fits = |[victim, witness]: &[&String; 2]| {
            has(&shard, victim, "active") && has(&shard, witness, "standby")
        };
        Some((key, pairs.into_iter().find(fits)?))
    });
    let of_director = keys(&entries).into_iter().find_map(|key| {
        let shard = shard_of(key);
        let stranger = by_age[1..]
            .iter()
            .find(|node| !has(&shard, node, "standby"))?;
        has(&shard, director, "active").then_some((key, stranger))
    });
    let (frozen_key, stranger) = of_director.unwrap_or_else(|| panic!("no key in {roles:?}"));
    let (key, [victim, witness]) = found.unwrap_or_else(|| panic!("no pair in {roles:?}"));
    let entry = entries.iter().find(|it| it["key"] == key).expect("found");
    cluster.freeze(director);
    // It takes the question, and never answers it.
    let path = format!("{TABLE}/{frozen_key}?stale-ok=true");
    let found = json(&cluster, stranger, &path);
    assert_eq!(found["stale"], true, "{found}");
    cluster.kill(&[victim]);
    let found = json(&cluster, witness, &format!("{TABLE}/{key}"));
    assert_eq!(
        (&found["value"], &found["stale"], &found["lag_records"]),
        (&entry["value"], &true.into(), &0.into()),
        "{found}"
    );
    let ended = orders.ask(witness, &["get", "order_count", key]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.stderr.contains("stale: ") && ended.stderr.contains(" 0 records behind"),
        "{ended:?}"
    );
    let status = json(&cluster, witness, "/cluster");
    let nodes = status["nodes"].as_array().expect("a status").iter();
    let silent = nodes.filter(|it| !it["error"].is_null());
    let silent: Vec<&str> = silent.filter_map(|it| it["node"].as_str()).collect();
    assert_eq!(silent, [director, victim], "{status}");
    cluster.thaw(director);
    cluster.await_whole();
    assert_eq!(scan(&cluster, witness), entries);
}
