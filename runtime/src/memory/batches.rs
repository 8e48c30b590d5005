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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tanist_actors::port::TopicId;
    use tanist_cluster::Partition;

    use super::*;

    /// A commit of records of these sizes, all to one partition.
    fn commit(sizes_bytes: &[usize]) -> Commit {
        let mut bytes = Vec::new();
        let record = |size_bytes: &usize| {
            let start = bytes.len() as u32;
            bytes.resize(bytes.len() + size_bytes, 0);
            let end = bytes.len() as u32;
            CommitRecord {
                topic: TopicId(0),
                partition: Partition(3),
                key: None,
                value: Some(Span { start, end }),
                timestamp: None,
                headers: None,
            }
        };
        Commit {
            topics: Arc::from([Arc::from("t")]),
            records: sizes_bytes.iter().map(record).collect(),
            bytes,
            group: "g".into(),
            offsets: Vec::new(),
            states: Vec::new(),
        }
    }

    #[test]
    fn batches_keep_their_order_and_their_bounds() {
        for (sizes_bytes, lengths) in [
            (vec![1; 10], vec![10]),
            (vec![1; MAX_RECORDS + 1], vec![MAX_RECORDS, 1]),
            (vec![MAX_BYTES / 2; 5], vec![2, 2, 1]),
            (vec![1, MAX_BYTES + 1, 1], vec![1, 1, 1]),
        ] {
            let batches = batches_of(&commit(&sizes_bytes), Millis(0));
            let row = &batches[&TopicPartition::new("t", 3)];
            let cut: Vec<usize> = row.iter().map(|batch| batch.records.len()).collect();
            assert_eq!(cut, lengths);
            let indices = row.iter().flat_map(|batch| batch.indices.iter().copied());
            assert!(indices.eq(0..sizes_bytes.len()));
            assert_eq!(batches.len(), 1);
        }
    }
}
