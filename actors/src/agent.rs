//! [`Agent`]: user code. One instance per partition (per lane with `concurrency(n)`), made by a factory.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::hash::Hash;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tanist_cluster::{Partition, ShardId};

use crate::codec::Data;
use crate::context::Context;
use crate::failure::Handled;
use crate::lane::{Lane, LaneExit};
use crate::port::TopicId;
use crate::record::Record;
use crate::stream::{Origin, Repartition, Stream};
use crate::table::{AnyTable, Table, TableConfig, TableDef, TableHome, TableReader, TableShard};

/// An actor over the records of one partition.
///
/// Records are handled one after the other, in the order of the partition. Fields live from record to record; what must
/// live longer belongs into a [`Table`]. Need not be `Send`: an agent never leaves its thread.
#[allow(
    async_fn_in_trait,
    reason = "agents stay on their thread: no `Send` is wanted"
)]
pub trait Agent: 'static {
    /// The type of the keys.
    type Key: 'static;
    /// The type of the values.
    type Value: 'static;

    /// Handles a record. All that it does with `cx` and its tables is committed with the record's offset, or undone if
    /// it fails (S2). Other effects (a request to a server, a line in a file) may happen more than once.
    async fn handle(&mut self, record: Record<Self::Key, Self::Value>, cx: &mut Context)
    -> Handled;

    /// Before the first record: after the start, after a restart, after a move to this node.
    async fn started(&mut self, _cx: &mut Context) -> Handled {
        Ok(())
    }

    /// After the last record of an orderly stop. Not after a failure, and not when the process is killed.
    async fn stopped(&mut self, _cx: &mut Context) -> Handled {
        Ok(())
    }
}

/// An agent that is a closure; see `App::agent_fn`.
pub struct FnAgent<F, K, V> {
    handle: F,
    of: PhantomData<fn(K, V)>,
}

impl<F, K, V> FnAgent<F, K, V> {
    /// The agent that calls `handle`.
    pub fn new(handle: F) -> Self {
        Self {
            handle,
            of: PhantomData,
        }
    }
}

impl<F, K, V> Agent for FnAgent<F, K, V>
where
    F: AsyncFnMut(Record<K, V>, &mut Context) -> Handled + 'static,
    K: 'static,
    V: 'static,
{
    type Key = K;
    type Value = V;

    async fn handle(&mut self, record: Record<K, V>, cx: &mut Context) -> Handled {
        (self.handle)(record, cx).await
    }
}

pub(crate) type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// A timer of an agent.
pub(crate) struct Timer<A> {
    pub(crate) every: Duration,
    #[expect(clippy::type_complexity, reason = "said once, here")]
    pub(crate) run:
        Arc<dyn for<'a> Fn(&'a mut A, &'a mut Context) -> LocalFuture<'a, Handled> + Send + Sync>,
}

impl<A> Clone for Timer<A> {
    fn clone(&self) -> Self {
        Self {
            every: self.every,
            run: self.run.clone(),
        }
    }
}

/// Makes an instance of an agent and runs it in a lane.
type RunLane = Arc<dyn Fn(&ShardContext, Lane) -> LocalFuture<'static, LaneExit> + Send + Sync>;

/// An agent as an app declares it, whatever its types.
#[derive(Clone)]
pub struct AgentSpec {
    /// Its name, unique in the app.
    pub name: Arc<str>,
    /// What it reads; `None` for timers of the app ([`AgentSpec::timer`]).
    pub origin: Option<Origin>,
    /// How many records of different keys of a partition are handled at once; at least 1.
    pub concurrency: usize,
    /// The repartition topic that it fills, if that is what it is for.
    pub fills: Option<Arc<Repartition>>,
    pub(crate) run: RunLane,
    pub(crate) probe: Arc<dyn Fn(&ShardContext) + Send + Sync>,
}

/// What can still be said of an agent after it was declared.
pub struct AgentSettings<'app, A> {
    spec: &'app mut AgentSpec,
    timers: Arc<Mutex<Vec<Timer<A>>>>,
}

impl AgentSpec {
    /// The agent that `factory` makes, once for each lane of each partition of `stream`.
    pub fn new<A: Agent>(
        name: &str,
        stream: &Stream<A::Key, A::Value>,
        factory: impl Fn(&ShardContext) -> A + Send + Sync + 'static,
    ) -> (Self, AgentTimers<A>) {
        let timers: Arc<Mutex<Vec<Timer<A>>>> = Arc::default();
        let factory = Arc::new(factory);
        let (make, own_timers, read) = (factory.clone(), timers.clone(), stream.reader());
        let spec = Self {
            name: name.into(),
            origin: Some(stream.origin().clone()),
            concurrency: 1,
            fills: None,
            run: Arc::new(move |shard, lane| {
                let (make, shard, read) = (make.clone(), shard.clone(), read.clone());
                let timers = own_timers
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone();
                // The factory is called inside, where a panic of it is caught.
                Box::pin(async move { lane.run(make(&shard), &read, &timers).await })
            }),
            probe: Arc::new(move |shard| drop(factory(shard))),
        };
        (spec, AgentTimers(timers))
    }

    /// A timer of the app: no agent, no topic, one in the whole app.
    pub fn timer<F>(name: &str, every: Duration, tick: F) -> Self
    where
        F: AsyncFn(&mut Context) -> Handled + Send + Sync + 'static,
    {
        let tick = Arc::new(tick);
        let timer = Timer {
            every,
            run: Arc::new(move |(): &mut (), cx| {
                let tick = tick.clone();
                Box::pin(async move { tick(cx).await })
            }),
        };
        Self {
            name: name.into(),
            origin: None,
            concurrency: 1,
            fills: None,
            run: Arc::new(move |_, lane| {
                let timers = [timer.clone()];
                Box::pin(async move { lane.run_timers(&timers).await })
            }),
            probe: Arc::new(|_| {}),
        }
    }

    /// The agent of the runtime's own that writes a stream to its repartition topic, which has its place already.
    pub fn repartition(through: &Arc<Repartition>) -> Self {
        let name = format!("{}-repartition", through.name);
        let through_topic = through.clone();
        Self {
            name: name.into(),
            origin: Some(through.upstream.clone()),
            concurrency: 1,
            fills: Some(through.clone()),
            run: Arc::new(move |shard, lane| {
                let (through, topics) = (through_topic.clone(), shard.topics().clone());
                Box::pin(async move { lane.rewrite(&through, &topics).await })
            }),
            probe: Arc::new(|_| {}),
        }
    }

    /// The repartition topic that it writes to, if that is what it is for.
    pub fn writes_to(&self) -> Option<TopicId> {
        self.fills.as_ref()?.topic.get().copied()
    }

    /// The tables that the agent uses: asks its factory, for a shard of no partition and an empty store.
    pub fn tables(&self, topics: &crate::topic::Topics) -> Vec<TableSpec> {
        let shard = ShardContext::new(
            ShardId::new(&*self.name, 0),
            TableHome::nowhere(),
            topics.clone(),
        );
        (self.probe)(&shard);
        let tables = shard.tables.borrow();
        tables.values().map(|(spec, _)| spec.clone()).collect()
    }
}

/// The timers of an agent that is being declared.
pub struct AgentTimers<A>(Arc<Mutex<Vec<Timer<A>>>>);

impl<'app, A: Agent> AgentSettings<'app, A> {
    /// The settings of `spec`, which `timers` belong to.
    pub fn new(spec: &'app mut AgentSpec, timers: AgentTimers<A>) -> Self {
        Self {
            spec,
            timers: timers.0,
        }
    }

    /// Handles up to `records` of different keys of a partition at once, each by an instance of its own; never two of
    /// one key, and records of one key in their order. For handlers that wait. 1 unless set; above 256, shared by the
    /// agents that read the same partitions, no more are in hand.
    ///
    /// A key of a table that one of them has read or written is not touched by another until that one is finished. Keys that
    /// it has only seen in a scan ([`crate::table::Table::range`] and the like) are: two records that each look at many
    /// and then write by what they saw may both go by what was there before. Read by [`crate::table::Table::get`] what has
    /// to stay as it is.
    pub fn concurrency(self, records: usize) -> Self {
        self.spec.concurrency = records.max(1);
        self
    }

    /// Calls `tick` with each instance of the agent every `period` (a millisecond at least), between two records. What it
    /// does is committed as if it were a record's. Ticks that could not be run in time are left out, not made up for.
    pub fn every<F>(self, period: Duration, tick: F) -> Self
    where
        F: AsyncFn(&mut A, &mut Context) -> Handled + Send + Sync + 'static,
    {
        let tick = Arc::new(tick);
        let timer = Timer {
            every: period,
            run: Arc::new(move |agent: &mut A, cx: &mut Context| {
                let tick = tick.clone();
                Box::pin(async move { tick(agent, cx).await })
            }),
        };
        self.timers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(timer);
        self
    }
}

/// A table that an agent uses.
#[derive(Clone)]
pub struct TableSpec {
    /// Its name.
    pub name: Arc<str>,
    /// Its settings.
    pub config: TableConfig,
    /// How queries read it.
    pub reader: Arc<dyn TableReader>,
}

type ShardTables = Rc<RefCell<BTreeMap<Arc<str>, (TableSpec, Rc<dyn AnyTable>)>>>;

/// The shard that an agent is made for.
#[derive(Clone)]
pub struct ShardContext {
    id: ShardId,
    home: TableHome,
    tables: ShardTables,
    topics: crate::topic::Topics,
}

impl ShardContext {
    pub(crate) fn new(id: ShardId, home: TableHome, topics: crate::topic::Topics) -> Self {
        Self {
            id,
            home,
            tables: ShardTables::default(),
            topics,
        }
    }

    /// The shard of `table` that goes with this partition.
    ///
    /// # Panics
    /// If two tables of the app have one name and different types; which is found when the app starts, because the
    /// factory is asked then what tables it uses.
    pub fn table<K, V>(&self, table: &TableDef<K, V>) -> Table<K, V>
    where
        K: Data + Hash + Eq + Clone,
        V: Data + Clone,
    {
        let mut tables = self.tables.borrow_mut();
        let (_, shard) = tables.entry(table.name.clone()).or_insert_with(|| {
            let spec = TableSpec {
                name: table.name.clone(),
                config: table.config(),
                reader: Arc::new(table.clone()),
            };
            (
                spec,
                Rc::new(TableShard::new(table.clone(), self.home.clone())),
            )
        });
        match shard.clone().as_any().downcast::<TableShard<K, V>>() {
            Ok(shard) => Table::new(shard),
            Err(_) => panic!(
                "two tables are called {:?} and differ in their types: rename one",
                table.name()
            ),
        }
    }

    /// Which shard it is.
    pub fn id(&self) -> &ShardId {
        &self.id
    }

    /// Which partition the agent will read.
    pub fn partition(&self) -> Partition {
        self.id.partition
    }

    pub(crate) fn store(&self) -> Arc<dyn crate::port::Store> {
        self.home.store.clone()
    }

    pub(crate) fn topics(&self) -> &crate::topic::Topics {
        &self.topics
    }

    pub(crate) fn find_table(&self, name: &str) -> Option<Rc<dyn AnyTable>> {
        self.tables
            .borrow()
            .get(name)
            .map(|(_, table)| table.clone())
    }

    pub(crate) fn each_table(&self, mut visit: impl FnMut(&dyn AnyTable)) {
        for (_, table) in self.tables.borrow().values() {
            visit(&**table);
        }
    }
}
