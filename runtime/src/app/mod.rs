//! [`App`]: what a program declares: its topics, tables and agents.

mod command;
mod fault;
mod own_topics;
mod topology;
mod view;

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tanist_actors::agent::{Agent, AgentSettings, AgentSpec, FnAgent, ShardContext};
use tanist_actors::codec::Data;
use tanist_actors::context::Context;
use tanist_actors::failure::Handled;
use tanist_actors::port::TopicId;
use tanist_actors::record::Record;
use tanist_actors::stream::{Origin, Repartition, Stream};
use tanist_actors::table::TableDef;
use tanist_actors::topic::{SharedTopicConfig, Topic, TopicCodec};

pub(crate) use command::AppCommand;
pub use fault::{Fault, Faults};
pub(crate) use own_topics::{control_topic, heartbeat_topic};
pub use topology::{AppTopology, TopicKind};
pub(crate) use view::TopologyView;

/// A program's agents, tables and topics.
///
/// Declared once, at the beginning of `main`; what is done with it is said on the command line ([`App::main`]), or by a
/// test ([`crate::testing::TestApp`]).
///
/// ```
/// use tanist::prelude::*;
///
/// let mut app = App::new("hello");
/// let greetings = app.topic::<String, String>("greetings");
/// app.agent_fn("greet", &greetings, async |greeting, _cx| {
///     println!("{}", greeting.value);
///     Ok(())
/// });
/// ```
pub struct App {
    id: Arc<str>,
    topics: Vec<TopicEntry>,
    agents: Vec<AgentSpec>,
    tables: Vec<Arc<str>>,
    faults: Vec<Fault>,
    /// How many standbys every table has, whatever is declared.
    pub(crate) standbys: Option<u32>,
    /// Settings that it has from the program.
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) commands: Vec<AppCommand>,
    /// The program that judges what the app writes.
    pub(crate) judge: Option<&'static str>,
}

/// A topic of the app.
#[derive(Clone)]
pub(crate) struct TopicEntry {
    pub(crate) name: Arc<str>,
    pub(crate) config: SharedTopicConfig,
    pub(crate) kind: TopicKind,
}

impl App {
    /// An app with this id: the name of its consumer group, and what the names of its own topics begin with. Two apps on
    /// one broker need different ids.
    pub fn new(id: &str) -> Self {
        let mut app = Self {
            id: id.into(),
            topics: Vec::new(),
            agents: Vec::new(),
            tables: Vec::new(),
            faults: Vec::new(),
            standbys: None,
            settings: Vec::new(),
            commands: Vec::new(),
            judge: None,
        };
        app.check_name("app id", id);
        app
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A topic with keys of type `K` and values of type `V`. Keys that are strings or bytes are written as they
    /// are, and so are values that are bytes; everything else is JSON, strings as values, too, unless another codec is named
    /// ([`Topic::value_codec`]).
    pub fn topic<K: Data, V: Data>(&mut self, name: &str) -> Topic<K, V> {
        self.check_name("topic", name);
        let topic = Topic::new(TopicId(self.topics.len() as u16), name);
        self.topics.push(TopicEntry {
            name: topic.shared_name(),
            config: topic.shared_config(),
            kind: TopicKind::Declared,
        });
        topic
    }

    /// A table with keys of type `K` and values of type `V`, sharded as the topic is whose agents use it.
    pub fn table<K: Data, V: Data>(&mut self, name: &str) -> TableDef<K, V> {
        self.check_name("table", name);
        if self.tables.iter().any(|known| &**known == name) {
            self.faults.push(Fault::Twice {
                what: "table",
                name: name.into(),
            });
        }
        self.tables.push(name.into());
        TableDef::new(name)
    }

    /// An agent over the records of `input` (a topic, or what [`Stream`] makes of one). `factory` is called once for each
    /// partition, after each failure, and once more at the start, to learn which tables the agent uses.
    pub fn agent<A: Agent>(
        &mut self,
        name: &str,
        input: impl Into<Stream<A::Key, A::Value>>,
        factory: impl Fn(&ShardContext) -> A + Send + Sync + 'static,
    ) -> AgentSettings<'_, A> {
        let stream = input.into();
        self.give_place(stream.origin());
        let (spec, timers) = AgentSpec::new(name, &stream, factory);
        AgentSettings::new(self.declare(spec), timers)
    }

    /// An agent that is a closure.
    pub fn agent_fn<F, K, V>(
        &mut self,
        name: &str,
        input: impl Into<Stream<K, V>>,
        handle: F,
    ) -> AgentSettings<'_, FnAgent<F, K, V>>
    where
        F: AsyncFnMut(Record<K, V>, &mut Context) -> Handled + Clone + Send + Sync + 'static,
        K: 'static,
        V: 'static,
    {
        self.agent(name, input, move |_| FnAgent::new(handle.clone()))
    }

    /// Calls `tick` every `period` (a millisecond at least): once in the whole app, whichever node does it. What it sends is
    /// committed as if it were a record's. Ticks that could not be run in time are left out.
    pub fn every<F>(&mut self, period: Duration, tick: F)
    where
        F: AsyncFn(&mut Context) -> Handled + Send + Sync + 'static,
    {
        let name = format!(
            "timer-{}",
            self.agents
                .iter()
                .filter(|agent| agent.origin.is_none())
                .count()
        );
        self.declare(AgentSpec::timer(&name, period, tick));
    }

    /// How the records of a declared topic are read and written, without their types.
    pub(crate) fn topic_codec(&self, name: &str) -> Option<Arc<dyn TopicCodec>> {
        let topic = self.topics.iter().find(|topic| &*topic.name == name)?;
        topic
            .config
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .codec
            .clone()
    }

    fn declare(&mut self, spec: AgentSpec) -> &mut AgentSpec {
        self.check_name("agent", &spec.name);
        if self.agents.iter().any(|agent| agent.name == spec.name) {
            self.faults.push(Fault::Twice {
                what: "agent",
                name: spec.name.clone(),
            });
        }
        self.agents.push(spec);
        self.agents.last_mut().expect("it was just put there")
    }

    /// Gives the repartition topics on the way to `origin` their places, and the agents that write to them.
    fn give_place(&mut self, origin: &Origin) {
        let Origin::Repartition(through) = origin else {
            return;
        };
        if through.topic.get().is_some() {
            return;
        }
        self.give_place(&through.upstream);
        let place = through
            .declared
            .unwrap_or_else(|| self.repartition_topic(through));
        // Nobody else sets it: the app is ours alone here.
        let _ = through.topic.set(place);
        self.declare(AgentSpec::repartition(through));
    }

    fn repartition_topic(&mut self, through: &Arc<Repartition>) -> TopicId {
        self.check_name("group_by", &through.name);
        self.topics.push(TopicEntry {
            name: format!("{}-{}-repartition", self.id, through.name).into(),
            config: through.config.clone(),
            kind: TopicKind::Repartition,
        });
        TopicId((self.topics.len() - 1) as u16)
    }

    fn check_name(&mut self, what: &'static str, name: &str) {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > 200 || !name.chars().all(good) {
            self.faults.push(Fault::Name {
                what,
                name: name.into(),
            });
        }
    }
}
