//! [`MemoryStore`] and [`MemoryStores`]: stores in memory, and a node's worth of them that can crash like a disk.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tanist_cluster::ShardId;

use super::{Changes, KeyRange, Order, Page, Store, StoreError, Stores};

/// A store in memory: for tests, for the simulation, and for tables declared `in_memory`.
#[derive(Debug, Default)]
pub struct MemoryStore {
    entries: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl MemoryStore {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Vec<u8>>> {
        // A panic elsewhere cannot leave a map half changed that is only changed below.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.entries().get(key).cloned())
    }

    fn page(&self, range: &KeyRange, order: Order, limit: usize) -> Result<Page, StoreError> {
        if range.is_empty() {
            return Ok(Page::new());
        }
        let entries = self.entries();
        let within = entries.range::<[u8], _>((
            range.from.as_ref().map(Vec::as_slice),
            range.to.as_ref().map(Vec::as_slice),
        ));
        let owned = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
        Ok(match order {
            Order::Ascending => within.take(limit).map(owned).collect(),
            Order::Descending => within.rev().take(limit).map(owned).collect(),
        })
    }

    fn apply(&self, changes: &Changes) -> Result<(), StoreError> {
        let mut entries = self.entries();
        for (key, value) in changes.iter() {
            match value {
                Some(value) => entries.insert(key.to_vec(), value.to_vec()),
                None => entries.remove(key),
            };
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// The stores of a node in memory, for the test driver. They outlive the node, as a disk does, and can lose what a
/// disk can lose.
///
/// A store that was opened before a [`MemoryStores::crash`] or [`MemoryStores::erase`] is the dead node's: what is
/// still written to it does not come back.
#[derive(Debug, Default)]
pub struct MemoryStores {
    disks: Mutex<BTreeMap<ShardId, Arc<Disk>>>,
}

impl MemoryStores {
    /// The process is killed: of each shard some prefix of the applied batches is left, not shorter than at its last
    /// flush. `choose(n)` picks a number below `n`, at least 1: seeded, so that a run can be repeated.
    pub fn crash(&self, mut choose: impl FnMut(usize) -> usize) {
        for disk in self.disks().values_mut() {
            *disk = Arc::new(disk.crashed(&mut choose));
        }
    }

    /// The disk is lost: every store begins empty again.
    pub fn erase(&self) {
        self.disks().clear();
    }

    fn disks(&self) -> MutexGuard<'_, BTreeMap<ShardId, Arc<Disk>>> {
        self.disks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stores for MemoryStores {
    fn open(&self, shard: &ShardId) -> Result<Arc<dyn Store>, StoreError> {
        Ok(self.disks().entry(shard.clone()).or_default().clone())
    }

    fn exists(&self, shard: &ShardId) -> bool {
        self.disks().contains_key(shard)
    }

    fn is_slow(&self) -> bool {
        false
    }
}

/// As RocksDB flushes by itself when its write buffer is full, so the oldest batch counts as flushed beyond so many.
const MAX_UNFLUSHED_BATCHES: usize = 1024;

/// A store that remembers how to undo what has not been flushed.
#[derive(Debug, Default)]
struct Disk {
    store: MemoryStore,
    /// What brings back the state before each batch since the last flush, the oldest first.
    undo: Mutex<VecDeque<Changes>>,
}

impl Disk {
    fn undo(&self) -> MutexGuard<'_, VecDeque<Changes>> {
        self.undo.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a crash leaves of it.
    fn crashed(&self, choose: &mut impl FnMut(usize) -> usize) -> Self {
        let undo = self.undo();
        let entries = self.store.entries().clone();
        let store = MemoryStore {
            entries: Mutex::new(entries),
        };
        let lost_batches = choose(undo.len() + 1);
        for before in undo.iter().rev().take(lost_batches) {
            store
                .apply(before)
                .expect("a store in memory takes everything");
        }
        Self {
            store,
            undo: Mutex::default(),
        }
    }
}

impl Store for Disk {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.get(key)
    }

    fn page(&self, range: &KeyRange, order: Order, limit: usize) -> Result<Page, StoreError> {
        self.store.page(range, order, limit)
    }

    fn apply(&self, changes: &Changes) -> Result<(), StoreError> {
        // Held to the end, so that a crash sees the batch and its undo, or neither.
        let mut undo = self.undo();
        let mut before = Changes::default();
        for (key, _) in changes.iter() {
            match self.store.get(key)? {
                Some(value) => before.put(&[], key, &value),
                None => before.delete(&[], key),
            }
        }
        undo.push_back(before);
        if undo.len() > MAX_UNFLUSHED_BATCHES {
            undo.pop_front();
        }
        self.store.apply(changes)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.undo().clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Bound;

    use super::*;

    fn batch(writes: &[(&str, Option<&str>)]) -> Changes {
        let mut changes = Changes::default();
        for (key, value) in writes {
            match value {
                Some(value) => changes.put(key.as_bytes(), &[], value.as_bytes()),
                None => changes.delete(key.as_bytes(), &[]),
            }
        }
        changes
    }

    fn content(store: &dyn Store) -> Vec<(String, String)> {
        let everything = KeyRange {
            from: Bound::Unbounded,
            to: Bound::Unbounded,
        };
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let page = store.page(&everything, Order::Ascending, usize::MAX);
        let entries = page.unwrap().into_iter();
        entries.map(|(k, v)| (text(k), text(v))).collect()
    }

    /// The states of a store after each of `batches`, the empty one first.
    fn states(batches: &[Changes]) -> Vec<Vec<(String, String)>> {
        let store = MemoryStore::default();
        let mut states = vec![content(&store)];
        for changes in batches {
            store.apply(changes).unwrap();
            states.push(content(&store));
        }
        states
    }

    fn history() -> [Changes; 4] {
        [
            batch(&[("a", Some("1")), ("b", Some("1")), ("a", Some("2"))]),
            batch(&[("a", None), ("c", Some("2"))]),
            batch(&[("a", Some("3")), ("a", None), ("b", Some("3"))]),
            batch(&[("b", None), ("b", Some("4")), ("d", Some("4"))]),
        ]
    }

    #[test]
    fn a_crash_leaves_a_prefix_of_the_batches_not_shorter_than_the_last_flush() {
        let (shard, batches) = (ShardId::new("orders", 0), history());
        let states = states(&batches);
        for flushed in 0..=batches.len() {
            for lost in 0..=batches.len() - flushed {
                let stores = MemoryStores::default();
                let store = stores.open(&shard).unwrap();
                for (index, changes) in batches.iter().enumerate() {
                    if index == flushed {
                        store.flush().unwrap();
                    }
                    store.apply(changes).unwrap();
                }
                if flushed == batches.len() {
                    store.flush().unwrap();
                }
                stores.crash(|choices| {
                    assert_eq!(choices, batches.len() - flushed + 1);
                    lost
                });
                let left = content(&*stores.open(&shard).unwrap());
                assert_eq!(
                    left,
                    states[batches.len() - lost],
                    "flushed {flushed}, lost {lost}"
                );
            }
        }
    }

    #[test]
    fn stores_outlive_their_node_but_not_the_loss_of_the_disk() {
        let (shard, stores) = (ShardId::new("orders", 0), MemoryStores::default());
        let store = stores.open(&shard).unwrap();
        store.apply(&batch(&[("a", Some("1"))])).unwrap();
        drop(store);
        assert_eq!(content(&*stores.open(&shard).unwrap()).len(), 1);
        assert_eq!(
            content(&*stores.open(&ShardId::new("orders", 1)).unwrap()),
            []
        );
        stores.erase();
        assert_eq!(content(&*stores.open(&shard).unwrap()), []);
    }

    #[test]
    fn what_a_dead_node_still_writes_does_not_come_back() {
        let (shard, stores) = (ShardId::new("orders", 0), MemoryStores::default());
        let dead = stores.open(&shard).unwrap();
        stores.crash(|_| 0);
        dead.apply(&batch(&[("a", Some("1"))])).unwrap();
        assert_eq!(content(&*stores.open(&shard).unwrap()), []);
    }

    #[test]
    fn what_can_be_undone_is_bounded() {
        let (shard, stores) = (ShardId::new("orders", 0), MemoryStores::default());
        let store = stores.open(&shard).unwrap();
        for _ in 0..MAX_UNFLUSHED_BATCHES + 3 {
            store.apply(&batch(&[("a", Some("1"))])).unwrap();
        }
        stores.crash(|choices| {
            assert_eq!(choices, MAX_UNFLUSHED_BATCHES + 1);
            choices - 1
        });
        assert_eq!(content(&*stores.open(&shard).unwrap()).len(), 1);
    }
}
