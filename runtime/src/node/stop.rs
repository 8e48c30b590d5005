//! How a node stops: it commits what it has finished, by new producers if it must.

use std::collections::BTreeMap;
use std::time::Duration;

use tanist_actors::worker::Unfinished;
use tanist_cluster::WorkerIndex;
use tanist_cluster::control::{Leave, Record};

use super::catch_up::{CatchUp, Reached};
use super::{Node, NodeError, NodeExit};

/// How long workers that were made anew may take to come to where those before them were.
const LIMIT: Duration = Duration::from_secs(10);

impl Node {
    /// Lets all workers finish what is in hand and commit it, and leaves.
    pub(super) async fn stop(mut self) -> Result<NodeExit, NodeError> {
        let mut unfinished = self.stop_workers().await;
        let mut committed = unfinished.is_empty();
        if !committed {
            // A producer that was in doubt, because a connection broke, takes no other commit, but a new one does.
            for worker in unfinished.keys() {
                if !self.rearm(*worker).await? {
                    return Ok(self.fenced());
                }
            }
            committed = self.come_to(&unfinished).await;
            unfinished = self.stop_workers().await;
            committed &= unfinished.is_empty();
        }
        let leave = Leave {
            member: self.me,
            incarnation: self.parts.incarnation,
            reason: "stopped".into(),
        };
        self.control.write(&Record::Leave(leave)).await?;
        Ok(NodeExit::Stopped { committed })
    }

    /// Those that could not commit what they had finished.
    async fn stop_workers(&mut self) -> BTreeMap<WorkerIndex, Unfinished> {
        let mut unfinished = BTreeMap::new();
        for (index, worker) in std::mem::take(&mut self.workers) {
            if let Err(it) = worker.stop().await {
                unfinished.insert(index, it);
            }
        }
        unfinished
    }

    /// True once all is committed that was finished before.
    async fn come_to(&self, unfinished: &BTreeMap<WorkerIndex, Unfinished>) -> bool {
        let (board, clock) = (&self.parts.board, &*self.parts.clock);
        let shards = unfinished.values().flat_map(|it| &it.shards);
        let mut catch_up = CatchUp::to_where(shards, board);
        let end = clock.elapsed() + LIMIT;
        while catch_up.reached(board) == Reached::No {
            catch_up.wait(board, clock).await;
            if clock.elapsed() > end || !self.settle().await {
                return false;
            }
        }
        true
    }
}
