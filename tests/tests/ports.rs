//! The log and broker ports: one list of cases for all implementations.

use std::sync::Arc;

use tanist::memory::MemoryBroker;
use tanist_actors::port::{Clock, TokioClock, TopicPartition};
use tanist_broker::{BrokerPort, Settings};
use tanist_cluster::{Millis, Offset};
use tanist_tests::port_cases::{Case, Ports, cases};

#[test]
fn the_memory_ports_keep_the_rules_whatever_their_seed() {
    for case in cases() {
        for seed in 0..20 {
            println!("{}, seed {seed}", case.rule);
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .expect("a runtime can be built");
            runtime.block_on(on_memory(case, seed));
        }
    }
}

async fn on_memory(case: &Case, seed: u64) {
    let clock = TokioClock::starting_at(Millis(1_700_000_000_000));
    let port = BrokerPort::new(Settings::default());
    let broker = MemoryBroker::new(port.clone(), Arc::new(clock), seed);
    let ports = Ports {
        broker: &broker,
        prefix: "ports".to_owned(),
        delete_records: &|partition: TopicPartition, below: Offset| {
            let port = port.clone();
            Box::pin(async move {
                let now = tanist_broker::Millis(clock.now().0);
                let address =
                    tanist_broker::TopicPartition::new(&*partition.topic, partition.partition.0);
                port.delete_records(&address, Some(below.0), now)
                    .expect("the records can be deleted");
            })
        },
    };
    case.run(&ports).await;
}
