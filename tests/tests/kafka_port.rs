//! The log and broker ports on Kafka: the cases that all implementations share, and what only a network, a clock and a
//! broker of its own bring about.

#[path = "kafka_port/faults.rs"]
mod faults;
#[path = "kafka_port/node.rs"]
mod node;
#[path = "kafka_port/noticing.rs"]
mod noticing;
#[path = "kafka_port/reading.rs"]
mod reading;
#[path = "kafka_port/support.rs"]
mod support;

use tanist_actors::port::TopicPartition;
use tanist_cluster::Offset;
use tanist_tests::broker::TestBroker;
use tanist_tests::port_cases::{Ports, cases};

use support::{kafka, run};

#[test]
fn kafka_keeps_the_rules_of_the_ports() {
    let broker = TestBroker::start();
    let kafka = kafka(&broker, &[]);
    for case in cases() {
        println!("{}", case.rule);
        let ports = Ports {
            broker: &kafka,
            prefix: broker.unique("ports"),
            delete_records: &|partition: TopicPartition, below: Offset| {
                let number = partition.partition.0;
                let deleted = broker
                    .raw()
                    .delete_records(&partition.topic, number, below.0);
                assert_eq!(deleted.0, 0, "the records can be deleted");
                Box::pin(async {})
            },
        };
        run(case.run(&ports));
    }
}
