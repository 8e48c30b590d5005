//! The memory ports: a broker in this process, on virtual time.

use std::sync::Arc;

use tanist::memory::MemoryBroker;
use tanist_actors::port::TokioClock;
use tanist_broker::{BrokerPort, Settings};
use tanist_cluster::Millis;
use tokio::runtime::{Builder, Runtime};

/// What time it is when a test begins.
const BEGIN: Millis = Millis(1_700_000_000_000);

/// Where a test runs: on virtual time if it is `paused`, else on time that passes while a store blocks.
pub fn runtime(paused: bool) -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .start_paused(paused)
        .build()
        .expect("a runtime can be built")
}

/// A clock for a test; to be made on its runtime.
pub fn clock() -> TokioClock {
    TokioClock::starting_at(BEGIN)
}

/// A broker, and what is behind it.
pub fn broker(seed: u64) -> (MemoryBroker, BrokerPort) {
    let port = BrokerPort::new(Settings::default());
    let broker = MemoryBroker::new(port.clone(), Arc::new(clock()), seed);
    (broker, port)
}
