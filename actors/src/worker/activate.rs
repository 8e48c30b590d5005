//! Activating a shard: opens its store, restores it, finds out where its inputs stand, and opens them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use tanist_cluster::permit::Permit;
use tanist_cluster::{Offset, ShardId};
use tokio::sync::Notify;

use super::{Guarantee, Worker};
use crate::agent::{AgentSpec, ShardContext};
use crate::group::{GroupSpec, changelogs};
use crate::intake::{Intake, Mode};
use crate::mailbox::Mailbox;
use crate::port::{BrokerError, CommittedOffset, LogError, Store, StoreError, TopicPartition};
use crate::shard::{AgentIntake, Beside, Shard, ShardParts};
use crate::table::{Inputs, Replay, Scope, StoreState, TableHome, agent_input};
use crate::tracker::Progress;

/// Why a shard cannot be active here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ActivateError {
    /// Its store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// One of its partitions.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The broker.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The changelog does not reach to the store.
    #[error(
        "changelog {partition} was truncated or created anew: it has offsets {start} to {end}, but the store here has \
         replayed it up to {position}. If the broker is a new one (the embedded broker forgets all when it ends), or the \
         changelog is right, move the data directory away: tables are then rebuilt from what the broker has"
    )]
    ChangelogTruncated {
        /// The changelog.
        partition: TopicPartition,
        /// Where the store stands.
        position: Offset,
        /// The first offset that there is.
        start: Offset,
        /// The end.
        end: Offset,
    },
    /// The changelog is not the one that the store was filled from.
    #[error(
        "changelog {partition} is not the one that the store here was filled from: what stands before offset \
         {position} is no commit of this app. Was the topic deleted and made anew, or does another app use this name? \
         Move the data directory away to rebuild tables from this changelog, or give the app an id of its own"
    )]
    ForeignChangelog {
        /// The changelog.
        partition: TopicPartition,
        /// Where the store stands.
        position: Offset,
    },
    /// The changelog does not contain what was committed.
    #[error(
        "changelog {changelog} has lost what was committed to it: it has come to commit {committed}, but what is there \
         ends with commit {found}. Was the topic deleted, or its table renamed? Going on would begin with a table that \
         lacks what was counted: bring the topic back, or begin anew under another app id"
    )]
    ChangelogLost {
        /// The changelog.
        changelog: TopicPartition,
        /// The last commit that it was written to in.
        committed: u64,
        /// The last commit that was found in it; 0 if none was.
        found: u64,
    },
    /// The input that comes next is not there.
    #[error(
        "input {partition} was truncated or created anew: it has offsets {start} to {end}, but this app has come to \
         {position}. Going on would skip records in silence: bring them back, or begin anew under another app id, which \
         starts with what there is"
    )]
    InputTruncated {
        /// The input.
        partition: TopicPartition,
        /// Where the app stands.
        position: Offset,
        /// The first offset that there is.
        start: Offset,
        /// The end.
        end: Offset,
    },
}

type Bounds = BTreeMap<TopicPartition, Range<Offset>>;

impl Worker {
    /// Makes the shard of `permit` active on this worker: restored, and ready for its lanes to be started.
    pub(crate) async fn activate(
        self: &Rc<Self>,
        permit: Permit,
        group: Arc<GroupSpec>,
    ) -> Result<Rc<Shard>, ActivateError> {
        let id = permit.shard().clone();
        let store = self.open_store(&id, &group).await?;
        let names = &self.desk.topics.names;
        let state = StoreState::load(
            &*store,
            &self.app,
            &id,
            &format!("the data directory, shard {id}"),
        )?;
        let mut replay = Replay::new(changelogs(&group, names), state);
        self.restore(&id, &group, &store, &mut replay).await?;
        let progress = self.progress(&id, &group, &replay).await?;
        let intakes = self.open_inputs(&id, &group, &progress)?;
        let scope: Rc<Scope> = Rc::default();
        let home = TableHome {
            store,
            scope: scope.clone(),
            budget: self.desk.budget().clone(),
            dirty_bytes: self.desk.dirty_bytes().clone(),
        };
        let shard = Shard::new(ShardParts {
            permit,
            context: ShardContext::new(id.clone(), home, self.desk.topics.clone()),
            group,
            desk: self.desk.clone(),
            scope,
            intakes,
            replay,
        });
        self.shards.borrow_mut().insert(id, shard.clone());
        self.desk.report(shard.status());
        Ok(shard)
    }

    async fn open_store(
        &self,
        id: &ShardId,
        group: &GroupSpec,
    ) -> Result<Arc<dyn Store>, ActivateError> {
        if group.is_in_memory() {
            return Ok(self.stores.open_in_memory(id));
        }
        let (stores, id) = (self.stores.clone(), id.clone());
        self.off_thread(move || stores.open(&id)).await
    }

    /// Runs `work` where it disturbs nobody, if the stores are slow.
    pub(super) async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ActivateError> {
        if !self.stores.is_slow() {
            return Ok(work()?);
        }
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => Ok(done?),
            Err(panic) => Err(ActivateError::Store(StoreError::Failed {
                path: "the data directory".into(),
                reason: panic.to_string(),
            })),
        }
    }

    /// Where each agent goes on, by [`agent_input`]: by the shard's state, else by the consumer group, else at the start.
    async fn progress(
        &self,
        id: &ShardId,
        group: &GroupSpec,
        replay: &Replay,
    ) -> Result<BTreeMap<String, Progress>, ActivateError> {
        let partition = |topic| TopicPartition::new(self.desk.topic_name(topic), id.partition);
        let partitions: Vec<_> = group
            .inputs
            .iter()
            .map(|input| partition(input.topic))
            .collect();
        let (bounds, committed) = match partitions.is_empty() {
            true => Default::default(),
            false => (
                self.broker.offsets(&partitions).await?,
                self.broker.committed(&self.app, &partitions).await?,
            ),
        };
        check_changelogs(id, replay, &committed)?;
        let state = &replay.state().inputs;
        let mut progress = BTreeMap::new();
        for (input, partition) in group.inputs.iter().zip(&partitions) {
            let committed = committed.get(partition);
            for agent in &input.agents {
                let key = agent_input(&agent.name, &partition.topic);
                let start = || Progress {
                    next: bounds[partition].start,
                    ..Progress::default()
                };
                let found = resume(&key, &partition.topic, state, committed).unwrap_or_else(start);
                check_input(partition, &found, &bounds)?;
                note_difference(id, partition, &found, committed);
                progress.insert(key, found);
            }
        }
        Ok(progress)
    }

    fn open_inputs(
        &self,
        id: &ShardId,
        group: &GroupSpec,
        progress: &BTreeMap<String, Progress>,
    ) -> Result<Vec<AgentIntake>, ActivateError> {
        let mut intakes = Vec::new();
        for input in &group.inputs {
            let topic = self.desk.topic_name(input.topic);
            let partition = TopicPartition::new(topic.clone(), id.partition);
            let keys: Vec<_> = input
                .agents
                .iter()
                .map(|agent| agent_input(&agent.name, &topic))
                .collect();
            let from = keys
                .iter()
                .map(|key| progress[key].next)
                .min()
                .unwrap_or_default();
            let ready = Arc::new(Notify::new());
            let source = self.log.open(&partition, from, ready.clone())?;
            let mailbox = Rc::new(RefCell::new(Mailbox::new(source, ready)));
            for (agent, key) in input.agents.iter().zip(keys) {
                let intake = Intake::new(
                    partition.clone(),
                    &mailbox,
                    self.mode(agent),
                    &progress[&key],
                );
                intakes.push(AgentIntake {
                    key,
                    topic: input.topic,
                    intake: Rc::new(RefCell::new(intake)),
                });
            }
        }
        Ok(intakes)
    }

    fn mode(&self, agent: &AgentSpec) -> Mode {
        match (self.desk.settings.guarantee, agent.concurrency) {
            (Guarantee::AtMostOnce, _) => Mode::AfterCommit,
            (_, 0 | 1) => Mode::InOrder,
            (_, lanes) => Mode::Concurrent { lanes },
        }
    }
}

/// Where an agent goes on. An agent that is new, on a topic that the app has read before, begins where the others stand.
fn resume(
    key: &str,
    topic: &str,
    state: &Inputs,
    committed: Option<&CommittedOffset>,
) -> Option<Progress> {
    let beside = committed.and_then(|committed| match Beside::read(&committed.metadata)? {
        Beside::Inputs(inputs) => Some(inputs),
        Beside::Commit(_) => None,
    });
    let others = |inputs: &Inputs| {
        let same_topic = inputs.agents.iter().filter(|(key, _)| {
            key.strip_suffix(topic)
                .is_some_and(|agent| agent.ends_with('@'))
        });
        let next = same_topic.map(|(_, progress)| progress.next).min()?;
        Some(Progress {
            next,
            ..Progress::default()
        })
    };
    let beside = beside.as_ref();
    state
        .agents
        .get(key)
        .or_else(|| beside?.agents.get(key))
        .cloned()
        .or_else(|| others(state))
        .or_else(|| {
            let next = committed?.offset;
            Some(Progress {
                next,
                ..Progress::default()
            })
        })
}

/// A shard whose changelogs were lost with its disk would go on from the group's offsets, with empty tables.
fn check_changelogs(
    id: &ShardId,
    replay: &Replay,
    committed: &BTreeMap<TopicPartition, CommittedOffset>,
) -> Result<(), ActivateError> {
    let commits = committed
        .values()
        .filter_map(|offset| match Beside::read(&offset.metadata)? {
            Beside::Commit(commit) => Some(commit),
            Beside::Inputs(_) => None,
        });
    let last = commits.max().unwrap_or(0);
    match replay.state().lost(replay.changelogs(), last) {
        None => Ok(()),
        Some(lost) => Err(ActivateError::ChangelogLost {
            changelog: TopicPartition::new(lost.topic, id.partition),
            committed: lost.committed,
            found: lost.found,
        }),
    }
}

fn check_input(
    partition: &TopicPartition,
    progress: &Progress,
    bounds: &Bounds,
) -> Result<(), ActivateError> {
    let Range { start, end } = bounds[partition];
    if (start..=end).contains(&progress.next) {
        return Ok(());
    }
    Err(ActivateError::InputTruncated {
        partition: partition.clone(),
        position: progress.next,
        start,
        end,
    })
}

/// Anyone can reset a group that nobody has joined. The shard's state wins; it is said.
fn note_difference(
    id: &ShardId,
    partition: &TopicPartition,
    progress: &Progress,
    committed: Option<&CommittedOffset>,
) {
    if let Some(committed) = committed.filter(|committed| committed.offset != progress.next) {
        tracing::warn!(
            shard = %id, %partition, state = %progress.next, group = %committed.offset,
            "the consumer group's offset differs from the position in the shard's state, which counts; the offsets of \
             the group are for Kafka's tools to look at"
        );
    }
}
