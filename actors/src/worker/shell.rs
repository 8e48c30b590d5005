//! [`WorkerActor`]: the worker as an actor: activates shards, stops them, and tells its node when it can commit no more.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actix::prelude::*;
use tanist_cluster::ShardId;
use tanist_cluster::view::View;
use tokio::sync::oneshot;

use super::hand::Hand;
use super::replicas::Replicas;
use super::{Worker, WorkerParts};
use crate::port::CommitError;
use crate::shard::ShardStatus;

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
    /// How often it was asked whether its thread goes on, and how often it has answered.
    asked: u64,
    answered: Arc<AtomicU64>,
    hand: Arc<Hand>,
}

impl WorkerHandle {
    /// Starts a worker of `parts`. `ended` hears why it could not commit any more, and that it has dropped its shards.
    pub fn start(parts: WorkerParts, thread: Thread, ended: oneshot::Sender<CommitError>) -> Self {
        let hand: Arc<Hand> = Arc::default();
        let its = hand.clone();
        let (worker, thread) = match thread {
            Thread::This => (WorkerActor::new(parts, its, ended).start(), None),
            Thread::Own => {
                let arbiter = Arbiter::new();
                let create =
                    move |_: &mut Context<WorkerActor>| WorkerActor::new(parts, its, ended);
                let worker = WorkerActor::start_in_arbiter(&arbiter.handle(), create);
                (worker, Some(arbiter))
            }
        };
        Self {
            worker,
            thread,
            asked: 0,
            answered: Arc::default(),
            hand,
        }
    }

    /// The control log was read further, to `view`. `mine` are the shards whose replicas are on this worker; a replica whose
    /// shard is not among them any more ends, and says so by [`Reports::gone`]. What the worker has to do, it finds out by
    /// itself; what becomes of that is in the reports.
    ///
    /// [`Reports::gone`]: super::Reports::gone
    pub fn follow(&self, view: Arc<View>, mine: Arc<BTreeSet<ShardId>>) {
        // The mailbox of the one sender that the node is has room; a worker that has ended has said so.
        if self.worker.try_send(Follow { view, mine }).is_err() {
            tracing::debug!("a view was given to a worker that has ended");
        }
    }

    /// Whether its thread has answered since this was asked the last time; a handler that blocks it keeps it from that.
    pub fn answers(&mut self) -> bool {
        if self.thread.is_none() || self.answered.load(Ordering::Relaxed) < self.asked {
            return self.thread.is_none();
        }
        let answered = self.answered.clone();
        if self.worker.try_send(Ping { answered }).is_ok() {
            self.asked += 1;
        }
        true
    }

    /// Which handler its thread is in, while it does not answer.
    pub fn in_hand(&self) -> Option<String> {
        self.hand.tell()
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
        // One that has ended takes no message.
        let _ = self.worker.try_send(End);
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
    replicas: Rc<Replicas>,
    /// Told why the worker has ended.
    ended: Option<oneshot::Sender<CommitError>>,
}

/// The control log was read further.
#[derive(Message)]
#[rtype(result = "()")]
struct Follow {
    view: Arc<View>,
    mine: Arc<BTreeSet<ShardId>>,
}

/// Say that its thread goes on.
#[derive(Message)]
#[rtype(result = "()")]
struct Ping {
    answered: Arc<AtomicU64>,
}

/// Finish what is in hand, commit it, and end.
#[derive(Message)]
#[rtype(result = "Result<(), Unfinished>")]
struct Stop;

/// End at once, without a commit.
#[derive(Message)]
#[rtype(result = "()")]
struct End;

/// Commit all that is finished, so that every reader sees it.
#[derive(Message)]
#[rtype(result = "bool")]
struct Settle;

/// More views than a node has while a worker is busy: with so many, it does not live any more.
const MAILBOX: usize = 1 << 16;

impl WorkerActor {
    fn new(parts: WorkerParts, hand: Arc<Hand>, ended: oneshot::Sender<CommitError>) -> Self {
        let worker = Worker::new(parts, hand);
        Self {
            replicas: Replicas::new(worker.clone()),
            worker,
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
            actor.worker.end();
            actor.replicas.end();
            if let Some(ended) = actor.ended.take() {
                // The node may be gone.
                let _ = ended.send(error);
            }
            ctx.stop();
        }));
    }
}

impl Handler<Follow> for WorkerActor {
    type Result = ();

    fn handle(&mut self, Follow { view, mine }: Follow, _: &mut Context<Self>) {
        self.replicas.follow(view, &mine);
    }
}

impl Handler<Ping> for WorkerActor {
    type Result = ();

    fn handle(&mut self, Ping { answered }: Ping, _: &mut Context<Self>) {
        answered.fetch_add(1, Ordering::Relaxed);
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
        let stopping = self.replicas.stop();
        let worker = self.worker.clone();
        Box::pin(async move {
            for stopped in stopping {
                stopped.await;
            }
            let shards = worker.statuses();
            match worker.flush().await {
                true => Ok(()),
                false => Err(Unfinished { shards }),
            }
        })
    }
}

impl Handler<End> for WorkerActor {
    type Result = ();

    fn handle(&mut self, _: End, ctx: &mut Context<Self>) {
        ctx.terminate();
    }
}
