//! Clients with the settings that were measured to be best, and the end of a topic.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::Result;

/// Partitions of every topic.
pub(crate) const PARTITIONS: i32 = 8;

/// Longest time for any single call, and for what is due to make progress.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Records per call of librdkafka; 100 and 10,000 are no faster.
pub(crate) const BATCH_RECORDS: usize = 1000;

/// How long a call waits for records. Queues are full but at the end, so it hardly matters.
pub(crate) const BATCH_WAIT: Duration = Duration::from_millis(5);

/// The name of an app's changelog, as Tanist has it.
pub(crate) fn changelog(app: &str) -> String {
    format!("{app}-order_count-changelog")
}

/// A consumer that is assigned its partitions and never joins its group.
pub(crate) fn consumer(broker: &str, group: &str) -> Result<BaseConsumer> {
    Ok(ClientConfig::new()
        .set("bootstrap.servers", broker)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("isolation.level", "read_committed")
        // The defaults idle a fast consumer most of the time (1 s of back-off with a full queue), and leave the first
        // fetch of a partition behind a long poll.
        .set("fetch.queue.backoff.ms", "2")
        .set("fetch.wait.max.ms", "10")
        // As fast as 100,000, in a sixth of the memory.
        .set("queued.min.messages", "10000")
        // What is fetched at once stays in the processor's cache: with 1 MiB, the default, a fifth more CPU, and 160 MB in
        // place of 65 with two topics.
        .set("fetch.message.max.bytes", "262144")
        .create()?)
}

/// Settings of a transactional producer.
pub(crate) fn transactional(broker: &str, id: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", broker)
        .set("transactional.id", id)
        // As Java's, so that topics of other clients are partitioned alike.
        .set("partitioner", "murmur2_random")
        .set("transaction.timeout.ms", "60000");
    config
}

/// How far each partition of a topic has been read, and has to be.
pub(crate) struct Progress {
    pub(crate) next: Vec<i64>,
    ends: Vec<i64>,
    unfinished: usize,
}

impl Progress {
    /// Up to the ends that the topic has now. Ask before the consumer fetches: later the question waits behind a poll.
    pub(crate) fn to_present_end(consumer: &BaseConsumer, topic: &str) -> Result<Progress> {
        let mut ends = Vec::new();
        for partition in 0..PARTITIONS {
            ends.push(consumer.fetch_watermarks(topic, partition, PATIENCE)?.1);
        }
        let unfinished = ends.iter().filter(|end| **end > 0).count();
        Ok(Progress {
            next: vec![0; ends.len()],
            ends,
            unfinished,
        })
    }

    pub(crate) fn took(&mut self, partition: i32, offset: i64) {
        let partition = partition as usize;
        self.next[partition] = offset + 1;
        if self.next[partition] == self.ends[partition] {
            self.unfinished -= 1;
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.unfinished == 0
    }

    /// The number of records up to the ends.
    pub(crate) fn records(&self) -> u64 {
        self.ends.iter().sum::<i64>().unsigned_abs()
    }
}

/// All partitions of the topics, from their start.
pub(crate) fn assign_from_start(consumer: &BaseConsumer, topics: &[&str]) -> Result<()> {
    let mut assignment = TopicPartitionList::new();
    for topic in topics {
        for partition in 0..PARTITIONS {
            assignment.add_partition_offset(topic, partition, Offset::Offset(0))?;
        }
    }
    Ok(consumer.assign(&assignment)?)
}

/// Fails when nothing moves for longer than [`PATIENCE`].
pub(crate) struct Watch {
    moved: Instant,
}

impl Watch {
    pub(crate) fn new() -> Watch {
        Watch {
            moved: Instant::now(),
        }
    }

    pub(crate) fn check(&mut self, now: Instant, moved: bool) -> Result<()> {
        if moved {
            self.moved = now;
        } else if now - self.moved > PATIENCE {
            return Err(format!("no record for {} s", PATIENCE.as_secs()).into());
        }
        Ok(())
    }
}
