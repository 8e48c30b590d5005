//! [`RocksStore`]: the store of one shard.

use std::io::ErrorKind;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rocksdb::properties::{self, PropName};
use rocksdb::{
    DB, FlushOptions, IngestExternalFileOptions, Options, ReadOptions, SstFileWriter, WriteBatch,
    WriteOptions,
};
use tanist_actors::port::{Changes, KeyRange, Order, Page, Store, StoreError};
use tanist_cluster::ShardId;

use super::error::store_error;
use super::node::{Node, Slot};
use super::sorted::sorted;

/// The file that is being written for [`Store::fill`], by a name that RocksDB has no use for.
pub(super) const FILLING: &str = "filling.sorted";

/// A shard's RocksDB.
///
/// Its write-ahead log is off: the changelog is that. So a crash loses what was not flushed, in the order in which it
/// was applied: a batch goes into one write buffer, and write buffers become files in the order in which they were
/// filled, before any file that is taken over whole.
pub(super) struct RocksStore {
    pub(super) db: Arc<DB>,
    pub(super) path: PathBuf,
    pub(super) node: Arc<Node>,
    options: Options,
    write_options: WriteOptions,
    /// Dropped after the database, so that the shard is free when the database is closed.
    _slot: Slot,
}

impl RocksStore {
    pub(super) fn open(node: &Arc<Node>, shard: &ShardId, slot: Slot) -> Result<Self, StoreError> {
        let path = node.dir.shard(shard);
        remove(&path.join(FILLING))?;
        let options = node.budget.options(&path);
        let db = DB::open(&options, &path).map_err(|error| store_error(&path, &error))?;
        let mut write_options = WriteOptions::default();
        write_options.disable_wal(true);
        Ok(Self {
            db: Arc::new(db),
            path,
            node: node.clone(),
            options,
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

    /// True if there is something that only write buffers hold.
    fn has_unwritten(&self) -> bool {
        self.number(properties::NUM_ENTRIES_ACTIVE_MEM_TABLE) > 0 || self.is_flushing()
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

    /// Writes `changes`, of which there is one at least, to a file that the database can take over.
    fn write_file(&self, changes: &Changes, file: &Path) -> Result<(), rocksdb::Error> {
        let mut writer = SstFileWriter::create(&self.options);
        writer.open(file)?;
        for (key, value) in sorted(changes) {
            match value {
                Some(value) => writer.put(key, value)?,
                None => writer.delete(key)?,
            }
        }
        writer.finish()
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
        // Neighbours, one after the other, cost a write buffer half of what keys in any order do.
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

    /// By a sorted file, which costs half of what a write buffer does that becomes a file later.
    fn fill(&self, changes: &Changes) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        let file = self.path.join(FILLING);
        remove(&file)?;
        let take_over = || {
            self.write_file(changes, &file)?;
            // What was applied before is in files before: a crash would lose it otherwise, and not what came later. Not asked
            // for without need: RocksDB first waits until files have been merged, for ever where the disk is full.
            if self.has_unwritten() {
                self.db.flush()?;
            }
            let mut ingest = IngestExternalFileOptions::default();
            ingest.set_move_files(true);
            self.db.ingest_external_file_opts(&ingest, vec![&file])
        };
        take_over().map_err(|error| {
            // What there is of it takes room that others may need.
            let _ = remove(&file);
            self.failed()(error)
        })
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
        if self.node.dir.check().is_err() {
            // There is nothing left to close: RocksDB would look for its files, for a second, and tell of each. The node ends.
            std::mem::forget(self.db.clone());
            return;
        }
        // Writes the write buffer to a file, so that the next start has nothing to read again.
        self.db.cancel_all_background_work(true);
    }
}

/// Removes what was left of a file that was being filled, if there is any. A crash can leave a second name of a file that
/// the database has taken over, which must not be written to again.
fn remove(file: &Path) -> Result<(), StoreError> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(StoreError::Failed {
            path: file.display().to_string(),
            reason: format!("it cannot be removed: {error}"),
        }),
        _ => Ok(()),
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
