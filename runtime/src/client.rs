//! [`Client`]: the app's topics for whoever is no agent: generators, and commands of the app's own.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tanist_actors::partitioner::partition_of;
use tanist_actors::port::{Broker, Clock, TokioClock, TopicPartition};
use tanist_actors::topic::Topic;
use tanist_cluster::{Millis, Partition};
use tokio::sync::watch;

use crate::app::App;
use crate::error::{Error, Result};
use crate::kafka::{Kafka, Sender};
use crate::node::Wish;

/// Sends to the topics of an app from outside of it. What it sends arrives once and in order, and is visible at once:
/// it belongs to no transaction.
pub struct Client {
    sender: Arc<Sender>,
    partitions: BTreeMap<Arc<str>, i32>,
    wish: watch::Receiver<Wish>,
    /// Records without a key go to all partitions in turn.
    turn: std::cell::Cell<i32>,
}

impl Client {
    /// Makes the topics that the app declares and that do not exist, as its nodes do.
    pub(crate) async fn open(
        kafka: &Kafka,
        app: &App,
        wish: watch::Receiver<Wish>,
    ) -> Result<Self> {
        let topology = app.topology(&kafka.topics(&app.topic_names()).await?)?;
        kafka.create_topics(&topology.missing).await?;
        let topics = topology.topics.names.iter().cloned();
        Ok(Self {
            sender: Arc::new(kafka.sender()?),
            partitions: topics
                .zip(topology.topics.partitions.iter().copied())
                .collect(),
            wish,
            turn: std::cell::Cell::new(0),
        })
    }

    /// Knows a topic that is not the app's, too.
    pub(crate) async fn look_up(&mut self, kafka: &Kafka, topic: &str) -> Result<()> {
        if self.partitions.contains_key(topic) {
            return Ok(());
        }
        let name: Arc<str> = topic.into();
        let found = kafka.topics(std::slice::from_ref(&name)).await?;
        let Some(info) = found.get(&name) else {
            let known: Vec<&str> = self.partitions.keys().map(|name| &**name).collect();
            return Err(Error::Usage(format!(
                "topic {topic} does not exist, and the app does not declare it: correct the name (the app's topics are \
                 {}) or create it",
                known.join(", ")
            )));
        };
        self.partitions.insert(name, info.partitions);
        Ok(())
    }

    /// Sends a record to the partition of its key, with the time of now as its timestamp. Returns when it is on its way,
    /// and waits while very many are.
    pub async fn send<K: 'static, V: 'static>(
        &self,
        topic: &Topic<K, V>,
        key: impl Into<K>,
        value: &V,
    ) -> Result<()> {
        self.send_typed(topic, &key.into(), value, None).await
    }

    /// The same with another timestamp: when that happened which the record tells of.
    pub async fn send_at<K: 'static, V: 'static>(
        &self,
        timestamp: Millis,
        topic: &Topic<K, V>,
        key: impl Into<K>,
        value: &V,
    ) -> Result<()> {
        self.send_typed(topic, &key.into(), value, Some(timestamp))
            .await
    }

    async fn send_typed<K: 'static, V: 'static>(
        &self,
        topic: &Topic<K, V>,
        key: &K,
        value: &V,
        timestamp: Option<Millis>,
    ) -> Result<()> {
        let (key, value) = topic
            .encode_record(key, value)
            .map_err(|error| Error::Failed(format!("topic {}: {error}", topic.name())))?;
        self.send_bytes(topic.name(), key.as_deref(), value.as_deref(), timestamp)
            .await
    }

    /// Sends what is encoded already.
    pub(crate) async fn send_bytes(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        timestamp: Option<Millis>,
    ) -> Result<()> {
        let Some((name, partitions)) = self.partitions.get_key_value(topic) else {
            return Err(Error::Failed(format!(
                "topic {topic} was not declared by this app: get it from `app.topic`"
            )));
        };
        let partition = match key {
            Some(key) => partition_of(key, *partitions),
            None => {
                let turn = self.turn.get();
                self.turn.set((turn + 1) % partitions.max(&1));
                Partition(turn % partitions)
            }
        };
        let partition = TopicPartition::new(name.clone(), partition);
        Ok(self.sender.send(&partition, key, value, timestamp).await?)
    }

    /// Until all that was sent is acknowledged by the broker.
    pub async fn flush(&self) -> Result<()> {
        Ok(self.sender.flush().await?)
    }

    /// Tells how many records the broker has acknowledged, while others send them.
    pub(crate) fn acknowledged(&self) -> impl Fn() -> u64 + use<> {
        let sender = self.sender.clone();
        move || sender.delivered()
    }

    /// The same, and how many it waits for.
    pub(crate) fn progress(&self) -> impl Fn() -> Progress + use<> {
        let sender = self.sender.clone();
        move || Progress {
            acknowledged: sender.delivered(),
            taken: sender.taken(),
        }
    }

    /// Until the command is to end.
    pub(crate) async fn stopped(&self) {
        let mut wish = self.wish.clone();
        // An error means that nobody is left who could say so: that is a wish, too.
        let _ = wish.wait_for(|wish| *wish != Wish::Run).await;
    }

    /// True when the command is to end, because somebody pressed Ctrl-C.
    pub fn is_stopping(&self) -> bool {
        *self.wish.borrow() != Wish::Run
    }

    /// Goes along at `per_second` steps a second; 0 is as fast as possible.
    ///
    /// ```no_run
    /// # async fn f(client: tanist::client::Client) {
    /// let mut pace = client.pace(1000.0);
    /// while pace.step().await {
    ///     // ... send a record
    /// }
    /// # }
    /// ```
    pub fn pace(&self, per_second: f64) -> Pace {
        Pace {
            per_second,
            clock: TokioClock::system(),
            steps: 0,
            wish: self.wish.clone(),
        }
    }
}

/// What became of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The broker has these.
    pub(crate) acknowledged: u64,
    /// Of these, which were to be sent.
    pub(crate) taken: u64,
}

impl Progress {
    /// Some are not acknowledged yet.
    pub(crate) fn is_waiting(self) -> bool {
        self.taken > self.acknowledged
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            acknowledged,
            taken,
        } = self;
        write!(f, "{acknowledged} records are sent and acknowledged")?;
        match taken - acknowledged {
            0 => Ok(()),
            more => write!(
                f,
                "; of {more} more it is not known whether they have arrived, since no broker answers"
            ),
        }
    }
}

/// See [`Client::pace`].
pub struct Pace {
    per_second: f64,
    clock: TokioClock,
    steps: u64,
    wish: watch::Receiver<Wish>,
}

/// Without a rate, others on the thread get their turn every so many steps.
const STEPS_IN_A_ROW: u64 = 64;

impl Pace {
    /// Waits until the next step is due. False when the command is to end.
    pub async fn step(&mut self) -> bool {
        if *self.wish.borrow() != Wish::Run {
            return false;
        }
        if self.per_second > 0.0 {
            let due = Duration::from_secs_f64(self.steps as f64 / self.per_second);
            let early = due.saturating_sub(self.clock.elapsed());
            if !early.is_zero() {
                tokio::select! {
                    () = self.clock.sleep(early) => {}
                    _ = self.wish.wait_for(|wish| *wish != Wish::Run) => return false,
                }
            }
        }
        if self.steps.is_multiple_of(STEPS_IN_A_ROW) {
            tokio::task::yield_now().await;
        }
        self.steps += 1;
        true
    }
}
