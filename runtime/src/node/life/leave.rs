//! How a life ends: when the inputs are read to their ends, or the operator says so. Its shards go elsewhere, its
//! workers commit what they have finished (by new producers if they must), and it says that it has left.

use std::collections::BTreeMap;
use std::time::Duration;

use tanist_actors::worker::Unfinished;
use tanist_cluster::WorkerIndex;
use tanist_cluster::control::{Leave, Record};
use tanist_cluster::view::View;

use super::{CatchUp, FAREWELL, Life, NodeError, NodeParts, QUIET, Reached, Stop};
use crate::node::timeline::{EventKind, Note};

/// How long workers that were made anew may take to come to where those before them were.
const AGAIN: Duration = Duration::from_secs(10);

impl Life<'_> {
    pub(super) fn leave(&mut self) {
        if !matches!(self.stop, Stop::No) {
            return;
        }
        let now = self.parts.clock.elapsed();
        self.stop = Stop::Leaving(now);
        self.catch_up = None;
        self.parts
            .board
            .note(Note::new(EventKind::Leaving, "the node is to stop"));
        self.beat_at = now;
    }

    /// Stops the workers once nobody counts on them: others have the shards, or there are no others.
    pub(super) fn stop_if_free(&mut self, view: &View) {
        let since = match self.stop {
            Stop::Leaving(since) => since,
            Stop::Again(since) if self.parts.clock.elapsed().saturating_sub(since) >= AGAIN => {
                self.came_back = false;
                return self.stop_workers(Stop::LastWorkers);
            }
            _ => return,
        };
        let others = self.alive.iter().copied().filter(|id| *id != self.me);
        let alone = self.reports.all_leave(others);
        let waited = self.parts.clock.elapsed().saturating_sub(since);
        let late = waited >= self.parts.cluster.leave_timeout;
        if late && !alone && !view.may_leave(self.me) {
            tracing::warn!(
                ?waited,
                "nobody has taken over all shards of this node; it stops all the same"
            );
        }
        if alone || late || view.may_leave(self.me) {
            self.stop_workers(Stop::Workers);
        }
    }

    /// The workers have ended, but for `unfinished` with all that they had finished committed.
    pub(super) fn stopped(
        &mut self,
        unfinished: &BTreeMap<WorkerIndex, Unfinished>,
        now: Duration,
    ) {
        let known = unfinished.is_empty();
        self.committed = known && self.came_back;
        if known {
            return self.farewell("stopped");
        }
        if matches!(self.stop, Stop::LastWorkers) {
            // What became of the last transactions is not known: the others have to fence it.
            self.stop = Stop::Farewell(now.saturating_sub(FAREWELL));
            return;
        }
        // A producer that was in doubt, because a connection broke, takes no other commit, but a new one does.
        self.stop = Stop::Again(now);
        self.crew.prepare(unfinished.keys().copied(), self.parts);
        let shards = unfinished.values().flat_map(|it| &it.shards);
        let there = CatchUp::to_where(shards, &self.parts.board);
        self.caught_up(there, Some(Reached::No));
    }

    fn stop_workers(&mut self, stop: Stop) {
        self.catch_up = None;
        self.stop = stop;
        self.stopping = Some(self.crew.stop());
    }

    pub(super) fn farewell(&mut self, reason: &str) {
        self.stop = Stop::Farewell(self.parts.clock.elapsed());
        self.writes.write(Record::Leave(Leave {
            member: self.me,
            incarnation: self.join.incarnation,
            reason: reason.into(),
        }));
    }

    pub(super) fn begin_to_catch_up(&mut self) {
        let NodeParts { broker, board, .. } = self.parts;
        let (groups, topics) = (self.topology.groups.clone(), self.topology.topics.clone());
        let begin = CatchUp::begin(groups, topics, broker.clone(), board.clone());
        let (board, clock) = (board.clone(), self.parts.clock.clone());
        self.catch_up = Some(Box::pin(async move {
            Ok((begin.await?.wait(board, clock).await, None))
        }));
    }

    /// Whether no shard has stopped that another node has, as far as that has said.
    fn elsewhere(&self) -> Reached {
        let view = self.control.view();
        let shards = view.plan().into_iter().flat_map(|plan| plan.shards());
        for (shard, it) in shards.filter(|(_, it)| it.active != self.me) {
            let (Some(member), true) = (view.member(it.active), self.alive.contains(&it.active))
            else {
                continue;
            };
            match self.reports.get(it.active) {
                None => return Reached::No,
                Some((report, _)) if report.broken.contains(shard) => {
                    return Reached::Never {
                        shard: shard.clone(),
                        reason: format!(
                            "it is broken on node {}, whose status says why",
                            member.join.node
                        ),
                    };
                }
                Some(_) => {}
            }
        }
        Reached::Yes
    }

    pub(super) fn caught_up(&mut self, mut catch_up: CatchUp, reached: Option<Reached>) {
        let NodeParts {
            broker,
            board,
            clock,
            ..
        } = self.parts;
        let (broker, board, clock) = (broker.clone(), board.clone(), clock.clone());
        self.catch_up = match reached {
            None => {
                let settling = self.crew.settle();
                Some(Box::pin(async move {
                    let reached = match settling.await {
                        true => catch_up.check(&board, &*broker).await?,
                        // A worker has ended; what it did not commit will be processed again.
                        false => Reached::No,
                    };
                    Ok((catch_up, Some(reached)))
                }))
            }
            Some(Reached::No) => Some(Box::pin(async move {
                // The inputs may be read to their ends while a worker is not there to say that this is committed.
                clock.sleep(QUIET).await;
                Ok((catch_up.wait(board, clock).await, None))
            })),
            Some(Reached::Yes | Reached::Never { .. }) if matches!(self.stop, Stop::Again(_)) => {
                return self.stop_workers(Stop::LastWorkers);
            }
            Some(Reached::Yes) => match self.elsewhere() {
                Reached::Yes => return self.leave(),
                reached => return self.caught_up(catch_up, Some(reached)),
            },
            Some(Reached::Never { shard, reason }) => {
                self.failure = Some(NodeError::CannotCatchUp { shard, reason });
                return self.leave();
            }
        };
    }
}
