use rdkafka::mocking::MockCluster;
use tokio::time::timeout;

use super::super::KafkaSettings;
use super::*;

/// Far below the quarter of an hour for which a client believes what it knows of a topic.
const SOON: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_leader_that_died_is_not_asked_for_ever() {
    const TOPIC: &str = "words";
    let brokers = MockCluster::new(3).unwrap();
    brokers.create_topic(TOPIC, 2, 3).unwrap();
    brokers.partition_leader(TOPIC, 0, Some(1)).unwrap();
    brokers.partition_leader(TOPIC, 1, Some(2)).unwrap();
    let kafka = Kafka::new(KafkaSettings::new(brokers.bootstrap_servers(), "app")).unwrap();
    let partitions = [0, 1].map(|it| TopicPartition::new(TOPIC, Partition(it)));
    kafka.offsets(&partitions).await.unwrap();
    brokers.partition_leader(TOPIC, 0, Some(3)).unwrap();
    brokers.broker_down(1).unwrap();
    let told = timeout(SOON, kafka.offsets(&partitions)).await;
    assert_eq!(told.expect("it asks whom it has to").unwrap().len(), 2);
}
