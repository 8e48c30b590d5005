//! [`Sender`]: sends records of the command line and of generators, many at a time, outside of transactions.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, ProducerContext, ThreadedProducer};
use tanist_actors::port::{BrokerError, TopicPartition};
use tanist_cluster::Millis;
use tokio::sync::Notify;

use super::Kafka;
use super::context::Context;
use super::error::{is_transient, refused};
use super::outgoing;

/// How many records may wait to be acknowledged.
const MAX_WAITING: u64 = 100_000;
/// How long to wait for more before a request is sent: small records are cheap only together.
const LINGER_MS: u64 = 5;
/// How long to wait when the client's queue is full.
const QUEUE_IS_FULL: Duration = Duration::from_millis(5);

/// See the module. What it sends arrives once and in order, partition by partition.
pub struct Sender {
    producer: ThreadedProducer<Listener>,
    fate: Arc<Fate>,
    address: String,
}

/// What became of the records.
#[derive(Default)]
struct Fate {
    sent: AtomicU64,
    delivered: AtomicU64,
    first_failure: Mutex<Option<KafkaError>>,
    changed: Notify,
}

struct Listener {
    context: Context,
    fate: Arc<Fate>,
}

impl Kafka {
    /// A new sender. Waits for nothing.
    pub fn sender(&self) -> Result<Sender, BrokerError> {
        let settings = &self.shared.settings;
        let patience = settings.broker_timeout.unwrap_or_default();
        let mut config = settings.producer();
        for (name, value) in [
            // 0 is for ever.
            ("message.timeout.ms", patience.as_millis() as u64),
            ("queue.buffering.max.messages", MAX_WAITING),
            ("linger.ms", LINGER_MS),
        ] {
            config.set(name, value.to_string());
        }
        let fate = Arc::new(Fate::default());
        let listener = Listener {
            context: Context::new("sender", self.shared.link.clone()),
            fate: fate.clone(),
        };
        let producer = config
            .create_with_context(listener)
            .map_err(|error| refused("start a producer", error))?;
        Ok(Sender {
            producer,
            fate,
            address: settings.brokers.clone(),
        })
    }
}

impl Sender {
    /// Takes a record on its way; waits while too many are. Without a timestamp it bears the time of now. The error may
    /// be that of a record before it.
    pub async fn send(
        &self,
        partition: &TopicPartition,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        timestamp: Option<Millis>,
    ) -> Result<(), BrokerError> {
        let mut record = BaseRecord::<[u8], [u8]>::to(&partition.topic);
        record.partition = Some(partition.partition.0);
        record.timestamp = timestamp.map(outgoing::timestamp);
        (record.key, record.payload) = (key, value);
        loop {
            self.check()?;
            match self.producer.send(record) {
                Ok(()) => {
                    self.fate.sent.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), unsent)) => {
                    record = unsent;
                    tokio::time::sleep(QUEUE_IS_FULL).await;
                }
                Err((error, _)) => return Err(self.error(&error)),
            }
        }
    }

    /// Until all records that were sent are acknowledged.
    pub async fn flush(&self) -> Result<(), BrokerError> {
        loop {
            let changed = self.fate.changed.notified();
            self.check()?;
            if self.delivered() >= self.taken() {
                return Ok(());
            }
            changed.await;
        }
    }

    /// How many records were taken on their way.
    pub fn taken(&self) -> u64 {
        self.fate.sent.load(Ordering::Relaxed)
    }

    /// How many records were acknowledged.
    pub fn delivered(&self) -> u64 {
        self.fate.delivered.load(Ordering::Relaxed)
    }

    fn check(&self) -> Result<(), BrokerError> {
        let failure = self.fate.first_failure();
        failure
            .as_ref()
            .map_or(Ok(()), |error| Err(self.error(error)))
    }

    fn error(&self, error: &KafkaError) -> BrokerError {
        let timed_out = KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut);
        if *error != timed_out && !is_transient(error) {
            return refused("take a record", error);
        }
        BrokerError::Unreachable {
            address: self.address.clone(),
            reason: format!("{} records were acknowledged, then none", self.delivered()),
        }
    }
}

impl Fate {
    fn first_failure(&self) -> MutexGuard<'_, Option<KafkaError>> {
        // A whole value is put in.
        self.first_failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Listener {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.context.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.context.error(error, reason);
    }
}

impl ProducerContext for Listener {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => {
                self.fate.delivered.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, _)) => {
                self.fate
                    .first_failure()
                    .get_or_insert_with(|| error.clone());
            }
        }
        self.fate.changed.notify_waiters();
    }
}
