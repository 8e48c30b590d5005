//! [`KafkaLog`]: a worker's log. And how it is made ready before the worker gets it.

use std::cell::RefCell;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rdkafka::consumer::BaseConsumer;
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
use super::context::Context;
use super::error::{Failure, refused};
use super::group::Groups;
use super::link::connect;
use super::outgoing::Topics;
use super::publisher::{Answer, Publisher, no_answer};
use super::raw::{KnownTopic, Producer, Topic};
use super::transaction::Transactions;

/// A log on its way to its worker.
pub(super) struct Prepared {
    shared: Arc<Shared>,
    consumer: Arc<Consumer>,
    producer: Arc<Producer>,
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
            shared.ask("connect a producer", move |_, limit| {
                connect(producing.client().client(), limit)
            }),
            shared.ask("connect a consumer", move |_, limit| {
                connect(consuming.client(), limit)
            }),
        )?;
        let initialised = producer.clone();
        let initialise = move |_: &Shared, limit| initialised.client().init_transactions(limit);
        shared.ask("initialise a producer", initialise).await?;
        let groups = Groups::new(&shared.settings, &consumer);
        let limit = shared.settings.commit_timeout;
        let transactions = Transactions::start(producer.clone(), groups, limit)
            .map_err(|error| refused("start a thread", error))?;
        Ok(Self {
            shared: shared.clone(),
            consumer,
            producer,
            transactions,
        })
    }
}

/// Fences `ids` where only librdkafka knows how to log in. Slower, see [`super::fence`].
pub(super) fn fence_by_producers(
    shared: &Shared,
    ids: &[TransactionalId],
    limit: Duration,
) -> Result<(), Failure> {
    tracing::info!(
        "fencing by librdkafka, which takes up to a second: the settings secure connections in a way of which no more than \
         TLS by PEM files and the mechanism PLAIN are known elsewhere"
    );
    let take_over = |id| {
        let producer =
            producer(shared, id).map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
        connect(producer.client().client(), limit)?;
        producer.client().init_transactions(limit)
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
            producer: self.producer,
            known: RefCell::default(),
            transactions: self.transactions,
            outbox: RefCell::default(),
        })
    }
}

/// The log of one worker.
struct KafkaLog {
    shared: Arc<Shared>,
    consumer: Arc<Consumer>,
    producer: Arc<Producer>,
    /// Of the topics that the worker may need.
    known: RefCell<Vec<(KnownTopic<BaseConsumer<Context>>, Topic)>>,
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
    fn prepare(&self, topics: &[Arc<str>]) {
        let mut known = self.known.borrow_mut();
        for topic in topics {
            let read = self.consumer.know(topic);
            let written = self.producer.topic(topic);
            match (read, written) {
                (Ok(read), Ok(written)) => known.push((read, written)),
                // It is only slower then.
                (Err(error), _) | (_, Err(error)) => {
                    tracing::debug!(%topic, %error, "cannot be known before");
                }
            }
        }
    }

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
            match answer.await.unwrap_or_else(|_| Err(no_answer())) {
                Ok(_) => Ok(outputs),
                Err(failures) => {
                    let error = failures.error();
                    let refused = failures.refused(&outputs, error.to_string());
                    Err(refused.unwrap_or_else(|| unknown(error)))
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::{Kafka, KafkaSettings};
    use tanist_actors::port::{Broker, CommitRecord, TopicId};
    use tanist_broker::{Config, EmbeddedBroker};
    use tanist_cluster::{MemberId, Partition, WorkerIndex};

    #[tokio::test]
    async fn where_only_librdkafka_can_log_in_it_fences_too() {
        let broker = EmbeddedBroker::start(Config::default()).unwrap();
        let settings = KafkaSettings::new(broker.address().to_string(), "app");
        let kafka = Kafka::new(settings).unwrap();
        let ids = [0, 1].map(|worker| TransactionalId::of("app", MemberId(0), WorkerIndex(worker)));
        let zombie = kafka.log(&ids[0]).await.unwrap().build();
        let shared = kafka.shared.clone();
        let fence = move || fence_by_producers(&shared, &ids, Duration::from_secs(20)).is_ok();
        assert!(tokio::task::spawn_blocking(fence).await.unwrap());
        let commit = Commit {
            topics: Arc::from([Arc::from("output")]),
            records: vec![CommitRecord {
                topic: TopicId(0),
                partition: Partition(0),
                key: None,
                value: None,
                timestamp: None,
                headers: None,
            }],
            bytes: Vec::new(),
            group: "app".into(),
            offsets: Vec::new(),
            states: Vec::new(),
        };
        let error = zombie.commit(commit).await.err();
        assert!(matches!(error, Some(CommitError::Fenced(_))), "{error:?}");
    }
}
