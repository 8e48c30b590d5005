//! [`Api`]: what a node answers, without the protocol.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tanist_actors::port::{Broker, Clock, TopicPartition};
use tanist_actors::shard::{ShardState, ShardStatus};
use tanist_actors::worker::Guarantee;
use tanist_cluster::{NodeName, Offset, ShardId};
use tokio::sync::watch;
use uuid::Uuid;

use super::client::Peers;
use super::rates::{PERIOD, Rates, Sample};
use super::status::{Bounds, BrokerStatus, CommitStatus, NodeStatus, Role, ShardLine, sum};
use super::tables::{QueryError, Tables};
use crate::app::{AppTopology, TopologyView};
use crate::kafka::Contact;
use crate::node::{Board, OpenStores};

/// How long a status waits for the broker to tell the ends of partitions.
const ENDS_WITHIN: Duration = Duration::from_millis(400);

/// See the module. Shared by the threads that answer.
pub(crate) struct Api {
    pub(crate) app: String,
    pub(crate) node: NodeName,
    pub(crate) guarantee: Guarantee,
    pub(crate) address: String,
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) contact: watch::Receiver<Contact>,
    pub(crate) board: Arc<Board>,
    pub(crate) stores: Arc<OpenStores>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rates: Mutex<Rates>,
    /// What the process answers as.
    pub(crate) incarnation: watch::Receiver<Uuid>,
    pub(crate) peers: Peers,
    pub(crate) joined: OnceLock<Joined>,
}

/// What is known once the app is put together.
pub(crate) struct Joined {
    shards: Vec<ShardId>,
    topology: TopologyView,
    tables: Tables,
}

/// The broker does not answer.
struct Unanswered;

impl Api {
    /// The app is put together.
    pub(crate) fn open(&self, topology: &AppTopology) {
        let joined = Joined {
            shards: topology.shared.shards().collect(),
            topology: TopologyView::of(&self.app, topology),
            tables: Tables::new(topology.groups.clone(), self.stores.clone()),
        };
        // Once a process.
        let _ = self.joined.set(joined);
    }

    /// Looks at the counters now and then, for ever.
    pub(crate) async fn watch_rates(&self) -> Infallible {
        loop {
            self.rates().add(self.sample());
            self.clock.sleep(PERIOD).await;
        }
    }

    fn sample(&self) -> Sample {
        Sample {
            at: self.clock.elapsed(),
            commits: self.board.totals().commits,
            records: self.board.at_work(),
        }
    }

    fn rates(&self) -> MutexGuard<'_, Rates> {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether every shard that this node is to process is recovered and at work; else what is missing.
    pub(crate) fn ready(&self) -> Result<(), String> {
        let joined = self.joined.get().ok_or("the node has not joined yet")?;
        let reported = self.board.shards();
        let (view, me) = (self.board.view(), self.board.member());
        let me = me.filter(|_| view.plan().is_some());
        let me = me.ok_or("the node is not one of the members yet")?;
        if let Some(reason) = self.board.blocked() {
            return Err(reason);
        }
        for shard in &joined.shards {
            if Role::of(&view, me, shard) != Some(Role::Active) {
                continue;
            }
            let status = reported.iter().find(|status| status.shard == *shard);
            match status.map(|status| &status.state) {
                Some(
                    ShardState::Running | ShardState::Stuck { .. } | ShardState::Restarting { .. },
                ) => {}
                Some(state) => return Err(format!("shard {shard} is {state}")),
                None => return Err(format!("shard {shard} has not begun yet")),
            }
        }
        Ok(())
    }

    /// What is wrong though it is ready: what it answers is right, and not all is read.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let unread = self.board.unread().into_iter();
        unread
            .map(|(topic, unread)| format!("input topic {topic} {unread}"))
            .collect()
    }

    /// The status of the node.
    pub(crate) async fn status(&self) -> NodeStatus {
        let reported = self.board.shards();
        let (bounds, settled) = tokio::join!(self.bounds(&reported), self.settled());
        let answers = bounds.is_ok();
        let bounds = bounds.ok().flatten();
        let rates = self.rates().until(self.sample());
        let joined = self.joined.get();
        let (view, me) = (self.board.view(), self.board.member());
        let shards = joined.iter().flat_map(|joined| &joined.shards);
        let shards = shards.filter_map(|shard| {
            let status = reported.iter().find(|status| status.shard == *shard);
            let planned = me.and_then(|me| Role::of(&view, me, shard));
            let role = planned.or_else(|| status.map(|_| Role::Going))?;
            let bounds = bounds.as_ref();
            Some(ShardLine::new(shard.clone(), role, status, &rates, bounds))
        });
        let shards: Vec<ShardLine> = shards.collect();
        let active = shards.iter().filter(|line| line.role == Role::Active);
        let unread = self.board.unread();
        let lag_records = sum(active.map(|shard| shard.lag_records));
        NodeStatus {
            app: self.app.clone(),
            node: self.node.clone(),
            member: self.board.member(),
            uptime_ms: self.clock.elapsed().as_millis() as u64,
            guarantee: self.guarantee,
            broker: BrokerStatus {
                address: self.address.clone(),
                reachable: answers,
            },
            commits: CommitStatus::new(&self.board.totals(), &rates),
            records: self.board.records(),
            records_per_second: rates.records(),
            // What waits in partitions that nobody reads, nobody knows.
            lag_records: lag_records.filter(|_| unread.is_empty()),
            settled,
            shards,
            unread,
        }
    }

    /// The ends of all inputs, if the broker tells them; an error if it does not answer soon. One that stands still is not
    /// lost as long as nothing has waited for it for long.
    async fn bounds(&self, reported: &[ShardStatus]) -> Result<Option<Bounds>, Unanswered> {
        if *self.contact.borrow() == Contact::Lost {
            return Err(Unanswered);
        }
        let inputs = reported.iter().flat_map(|status| {
            let topics = status.inputs.values().map(|input| input.topic.clone());
            topics.map(|topic| TopicPartition::new(topic, status.shard.partition))
        });
        let mut inputs: Vec<TopicPartition> = inputs.collect();
        inputs.sort();
        inputs.dedup();
        match tokio::time::timeout(ENDS_WITHIN, self.broker.offsets(&inputs)).await {
            Ok(bounds) => Ok(bounds.ok()),
            Err(_) => Err(Unanswered),
        }
    }

    /// Whether all that the inputs of its shards hold is processed and committed, up to where they end whatever becomes of
    /// transactions that are open: those may be what another shard is just committing. False where it is not known.
    async fn settled(&self) -> bool {
        if *self.contact.borrow() == Contact::Lost {
            return false;
        }
        // Before the question: what is reported later may have come to be by what the ends do not contain yet.
        let reported = self.board.shards();
        let at_work = reported.iter().filter(|it| it.state.is_at_work());
        let inputs = at_work.flat_map(|status| {
            let inputs = status.inputs.values();
            inputs.map(|input| {
                let partition = TopicPartition::new(input.topic.clone(), status.shard.partition);
                (partition, input.position, status.uncommitted)
            })
        });
        let inputs: Vec<(TopicPartition, Offset, bool)> = inputs.collect();
        let mut asked: Vec<_> = inputs.iter().map(|(input, ..)| input.clone()).collect();
        asked.sort();
        asked.dedup();
        let ends = self.broker.high_watermarks(&asked);
        let Ok(Ok(ends)) = tokio::time::timeout(ENDS_WITHIN, ends).await else {
            return false;
        };
        let is_done = |(input, position, uncommitted): &(TopicPartition, Offset, bool)| {
            !uncommitted && ends.get(input).is_some_and(|end| position >= end)
        };
        inputs.iter().all(is_done)
    }

    /// The app as it runs here; none before the node has joined.
    pub(crate) fn topology(&self) -> Option<&TopologyView> {
        self.joined.get().map(|joined| &joined.topology)
    }

    /// The tables; an error before the node has joined.
    pub(crate) fn tables(&self) -> Result<&Tables, QueryError> {
        let joined = self.joined.get().ok_or(QueryError::NotJoined)?;
        Ok(&joined.tables)
    }
}
