//! Every request that the broker says it speaks, in every version: it can be answered, and refused.

use super::*;

/// Asks in every version that is spoken, once for an answer and once for a refusal.
fn ask_all<Q: Message>(
    request: impl Fn(i16, &mut Core) -> Q,
    check: impl Fn(i16, Option<BrokerError>, Q::Response),
) {
    let api = ApiKey::try_from(Q::KEY).unwrap();
    let (_, min, max) = *dispatch::VERSIONS
        .iter()
        .find(|(spoken, ..)| *spoken == api)
        .unwrap();
    for version in min..=max {
        for refusal in [None, Some(BrokerError::NotCoordinator)] {
            let mut core = core();
            let request = request(version, &mut core);
            check(version, refusal, ask(&mut core, refusal, version, &request));
        }
    }
}

/// The error of an answer is 0, or the refusal that was ordered.
fn assert_code(code: i16, refusal: Option<BrokerError>, version: i16) {
    assert_eq!(
        code,
        refusal.map_or(0, BrokerError::code),
        "version {version}"
    );
}

fn name() -> TopicName {
    TopicName(StrBytes::from_static_str("t"))
}

fn group() -> GroupId {
    GroupId(StrBytes::from_static_str("g"))
}

fn id() -> TransactionalId {
    TransactionalId(StrBytes::from_static_str(ID))
}

/// A producer, with the partition and the group in its open transaction.
fn open(core: &mut Core) -> Producer {
    let producer = core
        .init_producer(Some(ID), Millis(1_000), None, NOW)
        .unwrap();
    core.add_partitions(ID, producer, &[TopicPartition::new("t", 0)], NOW)
        .unwrap();
    core.add_group(ID, producer, "g", NOW).unwrap();
    producer
}

#[test]
fn produce_is_answered_in_every_version() {
    use produce_request::{PartitionProduceData, TopicProduceData};
    ask_all(
        |_, core| {
            let producer = open(core);
            let bytes = record(Some(producer)).place(0).bytes;
            let data = PartitionProduceData::default().with_records(Some(bytes));
            let topic = TopicProduceData::default()
                .with_name(name())
                .with_partition_data(vec![data]);
            ProduceRequest::default()
                .with_acks(-1)
                .with_transactional_id(Some(id()))
                .with_topic_data(vec![topic])
        },
        |version, refusal, answer| {
            let answer = &answer.responses[0].partition_responses[0];
            assert_code(answer.error_code, refusal, version);
            assert_eq!(answer.base_offset, if refusal.is_none() { 1 } else { -1 });
        },
    );
}

#[test]
fn fetch_is_answered_in_every_version() {
    use fetch_request::{FetchPartition, FetchTopic};
    ask_all(
        |_, _| {
            let asked = FetchPartition::default().with_partition_max_bytes(1_000);
            let topic = FetchTopic::default()
                .with_topic(name())
                .with_partitions(vec![asked]);
            FetchRequest::default()
                .with_max_bytes(1_000)
                .with_isolation_level(1)
                .with_topics(vec![topic])
        },
        |version, refusal, answer| {
            let answer = &answer.responses[0].partitions[0];
            assert_code(answer.error_code, refusal, version);
            assert_eq!(
                answer.records.as_ref().is_none_or(Bytes::is_empty),
                refusal.is_some()
            );
        },
    );
}

#[test]
fn list_offsets_is_answered_in_every_version() {
    use list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
    ask_all(
        |_, _| {
            let asked = ListOffsetsPartition::default().with_timestamp(-1);
            let topic = ListOffsetsTopic::default()
                .with_name(name())
                .with_partitions(vec![asked]);
            ListOffsetsRequest::default().with_topics(vec![topic])
        },
        |version, refusal, answer| {
            let answer = &answer.topics[0].partitions[0];
            assert_code(answer.error_code, refusal, version);
            assert_eq!(answer.offset, if refusal.is_none() { 1 } else { -1 });
        },
    );
}

#[test]
fn delete_records_is_answered_in_every_version() {
    use delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
    ask_all(
        |_, _| {
            let asked = DeleteRecordsPartition::default().with_offset(1);
            let topic = DeleteRecordsTopic::default()
                .with_name(name())
                .with_partitions(vec![asked]);
            DeleteRecordsRequest::default().with_topics(vec![topic])
        },
        |version, refusal, answer| {
            assert_code(answer.topics[0].partitions[0].error_code, refusal, version)
        },
    );
}

#[test]
fn leader_epochs_are_answered_in_every_version() {
    use offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
    ask_all(
        |_, _| {
            let topic = OffsetForLeaderTopic::default()
                .with_topic(name())
                .with_partitions(vec![OffsetForLeaderPartition::default()]);
            OffsetForLeaderEpochRequest::default().with_topics(vec![topic])
        },
        |version, refusal, answer| {
            let answer = &answer.topics[0].partitions[0];
            assert_code(answer.error_code, refusal, version);
            assert_eq!(answer.end_offset, if refusal.is_none() { 1 } else { -1 });
        },
    );
}

#[test]
fn metadata_is_answered_in_every_version() {
    use metadata_request::MetadataRequestTopic;
    ask_all(
        |_, _| {
            let topic = MetadataRequestTopic::default().with_name(Some(name()));
            MetadataRequest::default().with_topics(Some(vec![topic]))
        },
        |version, refusal, answer| {
            assert_eq!(answer.brokers[0].node_id, BROKER);
            assert_code(answer.topics[0].error_code, refusal, version);
            assert_eq!(
                answer.topics[0].partitions.len(),
                usize::from(refusal.is_none())
            );
        },
    );
}

#[test]
fn topics_are_created_grown_and_deleted_in_every_version() {
    use create_partitions_request::CreatePartitionsTopic;
    use create_topics_request::CreatableTopic;
    ask_all(
        |_, _| {
            let topic = CreatableTopic::default()
                .with_name(TopicName(StrBytes::from_static_str("new")))
                .with_num_partitions(2)
                .with_replication_factor(1);
            CreateTopicsRequest::default().with_topics(vec![topic])
        },
        |version, refusal, answer| assert_code(answer.topics[0].error_code, refusal, version),
    );
    ask_all(
        |_, _| {
            let topic = CreatePartitionsTopic::default()
                .with_name(name())
                .with_count(3);
            CreatePartitionsRequest::default().with_topics(vec![topic])
        },
        |version, refusal, answer| assert_code(answer.results[0].error_code, refusal, version),
    );
    ask_all(
        |_, _| DeleteTopicsRequest::default().with_topic_names(vec![name()]),
        |version, refusal, answer| assert_code(answer.responses[0].error_code, refusal, version),
    );
}

#[test]
fn settings_are_described_in_every_version() {
    use describe_configs_request::DescribeConfigsResource;
    ask_all(
        |_, _| {
            let resource = DescribeConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(StrBytes::from_static_str("t"))
                .with_configuration_keys(Some(vec![StrBytes::from_static_str("cleanup.policy")]));
            DescribeConfigsRequest::default().with_resources(vec![resource])
        },
        |version, refusal, answer| {
            assert_code(answer.results[0].error_code, refusal, version);
            let values = answer.results[0]
                .configs
                .iter()
                .map(|config| config.value.as_deref());
            assert!(values.eq(refusal.is_none().then_some(Some("delete"))));
        },
    );
}

#[test]
fn coordinators_are_found_in_every_version() {
    ask_all(
        |version, _| {
            let key = StrBytes::from_static_str("g");
            match version {
                0..=3 => FindCoordinatorRequest::default().with_key(key),
                _ => FindCoordinatorRequest::default().with_coordinator_keys(vec![key]),
            }
        },
        |version, refusal, answer| {
            let code = answer
                .coordinators
                .first()
                .map_or(answer.error_code, |found| found.error_code);
            assert_code(code, refusal, version);
        },
    );
}

#[test]
fn offsets_are_committed_and_fetched_in_every_version() {
    use offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
    use offset_fetch_request::{
        OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    };
    ask_all(
        |_, _| {
            let topic = OffsetCommitRequestTopic::default()
                .with_name(name())
                .with_partitions(vec![
                    OffsetCommitRequestPartition::default().with_committed_offset(1),
                ]);
            OffsetCommitRequest::default()
                .with_group_id(group())
                .with_generation_id_or_member_epoch(-1)
                .with_topics(vec![topic])
        },
        |version, refusal, answer| {
            assert_code(answer.topics[0].partitions[0].error_code, refusal, version)
        },
    );
    ask_all(
        |version, _| {
            if version < 8 {
                let topic = OffsetFetchRequestTopic::default()
                    .with_name(name())
                    .with_partition_indexes(vec![0]);
                return OffsetFetchRequest::default()
                    .with_group_id(group())
                    .with_topics(Some(vec![topic]));
            }
            let topic = OffsetFetchRequestTopics::default()
                .with_name(name())
                .with_partition_indexes(vec![0]);
            let asked = OffsetFetchRequestGroup::default()
                .with_group_id(group())
                .with_topics(Some(vec![topic]));
            OffsetFetchRequest::default().with_groups(vec![asked])
        },
        |version, refusal, answer| {
            let (code, offset) = match answer.groups.first() {
                None => (
                    answer.topics[0].partitions[0].error_code,
                    answer.topics[0].partitions[0].committed_offset,
                ),
                Some(group) => {
                    let partition = &group.topics[0].partitions[0];
                    (partition.error_code, partition.committed_offset)
                }
            };
            assert_code(code, refusal, version);
            assert_eq!(offset, if refusal.is_none() { 1 } else { -1 });
        },
    );
    ask_all(
        |_, _| ListGroupsRequest::default(),
        |version, refusal, answer| {
            assert_code(answer.error_code, refusal, version);
            assert_eq!(answer.groups.len(), usize::from(refusal.is_none()));
        },
    );
}

#[test]
fn transactions_are_carried_out_in_every_version() {
    use add_partitions_to_txn_request::AddPartitionsToTxnTopic;
    use txn_offset_commit_request::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic};
    ask_all(
        |_, _| {
            InitProducerIdRequest::default()
                .with_transactional_id(Some(id()))
                .with_transaction_timeout_ms(1_000)
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1)
        },
        |version, refusal, answer| assert_code(answer.error_code, refusal, version),
    );
    ask_all(
        |_, core| {
            let producer = open(core);
            let topic = AddPartitionsToTxnTopic::default()
                .with_name(name())
                .with_partitions(vec![0]);
            AddPartitionsToTxnRequest::default()
                .with_v3_and_below_transactional_id(id())
                .with_v3_and_below_producer_id(ProducerId(producer.id))
                .with_v3_and_below_producer_epoch(producer.epoch)
                .with_v3_and_below_topics(vec![topic])
        },
        |version, refusal, answer| {
            let answer = &answer.results_by_topic_v3_and_below[0].results_by_partition[0];
            assert_code(answer.partition_error_code, refusal, version);
        },
    );
    ask_all(
        |_, core| {
            let producer = open(core);
            AddOffsetsToTxnRequest::default()
                .with_transactional_id(id())
                .with_producer_id(ProducerId(producer.id))
                .with_producer_epoch(producer.epoch)
                .with_group_id(group())
        },
        |version, refusal, answer| assert_code(answer.error_code, refusal, version),
    );
    ask_all(
        |_, core| {
            let producer = open(core);
            let topic = TxnOffsetCommitRequestTopic::default()
                .with_name(name())
                .with_partitions(vec![
                    TxnOffsetCommitRequestPartition::default().with_committed_offset(1),
                ]);
            TxnOffsetCommitRequest::default()
                .with_transactional_id(id())
                .with_group_id(group())
                .with_producer_id(ProducerId(producer.id))
                .with_producer_epoch(producer.epoch)
                .with_topics(vec![topic])
        },
        |version, refusal, answer| {
            assert_code(answer.topics[0].partitions[0].error_code, refusal, version)
        },
    );
    ask_all(
        |_, core| {
            let producer = open(core);
            EndTxnRequest::default()
                .with_transactional_id(id())
                .with_producer_id(ProducerId(producer.id))
                .with_producer_epoch(producer.epoch)
                .with_committed(true)
        },
        |version, refusal, answer| assert_code(answer.error_code, refusal, version),
    );
}
