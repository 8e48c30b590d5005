//! [`RocksStore`]: the store of one shard.

use std::ops::Bound;
use std::path::PathBuf;
use std::sync::Arc;

use rocksdb::properties::{self, PropName};
use rocksdb::{DB, FlushOptions, ReadOptions, WriteBatch, WriteOptions};
use tanist_actors::port::{Changes, KeyRange, Order, Page, Store, StoreError};
use tanist_cluster::ShardId;

use super::error::store_error;
use super::node::{Node, Slot};
use super::sorted::sorted;

/// A shard's RocksDB.
///
/// Its write-ahead log is off: the changelog is that. So a crash loses what was not flushed, in the order in which it
/// was applied: a batch goes into one write buffer, and write buffers become files in the order in which they were
/// filled.
pub(super) struct RocksStore {
    pub(super) db: DB,
    pub(super) path: PathBuf,
    pub(super) node: Arc<Node>,
    write_options: WriteOptions,
    /// Dropped after the database, so that the shard is free when the database is closed.
    _slot: Slot,
}

impl RocksStore {
    pub(super) fn open(node: &Arc<Node>, shard: &ShardId, slot: Slot) -> Result<Self, StoreError> {
        let path = node.dir.shard(shard);
        let db = DB::open(&node.budget.options(&path), &path)
            .map_err(|error| store_error(&path, &error))?;
        let mut write_options = WriteOptions::default();
        write_options.disable_wal(true);
        Ok(Self {
            db,
            path,
            node: node.clone(),
            write_options,
            _slot: slot,
        })
    }

    /// The size of the write buffer that is being filled, in bytes.
    pub(super) fn filled_bytes(&self) -> usize {
        let bytes = self.number(properties::CUR_SIZE_ACTIVE_MEM_TABLE);
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// True if a write buffer is on its way to a file.
    pub(super) fn is_flushing(&self) -> bool {
        self.number(properties::NUM_IMMUTABLE_MEM_TABLE) > 0
    }

    fn number(&self, property: &PropName) -> u64 {
        // A database that does not know has nothing to flush.
        let number = self.db.property_int_value(property);
        number.ok().flatten().unwrap_or(0)
    }

    /// Begins to write the write buffer to a file.
    pub(super) fn flush_later(&self) {
        let mut options = FlushOptions::default();
        options.set_wait(false);
        if let Err(error) = self.db.flush_opt(&options) {
            // Its owner is told by its next write.
            tracing::warn!(store = %self.path.display(), %error, "cannot flush a write buffer");
        }
    }

    pub(super) fn failed(&self) -> impl Fn(rocksdb::Error) -> StoreError {
        |error| store_error(&self.path, &error)
    }
}

impl Store for RocksStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.db.get_pinned(key).map_err(self.failed())?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn page(&self, range: &KeyRange, order: Order, limit: usize) -> Result<Page, StoreError> {
        let mut page = Page::new();
        if range.is_empty() {
            return Ok(page);
        }
        let mut entries = self.db.raw_iterator_opt(bounds(range));
        match order {
            Order::Ascending => entries.seek_to_first(),
            Order::Descending => entries.seek_to_last(),
        }
        while page.len() < limit
            && let Some((key, value)) = entries.item()
        {
            page.push((key.to_vec(), value.to_vec()));
            match order {
                Order::Ascending => entries.next(),
                Order::Descending => entries.prev(),
            }
        }
        entries.status().map_err(self.failed())?;
        Ok(page)
    }

    fn apply(&self, changes: &Changes) -> Result<(), StoreError> {
        // RocksDB puts a tag and two lengths before each entry.
        let bytes = changes.size_bytes() + 12 * (changes.len() + 1);
        let mut batch = WriteBatch::with_capacity_bytes(bytes);
        // Neighbours, one after the other, cost a write buffer half of what keys in any order do: a batch is then as
        // cheap as a sorted file that is ingested.
        for (key, value) in sorted(changes) {
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            }
        }
        self.db
            .write_opt(batch, &self.write_options)
            .map_err(self.failed())?;
        self.node.relieve();
        Ok(())
    }

    fn clear(&self) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        // Names of tables begin with no such byte, nor do their lengths come near it.
        batch.delete_range(&[][..], &[0xff, 0xff][..]);
        self.db
            .write_opt(batch, &self.write_options)
            .map_err(self.failed())
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.db.flush().map_err(self.failed())
    }
}

impl Drop for RocksStore {
    fn drop(&mut self) {
        // Writes the write buffer to a file, so that the next start has nothing to read again.
        self.db.cancel_all_background_work(true);
    }
}

/// RocksDB's lower bound is part of the range, and its upper bound is not.
fn bounds(range: &KeyRange) -> ReadOptions {
    let after = |key: &[u8]| [key, &[0]].concat();
    let mut options = ReadOptions::default();
    match &range.from {
        Bound::Included(from) => options.set_iterate_lower_bound(from.clone()),
        Bound::Excluded(from) => options.set_iterate_lower_bound(after(from)),
        Bound::Unbounded => {}
    }
    match &range.to {
        Bound::Included(to) => options.set_iterate_upper_bound(after(to)),
        Bound::Excluded(to) => options.set_iterate_upper_bound(to.clone()),
        Bound::Unbounded => {}
    }
    options
}
