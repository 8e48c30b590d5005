//! Kafka's protocol by hand, for requests that a client library does not make, or not like that.

mod coordinator;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest, FetchRequest,
    ListOffsetsRequest, ProduceRequest, RequestHeader, ResponseHeader, TopicName, TransactionalId,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use kafka_protocol::records::{
    Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};

/// Longer than any answer takes.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A connection.
pub struct RawClient {
    stream: TcpStream,
    requests: i32,
}

fn string(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

impl RawClient {
    /// Connects.
    pub fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the broker listens");
        stream
            .set_nodelay(true)
            .expect("a socket takes its options");
        stream
            .set_read_timeout(Some(TIMEOUT))
            .expect("a socket takes its options");
        Self {
            stream,
            requests: 0,
        }
    }

    /// Sends a request and waits for its answer.
    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.send(version, request);
        self.receive::<R>(version)
    }

    /// Sends a request.
    pub fn send<R: Request>(&mut self, version: i16, request: &R) {
        self.requests += 1;
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.requests)
            .with_client_id(Some(StrBytes::from_static_str("raw")));
        let mut bytes = BytesMut::new();
        header
            .encode(&mut bytes, R::header_version(version))
            .expect("a header can be encoded");
        request
            .encode(&mut bytes, version)
            .expect("the request fits its version");
        let size = u32::try_from(bytes.len()).expect("a request is small");
        self.stream
            .write_all(&size.to_be_bytes())
            .expect("the broker reads");
        self.stream.write_all(&bytes).expect("the broker reads");
    }

    /// Waits for the answer to the last request.
    pub fn receive<R: Request>(&mut self, version: i16) -> R::Response {
        let mut size = [0; 4];
        self.stream
            .read_exact(&mut size)
            .expect("the broker answers");
        let mut answer =
            vec![0; usize::try_from(u32::from_be_bytes(size)).expect("it fits into memory")];
        self.stream
            .read_exact(&mut answer)
            .expect("the broker answers in full");
        let mut answer = Bytes::from(answer);
        let header_version = R::Response::header_version(version);
        let header =
            ResponseHeader::decode(&mut answer, header_version).expect("an answer has a header");
        assert_eq!(
            header.correlation_id, self.requests,
            "the answer belongs to the last request"
        );
        R::Response::decode(&mut answer, version).expect("the answer fits its version")
    }

    /// Creates a topic, and waits until the broker that this is connected to serves its partitions, which on Apache
    /// Kafka takes some milliseconds.
    pub fn create_topic(&mut self, name: &str, partitions: i32, config: &[(&str, &str)]) {
        let configs = config.iter().map(|(key, value)| {
            CreatableTopicConfig::default()
                .with_name(string(key))
                .with_value(Some(string(value)))
        });
        let topic = CreatableTopic::default()
            .with_name(TopicName(string(name)))
            .with_num_partitions(partitions)
            .with_replication_factor(1)
            .with_configs(configs.collect());
        let request = CreateTopicsRequest::default()
            .with_topics(vec![topic])
            .with_timeout_ms(10_000);
        let answer = self.call(4, &request);
        let created = &answer.topics[0];
        assert_eq!(
            created.error_code, 0,
            "creating topic {name}: {:?}",
            created.error_message
        );
        for partition in 0..partitions {
            poll_until("the leader of a partition", || {
                (self.list_offset(name, partition, -1, false).0 == 0).then_some(())
            });
        }
    }

    /// Deletes a topic, which takes its time.
    pub fn delete_topic(&mut self, name: &str) {
        let request = DeleteTopicsRequest::default()
            .with_topic_names(vec![TopicName(string(name))])
            .with_timeout_ms(10_000);
        let answer = self.call(4, &request);
        assert_eq!(answer.responses[0].error_code, 0, "deleting topic {name}");
    }

    /// Produce of one batch.
    pub fn produce(
        &mut self,
        transactional_id: Option<&str>,
        topic: &str,
        partition: i32,
        batch: Bytes,
    ) -> PartitionProduceResponse {
        let data = PartitionProduceData::default()
            .with_index(partition)
            .with_records(Some(batch));
        let topic = TopicProduceData::default()
            .with_name(TopicName(string(topic)))
            .with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_transactional_id(transactional_id.map(|id| TransactionalId(string(id))))
            .with_acks(-1)
            .with_timeout_ms(10_000)
            .with_topic_data(vec![topic]);
        let mut answer = self.call(8, &request);
        answer.responses.remove(0).partition_responses.remove(0)
    }

    /// Waits until no transaction is open in the partition; on Apache Kafka a marker comes a little after the commit's
    /// answer. Returns the end of its log.
    pub fn await_stable(&mut self, topic: &str, partition: i32) -> i64 {
        poll_until("the marker", || {
            let (_, stable, _) = self.list_offset(topic, partition, -1, true);
            let (code, end, _) = self.list_offset(topic, partition, -1, false);
            assert_eq!(code, 0);
            (stable == end).then_some(end)
        })
    }

    /// DeleteRecords of one partition; returns its error and the new start.
    pub fn delete_records(&mut self, topic: &str, partition: i32, before: i64) -> (i16, i64) {
        let asked = DeleteRecordsPartition::default()
            .with_partition_index(partition)
            .with_offset(before);
        let topic = DeleteRecordsTopic::default()
            .with_name(TopicName(string(topic)))
            .with_partitions(vec![asked]);
        let request = DeleteRecordsRequest::default()
            .with_topics(vec![topic])
            .with_timeout_ms(10_000);
        let answer = self.call(1, &request);
        let result = &answer.topics[0].partitions[0];
        (result.error_code, result.low_watermark)
    }

    /// Fetch of one partition, without waiting.
    pub fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        committed: bool,
    ) -> PartitionData {
        let asked = FetchPartition::default()
            .with_partition(partition)
            .with_fetch_offset(offset)
            .with_partition_max_bytes(1_000_000);
        let topic = FetchTopic::default()
            .with_topic(TopicName(string(topic)))
            .with_partitions(vec![asked]);
        let request = FetchRequest::default()
            .with_replica_id((-1).into())
            .with_max_wait_ms(0)
            .with_min_bytes(0)
            .with_max_bytes(1_000_000)
            .with_isolation_level(i8::from(committed))
            .with_session_epoch(-1)
            .with_topics(vec![topic]);
        let mut answer = self.call(11, &request);
        answer.responses.remove(0).partitions.remove(0)
    }

    /// ListOffsets of one partition: -1 for the latest, -2 for the earliest, or a timestamp. Returns error, offset and
    /// timestamp.
    pub fn list_offset(
        &mut self,
        topic: &str,
        partition: i32,
        timestamp: i64,
        committed: bool,
    ) -> (i16, i64, i64) {
        let asked = ListOffsetsPartition::default()
            .with_partition_index(partition)
            .with_timestamp(timestamp);
        let topic = ListOffsetsTopic::default()
            .with_name(TopicName(string(topic)))
            .with_partitions(vec![asked]);
        let request = ListOffsetsRequest::default()
            .with_replica_id((-1).into())
            .with_isolation_level(i8::from(committed))
            .with_topics(vec![topic]);
        let answer = self.call(2, &request);
        let found = &answer.topics[0].partitions[0];
        (found.error_code, found.offset, found.timestamp)
    }
}

/// A batch of records, each with its value as key too. The producer is an id and an epoch; `sequence` is the number of
/// the first.
pub fn batch(
    producer: Option<(i64, i16)>,
    sequence: i32,
    transactional: bool,
    values: &[&str],
) -> Bytes {
    let (producer_id, producer_epoch) = producer.unwrap_or((-1, -1));
    let records: Vec<Record> = (0i32..)
        .zip(values)
        .map(|(index, value)| Record {
            transactional,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: -1,
            producer_id,
            producer_epoch,
            timestamp_type: TimestampType::Creation,
            offset: i64::from(index),
            sequence: sequence + index,
            timestamp: 1_000 + i64::from(index),
            key: Some(Bytes::copy_from_slice(value.as_bytes())),
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
            headers: Default::default(),
        })
        .collect();
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions {
        version: 2,
        compression: Compression::None,
    };
    RecordBatchEncoder::encode(&mut bytes, &records, &options).expect("records can be encoded");
    bytes.freeze()
}

/// How often [`poll_until`] asks, and how long it waits in between: at least 20 seconds in all.
const TRIES: u32 = 10_000;
const PAUSE: Duration = Duration::from_millis(2);

/// Asks until there is an answer; fails once that takes too long for anything but a fault.
pub fn poll_until<R>(what: &str, mut ask: impl FnMut() -> Option<R>) -> R {
    for _ in 0..TRIES {
        if let Some(answer) = ask() {
            return answer;
        }
        std::thread::sleep(PAUSE);
    }
    panic!("{what} did not come within {TRIES} tries");
}
