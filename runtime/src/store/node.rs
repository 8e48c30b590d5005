//! [`Node`]: what the stores of a node share, and which of them are open.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tanist_actors::port::StoreError;
use tanist_cluster::ShardId;

use super::data_dir::DataDir;
use super::options::Budget;
use super::shard::RocksStore;

/// How long a shard that is opened waits until its former store is closed: that one may have to write its last data.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(60);

type Stores = BTreeMap<ShardId, Weak<RocksStore>>;

pub(super) struct Node {
    pub(super) dir: DataDir,
    pub(super) budget: Budget,
    /// A store that is being opened or closed stands here too, and cannot be upgraded.
    stores: Mutex<Stores>,
    /// One of `stores` has come or gone.
    changed: Condvar,
}

impl Node {
    pub(super) fn new(dir: DataDir, budget: Budget) -> Arc<Self> {
        Arc::new(Self {
            dir,
            budget,
            stores: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    fn stores(&self) -> MutexGuard<'_, Stores> {
        self.stores.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store of `shard`: the open one, or else one that is opened.
    pub(super) fn open(self: &Arc<Self>, shard: &ShardId) -> Result<Arc<RocksStore>, StoreError> {
        let slot = match self.find(shard)? {
            Found::Open(store) => return Ok(store),
            Found::Free(slot) => slot,
        };
        // Without the lock, so that shards are opened side by side.
        let store = Arc::new(RocksStore::open(self, shard, slot)?);
        self.stores().insert(shard.clone(), Arc::downgrade(&store));
        self.changed.notify_all();
        Ok(store)
    }

    fn find(self: &Arc<Self>, shard: &ShardId) -> Result<Found, StoreError> {
        // Looked at once: the last one to hold a store lets go of it at any moment.
        let mut found = None;
        let taken = |stores: &mut Stores| {
            found = stores.get(shard).map(Weak::upgrade);
            matches!(found, Some(None))
        };
        let (mut stores, _) = self
            .changed
            .wait_timeout_while(self.stores(), CLOSE_TIMEOUT, taken)
            .unwrap_or_else(PoisonError::into_inner);
        match found {
            Some(Some(store)) => Ok(Found::Open(store)),
            Some(None) => Err(StoreError::Failed {
                path: self.dir.shard(shard).display().to_string(),
                reason: format!("it is still being closed after {CLOSE_TIMEOUT:?}"),
            }),
            None => {
                stores.insert(shard.clone(), Weak::new());
                Ok(Found::Free(Slot {
                    node: self.clone(),
                    shard: shard.clone(),
                }))
            }
        }
    }

    /// Where the write buffers have reached their limit, writes the largest one to a file, in the background.
    pub(super) fn relieve(&self) {
        let limit_bytes = self.budget.write_buffer_limit_bytes();
        if self.budget.write_buffer_bytes() < limit_bytes {
            return;
        }
        // Let go of the lock first: the last one to hold a store closes it, and that takes the lock.
        let open: Vec<Arc<RocksStore>> = self.stores().values().filter_map(Weak::upgrade).collect();
        let filled_bytes: usize = open.iter().map(|store| store.filled_bytes()).sum();
        if filled_bytes < limit_bytes {
            return; // what is missing is on its way to files
        }
        let idle = open.iter().filter(|store| !store.is_flushing());
        if let Some(largest) = idle.max_by_key(|store| store.filled_bytes()) {
            largest.flush_later();
        }
    }
}

enum Found {
    Open(Arc<RocksStore>),
    Free(Slot),
}

/// The right to open a shard's database. There is one for each shard.
pub(super) struct Slot {
    node: Arc<Node>,
    shard: ShardId,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.node.stores().remove(&self.shard);
        self.node.changed.notify_all();
    }
}
