//! [`Lease`]: the right of a commit that is under way to write to its shard's store, for as long as the shard is at
//! work here. A commit may come to its end, and well, when its shard has long ended, for the process was frozen or the
//! answer late. By then somebody else may follow the changelog into the store, or even be at work on it: to write what
//! was committed before over that would bring back old values (S3). Nothing is lost if it is not written: the changelog
//! has it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::port::{Changes, KeyRange, Order, Page, Store, StoreError};

/// See the module. Dropped, it ends: nothing is written any more.
pub(super) struct Lease(Arc<Leased>);

/// What a commit has of it.
struct Leased {
    store: Mutex<Option<Arc<dyn Store>>>,
}

impl Lease {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        let store = Mutex::new(Some(store));
        Self(Arc::new(Leased { store }))
    }

    /// The store for as long as this lives, then nothing.
    pub(super) fn store(&self) -> Arc<dyn Store> {
        self.0.clone()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.store().take();
    }
}

impl Leased {
    fn store(&self) -> MutexGuard<'_, Option<Arc<dyn Store>>> {
        // What is inside is whole or gone.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of<T: Default>(
        &self,
        work: impl FnOnce(&dyn Store) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match &*self.store() {
            Some(store) => work(&**store),
            None => Ok(T::default()),
        }
    }
}

impl Store for Leased {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.of(|store| store.get(key))
    }

    fn page(&self, range: &KeyRange, order: Order, limit: usize) -> Result<Page, StoreError> {
        self.of(|store| store.page(range, order, limit))
    }

    fn apply(&self, changes: &Changes) -> Result<(), StoreError> {
        self.of(|store| store.apply(changes))
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.of(|store| store.flush())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::MemoryStore;

    #[test]
    fn a_commit_that_ends_after_its_shard_changes_nothing() {
        let store = Arc::new(MemoryStore::default());
        let lease = Lease::new(store.clone());
        let put = |value: &[u8]| {
            let mut changes = Changes::default();
            changes.put(b"k", b"", value);
            changes
        };
        let of_commit = lease.store();
        of_commit.apply(&put(b"1")).unwrap();
        assert_eq!(store.get(b"k").unwrap().as_deref(), Some(&b"1"[..]));
        store.apply(&put(b"3")).unwrap();
        drop(lease);
        of_commit.apply(&put(b"2")).unwrap();
        assert_eq!(store.get(b"k").unwrap().as_deref(), Some(&b"3"[..]));
    }
}
