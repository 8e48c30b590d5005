//! Calls on topics and partitions.

use uuid::Uuid;

use super::batch::Incoming;
use super::partition::Partition;
use super::topic::{Topic, check_name};
use super::{
    Core, Fetched, Isolation, Millis, OffsetSpec, Producer, RawSlice, TopicConfig, TopicDescription,
};
use crate::error::{BrokerError, Result};

impl Core {
    /// Creates a topic; without a count it gets the default one.
    pub(crate) fn create_topic(
        &mut self,
        name: &str,
        partitions: Option<i32>,
        config: TopicConfig,
    ) -> Result<()> {
        check_name(name)?;
        if self.topics.contains_key(name) {
            return Err(BrokerError::TopicAlreadyExists);
        }
        let partitions = partitions.unwrap_or(self.settings.default_partitions);
        let id = Uuid::from_u128(self.topics_created + 1);
        self.topics
            .insert(name.to_owned(), Topic::new(id, partitions, config)?);
        self.topics_created += 1;
        self.version += 1;
        Ok(())
    }

    /// Grows a topic to `partitions`.
    pub(crate) fn create_partitions(&mut self, name: &str, partitions: i32) -> Result<()> {
        self.topic_mut(name)?.grow(partitions)?;
        self.version += 1;
        Ok(())
    }

    /// Deletes a topic, and the offsets that groups have committed for it.
    pub(crate) fn delete_topic(&mut self, name: &str) -> Result<()> {
        self.topics
            .remove(name)
            .ok_or(BrokerError::UnknownTopicOrPartition)?;
        for group in self.groups.values_mut() {
            group.forget_topic(name);
        }
        self.version += 1;
        Ok(())
    }

    pub(crate) fn topic_names(&self) -> impl Iterator<Item = &str> {
        self.topics.keys().map(String::as_str)
    }

    pub(crate) fn describe_topic(&self, name: &str) -> Result<TopicDescription> {
        Ok(self.topic(name)?.describe(name))
    }

    pub(crate) fn topic(&self, name: &str) -> Result<&Topic> {
        self.topics
            .get(name)
            .ok_or(BrokerError::UnknownTopicOrPartition)
    }

    fn topic_mut(&mut self, name: &str) -> Result<&mut Topic> {
        self.topics
            .get_mut(name)
            .ok_or(BrokerError::UnknownTopicOrPartition)
    }

    pub(super) fn topics_mut(&mut self) -> impl Iterator<Item = &mut Topic> {
        self.topics.values_mut()
    }

    fn partition(&self, topic: &str, partition: i32) -> Result<&Partition> {
        self.topic(topic)?.partition(partition)
    }

    pub(super) fn partition_mut(&mut self, topic: &str, partition: i32) -> Result<&mut Partition> {
        self.topic_mut(topic)?.partition_mut(partition)
    }

    /// Appends a batch and returns the offset of its first record.
    pub(crate) fn append(
        &mut self,
        topic: &str,
        partition: i32,
        batch: &Incoming,
        now: Millis,
    ) -> Result<i64> {
        let config = &self.topic(topic)?.config;
        if batch.size_bytes() > config.max_message_bytes {
            return Err(BrokerError::MessageTooLarge);
        }
        if config.cleanup.compact && !batch.has_all_keys()? {
            return Err(BrokerError::InvalidRecord);
        }
        if let Some(producer) = batch.header.producer.filter(|_| batch.header.transactional) {
            self.verify_transaction(topic, partition, producer, now)?;
        }
        let offset = self.partition_mut(topic, partition)?.append(batch, now)?;
        self.version += 1;
        Ok(offset)
    }

    /// A batch may open a transaction in a partition only if the coordinator knows of it; otherwise nothing would ever
    /// end it there.
    fn verify_transaction(
        &mut self,
        topic: &str,
        partition: i32,
        producer: Producer,
        now: Millis,
    ) -> Result<()> {
        if self
            .partition(topic, partition)?
            .has_open_transaction(producer)
        {
            return Ok(());
        }
        self.verify_partition(topic, partition, producer, now)
    }

    pub(crate) fn slice(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_bytes: usize,
        at_least_one: bool,
        isolation: Isolation,
    ) -> Result<RawSlice> {
        self.partition(topic, partition)?
            .slice(offset, max_bytes, at_least_one, isolation)
    }

    pub(crate) fn read(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_records: usize,
        isolation: Isolation,
    ) -> Result<Fetched> {
        self.partition(topic, partition)?
            .read(offset, max_records, isolation)
    }

    /// The offset that `spec` names, and the timestamp of the record there where one was looked for.
    pub(crate) fn find_offset(
        &self,
        topic: &str,
        partition: i32,
        spec: OffsetSpec,
        isolation: Isolation,
    ) -> Result<Option<(i64, Option<Millis>)>> {
        self.partition(topic, partition)?.find(spec, isolation)
    }

    /// Moves the start of a partition's log up to `offset`, or to its end. Topics that are only compacted refuse, as in
    /// Kafka.
    pub(crate) fn delete_records(
        &mut self,
        topic: &str,
        partition: i32,
        offset: Option<i64>,
    ) -> Result<i64> {
        if !self.topic(topic)?.config.cleanup.delete {
            return Err(BrokerError::PolicyViolation);
        }
        let start = self
            .partition_mut(topic, partition)?
            .delete_before(offset)?;
        self.version += 1;
        Ok(start)
    }
}
