//! [`TableDef`]: a table as the app declares it.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::TableShape;
use crate::codec::{
    Bincode, Data, Format, SharedCodec, default_own_codec, default_table_key_codec,
};

/// A table, declared once ([`crate::app`]-wide): what it is called and how its keys and values are written. An agent's
/// factory turns it into the [`super::Table`] of its shard.
pub struct TableDef<K, V> {
    pub(crate) name: Arc<str>,
    pub(crate) keys: SharedCodec<K>,
    pub(crate) values: SharedCodec<V>,
    /// What older builds took for values whose type asks the bytes what they are; those that never had to ask can be read.
    pub(crate) older: Option<SharedCodec<V>>,
    pub(crate) config: Arc<Mutex<TableConfig>>,
    shape: Arc<OnceLock<Arc<TableShape>>>,
}

impl<K, V> Clone for TableDef<K, V> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            keys: self.keys.clone(),
            values: self.values.clone(),
            older: self.older.clone(),
            config: self.config.clone(),
            shape: self.shape.clone(),
        }
    }
}

/// The settings of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableConfig {
    /// The version of its values' type: a stored value of another version is an error, not a guess.
    pub version: u8,
    /// How many standbys each of its shards has.
    pub standbys: u32,
    /// Kept in memory, restored from the changelog at each start.
    pub in_memory: bool,
}

impl<K: Data, V: Data> TableDef<K, V> {
    /// A table with the default codecs: keys as in [`default_table_key_codec`], values as in [`default_own_codec`].
    pub fn new(name: &str) -> Self {
        let values = default_own_codec::<V>();
        let asks = values.format() != Format::Bincode;
        Self {
            name: name.into(),
            keys: default_table_key_codec(),
            values,
            older: asks.then(|| Arc::new(Bincode) as SharedCodec<V>),
            config: Arc::new(Mutex::new(TableConfig {
                version: 1,
                standbys: 1,
                in_memory: false,
            })),
            shape: Arc::default(),
        }
    }
}

impl<K: 'static, V: 'static> TableDef<K, V> {
    /// How its keys and values are written, beyond the bytes; found out when it is first asked for.
    pub(super) fn written_as(&self) -> Arc<TableShape> {
        let find = || Arc::new(TableShape::new(&*self.keys, &*self.values));
        self.shape.get_or_init(find).clone()
    }
}

impl<K, V> TableDef<K, V> {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its settings as they are now.
    pub fn config(&self) -> TableConfig {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, TableConfig> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many standbys each shard has: replicas on other nodes that take over when its node dies. 1 unless set.
    #[must_use]
    pub fn standbys(self, standbys: u32) -> Self {
        self.lock().standbys = standbys;
        self
    }

    /// The version of the values' type, 1 unless set. Fields that differ are noticed without it ([`crate::shape`]). Raise it
    /// when they are the same and mean something else; what is stored under another version is then refused with an error
    /// that names both.
    #[must_use]
    pub fn version(self, version: u8) -> Self {
        self.lock().version = version;
        self
    }

    /// Keeps the shards in memory instead of RocksDB: every start restores them from the changelog. A shard is in
    /// memory if all its tables are.
    #[must_use]
    pub fn in_memory(self) -> Self {
        self.lock().in_memory = true;
        self
    }

    /// Another codec for keys. Ranges are in the order of its bytes.
    #[must_use]
    pub fn key_codec(mut self, codec: impl crate::codec::Codec<K>) -> Self {
        self.keys = Arc::new(codec);
        self.shape = Arc::default();
        self
    }

    /// Another codec for values.
    #[must_use]
    pub fn value_codec(mut self, codec: impl crate::codec::Codec<V>) -> Self {
        self.values = Arc::new(codec);
        self.older = None;
        self.shape = Arc::default();
        self
    }
}
