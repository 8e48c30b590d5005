//! [`Store`]: where a shard's tables are kept on this node.

use std::ops::Bound;
use std::sync::Arc;

use tanist_cluster::{Offset, ShardId};

/// Keys and values of a page of a [`Store`], in order.
pub type Page = Vec<(Vec<u8>, Vec<u8>)>;

/// A range of keys of a [`Store`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// Where it begins.
    pub from: Bound<Vec<u8>>,
    /// Where it ends.
    pub to: Bound<Vec<u8>>,
}

/// In which order a range is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// From the smallest key.
    #[default]
    Ascending,
    /// From the largest key.
    Descending,
}

/// Writes that go into a store together. Later ones win.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    bytes: Vec<u8>,
    /// Start of the key, end of the key, end of the value; the value of a deletion ends at `DELETED`.
    entries: Vec<(usize, usize, usize)>,
}

const DELETED: usize = usize::MAX;

impl Changes {
    /// Sets `key`, given in two parts that are joined.
    pub fn put(&mut self, prefix: &[u8], key: &[u8], value: &[u8]) {
        let (start, key_end) = self.key(prefix, key);
        self.bytes.extend_from_slice(value);
        self.entries.push((start, key_end, self.bytes.len()));
    }

    /// Removes `key`, given in two parts that are joined.
    pub fn delete(&mut self, prefix: &[u8], key: &[u8]) {
        let (start, key_end) = self.key(prefix, key);
        self.entries.push((start, key_end, DELETED));
    }

    fn key(&mut self, prefix: &[u8], key: &[u8]) -> (usize, usize) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(prefix);
        self.bytes.extend_from_slice(key);
        (start, self.bytes.len())
    }

    /// All writes in the order in which they were made; no value is a deletion.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        (0..self.entries.len()).map(|index| self.get(index))
    }

    /// The write at `index`, below [`Changes::len`].
    pub fn get(&self, index: usize) -> (&[u8], Option<&[u8]>) {
        let (start, key_end, end) = self.entries[index];
        let value = (end != DELETED).then(|| &self.bytes[key_end..end]);
        (&self.bytes[start..key_end], value)
    }

    /// How many writes there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of keys and values.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }
}

/// The store of one shard. Knows bytes only; [`Changes`] carry the position in the log under a key of its own, so that
/// it is written with the data or not at all (S3).
///
/// After a crash it holds what a prefix of the applied batches left, in order, nothing torn: the changelog gives back
/// the rest. Shared by the threads that read for queries.
pub trait Store: Send + Sync + 'static {
    /// The value of `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// At most `limit` entries of `range`.
    fn page(&self, range: &KeyRange, order: Order, limit: usize) -> Result<Page, StoreError>;

    /// Writes all of `changes`, or nothing. Visible to reads when it returns.
    fn apply(&self, changes: &Changes) -> Result<(), StoreError>;

    /// The same, where much is to be written at once and nobody waits for it: a restore.
    fn fill(&self, changes: &Changes) -> Result<(), StoreError> {
        self.apply(changes)
    }

    /// Removes all that is in it, in one batch, so that it can be filled anew.
    fn clear(&self) -> Result<(), StoreError> {
        let mut changes = Changes::default();
        for (key, _) in self.page(&KeyRange::prefix(&[]), Order::Ascending, usize::MAX)? {
            changes.delete(&[], &key);
        }
        self.apply(&changes)
    }

    /// When it returns, all that was applied survives a crash.
    fn flush(&self) -> Result<(), StoreError>;
}

/// The stores of a node.
pub trait Stores: Send + Sync + 'static {
    /// Opens the store of `shard`, made empty if there is none.
    fn open(&self, shard: &ShardId) -> Result<Arc<dyn Store>, StoreError>;

    /// A store for a shard whose tables are all kept in memory: empty, and gone with the shard.
    fn open_in_memory(&self, _shard: &ShardId) -> Arc<dyn Store> {
        Arc::new(super::MemoryStore::default())
    }

    /// Whether there is a store of `shard`, from before.
    fn exists(&self, shard: &ShardId) -> bool;

    /// True if opening and restoring take so long that they must not run on a worker's thread, where other shards wait.
    fn is_slow(&self) -> bool {
        true
    }
}

/// Why a store failed. The shard is `Broken` on this node then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The device is full.
    #[error("no space left for the store in {path}: free some, then restart the node ({reason})")]
    DiskFull {
        /// Where.
        path: String,
        /// What the store said.
        reason: String,
    },
    /// What is on disk cannot be read, or is not ours.
    #[error("the store in {path} cannot be used: {reason}")]
    Corrupt {
        /// Where.
        path: String,
        /// What the store said, and what to do.
        reason: String,
    },
    /// The app has other types for a table than those that wrote it.
    #[error(
        "table {table} holds what the app cannot read: {change}. Nothing of it was used or changed. Go back to the types that \
         wrote it (a field or variant that only has another name keeps the old one by `#[serde(rename)]`), or give the table \
         another name, under which it begins empty"
    )]
    OtherShape {
        /// The table.
        table: String,
        /// What differs.
        change: String,
    },
    /// The changelog is another one by now.
    #[error(
        "changelog {changelog} was deleted and made anew, or cut off: what was just written came to stand before offset \
         {next}, and the store holds what was there before {before}. To go on would lose it with the store: stop all nodes, \
         and bring the topic back, or begin anew under another app id"
    )]
    ChangelogWentBack {
        /// The topic.
        changelog: String,
        /// Behind what was written.
        next: Offset,
        /// Behind what the store holds.
        before: Offset,
    },
    /// Anything else.
    #[error("the store in {path} failed: {reason}")]
    Failed {
        /// Where.
        path: String,
        /// What the store said.
        reason: String,
    },
}

impl KeyRange {
    /// True if no key can be in it (`BTreeMap::range` panics on such).
    pub fn is_empty(&self) -> bool {
        match (&self.from, &self.to) {
            (Bound::Included(from), Bound::Included(to)) => from > to,
            (
                Bound::Included(from) | Bound::Excluded(from),
                Bound::Included(to) | Bound::Excluded(to),
            ) => from >= to,
            _ => false,
        }
    }

    /// True if `key` is in it.
    pub fn contains(&self, key: &[u8]) -> bool {
        use std::ops::RangeBounds;
        let bounds = (
            self.from.as_ref().map(Vec::as_slice),
            self.to.as_ref().map(Vec::as_slice),
        );
        RangeBounds::<[u8]>::contains(&bounds, key)
    }

    /// All keys that begin with `prefix`.
    pub fn prefix(prefix: &[u8]) -> Self {
        let mut end = prefix.to_vec();
        while end.last() == Some(&0xff) {
            end.pop();
        }
        let to = match end.last_mut() {
            Some(last) => {
                *last += 1;
                Bound::Excluded(end)
            }
            None => Bound::Unbounded,
        };
        Self {
            from: Bound::Included(prefix.to_vec()),
            to,
        }
    }
}
