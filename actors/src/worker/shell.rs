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

/// See the module.
pub struct WorkerActor {
    worker: Rc<Worker>,
    shards: BTreeMap<ShardId, Addr<ShardActor>>,
    /// Told why the worker has ended.
    ended: Option<oneshot::Sender<CommitError>>,
}

/// Make a shard active.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Activate {
    /// The proof that it may be.
    pub permit: Permit,
    /// What it runs.
    pub group: Arc<GroupSpec>,
}

/// Finish what is in hand, commit it, and end. The answer is false if the last commit did not succeed.
#[derive(Message)]
#[rtype(result = "bool")]
pub struct Stop;

impl WorkerActor {
    /// A worker of `parts`; `ended` hears why it could not commit any more.
    pub fn new(parts: WorkerParts, ended: oneshot::Sender<CommitError>) -> Self {
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

impl Handler<Stop> for WorkerActor {
    type Result = ResponseFuture<bool>;

    fn handle(&mut self, _: Stop, _: &mut Context<Self>) -> ResponseFuture<bool> {
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
            worker.flush().await
        })
    }
}
