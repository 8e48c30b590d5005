//! Compaction: of every key only its last committed value stays, at its offset.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use kafka_protocol::records::Record;

use super::Millis;
use super::batch::Batch;
use super::partition::Partition;
use crate::error::Result;

/// What compaction does with a batch.
enum Fate {
    Keep(Batch),
    Drop,
}

impl Partition {
    /// Compacts what is below the last stable offset, but never the last batch: it stands for Kafka's active segment,
    /// and keeps the end of the log in sight of readers. Tombstones and markers stay for `delete_retention` after they
    /// were first met.
    pub(crate) fn compact(&mut self, delete_retention: Millis, now: Millis) -> Result<()> {
        let bound = self
            .batches
            .back()
            .map_or(0, |last| last.base)
            .min(self.bounds().last_stable);
        let latest = self.latest_offsets(bound)?;
        let horizon = now.plus(delete_retention);
        let mut kept = VecDeque::with_capacity(self.batches.len());
        let mut with_data = BTreeSet::new();
        let mut dropped_markers = BTreeSet::new();
        for batch in &self.batches {
            let fate = if batch.last >= bound {
                Fate::Keep(batch.clone())
            } else if batch.header.control {
                let needed = batch
                    .header
                    .producer
                    .is_some_and(|ended| with_data.remove(&ended.id));
                marker_fate(batch, needed, horizon, now)
            } else if self.is_aborted(batch) {
                Fate::Drop
            } else {
                data_fate(batch, &latest, horizon, now)?
            };
            match fate {
                Fate::Keep(batch) => {
                    if batch.header.transactional && !batch.header.control {
                        with_data.extend(batch.header.producer.map(|producer| producer.id));
                    }
                    kept.push_back(batch);
                }
                Fate::Drop if batch.header.control => {
                    dropped_markers.insert(batch.last);
                }
                Fate::Drop => {}
            }
        }
        // An aborted transaction without its marker would hide what its producer wrote later.
        self.aborted
            .retain(|aborted| !dropped_markers.contains(&aborted.last_offset));
        self.clean_bytes = kept.iter().map(|batch| batch.bytes.len()).sum();
        self.dirty_bytes = 0;
        self.batches = kept;
        Ok(())
    }

    /// The last committed offset below `bound` of every key.
    fn latest_offsets(&self, bound: i64) -> Result<BTreeMap<Bytes, i64>> {
        let mut latest = BTreeMap::new();
        for batch in self.batches.iter().take_while(|batch| batch.last < bound) {
            if batch.header.control || self.is_aborted(batch) {
                continue;
            }
            for record in batch.records()? {
                if let Some(key) = record.key {
                    latest.insert(key, record.offset);
                }
            }
        }
        Ok(latest)
    }
}

/// A marker goes once nothing of its transaction is left and its time has passed.
fn marker_fate(batch: &Batch, needed: bool, horizon: Millis, now: Millis) -> Fate {
    match batch.delete_horizon {
        _ if needed => Fate::Keep(batch.clone()),
        Some(at) if at < now => Fate::Drop,
        at => Fate::Keep(Batch {
            delete_horizon: at.or(Some(horizon)),
            ..batch.clone()
        }),
    }
}

fn data_fate(
    batch: &Batch,
    latest: &BTreeMap<Bytes, i64>,
    horizon: Millis,
    now: Millis,
) -> Result<Fate> {
    let records = batch.records()?;
    let count = records.len();
    let tombstones_go = batch.delete_horizon.is_some_and(|at| at < now);
    let is_last = |record: &Record| {
        record.key.as_ref().and_then(|key| latest.get(key)) == Some(&record.offset)
    };
    let kept: Vec<Record> = records
        .into_iter()
        .filter(|record| is_last(record) && !(record.value.is_none() && tombstones_go))
        .collect();
    if kept.is_empty() {
        return Ok(Fate::Drop);
    }
    let has_tombstone = kept.iter().any(|record| record.value.is_none());
    let mut batch = if kept.len() == count {
        batch.clone()
    } else {
        batch.with_records(&kept)?
    };
    if has_tombstone && batch.delete_horizon.is_none() {
        batch.delete_horizon = Some(horizon);
    }
    Ok(Fate::Keep(batch))
}
