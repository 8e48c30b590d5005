//! [`TestNode`]: a node of a test, as a set of tasks that can be left alone or dropped at any await, and its disk.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;

use tanist_actors::port::MemoryStores;
use tanist_cluster::{MemberId, NodeName};
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::sync::watch;
use tokio::task::LocalSet;

use crate::memory::{Process, ProcessStores};
use crate::node::{Board, Node, NodeError, NodeExit, NodeParts, OpenStores, Wish};

/// A node, whether it runs or not.
pub(crate) struct TestNode {
    pub(crate) name: NodeName,
    /// How far its clock is ahead of the broker's.
    pub(crate) clock_ahead_ms: i64,
    /// Whether others can see that its process is there, or have to judge by its heartbeats.
    pub(crate) is_linked: bool,
    pub(super) disk: Arc<MemoryStores>,
    /// What follows is of the last start.
    pub(crate) board: Arc<Board>,
    pub(crate) process: Arc<Process>,
    stores: Arc<OpenStores>,
    running: Option<Running>,
}

struct Running {
    tasks: LocalSet,
    wish: watch::Sender<Wish>,
    exit: oneshot::Receiver<Result<NodeExit, NodeError>>,
    ended: Option<Result<NodeExit, NodeError>>,
}

impl TestNode {
    /// One that has not started. `board`: that nobody has written to.
    pub(super) fn new(name: NodeName, board: Board) -> Self {
        let disk = Arc::<MemoryStores>::default();
        Self {
            name,
            clock_ahead_ms: 0,
            is_linked: true,
            stores: Arc::new(OpenStores::new(disk.clone())),
            disk,
            board: Arc::new(board),
            process: Arc::default(),
            running: None,
        }
    }

    /// The stores of a process of this node, which this is about to start as.
    pub(super) fn open_disk(&mut self, process: Arc<Process>) -> Arc<OpenStores> {
        let stores = ProcessStores {
            stores: self.disk.clone(),
            process: process.clone(),
        };
        self.process = process;
        self.stores = Arc::new(OpenStores::new(Arc::new(stores)));
        self.stores.clone()
    }

    /// Runs `parts` from the next poll on.
    pub(super) fn start(&mut self, parts: NodeParts) {
        self.board = parts.board.clone();
        let (wish, wished) = watch::channel(Wish::Run);
        let (tell, exit) = oneshot::channel();
        let tasks = LocalSet::new();
        tasks.spawn_local(async move {
            let ended = match Node::open(parts).await {
                Ok(node) => node.run(wished).await,
                Err(error) => Err(error),
            };
            // The test may be over.
            let _ = tell.send(ended);
        });
        self.running = Some(Running {
            tasks,
            wish,
            exit,
            ended: None,
        });
    }

    /// Its turn. Whether it has ended in it.
    pub(super) fn poll(&mut self, task: &mut Context<'_>) -> bool {
        self.process.watch(task.waker());
        let lives = self.lives();
        let Some(running) = self.running.as_mut().filter(|_| lives) else {
            return false;
        };
        // That all its tasks are done does not end the test.
        let _ = Pin::new(&mut running.tasks).poll(task);
        running.ended = match running.exit.try_recv() {
            Ok(ended) => Some(ended),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Closed) => panic!("node {} has panicked, see above", self.name),
        };
        running.ended.is_some()
    }

    /// It has been started, and neither killed nor stopped since; it may have ended by itself, or be frozen.
    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// It goes on if it is polled.
    pub(crate) fn lives(&self) -> bool {
        let is_there = self.is_running() && self.ended().is_none();
        is_there && !self.process.is_frozen() && !self.process.is_dead()
    }

    /// How it ended by itself.
    pub(crate) fn ended(&self) -> Option<&Result<NodeExit, NodeError>> {
        self.running.as_ref()?.ended.as_ref()
    }

    /// Which member it is, if it lives.
    pub(crate) fn member(&self) -> Option<MemberId> {
        self.board.member().filter(|_| self.lives())
    }

    pub(super) fn wish(&self, wish: Wish) {
        if let Some(running) = &self.running {
            running.wish.send_replace(wish);
        }
    }

    /// It was told to stop, and has not ended.
    pub(crate) fn is_stopping(&self) -> bool {
        let running = self.running.as_ref().filter(|_| self.lives());
        running.is_some_and(|running| *running.wish.borrow() == Wish::Stop)
    }

    /// The process is no more. How it had ended, if it had.
    pub(super) fn end(&mut self) -> Option<Result<NodeExit, NodeError>> {
        self.process.die();
        self.running.take()?.ended
    }

    /// What is open on this node, whatever its role.
    pub(crate) fn stores(&self) -> &OpenStores {
        &self.stores
    }
}
