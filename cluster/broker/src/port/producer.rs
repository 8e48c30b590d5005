//! A transactional producer over the port, which keeps count of sequences and of what has joined the transaction.

use std::collections::{BTreeMap, BTreeSet};

use super::{BrokerPort, Stamp};
use crate::core::{Committed, Millis, NewRecord, Outcome, Producer, TopicPartition};
use crate::error::Result;

/// A transactional producer in the same process. A transaction begins with the first record or offset. A call that got
/// no answer may be made again: what took effect already is recognised.
#[derive(Debug)]
pub struct TransactionalProducer {
    port: BrokerPort,
    transactional_id: String,
    producer: Producer,
    sequences: BTreeMap<TopicPartition, i32>,
    partitions: BTreeSet<TopicPartition>,
    groups: BTreeSet<String>,
}

impl TransactionalProducer {
    /// Takes over a transactional id. While a transaction of its predecessor has to be aborted the answer is
    /// `ConcurrentTransactions`: call again.
    pub fn start(
        port: &BrokerPort,
        transactional_id: &str,
        timeout: Millis,
        now: Millis,
    ) -> Result<Self> {
        let producer = port.init_producer(Some(transactional_id), timeout, None, now)?;
        Ok(Self {
            port: port.clone(),
            transactional_id: transactional_id.to_owned(),
            producer,
            sequences: BTreeMap::new(),
            partitions: BTreeSet::new(),
            groups: BTreeSet::new(),
        })
    }

    /// Its id and epoch.
    pub fn producer(&self) -> Producer {
        self.producer
    }

    /// Writes records as one batch into the transaction, and returns the offset of the first.
    pub fn send(
        &mut self,
        partition: &TopicPartition,
        records: &[NewRecord],
        now: Millis,
    ) -> Result<i64> {
        if !self.partitions.contains(partition) {
            let joining = std::slice::from_ref(partition);
            self.port
                .add_partitions(&self.transactional_id, self.producer, joining, now)?;
            self.partitions.insert(partition.clone());
        }
        let sequence = self.sequences.get(partition).copied().unwrap_or(0);
        let stamp = Stamp {
            producer: self.producer,
            sequence,
            transactional: true,
        };
        let offset = self.port.append(partition, records, Some(stamp), now)?;
        let count = i32::try_from(records.len()).unwrap_or(i32::MAX);
        self.sequences.insert(
            partition.clone(),
            crate::core::wrap_sequence(sequence, count),
        );
        Ok(offset)
    }

    /// Commits offsets of a group within the transaction.
    pub fn send_offsets(
        &mut self,
        group: &str,
        offsets: &[(TopicPartition, Committed)],
        now: Millis,
    ) -> Result<()> {
        if !self.groups.contains(group) {
            self.port
                .add_offsets(&self.transactional_id, self.producer, group, now)?;
            self.groups.insert(group.to_owned());
        }
        self.port
            .commit_offsets_in_transaction(self.producer, group, offsets, now)
    }

    /// Commits the transaction; nothing to do if it is empty.
    pub fn commit(&mut self, now: Millis) -> Result<()> {
        self.end(Outcome::Commit, now)
    }

    /// Aborts the transaction; nothing to do if it is empty.
    pub fn abort(&mut self, now: Millis) -> Result<()> {
        self.end(Outcome::Abort, now)
    }

    fn end(&mut self, outcome: Outcome, now: Millis) -> Result<()> {
        if !self.partitions.is_empty() || !self.groups.is_empty() {
            self.port
                .end_transaction(&self.transactional_id, self.producer, outcome, now)?;
            self.partitions.clear();
            self.groups.clear();
        }
        Ok(())
    }
}
