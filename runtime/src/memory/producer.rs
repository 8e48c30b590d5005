//! [`Producer`]: an idempotent producer; [`Plain`]: one that writes outside of transactions.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::try_join_all;
use tanist_actors::port::{Commit, CommitError};
use tanist_broker::{
    BrokerError as Refusal, BrokerPort, Millis, Producer as Identity, Stamp, TopicPartition,
};
use tanist_cluster::Offset;
use tokio::sync::Mutex;

use super::batches::{Batch, Batches, Offsets};
use super::wire::{Wire, is_silence, pause_after};

/// How long a transaction may stay open.
const TRANSACTION_TIMEOUT: Millis = Millis(60_000);

/// Why records were not sent.
pub(super) struct NotSent {
    pub(super) refusal: Refusal,
    /// Those of the batch that was refused, as [`Batch::indices`]; none if it was something else.
    pub(super) records: Vec<usize>,
}

impl From<Refusal> for NotSent {
    fn from(refusal: Refusal) -> Self {
        let records = Vec::new();
        Self { refusal, records }
    }
}

impl NotSent {
    /// What it means for `commit`, if the batch will be refused again.
    pub(super) fn refused(&self, commit: &Commit) -> Option<CommitError> {
        let is_too_large = self.refusal == Refusal::MessageTooLarge;
        let is_final = is_too_large || self.refusal == Refusal::InvalidRecord;
        let text = self.refusal.to_string();
        (is_final && !self.records.is_empty())
            .then(|| commit.refused(&self.records, is_too_large, text))
    }
}

/// An idempotent producer. It numbers its batches, so that the broker recognises one that comes again.
pub(super) struct Producer {
    pub(super) wire: Wire,
    pub(super) identity: Identity,
    transactional: bool,
    /// The number of the next record of each partition.
    sequences: BTreeMap<TopicPartition, i32>,
    /// A request was not answered: it may still come to the broker, and into a later transaction, unless a new epoch shuts
    /// it out (KIP-890).
    doubted: AtomicBool,
}

impl Producer {
    /// Takes the next epoch of `transactional_id`, which fences whoever has it and rolls back what that one left open;
    /// or a producer id of its own.
    pub(super) async fn start(
        wire: &Wire,
        transactional_id: Option<&str>,
    ) -> Result<Self, Refusal> {
        let identity = wire
            .insist(|port, now| {
                port.init_producer(transactional_id, TRANSACTION_TIMEOUT, None, now)
            })
            .await?;
        Ok(Self {
            wire: wire.clone(),
            identity,
            transactional: transactional_id.is_some(),
            sequences: BTreeMap::new(),
            doubted: AtomicBool::new(false),
        })
    }

    /// Whether a request has not been answered.
    pub(super) fn is_doubted(&self) -> bool {
        self.doubted.load(Ordering::Relaxed)
    }

    /// What a refusal means for this producer, and how long to wait before it asks again.
    pub(super) fn pause_after(&self, refusal: Refusal) -> Option<Duration> {
        if is_silence(refusal) {
            self.doubted.store(true, Ordering::Relaxed);
        }
        pause_after(refusal)
    }

    /// Sends all batches, the partitions side by side, those of one partition in order.
    pub(super) async fn send(&mut self, batches: &Batches) -> Result<Offsets, NotSent> {
        let rows = batches
            .iter()
            .map(|(partition, row)| self.send_row(partition, row));
        let mut offsets = Offsets::new();
        let mut sequences = Vec::new();
        for (partition, next, row) in try_join_all(rows).await? {
            sequences.push((partition.clone(), next));
            offsets.extend(row);
        }
        self.sequences.extend(sequences);
        Ok(offsets)
    }

    async fn send_row<'a>(
        &self,
        partition: &'a TopicPartition,
        row: &[Batch],
    ) -> Result<(&'a TopicPartition, i32, Offsets), NotSent> {
        let mut sequence = self.sequences.get(partition).copied().unwrap_or(0);
        let mut offsets = Offsets::new();
        for batch in row {
            let stamp = Stamp {
                producer: self.identity,
                sequence,
                transactional: self.transactional,
            };
            let append =
                |port: &BrokerPort, now| port.append(partition, &batch.records, Some(stamp), now);
            let first = self
                .wire
                .repeat(append, |refusal| self.pause_after(refusal))
                .await
                .map_err(|refusal| NotSent {
                    refusal,
                    records: batch.indices.clone(),
                })?;
            offsets.extend(batch.indices.iter().copied().zip((first..).map(Offset)));
            // Kafka's numbers go round from the largest to 0.
            sequence = sequence.wrapping_add(batch.records.len() as i32) & i32::MAX;
        }
        Ok((partition, sequence, offsets))
    }
}

/// A producer outside of any transaction, for one sender at a time, in the order in which they came.
#[derive(Default)]
pub(super) struct Plain {
    /// None while it is in use: after a failure, or when its user was dropped, nobody knows which numbers are used up.
    producer: Mutex<Option<Producer>>,
}

impl Plain {
    pub(super) async fn send(&self, wire: &Wire, batches: &Batches) -> Result<Offsets, NotSent> {
        let mut slot = self.producer.lock().await;
        let mut producer = match slot.take() {
            Some(producer) => producer,
            None => Producer::start(wire, None).await?,
        };
        let offsets = producer.send(batches).await?;
        *slot = Some(producer);
        Ok(offsets)
    }
}
