//! [`Broker`] for [`Kafka`]: what the node asks and has done.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset as Position, TopicPartitionList};
use tanist_actors::port::{
    Broker, BrokerError, CommittedOffset, LogBuilder, LogError, PortFuture, Source, TopicInfo,
    TopicPartition, TopicSpec,
};
use tanist_cluster::{Offset, Partition, TransactionalId};
use tokio::sync::Notify;

use super::clock::Deadline;
use super::context::Context;
use super::error::{Failure, Remedy, is_transient, refused};
use super::fence;
use super::log::{self, Prepared};
use super::publisher::NO_ANSWER;
use super::{Kafka, Shared};

/// How long one try may take. The whole call goes on trying, see `KafkaSettings::broker_timeout`.
const ATTEMPT: Duration = Duration::from_secs(5);
/// Between two tries: at first, and at most.
const PAUSES: Range<Duration> = Duration::from_millis(50)..Duration::from_secs(2);

impl Shared {
    /// Makes a blocking call, off this thread, until a broker answers or the limit is reached.
    pub(super) async fn ask<T, E>(
        self: &Arc<Self>,
        what: &str,
        call: impl Fn(&Self) -> Result<T, E> + Send + Sync + 'static,
    ) -> Result<T, BrokerError>
    where
        T: Send + 'static,
        E: Into<Failure>,
    {
        let call = Arc::new(call);
        self.keep_trying(what, || {
            let (shared, call) = (self.clone(), call.clone());
            let running =
                tokio::task::spawn_blocking(move || call(&shared).map_err(Into::<Failure>::into));
            async {
                running
                    .await
                    .unwrap_or_else(|_| Err(KafkaError::Canceled.into()))
            }
        })
        .await
    }

    /// Waits in between, longer and longer.
    async fn keep_trying<T, F>(
        &self,
        what: &str,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, BrokerError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let deadline = self.settings.broker_timeout.map(Deadline::after);
        let mut pause = PAUSES.start;
        loop {
            let failure = match attempt().await {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            let trouble = self.link.trouble();
            if trouble.refused {
                return Err(refused(what, trouble.reason));
            }
            // What broke the connection says more than that the call ran out of time.
            let reason = match failure.remedy {
                Remedy::None => return Err(refused(what, failure.reason)),
                Remedy::Contact if !trouble.reason.is_empty() => trouble.reason,
                Remedy::Contact | Remedy::Time => failure.reason,
            };
            tracing::debug!(reason, "could not {what} yet");
            if deadline.is_some_and(Deadline::has_passed) {
                let address = self.link.brokers().to_owned();
                return Err(BrokerError::Unreachable { address, reason });
            }
            if failure.remedy == Remedy::Contact {
                self.link.waits(what);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.end);
        }
    }

    /// Fences the producers of `ids`.
    pub(super) async fn fence(
        self: &Arc<Self>,
        ids: Vec<TransactionalId>,
    ) -> Result<(), BrokerError> {
        self.ask("fence producers", move |shared| {
            let settings = &shared.settings;
            if !settings.is_plaintext() {
                return log::fence_by_producers(shared, &ids);
            }
            let deadline = Deadline::after(ATTEMPT);
            fence::fence(
                &settings.brokers,
                &ids,
                settings.transaction_timeout,
                deadline,
            )
            .map_err(Failure::from)
        })
        .await
    }

    async fn create(&self, topics: &[TopicSpec]) -> Result<(), Failure> {
        let admin: AdminClient<Context> = self
            .settings
            .admin(&self.settings.group)
            .create_with_context(Context::new("topics", self.link.clone()))?;
        let new: Vec<NewTopic<'_>> = topics.iter().map(new_topic).collect();
        // The broker waits for as long until all of them have a leader that everybody knows.
        let options = AdminOptions::new()
            .request_timeout(Some(ATTEMPT))
            .operation_timeout(Some(ATTEMPT));
        let all_created = admin.create_topics(&new, &options).await;
        // It ends within a tenth of a second, for which nobody has to wait.
        tokio::task::spawn_blocking(move || drop(admin));
        for created in all_created? {
            match created {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((topic, code)) => {
                    let failure = Failure::from(KafkaError::Global(code));
                    let reason = format!("{topic}: {}", failure.reason);
                    return Err(Failure { reason, ..failure });
                }
            }
        }
        Ok(())
    }
}

fn new_topic(spec: &TopicSpec) -> NewTopic<'_> {
    let replicas = TopicReplication::Fixed(spec.replicas.unwrap_or(BROKERS_DEFAULT));
    let topic = NewTopic::new(&spec.name, spec.partitions, replicas);
    spec.config
        .iter()
        .fold(topic, |topic, (name, value)| topic.set(name, value))
}

/// As a number of replicas.
const BROKERS_DEFAULT: i32 = -1;

/// Those of `names` that exist and have a leader in each partition.
pub(super) fn topics_of(client: &BaseConsumer<Context>, names: &[Arc<str>]) -> KafkaResult<Topics> {
    let mut topics = Topics::new();
    for name in names {
        let metadata = client.fetch_metadata(Some(name), ATTEMPT)?;
        for topic in metadata.topics() {
            let error = topic.error().map(RDKafkaErrorCode::from);
            let leaderless = topic
                .partitions()
                .iter()
                .any(|partition| partition.leader() < 0);
            match error {
                Some(RDKafkaErrorCode::UnknownTopicOrPartition) => {}
                Some(code) => return Err(KafkaError::MetadataFetch(code)),
                None if leaderless => {
                    return Err(KafkaError::MetadataFetch(
                        RDKafkaErrorCode::LeaderNotAvailable,
                    ));
                }
                None => {
                    let partitions = topic.partitions().len() as i32;
                    topics.insert(name.clone(), TopicInfo { partitions });
                }
            }
        }
    }
    Ok(topics)
}

pub(super) type Topics = BTreeMap<Arc<str>, TopicInfo>;

/// The offset that each partition has at `position`, which is its beginning or its end: a look-up by time, for which
/// Kafka gives the two a number each. At read_committed, which is the client's level, the end is the last stable offset.
fn offsets_at(
    client: &BaseConsumer<Context>,
    partitions: &[TopicPartition],
    position: Position,
) -> KafkaResult<Vec<Offset>> {
    let list = client.offsets_for_times(list_of(partitions, position)?, ATTEMPT)?;
    partitions
        .iter()
        .map(|partition| {
            let found = list.find_partition(&partition.topic, partition.partition.0);
            let found = found.ok_or(KafkaError::OffsetFetch(RDKafkaErrorCode::UnknownPartition))?;
            found.error()?;
            match found.offset() {
                Position::Offset(offset) => Ok(Offset(offset)),
                _ => Err(KafkaError::OffsetFetch(
                    RDKafkaErrorCode::LeaderNotAvailable,
                )),
            }
        })
        .collect()
}

fn list_of(partitions: &[TopicPartition], position: Position) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        list.add_partition_offset(&partition.topic, partition.partition.0, position)?;
    }
    Ok(list)
}

type Committed = BTreeMap<TopicPartition, CommittedOffset>;

fn committed_of(
    client: &BaseConsumer<Context>,
    partitions: &[TopicPartition],
) -> KafkaResult<Committed> {
    let list = client.committed_offsets(list_of(partitions, Position::Invalid)?, ATTEMPT)?;
    let mut committed = Committed::new();
    for element in list.elements() {
        element.error()?;
        if let Position::Offset(offset) = element.offset() {
            let partition = TopicPartition::new(element.topic(), Partition(element.partition()));
            let offset = CommittedOffset {
                offset: Offset(offset),
                metadata: element.metadata().to_owned(),
            };
            committed.insert(partition, offset);
        }
    }
    Ok(committed)
}

impl Broker for Kafka {
    fn topics<'a>(&'a self, names: &'a [Arc<str>]) -> PortFuture<'a, Result<Topics, BrokerError>> {
        let names = names.to_vec();
        let topics = move |shared: &Shared| topics_of(&shared.admin, &names);
        Box::pin(self.shared.ask("look up topics", topics))
    }

    fn create_topics<'a>(
        &'a self,
        topics: &'a [TopicSpec],
    ) -> PortFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            if topics.is_empty() {
                return Ok(());
            }
            let create = || self.shared.create(topics);
            self.shared.keep_trying("create topics", create).await?;
            // Other brokers, and our own clients, may hear of them a little later.
            let names: Vec<Arc<str>> = topics.iter().map(|topic| topic.name.clone()).collect();
            let all_there = move |shared: &Shared| match topics_of(&shared.admin, &names)?.len() {
                found if found == names.len() => Ok(()),
                _ => Err(KafkaError::MetadataFetch(
                    RDKafkaErrorCode::LeaderNotAvailable,
                )),
            };
            self.shared.ask("see the new topics", all_there).await
        })
    }

    fn offsets<'a>(
        &'a self,
        partitions: &'a [TopicPartition],
    ) -> PortFuture<'a, Result<BTreeMap<TopicPartition, Range<Offset>>, BrokerError>> {
        let partitions = partitions.to_vec();
        Box::pin(self.shared.ask("look up offsets", move |shared| {
            if partitions.is_empty() {
                return Ok(BTreeMap::new());
            }
            let first = offsets_at(&shared.admin, &partitions, Position::Beginning)?;
            let end = offsets_at(&shared.admin, &partitions, Position::End)?;
            let ranges = first.into_iter().zip(end).map(|(first, end)| first..end);
            KafkaResult::Ok(partitions.iter().cloned().zip(ranges).collect())
        }))
    }

    fn committed<'a>(
        &'a self,
        group: &'a str,
        partitions: &'a [TopicPartition],
    ) -> PortFuture<'a, Result<Committed, BrokerError>> {
        let (group, partitions) = (group.to_owned(), partitions.to_vec());
        Box::pin(self.shared.ask("look up committed offsets", move |shared| {
            if partitions.is_empty() {
                return Ok(Committed::new());
            }
            if group == shared.settings.group {
                return committed_of(&shared.admin, &partitions);
            }
            let context = Context::new("group", shared.link.clone());
            let client = shared.settings.admin(&group).create_with_context(context)?;
            committed_of(&client, &partitions)
        }))
    }

    fn fence<'a>(&'a self, ids: &'a [TransactionalId]) -> PortFuture<'a, Result<(), BrokerError>> {
        Box::pin(self.shared.fence(ids.to_vec()))
    }

    fn append<'a>(
        &'a self,
        partition: &'a TopicPartition,
        key: &'a [u8],
        value: Option<&'a [u8]>,
    ) -> PortFuture<'a, Result<Offset, BrokerError>> {
        Box::pin(async move {
            // Tried once, by us and by the client: what was sent may be there even if nobody said so.
            let refused = |error: KafkaError| refused("append to the log", error);
            let answer = self
                .shared
                .appender()?
                .append(partition, key, value)
                .map_err(refused)?;
            match answer.await.unwrap_or(Err(NO_ANSWER)) {
                Ok(offset) => Ok(Offset(offset)),
                Err(error) if is_transient(&error) => Err(BrokerError::Unreachable {
                    address: self.shared.link.brokers().to_owned(),
                    reason: format!("{error}; the record may be in the log nevertheless"),
                }),
                Err(error) => Err(refused(error)),
            }
        })
    }

    fn open(
        &self,
        partition: &TopicPartition,
        from: Offset,
        ready: Arc<Notify>,
    ) -> Result<Box<dyn Source + Send>, LogError> {
        let consumer = self
            .shared
            .own_consumer()
            .map_err(|error| LogError::Broken {
                partition: partition.clone(),
                reason: error.to_string(),
            })?;
        Ok(Box::new(consumer.open(partition, from, ready)?))
    }

    fn log(
        &self,
        id: &TransactionalId,
    ) -> PortFuture<'_, Result<Box<dyn LogBuilder>, BrokerError>> {
        let id = id.clone();
        Box::pin(async move {
            let prepared = Prepared::new(&self.shared, &id).await?;
            Ok(Box::new(prepared) as Box<dyn LogBuilder>)
        })
    }
}
