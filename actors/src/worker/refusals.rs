//! [`Refusals`]: the shards of a node of which the broker refuses a record.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tanist_cluster::ShardId;

use crate::port::CommitError;

/// The shards that have made a record which the broker refuses, and why: they would make it again, and with it fail the
/// commits of all others on their worker. Shared by the workers of a node, for as long as it runs.
#[derive(Clone, Debug, Default)]
pub struct Refusals(Arc<Mutex<BTreeMap<ShardId, Arc<str>>>>);

impl Refusals {
    /// `shard` has made the record of `error`. What is to be told of it.
    pub(super) fn add(&self, shard: &ShardId, error: &CommitError) -> Arc<str> {
        let reason = format!(
            "{error}. It would be refused again: let the topic take it, or the app not send it, and start the node anew"
        );
        let reason: Arc<str> = reason.into();
        self.shards().insert(shard.clone(), reason.clone());
        reason
    }

    /// Why `shard` cannot work.
    pub(super) fn reason(&self, shard: &ShardId) -> Option<Arc<str>> {
        self.shards().get(shard).cloned()
    }

    fn shards(&self) -> MutexGuard<'_, BTreeMap<ShardId, Arc<str>>> {
        // A whole value is put in.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
