//! A node that has joined, and whose producers the broker does not let begin.

use tanist_broker::{ApiKey, Fault, FaultRule};
use tanist_tests::cluster::Cluster;
use tanist_tests::node::Orders;

use super::turn;

/// Nobody is taken for dead because of silence: that would take longer than the test may.
const PATIENT: &[&str] = &["--failure-timeout", "10m"];

/// Starts a node, and kills it while it waits for its producer.
fn dies_unarmed(orders: &Orders, cluster: &mut Cluster<'_>, name: &str) {
    let faults = orders.broker().inner().faults();
    // Those of nodes; a fence comes from another client.
    let lost = FaultRule::new(Fault::LoseRequest)
        .api(ApiKey::InitProducerId)
        .client("orders")
        .times(u64::MAX);
    let lost = faults.add(lost);
    cluster.add(name);
    cluster.node(name).until_logged("joined as member");
    cluster.node(name).until("it asks for a producer", |_| {
        (faults.hits(lost) > 0).then_some(())
    });
    cluster.kill(&[name]);
    faults.remove(lost);
}

#[test]
fn a_node_that_dies_before_it_could_write_leaves_its_name_and_nothing_to_wait_for() {
    let _turn = turn();
    let orders = Orders::embedded();
    let mut cluster = Cluster::start_with(&orders, &[], PATIENT);
    dies_unarmed(&orders, &mut cluster, "n1");
    cluster.add("n1");
    cluster.await_whole();
    let load = orders.generate(200, &["--accounts", "50"]);
    orders.await_progress(cluster.node("n1"));
    dies_unarmed(&orders, &mut cluster, "n2");
    orders.await_progress(cluster.node("n1"));
    cluster.add("n2");
    cluster.await_whole();
    load.stop();
    for node in ["n2", "n1"] {
        cluster.stop(node);
    }
    orders.judge("n1");
}
