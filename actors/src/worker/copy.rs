//! [`ShardCopy`]: a shard's store on this node, and how changelog records get into it.

use std::sync::Arc;

use tanist_cluster::{Offset, ShardId};

use super::Worker;
use super::error::ReplicaError;
use crate::group::{GroupSpec, changelogs};
use crate::port::{Store, StoreError, TopicPartition};
use crate::table::{INPUTS_KEY, Replay, StoreState};

/// See the module. Whoever has it is the only one who writes the store.
pub(super) struct ShardCopy {
    pub(super) shard: ShardId,
    pub(super) group: Arc<GroupSpec>,
    pub(super) store: Arc<dyn Store>,
    pub(super) replay: Replay,
}

impl Worker {
    /// Opens the store of a shard, which is empty if there was none.
    pub(super) async fn open_copy(
        &self,
        shard: &ShardId,
        group: &Arc<GroupSpec>,
    ) -> Result<ShardCopy, ReplicaError> {
        let store = self.open_store(shard, group).await?;
        let path = format!("the data directory, shard {shard}");
        let state = StoreState::load(&*store, &self.app, shard, &path)?;
        let replay = Replay::new(changelogs(group, &self.desk.topics.names), state);
        replay.check_shapes()?;
        Ok(ShardCopy {
            shard: shard.clone(),
            group: group.clone(),
            store,
            replay,
        })
    }

    /// The changelogs of a shard, in the order in which its replay counts them.
    pub(super) fn changelogs_of(&self, shard: &ShardId, group: &GroupSpec) -> Vec<TopicPartition> {
        let topics = group.tables.iter().map(|table| table.changelog);
        let partition = |topic| TopicPartition::new(self.desk.topic_name(topic), shard.partition);
        topics.map(partition).collect()
    }

    async fn open_store(
        &self,
        shard: &ShardId,
        group: &GroupSpec,
    ) -> Result<Arc<dyn Store>, ReplicaError> {
        if group.is_in_memory() {
            return Ok(self.stores.open_in_memory(shard));
        }
        let (stores, shard) = (self.stores.clone(), shard.clone());
        self.off_thread(move || stores.open(&shard)).await
    }

    /// Closes the store, unless a query still reads it.
    pub(super) async fn close_copy(&self, copy: ShardCopy) -> Result<(), ReplicaError> {
        let close = move || {
            drop(copy.store);
            Ok(())
        };
        self.off_thread(close).await
    }

    /// Runs `work` where it disturbs nobody (S5), if the stores are slow.
    pub(super) async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ReplicaError> {
        if !self.stores.is_slow() {
            return Ok(work()?);
        }
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => Ok(done?),
            Err(panic) => Err(ReplicaError::Store(StoreError::Failed {
                path: "the data directory".into(),
                reason: panic.to_string(),
            })),
        }
    }
}

impl ShardCopy {
    /// How far a changelog has been replayed.
    pub(super) fn position(&self, changelog: &TopicPartition) -> Option<Offset> {
        let positions = &self.replay.state().changelogs;
        positions.get(&changelog.topic).copied()
    }

    /// Whether the store can have come from a changelog in which this record is one of the last two before its position.
    /// They are of one commit, or one is a marker, so that neither overwrites the other.
    pub(super) fn recognises(
        &self,
        changelog: usize,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<bool, StoreError> {
        let Some(key) = self.replay.store_key(changelog, key) else {
            return Ok(key == INPUTS_KEY && self.replay.has_seen_last(changelog, value));
        };
        Ok(self.store.get(&key)?.as_deref() == value)
    }
}
