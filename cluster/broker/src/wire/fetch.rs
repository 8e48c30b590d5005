//! Fetch: hands out the stored bytes.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, FetchableTopicResponse, PartitionData,
};
use kafka_protocol::messages::{FetchRequest, FetchResponse, ProducerId};

use super::{Turn, api_log::isolation};
use crate::core::{Core, Isolation, RawSlice};
use crate::error::BrokerError;

/// `fetch.max.bytes` of the broker, as Kafka has it.
const MAX_FETCH_BYTES: usize = 55 * 1024 * 1024;

fn size(limit: i32) -> usize {
    usize::try_from(limit).unwrap_or(0)
}

/// Whether there is enough to answer now: `min_bytes`, or a partition that can only be refused.
pub(super) fn is_ready(core: &Core, request: &FetchRequest) -> bool {
    let isolation = isolation(request.isolation_level);
    let enough = size(request.min_bytes);
    let mut available = 0;
    for topic in &request.topics {
        for asked in &topic.partitions {
            let Ok(partition) = core
                .topic(&topic.topic)
                .and_then(|topic| topic.partition(asked.partition))
            else {
                return true;
            };
            let bounds = partition.bounds();
            if asked.fetch_offset < bounds.start || asked.fetch_offset > bounds.end {
                return true;
            }
            available += partition.available_bytes(asked.fetch_offset, isolation, enough);
        }
    }
    available >= enough
}

pub(super) fn answer(turn: &mut Turn<'_>, request: &FetchRequest) -> FetchResponse {
    let isolation = isolation(request.isolation_level);
    let mut left = size(request.max_bytes).min(MAX_FETCH_BYTES);
    let mut is_empty = true;
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let limit = left.min(size(asked.partition_max_bytes));
            let result = turn.attempt(|core, _| {
                core.slice(
                    &topic.topic,
                    asked.partition,
                    asked.fetch_offset,
                    limit,
                    is_empty,
                    isolation,
                )
            });
            let data = match result {
                Ok(slice) => {
                    left = left.saturating_sub(slice.size_bytes);
                    is_empty &= slice.batches.is_empty();
                    found(slice, isolation)
                }
                Err(error) => refused(error),
            };
            partitions.push(data.with_partition_index(asked.partition));
        }
        topics.push(
            FetchableTopicResponse::default()
                .with_topic(topic.topic.clone())
                .with_partitions(partitions),
        );
    }
    // Session 0: every fetch says all it wants.
    FetchResponse::default().with_responses(topics)
}

fn found(slice: RawSlice, isolation: Isolation) -> PartitionData {
    let aborted = (isolation == Isolation::ReadCommitted).then(|| {
        let entry = |aborted: &crate::core::Aborted| {
            AbortedTransaction::default()
                .with_producer_id(ProducerId(aborted.producer_id))
                .with_first_offset(aborted.first_offset)
        };
        slice.aborted.iter().map(entry).collect()
    });
    PartitionData::default()
        .with_high_watermark(slice.bounds.end)
        .with_last_stable_offset(slice.bounds.last_stable)
        .with_log_start_offset(slice.bounds.start)
        .with_aborted_transactions(aborted)
        .with_records(Some(join(slice)))
}

fn refused(error: BrokerError) -> PartitionData {
    PartitionData::default()
        .with_error_code(error.code())
        .with_high_watermark(-1)
        .with_last_stable_offset(-1)
        .with_log_start_offset(-1)
        .with_records(Some(Bytes::new()))
}

fn join(mut slice: RawSlice) -> Bytes {
    if slice.batches.len() == 1 {
        return slice.batches.remove(0);
    }
    let mut joined = BytesMut::with_capacity(slice.size_bytes);
    for batch in &slice.batches {
        joined.extend_from_slice(batch);
    }
    joined.freeze()
}
