//! Metadata, CreateTopics, CreatePartitions, DeleteTopics, DescribeConfigs.

use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    MetadataRequest, MetadataResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::{BROKER, CLUSTER_ID, Turn, code};
use crate::core::{Core, LEADER_EPOCH, TopicConfig, TopicDescription};
use crate::error::{BrokerError, Result};

fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

/// The error's words, which the other side shows to its user.
fn message<R>(result: &Result<R>) -> Option<StrBytes> {
    result
        .as_ref()
        .err()
        .map(|error| StrBytes::from_string(error.to_string()))
}

pub(super) fn metadata(
    turn: &mut Turn<'_>,
    version: i16,
    request: MetadataRequest,
) -> MetadataResponse {
    // No list stands for all topics; in version 0 an empty one does.
    let asked = request
        .topics
        .filter(|topics| version > 0 || !topics.is_empty());
    let names: Vec<String> = match asked {
        None => turn.core.topic_names().map(str::to_owned).collect(),
        Some(topics) => {
            let named = topics.into_iter().filter_map(|topic| topic.name);
            named.map(|name| name.as_str().to_owned()).collect()
        }
    };
    let may_create = version < 4 || request.allow_auto_topic_creation;
    let topics = names.iter().map(|topic| {
        let described = turn.attempt(|core, _| find_or_create(core, topic, may_create));
        described_topic(topic, described)
    });
    let topics = topics.collect();
    let broker = MetadataResponseBroker::default()
        .with_node_id(BROKER)
        .with_host(turn.host())
        .with_port(turn.port());
    MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_cluster_id(Some(StrBytes::from_static_str(CLUSTER_ID)))
        .with_controller_id(BROKER)
        .with_topics(topics)
}

fn find_or_create(core: &mut Core, topic: &str, may_create: bool) -> Result<TopicDescription> {
    let found = core.describe_topic(topic);
    if found.is_ok() || !may_create || !core.settings().auto_create_topics {
        return found;
    }
    core.create_topic(topic, None, TopicConfig::default())?;
    core.describe_topic(topic)
}

fn described_topic(topic: &str, described: Result<TopicDescription>) -> MetadataResponseTopic {
    let answer = MetadataResponseTopic::default()
        .with_name(Some(name(topic)))
        .with_error_code(code(&described));
    let Ok(described) = described else {
        return answer;
    };
    let partitions = (0..).zip(&described.partitions).map(|(index, _)| {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(BROKER)
            .with_leader_epoch(LEADER_EPOCH)
            .with_replica_nodes(vec![BROKER])
            .with_isr_nodes(vec![BROKER])
    });
    answer
        .with_topic_id(described.id)
        .with_partitions(partitions.collect())
}

pub(super) fn create(turn: &mut Turn<'_>, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let validate_only = request.validate_only;
    let topics = request.topics.into_iter().map(|topic| {
        let result = turn.attempt(|core, _| create_one(core, &topic, validate_only));
        let answer = CreatableTopicResult::default()
            .with_error_code(code(&result))
            .with_error_message(message(&result))
            .with_name(topic.name);
        match result {
            Ok(Some(created)) => answer
                .with_topic_id(created.id)
                .with_num_partitions(i32::try_from(created.partitions.len()).unwrap_or(i32::MAX))
                .with_replication_factor(1),
            _ => answer,
        }
    });
    CreateTopicsResponse::default().with_topics(topics.collect())
}

/// The topic that was created; none if it was only to be checked.
fn create_one(
    core: &mut Core,
    topic: &CreatableTopic,
    validate_only: bool,
) -> Result<Option<TopicDescription>> {
    let mut config = TopicConfig::default();
    for setting in &topic.configs {
        if let Some(value) = &setting.value {
            config.set(&setting.name, value)?;
        }
    }
    let partitions = match i32::try_from(topic.assignments.len()) {
        Ok(0) | Err(_) => {
            if !matches!(topic.replication_factor, -1 | 1) {
                return Err(BrokerError::InvalidReplicationFactor);
            }
            (topic.num_partitions != -1).then_some(topic.num_partitions)
        }
        Ok(assigned) => Some(assigned),
    };
    if validate_only {
        let exists = core.topic(&topic.name).is_ok();
        return if exists {
            Err(BrokerError::TopicAlreadyExists)
        } else {
            Ok(None)
        };
    }
    core.create_topic(&topic.name, partitions, config)?;
    core.describe_topic(&topic.name).map(Some)
}

pub(super) fn create_partitions(
    turn: &mut Turn<'_>,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let validate_only = request.validate_only;
    let results = request.topics.into_iter().map(|topic| {
        let result = turn.attempt(|core, _| {
            if validate_only {
                return core.topic(&topic.name).map(|_| ());
            }
            core.create_partitions(&topic.name, topic.count)
        });
        CreatePartitionsTopicResult::default()
            .with_error_code(code(&result))
            .with_error_message(message(&result))
            .with_name(topic.name)
    });
    CreatePartitionsResponse::default().with_results(results.collect())
}

pub(super) fn delete(turn: &mut Turn<'_>, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let responses = request.topic_names.into_iter().map(|topic| {
        let result = turn.attempt(|core, _| core.delete_topic(&topic));
        DeletableTopicResult::default()
            .with_error_code(code(&result))
            .with_error_message(message(&result))
            .with_name(Some(topic))
    });
    DeleteTopicsResponse::default().with_responses(responses.collect())
}

/// The resource type of a topic.
const TOPIC: i8 = 2;
/// Where a setting comes from, by Kafka's numbers: set for the topic.
const FROM_TOPIC: i8 = 1;

/// Settings of topics; a broker's are none of Kafka's and are not shown.
pub(super) fn describe_configs(
    turn: &mut Turn<'_>,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let results = request.resources.into_iter().map(|resource| {
        let result = turn.attempt(|core, _| match resource.resource_type {
            TOPIC => Ok(core.topic(&resource.resource_name)?.config.entries()),
            _ => Ok(Default::default()),
        });
        let wanted = |key: &str| {
            let keys = resource.configuration_keys.as_ref();
            keys.is_none_or(|keys| keys.iter().any(|wanted| wanted.as_str() == key))
        };
        let entries = result
            .iter()
            .flatten()
            .filter(|(key, _)| wanted(key))
            .map(|(key, value)| {
                DescribeConfigsResourceResult::default()
                    .with_name(StrBytes::from_string(key.clone()))
                    .with_value(Some(StrBytes::from_string(value.clone())))
                    .with_config_source(FROM_TOPIC)
            });
        DescribeConfigsResult::default()
            .with_error_code(code(&result))
            .with_error_message(message(&result))
            .with_resource_type(resource.resource_type)
            .with_configs(entries.collect())
            .with_resource_name(resource.resource_name)
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}
