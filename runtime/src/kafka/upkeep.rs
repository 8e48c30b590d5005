//! The thread that keeps a node's clients going: serves their common queues, and looks whether the brokers answer.

use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use rdkafka::consumer::Consumer as _;

use super::Shared;
use super::admin::heard_of;
use super::consumer::EVENTS_AT_ONCE;
use super::link::probe;

/// How often the queues are served. There is little in them, and nothing that is urgent.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a broker may take to say that it is there.
const PROBE: Duration = Duration::from_secs(1);

/// Runs until the node's clients are gone.
pub(super) fn start(shared: &Arc<Shared>) -> std::io::Result<()> {
    let shared = Arc::downgrade(shared);
    thread::Builder::new()
        .name("tanist-kafka".into())
        .spawn(move || run(&shared))?;
    Ok(())
}

fn run(shared: &Weak<Shared>) {
    while let Some(shared) = shared.upgrade() {
        for _ in 0..EVENTS_AT_ONCE {
            // Whatever it is, `Context` has been told.
            let _ = shared.admin.poll(Duration::ZERO);
            let _ = shared.ends.poll(Duration::ZERO);
        }
        for consumer in shared.consumers_in_use() {
            consumer.serve();
            consumer.look_for_lost_partitions(|names| heard_of(&shared.admin, names, PROBE));
        }
        if shared.link.is_suspected() || shared.link.is_lost() {
            match probe(shared.admin.client(), PROBE) {
                Ok(()) => shared.link.answered(),
                Err(error) => shared.link.lost(&error.to_string()),
            }
        }
        drop(shared);
        thread::sleep(PAUSE);
    }
}
