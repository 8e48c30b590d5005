//! One partition: an append-only list of batches, its producers, its transactions.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::batch::{Batch, Incoming, LogRecord, Marker};
use super::producer::{Admission, ProducerState};
use super::{Isolation, Millis, OffsetSpec, Producer};
use crate::error::{BrokerError, Result};

/// An aborted transaction as a read_committed fetch names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aborted {
    /// The producer.
    pub producer_id: i64,
    /// Offset of its first record.
    pub first_offset: i64,
    /// Offset of the marker that ended it.
    pub last_offset: i64,
}

/// The bounds of a partition's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The first offset that can be read.
    pub start: i64,
    /// The first offset of the oldest open transaction, or the end: what read_committed may see.
    pub last_stable: i64,
    /// The offset that the next record gets. With one broker, the high watermark too.
    pub end: i64,
}

/// Stored batches, as they are.
#[derive(Debug, Clone)]
pub(crate) struct RawSlice {
    pub(crate) batches: Vec<Bytes>,
    pub(crate) size_bytes: usize,
    pub(crate) bounds: Bounds,
    /// The aborted transactions that reach into the slice; empty unless read_committed.
    pub(crate) aborted: Vec<Aborted>,
}

/// Decoded records, without markers and, if read_committed, without what was aborted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The records, in offset order.
    pub records: Vec<LogRecord>,
    /// Where to read on; passes over markers and what was aborted or compacted away.
    pub next_offset: i64,
    /// The partition's bounds at that time.
    pub bounds: Bounds,
}

/// One partition's log.
#[derive(Debug, Default)]
pub(crate) struct Partition {
    pub(super) batches: VecDeque<Batch>,
    start: i64,
    end: i64,
    producers: BTreeMap<i64, ProducerState>,
    /// First offset to producer of every open transaction.
    open: BTreeMap<i64, i64>,
    /// In the order of their markers.
    pub(super) aborted: Vec<Aborted>,
    /// Bytes appended since the last compaction, and kept by it.
    pub(super) dirty_bytes: usize,
    pub(super) clean_bytes: usize,
}

impl Partition {
    pub(crate) fn bounds(&self) -> Bounds {
        let first_open = self.open.keys().next().copied().unwrap_or(self.end);
        Bounds {
            start: self.start,
            last_stable: first_open.max(self.start),
            end: self.end,
        }
    }

    pub(crate) fn size_bytes(&self) -> usize {
        self.dirty_bytes + self.clean_bytes
    }

    /// Whether this producer, in this epoch, has records of an open transaction here.
    pub(crate) fn has_open_transaction(&self, producer: Producer) -> bool {
        self.producers
            .get(&producer.id)
            .is_some_and(|state| state.epoch == producer.epoch && state.transaction_start.is_some())
    }

    /// Appends a checked batch and returns the offset of its first record; a batch that is here already is not appended
    /// again.
    pub(crate) fn append(&mut self, batch: &Incoming, now: Millis) -> Result<i64> {
        let header = &batch.header;
        let base = self.end;
        if let Some(producer) = header.producer {
            let state = self.producers.get(&producer.id);
            let admission = match state {
                Some(state) => state.admit(header, producer)?,
                None => Admission::Append,
            };
            if let Admission::Duplicate { base_offset } = admission {
                return Ok(base_offset);
            }
            let state = self
                .producers
                .entry(producer.id)
                .or_insert_with(|| ProducerState::new(producer.epoch, now));
            state.appended(header, producer.epoch, base, now);
            if let Some(start) = state.transaction_start {
                self.open.insert(start, producer.id);
            }
        }
        self.push(batch.place(base));
        Ok(base)
    }

    /// Ends the producer's transaction here. The marker takes an offset, even where the transaction wrote nothing.
    pub(crate) fn end_transaction(
        &mut self,
        producer: Producer,
        marker: Marker,
        now: Millis,
    ) -> Result<()> {
        let last_offset = self.end;
        let batch = Batch::marker(last_offset, producer, marker, now)?;
        let state = self
            .producers
            .entry(producer.id)
            .or_insert_with(|| ProducerState::new(producer.epoch, now));
        if let Some(first_offset) = state.ended(producer.epoch, now) {
            self.open.remove(&first_offset);
            if marker == Marker::Abort {
                self.aborted.push(Aborted {
                    producer_id: producer.id,
                    first_offset,
                    last_offset,
                });
            }
        }
        self.push(batch);
        Ok(())
    }

    fn push(&mut self, batch: Batch) {
        self.end = batch.last + 1;
        self.dirty_bytes += batch.bytes.len();
        self.batches.push_back(batch);
    }

    /// Whether the batch belongs to a transaction that was aborted.
    pub(super) fn is_aborted(&self, batch: &Batch) -> bool {
        let Some(producer) = batch.header.producer.filter(|_| batch.header.transactional) else {
            return false;
        };
        let after = self
            .aborted
            .partition_point(|aborted| aborted.last_offset < batch.base);
        self.aborted[after..]
            .iter()
            .any(|aborted| aborted.producer_id == producer.id && aborted.first_offset <= batch.base)
    }

    /// Where reading stops. A batch that reaches beyond it stays hidden as a whole: where the log's start was moved
    /// into a batch of an open transaction, the last stable offset lies within that batch.
    fn readable_end(&self, isolation: Isolation) -> i64 {
        match isolation {
            Isolation::ReadUncommitted => self.end,
            Isolation::ReadCommitted => self.bounds().last_stable,
        }
    }

    /// Index of the first batch that has records at `offset` or behind it.
    fn index_of(&self, offset: i64) -> usize {
        self.batches.partition_point(|batch| batch.last < offset)
    }

    /// The stored batches from the one with `offset` on, up to `max_bytes`; the first one whole, however large, if
    /// `at_least_one`.
    pub(crate) fn slice(
        &self,
        offset: i64,
        max_bytes: usize,
        at_least_one: bool,
        isolation: Isolation,
    ) -> Result<RawSlice> {
        let bounds = self.bounds();
        if offset < bounds.start || offset > bounds.end {
            return Err(BrokerError::OffsetOutOfRange);
        }
        let readable_end = self.readable_end(isolation);
        let mut slice = RawSlice {
            batches: Vec::new(),
            size_bytes: 0,
            bounds,
            aborted: Vec::new(),
        };
        let mut upper = offset;
        for batch in self.batches.range(self.index_of(offset)..) {
            let fits = slice.size_bytes + batch.bytes.len() <= max_bytes;
            if batch.last >= readable_end || !(fits || at_least_one && slice.batches.is_empty()) {
                break;
            }
            slice.size_bytes += batch.bytes.len();
            slice.batches.push(batch.bytes.clone());
            upper = batch.last + 1;
        }
        if isolation == Isolation::ReadCommitted && upper > offset {
            let from = self
                .aborted
                .partition_point(|aborted| aborted.last_offset < offset);
            let reaching = self.aborted[from..]
                .iter()
                .filter(|aborted| aborted.first_offset < upper);
            slice.aborted.extend(reaching);
        }
        Ok(slice)
    }

    /// How many bytes a fetch from `offset` on could give, counted no further than `enough`.
    pub(crate) fn available_bytes(
        &self,
        offset: i64,
        isolation: Isolation,
        enough: usize,
    ) -> usize {
        let readable_end = self.readable_end(isolation);
        let mut available = 0;
        for batch in self.batches.range(self.index_of(offset)..) {
            if batch.last >= readable_end || available >= enough {
                break;
            }
            available += batch.bytes.len();
        }
        available
    }

    /// Decoded records from `offset` on; whole batches, until there are `max_records`.
    pub(crate) fn read(
        &self,
        offset: i64,
        max_records: usize,
        isolation: Isolation,
    ) -> Result<Fetched> {
        let bounds = self.bounds();
        if offset < bounds.start || offset > bounds.end {
            return Err(BrokerError::OffsetOutOfRange);
        }
        let readable_end = self.readable_end(isolation);
        let mut fetched = Fetched {
            records: Vec::new(),
            next_offset: offset,
            bounds,
        };
        for batch in self.batches.range(self.index_of(offset)..) {
            if batch.last >= readable_end || fetched.records.len() >= max_records {
                break;
            }
            let hidden = isolation == Isolation::ReadCommitted && self.is_aborted(batch);
            if !batch.header.control && !hidden {
                let records = batch.records()?.into_iter().map(LogRecord::from);
                fetched
                    .records
                    .extend(records.filter(|record| record.offset >= offset));
            }
            fetched.next_offset = batch.last + 1;
        }
        Ok(fetched)
    }

    /// The offset that `spec` names, with the timestamp of its record where one was looked for; none if no record has it.
    pub(crate) fn find(
        &self,
        spec: OffsetSpec,
        isolation: Isolation,
    ) -> Result<Option<(i64, Option<Millis>)>> {
        let readable_end = self.readable_end(isolation);
        match spec {
            OffsetSpec::Earliest => Ok(Some((self.start, None))),
            OffsetSpec::Latest => Ok(Some((readable_end, None))),
            OffsetSpec::MaxTimestamp => {
                let newest = self
                    .batches
                    .iter()
                    .map(|batch| batch.header.max_timestamp)
                    .max();
                newest.map_or(Ok(None), |newest| self.find_timestamp(newest, readable_end))
            }
            OffsetSpec::Timestamp(timestamp) => self.find_timestamp(timestamp, readable_end),
        }
    }

    fn find_timestamp(
        &self,
        timestamp: Millis,
        readable_end: i64,
    ) -> Result<Option<(i64, Option<Millis>)>> {
        for batch in &self.batches {
            if batch.last >= readable_end || batch.header.max_timestamp < timestamp {
                continue;
            }
            let records = batch.records()?;
            let found = records
                .iter()
                .find(|record| record.timestamp >= timestamp.0 && record.offset >= self.start);
            if let Some(record) = found {
                return Ok(Some((record.offset, Some(Millis(record.timestamp)))));
            }
        }
        Ok(None)
    }

    /// Moves the log's start up to `offset` (none: to its end) and returns the new start.
    pub(crate) fn delete_before(&mut self, offset: Option<i64>) -> Result<i64> {
        let offset = offset.unwrap_or(self.end);
        if offset < 0 || offset > self.end {
            return Err(BrokerError::OffsetOutOfRange);
        }
        self.start = self.start.max(offset);
        while let Some(batch) = self.batches.front().filter(|batch| batch.last < self.start) {
            let size_bytes = batch.bytes.len();
            let clean_bytes = size_bytes.min(self.clean_bytes);
            self.clean_bytes -= clean_bytes;
            self.dirty_bytes -= size_bytes - clean_bytes;
            self.batches.pop_front();
        }
        self.aborted
            .retain(|aborted| aborted.last_offset >= self.start);
        Ok(self.start)
    }

    /// Drops from the front what is older than `retention` or makes the log larger than `retention_bytes`; nothing of
    /// or behind an open transaction.
    pub(crate) fn retain(
        &mut self,
        retention: Option<Millis>,
        retention_bytes: Option<usize>,
        now: Millis,
    ) -> Result<()> {
        let stable = self.bounds().last_stable;
        let mut size_bytes = self.size_bytes();
        let mut start = self.start;
        for batch in &self.batches {
            let old = retention.is_some_and(|keep| batch.header.max_timestamp.plus(keep) < now);
            let large = retention_bytes.is_some_and(|keep| size_bytes > keep);
            if batch.last >= stable || !(old || large) {
                break;
            }
            size_bytes -= batch.bytes.len();
            start = batch.last + 1;
        }
        self.delete_before(Some(start)).map(|_| ())
    }

    /// Forgets producers that have been idle for `idle` and have no open transaction.
    pub(crate) fn forget_producers(&mut self, idle: Millis, now: Millis) {
        self.producers.retain(|_, state| {
            state.transaction_start.is_some() || state.last_active.plus(idle) >= now
        });
    }
}
