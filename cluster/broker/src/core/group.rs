//! A group's committed offsets, those of open transactions kept apart until their marker. Members and generations have
//! their place here once consumer groups come.

use std::collections::BTreeMap;

use super::{Committed, Millis, TopicPartition};
use crate::error::{BrokerError, Result};

/// An offset with the order in which it was written, which decides between a plain commit and one that its marker
/// brings later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) committed: Committed,
    pub(crate) order: u64,
    /// When.
    pub(crate) at: Millis,
}

/// One group.
#[derive(Debug, Default)]
pub(crate) struct Group {
    offsets: BTreeMap<TopicPartition, Written>,
    /// By producer id.
    pending: BTreeMap<i64, BTreeMap<TopicPartition, Written>>,
}

impl Group {
    pub(crate) fn commit(&mut self, partition: TopicPartition, written: Written) {
        self.offsets.insert(partition, written);
    }

    pub(crate) fn commit_pending(
        &mut self,
        producer_id: i64,
        partition: TopicPartition,
        written: Written,
    ) {
        let pending = self.pending.entry(producer_id).or_default();
        pending.insert(partition, written);
    }

    /// Ends the producer's transaction: its offsets count now, or never.
    pub(crate) fn end_transaction(&mut self, producer_id: i64, commit: bool) {
        for (partition, written) in self.pending.remove(&producer_id).unwrap_or_default() {
            let newer = self
                .offsets
                .get(&partition)
                .is_none_or(|present| present.order < written.order);
            if commit && newer {
                self.offsets.insert(partition, written);
            }
        }
    }

    /// The committed offset of a partition. `stable` refuses while an open transaction has one for it.
    pub(crate) fn committed(
        &self,
        partition: &TopicPartition,
        stable: bool,
    ) -> Result<Option<&Committed>> {
        if stable
            && self
                .pending
                .values()
                .any(|pending| pending.contains_key(partition))
        {
            return Err(BrokerError::UnstableOffsetCommit);
        }
        Ok(self
            .offsets
            .get(partition)
            .map(|written| &written.committed))
    }

    /// Every partition with a committed offset.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = &TopicPartition> {
        self.offsets.keys()
    }

    /// Forgets what was committed longer than `retention` ago, unless a transaction is about to commit it again.
    pub(crate) fn expire(&mut self, retention: Millis, now: Millis) {
        let pending = &self.pending;
        self.offsets.retain(|partition, written| {
            written.at.plus(retention) > now
                || pending.values().any(|open| open.contains_key(partition))
        });
    }

    pub(crate) fn forget_topic(&mut self, topic: &str) {
        self.offsets.retain(|partition, _| partition.topic != topic);
        for pending in self.pending.values_mut() {
            pending.retain(|partition, _| partition.topic != topic);
        }
    }
}
