//! [`OpenStores`]: the stores of a node, and which of them are open: queries read them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tanist_actors::port::{Store, StoreError, Stores};
use tanist_cluster::ShardId;

/// See the module. A store is known for as long as its shard holds it.
pub struct OpenStores {
    stores: Arc<dyn Stores>,
    open: Mutex<BTreeMap<ShardId, Weak<dyn Store>>>,
}

impl OpenStores {
    /// Over the stores of a node.
    pub fn new(stores: Arc<dyn Stores>) -> Self {
        Self {
            stores,
            open: Mutex::default(),
        }
    }

    /// The store of `shard`, if the shard is on this node.
    pub fn find(&self, shard: &ShardId) -> Option<Arc<dyn Store>> {
        self.open().get(shard)?.upgrade()
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<ShardId, Weak<dyn Store>>> {
        // One insertion cannot be half done.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, shard: &ShardId, store: Arc<dyn Store>) -> Arc<dyn Store> {
        self.open().insert(shard.clone(), Arc::downgrade(&store));
        store
    }
}

impl Stores for OpenStores {
    fn open(&self, shard: &ShardId) -> Result<Arc<dyn Store>, StoreError> {
        Ok(self.remember(shard, self.stores.open(shard)?))
    }

    fn open_in_memory(&self, shard: &ShardId) -> Arc<dyn Store> {
        self.remember(shard, self.stores.open_in_memory(shard))
    }

    fn is_slow(&self) -> bool {
        self.stores.is_slow()
    }
}
