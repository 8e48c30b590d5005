//! [`Context`]: what a handler can do beside changing tables: send, forward, ask for the time.

use std::sync::Arc;

use tanist_cluster::{Millis, Partition, ShardId};

use crate::codec::CodecError;
use crate::failure::Handled;
use crate::mailbox::Item;
use crate::partitioner::partition_of;
use crate::port::{Clock, TopicPartition};
use crate::record::Headers;
use crate::stage::{Extras, Stage, Target, boxed};
use crate::topic::{Topic, Topics};

/// Given to every handler. What it sends belongs to the record that is being handled: it is committed with the record's
/// offset and table writes, or, if the handler fails, never leaves (S2).
pub struct Context {
    shard: ShardId,
    topics: Topics,
    clock: Arc<dyn Clock>,
    max_record_bytes: usize,
    /// The record that is being handled; none in a timer or in `started`.
    current: Option<Item>,
    timestamp: Option<Millis>,
    outputs: Stage,
}

/// An output that is more than a key and a value; see [`Context::send_record`].
#[derive(Clone, Debug)]
pub struct OutputRecord<K, V> {
    key: K,
    value: V,
    headers: Headers,
    timestamp: Option<Millis>,
    partition: Option<Partition>,
}

impl<K, V> OutputRecord<K, V> {
    /// A record without headers, with the timestamp of the record that is being handled, in the partition of its key.
    pub fn new(key: impl Into<K>, value: V) -> Self {
        Self {
            key: key.into(),
            value,
            headers: Headers::new(),
            timestamp: None,
            partition: None,
        }
    }

    /// With these headers.
    #[must_use]
    pub fn headers(mut self, headers: impl Into<Headers>) -> Self {
        self.headers = headers.into();
        self
    }

    /// With this timestamp, ms since the epoch.
    #[must_use]
    pub fn timestamp(mut self, timestamp: Millis) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// In this partition, whatever the key says.
    #[must_use]
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(Partition(partition));
        self
    }
}

impl Context {
    pub(crate) fn new(
        shard: ShardId,
        topics: Topics,
        clock: Arc<dyn Clock>,
        max_record_bytes: usize,
    ) -> Self {
        Self {
            shard,
            topics,
            clock,
            max_record_bytes,
            current: None,
            timestamp: None,
            outputs: Stage::default(),
        }
    }

    /// Sends a record to `topic`, with the timestamp of the record that is being handled (in a timer: the time).
    pub fn send<K: 'static, V: 'static>(
        &mut self,
        topic: &Topic<K, V>,
        key: impl Into<K>,
        value: V,
    ) -> Handled {
        self.send_record(topic, OutputRecord::new(key, value))
    }

    /// Sends a record with headers, a timestamp or a partition of its own.
    pub fn send_record<K: 'static, V: 'static>(
        &mut self,
        topic: &Topic<K, V>,
        record: OutputRecord<K, V>,
    ) -> Handled {
        self.whole(|cx| cx.stage_record(topic, record))
    }

    /// All that `stage` sends, or nothing: what the broker would refuse is refused here.
    fn whole(&mut self, stage: impl FnOnce(&mut Self) -> Result<(), SendError>) -> Handled {
        let mark = self.outputs.mark();
        let staged = stage(self).and_then(|()| self.check_size());
        if staged.is_err() {
            self.outputs.truncate(mark);
        }
        Ok(staged?)
    }

    fn stage_record<K: 'static, V: 'static>(
        &mut self,
        topic: &Topic<K, V>,
        record: OutputRecord<K, V>,
    ) -> Result<(), SendError> {
        let partitions = self.partitions_of(topic)?;
        let encode_error = |error| SendError::Codec {
            topic: topic.name.clone(),
            error,
        };
        let bytes = &mut self.outputs.bytes;
        let start = bytes.len();
        let key = (!topic.keys.is_null(&record.key))
            .then(|| topic.keys.encode(&record.key, bytes))
            .transpose()
            .map_err(encode_error)?;
        let key_end = bytes.len();
        let value = (!topic.values.is_null(&record.value))
            .then(|| topic.values.encode(&record.value, bytes))
            .transpose()
            .map_err(encode_error)?;
        let end = bytes.len();
        let partition = match record.partition {
            Some(partition) if !(0..partitions).contains(&partition.0) => {
                return Err(SendError::NoSuchPartition {
                    partition: TopicPartition::new(topic.name.clone(), partition),
                    partitions,
                });
            }
            Some(partition) => partition,
            None => partition_of(&bytes[start..key_end], partitions),
        };
        let timestamp = record
            .timestamp
            .or(self.timestamp)
            .unwrap_or_else(|| self.clock.now());
        let extras = Extras {
            timestamp: Some(timestamp),
            headers: boxed(record.headers),
        };
        let target = Target {
            topic: topic.id,
            partition,
        };
        self.outputs.push(
            target,
            key.map(|()| start..key_end),
            value.map(|()| key_end..end),
            extras,
        );
        Ok(())
    }

    /// Sends the record that is being handled on to `topic`: key, value and headers byte for byte, with its timestamp.
    pub fn forward<K, V>(&mut self, topic: &Topic<K, V>) -> Handled {
        self.whole(|cx| cx.stage_current(topic))
    }

    fn stage_current<K, V>(&mut self, topic: &Topic<K, V>) -> Result<(), SendError> {
        let partitions = self.partitions_of(topic)?;
        let item = self.current.clone().ok_or(SendError::NothingToForward)?;
        let raw = item.raw();
        let partition = partition_of(raw.key.unwrap_or_default(), partitions);
        let target = Target {
            topic: topic.id,
            partition,
        };
        let extras = Extras {
            timestamp: Some(raw.timestamp),
            headers: boxed(item.headers()),
        };
        let bytes = &mut self.outputs.bytes;
        let mut append = |part: Option<&[u8]>| {
            part.map(|part| {
                let start = bytes.len();
                bytes.extend_from_slice(part);
                start..bytes.len()
            })
        };
        let (key, value) = (append(raw.key), append(raw.value));
        self.outputs.push(target, key, value, extras);
        Ok(())
    }

    fn partitions_of<K, V>(&self, topic: &Topic<K, V>) -> Result<i32, SendError> {
        self.topics
            .partitions_of(topic)
            .ok_or_else(|| SendError::ForeignTopic(topic.name.clone()))
    }

    /// What the broker would refuse is refused here, as the failure of the record that is being handled: there it would fail
    /// the whole transaction. Looks at the last output.
    pub(crate) fn check_size(&self) -> Result<(), SendError> {
        let Some(record) = self.outputs.records.last() else {
            return Ok(());
        };
        let bytes = record.size_bytes();
        if bytes <= self.max_record_bytes {
            return Ok(());
        }
        Err(SendError::TooLarge {
            topic: self.topics.names[usize::from(record.topic.0)].clone(),
            bytes,
            limit: self.max_record_bytes,
        })
    }

    /// The time, ms since the epoch: of the machine, or of the test driver. Not the record's timestamp.
    pub fn now(&self) -> Millis {
        self.clock.now()
    }

    /// The shard that this agent belongs to.
    pub fn shard(&self) -> &ShardId {
        &self.shard
    }

    /// The partition that this agent reads.
    pub fn partition(&self) -> Partition {
        self.shard.partition
    }

    pub(crate) fn begin(&mut self, current: Option<Item>, timestamp: Option<Millis>) {
        self.current = current;
        self.timestamp = timestamp;
    }

    pub(crate) fn outputs(&mut self) -> &mut Stage {
        &mut self.outputs
    }
}

/// Why an output cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The key or value cannot be written.
    #[error("topic {topic}: the record cannot be encoded: {error}")]
    Codec {
        /// The topic.
        topic: Arc<str>,
        /// What the codec says.
        error: CodecError,
    },
    /// The broker would refuse it.
    #[error(
        "topic {topic}: a record of {bytes} bytes is over the limit of {limit} (setting `max_record_bytes`)"
    )]
    TooLarge {
        /// The topic.
        topic: Arc<str>,
        /// Key, value and headers, bytes.
        bytes: usize,
        /// The limit, bytes.
        limit: usize,
    },
    /// The partition that was named does not exist.
    #[error("there is no partition {partition}: the topic has {partitions}")]
    NoSuchPartition {
        /// The partition.
        partition: TopicPartition,
        /// How many there are.
        partitions: i32,
    },
    /// The topic was declared by another app.
    #[error("topic {0} was not declared by this app: get it from `app.topic`")]
    ForeignTopic(Arc<str>),
    /// `forward` in a timer or in `started`.
    #[error("no record is being handled here, so there is none to forward")]
    NothingToForward,
}
