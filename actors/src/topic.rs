//! [`Topic`]: a topic as the app declares it, with the types of its keys and values.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::codec::{Codec, Data, SharedCodec, default_key_codec, default_value_codec};
use crate::port::TopicId;

/// A topic, declared once and used as a typed value by agents and outputs.
pub struct Topic<K, V> {
    pub(crate) id: TopicId,
    pub(crate) name: Arc<str>,
    pub(crate) keys: SharedCodec<K>,
    pub(crate) values: SharedCodec<V>,
    config: Arc<Mutex<TopicConfig>>,
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicConfig {
    /// How many partitions. `None`: as many as it has, 1 if it must be created.
    pub partitions: Option<i32>,
    /// How many replicas. `None` is the broker's default.
    pub replicas: Option<i32>,
    /// Kafka's topic settings, `retention.ms` and the like.
    pub settings: BTreeMap<String, String>,
}

/// The settings of a topic, shared by all its handles.
pub type SharedTopicConfig = Arc<Mutex<TopicConfig>>;

impl<K: Data, V: Data> Topic<K, V> {
    /// The topic `name`, with the default codecs, at place `id` among the app's topics.
    pub fn new(id: TopicId, name: impl Into<Arc<str>>) -> Self {
        Self {
            id,
            name: name.into(),
            keys: default_key_codec(),
            values: default_value_codec(),
            config: SharedTopicConfig::default(),
        }
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

    /// Another codec for keys than the default ([`default_key_codec`]).
    #[must_use]
    pub fn key_codec(mut self, codec: impl Codec<K>) -> Self {
        self.keys = Arc::new(codec);
        self
    }

    /// Another codec for values than the default ([`crate::codec::Json`]).
    #[must_use]
    pub fn value_codec(mut self, codec: impl Codec<V>) -> Self {
        self.values = Arc::new(codec);
        self
    }
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
