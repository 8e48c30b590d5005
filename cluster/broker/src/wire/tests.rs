//! Requests and answers by their bytes.

mod versions;

use std::net::SocketAddr;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request as Message, StrBytes};

use super::dispatch;
use super::request::Request;
use super::{BROKER, Turn};
use crate::core::{
    Committed, Core, Incoming, Millis, NewRecord, Producer, Settings, TopicConfig, TopicPartition,
};
use crate::error::BrokerError;

const NOW: Millis = Millis(1_000);
const ID: &str = "x";

fn core() -> Core {
    let mut core = Core::new(Settings::default());
    core.create_topic("t", Some(1), TopicConfig::default())
        .unwrap();
    core.append("t", 0, &record(None), NOW).unwrap();
    core.commit_offset(
        "g",
        &TopicPartition::new("t", 0),
        Committed {
            offset: 1,
            ..Committed::default()
        },
        NOW,
    )
    .unwrap();
    core
}

fn record(producer: Option<Producer>) -> Incoming {
    let record = NewRecord {
        value: Some(Bytes::from_static(b"v")),
        ..NewRecord::default()
    };
    Incoming::encode(&[record], producer, 0, producer.is_some()).unwrap()
}

fn frame<Q: Message>(version: i16, request: &Q) -> Bytes {
    let header = RequestHeader::default()
        .with_request_api_key(Q::KEY)
        .with_request_api_version(version)
        .with_correlation_id(7)
        .with_client_id(Some(StrBytes::from_static_str("tester")));
    let mut bytes = BytesMut::new();
    header
        .encode(&mut bytes, Q::header_version(version))
        .unwrap();
    request.encode(&mut bytes, version).unwrap();
    bytes.freeze()
}

/// Sends a request through bytes and decodes its answer.
fn ask<Q: Message>(
    core: &mut Core,
    refusal: Option<BrokerError>,
    version: i16,
    request: &Q,
) -> Q::Response {
    let what = format!("{:?} version {version}", ApiKey::try_from(Q::KEY).unwrap());
    let request = Request::parse(frame(version, request)).expect(&what);
    assert_eq!(*request.client, *"tester", "{what}");
    let address = SocketAddr::from(([127, 0, 0, 1], 9));
    let mut turn = Turn {
        core,
        now: NOW,
        address,
        refusal,
    };
    let mut answer = dispatch::answer(&mut turn, &request)
        .expect(&what)
        .expect(&what);
    assert_eq!(
        usize::try_from(answer.get_u32()).unwrap(),
        answer.len(),
        "{what}"
    );
    let header =
        ResponseHeader::decode(&mut answer, Q::Response::header_version(version)).expect(&what);
    assert_eq!(header.correlation_id, 7, "{what}");
    let decoded = Q::Response::decode(&mut answer, version).expect(&what);
    assert!(answer.is_empty(), "{what}: bytes behind the answer");
    decoded
}

#[test]
fn an_unknown_version_of_api_versions_is_answered_so_that_everybody_can_read_it() {
    let mut bytes = BytesMut::new();
    bytes.put_i16(ApiKey::ApiVersions as i16);
    bytes.put_i16(99);
    bytes.put_i32(7);
    let request = Request::parse(bytes.freeze()).unwrap();
    let mut core = core();
    let address = SocketAddr::from(([127, 0, 0, 1], 9));
    let mut turn = Turn {
        core: &mut core,
        now: NOW,
        address,
        refusal: None,
    };
    let mut answer = dispatch::answer(&mut turn, &request).unwrap().unwrap();
    answer.advance(8);
    let answer = ApiVersionsResponse::decode(&mut answer, 0).unwrap();
    assert_eq!(answer.error_code, BrokerError::UnsupportedVersion.code());
    assert_eq!(answer.api_keys.len(), dispatch::VERSIONS.len());
}

#[test]
fn what_is_not_spoken_costs_the_connection() {
    let join = Request::parse(frame(9, &JoinGroupRequest::default())).unwrap();
    let mut core = core();
    let address = SocketAddr::from(([127, 0, 0, 1], 9));
    let mut turn = Turn {
        core: &mut core,
        now: NOW,
        address,
        refusal: None,
    };
    assert!(dispatch::answer(&mut turn, &join).is_err());
    assert!(Request::parse(Bytes::from_static(b"\x7f\xff\0\0\0\0\0\x01")).is_err());
    assert!(Request::parse(Bytes::from_static(b"\0")).is_err());
}

#[test]
fn an_unknown_topic_is_created_where_client_and_broker_allow_it() {
    use metadata_request::MetadataRequestTopic;
    let unknown = MetadataRequestTopic::default()
        .with_name(Some(TopicName(StrBytes::from_static_str("new"))));
    let request = |may_create| {
        MetadataRequest::default()
            .with_topics(Some(vec![unknown.clone()]))
            .with_allow_auto_topic_creation(may_create)
    };
    let mut core = core();
    let code =
        |core: &mut Core, may_create| ask(core, None, 4, &request(may_create)).topics[0].error_code;
    assert_eq!(
        code(&mut core, false),
        BrokerError::UnknownTopicOrPartition.code()
    );
    assert_eq!(code(&mut core, true), 0);
    assert_eq!(code(&mut core, false), 0);
    let mut strict = Core::new(Settings {
        auto_create_topics: false,
        ..Settings::default()
    });
    assert_eq!(
        code(&mut strict, true),
        BrokerError::UnknownTopicOrPartition.code()
    );
}
