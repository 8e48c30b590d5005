//! [`Board`]: what this node's workers report, for status and queries.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tanist_actors::shard::ShardStatus;
use tanist_actors::worker::{CommitReport, Reports};
use tanist_cluster::ShardId;
use tokio::sync::watch;

/// Commits since the node started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitTotals {
    /// How many.
    pub commits: u64,
    /// Outputs and changelog records in them.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How long they took in all.
    pub took: Duration,
    /// How long the longest took.
    pub longest: Duration,
}

#[derive(Debug, Default)]
struct Entries {
    shards: BTreeMap<ShardId, ShardStatus>,
    totals: CommitTotals,
}

/// See the module. Shared by all threads of the node.
#[derive(Debug)]
pub struct Board {
    entries: Mutex<Entries>,
    version: watch::Sender<u64>,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            entries: Mutex::default(),
            version: watch::Sender::new(0),
        }
    }
}

impl Board {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All shards that are here, sorted.
    pub fn shards(&self) -> Vec<ShardStatus> {
        self.entries().shards.values().cloned().collect()
    }

    /// Commits since the start.
    pub fn totals(&self) -> CommitTotals {
        self.entries().totals
    }

    /// Changes with every report.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    fn changed(&self) {
        self.version.send_modify(|version| *version += 1);
    }
}

impl Reports for Board {
    fn shard(&self, status: ShardStatus) {
        self.entries().shards.insert(status.shard.clone(), status);
        self.changed();
    }

    fn gone(&self, shard: &ShardId) {
        self.entries().shards.remove(shard);
        self.changed();
    }

    fn commit(&self, commit: &CommitReport) {
        let mut entries = self.entries();
        let totals = &mut entries.totals;
        totals.commits += 1;
        totals.records += commit.records as u64;
        totals.bytes += commit.bytes as u64;
        totals.took += commit.took;
        totals.longest = totals.longest.max(commit.took);
        drop(entries);
        self.changed();
    }
}
