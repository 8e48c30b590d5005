//! [`OpenStores`]: the stores of a node, and which of them are open: queries read them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tanist_actors::group::GroupSpec;
use tanist_actors::port::{Store, StoreError, Stores};
use tanist_actors::table::StoreState;
use tanist_cluster::{Offset, ShardId};

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

    fn exists(&self, shard: &ShardId) -> bool {
        self.stores.exists(shard)
    }

    fn is_slow(&self) -> bool {
        self.stores.is_slow()
    }
}

/// How far each copy is: the sum over its changelogs.
pub(super) type Positions = BTreeMap<ShardId, Offset>;

/// What is on a node's disk.
#[derive(Default)]
pub(super) struct OnDisk {
    /// How far its copies are.
    pub(super) positions: Positions,
    /// All changelogs that the copies know.
    pub(super) changelogs: BTreeSet<Arc<str>>,
}

/// The copies of the shards of `groups` on a node's disk. What cannot be read is left for whoever has to run it to
/// complain about.
pub(super) async fn on_disk(
    stores: Arc<dyn Stores>,
    app: &str,
    groups: &[Arc<GroupSpec>],
) -> OnDisk {
    let kept = groups.iter().filter(|group| !group.is_in_memory());
    let shards = kept.flat_map(|group| {
        let shard = |partition| ShardId::new(group.name.clone(), partition);
        (0..group.partitions).map(shard)
    });
    let (shards, app): (Vec<ShardId>, String) = (shards.collect(), app.to_owned());
    let is_slow = stores.is_slow();
    let look = move || {
        let mut found = OnDisk::default();
        for shard in shards.into_iter().filter(|shard| stores.exists(shard)) {
            let Ok(store) = stores.open(&shard) else {
                continue;
            };
            let path = format!("the data directory, shard {shard}");
            let Ok(state) = StoreState::load(&*store, &app, &shard, &path) else {
                continue;
            };
            let sum = state.changelogs.values().map(|offset| offset.0).sum();
            found.positions.insert(shard, Offset(sum));
            found.changelogs.extend(state.changelogs.into_keys());
            found.changelogs.extend(state.inputs.changelogs.into_keys());
        }
        found
    };
    if !is_slow {
        return look();
    }
    // A panic has been printed; copies that nobody knows of are filled anew.
    tokio::task::spawn_blocking(look).await.unwrap_or_default()
}
