//! FindCoordinator, OffsetCommit, OffsetFetch, ListGroups. Members and generations come with a later issue.

use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{
    FindCoordinatorRequest, FindCoordinatorResponse, GroupId, ListGroupsResponse,
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::{BROKER, Turn, code};
use crate::core::{Committed, TopicPartition};
use crate::error::{BrokerError, Result};

/// This broker coordinates everything.
pub(super) fn find_coordinator(
    turn: &mut Turn<'_>,
    version: i16,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let result = turn.attempt(|_, _| Ok(()));
    if version < 4 {
        return FindCoordinatorResponse::default()
            .with_error_code(code(&result))
            .with_node_id(BROKER)
            .with_host(turn.host())
            .with_port(turn.port());
    }
    let coordinators = request.coordinator_keys.into_iter().map(|key| {
        Coordinator::default()
            .with_key(key)
            .with_error_code(code(&result))
            .with_node_id(BROKER)
            .with_host(turn.host())
            .with_port(turn.port())
    });
    FindCoordinatorResponse::default().with_coordinators(coordinators.collect())
}

/// A group without members takes commits only from those that claim to be none.
pub(super) fn check_member(generation: i32, member: &str) -> Result<()> {
    if !member.is_empty() {
        return Err(BrokerError::UnknownMemberId);
    }
    if generation >= 0 {
        return Err(BrokerError::IllegalGeneration);
    }
    Ok(())
}

/// A committed offset as the protocol spells it.
pub(super) fn committed(offset: i64, leader_epoch: i32, metadata: Option<StrBytes>) -> Committed {
    Committed {
        offset,
        leader_epoch: (leader_epoch >= 0).then_some(leader_epoch),
        metadata: metadata.map(|metadata| metadata.as_str().to_owned()),
    }
}

pub(super) fn commit(turn: &mut Turn<'_>, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for offset in topic.partitions {
            let result = turn.attempt(|core, now| {
                check_member(request.generation_id_or_member_epoch, &request.member_id)?;
                core.commit_offset(
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
                OffsetCommitResponsePartition::default()
                    .with_partition_index(offset.partition_index)
                    .with_error_code(code(&result)),
            );
        }
        topics.push(
            OffsetCommitResponseTopic::default()
                .with_name(topic.name)
                .with_partitions(partitions),
        );
    }
    OffsetCommitResponse::default().with_topics(topics)
}

/// What was asked for and found: topic, partition, offset. The same for both shapes of the request.
type Found = Vec<(TopicName, Vec<(i32, Result<Committed>)>)>;

const NOTHING: i64 = -1;

fn look_up(
    turn: &mut Turn<'_>,
    group: &str,
    asked: Option<Vec<(TopicName, Vec<i32>)>>,
    stable: bool,
) -> Found {
    let asked = asked.unwrap_or_else(|| all_of(turn, group));
    let look_up_one = |turn: &mut Turn<'_>, topic: &TopicName, partition: i32| {
        let partition = TopicPartition::new(topic.as_str(), partition);
        let found = turn.attempt(|core, _| core.committed_offset(group, &partition, stable))?;
        Ok(found.unwrap_or(Committed {
            offset: NOTHING,
            ..Committed::default()
        }))
    };
    let mut found = Vec::with_capacity(asked.len());
    for (topic, partitions) in asked {
        let offsets = partitions
            .into_iter()
            .map(|partition| (partition, look_up_one(turn, &topic, partition)));
        let offsets = offsets.collect();
        found.push((topic, offsets));
    }
    found
}

fn all_of(turn: &mut Turn<'_>, group: &str) -> Vec<(TopicName, Vec<i32>)> {
    let mut all: Vec<(TopicName, Vec<i32>)> = Vec::new();
    for TopicPartition { topic, partition } in turn.core.committed_partitions(group) {
        match all.last_mut().filter(|(name, _)| name.as_str() == topic) {
            Some((_, partitions)) => partitions.push(partition),
            None => all.push((TopicName(StrBytes::from_string(topic)), vec![partition])),
        }
    }
    all
}

/// Offset, leader epoch, metadata and error of an answer.
fn spelled(result: &Result<Committed>) -> (i64, i32, Option<StrBytes>, i16) {
    let nothing = Committed {
        offset: NOTHING,
        ..Committed::default()
    };
    let committed = result.as_ref().unwrap_or(&nothing);
    let metadata = committed.metadata.clone().unwrap_or_default();
    let leader_epoch = committed.leader_epoch.unwrap_or(-1);
    (
        committed.offset,
        leader_epoch,
        Some(StrBytes::from_string(metadata)),
        code(result),
    )
}

pub(super) fn fetch(
    turn: &mut Turn<'_>,
    version: i16,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    let stable = request.require_stable;
    if version >= 8 {
        let groups = request.groups.into_iter().map(|group| {
            let asked = group.topics.map(|topics| {
                topics
                    .into_iter()
                    .map(|topic| (topic.name, topic.partition_indexes))
                    .collect()
            });
            let found = look_up(turn, &group.group_id, asked, stable);
            grouped(group.group_id, found)
        });
        return OffsetFetchResponse::default().with_groups(groups.collect());
    }
    let asked = request.topics.map(|topics| {
        topics
            .into_iter()
            .map(|topic| (topic.name, topic.partition_indexes))
            .collect()
    });
    let found = look_up(turn, &request.group_id, asked, stable);
    let topics = found.into_iter().map(|(name, offsets)| {
        let partitions = offsets.iter().map(|(partition, result)| {
            let (offset, leader_epoch, metadata, code) = spelled(result);
            OffsetFetchResponsePartition::default()
                .with_partition_index(*partition)
                .with_committed_offset(offset)
                .with_committed_leader_epoch(leader_epoch)
                .with_metadata(metadata)
                .with_error_code(code)
        });
        OffsetFetchResponseTopic::default()
            .with_name(name)
            .with_partitions(partitions.collect())
    });
    OffsetFetchResponse::default().with_topics(topics.collect())
}

fn grouped(group: GroupId, found: Found) -> OffsetFetchResponseGroup {
    let topics = found.into_iter().map(|(name, offsets)| {
        let partitions = offsets.iter().map(|(partition, result)| {
            let (offset, leader_epoch, metadata, code) = spelled(result);
            OffsetFetchResponsePartitions::default()
                .with_partition_index(*partition)
                .with_committed_offset(offset)
                .with_committed_leader_epoch(leader_epoch)
                .with_metadata(metadata)
                .with_error_code(code)
        });
        OffsetFetchResponseTopics::default()
            .with_name(name)
            .with_partitions(partitions.collect())
    });
    OffsetFetchResponseGroup::default()
        .with_group_id(group)
        .with_topics(topics.collect())
}

pub(super) fn list(turn: &mut Turn<'_>) -> ListGroupsResponse {
    let result =
        turn.attempt(|core, _| Ok(core.group_names().map(str::to_owned).collect::<Vec<_>>()));
    let groups = result.iter().flatten().map(|group| {
        ListedGroup::default()
            .with_group_id(GroupId(StrBytes::from_string(group.clone())))
            .with_group_state(StrBytes::from_static_str("Empty"))
    });
    ListGroupsResponse::default()
        .with_error_code(code(&result))
        .with_groups(groups.collect())
}
