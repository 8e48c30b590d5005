//! What happens with time alone: overdue transactions, retention of records and of offsets, compaction.

use super::{Core, Millis, TransactionState};
use crate::error::Result;

/// When the regular checks come next; none before the first tick.
#[derive(Debug, Default)]
pub(crate) struct Upkeep {
    transactions: Option<Millis>,
    retention: Option<Millis>,
    compaction: Option<Millis>,
}

/// True once `interval` has passed since the last time, or since the first call.
fn is_due(next: &mut Option<Millis>, interval: Millis, now: Millis) -> bool {
    let due = next.is_some_and(|next| next <= now);
    if due || next.is_none() {
        *next = Some(now.plus(interval));
    }
    due
}

impl Core {
    /// Lets time pass. The checks for overdue transactions, retention and compaction each have their interval, which
    /// begins with the first tick.
    pub(crate) fn tick(&mut self, now: Millis) {
        self.complete_due(now);
        if is_due(
            &mut self.upkeep.transactions,
            self.settings.transaction_check_interval,
            now,
        ) {
            self.abort_overdue(now);
        }
        if is_due(
            &mut self.upkeep.retention,
            self.settings.retention_check_interval,
            now,
        ) {
            self.retain(now);
        }
        if is_due(
            &mut self.upkeep.compaction,
            self.settings.compaction_check_interval,
            now,
        ) {
            self.compact_dirty(now);
        }
    }

    /// The earliest moment at which a tick would change a transaction; none if no transaction is open.
    pub(crate) fn wake_at(&self) -> Option<Millis> {
        let check = self.upkeep.transactions.unwrap_or_default();
        self.transactions()
            .filter_map(|transaction| match transaction.state {
                TransactionState::Preparing { due, .. } => Some(due),
                TransactionState::Ongoing { .. } => Some(check),
                TransactionState::Empty | TransactionState::Complete { .. } => None,
            })
            .min()
    }

    fn retain(&mut self, now: Millis) {
        let idle = self.settings.producer_expiration;
        for topic in self.topics_mut() {
            let config = topic.config.clone();
            for partition in &mut topic.partitions {
                if config.cleanup.delete
                    && let Err(error) =
                        partition.retain(config.retention, config.retention_bytes, now)
                {
                    tracing::error!(%error, "retention failed");
                }
                partition.forget_producers(idle, now);
            }
        }
        self.expire_offsets(now);
        self.version += 1;
    }

    fn compact_dirty(&mut self, now: Millis) {
        let min_bytes = self.settings.compaction_min_bytes;
        for topic in self
            .topics_mut()
            .filter(|topic| topic.config.cleanup.compact)
        {
            for partition in &mut topic.partitions {
                if partition.dirty_bytes >= min_bytes.max(partition.clean_bytes)
                    && let Err(error) = partition.compact(topic.config.delete_retention, now)
                {
                    tracing::error!(%error, "compaction failed");
                }
            }
        }
    }

    /// Compacts a partition now, whatever its topic's policy.
    pub(crate) fn compact(&mut self, topic: &str, partition: i32, now: Millis) -> Result<()> {
        let delete_retention = self.topic(topic)?.config.delete_retention;
        self.partition_mut(topic, partition)?
            .compact(delete_retention, now)
    }
}
