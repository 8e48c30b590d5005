//! Several nodes, each a process, under load: killed, frozen, stopped and added, while an independent reader counts.

#[path = "cluster/clocks.rs"]
mod clocks;
#[path = "cluster/events.rs"]
mod events;
#[path = "cluster/machines.rs"]
mod machines;
#[path = "cluster/outages.rs"]
mod outages;
#[path = "cluster/queries.rs"]
mod queries;
#[path = "cluster/unarmed.rs"]
mod unarmed;

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
