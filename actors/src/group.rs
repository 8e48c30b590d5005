//! [`GroupSpec`]: a group of co-partitioned topics with the agents and tables on them: what each of its shards runs.

use std::sync::Arc;

use tanist_cluster::GroupName;

use crate::agent::{AgentSpec, TableSpec};
use crate::port::TopicId;

/// What the shards of a group run; the same for all of them.
#[derive(Clone)]
pub struct GroupSpec {
    /// Its name.
    pub name: GroupName,
    /// How many partitions each of its topics has, and so how many shards there are.
    pub partitions: i32,
    /// Its input topics, sorted.
    pub inputs: Vec<InputSpec>,
    /// Timers of the app, if this is where they run.
    pub timers: Vec<AgentSpec>,
    /// Its tables, sorted by name.
    pub tables: Vec<GroupTable>,
}

impl GroupSpec {
    /// Whether there is state that its shards keep.
    pub(crate) fn has_tables(&self) -> bool {
        !self.tables.is_empty()
    }
}

/// An input topic, and who reads it.
#[derive(Clone)]
pub struct InputSpec {
    /// The topic.
    pub topic: TopicId,
    /// It is the app's own, between two steps: what has been processed is deleted from it.
    pub is_own: bool,
    /// The agents, in the order in which they were declared.
    pub agents: Vec<AgentSpec>,
}

/// A table of a group.
#[derive(Clone)]
pub struct GroupTable {
    /// The table.
    pub spec: TableSpec,
    /// Its changelog.
    pub changelog: TopicId,
}

impl GroupSpec {
    /// True if all its tables are kept in memory.
    pub fn is_in_memory(&self) -> bool {
        self.tables.iter().all(|table| table.spec.config.in_memory)
    }

    /// All agents, timers last: by their place here lanes and status name them.
    pub fn agents(&self) -> impl Iterator<Item = (Option<TopicId>, &AgentSpec)> {
        let inputs = self.inputs.iter();
        inputs
            .flat_map(|input| input.agents.iter().map(|agent| (Some(input.topic), agent)))
            .chain(self.timers.iter().map(|timer| (None, timer)))
    }
}

/// The names of the changelogs of a group's tables, in the order of [`GroupSpec::tables`], as stores are told.
pub(crate) fn changelogs(group: &GroupSpec, names: &[Arc<str>]) -> Arc<[crate::table::Changelog]> {
    let changelog = |table: &GroupTable| crate::table::Changelog {
        topic: names[usize::from(table.changelog.0)].clone(),
        prefix: crate::table::table_prefix(&table.spec.name),
        shape: Some(table.spec.reader.shape()),
    };
    group.tables.iter().map(changelog).collect()
}
