//! [`Topic`]: a topic as the app declares it, with the types of its keys and values.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::codec::{Codec, CodecError, Data, SharedCodec, default_key_codec, default_value_codec};
use crate::port::TopicId;

/// A topic, declared once and used as a typed value by agents and outputs.
pub struct Topic<K, V> {
    pub(crate) id: TopicId,
    pub(crate) name: Arc<str>,
    pub(crate) keys: SharedCodec<K>,
    pub(crate) values: SharedCodec<V>,
    config: SharedTopicConfig,
}

impl<K, V> Clone for Topic<K, V> {
    fn clone(&self) -> Self {
        Self {
            id: self.id,
            name: self.name.clone(),
            keys: self.keys.clone(),
            values: self.values.clone(),
            config: self.config.clone(),
        }
    }
}

/// The settings of a topic: what it is created with if it does not exist, and what is checked if it does.
#[derive(Clone, Default)]
pub struct TopicConfig {
    /// How many partitions. `None`: as many as it has, 1 if it must be created.
    pub partitions: Option<i32>,
    /// How many replicas. `None` is the broker's default.
    pub replicas: Option<i32>,
    /// Kafka's topic settings, `retention.ms` and the like.
    pub settings: BTreeMap<String, String>,
    /// How its records are read and written by whoever does not know its types.
    pub codec: Option<Arc<dyn TopicCodec>>,
}

/// The settings of a topic, shared by all its handles.
pub type SharedTopicConfig = Arc<Mutex<TopicConfig>>;

/// A topic's codecs without its types: for whoever has text or JSON, as the command line and the test driver do.
pub trait TopicCodec: Send + Sync {
    /// The bytes of a key and a value; JSON's null is Kafka's null where the type has no value for it.
    fn encode(&self, key: &Value, value: &Value) -> Result<RecordBytes, CodecError>;

    /// A key and a value as JSON.
    fn decode(
        &self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(Value, Value), CodecError>;

    /// Whether a record without a key has a meaning.
    fn takes_no_key(&self) -> bool;
}

/// The bytes of a key and of a value.
pub type RecordBytes = (Option<Vec<u8>>, Option<Vec<u8>>);

impl<K: Data, V: Data> TopicCodec for Topic<K, V> {
    fn encode(&self, key: &Value, value: &Value) -> Result<RecordBytes, CodecError> {
        Ok((bytes_of(&*self.keys, key)?, bytes_of(&*self.values, value)?))
    }

    fn decode(
        &self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(Value, Value), CodecError> {
        Ok((json_of(&*self.keys, key)?, json_of(&*self.values, value)?))
    }

    fn takes_no_key(&self) -> bool {
        self.keys.decode_null().is_ok()
    }
}

fn bytes_of<T: Data>(codec: &dyn Codec<T>, json: &Value) -> Result<Option<Vec<u8>>, CodecError> {
    let mut bytes = Vec::new();
    match (serde_json::from_value::<T>(json.clone()), json) {
        (Ok(value), _) if codec.is_null(&value) => return Ok(None),
        (Ok(value), _) => codec.encode(&value, &mut bytes)?,
        (Err(_), Value::Null) => return Ok(None),
        // Text for a type of bytes: as it is, if the codec can read it.
        (Err(_), Value::String(text)) if codec.decode(text.as_bytes()).is_ok() => {
            bytes.extend_from_slice(text.as_bytes())
        }
        (Err(error), _) => return Err(CodecError::new(error)),
    }
    Ok(Some(bytes))
}

fn json_of<T: Data>(codec: &dyn Codec<T>, bytes: Option<&[u8]>) -> Result<Value, CodecError> {
    let value = match bytes {
        None => return Ok(Value::Null),
        Some(bytes) => codec.decode(bytes)?,
    };
    serde_json::to_value(value).map_err(CodecError::new)
}

impl<K: Data, V: Data> Topic<K, V> {
    /// The topic `name`, with the default codecs, at place `id` among the app's topics.
    pub fn new(id: TopicId, name: impl Into<Arc<str>>) -> Self {
        let topic = Self {
            id,
            name: name.into(),
            keys: default_key_codec(),
            values: default_value_codec(),
            config: SharedTopicConfig::default(),
        };
        topic.tell_codecs();
        topic
    }
}

impl<K, V> Topic<K, V> {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its name, shared by all handles of this topic: by it a foreign topic is told from the app's own.
    pub fn shared_name(&self) -> Arc<str> {
        self.name.clone()
    }

    /// The settings, shared by all handles of this topic.
    pub fn shared_config(&self) -> SharedTopicConfig {
        self.config.clone()
    }

    fn lock(&self) -> MutexGuard<'_, TopicConfig> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many partitions it has: created with so many if it does not exist, refused at start if it has others.
    #[must_use]
    pub fn partitions(self, partitions: i32) -> Self {
        self.lock().partitions = Some(partitions);
        self
    }

    /// How many replicas it is created with; the broker's default unless set.
    #[must_use]
    pub fn replicas(self, replicas: i32) -> Self {
        self.lock().replicas = Some(replicas);
        self
    }

    /// One of [Kafka's topic settings](https://kafka.apache.org/documentation/#topicconfigs) to create it with, as
    /// `("retention.ms", "86400000")`.
    #[must_use]
    pub fn setting(self, name: &str, value: &str) -> Self {
        self.lock()
            .settings
            .insert(name.to_owned(), value.to_owned());
        self
    }
}

impl<K: Data, V: Data> Topic<K, V> {
    /// Another codec for keys than the default ([`default_key_codec`]).
    #[must_use]
    pub fn key_codec(mut self, codec: impl Codec<K>) -> Self {
        self.keys = Arc::new(codec);
        self.tell_codecs();
        self
    }

    /// Another codec for values than the default ([`default_value_codec`]).
    #[must_use]
    pub fn value_codec(mut self, codec: impl Codec<V>) -> Self {
        self.values = Arc::new(codec);
        self.tell_codecs();
        self
    }

    fn tell_codecs(&self) {
        let codec = Self {
            // Not the settings again: they would hold themselves.
            config: SharedTopicConfig::default(),
            ..self.clone()
        };
        self.lock().codec = Some(Arc::new(codec));
    }
}

impl<K: 'static, V: 'static> Topic<K, V> {
    /// The bytes of a record, for whoever sends from outside of an agent.
    pub fn encode_record(&self, key: &K, value: &V) -> Result<RecordBytes, CodecError> {
        Ok((encoded(&*self.keys, key)?, encoded(&*self.values, value)?))
    }
}

fn encoded<T: 'static>(codec: &dyn Codec<T>, value: &T) -> Result<Option<Vec<u8>>, CodecError> {
    if codec.is_null(value) {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    codec.encode(value, &mut bytes)?;
    Ok(Some(bytes))
}

/// The topics of a running app: by [`TopicId`], with the partition counts that they have.
#[derive(Clone, Debug)]
pub struct Topics {
    /// Names, as a commit carries them.
    pub names: Arc<[Arc<str>]>,
    /// How many partitions each has.
    pub partitions: Arc<[i32]>,
}

impl Topics {
    /// The partition count of `topic`; `None` if it is no topic of this app.
    pub(crate) fn partitions_of<K, V>(&self, topic: &Topic<K, V>) -> Option<i32> {
        let place = usize::from(topic.id.0);
        let known = self
            .names
            .get(place)
            .is_some_and(|name| Arc::ptr_eq(name, &topic.name));
        known.then(|| self.partitions[place])
    }
}
