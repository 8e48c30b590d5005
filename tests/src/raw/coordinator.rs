//! The requests that a transaction coordinator and a group coordinator answer.

use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, FindCoordinatorRequest,
    GroupId, InitProducerIdRequest, InitProducerIdResponse, OffsetFetchRequest, ProducerId,
    TopicName, TransactionalId, TxnOffsetCommitRequest,
};

use super::{RawClient, poll_until, string};

impl RawClient {
    /// Makes sure that the transaction coordinator is there, which on Apache Kafka takes a while the first time.
    pub fn await_coordinator(&mut self, transactional_id: &str) {
        let request = FindCoordinatorRequest::default()
            .with_key(string(transactional_id))
            .with_key_type(1);
        poll_until("a transaction coordinator", || {
            (self.call(1, &request).error_code == 0).then_some(())
        });
    }

    /// InitProducerId in version 4; `current` is the producer's id and epoch, or -1 and -1.
    pub fn init_producer(
        &mut self,
        version: i16,
        transactional_id: &str,
        current: (i64, i16),
    ) -> InitProducerIdResponse {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(TransactionalId(string(transactional_id))))
            .with_transaction_timeout_ms(60_000)
            .with_producer_id(ProducerId(current.0))
            .with_producer_epoch(current.1);
        self.call(version, &request)
    }

    /// Takes over a transactional id, however long its former transaction takes to end, and returns the producer's id
    /// and epoch.
    pub fn fence(&mut self, transactional_id: &str) -> (i64, i16) {
        self.await_coordinator(transactional_id);
        poll_until("the producer id", || {
            let answer = self.init_producer(4, transactional_id, (-1, -1));
            match answer.error_code {
                0 => Some((answer.producer_id.0, answer.producer_epoch)),
                // Not loaded yet, or a former transaction is being aborted.
                14 | 15 | 16 | 51 => None,
                code => panic!("InitProducerId was answered with {code}"),
            }
        })
    }

    /// AddPartitionsToTxn for one partition; returns its error.
    pub fn add_partition(
        &mut self,
        version: i16,
        transactional_id: &str,
        producer: (i64, i16),
        topic: &str,
        partition: i32,
    ) -> i16 {
        let topic = AddPartitionsToTxnTopic::default()
            .with_name(TopicName(string(topic)))
            .with_partitions(vec![partition]);
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(TransactionalId(string(transactional_id)))
            .with_v3_and_below_producer_id(ProducerId(producer.0))
            .with_v3_and_below_producer_epoch(producer.1)
            .with_v3_and_below_topics(vec![topic]);
        let answer = self.call(version, &request);
        answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
    }

    /// The same, again while the former transaction is still being finished.
    pub fn join(
        &mut self,
        transactional_id: &str,
        producer: (i64, i16),
        topic: &str,
        partition: i32,
    ) {
        poll_until("a partition in the transaction", || {
            match self.add_partition(1, transactional_id, producer, topic, partition) {
                0 => Some(()),
                51 => None,
                code => panic!("AddPartitionsToTxn was answered with {code}"),
            }
        });
    }

    /// EndTxn; returns its error.
    pub fn end(
        &mut self,
        version: i16,
        transactional_id: &str,
        producer: (i64, i16),
        commit: bool,
    ) -> i16 {
        let request = EndTxnRequest::default()
            .with_transactional_id(TransactionalId(string(transactional_id)))
            .with_producer_id(ProducerId(producer.0))
            .with_producer_epoch(producer.1)
            .with_committed(commit);
        self.call(version, &request).error_code
    }

    /// TxnOffsetCommit of offset 7 for partition 0 of a topic, as no member; returns its error.
    pub fn commit_offset(
        &mut self,
        transactional_id: &str,
        producer: (i64, i16),
        group: &str,
        topic: &str,
    ) -> i16 {
        let offset = TxnOffsetCommitRequestPartition::default()
            .with_committed_offset(7)
            .with_committed_leader_epoch(-1);
        let topic = TxnOffsetCommitRequestTopic::default()
            .with_name(TopicName(string(topic)))
            .with_partitions(vec![offset]);
        let request = TxnOffsetCommitRequest::default()
            .with_transactional_id(TransactionalId(string(transactional_id)))
            .with_group_id(GroupId(string(group)))
            .with_producer_id(ProducerId(producer.0))
            .with_producer_epoch(producer.1)
            .with_generation_id(-1)
            .with_topics(vec![topic]);
        self.call(3, &request).topics[0].partitions[0].error_code
    }

    /// AddOffsetsToTxn; returns its error.
    pub fn add_offsets(
        &mut self,
        version: i16,
        transactional_id: &str,
        producer: (i64, i16),
        group: &str,
    ) -> i16 {
        let request = AddOffsetsToTxnRequest::default()
            .with_transactional_id(TransactionalId(string(transactional_id)))
            .with_group_id(GroupId(string(group)))
            .with_producer_id(ProducerId(producer.0))
            .with_producer_epoch(producer.1);
        self.call(version, &request).error_code
    }

    /// OffsetFetch for partition 0 of a topic; returns its error and the offset.
    pub fn committed_offset(&mut self, group: &str, topic: &str, stable: bool) -> (i16, i64) {
        let topic = OffsetFetchRequestTopic::default()
            .with_name(TopicName(string(topic)))
            .with_partition_indexes(vec![0]);
        let request = OffsetFetchRequest::default()
            .with_group_id(GroupId(string(group)))
            .with_require_stable(stable)
            .with_topics(Some(vec![topic]));
        let answer = self.call(7, &request);
        let found = &answer.topics[0].partitions[0];
        (found.error_code, found.committed_offset)
    }
}
