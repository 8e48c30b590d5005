//! Fills the topics that contestants read.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tanist_tests::raw::RawClient;

use crate::Result;
use crate::kafka::{PARTITIONS, PATIENCE};
use crate::orders::{GeneratedOrder, Tally, scramble};

/// Orders under the key of their account, partitioned as Java does.
pub(crate) const KEYED: &str = "orders-keyed";
/// The same orders without a key, on the partitions in turn.
pub(crate) const UNKEYED: &str = "orders-unkeyed";

/// Which orders a topic holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    Account,
    None,
}

/// Creates the topic and writes the first `records` orders of the sequence to it.
pub(crate) fn orders(broker: &str, topic: &str, keys: Keys, records: u64) -> Result<()> {
    let loader = Loader::new(broker, topic, &[])?;
    let mut json = Vec::new();
    for index in 0..records {
        let order = GeneratedOrder::new(index);
        order.write_json(&mut json)?;
        match keys {
            Keys::Account => loader.send(
                BaseRecord::to(topic)
                    .key(&order.account_id())
                    .payload(&json),
            )?,
            Keys::None => {
                let partition = (index % u64::from(PARTITIONS.unsigned_abs())) as i32;
                loader.send(
                    BaseRecord::<[u8], _>::to(topic)
                        .partition(partition)
                        .payload(&json),
                )?;
            }
        }
    }
    loader.finish()
}

/// Creates a changelog and writes a tally for each of `keys` keys to it, by `encode`, in random order.
pub(crate) fn changelog(
    broker: &str,
    topic: &str,
    keys: u64,
    encode: impl Fn(Tally) -> Result<Vec<u8>>,
) -> Result<()> {
    let loader = Loader::new(broker, topic, &[("cleanup.policy", "compact")])?;
    let mut numbers: Vec<u64> = (0..keys).collect();
    numbers.sort_by_key(|number| scramble(*number));
    for number in numbers {
        let (key, tally) = changelog_record(number);
        loader.send(BaseRecord::to(topic).key(&key).payload(&encode(tally)?))?;
    }
    loader.finish()
}

/// Key and value number `number` of a changelog.
pub(crate) fn changelog_record(number: u64) -> (String, Tally) {
    (
        format!("a{number}"),
        Tally {
            count: scramble(number) % 1000,
            total: number as f64 / 4.0,
        },
    )
}

struct Loader {
    producer: BaseProducer,
}

impl Loader {
    fn new(broker: &str, topic: &str, config: &[(&str, &str)]) -> Result<Loader> {
        RawClient::connect(broker).create_topic(topic, PARTITIONS, config);
        let producer = ClientConfig::new()
            .set("bootstrap.servers", broker)
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .set("linger.ms", "20")
            .create()?;
        Ok(Loader { producer })
    }

    fn send<K, P>(&self, mut record: BaseRecord<'_, K, P>) -> Result<()>
    where
        K: rdkafka::message::ToBytes + ?Sized,
        P: rdkafka::message::ToBytes + ?Sized,
    {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again))
                    if Instant::now() < deadline =>
                {
                    record = again;
                    self.producer.poll(Duration::from_millis(5));
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }

    fn finish(self) -> Result<()> {
        Ok(self.producer.flush(PATIENCE)?)
    }
}
