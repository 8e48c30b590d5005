//! Sealing: what a shard has finished goes into a commit; what comes of the commit comes back.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use tanist_cluster::{Millis, Offset, ShardId};

use super::{AgentIntake, Beside, Debut, Shard};
use crate::group::GroupTable;
use crate::port::{OffsetCommit, StateCommit, TopicId, TopicPartition};
use crate::stage::{Stage, Target, fits};
use crate::table::{INPUTS_KEY, Inputs, TableError};
use crate::tracker::Progress;
use crate::worker::Stage as MoveStage;

/// What is worth a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Worth {
    /// Records that were finished.
    Work,
    /// Positions too, which may have moved over transaction markers alone.
    Positions,
    /// Nothing needs to have happened: positions are committed again, before they are forgotten, or for the sake of the
    /// transaction alone. A producer's transaction begins only when all markers of the one before are
    /// written, so that with it every reader sees what that one has sent.
    Nothing,
}

/// A commit that is being put together from the shards of a worker.
#[derive(Default)]
pub(crate) struct Draft {
    pub(crate) stage: Stage,
    pub(crate) offsets: Vec<OffsetCommit>,
    pub(crate) states: Vec<StateCommit>,
    /// The shards that are in it; those with tables have their [`StateCommit`] at the place given.
    pub(crate) shards: Vec<(Rc<Shard>, Option<usize>)>,
    /// Whose the records are: shards, and where those of each end.
    pub(crate) owners: Vec<(ShardId, usize)>,
}

impl Shard {
    /// Adds to `draft` all that this shard has finished since the last commit. On an error nothing was added.
    pub(crate) fn seal(self: &Rc<Self>, draft: &mut Draft, worth: Worth) -> Result<(), TableError> {
        let mut inputs = self.inputs();
        let moved = inputs.agents != self.sealed.borrow().agents;
        let mut written = !self.outputs.borrow().is_empty();
        self.context
            .each_table(|table| written |= table.has_dirty());
        let finished = self.unsealed_records.get() > 0 || self.wants_position();
        let is_due = match worth {
            Worth::Work => written || moved && finished,
            Worth::Positions => written || moved,
            // Nothing of a shard that stops may be under way when its last commit is done.
            Worth::Nothing => written || moved || !self.is_stopping(),
        };
        if !is_due {
            // `at_most_once`: what was finished was committed before, and has led to nothing.
            if self.unsealed_records.replace(0) > 0 {
                self.desk.report(self.status());
            }
            return Ok(());
        }
        if (written || finished) && self.debut.get() == Debut::Awaited {
            self.debut.set(Debut::Sealed);
        }
        let mark = draft.stage.mark();
        let state = self
            .seal_records(&mut draft.stage, &mut inputs)
            .inspect_err(|_| draft.stage.truncate(mark))?;
        draft.offsets.extend(self.offsets(&inputs));
        let place = state.map(|state| {
            draft.states.push(state);
            draft.states.len() - 1
        });
        draft.shards.push((self.clone(), place));
        let end = draft.stage.records.len();
        draft.owners.push((self.id().clone(), end));
        self.unsealed_records.set(0);
        self.intakes
            .iter()
            .for_each(|agent| agent.intake.borrow_mut().sealed());
        *self.sealed.borrow_mut() = inputs;
        Ok(())
    }

    /// The commit that this shard was in has succeeded.
    pub(crate) fn committed(&self, state: Option<StateCommit>) {
        if self.debut.get() == Debut::Sealed {
            self.debut.set(Debut::Over);
            let reports = self.desk.reports();
            reports.stage(self.id(), self.epoch, MoveStage::FirstCommit);
        }
        if let Some(state) = state {
            self.stored.set(super::position(&state.replay));
            *self.replay.borrow_mut() = Some(state.replay);
        }
        for begun in self.to_begin.take() {
            self.desk.reports().begun(begun);
        }
        *self.committed.borrow_mut() = super::positions(&self.sealed.borrow());
        self.context.each_table(|table| table.committed());
        self.intakes
            .iter()
            .for_each(|agent| agent.intake.borrow_mut().committed());
    }

    fn inputs(&self) -> Inputs {
        let progress = |agent: &AgentIntake| (agent.key.clone(), agent.intake.borrow().progress());
        let sealed = self.sealed.borrow();
        let is_unborn = sealed.born == Millis::default() && self.has_tables();
        Inputs {
            app: sealed.app.clone(),
            born: match is_unborn {
                true => self.desk.clock().now(),
                false => sealed.born,
            },
            commit: sealed.commit + 1,
            agents: self.intakes.iter().map(progress).collect(),
            changelogs: sealed.changelogs.clone(),
            topics: sealed.topics.clone(),
            table: None,
        }
    }

    /// `at_most_once`: records wait for their position to be committed.
    fn wants_position(&self) -> bool {
        self.intakes
            .iter()
            .any(|agent| agent.intake.borrow().wants_commit())
    }

    fn seal_records(
        &self,
        stage: &mut Stage,
        inputs: &mut Inputs,
    ) -> Result<Option<StateCommit>, TableError> {
        let begin = stage.bytes.len();
        let mut outputs = self.outputs.borrow_mut();
        if !fits(begin, outputs.bytes.len()) {
            return Err(TableError::TooMuch(outputs.bytes.len()));
        }
        stage.absorb(&mut outputs);
        let state = self.seal_tables(stage, inputs)?;
        match fits(stage.bytes.len(), 0) {
            true => Ok(state),
            false => Err(TableError::TooMuch(stage.bytes.len() - begin)),
        }
    }

    fn seal_tables(
        &self,
        stage: &mut Stage,
        inputs: &mut Inputs,
    ) -> Result<Option<StateCommit>, TableError> {
        let mut replay = self.replay.borrow_mut();
        if !self.has_tables() {
            return Ok(None);
        }
        let mut changelogs = Vec::new();
        for (place, table) in self.group.tables.iter().enumerate() {
            let begin = stage.records.len();
            let target = self.target(table.changelog);
            if let Some(cells) = self.context.find_table(&table.spec.name) {
                cells.seal(stage, target)?;
                self.check_sizes(stage, begin, &table.spec.name)?;
            }
            if stage.records.len() > begin {
                self.seal_inputs(stage, table, inputs);
                changelogs.push((place, begin..stage.records.len()));
            }
        }
        if let ([], Some(first)) = (&changelogs[..], self.group.tables.first()) {
            let begin = stage.records.len();
            self.seal_inputs(stage, first, inputs);
            changelogs.push((0, begin..stage.records.len()));
        }
        let mut replay = replay
            .take()
            .expect("one commit at a time: the last one has brought it back");
        // Nobody else writes to the changelogs.
        replay.is_current(self.desk.clock().now());
        Ok(Some(StateCommit {
            store: self.lease.store(),
            replay,
            changelogs,
            failed: None,
        }))
    }

    /// What the broker would refuse stops this shard here; there it would fail the whole transaction.
    fn check_sizes(&self, stage: &Stage, begin: usize, table: &Arc<str>) -> Result<(), TableError> {
        let limit = self.desk.settings.max_record_bytes;
        let mut records = stage.records[begin..].iter();
        let Some(record) = records.find(|record| record.size_bytes() > limit) else {
            return Ok(());
        };
        let key = record.key.map_or(&[][..], |span| span.of(&stage.bytes));
        Err(TableError::TooLarge {
            table: table.clone(),
            key: String::from_utf8_lossy(key).into_owned(),
            bytes: record.size_bytes(),
            limit,
        })
    }

    fn seal_inputs(&self, stage: &mut Stage, table: &GroupTable, inputs: &mut Inputs) {
        let target = self.target(table.changelog);
        inputs.table = Some(table.spec.reader.shape());
        if self.group.tables.len() > 1 {
            let topic = self.desk.topic_name(target.topic);
            inputs.changelogs.insert(topic, inputs.commit);
        }
        let written = stage.changelog_record(target, |bytes| {
            bytes.extend_from_slice(INPUTS_KEY);
            let key_end = bytes.len();
            serde_json::to_writer(bytes, inputs).map(|()| (key_end, true))
        });
        written.expect("plain values become JSON");
    }

    fn target(&self, topic: TopicId) -> Target {
        Target {
            topic,
            partition: self.id().partition,
        }
    }

    /// For the consumer group, for each input the smallest unfinished offset of all its agents (S6).
    fn offsets(&self, inputs: &Inputs) -> Vec<OffsetCommit> {
        let mut smallest: BTreeMap<TopicId, Offset> = BTreeMap::new();
        for agent in &self.intakes {
            let next = inputs.agents[&agent.key].next;
            let offset = smallest.entry(agent.topic).or_insert(next);
            *offset = next.min(*offset);
        }
        let is_plain = is_plain(&smallest, &self.intakes, inputs);
        let tables = self.has_tables().then(|| {
            let changelogs = self.group.tables.iter().map(|table| table.changelog);
            let changelogs = changelogs.map(|it| self.desk.topic_name(it)).collect();
            Beside::of_tables(inputs.commit, changelogs)
        });
        let commit = |(topic, offset): (&TopicId, &Offset)| {
            let partition = self.input(*topic);
            let metadata = match &tables {
                Some(tables) => tables.clone(),
                None => beside(inputs, &partition.topic, is_plain),
            };
            OffsetCommit {
                partition,
                offset: *offset,
                metadata,
            }
        };
        smallest.iter().map(commit).collect()
    }

    pub(super) fn input(&self, topic: TopicId) -> TopicPartition {
        TopicPartition::new(self.desk.topic_name(topic), self.id().partition)
    }
}

/// Whether the offsets say how far all agents are.
fn is_plain(smallest: &BTreeMap<TopicId, Offset>, agents: &[AgentIntake], inputs: &Inputs) -> bool {
    agents.iter().all(|agent| {
        let next = smallest[&agent.topic];
        inputs.agents[&agent.key]
            == Progress {
                next,
                ..Progress::default()
            }
    })
}

/// What a shard without tables has to remember beside its offset in `topic`.
fn beside(inputs: &Inputs, topic: &Arc<str>, is_plain: bool) -> String {
    let uuid = inputs.topics.get(topic).cloned();
    match (is_plain, uuid) {
        (true, None) => String::new(),
        (true, Some(uuid)) => Beside::Topic(uuid).text(),
        // Of the other topics it stands beside their offsets: there is little room (Kafka's limit is 4096 bytes).
        (false, uuid) => Beside::Inputs(Inputs {
            topics: uuid.map(|uuid| (topic.clone(), uuid)).into_iter().collect(),
            ..inputs.clone()
        })
        .text(),
    }
}
