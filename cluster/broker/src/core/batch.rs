//! A record batch (format v2): checked when it comes in, kept as the bytes that came, with its place in the log patched in.

use bytes::{Bytes, BytesMut};
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, Record,
    RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};

use super::{Millis, Producer};
use crate::error::{BrokerError, Result};

/// The only leader epoch that one broker has.
pub(crate) const LEADER_EPOCH: i32 = 0;

/// Where the fields that the broker writes, or that the decoder does not give, stand in the bytes of a batch.
mod place {
    use std::ops::Range;

    pub(super) const BASE_OFFSET: Range<usize> = 0..8;
    pub(super) const LEADER_EPOCH: Range<usize> = 12..16;
    pub(super) const LAST_OFFSET_DELTA: Range<usize> = 23..27;
    pub(super) const MAX_TIMESTAMP: Range<usize> = 35..43;
}

/// A record to be written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewRecord {
    /// Its key; a compacted topic demands one.
    pub key: Option<Bytes>,
    /// Its value; none deletes the key on a compacted topic.
    pub value: Option<Bytes>,
    /// Its headers, in order. A name that occurs twice keeps its last value.
    pub headers: Vec<(String, Option<Bytes>)>,
    /// When it happened.
    pub timestamp: Millis,
}

/// A record as a reader gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// Its place in the partition.
    pub offset: i64,
    /// When it happened.
    pub timestamp: Millis,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Option<Bytes>,
    /// Its headers, in order.
    pub headers: Vec<(String, Option<Bytes>)>,
}

/// The type of a control record, and what it says of its producer's transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marker {
    Abort,
    Commit,
}

/// What the header of a batch says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) count: i32,
    pub(crate) max_timestamp: Millis,
    /// Who wrote it, if an idempotent producer did.
    pub(crate) producer: Option<Producer>,
    pub(crate) base_sequence: i32,
    pub(crate) transactional: bool,
    pub(crate) control: bool,
}

impl Header {
    /// The sequence number of the last record; numbers wrap at the largest `i32`.
    pub(crate) fn last_sequence(&self) -> i32 {
        wrap_sequence(self.base_sequence, self.count - 1)
    }
}

/// `sequence + step` in the ring of Kafka's sequence numbers, 0 to the largest `i32`.
pub(crate) fn wrap_sequence(sequence: i32, step: i32) -> i32 {
    let ring = i64::from(i32::MAX) + 1;
    i32::try_from((i64::from(sequence) + i64::from(step)) % ring).unwrap_or(0)
}

/// A batch that a client wants to append, checked.
#[derive(Debug, Clone)]
pub(crate) struct Incoming {
    pub(crate) header: Header,
    bytes: Bytes,
}

impl Incoming {
    /// Checks the bytes of a Produce request: exactly one batch, its checksum right, no control batch.
    pub(crate) fn check(bytes: Bytes) -> Result<Self> {
        let mut rest = bytes.clone();
        let mut infos = RecordBatchDecoder::decode_batch_info(&mut rest)
            .map_err(|_| BrokerError::CorruptMessage)?;
        if infos.len() != 1 || !rest.is_empty() {
            return Err(BrokerError::InvalidRecord);
        }
        let info = infos.swap_remove(0);
        let producer = (info.producer_id != NO_PRODUCER_ID).then_some(Producer {
            id: info.producer_id,
            epoch: info.producer_epoch,
        });
        let header = Header {
            count: info.record_count,
            max_timestamp: Millis(read_i64(&bytes, place::MAX_TIMESTAMP)),
            producer,
            base_sequence: info.base_sequence,
            transactional: info.transactional,
            control: info.control,
        };
        let gapless = read_i32(&bytes, place::LAST_OFFSET_DELTA) == header.count - 1;
        let numbered = producer.is_none() || header.base_sequence >= 0;
        let owned = producer.is_some() || !header.transactional;
        if header.count < 1 || header.control || !gapless || !numbered || !owned {
            return Err(BrokerError::InvalidRecord);
        }
        Ok(Self { header, bytes })
    }

    /// Encodes plain records into one batch. `sequence` is the number of the first; without a producer it is ignored.
    pub(crate) fn encode(
        records: &[NewRecord],
        producer: Option<Producer>,
        sequence: i32,
        transactional: bool,
    ) -> Result<Self> {
        let mut encoded = Vec::with_capacity(records.len());
        for (offset, record) in (0i32..).zip(records) {
            // The encoder closes a batch where offset minus sequence changes, so they go in step; only the first is written.
            let first = if producer.is_some() {
                sequence
            } else {
                NO_SEQUENCE
            };
            let sequence = first.wrapping_add(offset);
            encoded.push(Record {
                transactional,
                control: false,
                delete_horizon: false,
                partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
                producer_id: producer.map_or(NO_PRODUCER_ID, |producer| producer.id),
                producer_epoch: producer.map_or(NO_PRODUCER_EPOCH, |producer| producer.epoch),
                timestamp_type: TimestampType::Creation,
                offset: i64::from(offset),
                sequence,
                timestamp: record.timestamp.0,
                key: record.key.clone(),
                value: record.value.clone(),
                headers: record
                    .headers
                    .iter()
                    .map(|(name, value)| (name.clone().into(), value.clone()))
                    .collect(),
            });
        }
        Self::check(encode(&encoded)?)
    }

    /// The size that counts against `max.message.bytes`.
    pub(crate) fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Whether every record has a key, as a compacted topic demands.
    pub(crate) fn has_all_keys(&self) -> Result<bool> {
        Ok(decode(&self.bytes)?
            .iter()
            .all(|record| record.key.is_some()))
    }

    /// The batch as it stands in the log from `base` on.
    pub(crate) fn place(&self, base: i64) -> Batch {
        let mut bytes = self.bytes.to_vec();
        bytes[place::BASE_OFFSET].copy_from_slice(&base.to_be_bytes());
        bytes[place::LEADER_EPOCH].copy_from_slice(&LEADER_EPOCH.to_be_bytes());
        Batch {
            base,
            last: base + i64::from(self.header.count) - 1,
            header: self.header,
            delete_horizon: None,
            bytes: bytes.into(),
        }
    }
}

/// A batch in the log.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    /// Offset of its first record.
    pub(crate) base: i64,
    /// Offset of its last record.
    pub(crate) last: i64,
    pub(crate) header: Header,
    /// From when on compaction may drop its tombstones, or the marker that it is; set when compaction first meets it.
    pub(crate) delete_horizon: Option<Millis>,
    pub(crate) bytes: Bytes,
}

impl Batch {
    /// The control batch that ends a transaction.
    pub(crate) fn marker(
        base: i64,
        producer: Producer,
        marker: Marker,
        now: Millis,
    ) -> Result<Self> {
        let kind: u8 = match marker {
            Marker::Abort => 0,
            Marker::Commit => 1,
        };
        let record = Record {
            transactional: true,
            control: true,
            delete_horizon: false,
            partition_leader_epoch: LEADER_EPOCH,
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            timestamp_type: TimestampType::Creation,
            offset: base,
            sequence: NO_SEQUENCE,
            timestamp: now.0,
            // Version and type; version and coordinator epoch.
            key: Some(Bytes::copy_from_slice(&[0, 0, 0, kind])),
            value: Some(Bytes::from_static(&[0, 0, 0, 0, 0, 0])),
            headers: Default::default(),
        };
        Ok(Self {
            base,
            last: base,
            header: Header {
                count: 1,
                max_timestamp: now,
                producer: Some(producer),
                base_sequence: NO_SEQUENCE,
                transactional: true,
                control: true,
            },
            delete_horizon: None,
            bytes: encode(&[record])?,
        })
    }

    /// Decodes its records.
    pub(crate) fn records(&self) -> Result<Vec<Record>> {
        decode(&self.bytes)
    }

    /// The same batch with only these of its records, which keep their offsets.
    pub(crate) fn with_records(&self, records: &[Record]) -> Result<Self> {
        let (Some(first), Some(last)) = (records.first(), records.last()) else {
            return Err(BrokerError::InvalidRecord);
        };
        let max_timestamp = records.iter().map(|record| record.timestamp).max();
        Ok(Self {
            base: first.offset,
            last: last.offset,
            header: Header {
                count: i32::try_from(records.len()).map_err(|_| BrokerError::MessageTooLarge)?,
                max_timestamp: max_timestamp.map_or(self.header.max_timestamp, Millis),
                base_sequence: first.sequence,
                ..self.header
            },
            delete_horizon: self.delete_horizon,
            bytes: encode(records)?,
        })
    }
}

impl From<Record> for LogRecord {
    fn from(record: Record) -> Self {
        Self {
            offset: record.offset,
            timestamp: Millis(record.timestamp),
            key: record.key,
            value: record.value,
            headers: record
                .headers
                .into_iter()
                .map(|(name, value)| (name.as_str().to_owned(), value))
                .collect(),
        }
    }
}

fn encode(records: &[Record]) -> Result<Bytes> {
    let options = RecordEncodeOptions {
        version: 2,
        compression: Compression::None,
    };
    let mut bytes = BytesMut::new();
    RecordBatchEncoder::encode(&mut bytes, records, &options)
        .map_err(|_| BrokerError::InvalidRecord)?;
    Ok(bytes.freeze())
}

fn decode(bytes: &Bytes) -> Result<Vec<Record>> {
    let set =
        RecordBatchDecoder::decode(&mut bytes.clone()).map_err(|_| BrokerError::CorruptMessage)?;
    Ok(set.records)
}

fn read_i64(bytes: &Bytes, place: std::ops::Range<usize>) -> i64 {
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[place]);
    i64::from_be_bytes(field)
}

fn read_i32(bytes: &Bytes, place: std::ops::Range<usize>) -> i32 {
    let mut field = [0; 4];
    field.copy_from_slice(&bytes[place]);
    i32::from_be_bytes(field)
}
