//! Calls on producers, transactions and group offsets.

use std::collections::BTreeSet;

use super::batch::Marker;
use super::group::{Group, Written};
use super::transaction::{Initiation, Transaction};
use super::{Committed, Core, Millis, Outcome, Producer, TopicPartition, TransactionState};
use crate::error::{BrokerError, Result};

impl Core {
    /// Gives a producer its id and epoch. With a transactional id this shuts out whoever had it before; while a
    /// transaction of the former is open it is aborted, and the answer is `ConcurrentTransactions`: ask again.
    pub(crate) fn init_producer(
        &mut self,
        transactional_id: Option<&str>,
        timeout: Millis,
        current: Option<Producer>,
        now: Millis,
    ) -> Result<Producer> {
        let Some(id) = transactional_id else {
            return Ok(Producer {
                id: self.new_producer_id(),
                epoch: 0,
            });
        };
        if id.is_empty() {
            return Err(BrokerError::InvalidRequest);
        }
        if timeout.0 <= 0 || timeout > self.settings.max_transaction_timeout {
            return Err(BrokerError::InvalidTransactionTimeout);
        }
        self.complete_due(now);
        if !self.transactions.contains_key(id) {
            let producer_id = self.new_producer_id();
            self.owners.insert(producer_id, id.to_owned());
            self.transactions
                .insert(id.to_owned(), Transaction::new(producer_id));
        }
        match self.transaction_mut(id)?.initiate(timeout, current)? {
            Initiation::Ready(producer) => Ok(producer),
            Initiation::Exhausted => {
                let producer_id = self.new_producer_id();
                self.owners.insert(producer_id, id.to_owned());
                Ok(self
                    .transaction_mut(id)?
                    .renew(producer_id, timeout, current))
            }
            Initiation::Abort => {
                self.fence(id, now)?;
                Err(BrokerError::ConcurrentTransactions)
            }
        }
    }

    fn new_producer_id(&mut self) -> i64 {
        let id = self.producers_created;
        self.producers_created += 1;
        id
    }

    fn transaction_mut(&mut self, id: &str) -> Result<&mut Transaction> {
        if id.is_empty() {
            return Err(BrokerError::InvalidRequest);
        }
        self.transactions
            .get_mut(id)
            .ok_or(BrokerError::InvalidProducerIdMapping)
    }

    /// Lets partitions join the transaction; all of them or, if one does not exist, none.
    pub(crate) fn add_partitions(
        &mut self,
        id: &str,
        producer: Producer,
        partitions: &[TopicPartition],
        now: Millis,
    ) -> Result<()> {
        self.complete_due(now);
        for partition in partitions {
            self.topic(&partition.topic)?
                .partition(partition.partition)?;
        }
        let transaction = self.transaction_mut(id)?;
        transaction.open(producer, now)?;
        transaction.partitions.extend(partitions.iter().cloned());
        Ok(())
    }

    /// Lets a group's offsets join the transaction.
    pub(crate) fn add_group(
        &mut self,
        id: &str,
        producer: Producer,
        group: &str,
        now: Millis,
    ) -> Result<()> {
        self.complete_due(now);
        let transaction = self.transaction_mut(id)?;
        transaction.open(producer, now)?;
        transaction.groups.insert(group.to_owned());
        Ok(())
    }

    /// Ends the transaction. Its markers are written at once, unless a test holds them back.
    pub(crate) fn end_transaction(
        &mut self,
        id: &str,
        producer: Producer,
        outcome: Outcome,
        now: Millis,
    ) -> Result<()> {
        self.complete_due(now);
        if self.transaction_mut(id)?.end(producer, outcome)? {
            self.prepare(id, outcome, now)?;
        }
        Ok(())
    }

    fn prepare(&mut self, id: &str, outcome: Outcome, now: Millis) -> Result<()> {
        let held = self.held_markers;
        let due = now.plus(held.span);
        let transaction = self.transaction_mut(id)?;
        transaction.state = TransactionState::Preparing { outcome, due };
        if held.only_of_records {
            let producer = transaction.producer;
            let groups = std::mem::take(&mut transaction.groups);
            self.end_offsets(groups, producer, outcome);
        }
        self.complete_due(now);
        Ok(())
    }

    /// Aborts on behalf of another: the present epoch can do nothing more.
    fn fence(&mut self, id: &str, now: Millis) -> Result<()> {
        self.transaction_mut(id)?.fence();
        self.prepare(id, Outcome::Abort, now)
    }

    /// Writes the markers that are due.
    pub(super) fn complete_due(&mut self, now: Millis) {
        let due: Vec<(String, Outcome)> = self
            .transactions
            .iter()
            .filter_map(|(id, transaction)| match transaction.state {
                TransactionState::Preparing { outcome, due } if due <= now => {
                    Some((id.clone(), outcome))
                }
                _ => None,
            })
            .collect();
        for (id, outcome) in due {
            self.complete(&id, outcome, now);
        }
    }

    fn complete(&mut self, id: &str, outcome: Outcome, now: Millis) {
        let Some(transaction) = self.transactions.get_mut(id) else {
            return;
        };
        transaction.state = TransactionState::Complete { outcome };
        let producer = transaction.producer;
        let partitions = std::mem::take(&mut transaction.partitions);
        let groups = std::mem::take(&mut transaction.groups);
        let marker = match outcome {
            Outcome::Commit => Marker::Commit,
            Outcome::Abort => Marker::Abort,
        };
        for TopicPartition { topic, partition } in partitions {
            // A topic that was deleted meanwhile has nothing to end.
            if let Ok(partition) = self.partition_mut(&topic, partition)
                && let Err(error) = partition.end_transaction(producer, marker, now)
            {
                tracing::error!(%topic, %error, "a transaction marker could not be encoded");
            }
        }
        self.end_offsets(groups, producer, outcome);
        self.version += 1;
    }

    fn end_offsets(&mut self, groups: BTreeSet<String>, producer: Producer, outcome: Outcome) {
        for group in groups {
            if let Some(group) = self.groups.get_mut(&group) {
                group.end_transaction(producer.id, outcome == Outcome::Commit);
            }
        }
    }

    /// Aborts and fences what has been open for longer than its time-out.
    pub(super) fn abort_overdue(&mut self, now: Millis) {
        let overdue: Vec<String> = self
            .transactions
            .iter()
            .filter(|(_, transaction)| transaction.is_overdue(now))
            .map(|(id, _)| id.clone())
            .collect();
        for id in overdue {
            if let Err(error) = self.fence(&id, now) {
                tracing::error!(%id, %error, "a timed-out transaction could not be aborted");
            }
        }
    }

    pub(super) fn transactions(&self) -> impl Iterator<Item = &Transaction> {
        self.transactions.values()
    }

    /// Where a transactional id stands, and who its producer is.
    pub(crate) fn describe_transaction(&self, id: &str) -> Option<(Producer, TransactionState)> {
        self.transactions
            .get(id)
            .map(|transaction| (transaction.producer, transaction.state))
    }

    fn owner(&mut self, producer: Producer, now: Millis) -> Result<&Transaction> {
        self.complete_due(now);
        let id = self
            .owners
            .get(&producer.id)
            .ok_or(BrokerError::InvalidProducerIdMapping)?;
        self.transactions
            .get(id)
            .ok_or(BrokerError::InvalidProducerIdMapping)
    }

    /// Checks that the partition has joined an open transaction of this producer.
    pub(super) fn verify_partition(
        &mut self,
        topic: &str,
        partition: i32,
        producer: Producer,
        now: Millis,
    ) -> Result<()> {
        let transaction = self.owner(producer, now)?;
        transaction.verify(producer)?;
        if !transaction
            .partitions
            .contains(&TopicPartition::new(topic, partition))
        {
            return Err(BrokerError::InvalidTxnState);
        }
        Ok(())
    }

    /// Commits offsets of a group within a transaction; they count once it is committed.
    pub(crate) fn commit_offsets_in_transaction(
        &mut self,
        producer: Producer,
        group: &str,
        partition: &TopicPartition,
        committed: Committed,
        now: Millis,
    ) -> Result<()> {
        let transaction = self.owner(producer, now)?;
        transaction.verify(producer)?;
        if !transaction.groups.contains(group) {
            return Err(BrokerError::InvalidTxnState);
        }
        let written = self.write_offset(partition, committed, now)?;
        let group = self.groups.entry(group.to_owned()).or_default();
        group.commit_pending(producer.id, partition.clone(), written);
        Ok(())
    }

    /// Commits an offset of a group that has no members.
    pub(crate) fn commit_offset(
        &mut self,
        group: &str,
        partition: &TopicPartition,
        committed: Committed,
        now: Millis,
    ) -> Result<()> {
        let written = self.write_offset(partition, committed, now)?;
        let group = self.groups.entry(group.to_owned()).or_default();
        group.commit(partition.clone(), written);
        Ok(())
    }

    /// An offset that may be committed, in its place among the others.
    fn write_offset(
        &mut self,
        partition: &TopicPartition,
        committed: Committed,
        at: Millis,
    ) -> Result<Written> {
        self.topic(&partition.topic)?
            .partition(partition.partition)?;
        check_metadata(&committed)?;
        let order = self.next_commit();
        Ok(Written {
            committed,
            order,
            at,
        })
    }

    fn next_commit(&mut self) -> u64 {
        self.commits_written += 1;
        self.commits_written
    }

    /// What the group has committed for the partition; `stable` refuses while a transaction with an offset for it is open.
    pub(crate) fn committed_offset(
        &self,
        group: &str,
        partition: &TopicPartition,
        stable: bool,
    ) -> Result<Option<Committed>> {
        let group = self.groups.get(group);
        group.map_or(Ok(None), |group| {
            Ok(group.committed(partition, stable)?.cloned())
        })
    }

    /// Every partition for which the group has committed an offset.
    pub(crate) fn committed_partitions(&self, group: &str) -> Vec<TopicPartition> {
        self.groups
            .get(group)
            .into_iter()
            .flat_map(Group::partitions)
            .cloned()
            .collect()
    }

    /// Forgets offsets that nobody has committed for too long.
    pub(super) fn expire_offsets(&mut self, now: Millis) {
        let retention = self.settings.offsets_retention;
        for group in self.groups.values_mut() {
            group.expire(retention, now);
        }
    }

    pub(crate) fn group_names(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(String::as_str)
    }
}

/// `offset.metadata.max.bytes`, Kafka's default.
const MAX_METADATA_BYTES: usize = 4096;

fn check_metadata(committed: &Committed) -> Result<()> {
    let metadata = committed.metadata.as_deref().unwrap_or_default();
    if metadata.len() > MAX_METADATA_BYTES {
        return Err(BrokerError::OffsetMetadataTooLarge);
    }
    Ok(())
}
