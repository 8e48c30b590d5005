//! The log and broker ports in memory: the embedded broker in the same process, on virtual time, for the test driver and the
//! simulation.
//!
//! What the ports ask for becomes requests (`wire`) to a [`BrokerPort`], which take their time and are repeated as a Kafka
//! client repeats them: `transaction` carries out commits by way of a `producer`, `source` reads ahead. Each request has
//! points at which a [`Process`] can die, and leaves its transaction open, as a real crash does; a commit that only
//! nobody waits for any more goes on.
//!
//! Deterministic: on a current-thread tokio runtime with paused time, the same seed, clock and calls give the same run. That
//! forbids here what tokio leaves to its own dice: `select!` without `biased`, and several receivers of one `watch`.

mod batches;
mod log;
mod process;
mod producer;
mod source;
mod task;
mod transaction;
mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;
use tanist_actors::port::{
    Broker, BrokerError, Clock, CommittedOffset, LogBuilder, LogError, PortFuture, Source,
    TopicInfo, TopicPartition, TopicSettings, TopicSpec, TopicUuid,
};
use tanist_broker::{
    Bounds, BrokerError as Refusal, BrokerPort, NewRecord, TopicConfig, TopicDescription,
};
use tanist_cluster::{Offset, TransactionalId};
use tokio::sync::Notify;

use batches::{Batches, batch_of};
use log::MemoryLogBuilder;
#[cfg(test)]
pub(crate) use process::End;
pub(crate) use process::{Process, ProcessClock, ProcessStores};
use producer::{Plain, Producer};
use source::{MemorySource, Queue};
use task::Task;
use transaction::Transactions;
use wire::{Wire, is_silence};

/// How long the broker is left alone at most: so soon it notices what a test did to it past this port.
const UPKEEP: Duration = Duration::from_secs(1);

/// The [`Broker`] port over an embedded broker in the same process. Clones share all; [`client`](Self::client) makes the one
/// of another node.
#[derive(Clone)]
pub struct MemoryBroker {
    wire: Wire,
    shared: Arc<Shared>,
    /// Writes the control log.
    plain: Arc<Plain>,
}

struct Shared {
    readers: Arc<Readers>,
    _upkeep: Task,
}

impl MemoryBroker {
    /// The port over `port`. Must be called on the tokio runtime by whose time it is to go; `clock`, the broker's, must go
    /// with that time. `seed` decides how long requests take.
    pub fn new(port: BrokerPort, clock: Arc<dyn Clock>, seed: u64) -> Self {
        let wire = Wire {
            port,
            clock,
            dice: Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))),
            upkeep: Arc::default(),
            process: Arc::default(),
        };
        let readers = Arc::<Readers>::default();
        let upkeep = Task::spawn(Arc::clone(&readers).keep_up(wire.clone()));
        Self {
            wire,
            shared: Arc::new(Shared {
                readers,
                _upkeep: upkeep,
            }),
            plain: Arc::default(),
        }
    }

    /// The port of another node to the same broker. Faults find its requests by `id`.
    #[must_use]
    pub fn client(&self, id: &str) -> Self {
        self.of_process(id, Arc::default())
    }

    /// The same for a process to which something can happen.
    pub(crate) fn of_process(&self, id: &str, process: Arc<Process>) -> Self {
        Self {
            wire: Wire {
                port: self.wire.port.client(id),
                process,
                ..self.wire.clone()
            },
            shared: Arc::clone(&self.shared),
            plain: Arc::default(),
        }
    }

    /// The broker itself: to order faults, to write and look past the ports.
    pub fn port(&self) -> &BrokerPort {
        &self.wire.port
    }

    /// What `of` takes from the bounds of each partition.
    async fn bounds<T>(
        &self,
        partitions: &[TopicPartition],
        of: impl Fn(Bounds) -> T,
    ) -> Result<BTreeMap<TopicPartition, T>, BrokerError> {
        let mut found = BTreeMap::new();
        for partition in partitions {
            let address = address(partition);
            let bounds = self.wire.insist(|port, now| port.bounds(&address, now));
            let bounds = bounds
                .await
                .map_err(|refusal| failed(refusal, format!("tell the offsets of {partition}")))?;
            found.insert(partition.clone(), of(bounds));
        }
        Ok(found)
    }

    fn source(&self, partition: &TopicPartition, from: Offset, ready: Arc<Notify>) -> MemorySource {
        let source = MemorySource::open(self.wire.clone(), partition, from, ready);
        self.shared.readers.add(source.queue());
        source
    }
}

impl MemoryBroker {
    /// What `tell` makes of the description of each of `names` that exists.
    async fn describe<T>(
        &self,
        names: &[Arc<str>],
        tell: impl Fn(TopicDescription) -> T,
    ) -> Result<BTreeMap<Arc<str>, T>, BrokerError> {
        let mut told = BTreeMap::new();
        for name in names {
            let found = self.wire.insist(|port, now| port.describe_topic(name, now));
            match found.await {
                Ok(topic) => {
                    told.insert(name.clone(), tell(topic));
                }
                Err(Refusal::UnknownTopicOrPartition) => {}
                Err(refusal) => return Err(failed(refusal, format!("describe topic {name}"))),
            }
        }
        Ok(told)
    }
}

impl fmt::Debug for MemoryBroker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = &self.wire.port;
        formatter.debug_tuple("MemoryBroker").field(port).finish()
    }
}

impl Broker for MemoryBroker {
    fn topics<'a>(
        &'a self,
        names: &'a [Arc<str>],
    ) -> PortFuture<'a, Result<BTreeMap<Arc<str>, TopicInfo>, BrokerError>> {
        Box::pin(async move {
            let info = |topic: TopicDescription| TopicInfo {
                partitions: topic.partitions.len() as i32,
                id: Some(TopicUuid(topic.id.simple().to_string().into())),
            };
            self.describe(names, info).await
        })
    }

    fn topic_settings<'a>(
        &'a self,
        names: &'a [Arc<str>],
    ) -> PortFuture<'a, Result<BTreeMap<Arc<str>, TopicSettings>, BrokerError>> {
        Box::pin(async move { self.describe(names, |topic| topic.config.entries()).await })
    }

    /// The replicas are not looked at: an app that asks for three is tested on one broker all the same.
    fn create_topics<'a>(
        &'a self,
        topics: &'a [TopicSpec],
    ) -> PortFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            for TopicSpec {
                name,
                partitions,
                config,
                ..
            } in topics
            {
                let refused = |refusal| failed(refusal, format!("create topic {name}"));
                let mut settings = TopicConfig::default();
                for (setting, value) in config {
                    let what = || format!("create topic {name} with {setting}={value}");
                    settings
                        .set(setting, value)
                        .map_err(|refusal| failed(refusal, what()))?;
                }
                let created = self.wire.insist(|port, now| {
                    port.create_topic(name, *partitions, settings.clone(), now)
                });
                match created.await {
                    Ok(()) | Err(Refusal::TopicAlreadyExists) => {}
                    Err(refusal) => return Err(refused(refusal)),
                }
            }
            Ok(())
        })
    }

    fn offsets<'a>(
        &'a self,
        partitions: &'a [TopicPartition],
    ) -> PortFuture<'a, Result<BTreeMap<TopicPartition, Range<Offset>>, BrokerError>> {
        let range = |bounds: Bounds| Offset(bounds.start)..Offset(bounds.last_stable);
        Box::pin(self.bounds(partitions, range))
    }

    fn high_watermarks<'a>(
        &'a self,
        partitions: &'a [TopicPartition],
    ) -> PortFuture<'a, Result<BTreeMap<TopicPartition, Offset>, BrokerError>> {
        Box::pin(self.bounds(partitions, |bounds| Offset(bounds.end)))
    }

    fn committed<'a>(
        &'a self,
        group: &'a str,
        partitions: &'a [TopicPartition],
    ) -> PortFuture<'a, Result<BTreeMap<TopicPartition, CommittedOffset>, BrokerError>> {
        Box::pin(async move {
            let mut offsets = BTreeMap::new();
            for partition in partitions {
                let address = address(partition);
                let committed = self
                    .wire
                    .insist(|port, now| port.committed_offset(group, &address, true, now));
                let committed = committed.await.map_err(|refusal| {
                    let what = format!("tell what group {group} has committed for {partition}");
                    failed(refusal, what)
                })?;
                if let Some(committed) = committed {
                    let committed = CommittedOffset {
                        offset: Offset(committed.offset),
                        metadata: committed.metadata.unwrap_or_default(),
                    };
                    offsets.insert(partition.clone(), committed);
                }
            }
            Ok(offsets)
        })
    }

    fn delete_records<'a>(
        &'a self,
        below: &'a [(TopicPartition, Offset)],
    ) -> PortFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            for (partition, offset) in below {
                let address = address(partition);
                let deleted = self
                    .wire
                    .insist(|port, now| port.delete_records(&address, Some(offset.0), now));
                deleted
                    .await
                    .map_err(|refusal| failed(refusal, format!("delete records of {partition}")))?;
            }
            Ok(())
        })
    }

    fn fence<'a>(&'a self, ids: &'a [TransactionalId]) -> PortFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            let fences = ids.iter().map(|id| async move {
                let fenced = Producer::start(&self.wire, Some(id.as_str())).await;
                fenced.map_err(|refusal| failed(refusal, format!("fence {id}")))
            });
            try_join_all(fences).await?;
            Ok(())
        })
    }

    fn append<'a>(
        &'a self,
        partition: &'a TopicPartition,
        key: &'a [u8],
        value: Option<&'a [u8]>,
    ) -> PortFuture<'a, Result<Offset, BrokerError>> {
        Box::pin(async move {
            let batch = batch_of(NewRecord {
                key: Some(Bytes::copy_from_slice(key)),
                value: value.map(Bytes::copy_from_slice),
                headers: Vec::new(),
                timestamp: self.wire.now(),
            });
            let batches = Batches::from([(address(partition), vec![batch])]);
            // In the background, as by a Kafka client: nobody waits for the one before only because its caller is busy.
            let (plain, wire) = (self.plain.clone(), self.wire.clone());
            let send = Task::spawn(async move { plain.send(&wire, &batches).await });
            let sent = send.end().await;
            let offsets =
                sent.map_err(|it| failed(it.refusal, format!("append to {partition}")))?;
            Ok(offsets[0].1)
        })
    }

    fn open(
        &self,
        partition: &TopicPartition,
        from: Offset,
        ready: Arc<Notify>,
    ) -> Result<Box<dyn Source + Send>, LogError> {
        Ok(Box::new(self.source(partition, from, ready)))
    }

    fn log(
        &self,
        id: &TransactionalId,
    ) -> PortFuture<'_, Result<Box<dyn LogBuilder>, BrokerError>> {
        let id = id.clone();
        Box::pin(async move {
            let transactions = Transactions::start(&self.wire, &id)
                .await
                .map_err(|refusal| failed(refusal, format!("initialise the producer {id}")))?;
            let builder: Box<dyn LogBuilder> = Box::new(MemoryLogBuilder {
                broker: self.clone(),
                transactions,
            });
            Ok(builder)
        })
    }
}

fn address(partition: &TopicPartition) -> tanist_broker::TopicPartition {
    tanist_broker::TopicPartition::new(&*partition.topic, partition.partition.0)
}

fn failed(refusal: Refusal, what: String) -> BrokerError {
    let reason = refusal.to_string();
    if is_silence(refusal) {
        let address = "the broker in this process".to_owned();
        BrokerError::Unreachable { address, reason }
    } else {
        BrokerError::Refused { what, reason }
    }
}

/// All partitions that are being read, in the order in which they were opened.
#[derive(Default)]
struct Readers(Mutex<Vec<Weak<Queue>>>);

impl Readers {
    fn add(&self, queue: Weak<Queue>) {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        queues.push(queue);
    }

    /// Lets time pass for the broker, and wakes the readers for whom it has something.
    async fn keep_up(self: Arc<Self>, wire: Wire) {
        let mut changes = wire.port.changes();
        loop {
            wire.port.tick(wire.now());
            changes.mark_unchanged();
            self.look(&wire.port);
            let due = wire.port.wake_at().map(|at| at.0 - wire.now().0);
            let pause = due.and_then(|millis| u64::try_from(millis.max(1)).ok());
            let pause = pause.map_or(UPKEEP, |millis| Duration::from_millis(millis).min(UPKEEP));
            tokio::select! {
                biased;
                _ = changes.changed() => {}
                () = wire.upkeep.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn look(&self, port: &BrokerPort) {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        queues.retain(|queue| {
            let queue = queue.upgrade();
            queue.as_ref().inspect(|queue| queue.look(port)).is_some()
        });
    }
}

#[cfg(test)]
mod tests;
