//! Reads what is committed in a topic, from its start to its end.
#![allow(clippy::disallowed_methods, reason = "a test waits in real time")]

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// A topic that the broker still does not know after this time does not exist.
const TOPIC_APPEARS_WITHIN: Duration = Duration::from_secs(2);
/// How often a follower looks whether it has read enough.
const FOLLOW_PATIENCE: Duration = Duration::from_millis(50);

/// Why a topic could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The broker does not know the topic.
    #[error("topic {topic} does not exist on {broker}: has anything been written to it yet?")]
    NoTopic {
        /// The topic that was asked for.
        topic: String,
        /// The broker that was asked.
        broker: String,
    },
    /// Time was up.
    #[error(
        "read {records} records of {topic} in {seconds} s without reaching the end of partitions {missing:?}"
    )]
    TimedOut {
        /// The topic that was read.
        topic: String,
        /// How many records arrived.
        records: u64,
        /// The limit that the caller gave.
        seconds: u64,
        /// The partitions whose end was not reached.
        missing: BTreeSet<i32>,
    },
    /// The client says so.
    #[error("cannot read {topic}: {source}")]
    Client {
        /// The topic that was to be read.
        topic: String,
        /// What the client says.
        source: KafkaError,
    },
}

/// Hands each committed record of `topic` to `each`, in order within a partition, until every partition has been read to
/// the end (the last stable offset) that it had when the reader came to it. Returns the number of records.
///
/// # Errors
/// When the topic does not exist, its ends are not reached within `limit`, or the client fails.
pub fn read_committed(
    broker: &str,
    topic: &str,
    limit: Duration,
    mut each: impl FnMut(&BorrowedMessage<'_>),
) -> Result<u64, ReadError> {
    let deadline = Instant::now() + limit;
    let (consumer, mut missing) = open(broker, topic, limit)?;

    let mut records = 0;
    while !missing.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        match consumer.poll(left) {
            None => {
                return Err(ReadError::TimedOut {
                    topic: topic.into(),
                    records,
                    seconds: limit.as_secs(),
                    missing,
                });
            }
            Some(Ok(message)) => {
                records += 1;
                each(&message);
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                missing.remove(&partition);
            }
            // The client connects again by itself; the deadline bounds how long it may try.
            Some(Err(error)) if is_transient(&error) => {}
            Some(Err(error)) => return Err(client_error(topic, error)),
        }
    }
    Ok(records)
}

/// Hands each committed record of `topic` to `each` as it comes, from the start of the topic, until `enough` says so
/// and every partition has been read to its end. Goes on when the broker was away. Returns the number of records.
///
/// # Errors
/// When the topic does not exist, its ends are not reached within `limit` after `enough`, or the client fails.
pub fn follow_committed(
    broker: &str,
    topic: &str,
    limit: Duration,
    mut enough: impl FnMut() -> bool,
    mut each: impl FnMut(&BorrowedMessage<'_>),
) -> Result<u64, ReadError> {
    let (consumer, all) = open(broker, topic, limit)?;
    // An idle tail says only once that it is at its end.
    let mut at_end = BTreeSet::new();
    let (mut records, mut deadline) = (0, None);
    loop {
        match consumer.poll(FOLLOW_PATIENCE) {
            None => {}
            Some(Ok(message)) => {
                records += 1;
                at_end.remove(&message.partition());
                each(&message);
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                at_end.insert(partition);
            }
            Some(Err(error)) if is_transient(&error) => {}
            Some(Err(error)) => return Err(client_error(topic, error)),
        }
        if deadline.is_none() && enough() {
            deadline = Some(Instant::now() + limit);
        }
        let Some(deadline) = deadline else { continue };
        if at_end == all {
            return Ok(records);
        }
        if Instant::now() > deadline {
            return Err(ReadError::TimedOut {
                topic: topic.into(),
                records,
                seconds: limit.as_secs(),
                missing: &all - &at_end,
            });
        }
    }
}

/// A consumer at the start of all partitions of `topic`, and these.
fn open(
    broker: &str,
    topic: &str,
    limit: Duration,
) -> Result<(BaseConsumer, BTreeSet<i32>), ReadError> {
    let client_error = |source| client_error(topic, source);
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker)
        .set("group.id", "tanist-reader")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "10")
        .set("fetch.queue.backoff.ms", "2")
        .set("reconnect.backoff.max.ms", "200")
        .create()
        .map_err(client_error)?;
    let partitions = partitions(&consumer, broker, topic, limit)?;
    let mut assignment = TopicPartitionList::new();
    for partition in &partitions {
        assignment
            .add_partition_offset(topic, *partition, Offset::Beginning)
            .map_err(client_error)?;
    }
    consumer.assign(&assignment).map_err(client_error)?;
    Ok((consumer, partitions))
}

fn client_error(topic: &str, source: KafkaError) -> ReadError {
    ReadError::Client {
        topic: topic.into(),
        source,
    }
}

/// The partitions of the topic; waits a moment for one that has just been created, which brokers tell each other.
fn partitions(
    consumer: &BaseConsumer,
    broker: &str,
    topic: &str,
    limit: Duration,
) -> Result<BTreeSet<i32>, ReadError> {
    let patience = Instant::now() + limit.min(TOPIC_APPEARS_WITHIN);
    loop {
        let metadata = consumer
            .fetch_metadata(Some(topic), limit)
            .map_err(|source| ReadError::Client {
                topic: topic.into(),
                source,
            })?;
        let partitions = metadata
            .topics()
            .iter()
            .flat_map(|topic| topic.partitions());
        let partitions: BTreeSet<i32> = partitions.map(|partition| partition.id()).collect();
        if !partitions.is_empty() {
            return Ok(partitions);
        }
        if Instant::now() >= patience {
            return Err(ReadError::NoTopic {
                topic: topic.into(),
                broker: broker.into(),
            });
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn is_transient(error: &KafkaError) -> bool {
    use rdkafka::error::RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure};
    matches!(
        error.rdkafka_error_code(),
        Some(AllBrokersDown | BrokerTransportFailure)
    )
}
