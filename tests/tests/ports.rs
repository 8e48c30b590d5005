//! The log and broker ports: one list of cases for all implementations.

use tanist_actors::port::{Clock, TopicPartition};
use tanist_cluster::Offset;
use tanist_tests::memory;
use tanist_tests::port_cases::{Case, Ports, cases};

#[test]
fn the_memory_ports_keep_the_rules_whatever_their_seed() {
    for case in cases() {
        for seed in 0..20 {
            println!("{}, seed {seed}", case.rule);
            memory::runtime(true).block_on(on_memory(case, seed));
        }
    }
}

async fn on_memory(case: &Case, seed: u64) {
    let clock = memory::clock();
    let (broker, port) = memory::broker(seed);
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
