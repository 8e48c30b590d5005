//! Nodes that listen for other machines.

use std::net::{IpAddr, UdpSocket};

use serde_json::Value;
use tanist_tests::cluster::Cluster;
use tanist_tests::node::Orders;

use super::{NODES, turn};

/// The address by which this machine would send to others; nothing is sent.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Of a network that is for examples.
    socket.connect("192.0.2.1:9").ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
}

#[test]
#[allow(clippy::print_stderr, reason = "whoever runs the tests has to know")]
fn nodes_reach_each_other_where_they_say_and_see_there_that_one_is_gone() {
    let Some(ip) = own_address() else {
        eprintln!("SKIPPED: this machine has no network");
        return;
    };
    let _turn = turn();
    let orders = Orders::embedded();
    let advertised = format!("{ip}:0");
    let args = [
        "--http",
        "0.0.0.0:0",
        "--advertised-http",
        &advertised,
        // Nobody is taken for dead because of silence: that would take longer than the test may.
        "--failure-timeout",
        "10m",
    ];
    let mut cluster = Cluster::start_with(&orders, &NODES, &args);
    let status = cluster.get("n1", "/cluster").expect("it answers");
    let status: Value = serde_json::from_str(&status).expect("a status");
    for node in status["nodes"].as_array().expect("nodes") {
        let http = node["http"].as_str().unwrap_or_default();
        assert!(http.starts_with(&format!("{ip}:")), "{node}");
        assert!(node["told"].is_object(), "{node}");
    }
    cluster.kill(&["n3"]);
    cluster.await_whole();
    cluster.kill(&["n1"]);
    cluster.await_whole();
}
