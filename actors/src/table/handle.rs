//! [`Table`]: a table's shard in the hands of an agent.

use std::borrow::Borrow;
use std::cell::RefCell;
use std::hash::Hash;
use std::ops::{Bound, RangeBounds};
use std::rc::Rc;
use std::sync::Arc;

use super::cells::{CellId, Cells};
use super::scope::{Scope, Ticket};
use super::{CacheBudget, Scan, TableDef, TableError, table_prefix};
use crate::codec::CodecError;
use crate::port::{KeyRange, Order, Store};
use crate::stage::{Stage, Target};

/// The shard of a table that goes with an agent's partition; got from [`crate::agent::ShardContext::table`].
///
/// Behaves as a map that is local and durable. Writes are part of the record that is being handled: they are committed
/// with its offset and outputs, or, if its handler fails, undone (S2).
pub struct Table<K, V> {
    shard: Rc<TableShard<K, V>>,
}

impl<K, V> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        Self {
            shard: self.shard.clone(),
        }
    }
}

/// What a [`Table`] handle points to.
pub(crate) struct TableShard<K, V> {
    pub(super) def: TableDef<K, V>,
    version: u8,
    pub(super) prefix: Vec<u8>,
    store: Arc<dyn Store>,
    scope: Rc<Scope>,
    dirty_bytes: Rc<std::cell::Cell<usize>>,
    pub(super) cells: RefCell<Cells<K, V>>,
}

/// What a [`TableShard`] needs of its shard.
#[derive(Clone)]
pub(crate) struct TableHome {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) scope: Rc<Scope>,
    pub(crate) budget: Rc<CacheBudget>,
    /// Grows with every cell that becomes dirty: what `commit_bytes` is compared with.
    pub(crate) dirty_bytes: Rc<std::cell::Cell<usize>>,
}

impl<K, V> Table<K, V>
where
    K: Hash + Eq + Clone + 'static,
    V: Clone + 'static,
{
    pub(crate) fn new(shard: Rc<TableShard<K, V>>) -> Self {
        Self { shard }
    }

    /// The value of `key`, a copy.
    pub fn get<Q>(&self, key: &Q) -> Result<Option<V>, TableError>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        self.with(key, |value| value.cloned())
    }

    /// What `read` makes of the value of `key`, without a copy of it. `read` must not use the table.
    pub fn with<Q, R>(&self, key: &Q, read: impl FnOnce(Option<&V>) -> R) -> Result<R, TableError>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let mut cells = self.shard.cells.borrow_mut();
        let id = self.shard.cell_of(&mut cells, key)?;
        Ok(read(cells.cell(id).value.as_ref()))
    }

    /// True if `key` has a value.
    pub fn contains<Q>(&self, key: &Q) -> Result<bool, TableError>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        self.with(key, |value| value.is_some())
    }

    /// Sets the value of `key`.
    pub fn put<Q>(&self, key: &Q, value: V) -> Result<(), TableError>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        self.write(key, |cell| *cell = Some(value))
    }

    /// Changes the value of `key` in place, from the type's default if it has none; answers what `change` returns.
    pub fn update<Q, R>(&self, key: &Q, change: impl FnOnce(&mut V) -> R) -> Result<R, TableError>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
        V: Default,
    {
        self.write(key, |cell| change(cell.get_or_insert_with(V::default)))
    }

    /// Removes `key`; no error if it is not there.
    pub fn delete<Q>(&self, key: &Q) -> Result<(), TableError>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        self.write(key, |cell| *cell = None)
    }

    fn write<Q, R>(
        &self,
        key: &Q,
        change: impl FnOnce(&mut Option<V>) -> R,
    ) -> Result<R, TableError>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let shard = &*self.shard;
        if shard.scope.current() == Ticket::NOBODY {
            return Err(TableError::NotHandling(shard.name()));
        }
        let mut cells = shard.cells.borrow_mut();
        let id = shard.cell_of(&mut cells, key)?;
        let (value, newly_dirty) = cells.write(id, &shard.scope);
        let result = change(value);
        if newly_dirty {
            let bytes = shard.dirty_bytes.get() + size_of::<K>() + size_of::<V>();
            shard.dirty_bytes.set(bytes);
        }
        Ok(result)
    }

    /// The entries with keys in `range`, in the order of the keys' bytes (strings: as strings sort; else as the values
    /// do, see [`crate::codec::Ordered`]).
    ///
    /// ```text
    /// for entry in counts.range("a".to_owned()..="b".to_owned())? { let (account, tally) = entry?; ... }
    /// ```
    pub fn range(&self, range: impl RangeBounds<K>) -> Result<Scan<K, V>, TableError> {
        self.scan(range, Order::Ascending)
    }

    /// The same from the largest key down.
    pub fn range_descending(&self, range: impl RangeBounds<K>) -> Result<Scan<K, V>, TableError> {
        self.scan(range, Order::Descending)
    }

    /// All entries, in the order of the keys' bytes.
    pub fn iter(&self) -> Result<Scan<K, V>, TableError> {
        self.range(..)
    }

    /// How many keys have a value. Reads them all.
    pub fn count(&self) -> Result<usize, TableError> {
        let mut count = 0;
        for entry in self.iter()? {
            entry?;
            count += 1;
        }
        Ok(count)
    }

    /// The entries whose keys begin with `prefix`, by the bytes of the key: for keys that are strings or bytes.
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Result<Scan<K, V>, TableError> {
        let mut full = self.shard.prefix.clone();
        full.extend_from_slice(prefix.as_ref());
        Scan::new(
            self.shard.clone(),
            KeyRange::prefix(&full),
            Order::Ascending,
        )
    }

    fn scan(&self, range: impl RangeBounds<K>, order: Order) -> Result<Scan<K, V>, TableError> {
        let shard = &self.shard;
        let all = KeyRange::prefix(&shard.prefix);
        let bound = |bound: Bound<&K>, open_end: &Bound<Vec<u8>>| match bound {
            Bound::Included(key) => shard.store_key(key).map(Bound::Included),
            Bound::Excluded(key) => shard.store_key(key).map(Bound::Excluded),
            Bound::Unbounded => Ok(open_end.clone()),
        };
        let range = KeyRange {
            from: bound(range.start_bound(), &all.from)?,
            to: bound(range.end_bound(), &all.to)?,
        };
        Scan::new(shard.clone(), range, order)
    }
}

impl<K, V> TableShard<K, V>
where
    K: Hash + Eq + Clone + 'static,
    V: Clone + 'static,
{
    pub(crate) fn new(def: TableDef<K, V>, home: TableHome) -> Self {
        Self {
            version: def.config().version,
            prefix: table_prefix(&def.name),
            def,
            store: home.store,
            scope: home.scope,
            dirty_bytes: home.dirty_bytes,
            cells: RefCell::new(Cells::new(home.budget)),
        }
    }

    pub(super) fn name(&self) -> Arc<str> {
        self.def.name.clone()
    }

    pub(super) fn store(&self) -> &dyn Store {
        &*self.store
    }

    pub(super) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The cell of `key`, read from the store if it has none, touched by the current record.
    fn cell_of<Q>(&self, cells: &mut Cells<K, V>, key: &Q) -> Result<CellId, TableError>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let id = match cells.find(key) {
            Some(id) => id,
            None => self.load(cells, key.to_owned())?,
        };
        if cells.touch(id, &self.scope) {
            Ok(id)
        } else {
            Err(TableError::Busy(self.name()))
        }
    }

    fn load(&self, cells: &mut Cells<K, V>, key: K) -> Result<CellId, TableError> {
        let store_key = self.store_key(&key)?;
        let stored = self.store.get(&store_key)?;
        let encoded_bytes =
            store_key.len() - self.prefix.len() + stored.as_ref().map_or(0, Vec::len);
        let value = stored
            .map(|bytes| self.decode_value(&store_key, &bytes))
            .transpose()?;
        Ok(cells.insert(key, value, encoded_bytes, &self.scope))
    }

    pub(super) fn store_key(&self, key: &K) -> Result<Vec<u8>, TableError> {
        let mut bytes = self.prefix.clone();
        self.def
            .keys
            .encode(key, &mut bytes)
            .map_err(|error| self.codec_error(error))?;
        Ok(bytes)
    }

    pub(super) fn decode_key(&self, store_key: &[u8]) -> Result<K, TableError> {
        let key = &store_key[self.prefix.len()..];
        self.def
            .keys
            .decode(key)
            .map_err(|error| self.codec_error(error))
    }

    pub(super) fn decode_value(&self, store_key: &[u8], bytes: &[u8]) -> Result<V, TableError> {
        decode_stored(
            &self.def,
            self.version,
            &store_key[self.prefix.len()..],
            bytes,
        )
    }

    fn codec_error(&self, error: CodecError) -> TableError {
        TableError::Codec {
            table: self.name(),
            error,
        }
    }

    fn write_value(&self, value: &V, into: &mut Vec<u8>) -> Result<(), TableError> {
        into.extend_from_slice(&[self.def.values.format() as u8, self.version]);
        self.def
            .values
            .encode(value, into)
            .map_err(|error| self.codec_error(error))
    }
}

/// Reads a stored value: a byte for the format, a byte for the table's version, then the codec's bytes.
pub(super) fn decode_stored<K, V: 'static>(
    def: &TableDef<K, V>,
    version: u8,
    key: &[u8],
    bytes: &[u8],
) -> Result<V, TableError> {
    let format = def.values.format() as u8;
    let unreadable = |reason: &dyn std::fmt::Display| TableError::Codec {
        table: def.name.clone(),
        error: CodecError::new(format!(
            "the stored value of key {} cannot be read: {reason}",
            shown(key)
        )),
    };
    match bytes {
        [stored_format, stored_version, value @ ..]
            if *stored_format == format && *stored_version == version =>
        {
            let explained = |error| {
                unreadable(&format_args!(
                    "{error}. Has the type of the table's values changed? Go back to the one that wrote it, or give the \
                     table another name, under which it begins empty; `TableDef::version` tells types apart"
                ))
            };
            def.values.decode(value).map_err(explained)
        }
        [stored_format, stored_version, value @ ..] => {
            let older = def.older.as_ref().filter(|older| {
                *stored_version == version && *stored_format == older.format() as u8
            });
            match older {
                Some(older) => older.decode(value).map_err(|error| unreadable(&error)),
                None => Err(TableError::Version {
                    table: def.name.clone(),
                    key: shown(key),
                    stored: (*stored_format, *stored_version),
                    declared: (format, version),
                }),
            }
        }
        _ => Err(unreadable(&"it is cut off")),
    }
}

/// The bytes of a key, for people.
fn shown(key: &[u8]) -> String {
    match std::str::from_utf8(key) {
        Ok(text) => format!("{text:?}"),
        Err(_) => format!("\"{}\"", key.escape_ascii()),
    }
}

/// What a shard asks of its tables, whatever their types.
pub(crate) trait AnyTable {
    fn keep(&self, ticket: Ticket);
    fn undo(&self, ticket: Ticket);
    fn has_dirty(&self) -> bool;
    /// Writes all finished writes as changelog records into `stage`, each by its changelog key.
    fn seal(&self, stage: &mut Stage, changelog: Target) -> Result<(), TableError>;
    fn committed(&self);
    fn as_any(self: Rc<Self>) -> Rc<dyn std::any::Any>;
}

impl<K, V> AnyTable for TableShard<K, V>
where
    K: Hash + Eq + Clone + 'static,
    V: Clone + 'static,
{
    fn keep(&self, ticket: Ticket) {
        self.cells.borrow_mut().keep(ticket);
    }

    fn undo(&self, ticket: Ticket) {
        self.cells.borrow_mut().undo(ticket);
    }

    fn has_dirty(&self) -> bool {
        self.cells.borrow().has_dirty()
    }

    fn seal(&self, stage: &mut Stage, changelog: Target) -> Result<(), TableError> {
        self.cells.borrow_mut().seal(&self.scope, |key, value| {
            stage.changelog_record(changelog, |bytes| {
                let start = bytes.len();
                self.def
                    .keys
                    .encode(key, bytes)
                    .map_err(|error| self.codec_error(error))?;
                if bytes.get(start) == Some(&0xff) {
                    bytes.insert(start, 0xff);
                }
                let key_end = bytes.len();
                if let Some(value) = value {
                    self.write_value(value, bytes)?;
                }
                Ok((key_end, value.is_some()))
            })
        })
    }

    fn committed(&self) {
        self.cells.borrow_mut().committed();
    }

    fn as_any(self: Rc<Self>) -> Rc<dyn std::any::Any> {
        self
    }
}

impl TableHome {
    /// For a table that is only asked what it is called.
    pub(crate) fn nowhere() -> Self {
        Self {
            store: Arc::new(crate::port::MemoryStore::default()),
            scope: Rc::default(),
            budget: CacheBudget::new(0),
            dirty_bytes: Rc::default(),
        }
    }
}
