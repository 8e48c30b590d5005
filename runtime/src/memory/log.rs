//! [`MemoryLog`]: a worker's access to the log.

use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tanist_actors::port::{
    Commit, CommitError, LocalPortFuture, Log, LogBuilder, LogError, Source, TopicPartition,
};
use tanist_cluster::Offset;
use tokio::sync::Notify;

use super::MemoryBroker;
use super::batches::batches_of;
use super::producer::Plain;
use super::transaction::Transactions;

/// A [`MemoryLog`] before it belongs to a worker.
pub(super) struct MemoryLogBuilder {
    pub(super) broker: MemoryBroker,
    pub(super) transactions: Transactions,
}

impl LogBuilder for MemoryLogBuilder {
    fn build(self: Box<Self>) -> Box<dyn Log> {
        Box::new(MemoryLog {
            broker: self.broker,
            transactions: Arc::new(Mutex::new(Ok(self.transactions))),
            plain: Rc::default(),
        })
    }
}

type State = Result<Transactions, CommitError>;

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A worker's access to the log.
struct MemoryLog {
    broker: MemoryBroker,
    /// Or why this log is done with.
    transactions: Arc<Mutex<State>>,
    plain: Rc<Plain>,
}

impl Log for MemoryLog {
    fn open(
        &self,
        partition: &TopicPartition,
        from: Offset,
        ready: Arc<Notify>,
    ) -> Result<Box<dyn Source>, LogError> {
        Ok(Box::new(self.broker.source(partition, from, ready)))
    }

    fn commit(&self, mut commit: Commit) -> LocalPortFuture<'static, Result<Commit, CommitError>> {
        let state = Arc::clone(&self.transactions);
        // As by a Kafka client: it goes on when nobody waits for it any more, for as long as the process lives.
        let commit = tokio::spawn(async move {
            let taken = std::mem::replace(&mut *lock(&state), Err(given_up()));
            let mut transactions = taken.inspect_err(|error| *lock(&state) = Err(error.clone()))?;
            let outcome = transactions.carry_out(&commit).await;
            *lock(&state) = match &outcome {
                Ok(_) if transactions.is_doubted() => Err(given_up()),
                Ok(_) => Ok(transactions),
                Err(error) => Err(error.clone()),
            };
            let offsets = outcome?;
            commit.apply(|index| offsets[index]);
            Ok(commit)
        });
        Box::pin(async move {
            match commit.await {
                Ok(outcome) => outcome,
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            }
        })
    }

    fn publish(&self, outputs: Commit) -> LocalPortFuture<'static, Result<Commit, CommitError>> {
        let plain = Rc::clone(&self.plain);
        let wire = self.broker.wire.clone();
        Box::pin(async move {
            // Nothing is rolled back here: what was sent before the failure stays.
            plain
                .send(&wire, &batches_of(&outputs, wire.now()))
                .await
                .map_err(|not_sent| {
                    let unknown = || CommitError::Unknown(not_sent.refusal.to_string());
                    not_sent.refused(&outputs).unwrap_or_else(unknown)
                })?;
            Ok(outputs)
        })
    }
}

/// What a commit is told that follows one that was dropped, or left a doubt.
fn given_up() -> CommitError {
    let reason =
        "the producer was given up, for a request of its last transaction was not answered";
    CommitError::Aborted(reason.to_owned())
}
