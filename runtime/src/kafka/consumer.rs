//! [`Consumer`]: the client that reads partitions for a worker, or for the node itself.
//!
//! Never subscribed: what is read is assigned, one partition at a time, each with a queue of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rdkafka::client::Client;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::{
    Offset as Position, TopicPartitionList, TopicPartitionListElem,
};
use tanist_actors::port::{BrokerError, LogError, TopicPartition};
use tanist_cluster::Offset;
use tokio::sync::Notify;

use super::admin::Counts;
use super::context::Context;
use super::error::{is_transient, refused};
use super::link::Link;
use super::raw::{KnownTopic, PartitionQueue};
use super::settings::KafkaSettings;
use super::source::KafkaSource;

/// How many events of the common queue are served in one go. There are few: log lines and broken connections.
pub(super) const EVENTS_AT_ONCE: usize = 16;
/// How long a seek may take. It asks the client's own thread, not the broker.
const SEEK_LIMIT: Duration = Duration::from_secs(5);

/// Reads partitions that it is given one by one.
pub(super) struct Consumer {
    client: Arc<BaseConsumer<Context>>,
    /// A partition can be read by one source at a time: they would share its queue.
    open: Mutex<BTreeMap<TopicPartition, Weak<Gone>>>,
}

impl Consumer {
    /// A consumer that reads nothing yet. Does not wait for the broker.
    pub(super) fn new(
        settings: &KafkaSettings,
        link: Arc<Link>,
        name: &'static str,
    ) -> Result<Self, BrokerError> {
        let client = settings
            .consumer()
            .create_with_context(Context::new(name, link))
            .map_err(|error| refused("start a consumer", error))?;
        Ok(Self {
            client: Arc::new(client),
            open: Mutex::default(),
        })
    }

    /// Begins to read `partition` at `from`.
    pub(super) fn open(
        self: &Arc<Self>,
        partition: &TopicPartition,
        from: Offset,
        ready: Arc<Notify>,
    ) -> Result<KafkaSource, LogError> {
        let lease = self.lease(partition, ready.clone())?;
        // Split before it is assigned: what is fetched in between would end in the common queue.
        let (topic, number) = (&partition.topic, partition.partition.0);
        let queue = PartitionQueue::split(self.client.clone(), topic, number, ready)
            .ok_or_else(|| broken(partition, "it has no queue"))?;
        lease.assign(from)?;
        Ok(KafkaSource::new(queue, lease))
    }

    /// Lets it know a topic, so that its partitions deliver soon after they are opened: what is opened of a topic that is
    /// not known yet waits for the next look at it, a tenth of a second later.
    pub(super) fn know(
        &self,
        topic: &str,
    ) -> Result<KnownTopic<BaseConsumer<Context>>, KafkaError> {
        KnownTopic::of_consumer(&self.client, topic)
    }

    fn lease(
        self: &Arc<Self>,
        partition: &TopicPartition,
        ready: Arc<Notify>,
    ) -> Result<Lease, LogError> {
        let mut opened = self.opened();
        if opened.contains_key(partition) {
            return Err(broken(partition, "it is being read already"));
        }
        let gone = Arc::new(Gone {
            is_gone: AtomicBool::new(false),
            ready,
        });
        opened.insert(partition.clone(), Arc::downgrade(&gone));
        Ok(Lease {
            consumer: self.clone(),
            partition: partition.clone(),
            gone,
        })
    }

    /// If there was an alarm, tells the sources of those partitions that `topics` does not know any more.
    pub(super) fn look_for_lost_partitions(
        &self,
        topics: impl Fn(&[Arc<str>]) -> KafkaResult<Counts>,
    ) {
        if !self.client.context().take_alarm() {
            return;
        }
        let names: BTreeSet<Arc<str>> = self
            .opened()
            .keys()
            .map(|open| open.topic.clone())
            .collect();
        let Ok(known) = topics(&Vec::from_iter(names)) else {
            self.client.context().raise_alarm();
            return;
        };
        for (partition, gone) in self.opened().iter() {
            let count = known.get(&partition.topic).copied().unwrap_or(0);
            if partition.partition.0 >= count
                && let Some(gone) = gone.upgrade()
            {
                gone.is_gone.store(true, Ordering::Relaxed);
                gone.ready.notify_one();
            }
        }
    }

    /// What says to the broker in whose name offsets are committed.
    pub(super) fn group(&self) -> Option<ConsumerGroupMetadata> {
        self.client.group_metadata()
    }

    pub(super) fn client(&self) -> &Client<Context> {
        self.client.client()
    }

    /// Serves the common queue, where log lines and errors come in.
    pub(super) fn serve(&self) {
        for _ in 0..EVENTS_AT_ONCE {
            match self.client.poll(Duration::ZERO) {
                None => {}
                // `Context` has been told.
                Some(Err(error)) if is_transient(&error) => {}
                Some(Err(error)) => tracing::warn!(%error, "a consumer reports an error"),
                Some(Ok(_)) => tracing::error!(
                    "a record came out of the common queue: its partition was not split before it was assigned"
                ),
            }
        }
    }

    fn opened(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, Weak<Gone>>> {
        // One insertion or removal cannot be half done.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// That a partition is read by one source and by no other.
pub(super) struct Lease {
    consumer: Arc<Consumer>,
    partition: TopicPartition,
    gone: Arc<Gone>,
}

/// Whether a partition has turned out not to exist.
struct Gone {
    is_gone: AtomicBool,
    ready: Arc<Notify>,
}

impl Lease {
    pub(super) fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// True if the partition does not exist (any more).
    pub(super) fn is_gone(&self) -> bool {
        self.gone.is_gone.load(Ordering::Relaxed)
    }

    fn assign(&self, from: Offset) -> Result<(), LogError> {
        self.consumer
            .client
            .incremental_assign(&at(&self.partition, from)?)
            .map_err(|error| broken(&self.partition, error))
    }

    /// Goes on from `to`. When it returns, nothing from before comes out of the partition's queue any more.
    pub(super) fn seek(&self, to: Offset) -> Result<(), LogError> {
        let sought = self
            .consumer
            .client
            .seek_partitions(at(&self.partition, to)?, SEEK_LIMIT)
            .and_then(|list| {
                list.elements()
                    .iter()
                    .try_for_each(TopicPartitionListElem::error)
            });
        if let Err(error) = sought {
            // It has only just been assigned, or an earlier reading has not quite ended: begin anew.
            tracing::debug!(partition = %self.partition, %error, "assigned anew in place of a seek");
            self.unassign();
            self.assign(to)?;
        }
        Ok(())
    }

    /// Stops to read the partition.
    pub(super) fn unassign(&self) {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(&self.partition.topic, self.partition.partition.0);
        if let Err(error) = self.consumer.client.incremental_unassign(&list) {
            tracing::debug!(partition = %self.partition, %error, "was not assigned");
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.consumer.opened().remove(&self.partition);
    }
}

fn at(partition: &TopicPartition, offset: Offset) -> Result<TopicPartitionList, LogError> {
    let mut list = TopicPartitionList::with_capacity(1);
    let (topic, number) = (&partition.topic, partition.partition.0);
    list.add_partition_offset(topic, number, Position::Offset(offset.0))
        .map_err(|error: KafkaError| broken(partition, error))?;
    Ok(list)
}

fn broken(partition: &TopicPartition, reason: impl ToString) -> LogError {
    LogError::Broken {
        partition: partition.clone(),
        reason: reason.to_string(),
    }
}
