//! The watchdog of a worker: what a handler that does not come back does to its shard is said in the log and in the
//! status. One that blocks the thread blocks this one, too: of that the node tells, see [`super::WorkerHandle::answers`].

use std::time::Duration;

use super::Worker;
use crate::port::CommitError;

/// How often it looks while there is something to look at.
const LOOK: Duration = Duration::from_secs(1);

impl Worker {
    /// Looks after the handlers of its shards. Never done.
    pub(super) async fn watch(&self) -> CommitError {
        loop {
            let is_quiet = (self.shards.borrow().values()).all(|shard| shard.waits_for_nobody());
            if is_quiet {
                self.desk.handler_waits().await;
            }
            self.desk.clock().sleep(LOOK).await;
            let shards: Vec<_> = self.shards.borrow().values().cloned().collect();
            shards.iter().for_each(|shard| shard.look_at_handlers());
        }
    }
}
