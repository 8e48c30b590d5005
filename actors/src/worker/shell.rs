//! [`WorkerActor`]: the worker as an actor: activates shards, stops them, and tells its node when it can commit no more.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use actix::prelude::*;
use tanist_cluster::ShardId;
use tanist_cluster::permit::Permit;
use tokio::sync::oneshot;

use super::{Worker, WorkerParts};
use crate::group::GroupSpec;
use crate::port::CommitError;
use crate::shard::{ShardActor, ShardState, ShardStatus, StopShard};

/// Where a worker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thread {
    /// On a thread of its own.
    Own,
    /// On this one: the test driver has only one.
    This,
}

/// The last commit of a worker did not succeed: what it held will be processed again by whoever comes next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// How far its shards had come; nothing if it had ended before.
    pub shards: Vec<ShardStatus>,
}

/// A worker, for its node.
pub struct WorkerHandle {
    worker: Addr<WorkerActor>,
    thread: Option<Arbiter>,
}

impl WorkerHandle {
    /// Starts a worker of `parts`. `ended` hears why it could not commit any more, and that it has dropped its shards.
    pub fn start(parts: WorkerParts, thread: Thread, ended: oneshot::Sender<CommitError>) -> Self {
        match thread {
            Thread::This => Self {
                worker: WorkerActor::new(parts, ended).start(),
                thread: None,
            },
            Thread::Own => {
                let arbiter = Arbiter::new();
                let create = move |_: &mut Context<WorkerActor>| WorkerActor::new(parts, ended);
                Self {
                    worker: WorkerActor::start_in_arbiter(&arbiter.handle(), create),
                    thread: Some(arbiter),
                }
            }
        }
    }

    /// Makes a shard active on it. What becomes of that is in the reports.
    pub fn activate(&self, permit: Permit, group: Arc<GroupSpec>) {
        // The mailbox of the one sender that the node is has room; a worker that has ended has said so.
        if self.worker.try_send(Activate { permit, group }).is_err() {
            tracing::debug!("a shard was given to a worker that has ended");
        }
    }

    /// Lets it commit all that is finished. When this is done, every reader sees it. False if the worker has ended.
    pub fn settle(&self) -> impl Future<Output = bool> + use<> {
        let settled = self.worker.send(Settle);
        async move { settled.await.unwrap_or(false) }
    }

    /// Lets it finish what is in hand, commit that, and end.
    pub async fn stop(self) -> Result<(), Unfinished> {
        let stopped = self.worker.send(Stop).await;
        stopped.unwrap_or_else(|_| Err(Unfinished::default()))
    }
}

impl Drop for WorkerHandle {
    /// Ends the worker at once, and waits for its thread: nothing of it lives on when its node has ended.
    fn drop(&mut self) {
        if let Some(arbiter) = self.thread.take() {
            arbiter.stop();
            // An error is a panic of that thread, which has been printed.
            let _ = arbiter.join();
        }
    }
}

/// See the module.
struct WorkerActor {
    worker: Rc<Worker>,
    shards: BTreeMap<ShardId, Addr<ShardActor>>,
    /// Told why the worker has ended.
    ended: Option<oneshot::Sender<CommitError>>,
}

/// Make a shard active.
#[derive(Message)]
#[rtype(result = "()")]
struct Activate {
    permit: Permit,
    group: Arc<GroupSpec>,
}

/// Finish what is in hand, commit it, and end.
#[derive(Message)]
#[rtype(result = "Result<(), Unfinished>")]
struct Stop;

/// Commit all that is finished, so that every reader sees it.
#[derive(Message)]
#[rtype(result = "bool")]
struct Settle;

/// More shards than a node gives to one worker in one go: every one of them is a message.
const MAILBOX: usize = 1 << 16;

impl WorkerActor {
    fn new(parts: WorkerParts, ended: oneshot::Sender<CommitError>) -> Self {
        Self {
            worker: Worker::new(parts),
            shards: BTreeMap::new(),
            ended: Some(ended),
        }
    }
}

impl Actor for WorkerActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(MAILBOX);
        let run = self.worker.clone().run().into_actor(self);
        ctx.spawn(run.map(|error, actor, ctx| {
            actor.shards.clear();
            actor.worker.abandon();
            if let Some(ended) = actor.ended.take() {
                // The node may be gone.
                let _ = ended.send(error);
            }
            ctx.stop();
        }));
    }
}

impl Handler<Activate> for WorkerActor {
    type Result = ();

    fn handle(&mut self, activate: Activate, ctx: &mut Context<Self>) {
        let (worker, shard) = (self.worker.clone(), activate.permit.shard().clone());
        let activated = async move { worker.activate(activate.permit, activate.group).await };
        ctx.spawn(
            activated
                .into_actor(self)
                .map(move |activated, actor, _| match activated {
                    Ok(active) => {
                        actor.shards.insert(shard, ShardActor::new(active).start());
                    }
                    Err(error) => {
                        tracing::error!(%shard, "{error}");
                        let reason = error.to_string();
                        actor.worker.report(ShardStatus {
                            shard,
                            state: ShardState::Broken { reason },
                            inputs: BTreeMap::new(),
                            records: 0,
                        });
                    }
                }),
        );
    }
}

impl Handler<Settle> for WorkerActor {
    type Result = ResponseFuture<bool>;

    fn handle(&mut self, _: Settle, _: &mut Context<Self>) -> ResponseFuture<bool> {
        let worker = self.worker.clone();
        Box::pin(async move { worker.settle().await })
    }
}

impl Handler<Stop> for WorkerActor {
    type Result = ResponseFuture<Result<(), Unfinished>>;

    fn handle(&mut self, _: Stop, _: &mut Context<Self>) -> Self::Result {
        let stopping: Vec<_> = self
            .shards
            .values()
            .map(|shard| shard.send(StopShard))
            .collect();
        let worker = self.worker.clone();
        Box::pin(async move {
            for stopped in stopping {
                // An error means that the shard is gone already.
                let _ = stopped.await;
            }
            let shards = worker.statuses();
            match worker.flush().await {
                true => Ok(()),
                false => Err(Unfinished { shards }),
            }
        })
    }
}
