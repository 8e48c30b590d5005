//! [`Batches`]: the records of a commit as they are sent, by partition.

use std::collections::BTreeMap;

use bytes::Bytes;
use tanist_actors::port::{Commit, CommitRecord, Span};
use tanist_broker::{Millis, NewRecord, TopicPartition};
use tanist_cluster::Offset;

/// The most records of a batch.
const MAX_RECORDS: usize = 1_000;
/// The most bytes of keys and values of a batch, but for one record that has more by itself.
const MAX_BYTES: usize = 512 * 1024;

/// Records that are appended together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) records: Vec<NewRecord>,
    /// Where each of them stands in [`Commit::records`].
    pub(super) indices: Vec<usize>,
    size_bytes: usize,
}

/// The batches of each partition, in order.
pub(super) type Batches = BTreeMap<TopicPartition, Vec<Batch>>;

/// Records by their place in [`Commit::records`], and their offsets in the log; in no particular order.
pub(super) type Offsets = Vec<(usize, Offset)>;

/// Cuts the records of `commit` into batches. Records without a timestamp were made `now`.
pub(super) fn batches_of(commit: &Commit, now: Millis) -> Batches {
    let bytes = Bytes::copy_from_slice(&commit.bytes);
    let mut batches = Batches::new();
    for (index, record) in commit.records.iter().enumerate() {
        let topic = &commit.topics[usize::from(record.topic.0)];
        let partition = TopicPartition::new(&**topic, record.partition.0);
        let row = batches.entry(partition).or_default();
        let size_bytes = span_bytes(record);
        let fits = row.last().is_some_and(|batch: &Batch| {
            batch.records.len() < MAX_RECORDS && batch.size_bytes + size_bytes <= MAX_BYTES
        });
        if !fits {
            row.push(Batch::default());
        }
        if let Some(batch) = row.last_mut() {
            batch.records.push(new_record(record, &bytes, now));
            batch.indices.push(index);
            batch.size_bytes += size_bytes;
        }
    }
    batches
}

/// One record for itself.
pub(super) fn batch_of(record: NewRecord) -> Batch {
    Batch {
        records: vec![record],
        indices: vec![0],
        size_bytes: 0,
    }
}

fn span_bytes(record: &CommitRecord) -> usize {
    [record.key, record.value]
        .into_iter()
        .flatten()
        .map(|span| (span.end - span.start) as usize)
        .sum()
}

fn new_record(record: &CommitRecord, bytes: &Bytes, now: Millis) -> NewRecord {
    let piece = |span: Span| bytes.slice(span.start as usize..span.end as usize);
    let headers = record.headers.iter().flat_map(|headers| headers.iter());
    NewRecord {
        key: record.key.map(piece),
        value: record.value.map(piece),
        headers: headers
            .map(|(name, value)| (name.to_owned(), value.map(Bytes::copy_from_slice)))
            .collect(),
        timestamp: record
            .timestamp
            .map_or(now, |timestamp| Millis(timestamp.0)),
    }
}
