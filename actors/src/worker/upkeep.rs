//! What a worker does with time alone: Kafka forgets the offsets of a consumer group that has no members 7 days after their
//! last commit (`offsets.retention.minutes`), and for a shard without tables they are all that tells where it stands. And
//! stores are flushed, or a shard that is quiet for a day would be a day behind after a crash.

use std::time::Duration;

use super::Worker;
use crate::port::CommitError;
use crate::shard::Worth;

/// The first time, so that a worker that never gets old commits its positions too.
const FIRST: Duration = Duration::from_secs(60);
/// Far below `offsets.retention.minutes`, unless that was set to less than hours.
const INTERVAL: Duration = Duration::from_secs(60 * 60);

impl Worker {
    /// Commits the positions of all its shards again, now and then, though they have not moved. Never done: that it can
    /// commit no more, others tell.
    pub(super) async fn keep_up(&self) -> CommitError {
        let mut pause = FIRST;
        loop {
            self.desk.clock().sleep(pause).await;
            pause = INTERVAL;
            if !self.commit_soon(Worth::Nothing).await {
                return std::future::pending().await;
            }
            self.flush_stores().await;
        }
    }

    /// So that a shard that does little is not old after a crash, and has to be filled anew.
    async fn flush_stores(&self) {
        let stores: Vec<_> = (self.shards.borrow().values())
            .map(|shard| shard.store())
            .collect();
        for store in stores {
            if let Err(error) = self.off_thread(move || store.flush()).await {
                // Its shard is told by its next commit.
                tracing::warn!(%error, "cannot flush a store");
            }
        }
    }
}
