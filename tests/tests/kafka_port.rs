//! The log and broker ports on Kafka: the cases that all implementations share.

use tanist::kafka::{Kafka, KafkaSettings};
use tanist_actors::port::TopicPartition;
use tanist_cluster::Offset;
use tanist_tests::broker::TestBroker;
use tanist_tests::port_cases::{Ports, cases};

#[test]
fn kafka_keeps_the_rules_of_the_ports() {
    let broker = TestBroker::start();
    let settings = KafkaSettings::new(broker.bootstrap(), broker.unique("app"));
    let kafka = Kafka::new(settings).expect("the settings are right");
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
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime can be built");
        runtime.block_on(case.run(&ports));
    }
}
