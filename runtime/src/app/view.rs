//! [`TopologyView`]: an app's topology to be shown: as text, as a Mermaid diagram, as JSON.

use std::collections::BTreeSet;
use std::fmt::{self, Write};

use serde::{Deserialize, Serialize};
use tanist_actors::agent::AgentSpec;
use tanist_actors::group::GroupSpec;
use tanist_actors::port::TopicId;

use super::{AppTopology, TopicKind};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TopologyView {
    app: String,
    groups: Vec<GroupView>,
    topics: Vec<TopicView>,
}

/// Agents and tables that are placed together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct GroupView {
    name: String,
    shards: i32,
    agents: Vec<AgentView>,
    tables: Vec<TableView>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct AgentView {
    name: String,
    /// What it reads; none for timers of the app.
    input: Option<String>,
    /// The repartition topic that it fills, if that is what it is for. What else agents send to is not declared.
    fills: Option<String>,
    tables: Vec<String>,
    concurrency: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct TableView {
    name: String,
    changelog: String,
    standbys: u32,
    in_memory: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct TopicView {
    name: String,
    kind: TopicKind,
    partitions: i32,
    /// Whether the broker has it; none if it was not asked.
    exists: Option<bool>,
}

impl TopologyView {
    /// Of a running app, whose topics exist.
    pub(crate) fn of(app: &str, topology: &AppTopology) -> Self {
        let missing = BTreeSet::new();
        Self::new(app, topology, Some(&missing))
    }

    /// Of an app whose broker was not asked.
    pub(crate) fn declared(app: &str, topology: &AppTopology) -> Self {
        Self::new(app, topology, None)
    }

    /// Of an app on a broker where those topics do not exist yet that the topology misses.
    pub(crate) fn on_broker(app: &str, topology: &AppTopology) -> Self {
        let missing = topology.missing.iter().map(|topic| &*topic.name);
        Self::new(app, topology, Some(&missing.collect()))
    }

    fn new(app: &str, topology: &AppTopology, missing: Option<&BTreeSet<&str>>) -> Self {
        let topics = &topology.topics;
        let kinds = topics.names.iter().zip(&topology.kinds);
        let view =
            |((name, kind), partitions): ((&std::sync::Arc<str>, &TopicKind), &i32)| TopicView {
                name: name.to_string(),
                kind: *kind,
                partitions: *partitions,
                exists: missing.map(|missing| !missing.contains(&**name)),
            };
        Self {
            app: app.to_owned(),
            groups: topology
                .groups
                .iter()
                .map(|group| group_view(group, topology))
                .collect(),
            topics: kinds.zip(&*topics.partitions).map(view).collect(),
        }
    }

    /// As a diagram for [Mermaid](https://mermaid.js.org).
    pub(crate) fn mermaid(&self) -> String {
        let mut text = "flowchart LR".to_owned();
        let node = |kind: &str, name: &str| {
            let name: String = name
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
                .collect();
            format!("{kind}_{name}")
        };
        let mut line = |args: fmt::Arguments<'_>| {
            // A String takes everything.
            let _ = write!(text, "\n  {args}");
        };
        for topic in self
            .topics
            .iter()
            .filter(|topic| topic.kind != TopicKind::Changelog)
        {
            let TopicView {
                name, partitions, ..
            } = topic;
            line(format_args!(
                "{}[/\"{name} ({partitions})\"/]",
                node("topic", name)
            ));
        }
        for group in &self.groups {
            for agent in &group.agents {
                let id = node("agent", &agent.name);
                line(format_args!("{id}(\"{}\")", agent.name));
                if let Some(input) = &agent.input {
                    line(format_args!("{} --> {id}", node("topic", input)));
                }
                if let Some(filled) = &agent.fills {
                    line(format_args!("{id} --> {}", node("topic", filled)));
                }
                for table in &agent.tables {
                    line(format_args!("{id} --- {}", node("table", table)));
                }
            }
            for table in &group.tables {
                line(format_args!(
                    "{}[(\"{}\")]",
                    node("table", &table.name),
                    table.name
                ));
            }
        }
        text
    }
}

fn group_view(group: &GroupSpec, topology: &AppTopology) -> GroupView {
    let name = |topic: TopicId| topology.topics.names[usize::from(topic.0)].to_string();
    let agent = |(input, agent): (Option<TopicId>, &AgentSpec)| AgentView {
        name: agent.name.to_string(),
        input: input.map(name),
        fills: agent.writes_to().map(name),
        tables: {
            let tables = agent.tables(&topology.topics).into_iter();
            tables.map(|table| table.name.to_string()).collect()
        },
        concurrency: agent.concurrency,
    };
    let tables = group.tables.iter().map(|table| TableView {
        name: table.spec.name.to_string(),
        changelog: name(table.changelog),
        standbys: table.spec.config.standbys,
        in_memory: table.spec.config.in_memory,
    });
    GroupView {
        name: group.name.to_string(),
        shards: group.partitions,
        agents: group.agents().map(agent).collect(),
        tables: tables.collect(),
    }
}

impl fmt::Display for TopologyView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "app {}", self.app)?;
        for group in &self.groups {
            let plural = if group.shards == 1 { "" } else { "s" };
            write!(
                f,
                "\n\ngroup {}, {} shard{plural}",
                group.name, group.shards
            )?;
            for agent in &group.agents {
                write!(f, "\n  agent {}", agent.name)?;
                match &agent.input {
                    Some(input) => write!(f, ": reads {input}")?,
                    None => write!(f, ": a timer")?,
                }
                if let Some(filled) = &agent.fills {
                    write!(f, ", writes {filled}")?;
                }
                if !agent.tables.is_empty() {
                    write!(f, ", table {}", agent.tables.join(", "))?;
                }
                if agent.concurrency > 1 {
                    write!(f, ", {} records at once", agent.concurrency)?;
                }
            }
            for table in &group.tables {
                let place = if table.in_memory {
                    "in memory"
                } else {
                    "on disk"
                };
                write!(
                    f,
                    "\n  table {}: {place}, changelog {}",
                    table.name, table.changelog
                )?;
                if table.standbys > 0 {
                    write!(f, ", standbys {}", table.standbys)?;
                }
            }
        }
        let width = self
            .topics
            .iter()
            .map(|topic| topic.name.len())
            .max()
            .unwrap_or(0);
        write!(f, "\n\n{:width$}  partitions", "topic")?;
        for topic in &self.topics {
            let kind = match topic.kind {
                TopicKind::Declared => "",
                TopicKind::Repartition => "  repartition",
                TopicKind::Changelog => "  changelog",
            };
            let missing = if topic.exists == Some(false) {
                "  (to be created)"
            } else {
                ""
            };
            write!(
                f,
                "\n{:width$}  {:>10}{kind}{missing}",
                topic.name, topic.partitions
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::prelude::*;

    use super::TopologyView;

    fn view() -> TopologyView {
        let mut app = App::new("shop");
        let orders = app.topic::<String, u64>("orders").partitions(2);
        let counts = app.table::<String, u64>("counts").standbys(1);
        let by_size = orders.group_by("size", |order| order.value);
        app.agent_fn("watch", &orders, async |_, _| Ok(()))
            .concurrency(4);
        app.agent("count", by_size, move |shard| Count(shard.table(&counts)));
        app.every(Duration::from_secs(1), async |_| Ok(()));
        let topology = app.topology(&Default::default()).unwrap();
        TopologyView::on_broker("shop", &topology)
    }

    struct Count(
        #[expect(dead_code, reason = "that it has one is what counts")] Table<String, u64>,
    );

    impl Agent for Count {
        type Key = u64;
        type Value = u64;

        async fn handle(&mut self, _: Record<u64, u64>, _: &mut Context) -> Handled {
            Ok(())
        }
    }

    #[test]
    fn text_names_agents_with_what_they_read_fill_and_keep() {
        let text = view().to_string();
        for line in [
            "group orders, 2 shards",
            "  agent watch: reads orders, 4 records at once",
            "  agent size-repartition: reads orders, writes shop-size-repartition",
            "  agent count: reads shop-size-repartition, table counts",
            "  table counts: on disk, changelog shop-counts-changelog, standbys 1",
            "  agent timer-0: a timer",
            "orders                           2  (to be created)",
            "shop-counts-changelog           2  changelog  (to be created)",
        ] {
            assert!(
                text.lines().any(|found| found.trim_end() == line
                    || found.replace(' ', "") == line.replace(' ', "")),
                "{line:?} in:\n{text}"
            );
        }
    }

    #[test]
    fn a_diagram_joins_topics_agents_and_tables() {
        let text = view().mermaid();
        for line in [
            "flowchart LR",
            "  topic_orders[/\"orders (2)\"/]",
            "  topic_orders --> agent_size_repartition",
            "  agent_size_repartition --> topic_shop_size_repartition",
            "  topic_shop_size_repartition --> agent_count",
            "  agent_count --- table_counts",
            "  table_counts[(\"counts\")]",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line:?} in:\n{text}"
            );
        }
        assert!(!text.contains("changelog"), "{text}");
    }
}
