//! The table of the loops: decoded tallies in memory, RocksDB behind, and what has changed since the last commit.

use std::hash::BuildHasher;
use std::path::Path;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};
use rocksdb::{DB, Options, WriteBatch, WriteOptions};

use crate::Result;
use crate::orders::Tally;

/// Opens an empty store.
pub(crate) fn open_store(dir: &Path) -> Result<DB> {
    if dir
        .read_dir()
        .is_ok_and(|mut entries| entries.next().is_some())
    {
        return Err(format!("{} is not empty: a run starts from nothing", dir.display()).into());
    }
    let mut options = Options::default();
    options.create_if_missing(true);
    Ok(DB::open(&options, dir)?)
}

struct Entry {
    key: Box<[u8]>,
    partition: i32,
    tally: Tally,
    changed: bool,
}

/// A tally for each key that has been seen.
pub(crate) struct Tallies {
    entries: Vec<Entry>,
    by_key: HashTable<u32>,
    hasher: DefaultHashBuilder,
    changed: Vec<u32>,
    store: Arc<DB>,
}

impl Tallies {
    pub(crate) fn new(store: Arc<DB>) -> Tallies {
        let hasher = DefaultHashBuilder::default();
        Tallies {
            entries: Vec::new(),
            by_key: HashTable::new(),
            hasher,
            changed: Vec::new(),
            store,
        }
    }

    pub(crate) fn add(&mut self, partition: i32, key: &[u8], value: f64) -> Result<()> {
        let hash = self.hasher.hash_one(key);
        let found = self
            .by_key
            .find(hash, |index| *self.entries[*index as usize].key == *key);
        let index = match found {
            Some(index) => *index,
            None => self.load(partition, key, hash)?,
        };
        let entry = &mut self.entries[index as usize];
        entry.tally.add(value);
        if !entry.changed {
            entry.changed = true;
            self.changed.push(index);
        }
        Ok(())
    }

    fn load(&mut self, partition: i32, key: &[u8], hash: u64) -> Result<u32> {
        let mut store_key = Vec::with_capacity(2 + key.len());
        write_store_key(partition, key, &mut store_key);
        let tally = match self.store.get_pinned(&store_key)? {
            Some(bytes) => Tally::decode(&bytes)?,
            None => Tally::default(),
        };
        let index = u32::try_from(self.entries.len())?;
        self.entries.push(Entry {
            key: key.into(),
            partition,
            tally,
            changed: false,
        });
        let (entries, hasher) = (&self.entries, &self.hasher);
        self.by_key.insert_unique(hash, index, |index| {
            hasher.hash_one(&*entries[*index as usize].key)
        });
        Ok(index)
    }

    /// Moves what has changed into `sealed`.
    pub(crate) fn seal(&mut self, sealed: &mut Changes) {
        for index in self.changed.drain(..) {
            let entry = &mut self.entries[index as usize];
            entry.changed = false;
            sealed.push(entry.partition, &entry.key, entry.tally);
        }
    }
}

/// The last value of every key that changed between two commits.
#[derive(Default)]
pub(crate) struct Changes {
    keys: Vec<u8>,
    changes: Vec<Change>,
}

struct Change {
    partition: i32,
    key_end: usize,
    tally: Tally,
}

impl Changes {
    fn push(&mut self, partition: i32, key: &[u8], tally: Tally) {
        self.keys.extend_from_slice(key);
        self.changes.push(Change {
            partition,
            key_end: self.keys.len(),
            tally,
        });
    }

    /// Partition, key and tally of each.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i32, &[u8], Tally)> {
        let mut start = 0;
        self.changes.iter().map(move |change| {
            let key = &self.keys[start..change.key_end];
            start = change.key_end;
            (change.partition, key, change.tally)
        })
    }

    pub(crate) fn clear(&mut self) {
        self.keys.clear();
        self.changes.clear();
    }
}

/// Writes the changes, and up to where each partition's changelog has been applied, in one batch. The changelog is the
/// write-ahead log, so RocksDB keeps none.
pub(crate) fn write(store: &DB, changes: &Changes, changelog_ends: &[i64]) -> Result<()> {
    let mut batch = WriteBatch::default();
    let mut store_key = Vec::new();
    for (partition, key, tally) in changes.iter() {
        write_store_key(partition, key, &mut store_key);
        batch.put(&store_key, tally.encode());
    }
    for (partition, end) in (0..).zip(changelog_ends) {
        write_position_key(partition, &mut store_key);
        batch.put(&store_key, end.to_le_bytes());
    }
    let mut options = WriteOptions::default();
    options.disable_wal(true);
    Ok(store.write_opt(batch, &options)?)
}

pub(crate) fn write_store_key(partition: i32, key: &[u8], into: &mut Vec<u8>) {
    into.clear();
    into.extend_from_slice(&(partition as u16).to_be_bytes());
    into.extend_from_slice(key);
}

fn write_position_key(partition: i32, into: &mut Vec<u8>) {
    write_store_key(i32::from(u16::MAX), &partition.to_be_bytes(), into);
}
