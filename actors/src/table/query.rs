//! [`TableReader`]: a table as queries see it: committed values, as JSON, read from the store of a shard.

use std::hash::Hash;
use std::ops::Bound;
use std::sync::Arc;

use serde_json::Value;

use super::handle::decode_stored;
use super::{TableDef, TableError, TableShape, table_prefix};
use crate::codec::{CodecError, Data};
use crate::port::{KeyRange, Order, Store};

/// Reads a table of any type for queries: by what it holds in stores, without the agents' cells, so that a query
/// disturbs nobody and sees committed values only.
pub trait TableReader: Send + Sync {
    /// How keys and values are written.
    fn shape(&self) -> Arc<TableShape>;

    /// Whether keys, and whether values, can be read as they are written ([`Codec::reads_back`](crate::codec::Codec)).
    fn reads_back(&self) -> (bool, bool);

    /// The bytes of a key given as text: as it is for a table of strings, else as JSON.
    fn key(&self, text: &str) -> Result<Vec<u8>, TableError>;

    /// The value of the key with these bytes.
    fn get(&self, store: &dyn Store, key: &[u8]) -> Result<Option<Value>, TableError>;

    /// At most `limit` entries from `from` to `to` (bytes of keys, see [`TableReader::key`]), in key order.
    fn page(
        &self,
        store: &dyn Store,
        from: Bound<Vec<u8>>,
        to: Bound<Vec<u8>>,
        limit: usize,
    ) -> Result<Vec<TableEntry>, TableError>;

    /// The same, keys and values only.
    fn scan(
        &self,
        store: &dyn Store,
        from: Bound<Vec<u8>>,
        to: Bound<Vec<u8>>,
        limit: usize,
    ) -> Result<Vec<(Value, Value)>, TableError> {
        let entries = self.page(store, from, to, limit)?.into_iter();
        Ok(entries.map(|entry| (entry.key, entry.value)).collect())
    }
}

/// An entry of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct TableEntry {
    /// The bytes of the key, by which entries are sorted.
    pub bytes: Vec<u8>,
    /// The key.
    pub key: Value,
    /// The value.
    pub value: Value,
}

impl<K: Data + Hash + Eq + Clone, V: Data> TableReader for TableDef<K, V> {
    fn shape(&self) -> Arc<TableShape> {
        self.written_as()
    }

    fn reads_back(&self) -> (bool, bool) {
        (self.keys.reads_back(), self.values.reads_back())
    }

    fn key(&self, text: &str) -> Result<Vec<u8>, TableError> {
        let codec_error = |error| TableError::Codec {
            table: self.name.clone(),
            error,
        };
        let as_string = serde_json::from_value::<K>(Value::String(text.to_owned()));
        let key = as_string
            .or_else(|_| serde_json::from_str(text))
            .map_err(|error| {
                codec_error(CodecError::new(format!(
                    "{text:?} is not a key of this table, as text or as JSON: {error}"
                )))
            })?;
        let mut bytes = Vec::new();
        self.keys.encode(&key, &mut bytes).map_err(codec_error)?;
        Ok(bytes)
    }

    fn get(&self, store: &dyn Store, key: &[u8]) -> Result<Option<Value>, TableError> {
        let mut store_key = table_prefix(&self.name);
        store_key.extend_from_slice(key);
        let stored = store.get(&store_key)?;
        stored.map(|bytes| to_json(self, key, &bytes)).transpose()
    }

    fn page(
        &self,
        store: &dyn Store,
        from: Bound<Vec<u8>>,
        to: Bound<Vec<u8>>,
        limit: usize,
    ) -> Result<Vec<TableEntry>, TableError> {
        let prefix = table_prefix(&self.name);
        let all = KeyRange::prefix(&prefix);
        let within = |bound: Bound<Vec<u8>>, open_end: Bound<Vec<u8>>| match bound {
            Bound::Unbounded => open_end,
            bound => bound.map(|key| [&prefix[..], &key].concat()),
        };
        let range = KeyRange {
            from: within(from, all.from),
            to: within(to, all.to),
        };
        let page = store.page(&range, Order::Ascending, limit)?;
        page.into_iter()
            .map(|(mut bytes, value)| {
                bytes.drain(..prefix.len());
                let key = self
                    .keys
                    .decode(&bytes)
                    .map_err(|error| TableError::Codec {
                        table: self.name.clone(),
                        error,
                    })?;
                Ok(TableEntry {
                    key: json_of(&self.name, &key)?,
                    value: to_json(self, &bytes, &value)?,
                    bytes,
                })
            })
            .collect()
    }
}

fn to_json<K, V: Data>(
    def: &TableDef<K, V>,
    key: &[u8],
    bytes: &[u8],
) -> Result<Value, TableError> {
    let version = def.config().version;
    json_of(&def.name, &decode_stored(def, version, key, bytes)?)
}

fn json_of(table: &Arc<str>, value: &impl serde::Serialize) -> Result<Value, TableError> {
    serde_json::to_value(value).map_err(|error| TableError::Codec {
        table: table.clone(),
        error: CodecError::new(error),
    })
}
