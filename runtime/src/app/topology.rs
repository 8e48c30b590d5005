//! [`AppTopology`]: which topics an app has, with how many partitions, and which of its agents and tables belong
//! together. A pure function of the app and of the topics that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use serde::{Deserialize, Serialize};
use tanist_actors::agent::{AgentSpec, TableSpec};
use tanist_actors::group::{GroupSpec, GroupTable, InputSpec};
use tanist_actors::port::{TopicId, TopicInfo, TopicSpec};
use tanist_actors::stream::Origin;
use tanist_actors::table::TableShape;
use tanist_actors::topic::{TopicConfig, Topics};
use tanist_cluster::GroupName;
use tanist_cluster::topology::{Group, Topology};

use super::fault::{Fault, Faults};
use super::{App, TopicEntry, control_topic, heartbeat_topic};

/// The group of the timers of an app: one shard, no topic.
const TIMERS: &str = "timers";

/// Of a topic from which what was processed is deleted: Kafka frees whole segments, of a gigabyte unless told otherwise.
const SEGMENT_BYTES: &str = "52428800";

/// What a topic is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TopicKind {
    /// Declared by the app.
    Declared,
    /// Between two steps of a stream.
    Repartition,
    /// What a table is restored from.
    Changelog,
}

/// See the module.
#[derive(Clone)]
pub struct AppTopology {
    /// All topics, by [`TopicId`].
    pub topics: Topics,
    /// What each is there for.
    pub kinds: Vec<TopicKind>,
    /// The topics that do not exist yet.
    pub missing: Vec<TopicSpec>,
    /// Agents and tables that belong together.
    pub groups: Vec<Arc<GroupSpec>>,
    /// The same, as far as nodes have to agree on it.
    pub shared: Topology,
}

/// A set of agents, by index, that share topics or tables.
#[derive(Default)]
struct Component {
    topics: BTreeSet<TopicId>,
    tables: BTreeMap<Arc<str>, TableSpec>,
    agents: Vec<usize>,
}

impl App {
    /// The topics whose partition counts [`App::topology`] has to know, where they exist.
    pub(crate) fn topic_names(&self) -> Vec<Arc<str>> {
        let declared = self.topics.iter().map(|topic| topic.name.clone());
        let changelogs = self.tables.iter().map(|table| self.changelog_name(table));
        declared.chain(changelogs).collect()
    }

    /// Whether the app, and nobody else, writes to this topic.
    pub(crate) fn is_own_topic(&self, name: &str) -> bool {
        let mut topics = self.topics.iter();
        let mut tables = self.tables.iter();
        topics.any(|topic| *topic.name == *name && topic.kind != TopicKind::Declared)
            || tables.any(|table| *self.changelog_name(table) == *name)
            || name == control_topic(&self.id)
            || name == heartbeat_topic(&self.id)
    }

    fn changelog_name(&self, table: &str) -> Arc<str> {
        format!("{}-{table}-changelog", self.id).into()
    }

    /// Puts the app together, given those of [`App::topic_names`] that exist.
    pub(crate) fn topology(
        &self,
        existing: &BTreeMap<Arc<str>, TopicInfo>,
    ) -> Result<AppTopology, Faults> {
        let mut faults = self.faults.clone();
        if self.agents.is_empty() {
            faults.push(Fault::Nothing);
        }
        let components = self.components();
        let mut entries = self.topics.clone();
        let mut partitions = self.partition_counts(&components, existing, &mut faults);
        let mut groups = Vec::new();
        for component in components {
            let group = self.group(component, &mut entries, &mut partitions);
            groups.push(group);
        }
        groups.extend(self.timers());
        for entry in &entries {
            check_existing(entry, existing, &mut faults);
        }
        for group in &groups {
            check_changelogs(group, &entries, existing, &mut faults);
            check_codecs(group, &mut faults);
        }
        if !faults.is_empty() {
            return Err(Faults(faults));
        }
        let missing = entries
            .iter()
            .zip(&partitions)
            .filter(|(entry, _)| !existing.contains_key(&entry.name));
        Ok(AppTopology {
            missing: missing
                .map(|(entry, count)| spec_of(entry, *count))
                .collect(),
            shared: self.shared(&groups, &entries),
            kinds: entries.iter().map(|entry| entry.kind).collect(),
            topics: Topics {
                names: entries.iter().map(|entry| entry.name.clone()).collect(),
                partitions: partitions.into(),
            },
            groups: groups.into_iter().map(Arc::new).collect(),
        })
    }

    /// Agents that read one topic or use one table belong together.
    fn components(&self) -> Vec<Component> {
        let topics = Topics {
            names: self.topics.iter().map(|topic| topic.name.clone()).collect(),
            partitions: vec![1; self.topics.len()].into(),
        };
        let mut components: Vec<Component> = Vec::new();
        for (index, agent) in self.agents.iter().enumerate() {
            let Some(input) = agent.origin.as_ref().and_then(input_of) else {
                continue;
            };
            let tables = agent
                .tables(&topics)
                .into_iter()
                .map(|table| (table.name.clone(), table));
            let mut joined = Component {
                topics: [input].into(),
                tables: tables.collect(),
                agents: vec![index],
            };
            components = components.into_iter().fold(Vec::new(), |mut apart, other| {
                if other.shares_with(&joined) {
                    joined.join(other);
                } else {
                    apart.push(other);
                }
                apart
            });
            components.push(joined);
        }
        components.sort_by_key(|component| component.topics.first().copied());
        components
    }

    /// The partition count of each topic of the app; faults where topics of a group differ.
    fn partition_counts(
        &self,
        components: &[Component],
        existing: &BTreeMap<Arc<str>, TopicInfo>,
        faults: &mut Vec<Fault>,
    ) -> Vec<i32> {
        let config = |topic: &TopicEntry| {
            topic
                .config
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .partitions
        };
        let mut known: Vec<Option<i32>> = self
            .topics
            .iter()
            .map(|topic| {
                existing
                    .get(&topic.name)
                    .map(|info| info.partitions)
                    .or_else(|| config(topic))
            })
            .collect();
        // Upstream first: a repartition topic that nothing decides upon has the count of what it is filled from.
        for component in components {
            let members = component.topics.iter().map(|topic| usize::from(topic.0));
            let decided = members.clone().find_map(|place| known[place]);
            for place in members {
                let count = known[place]
                    .or(decided)
                    .or_else(|| self.upstream_count(place, &known))
                    .unwrap_or(1);
                known[place] = Some(count);
            }
            let topics: Vec<(Arc<str>, i32)> = component
                .topics
                .iter()
                .map(|topic| usize::from(topic.0))
                .map(|place| (self.topics[place].name.clone(), known[place].unwrap_or(1)))
                .collect();
            if topics.windows(2).any(|pair| pair[0].1 != pair[1].1) {
                faults.push(Fault::PartitionCounts { topics });
            }
        }
        known.into_iter().map(|count| count.unwrap_or(1)).collect()
    }

    fn upstream_count(&self, place: usize, known: &[Option<i32>]) -> Option<i32> {
        let writer = self
            .agents
            .iter()
            .find(|agent| agent.writes_to() == Some(TopicId(place as u16)))?;
        let upstream = input_of(writer.origin.as_ref()?)?;
        known[usize::from(upstream.0)]
    }

    fn group(
        &self,
        component: Component,
        entries: &mut Vec<TopicEntry>,
        partitions: &mut Vec<i32>,
    ) -> GroupSpec {
        let first = component
            .topics
            .first()
            .map_or(0, |topic| usize::from(topic.0));
        let count = partitions[first];
        let tables = component.tables.into_values().map(|mut spec| {
            spec.config.standbys = self.standbys.unwrap_or(spec.config.standbys);
            entries.push(TopicEntry {
                name: self.changelog_name(&spec.name),
                config: Default::default(),
                kind: TopicKind::Changelog,
            });
            partitions.push(count);
            let changelog = TopicId((entries.len() - 1) as u16);
            GroupTable { spec, changelog }
        });
        let tables: Vec<GroupTable> = tables.collect();
        let agents = |topic| {
            let of_topic = component.agents.iter().map(|index| &self.agents[*index]);
            of_topic
                .filter(move |agent| agent.origin.as_ref().and_then(input_of) == Some(topic))
                .cloned()
        };
        let input = |topic: &TopicId| InputSpec {
            topic: *topic,
            is_own: entries[usize::from(topic.0)].kind == TopicKind::Repartition,
            agents: agents(*topic).collect::<Vec<AgentSpec>>(),
        };
        let own = format!("{}-", self.id);
        let name = &entries[first].name;
        GroupSpec {
            name: GroupName::from(name.strip_prefix(&own).unwrap_or(name)),
            partitions: count,
            inputs: component.topics.iter().map(input).collect(),
            timers: Vec::new(),
            tables,
        }
    }

    /// The timers of the app: a group of one shard, held by one node.
    fn timers(&self) -> Option<GroupSpec> {
        let timers: Vec<AgentSpec> = self
            .agents
            .iter()
            .filter(|agent| agent.origin.is_none())
            .cloned()
            .collect();
        (!timers.is_empty()).then(|| GroupSpec {
            name: GroupName::from(TIMERS),
            partitions: 1,
            inputs: Vec::new(),
            timers,
            tables: Vec::new(),
        })
    }

    fn shared(&self, groups: &[GroupSpec], entries: &[TopicEntry]) -> Topology {
        let name = |topic: TopicId| entries[usize::from(topic.0)].name.to_string();
        let group = |group: &GroupSpec| {
            let tables = group.tables.iter();
            let shared = Group {
                partitions: group.partitions as u32,
                topics: group.inputs.iter().map(|input| name(input.topic)).collect(),
                tables: tables
                    .clone()
                    .map(|table| table.spec.name.to_string())
                    .collect(),
                standbys: tables
                    .map(|table| table.spec.config.standbys)
                    .max()
                    .unwrap_or(0),
            };
            (group.name.clone(), shared)
        };
        let agent = |group: &GroupSpec| {
            let agents: Vec<(String, String)> = group
                .agents()
                .map(|(topic, agent)| {
                    (
                        format!("agent {}", agent.name),
                        topic.map_or_else(|| TIMERS.into(), name),
                    )
                })
                .collect();
            agents
        };
        let known = |what: String, written: &TableShape| {
            let is_known = written.is_known();
            is_known.then(|| (what, written.to_string()))
        };
        let tables = groups.iter().flat_map(|group| &group.tables);
        let tables = tables.map(|table| &table.spec);
        let tables =
            tables.filter_map(|it| known(format!("table {}", it.name), &it.reader.shape()));
        let between = self.agents.iter().filter_map(|agent| match &agent.origin {
            Some(Origin::Repartition(through)) => {
                let topic = name(*through.topic.get()?);
                known(format!("topic {topic}"), &through.written)
            }
            _ => None,
        });
        Topology {
            groups: groups.iter().map(group).collect(),
            parts: groups.iter().flat_map(agent).collect(),
            written: tables.chain(between).collect(),
        }
    }
}

impl Component {
    fn shares_with(&self, other: &Self) -> bool {
        !self.topics.is_disjoint(&other.topics)
            || self
                .tables
                .keys()
                .any(|table| other.tables.contains_key(table))
    }

    fn join(&mut self, other: Self) {
        self.topics.extend(other.topics);
        self.tables.extend(other.tables);
        self.agents.extend(other.agents);
        self.agents.sort_unstable();
    }
}

/// The topic that an agent with this origin reads.
fn input_of(origin: &Origin) -> Option<TopicId> {
    match origin {
        Origin::Topic(topic) => Some(*topic),
        Origin::Repartition(through) => through.topic.get().copied(),
    }
}

/// A table has as many shards as its inputs have partitions.
fn check_changelogs(
    group: &GroupSpec,
    entries: &[TopicEntry],
    existing: &BTreeMap<Arc<str>, TopicInfo>,
    faults: &mut Vec<Fault>,
) {
    let name = |topic: TopicId| &entries[usize::from(topic.0)].name;
    for changelog in group.tables.iter().map(|table| name(table.changelog)) {
        let count = existing.get(changelog).map(|info| info.partitions);
        if let Some(count) = count.filter(|count| *count != group.partitions) {
            faults.push(Fault::TableCount {
                changelog: changelog.clone(),
                existing: count,
                inputs: group.partitions,
                topics: group
                    .inputs
                    .iter()
                    .map(|it| name(it.topic).clone())
                    .collect(),
            });
        }
    }
}

fn check_codecs(group: &GroupSpec, faults: &mut Vec<Fault>) {
    for table in group.tables.iter().map(|table| &table.spec) {
        let (keys, values) = table.reader.reads_back();
        for (what, reads_back) in [("key", keys), ("value", values)] {
            if !reads_back {
                let table = table.name.clone();
                faults.push(Fault::NotReadBack { table, what });
            }
        }
    }
}

fn check_existing(
    entry: &TopicEntry,
    existing: &BTreeMap<Arc<str>, TopicInfo>,
    faults: &mut Vec<Fault>,
) {
    let Some(info) = existing.get(&entry.name) else {
        return;
    };
    let config = entry.config.lock();
    let declared = config.unwrap_or_else(PoisonError::into_inner).partitions;
    if let Some(declared) = declared.filter(|declared| *declared != info.partitions) {
        faults.push(Fault::DeclaredCount {
            topic: entry.name.clone(),
            existing: info.partitions,
            declared,
        });
    }
}

fn spec_of(entry: &TopicEntry, partitions: i32) -> TopicSpec {
    let TopicConfig {
        replicas, settings, ..
    } = entry
        .config
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let mut config = settings;
    if entry.kind == TopicKind::Repartition {
        // Kafka's retention goes by the records' timestamps, which are those of the input: old records would be gone
        // before they are read. What was processed is deleted by who did so, and leaves the disk by segments.
        for (name, value) in [("retention.ms", "-1"), ("segment.bytes", SEGMENT_BYTES)] {
            config.entry(name.into()).or_insert_with(|| value.into());
        }
    }
    if entry.kind == TopicKind::Changelog {
        config
            .entry("cleanup.policy".into())
            .or_insert_with(|| "compact".into());
    }
    TopicSpec {
        name: entry.name.clone(),
        partitions,
        replicas,
        config,
    }
}
