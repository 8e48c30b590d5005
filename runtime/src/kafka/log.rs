//! [`KafkaLog`]: a worker's log. And how it is made ready before the worker gets it.

use std::cell::RefCell;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::Producer as _;
use tanist_actors::port::{
    BrokerError, Commit, CommitError, LocalPortFuture, Log, LogBuilder, LogError, Source,
    TopicPartition,
};
use tanist_cluster::{Offset, TransactionalId};
use tokio::sync::Notify;

use super::Shared;
use super::consumer::Consumer;
use super::error::{Failure, refused};
use super::group::Groups;
use super::link::connect;
use super::outgoing::Topics;
use super::publisher::{Answer, NO_ANSWER, Publisher};
use super::raw::Producer;
use super::transaction::Transactions;

/// How long one try to initialise a producer may take.
const INIT_LIMIT: Duration = Duration::from_secs(10);

/// A log on its way to its worker.
pub(super) struct Prepared {
    shared: Arc<Shared>,
    consumer: Arc<Consumer>,
    transactions: Transactions,
}

impl Prepared {
    /// Makes consumer and transaction thread ready, under `id`, which is fenced for it.
    pub(super) async fn new(
        shared: &Arc<Shared>,
        id: &TransactionalId,
    ) -> Result<Self, BrokerError> {
        let producer = Arc::new(producer(shared, id)?);
        let consumer = shared.consumer("worker")?;
        let (producing, consuming) = (producer.clone(), consumer.clone());
        tokio::try_join!(
            // Rolls back what a predecessor left open, which `init_transactions` would wait half a second for.
            shared.fence(vec![id.clone()]),
            shared.ask("connect a producer", move |_| connect(
                producing.client().client()
            )),
            shared.ask("connect a consumer", move |_| connect(consuming.client())),
        )?;
        let initialised = producer.clone();
        let initialise = move |_: &Shared| initialised.client().init_transactions(INIT_LIMIT);
        shared.ask("initialise a producer", initialise).await?;
        let groups = Groups::new(&shared.settings, &consumer);
        let limit = shared.settings.commit_timeout;
        let transactions = Transactions::start(producer, groups, limit)
            .map_err(|error| refused("start a thread", error))?;
        Ok(Self {
            shared: shared.clone(),
            consumer,
            transactions,
        })
    }
}

/// Fences `ids` where brokers are not to be spoken to in the clear, and only librdkafka knows how to log in. Slower, see
/// [`super::fence`].
pub(super) fn fence_by_producers(shared: &Shared, ids: &[TransactionalId]) -> Result<(), Failure> {
    tracing::info!(
        "fencing by librdkafka, which takes up to a second: the broker asks for TLS or SASL"
    );
    let take_over = |id| {
        let producer =
            producer(shared, id).map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
        connect(producer.client().client())?;
        producer.client().init_transactions(INIT_LIMIT)
    };
    thread::scope(|scope| {
        let all: Vec<_> = ids
            .iter()
            .map(|id| scope.spawn(move || take_over(id)))
            .collect();
        all.into_iter()
            .try_for_each(|thread| thread.join().unwrap_or(Err(KafkaError::Canceled)))
    })
    .map_err(Failure::from)
}

fn producer(shared: &Shared, id: &TransactionalId) -> Result<Producer, BrokerError> {
    shared.producer("transactions", &shared.settings.transactional(id.as_str()))
}

impl LogBuilder for Prepared {
    fn build(self: Box<Self>) -> Box<dyn Log> {
        Box::new(KafkaLog {
            shared: self.shared,
            consumer: self.consumer,
            transactions: self.transactions,
            outbox: RefCell::default(),
        })
    }
}

/// The log of one worker.
struct KafkaLog {
    shared: Arc<Shared>,
    consumer: Arc<Consumer>,
    transactions: Transactions,
    /// The publisher that was used last, and the handles that it gave.
    outbox: RefCell<Option<(Arc<Publisher>, Topics)>>,
}

impl KafkaLog {
    fn send(&self, outputs: &Commit) -> Result<KafkaResult<Answer>, BrokerError> {
        let publisher = self.shared.publisher()?;
        let mut outbox = self.outbox.borrow_mut();
        let (publisher, topics) = match &mut *outbox {
            Some((last, topics)) if Arc::ptr_eq(last, &publisher) => (last, topics),
            slot => {
                let (publisher, topics) = slot.insert((publisher, Topics::default()));
                (publisher, topics)
            }
        };
        Ok(publisher.publish(topics, outputs))
    }
}

impl Log for KafkaLog {
    fn open(
        &self,
        partition: &TopicPartition,
        from: Offset,
        ready: Arc<Notify>,
    ) -> Result<Box<dyn Source>, LogError> {
        Ok(Box::new(self.consumer.open(partition, from, ready)?))
    }

    fn commit(&self, commit: Commit) -> LocalPortFuture<'static, Result<Commit, CommitError>> {
        self.transactions.commit(commit)
    }

    fn publish(&self, outputs: Commit) -> LocalPortFuture<'static, Result<Commit, CommitError>> {
        let sent = self.send(&outputs);
        Box::pin(async move {
            let answer = sent.map_err(|error| CommitError::Aborted(error.to_string()))?;
            let unknown = |error: KafkaError| CommitError::Unknown(error.to_string());
            let answer = answer.map_err(unknown)?;
            answer.await.unwrap_or(Err(NO_ANSWER)).map_err(unknown)?;
            Ok(outputs)
        })
    }
}
