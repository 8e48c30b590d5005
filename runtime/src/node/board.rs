//! [`Board`]: what this node's workers report, for status and queries.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tanist_actors::shard::ShardStatus;
use tanist_actors::worker::{CommitReport, Reports, Stage};
use tanist_cluster::control::Record;
use tanist_cluster::{Epoch, ShardId};
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
    written: BTreeSet<Arc<str>>,
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

    /// Records handled by the shards that are here, since they came.
    pub fn records(&self) -> u64 {
        let entries = self.entries();
        entries.shards.values().map(|shard| shard.records).sum()
    }

    /// Commits since the start.
    pub fn totals(&self) -> CommitTotals {
        self.entries().totals
    }

    /// The topics that this node has sent to.
    pub(super) fn written(&self) -> BTreeSet<Arc<str>> {
        self.entries().written.clone()
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

    /// The one node gives its shards up by leaving.
    fn release(&self, _: Record) {}

    fn stage(&self, shard: &ShardId, epoch: Epoch, stage: Stage) {
        tracing::debug!(%shard, %epoch, ?stage, "moves");
    }

    fn writes(&self, topic: &Arc<str>) {
        self.entries().written.insert(topic.clone());
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
