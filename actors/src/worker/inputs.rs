//! Where a shard's inputs stand, and opening them there.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use tanist_cluster::control::Begun;
use tanist_cluster::view::View;
use tanist_cluster::{Offset, ShardId};
use tokio::sync::Notify;

use super::error::{ReplicaError, reset_offsets};
use super::{Guarantee, Worker};
use crate::agent::AgentSpec;
use crate::group::GroupSpec;
use crate::intake::{Intake, MAX_OPEN, Mode};
use crate::mailbox::Mailbox;
use crate::port::{CommittedOffset, TopicInfo, TopicPartition, TopicUuid};
use crate::shard::{AgentIntake, Beside};
use crate::table::{Inputs, Replay, agent_input};
use crate::tracker::Progress;

/// What the broker knows of a shard's inputs.
#[derive(Debug, Default)]
pub(super) struct Known {
    bounds: BTreeMap<TopicPartition, Range<Offset>>,
    /// What the consumer group has.
    committed: BTreeMap<TopicPartition, CommittedOffset>,
    /// The topics that are there.
    topics: BTreeMap<Arc<str>, TopicInfo>,
}

impl Worker {
    /// Asks the broker about the inputs of a shard.
    pub(super) async fn ask_inputs(
        &self,
        shard: &ShardId,
        group: &GroupSpec,
    ) -> Result<Known, ReplicaError> {
        let partitions = self.inputs_of(shard, group);
        if partitions.is_empty() {
            return Ok(Known::default());
        }
        let topics: Vec<Arc<str>> = partitions.iter().map(|it| it.topic.clone()).collect();
        let (bounds, committed, topics) = tokio::try_join!(
            self.patiently(async || self.broker.offsets(&partitions).await),
            self.patiently(async || self.broker.committed(&self.app, &partitions).await),
            self.patiently(async || self.broker.topics(&topics).await),
        )?;
        Ok(Known {
            bounds,
            committed,
            topics,
        })
    }

    /// Opens the inputs of a shard where each agent goes on, by [`agent_input`]: by the shard's state, else by the
    /// consumer group, else at the start. And what is to be said once positions are committed.
    pub(super) fn open_inputs(
        &self,
        shard: &ShardId,
        group: &GroupSpec,
        replay: &Replay,
        known: &Known,
        view: &View,
    ) -> Result<(Vec<AgentIntake>, Vec<Begun>), ReplicaError> {
        known.check_changelogs(shard, replay)?;
        let (mut intakes, mut to_begin) = (Vec::new(), Vec::new());
        for (input, partition) in group.inputs.iter().zip(self.inputs_of(shard, group)) {
            let topic_uuid = known.topic_uuid(&self.app, &partition, replay)?;
            if !group.has_tables() {
                let begun = begun(&partition, topic_uuid.as_ref());
                known.check_position(&self.app, &partition, &begun, view)?;
                to_begin.extend((!is_known(&begun, view)).then_some(begun));
            }
            let mut agents = Vec::new();
            for agent in &input.agents {
                let key = agent_input(&agent.name, &partition.topic);
                let progress = known.progress(&key, &partition, &replay.state().inputs)?;
                known.note_difference(shard, &partition, &progress);
                agents.push((key, progress, self.mode(agent, group)));
            }
            let from = agents.iter().map(|(_, progress, _)| progress.next).min();
            let ready = Arc::new(Notify::new());
            let source = self
                .log
                .open(&partition, from.unwrap_or_default(), ready.clone())?;
            let mailbox = Rc::new(RefCell::new(Mailbox::new(source, ready)));
            for (key, progress, mode) in agents {
                let intake = Intake::new(partition.clone(), &mailbox, mode, &progress);
                intakes.push(AgentIntake {
                    key,
                    topic: input.topic,
                    topic_uuid: topic_uuid.clone(),
                    intake: Rc::new(RefCell::new(intake)),
                });
            }
        }
        Ok((intakes, to_begin))
    }

    fn inputs_of(&self, shard: &ShardId, group: &GroupSpec) -> Vec<TopicPartition> {
        let partition = |topic| TopicPartition::new(self.desk.topic_name(topic), shard.partition);
        let inputs = group.inputs.iter();
        inputs.map(|input| partition(input.topic)).collect()
    }

    fn mode(&self, agent: &AgentSpec, group: &GroupSpec) -> Mode {
        match (self.desk.settings.guarantee, agent.concurrency) {
            (Guarantee::AtMostOnce, _) => Mode::AfterCommit,
            (_, 0 | 1) => Mode::InOrder,
            (_, lanes) => Mode::Concurrent {
                lanes,
                max_open: (MAX_OPEN / group.agents().count()).max(1),
            },
        }
    }
}

impl Known {
    /// A shard whose changelogs were lost with its disk would go on from the group's offsets, with empty tables.
    fn check_changelogs(&self, shard: &ShardId, replay: &Replay) -> Result<(), ReplicaError> {
        let is_declared = |changelogs: &BTreeSet<Arc<str>>| {
            let mut declared = replay.changelogs().iter();
            declared.any(|it| changelogs.contains(&it.topic))
        };
        let commits = self.committed.values();
        let commits = commits.filter_map(|offset| match Beside::read(&offset.metadata)? {
            Beside::Commit(commit) => Some(commit),
            // Where all its tables have other names now, they begin empty.
            Beside::Tables { commit, changelogs } => is_declared(&changelogs).then_some(commit),
            Beside::Inputs(_) | Beside::Topic(_) => None,
        });
        let last = commits.max().unwrap_or(0);
        match replay.state().lost(replay.changelogs(), last) {
            None => Ok(()),
            Some(lost) => Err(ReplicaError::ChangelogLost {
                changelog: TopicPartition::new(lost.topic, shard.partition),
                committed: lost.committed,
                found: lost.found,
            }),
        }
    }

    /// Which topic a partition is of, if that is known: that which the shard has read before, or none.
    fn topic_uuid(
        &self,
        app: &str,
        partition: &TopicPartition,
        replay: &Replay,
    ) -> Result<Option<TopicUuid>, ReplicaError> {
        let inputs = &replay.state().inputs;
        let committed = self.committed.get(partition);
        let beside = committed.and_then(|committed| match Beside::read(&committed.metadata)? {
            Beside::Topic(uuid) => Some(uuid),
            Beside::Inputs(inputs) => inputs.topics.get(&partition.topic).cloned(),
            Beside::Commit(_) | Beside::Tables { .. } => None,
        });
        let read = inputs.topics.get(&partition.topic).cloned().or(beside);
        let info = self.topics.get(&partition.topic);
        let found = info.and_then(|info| info.id.clone());
        match (read, found) {
            (Some(read), Some(found)) if read != found => Err(ReplicaError::made_anew(
                app,
                partition,
                &read,
                &found,
                !replay.changelogs().is_empty(),
            )),
            (read, found) => Ok(found.or(read)),
        }
    }

    /// Of a shard without tables, the consumer group alone knows the position, and Kafka forgets it: without one, it has to
    /// be certain that there was none.
    fn check_position(
        &self,
        app: &str,
        partition: &TopicPartition,
        there: &Begun,
        view: &View,
    ) -> Result<(), ReplicaError> {
        let begun = view.begun(&partition.topic, partition.partition);
        let is_same = |read: Option<&Arc<str>>| match (read, &there.id) {
            (Some(read), Some(there)) => read == there,
            _ => true,
        };
        if self.committed.contains_key(partition) || !begun.is_some_and(is_same) {
            return Ok(());
        }
        Err(ReplicaError::PositionLost {
            partition: partition.clone(),
            way_out: reset_offsets(app, partition),
        })
    }

    /// Where an agent goes on.
    fn progress(
        &self,
        key: &str,
        partition: &TopicPartition,
        state: &Inputs,
    ) -> Result<Progress, ReplicaError> {
        let Range { start, end } = self.bounds.get(partition).cloned().unwrap_or_default();
        let found = resume(key, &partition.topic, state, self.committed.get(partition));
        let found = found.unwrap_or_else(|| at(start));
        if (start..=end).contains(&found.next) {
            return Ok(found);
        }
        Err(ReplicaError::InputTruncated {
            partition: partition.clone(),
            position: found.next,
            start,
            end,
        })
    }

    /// Anyone can reset a group that nobody has joined. The shard's state wins; it is said.
    fn note_difference(&self, shard: &ShardId, partition: &TopicPartition, progress: &Progress) {
        let committed = self.committed.get(partition);
        if let Some(committed) = committed.filter(|committed| committed.offset != progress.next) {
            tracing::warn!(
                %shard, %partition, state = %progress.next, group = %committed.offset,
                "the consumer group's offset differs from the position in the shard's state, which counts; the offsets \
                 of the group are for Kafka's tools to look at"
            );
        }
    }
}

fn begun(partition: &TopicPartition, uuid: Option<&TopicUuid>) -> Begun {
    Begun {
        topic: partition.topic.clone(),
        partition: partition.partition,
        id: uuid.map(|uuid| uuid.0.clone()),
    }
}

/// Whether the control log says so already.
fn is_known(begun: &Begun, view: &View) -> bool {
    view.begun(&begun.topic, begun.partition) == Some(begun.id.as_ref())
}

fn at(next: Offset) -> Progress {
    Progress {
        next,
        ..Progress::default()
    }
}

/// Where an agent goes on. One that is new, on a topic that the app has read before, begins where the others stand.
fn resume(
    key: &str,
    topic: &str,
    state: &Inputs,
    committed: Option<&CommittedOffset>,
) -> Option<Progress> {
    let beside = committed.and_then(|committed| match Beside::read(&committed.metadata)? {
        Beside::Inputs(inputs) => Some(inputs),
        Beside::Commit(_) | Beside::Tables { .. } | Beside::Topic(_) => None,
    });
    let others = || {
        let same_topic = state.agents.iter().filter(|(key, _)| {
            key.strip_suffix(topic)
                .is_some_and(|agent| agent.ends_with('@'))
        });
        same_topic.map(|(_, progress)| progress.next).min().map(at)
    };
    let beside = beside.as_ref();
    state
        .agents
        .get(key)
        .or_else(|| beside?.agents.get(key))
        .cloned()
        .or_else(others)
        .or_else(|| Some(at(committed?.offset)))
}
