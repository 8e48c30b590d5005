//! Produce, ListOffsets, DeleteRecords, OffsetForLeaderEpoch.

use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    DeleteRecordsRequest, DeleteRecordsResponse, ListOffsetsRequest, ListOffsetsResponse,
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, ProduceRequest, ProduceResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::{Turn, code};
use crate::core::{Incoming, Isolation, LEADER_EPOCH, Millis, OffsetSpec};
use crate::error::BrokerError;

/// What Kafka says where there is no offset, timestamp or epoch.
const NONE: i64 = -1;

/// The isolation level by its number.
pub(super) fn isolation(level: i8) -> Isolation {
    if level == 1 {
        Isolation::ReadCommitted
    } else {
        Isolation::ReadUncommitted
    }
}

pub(super) fn produce(turn: &mut Turn<'_>, request: ProduceRequest) -> ProduceResponse {
    let mut topics = Vec::with_capacity(request.topic_data.len());
    for topic in request.topic_data {
        let mut partitions = Vec::with_capacity(topic.partition_data.len());
        for data in topic.partition_data {
            let result = turn.attempt(|core, now| {
                let batch = Incoming::check(data.records.unwrap_or_default())?;
                let offset = core.append(&topic.name, data.index, &batch, now)?;
                Ok((
                    offset,
                    core.topic(&topic.name)?
                        .partition(data.index)?
                        .bounds()
                        .start,
                ))
            });
            let message = result
                .as_ref()
                .err()
                .map(|error| StrBytes::from_string(error.to_string()));
            let (offset, start) = result.unwrap_or((NONE, NONE));
            partitions.push(
                PartitionProduceResponse::default()
                    .with_index(data.index)
                    .with_error_code(code(&result))
                    .with_error_message(message)
                    .with_base_offset(offset)
                    .with_log_append_time_ms(NONE)
                    .with_log_start_offset(start),
            );
        }
        topics.push(
            TopicProduceResponse::default()
                .with_name(topic.name)
                .with_partition_responses(partitions),
        );
    }
    ProduceResponse::default().with_responses(topics)
}

pub(super) fn list_offsets(
    turn: &mut Turn<'_>,
    version: i16,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let isolation = isolation(request.isolation_level);
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let result = turn.attempt(|core, _| {
                let spec = offset_spec(asked.timestamp)?;
                core.find_offset(&topic.name, asked.partition_index, spec, isolation)
            });
            let found = result.unwrap_or_default();
            let has_epoch = found.is_some() && version >= 4;
            let timestamp = found.and_then(|(_, timestamp)| timestamp);
            partitions.push(
                ListOffsetsPartitionResponse::default()
                    .with_partition_index(asked.partition_index)
                    .with_error_code(code(&result))
                    .with_offset(found.map_or(NONE, |(offset, _)| offset))
                    .with_timestamp(timestamp.map_or(NONE, |timestamp| timestamp.0))
                    .with_leader_epoch(if has_epoch { LEADER_EPOCH } else { -1 }),
            );
        }
        topics.push(
            ListOffsetsTopicResponse::default()
                .with_name(topic.name)
                .with_partitions(partitions),
        );
    }
    ListOffsetsResponse::default().with_topics(topics)
}

fn offset_spec(timestamp: i64) -> Result<OffsetSpec, BrokerError> {
    match timestamp {
        -1 => Ok(OffsetSpec::Latest),
        -2 => Ok(OffsetSpec::Earliest),
        -3 => Ok(OffsetSpec::MaxTimestamp),
        timestamp if timestamp >= 0 => Ok(OffsetSpec::Timestamp(Millis(timestamp))),
        _ => Err(BrokerError::UnsupportedVersion),
    }
}

pub(super) fn delete_records(
    turn: &mut Turn<'_>,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            // -1 stands for the end.
            let before = (asked.offset != NONE).then_some(asked.offset);
            let result = turn
                .attempt(|core, _| core.delete_records(&topic.name, asked.partition_index, before));
            partitions.push(
                DeleteRecordsPartitionResult::default()
                    .with_partition_index(asked.partition_index)
                    .with_error_code(code(&result))
                    .with_low_watermark(result.unwrap_or(NONE)),
            );
        }
        topics.push(
            DeleteRecordsTopicResult::default()
                .with_name(topic.name)
                .with_partitions(partitions),
        );
    }
    DeleteRecordsResponse::default().with_topics(topics)
}

/// There is one epoch; it ends where the log ends.
pub(super) fn leader_epochs(
    turn: &mut Turn<'_>,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let result = turn.attempt(|core, _| {
                Ok(core
                    .topic(&topic.topic)?
                    .partition(asked.partition)?
                    .bounds()
                    .end)
            });
            let known = asked.leader_epoch == LEADER_EPOCH;
            partitions.push(
                EpochEndOffset::default()
                    .with_partition(asked.partition)
                    .with_error_code(code(&result))
                    .with_leader_epoch(if known { LEADER_EPOCH } else { -1 })
                    .with_end_offset(result.ok().filter(|_| known).unwrap_or(NONE)),
            );
        }
        topics.push(
            OffsetForLeaderTopicResult::default()
                .with_topic(topic.topic)
                .with_partitions(partitions),
        );
    }
    OffsetForLeaderEpochResponse::default().with_topics(topics)
}
