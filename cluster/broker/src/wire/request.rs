//! A request as it comes off the wire, and an answer as it goes on it.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable};
use thiserror::Error;

/// Why a connection is given up.
#[derive(Debug, Error)]
pub(super) enum ProtocolError {
    #[error("a request of {0} bytes is larger than the broker takes")]
    TooLarge(usize),
    #[error("unknown api key {0}")]
    UnknownApi(i16),
    #[error("a message does not fit its version: {0}")]
    Malformed(String),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// `socket.request.max.bytes`, as Kafka has it.
pub(super) const MAX_REQUEST_BYTES: usize = 100 * 1024 * 1024;

/// A request whose body is still encoded.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) api: ApiKey,
    pub(super) version: i16,
    correlation: i32,
    pub(super) client: Arc<str>,
    pub(super) body: Bytes,
}

impl Request {
    /// Reads the header off a frame.
    pub(super) fn parse(mut frame: Bytes) -> Result<Self, ProtocolError> {
        if frame.len() < 8 {
            return Err(ProtocolError::Malformed("shorter than a header".to_owned()));
        }
        let mut peek = frame.slice(..8);
        let (key, version, correlation) = (peek.get_i16(), peek.get_i16(), peek.get_i32());
        let api = ApiKey::try_from(key).map_err(|()| ProtocolError::UnknownApi(key))?;
        let valid = api.valid_versions();
        if version < valid.min || version > valid.max {
            // Its header may have another shape: nothing but the answer's address is known.
            return Ok(Self {
                api,
                version,
                correlation,
                client: Arc::from(""),
                body: Bytes::new(),
            });
        }
        let header = RequestHeader::decode(&mut frame, api.request_header_version(version))
            .map_err(malformed)?;
        let client = header.client_id.as_deref().unwrap_or_default();
        Ok(Self {
            api,
            version,
            correlation,
            client: Arc::from(client),
            body: frame,
        })
    }

    /// Decodes the body.
    pub(super) fn decode<Q: Decodable>(&self) -> Result<Q, ProtocolError> {
        Q::decode(&mut self.body.clone(), self.version).map_err(malformed)
    }

    /// Encodes the answer to this request, with its length in front.
    pub(super) fn encode<P: Encodable>(&self, answer: &P) -> Result<Bytes, ProtocolError> {
        self.encode_as(answer, self.version)
    }

    /// The same, in another version than the one that was asked in.
    pub(super) fn encode_as<P: Encodable>(
        &self,
        answer: &P,
        version: i16,
    ) -> Result<Bytes, ProtocolError> {
        let header_version = self.api.response_header_version(version);
        let header = ResponseHeader::default().with_correlation_id(self.correlation);
        let size = header.compute_size(header_version).map_err(malformed)?
            + answer.compute_size(version).map_err(malformed)?;
        let mut bytes = BytesMut::with_capacity(size + 4);
        bytes.put_u32(u32::try_from(size).map_err(|_| ProtocolError::TooLarge(size))?);
        header
            .encode(&mut bytes, header_version)
            .map_err(malformed)?;
        answer.encode(&mut bytes, version).map_err(malformed)?;
        Ok(bytes.freeze())
    }
}

fn malformed(error: impl std::fmt::Display) -> ProtocolError {
    ProtocolError::Malformed(error.to_string())
}
