//! The broker in the same process: synchronous calls on the time of the caller, for test drivers and simulations. The
//! same calls at the same times give the same answers, always.

mod call;
mod producer;

use std::sync::Arc;

use kafka_protocol::messages::ApiKey;
use tokio::sync::watch;

use crate::core::{
    Bounds, Committed, Fetched, Incoming, Isolation, Millis, NewRecord, OffsetSpec, Outcome,
    Producer, Settings, TopicConfig, TopicDescription, TopicPartition, TransactionState,
};
use crate::error::Result;
use crate::faults::Faults;
use crate::hub::{Hub, Mode};

pub use producer::TransactionalProducer;

/// Who writes a batch, and its place in the row of the producer's batches for that partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The producer.
    pub producer: Producer,
    /// The number of the first record, counted per partition from 0 in each epoch.
    pub sequence: i32,
    /// Whether the batch belongs to the producer's open transaction.
    pub transactional: bool,
}

/// A handle on a broker in the same process; clones share it. Every call bears the client id of its handle, by which
/// faults find it, and takes the time of the caller, which must never go back.
#[derive(Clone)]
pub struct BrokerPort {
    hub: Arc<Hub>,
    client: Arc<str>,
}

impl std::fmt::Debug for BrokerPort {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("BrokerPort")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

impl BrokerPort {
    /// A broker of its own, without network, thread or clock.
    pub fn new(settings: Settings) -> Self {
        Self::of(Arc::new(Hub::new(settings)))
    }

    pub(crate) fn of(hub: Arc<Hub>) -> Self {
        Self {
            hub,
            client: Arc::from(""),
        }
    }

    /// The same broker, for the client with this id.
    #[must_use]
    pub fn client(&self, id: &str) -> Self {
        Self {
            hub: Arc::clone(&self.hub),
            client: Arc::from(id),
        }
    }

    /// The faults that a test has ordered.
    pub fn faults(&self) -> &Faults {
        &self.hub.faults
    }

    /// From now on calls get no answer (`RequestTimedOut`) and have no effect.
    pub fn pause(&self) {
        self.hub.set_mode(Mode::Paused);
    }

    /// From now on calls find nobody (`NetworkException`). What is stored stays. A broker with a port of its own is
    /// stopped by [`EmbeddedBroker::stop`](crate::EmbeddedBroker::stop), which closes that too.
    pub fn stop(&self) {
        self.hub.set_mode(Mode::Stopped);
    }

    /// Takes calls again.
    pub fn resume(&self) {
        self.hub.set_mode(Mode::Running);
    }

    /// Lets time pass: aborts overdue transactions, writes delayed markers, does requests that were put off, deletes
    /// and compacts. Nothing passes while the broker is paused or stopped.
    pub fn tick(&self, now: Millis) {
        if self.hub.mode() == Mode::Running {
            self.hub.tick(now);
        }
    }

    /// Changes with everything that a waiting reader might wait for. Tokio wakes several receivers of it in an order of
    /// its own: who has to be deterministic keeps one.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.hub.changes()
    }

    /// The bounds of a partition as they are, without a request: it suffers no faults, and neither pause nor stop.
    pub fn peek(&self, partition: &TopicPartition) -> Result<Bounds> {
        self.hub.with(|core| {
            Ok(core
                .topic(&partition.topic)?
                .partition(partition.partition)?
                .bounds())
        })
    }

    /// The earliest moment at which a [`tick`](Self::tick) would end a transaction or do a request that was put off.
    pub fn wake_at(&self) -> Option<Millis> {
        self.hub.wake_at()
    }

    /// Creates a topic.
    pub fn create_topic(
        &self,
        name: &str,
        partitions: i32,
        config: TopicConfig,
        now: Millis,
    ) -> Result<()> {
        let name = name.to_owned();
        self.change(ApiKey::CreateTopics, now, move |core, _| {
            core.create_topic(&name, Some(partitions), config.clone())
        })
    }

    /// Grows a topic to so many partitions.
    pub fn create_partitions(&self, name: &str, partitions: i32, now: Millis) -> Result<()> {
        let name = name.to_owned();
        self.change(ApiKey::CreatePartitions, now, move |core, _| {
            core.create_partitions(&name, partitions)
        })
    }

    /// Deletes a topic, with the offsets that groups have committed for it.
    pub fn delete_topic(&self, name: &str, now: Millis) -> Result<()> {
        let name = name.to_owned();
        self.change(ApiKey::DeleteTopics, now, move |core, _| {
            core.delete_topic(&name)
        })
    }

    /// The names of all topics, sorted.
    pub fn topics(&self, now: Millis) -> Result<Vec<String>> {
        self.look(ApiKey::Metadata, now, |core| {
            Ok(core.topic_names().map(str::to_owned).collect())
        })
    }

    /// A topic's settings and the bounds of its partitions.
    pub fn describe_topic(&self, name: &str, now: Millis) -> Result<TopicDescription> {
        self.look(ApiKey::Metadata, now, |core| core.describe_topic(name))
    }

    /// Gives a producer its id and epoch. With a transactional id this fences whoever had it before: its open
    /// transaction is aborted and the answer is `ConcurrentTransactions`, as in Kafka; call again. `current` is what
    /// the caller is, if it wants to stay the same producer with a new epoch.
    pub fn init_producer(
        &self,
        transactional_id: Option<&str>,
        timeout: Millis,
        current: Option<Producer>,
        now: Millis,
    ) -> Result<Producer> {
        let id = transactional_id.map(str::to_owned);
        self.change(ApiKey::InitProducerId, now, move |core, now| {
            core.init_producer(id.as_deref(), timeout, current, now)
        })
    }

    /// Lets partitions join the transaction; must precede the first batch for each of them.
    pub fn add_partitions(
        &self,
        transactional_id: &str,
        producer: Producer,
        partitions: &[TopicPartition],
        now: Millis,
    ) -> Result<()> {
        let (id, partitions) = (transactional_id.to_owned(), partitions.to_vec());
        self.change(ApiKey::AddPartitionsToTxn, now, move |core, now| {
            core.add_partitions(&id, producer, &partitions, now)
        })
    }

    /// Lets a group's offsets join the transaction; must precede
    /// [`commit_offsets_in_transaction`](Self::commit_offsets_in_transaction).
    pub fn add_offsets(
        &self,
        transactional_id: &str,
        producer: Producer,
        group: &str,
        now: Millis,
    ) -> Result<()> {
        let (id, group) = (transactional_id.to_owned(), group.to_owned());
        self.change(ApiKey::AddOffsetsToTxn, now, move |core, now| {
            core.add_group(&id, producer, &group, now)
        })
    }

    /// Commits offsets of a group within the transaction; they count once it is committed.
    pub fn commit_offsets_in_transaction(
        &self,
        producer: Producer,
        group: &str,
        offsets: &[(TopicPartition, Committed)],
        now: Millis,
    ) -> Result<()> {
        let (group, offsets) = (group.to_owned(), offsets.to_vec());
        self.change(ApiKey::TxnOffsetCommit, now, move |core, now| {
            offsets.iter().try_for_each(|(partition, committed)| {
                core.commit_offsets_in_transaction(
                    producer,
                    &group,
                    partition,
                    committed.clone(),
                    now,
                )
            })
        })
    }

    /// Ends the transaction.
    pub fn end_transaction(
        &self,
        transactional_id: &str,
        producer: Producer,
        outcome: Outcome,
        now: Millis,
    ) -> Result<()> {
        let id = transactional_id.to_owned();
        self.change(ApiKey::EndTxn, now, move |core, now| {
            core.end_transaction(&id, producer, outcome, now)
        })
    }

    /// Appends records as one batch and returns the offset of the first. With a stamp a batch that comes again is
    /// recognised, and gets the offset that it has.
    pub fn append(
        &self,
        partition: &TopicPartition,
        records: &[NewRecord],
        stamp: Option<Stamp>,
        now: Millis,
    ) -> Result<i64> {
        let partition = partition.clone();
        let batch = Incoming::encode(
            records,
            stamp.map(|stamp| stamp.producer),
            stamp.map_or(0, |stamp| stamp.sequence),
            stamp.is_some_and(|stamp| stamp.transactional),
        )?;
        self.change(ApiKey::Produce, now, move |core, now| {
            core.append(&partition.topic, partition.partition, &batch, now)
        })
    }

    /// Decoded records from `offset` on, whole batches until there are `max_records`. At the end of what the isolation
    /// allows there are none.
    pub fn fetch(
        &self,
        partition: &TopicPartition,
        offset: i64,
        max_records: usize,
        isolation: Isolation,
        now: Millis,
    ) -> Result<Fetched> {
        self.look(ApiKey::Fetch, now, |core| {
            core.read(
                &partition.topic,
                partition.partition,
                offset,
                max_records,
                isolation,
            )
        })
    }

    /// The offset that `spec` names; none if no record has it.
    pub fn list_offset(
        &self,
        partition: &TopicPartition,
        spec: OffsetSpec,
        isolation: Isolation,
        now: Millis,
    ) -> Result<Option<i64>> {
        self.look(ApiKey::ListOffsets, now, |core| {
            let found = core.find_offset(&partition.topic, partition.partition, spec, isolation)?;
            Ok(found.map(|(offset, _)| offset))
        })
    }

    /// The bounds of a partition.
    pub fn bounds(&self, partition: &TopicPartition, now: Millis) -> Result<Bounds> {
        self.look(ApiKey::ListOffsets, now, |core| {
            Ok(core
                .topic(&partition.topic)?
                .partition(partition.partition)?
                .bounds())
        })
    }

    /// Commits offsets of a group, outside of any transaction.
    pub fn commit_offsets(
        &self,
        group: &str,
        offsets: &[(TopicPartition, Committed)],
        now: Millis,
    ) -> Result<()> {
        let (group, offsets) = (group.to_owned(), offsets.to_vec());
        self.change(ApiKey::OffsetCommit, now, move |core, now| {
            offsets.iter().try_for_each(|(partition, committed)| {
                core.commit_offset(&group, partition, committed.clone(), now)
            })
        })
    }

    /// What a group has committed for a partition. `stable` refuses with `UnstableOffsetCommit` while a transaction
    /// with an offset for it is open.
    pub fn committed_offset(
        &self,
        group: &str,
        partition: &TopicPartition,
        stable: bool,
        now: Millis,
    ) -> Result<Option<Committed>> {
        self.look(ApiKey::OffsetFetch, now, |core| {
            core.committed_offset(group, partition, stable)
        })
    }

    /// Moves the start of a partition up to `offset`, or to its end, and returns it.
    pub fn delete_records(
        &self,
        partition: &TopicPartition,
        offset: Option<i64>,
        now: Millis,
    ) -> Result<i64> {
        let partition = partition.clone();
        self.change(ApiKey::DeleteRecords, now, move |core, _| {
            core.delete_records(&partition.topic, partition.partition, offset)
        })
    }

    /// Compacts a partition now. Kafka has no such call; it suffers no faults.
    pub fn compact(&self, partition: &TopicPartition, now: Millis) -> Result<()> {
        self.hub
            .with(|core| core.compact(&partition.topic, partition.partition, now))
    }

    /// Where a transactional id stands, and who its producer is; none if it was never used. It suffers no faults.
    pub fn describe_transaction(
        &self,
        transactional_id: &str,
    ) -> Option<(Producer, TransactionState)> {
        self.hub
            .with(|core| core.describe_transaction(transactional_id))
    }
}

#[cfg(test)]
mod tests;
