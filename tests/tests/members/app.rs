//! An app that counts: for each record of `in`, how many of its key there were, in a table and to `out`.

use std::collections::BTreeMap;
use std::sync::Arc;

use tanist_actors::agent::{Agent, AgentSpec};
use tanist_actors::context::{Context, OutputRecord};
use tanist_actors::failure::{Failure, Handled};
use tanist_actors::group::{GroupSpec, GroupTable, InputSpec};
use tanist_actors::port::{Broker, TopicId, TopicPartition, TopicSpec};
use tanist_actors::record::Record;
use tanist_actors::stream::Stream;
use tanist_actors::table::{Table, TableDef};
use tanist_actors::topic::{Topic, Topics};
use tanist_cluster::{GroupName, Partition, ShardId};

/// A record with this value cannot be handled.
pub(crate) const POISON: u64 = 666;

/// What the workers run.
pub(crate) struct App {
    pub(crate) id: String,
    pub(crate) topics: Topics,
    pub(crate) groups: Arc<BTreeMap<GroupName, Arc<GroupSpec>>>,
    partitions: i32,
}

struct Count {
    counts: Option<Table<String, u64>>,
    out: Topic<String, u64>,
}

impl Agent for Count {
    type Key = String;
    type Value = u64;

    async fn handle(&mut self, record: Record<String, u64>, cx: &mut Context) -> Handled {
        if record.value == POISON {
            return Err(Failure::new("this cannot be handled"));
        }
        let count = match &self.counts {
            Some(counts) => counts.update(&record.key, |count| {
                *count += 1;
                *count
            })?,
            None => record.value,
        };
        // To the partition that it came from, so that each shard has an output of its own.
        let output = OutputRecord::new(record.key, count).partition(record.partition.0);
        cx.send_record(&self.out, output)
    }
}

const GROUP: &str = "in";

impl App {
    /// The app `id`, of as many shards, with its table in a store or not, or without a table.
    pub(crate) fn new(id: &str, partitions: i32, tables: bool) -> Self {
        let names: Arc<[Arc<str>]> = ["in", "out", "counts-changelog"]
            .iter()
            .map(|topic| Arc::from(format!("{id}-{topic}")))
            .collect();
        let topics = Topics {
            names: names.clone(),
            partitions: [partitions; 3].into(),
        };
        let input = Topic::<String, u64>::new(TopicId(0), names[0].clone());
        let out = Topic::<String, u64>::new(TopicId(1), names[1].clone());
        let def = TableDef::<String, u64>::new("counts");
        let (agent, _) = AgentSpec::new("count", &Stream::from(&input), move |shard| Count {
            counts: tables.then(|| shard.table(&def)),
            out: out.clone(),
        });
        let tables = agent.tables(&topics).into_iter();
        let group = GroupSpec {
            name: GROUP.into(),
            partitions,
            tables: tables
                .map(|spec| GroupTable {
                    spec,
                    changelog: TopicId(2),
                })
                .collect(),
            inputs: vec![InputSpec {
                is_own: false,
                topic: TopicId(0),
                agents: vec![agent],
            }],
            timers: Vec::new(),
        };
        Self {
            id: id.to_owned(),
            topics,
            groups: Arc::new([(group.name.clone(), Arc::new(group))].into()),
            partitions,
        }
    }

    pub(crate) async fn create_topics(&self, broker: &dyn Broker) {
        let spec = |name: &Arc<str>| TopicSpec {
            name: name.clone(),
            partitions: self.partitions,
            replicas: None,
            config: BTreeMap::new(),
        };
        let specs: Vec<_> = self.topics.names.iter().map(spec).collect();
        broker
            .create_topics(&specs)
            .await
            .expect("topics can be created");
    }

    pub(crate) fn shard(&self, partition: i32) -> ShardId {
        ShardId::new(GROUP, partition)
    }

    pub(crate) fn shards(&self) -> impl Iterator<Item = ShardId> + '_ {
        (0..self.partitions).map(|partition| self.shard(partition))
    }

    pub(crate) fn input(&self, partition: i32) -> TopicPartition {
        self.partition(0, partition)
    }

    pub(crate) fn out(&self, partition: i32) -> TopicPartition {
        self.partition(1, partition)
    }

    pub(crate) fn changelog(&self, partition: i32) -> TopicPartition {
        self.partition(2, partition)
    }

    fn partition(&self, topic: usize, partition: i32) -> TopicPartition {
        TopicPartition::new(self.topics.names[topic].clone(), Partition(partition))
    }
}
