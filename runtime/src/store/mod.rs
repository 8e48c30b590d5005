//! The stores of a node on its disk, in RocksDB: the production form of the ports [`Store`] and [`Stores`].
//!
//! [`RocksStores`] holds the node's data directory (`data_dir`) and opens the shards (`node`), each a RocksDB of
//! its own (`shard`), set up by `options`.

mod data_dir;
mod error;
mod node;
mod options;
mod shard;
mod sorted;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use tanist_actors::port::{Changes, KeyRange, Order, Page, Store, StoreError, Stores};
pub use tanist_cluster::ShardId;

pub(crate) use data_dir::DataDir;
pub use data_dir::{DataDirError, Holder};
pub use options::StoreOptions;

use node::Node;
use options::Budget;

/// The stores of a node, in its data directory. The directory is held until this and all its stores are dropped.
pub struct RocksStores {
    node: Arc<Node>,
}

impl RocksStores {
    /// Takes hold of `data_dir`, made if there is none, for `app`.
    pub fn open(data_dir: &Path, app: &str, options: &StoreOptions) -> Result<Self, DataDirError> {
        let dir = DataDir::open(data_dir, app)?;
        let node = Node::new(dir, Budget::new(options));
        Ok(Self { node })
    }

    /// An error if the data directory was taken away.
    pub fn check(&self) -> Result<(), DataDirError> {
        self.node.dir.check()
    }

    /// The directory of the store of `shard`, for messages.
    pub fn path(&self, shard: &ShardId) -> PathBuf {
        self.node.dir.shard(shard)
    }
}

impl Stores for RocksStores {
    /// The store of `shard`, which is shared with those who have opened it before and hold it still. Waits for one that
    /// is being closed.
    fn open(&self, shard: &ShardId) -> Result<Arc<dyn Store>, StoreError> {
        Ok(self.node.open(shard)?)
    }

    fn exists(&self, shard: &ShardId) -> bool {
        self.path(shard).exists()
    }
}
