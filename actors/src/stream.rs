//! [`Stream`]: an agent's input: a topic, filtered, mapped, or re-keyed through a topic of its own.

use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use tanist_cluster::Partition;

use crate::codec::{CodecError, Data, SharedCodec, default_key_codec, default_own_codec};
use crate::mailbox::Item;
use crate::partitioner::partition_of;
use crate::port::TopicId;
use crate::record::{Record, RecordHeaders};
use crate::stage::{Extras, Stage, Target, boxed};
use crate::table::TableShape;
use crate::topic::{SharedTopicConfig, Topic, Topics};

/// Records of a topic on their way to an agent. Composed lazily: only [`Stream::group_by`] and [`Stream::through`] make a
/// topic.
pub struct Stream<K, V> {
    origin: Origin,
    read: Read<K, V>,
    /// How the value's bytes are read, as long as nothing has changed the value since they were.
    intact: Option<SharedCodec<V>>,
}

impl<K, V> Clone for Stream<K, V> {
    fn clone(&self) -> Self {
        Self {
            origin: self.origin.clone(),
            read: self.read.clone(),
            intact: self.intact.clone(),
        }
    }
}

/// Where a record was read from.
#[derive(Clone, Debug)]
pub struct Place {
    pub(crate) topic: Rc<str>,
    pub(crate) partition: Partition,
}

/// Decodes a record and takes it through the stream's steps; `None` if it was filtered out.
pub(crate) type Read<K, V> =
    Arc<dyn Fn(&Item, &Place) -> Result<Option<Record<K, V>>, Undecodable> + Send + Sync>;

/// Reads a record and stages what goes to the repartition topic.
type Rewrite =
    Arc<dyn Fn(&Item, &Place, Destination, &mut Stage) -> Result<(), Undecodable> + Send + Sync>;

/// The topic that a repartition writes to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Destination {
    pub(crate) topic: TopicId,
    pub(crate) partitions: i32,
}

/// What a stream begins with.
#[derive(Clone)]
pub enum Origin {
    /// A topic of the app.
    Topic(TopicId),
    /// A topic that another stream is written to first.
    Repartition(Arc<Repartition>),
}

/// A topic between two steps of a stream.
pub struct Repartition {
    /// The name in the app: the `account` of `{app}-account-repartition`; or that of a declared topic.
    pub name: Arc<str>,
    /// The topic that it goes through, if the app has declared it ([`Stream::through`]).
    pub declared: Option<TopicId>,
    /// The settings of the topic, if it is to be made.
    pub config: SharedTopicConfig,
    /// Where its records come from.
    pub upstream: Origin,
    /// How it is written.
    pub written: TableShape,
    /// Set when the app has given the topic its place.
    pub topic: OnceLock<TopicId>,
    pub(crate) rewrite: Rewrite,
}

impl Repartition {
    pub(crate) fn destination(&self, topics: &Topics) -> Option<Destination> {
        let topic = *self.topic.get()?;
        let partitions = *topics.partitions.get(usize::from(topic.0))?;
        Some(Destination { topic, partitions })
    }
}

/// A record whose bytes its codecs cannot read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {part} cannot be decoded: {error}")]
pub struct Undecodable {
    part: &'static str,
    error: CodecError,
}

impl<K: 'static, V: 'static> From<&Topic<K, V>> for Stream<K, V> {
    fn from(topic: &Topic<K, V>) -> Self {
        Self {
            origin: Origin::Topic(topic.id),
            read: reader(topic.keys.clone(), topic.values.clone()),
            intact: Some(topic.values.clone()),
        }
    }
}

impl<K: 'static, V: 'static> From<Topic<K, V>> for Stream<K, V> {
    fn from(topic: Topic<K, V>) -> Self {
        Self::from(&topic)
    }
}

fn reader<K: 'static, V: 'static>(keys: SharedCodec<K>, values: SharedCodec<V>) -> Read<K, V> {
    Arc::new(move |item, place| {
        let raw = item.raw();
        let key = match raw.key {
            Some(bytes) => keys.decode(bytes),
            None => keys.decode_null(),
        };
        let value = match raw.value {
            Some(bytes) => values.decode(bytes),
            None => values.decode_null(),
        };
        Ok(Some(Record {
            key: key.map_err(|error| Undecodable { part: "key", error })?,
            value: value.map_err(|error| Undecodable {
                part: "value",
                error,
            })?,
            headers: RecordHeaders::new(item),
            timestamp: raw.timestamp,
            topic: place.topic.clone(),
            partition: place.partition,
            offset: raw.offset,
        }))
    })
}

impl<K: 'static, V: 'static> Stream<K, V> {
    /// Where it begins.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(crate) fn reader(&self) -> Read<K, V> {
        self.read.clone()
    }

    /// Only the records that `keep` is true of.
    #[must_use]
    pub fn filter(self, keep: impl Fn(&Record<K, V>) -> bool + Send + Sync + 'static) -> Self {
        let read = self.read;
        Self {
            origin: self.origin,
            read: Arc::new(move |item, place| Ok(read(item, place)?.filter(&keep))),
            intact: self.intact,
        }
    }

    /// What `change` makes of each record ([`Record::with`] gives it another key and value). A new key does not move a
    /// record to another partition: that is what [`Stream::group_by`] is for.
    #[must_use]
    pub fn map<K2: 'static, V2: 'static>(
        self,
        change: impl Fn(Record<K, V>) -> Record<K2, V2> + Send + Sync + 'static,
    ) -> Stream<K2, V2> {
        let read = self.read;
        Stream {
            origin: self.origin,
            read: Arc::new(move |item, place| Ok(read(item, place)?.map(&change))),
            intact: None,
        }
    }

    /// The records keyed anew, and brought to the partition of their new key by way of the topic
    /// `{app}-{name}-repartition`, which is made if it does not exist. Timestamps and headers stay, and so do the bytes of the
    /// value; one that [`Stream::map`] has made is written by [`default_own_codec`](crate::codec::default_own_codec).
    #[must_use]
    pub fn group_by<K2: Data>(
        &self,
        name: &str,
        key: impl Fn(&Record<K, V>) -> K2 + Send + Sync + 'static,
    ) -> Stream<K2, V>
    where
        V: Data,
    {
        let keys = default_key_codec::<K2>();
        let values = self.intact.clone().unwrap_or_else(default_own_codec);
        let write_key = keys.clone();
        let rewrite = self.rewrite(values.clone(), move |record, bytes| {
            let key = key(record);
            let present = !write_key.is_null(&key);
            write_key.encode(&key, bytes).map(|()| present)
        });
        self.goes_through(
            name.into(),
            None,
            SharedTopicConfig::default(),
            rewrite,
            keys,
            values,
        )
    }

    /// The same records, written to `topic` and read from it again: in the partition of their key there.
    #[must_use]
    pub fn through(&self, topic: &Topic<K, V>) -> Self {
        let write_key = topic.keys.clone();
        let rewrite = self.rewrite(topic.values.clone(), move |record, bytes| {
            let present = !write_key.is_null(&record.key);
            write_key.encode(&record.key, bytes).map(|()| present)
        });
        self.goes_through(
            topic.name.clone(),
            Some(topic.id),
            topic.shared_config(),
            rewrite,
            topic.keys.clone(),
            topic.values.clone(),
        )
    }

    fn goes_through<K2: 'static>(
        &self,
        name: Arc<str>,
        declared: Option<TopicId>,
        config: SharedTopicConfig,
        rewrite: Rewrite,
        keys: SharedCodec<K2>,
        values: SharedCodec<V>,
    ) -> Stream<K2, V> {
        Stream {
            origin: Origin::Repartition(Arc::new(Repartition {
                name,
                declared,
                config,
                upstream: self.origin.clone(),
                written: TableShape::new(&*keys, &*values),
                topic: OnceLock::new(),
                rewrite,
            })),
            read: reader(keys, values.clone()),
            intact: Some(values),
        }
    }

    /// Reads a record and writes it with the key that `write_key` appends (false: null), its value byte for byte where
    /// the same codec would write the same.
    fn rewrite(
        &self,
        values: SharedCodec<V>,
        write_key: impl Fn(&Record<K, V>, &mut Vec<u8>) -> Result<bool, CodecError>
        + Send
        + Sync
        + 'static,
    ) -> Rewrite {
        let read = self.read.clone();
        let same_bytes = self
            .intact
            .as_ref()
            .is_some_and(|intact| Arc::ptr_eq(intact, &values));
        Arc::new(move |item, place, to, stage| {
            let Some(record) = read(item, place)? else {
                return Ok(());
            };
            let bytes = &mut stage.bytes;
            let start = bytes.len();
            let has_key = write_key(&record, bytes).map_err(|error| Undecodable {
                part: "new key",
                error,
            })?;
            let key_end = bytes.len();
            let has_value = match item.raw().value {
                Some(value) if same_bytes => {
                    bytes.extend_from_slice(value);
                    true
                }
                None if same_bytes => false,
                _ if values.is_null(&record.value) => false,
                _ => {
                    let encoded = values.encode(&record.value, bytes);
                    encoded.map_err(|error| Undecodable {
                        part: "value",
                        error,
                    })?;
                    true
                }
            };
            let end = bytes.len();
            let target = Target {
                topic: to.topic,
                partition: partition_of(&bytes[start..key_end], to.partitions),
            };
            let extras = Extras {
                timestamp: Some(record.timestamp),
                headers: boxed(record.headers.into()),
            };
            stage.push(
                target,
                has_key.then_some(start..key_end),
                has_value.then_some(key_end..end),
                extras,
            );
            Ok(())
        })
    }
}

/// What a topic can do as a [`Stream`], without a word in between.
impl<K: 'static, V: 'static> Topic<K, V> {
    /// See [`Stream::filter`].
    #[must_use]
    pub fn filter(
        &self,
        keep: impl Fn(&Record<K, V>) -> bool + Send + Sync + 'static,
    ) -> Stream<K, V> {
        Stream::from(self).filter(keep)
    }

    /// See [`Stream::map`].
    #[must_use]
    pub fn map<K2: 'static, V2: 'static>(
        &self,
        change: impl Fn(Record<K, V>) -> Record<K2, V2> + Send + Sync + 'static,
    ) -> Stream<K2, V2> {
        Stream::from(self).map(change)
    }

    /// See [`Stream::group_by`].
    #[must_use]
    pub fn group_by<K2: Data>(
        &self,
        name: &str,
        key: impl Fn(&Record<K, V>) -> K2 + Send + Sync + 'static,
    ) -> Stream<K2, V>
    where
        V: Data,
    {
        Stream::from(self).group_by(name, key)
    }

    /// See [`Stream::through`].
    #[must_use]
    pub fn through(&self, topic: &Topic<K, V>) -> Stream<K, V> {
        Stream::from(self).through(topic)
    }
}
