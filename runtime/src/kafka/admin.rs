//! [`Broker`] for [`Kafka`]: what the node asks and has done.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, OwnedResourceSpecifier, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset as Position, TopicPartitionList};
use tanist_actors::port::{
    Broker, BrokerError, CommittedOffset, LogBuilder, LogError, PortFuture, Source, TopicInfo,
    TopicPartition, TopicSettings, TopicSpec, TopicUuid,
};
use tanist_cluster::{Offset, Partition, TransactionalId};
use tokio::sync::Notify;

use super::clock::Deadline;
use super::context::Context;
use super::error::{Failure, Remedy, is_transient, refused};
use super::fence;
use super::log::{self, Prepared};
use super::publisher::no_answer;
use super::security::Security;
use super::{Kafka, Shared, raw};

impl Shared {
    /// Fences the producers of `ids`.
    pub(super) async fn fence(
        self: &Arc<Self>,
        ids: Vec<TransactionalId>,
    ) -> Result<(), BrokerError> {
        self.ask("fence producers", move |shared, limit| {
            let settings = &shared.settings;
            let Some(security) = Security::of(&settings.properties) else {
                return log::fence_by_producers(shared, &ids, limit);
            };
            let deadline = Deadline::after(limit);
            fence::fence(
                &settings.brokers,
                &security,
                &ids,
                settings.transaction_timeout,
                deadline,
            )
            .map_err(Failure::from)
        })
        .await
    }

    fn admin_client(&self) -> KafkaResult<AdminClient<Context>> {
        let context = Context::new("topics", self.link.clone());
        let config = self.settings.admin(&self.settings.group);
        config.create_with_context(context)
    }

    async fn create(&self, topics: &[TopicSpec], limit: Duration) -> Result<(), Failure> {
        let admin = self.admin_client()?;
        let new: Vec<NewTopic<'_>> = topics.iter().map(new_topic).collect();
        // The broker waits for as long until all of them have a leader that everybody knows.
        let options = AdminOptions::new()
            .request_timeout(Some(limit))
            .operation_timeout(Some(limit));
        let all_created = admin.create_topics(&new, &options).await;
        end(admin);
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

    async fn settings_of(
        &self,
        names: &[Arc<str>],
        limit: Duration,
    ) -> Result<BTreeMap<Arc<str>, TopicSettings>, Failure> {
        let admin = self.admin_client()?;
        let topics: Vec<ResourceSpecifier<'_>> = names
            .iter()
            .map(|name| ResourceSpecifier::Topic(name))
            .collect();
        let options = AdminOptions::new().request_timeout(Some(limit));
        let answers = admin.describe_configs(&topics, &options).await;
        end(admin);
        let mut settings = BTreeMap::new();
        for answer in answers? {
            match answer {
                Ok(resource) => settings.extend(settings_in(resource)),
                Err(RDKafkaErrorCode::UnknownTopicOrPartition) => {}
                Err(RDKafkaErrorCode::TopicAuthorizationFailed) => tracing::warn!(
                    "Kafka does not tell this app the settings of all its topics, which are not checked then: allow it \
                     to `DescribeConfigs` them"
                ),
                Err(code) => return Err(KafkaError::Global(code).into()),
            }
        }
        Ok(settings)
    }
}

/// A client ends within a tenth of a second, for which nobody has to wait.
fn end(admin: AdminClient<Context>) {
    tokio::task::spawn_blocking(move || drop(admin));
}

/// The settings of a topic that a broker has told.
fn settings_in(resource: ConfigResource) -> Option<(Arc<str>, TopicSettings)> {
    let OwnedResourceSpecifier::Topic(name) = resource.specifier else {
        return None;
    };
    let entries = resource.entries.into_iter();
    let settings = entries.filter_map(|entry| Some((entry.name, entry.value?)));
    Some((name.into(), settings.collect()))
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

/// Those of `names` that exist.
fn describe(
    client: &BaseConsumer<Context>,
    names: &[Arc<str>],
    limit: Duration,
) -> KafkaResult<BTreeMap<Arc<str>, TopicInfo>> {
    let mut topics = BTreeMap::new();
    for (name, answer) in raw::topics::describe(client, names, limit)? {
        let topic = match answer {
            Err(RDKafkaErrorCode::UnknownTopicOrPartition) => continue,
            Err(code) => return Err(KafkaError::MetadataFetch(code)),
            Ok(topic) => topic,
        };
        let info = TopicInfo {
            partitions: topic.partitions,
            id: (!topic.id.is_empty()).then(|| TopicUuid(topic.id.into())),
        };
        topics.insert(name, info);
    }
    Ok(topics)
}

/// How many partitions each topic has.
pub(super) type Counts = BTreeMap<Arc<str>, i32>;

/// The same, so that `client` itself knows of them: how many partitions each has.
pub(super) fn heard_of(
    client: &BaseConsumer<Context>,
    names: &[Arc<str>],
    limit: Duration,
) -> KafkaResult<Counts> {
    let mut topics = BTreeMap::new();
    for name in names {
        let metadata = client.fetch_metadata(Some(name), limit)?;
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
                    topics.insert(name.clone(), partitions);
                }
            }
        }
    }
    Ok(topics)
}

/// The offset that each partition has at `position`, which is its beginning or its end: a look-up by time, for which
/// Kafka gives the two a number each. What the end is, the client's isolation level decides: the last stable offset or the
/// high watermark.
fn offsets_at(
    client: &BaseConsumer<Context>,
    partitions: &[TopicPartition],
    position: Position,
    limit: Duration,
) -> Result<Vec<Offset>, Failure> {
    let look = || look_up(client, partitions, position, limit).map_err(Failure::from);
    match look() {
        Err(failure) if failure.remedy != Remedy::None => {}
        found => return found,
    }
    // What this client knows of topics may be older than they are; and of those that it neither reads nor writes it believes
    // for a quarter of an hour that their leaders are where they were, whatever has become of these.
    let topics: BTreeSet<&Arc<str>> = partitions.iter().map(|it| &it.topic).collect();
    let topics: Vec<Arc<str>> = topics.into_iter().cloned().collect();
    let there = heard_of(client, &topics, limit)?;
    look().map_err(|failure| match missing(partitions, &there) {
        Some(reason) if failure.remedy == Remedy::News => Failure { reason, ..failure },
        _ => failure,
    })
}

/// Why one of them is not among those that are `there`, if one is not.
fn missing(partitions: &[TopicPartition], there: &Counts) -> Option<String> {
    partitions.iter().find_map(|partition| {
        let TopicPartition { topic, partition } = partition;
        match there.get(topic) {
            None => Some(format!("topic {topic} does not exist; was it deleted?")),
            Some(count) if partition.0 >= *count => Some(format!(
                "topic {topic} has no partition {partition}, but only {count}; was it made anew?"
            )),
            Some(_) => None,
        }
    })
}

fn look_up(
    client: &BaseConsumer<Context>,
    partitions: &[TopicPartition],
    position: Position,
    limit: Duration,
) -> KafkaResult<Vec<Offset>> {
    let list = client.offsets_for_times(list_of(partitions, position)?, limit)?;
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
    limit: Duration,
) -> KafkaResult<Committed> {
    let list = client.committed_offsets(list_of(partitions, Position::Invalid)?, limit)?;
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

/// A topic that a broker does not know may be on its way to it. Whether it was deleted, whoever reads it will hear.
fn may_be_taken_later(error: &KafkaError) -> bool {
    is_transient(error)
        || error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownTopicOrPartition)
}

impl Broker for Kafka {
    fn topics<'a>(
        &'a self,
        names: &'a [Arc<str>],
    ) -> PortFuture<'a, Result<BTreeMap<Arc<str>, TopicInfo>, BrokerError>> {
        let names = names.to_vec();
        let topics = move |shared: &Shared, limit| describe(&shared.admin, &names, limit);
        Box::pin(self.shared.ask("look up topics", topics))
    }

    fn topic_settings<'a>(
        &'a self,
        names: &'a [Arc<str>],
    ) -> PortFuture<'a, Result<BTreeMap<Arc<str>, TopicSettings>, BrokerError>> {
        Box::pin(async move {
            if names.is_empty() {
                return Ok(BTreeMap::new());
            }
            let look = |limit| self.shared.settings_of(names, limit);
            self.shared
                .keep_trying("look up the settings of topics", look)
                .await
        })
    }

    fn create_topics<'a>(
        &'a self,
        topics: &'a [TopicSpec],
    ) -> PortFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            if topics.is_empty() {
                return Ok(());
            }
            let create = |limit| self.shared.create(topics, limit);
            self.shared.keep_trying("create topics", create).await?;
            // Other brokers, and our own clients, may hear of them a little later.
            let names: Vec<Arc<str>> = topics.iter().map(|topic| topic.name.clone()).collect();
            let all_there = move |shared: &Shared, limit| {
                let found = heard_of(&shared.admin, &names, limit)?;
                if found.len() == names.len() {
                    return Ok(());
                }
                Err(KafkaError::MetadataFetch(
                    RDKafkaErrorCode::LeaderNotAvailable,
                ))
            };
            self.shared.ask("see the new topics", all_there).await
        })
    }

    fn offsets<'a>(
        &'a self,
        partitions: &'a [TopicPartition],
    ) -> PortFuture<'a, Result<BTreeMap<TopicPartition, Range<Offset>>, BrokerError>> {
        let partitions = partitions.to_vec();
        Box::pin(self.shared.ask("look up offsets", move |shared, limit| {
            if partitions.is_empty() {
                return Ok(BTreeMap::new());
            }
            let first = offsets_at(&shared.admin, &partitions, Position::Beginning, limit)?;
            let end = offsets_at(&shared.admin, &partitions, Position::End, limit)?;
            let ranges = first.into_iter().zip(end).map(|(first, end)| first..end);
            Ok::<_, Failure>(partitions.iter().cloned().zip(ranges).collect())
        }))
    }

    fn high_watermarks<'a>(
        &'a self,
        partitions: &'a [TopicPartition],
    ) -> PortFuture<'a, Result<BTreeMap<TopicPartition, Offset>, BrokerError>> {
        let partitions = partitions.to_vec();
        Box::pin(self.shared.ask("look up offsets", move |shared, limit| {
            if partitions.is_empty() {
                return Ok(BTreeMap::new());
            }
            let ends = offsets_at(&shared.ends, &partitions, Position::End, limit)?;
            Ok::<_, Failure>(partitions.iter().cloned().zip(ends).collect())
        }))
    }

    fn committed<'a>(
        &'a self,
        group: &'a str,
        partitions: &'a [TopicPartition],
    ) -> PortFuture<'a, Result<Committed, BrokerError>> {
        let (group, partitions) = (group.to_owned(), partitions.to_vec());
        Box::pin(
            self.shared
                .ask("look up committed offsets", move |shared, limit| {
                    if partitions.is_empty() {
                        return Ok(Committed::new());
                    }
                    if group == shared.settings.group {
                        return committed_of(&shared.admin, &partitions, limit);
                    }
                    let context = Context::new("group", shared.link.clone());
                    let client = shared.settings.admin(&group).create_with_context(context)?;
                    committed_of(&client, &partitions, limit)
                }),
        )
    }

    fn delete_records<'a>(
        &'a self,
        below: &'a [(TopicPartition, Offset)],
    ) -> PortFuture<'a, Result<(), BrokerError>> {
        let below = below.to_vec();
        Box::pin(self.shared.ask("delete records", move |shared, limit| {
            if below.is_empty() {
                return Ok(());
            }
            let mut list = TopicPartitionList::with_capacity(below.len());
            for (TopicPartition { topic, partition }, offset) in &below {
                list.add_partition_offset(topic, partition.0, Position::Offset(offset.0))?;
            }
            raw::topics::delete_records(&shared.admin, &list, limit)
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
            let answer = answer.await.unwrap_or_else(|_| Err(no_answer()));
            match answer.map_err(|failures| failures.error()) {
                Ok(offset) => Ok(Offset(offset)),
                Err(error) if may_be_taken_later(&error) => Err(BrokerError::Unreachable {
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

#[cfg(test)]
mod tests;
