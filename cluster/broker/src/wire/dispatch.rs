//! Which APIs and versions there are, and who answers them.

use bytes::Bytes;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiKey, ApiVersionsResponse, ProduceRequest};

use super::request::{ProtocolError, Request};
use super::{Turn, api_groups, api_log, api_topics, api_transactions};
use crate::error::BrokerError;

/// What is spoken, from the lowest to the highest version: the ranges in which librdkafka 2.12 and this broker meet.
/// Transactions stay below the versions of KIP-890 (Produce 12, EndTxn 5), fetches below those that name topics by id.
pub(super) const VERSIONS: &[(ApiKey, i16, i16)] = &[
    (ApiKey::Produce, 3, 11),
    (ApiKey::Fetch, 4, 12),
    (ApiKey::ListOffsets, 1, 7),
    (ApiKey::Metadata, 0, 12),
    (ApiKey::OffsetCommit, 2, 9),
    (ApiKey::OffsetFetch, 1, 9),
    (ApiKey::FindCoordinator, 0, 4),
    (ApiKey::ListGroups, 0, 4),
    (ApiKey::ApiVersions, 0, 3),
    (ApiKey::CreateTopics, 2, 5),
    (ApiKey::DeleteTopics, 1, 5),
    (ApiKey::DeleteRecords, 0, 2),
    (ApiKey::InitProducerId, 0, 4),
    (ApiKey::OffsetForLeaderEpoch, 2, 4),
    (ApiKey::AddPartitionsToTxn, 0, 3),
    (ApiKey::AddOffsetsToTxn, 0, 3),
    (ApiKey::EndTxn, 0, 4),
    (ApiKey::TxnOffsetCommit, 0, 4),
    (ApiKey::DescribeConfigs, 1, 4),
    (ApiKey::CreatePartitions, 0, 3),
];

pub(super) fn is_spoken(api: ApiKey, version: i16) -> bool {
    VERSIONS
        .iter()
        .any(|&(spoken, min, max)| spoken == api && (min..=max).contains(&version))
}

/// Answers a request; none if none is expected.
pub(super) fn answer(
    turn: &mut Turn<'_>,
    request: &Request,
) -> Result<Option<Bytes>, ProtocolError> {
    if !is_spoken(request.api, request.version) {
        return unsupported(request).map(Some);
    }
    let answer = match request.api {
        ApiKey::ApiVersions => request.encode(&api_versions(turn.refusal)),
        ApiKey::Produce => return produce(turn, request),
        ApiKey::Fetch => request.encode(&super::fetch::answer(turn, &request.decode()?)),
        ApiKey::ListOffsets => request.encode(&api_log::list_offsets(
            turn,
            request.version,
            request.decode()?,
        )),
        ApiKey::DeleteRecords => request.encode(&api_log::delete_records(turn, request.decode()?)),
        ApiKey::OffsetForLeaderEpoch => {
            request.encode(&api_log::leader_epochs(turn, request.decode()?))
        }
        ApiKey::Metadata => request.encode(&api_topics::metadata(
            turn,
            request.version,
            request.decode()?,
        )),
        ApiKey::CreateTopics => request.encode(&api_topics::create(turn, request.decode()?)),
        ApiKey::CreatePartitions => {
            request.encode(&api_topics::create_partitions(turn, request.decode()?))
        }
        ApiKey::DeleteTopics => request.encode(&api_topics::delete(turn, request.decode()?)),
        ApiKey::DescribeConfigs => {
            request.encode(&api_topics::describe_configs(turn, request.decode()?))
        }
        ApiKey::FindCoordinator => request.encode(&api_groups::find_coordinator(
            turn,
            request.version,
            request.decode()?,
        )),
        ApiKey::OffsetCommit => request.encode(&api_groups::commit(turn, request.decode()?)),
        ApiKey::OffsetFetch => {
            request.encode(&api_groups::fetch(turn, request.version, request.decode()?))
        }
        ApiKey::ListGroups => request.encode(&api_groups::list(turn)),
        ApiKey::InitProducerId => request.encode(&api_transactions::init(
            turn,
            request.version,
            request.decode()?,
        )),
        ApiKey::AddPartitionsToTxn => request.encode(&api_transactions::add_partitions(
            turn,
            request.version,
            request.decode()?,
        )),
        ApiKey::AddOffsetsToTxn => request.encode(&api_transactions::add_offsets(
            turn,
            request.version,
            request.decode()?,
        )),
        ApiKey::TxnOffsetCommit => {
            request.encode(&api_transactions::commit_offsets(turn, request.decode()?))
        }
        ApiKey::EndTxn => request.encode(&api_transactions::end(
            turn,
            request.version,
            request.decode()?,
        )),
        _ => unsupported(request),
    };
    answer.map(Some)
}

/// With `acks=0` nobody waits for an answer.
fn produce(turn: &mut Turn<'_>, request: &Request) -> Result<Option<Bytes>, ProtocolError> {
    let produce: ProduceRequest = request.decode()?;
    let is_answered = produce.acks != 0;
    let answer = api_log::produce(turn, produce);
    if is_answered {
        request.encode(&answer).map(Some)
    } else {
        Ok(None)
    }
}

fn api_versions(refusal: Option<BrokerError>) -> ApiVersionsResponse {
    let spoken = VERSIONS.iter().map(|&(api, min, max)| {
        // Kafka says so too (KAFKA-18659): librdkafka takes the lowest Produce version for a sign of what it may
        // compress with.
        let min = if api == ApiKey::Produce { 0 } else { min };
        ApiVersion::default()
            .with_api_key(api as i16)
            .with_min_version(min)
            .with_max_version(max)
    });
    ApiVersionsResponse::default()
        .with_error_code(refusal.map_or(0, BrokerError::code))
        .with_api_keys(spoken.collect())
}

/// Says that a version is not spoken: in the version 0 of ApiVersions, which everybody reads; for the others by giving up the
/// connection, as Kafka does, because the shape of such an answer is unknown.
fn unsupported(request: &Request) -> Result<Bytes, ProtocolError> {
    if request.api == ApiKey::ApiVersions {
        return request.encode_as(&api_versions(Some(BrokerError::UnsupportedVersion)), 0);
    }
    Err(ProtocolError::Malformed(format!(
        "version {} of {:?} is not spoken",
        request.version, request.api
    )))
}
