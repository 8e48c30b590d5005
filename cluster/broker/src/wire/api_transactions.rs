//! InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, TxnOffsetCommit, EndTxn.

use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse, EndTxnRequest, EndTxnResponse, InitProducerIdRequest,
    InitProducerIdResponse, ProducerId, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};

use super::api_groups::{check_member, committed};
use super::{Turn, code};
use crate::core::{Millis, Outcome, Producer, TopicPartition};
use crate::error::{BrokerError, Result};

/// Old versions do not know `PRODUCER_FENCED`, and get `INVALID_PRODUCER_EPOCH` in its place.
fn in_words_of<R>(result: Result<R>, version: i16, knows_fenced_from: i16) -> Result<R> {
    result.map_err(|error| match error {
        BrokerError::ProducerFenced if version < knows_fenced_from => {
            BrokerError::InvalidProducerEpoch
        }
        other => other,
    })
}

fn producer(id: ProducerId, epoch: i16) -> Producer {
    Producer { id: id.0, epoch }
}

pub(super) fn init(
    turn: &mut Turn<'_>,
    version: i16,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let result = turn.attempt(|core, now| {
        let current = match (request.producer_id.0, request.producer_epoch) {
            (-1, -1) => None,
            (id, epoch) if id >= 0 && epoch >= 0 => Some(Producer { id, epoch }),
            _ => return Err(BrokerError::InvalidRequest),
        };
        let timeout = Millis(i64::from(request.transaction_timeout_ms));
        core.init_producer(
            request.transactional_id.as_deref().map(|id| id.as_str()),
            timeout,
            current,
            now,
        )
    });
    let result = in_words_of(result, version, 4);
    let Producer { id, epoch } = result.unwrap_or(Producer { id: -1, epoch: -1 });
    InitProducerIdResponse::default()
        .with_error_code(code(&result))
        .with_producer_id(ProducerId(id))
        .with_producer_epoch(epoch)
}

pub(super) fn add_partitions(
    turn: &mut Turn<'_>,
    version: i16,
    request: AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    let producer = producer(
        request.v3_and_below_producer_id,
        request.v3_and_below_producer_epoch,
    );
    let all = || {
        request.v3_and_below_topics.iter().flat_map(|topic| {
            topic
                .partitions
                .iter()
                .map(|&partition| TopicPartition::new(topic.name.as_str(), partition))
        })
    };
    let partitions: Vec<TopicPartition> = all().collect();
    let result = turn.attempt(|core, now| {
        core.add_partitions(
            &request.v3_and_below_transactional_id,
            producer,
            &partitions,
            now,
        )
    });
    let result = in_words_of(result, version, 2);
    let mut topics = Vec::with_capacity(request.v3_and_below_topics.len());
    for topic in &request.v3_and_below_topics {
        let partition_code = |partition: i32| match result {
            // If one does not exist, the others are told that nothing was tried.
            Err(BrokerError::UnknownTopicOrPartition)
                if turn
                    .core
                    .topic(&topic.name)
                    .and_then(|topic| topic.partition(partition))
                    .is_ok() =>
            {
                BrokerError::OperationNotAttempted.code()
            }
            _ => code(&result),
        };
        let results = topic.partitions.iter().map(|&partition| {
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(partition)
                .with_partition_error_code(partition_code(partition))
        });
        topics.push(
            AddPartitionsToTxnTopicResult::default()
                .with_name(topic.name.clone())
                .with_results_by_partition(results.collect()),
        );
    }
    AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(topics)
}

pub(super) fn add_offsets(
    turn: &mut Turn<'_>,
    version: i16,
    request: AddOffsetsToTxnRequest,
) -> AddOffsetsToTxnResponse {
    let producer = producer(request.producer_id, request.producer_epoch);
    let result = turn.attempt(|core, now| {
        core.add_group(&request.transactional_id, producer, &request.group_id, now)
    });
    AddOffsetsToTxnResponse::default().with_error_code(code(&in_words_of(result, version, 2)))
}

pub(super) fn commit_offsets(
    turn: &mut Turn<'_>,
    request: TxnOffsetCommitRequest,
) -> TxnOffsetCommitResponse {
    let producer = producer(request.producer_id, request.producer_epoch);
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for offset in topic.partitions {
            let result = turn.attempt(|core, now| {
                check_member(request.generation_id, &request.member_id)?;
                core.commit_offsets_in_transaction(
                    producer,
                    &request.group_id,
                    &TopicPartition::new(topic.name.as_str(), offset.partition_index),
                    committed(
                        offset.committed_offset,
                        offset.committed_leader_epoch,
                        offset.committed_metadata,
                    ),
                    now,
                )
            });
            partitions.push(
                TxnOffsetCommitResponsePartition::default()
                    .with_partition_index(offset.partition_index)
                    .with_error_code(code(&result)),
            );
        }
        topics.push(
            TxnOffsetCommitResponseTopic::default()
                .with_name(topic.name)
                .with_partitions(partitions),
        );
    }
    TxnOffsetCommitResponse::default().with_topics(topics)
}

pub(super) fn end(turn: &mut Turn<'_>, version: i16, request: EndTxnRequest) -> EndTxnResponse {
    let producer = producer(request.producer_id, request.producer_epoch);
    let outcome = if request.committed {
        Outcome::Commit
    } else {
        Outcome::Abort
    };
    let result = turn.attempt(|core, now| {
        core.end_transaction(&request.transactional_id, producer, outcome, now)
    });
    EndTxnResponse::default().with_error_code(code(&in_words_of(result, version, 2)))
}
