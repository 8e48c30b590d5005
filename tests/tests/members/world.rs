//! [`World`]: a broker, the control log as everybody has read it, and members with a worker each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tanist_actors::port::{
    Broker, Clock, CommitError, KeyRange, Order, Stores, TokioClock, TopicPartition,
};
use tanist_actors::shard::{ShardState, ShardStatus};
use tanist_actors::worker::{
    CommitReport, Refusals, Reports, Stage, Thread, UnreadPartitions, WorkerHandle, WorkerParts,
    WorkerSettings,
};
use tanist_cluster::codec::FORMAT;
use tanist_cluster::control::{Armed, Begun, Entry, Join, Record};
use tanist_cluster::plan::{Draft, Roles, Why};
use tanist_cluster::topology::Topology;
use tanist_cluster::view::View;
use tanist_cluster::{
    Epoch, Generation, MemberId, Millis, Offset, ShardId, TransactionalId, WorkerIndex,
};
use tanist_tests::memory;
use tanist_tests::source::{Reader, Row};
use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

use super::app::App;

/// Longer than anything takes.
const LONG: Duration = Duration::from_secs(60);

/// How a member comes to its broker.
pub(crate) type Connect = Box<dyn Fn(&str) -> Arc<dyn Broker>>;

pub(crate) struct World {
    pub(crate) app: App,
    pub(crate) settings: WorkerSettings,
    pub(crate) clock: TokioClock,
    connect: Connect,
    /// For what the test itself asks and writes.
    pub(crate) broker: Arc<dyn Broker>,
    view: View,
    log_end: Offset,
    members: BTreeMap<MemberId, Member>,
    /// The brokers' clients of those that were killed.
    graves: Vec<Arc<dyn Broker>>,
    news: Arc<Notify>,
    joined: u128,
}

struct Member {
    worker: WorkerHandle,
    reports: Arc<News>,
    broker: Arc<dyn Broker>,
    mine: Arc<BTreeSet<ShardId>>,
    _ended: oneshot::Receiver<CommitError>,
}

/// What a worker has told.
struct News {
    told: Mutex<Told>,
    clock: TokioClock,
    any: Arc<Notify>,
}

#[derive(Default)]
struct Told {
    shards: BTreeMap<ShardId, ShardStatus>,
    stages: Vec<(ShardId, Epoch, Stage, Duration)>,
    to_write: Vec<Record>,
}

impl World {
    pub(crate) async fn new(app: App, connect: Connect) -> Self {
        let broker = connect("test");
        app.create_topics(&*broker).await;
        Self {
            app,
            settings: WorkerSettings::default(),
            clock: memory::clock(),
            connect,
            broker,
            view: View::default(),
            log_end: Offset(0),
            members: BTreeMap::new(),
            graves: Vec::new(),
            news: Arc::default(),
            joined: 0,
        }
    }

    /// A member joins, with these stores, and runs its worker, which all its shards are dealt to.
    pub(crate) async fn join(&mut self, stores: Arc<dyn Stores>) -> MemberId {
        self.joined += 1;
        let me = MemberId(self.log_end.0);
        self.write(Record::Join(Join {
            node: format!("n{}", self.joined).as_str().into(),
            incarnation: Uuid::from_u128(self.joined),
            workers: 1,
            topology: Topology::default(),
            build: "test".into(),
            reads_format: FORMAT,
            http: None,
            machine: None,
            rack: None,
            weight: 100,
            joined_at: Millis(0),
        }));
        let broker = (self.connect)(&me.to_string());
        let generation = Generation::default().next();
        let log = broker
            .log(&self.id(me))
            .await
            .expect("a producer can be initialised");
        self.write(Record::Armed(Armed {
            member: me,
            generation,
        }));
        let reports = Arc::new(News {
            told: Mutex::default(),
            clock: self.clock,
            any: self.news.clone(),
        });
        let (tell, ended) = oneshot::channel();
        let parts = WorkerParts {
            index: WorkerIndex(0),
            app: self.app.id.as_str().into(),
            me,
            groups: self.app.groups.clone(),
            settings: self.settings.clone(),
            topics: self.app.topics.clone(),
            broker: broker.clone(),
            producer: self
                .view
                .producer_permit(me, generation)
                .expect("it is armed"),
            log,
            stores,
            clock: Arc::new(self.clock),
            reports: reports.clone(),
            refusals: Refusals::default(),
        };
        let member = Member {
            worker: WorkerHandle::start(parts, Thread::This, tell),
            reports,
            broker,
            mine: Arc::new(self.app.shards().collect()),
            _ended: ended,
        };
        self.members.insert(me, member);
        me
    }

    fn id(&self, member: MemberId) -> TransactionalId {
        TransactionalId::of(&self.app.id, member, WorkerIndex(0))
    }

    fn write(&mut self, record: Record) {
        let applied = self.view.apply(self.log_end, Entry::Record(record));
        applied.expect("offsets rise");
        self.log_end = self.log_end.next();
    }

    /// Whoever was fenced is expelled; `active` processes every shard, the others of `copies` have one.
    pub(crate) fn plan(&mut self, active: MemberId, copies: &[MemberId], fenced: &[MemberId]) {
        let roles = Roles {
            active,
            why: Why::First,
            standbys: copies.iter().map(|it| (*it, Why::Missing)).collect(),
            warmups: BTreeMap::new(),
        };
        let shards = self.app.shards().map(|shard| (shard, roles.clone()));
        let draft = Draft {
            author: active,
            members: self.members.keys().copied().collect(),
            fenced: fenced
                .iter()
                .map(|it| (*it, Generation::default().next()))
                .collect(),
            roles: shards.collect(),
        };
        self.write(Record::Plan(draft.following(&self.view)));
        self.tell();
    }

    fn tell(&self) {
        let view = Arc::new(self.view.clone());
        for member in self.members.values() {
            member.worker.follow(view.clone(), member.mine.clone());
        }
    }

    /// The process of a member ends at once.
    pub(crate) fn kill(&mut self, member: MemberId) {
        let member = self.members.remove(&member);
        // Its clients are left as they are: closing them takes time, which a process that is killed does not.
        self.graves.extend(member.map(|member| member.broker));
    }

    /// As the director does with the dead.
    pub(crate) async fn fence(&self, by: MemberId, member: MemberId) {
        let fenced = self.members[&by].broker.fence(&[self.id(member)]).await;
        fenced.expect("a member can be fenced");
    }

    /// A member stops in order.
    pub(crate) async fn stop(&mut self, member: MemberId) {
        let member = self.members.remove(&member).expect("it runs");
        member
            .worker
            .stop()
            .await
            .expect("its last commit succeeds");
    }

    /// Writes what workers want written, and tells everybody, until `done`.
    pub(crate) async fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let news = self.news.clone();
        let wait = async {
            loop {
                self.take_news();
                if done(self) {
                    return;
                }
                news.notified().await;
            }
        };
        let waited = tokio::time::timeout(LONG, wait).await.is_ok();
        assert!(waited, "waiting until {what}: {:#?}", self.states());
    }

    pub(crate) fn take_news(&mut self) {
        let members = self.members.values();
        let told = members.flat_map(|it| std::mem::take(&mut it.reports.told().to_write));
        let records: Vec<Record> = told.collect();
        for record in records {
            self.write(record);
            self.tell();
        }
    }

    fn states(&self) -> Vec<(MemberId, Vec<ShardStatus>)> {
        let shards = |member: &Member| member.reports.told().shards.values().cloned().collect();
        let members = self.members.iter();
        members.map(|(id, member)| (*id, shards(member))).collect()
    }

    pub(crate) fn status(&self, member: MemberId, partition: i32) -> Option<ShardStatus> {
        let told = self.members.get(&member)?.reports.told();
        told.shards.get(&self.app.shard(partition)).cloned()
    }

    pub(crate) fn state(&self, member: MemberId, partition: i32) -> Option<ShardState> {
        Some(self.status(member, partition)?.state)
    }

    /// Whether all shards of a member are in such a state.
    pub(crate) fn all(&self, member: MemberId, is: impl Fn(&ShardState) -> bool) -> bool {
        let mut shards = self.app.shards();
        shards.all(|shard| {
            self.state(member, shard.partition.0)
                .is_some_and(|state| is(&state))
        })
    }

    pub(crate) fn all_running(&self, member: MemberId) -> bool {
        self.all(member, |state| *state == ShardState::Running)
    }

    pub(crate) fn all_standby(&self, member: MemberId) -> bool {
        self.all(member, |state| *state == ShardState::Standby)
    }

    /// Records of the input that a member has committed.
    pub(crate) fn committed(&self, member: MemberId, partition: i32) -> i64 {
        let status = self.status(member, partition);
        let inputs = status
            .into_iter()
            .flat_map(|status| status.inputs.into_values());
        inputs.map(|input| input.committed.0).min().unwrap_or(0)
    }

    /// The stages that a member's shards went through in the current epoch.
    pub(crate) fn stages(&self, member: MemberId) -> Vec<(ShardId, Stage, Duration)> {
        let told = self.members[&member].reports.told();
        let now = told
            .stages
            .iter()
            .filter(|(_, epoch, ..)| *epoch == self.view.epoch());
        now.map(|(shard, _, stage, at)| (shard.clone(), *stage, *at))
            .collect()
    }

    /// Whether somebody has to release the shard before its active may begin.
    pub(crate) fn is_awaited(&self, partition: i32) -> bool {
        self.view
            .awaited(&self.app.shard(partition))
            .next()
            .is_some()
    }

    pub(crate) fn shards_of(&self, member: MemberId) -> usize {
        self.members[&member].reports.told().shards.len()
    }

    /// Adds records to the input: the next ones of these keys.
    pub(crate) async fn send(&self, partition: i32, keys: &[&str]) {
        for key in keys {
            self.send_value(partition, key, 1).await;
        }
    }

    pub(crate) async fn send_value(&self, partition: i32, key: &str, value: u64) {
        let (to, value) = (self.app.input(partition), value.to_string());
        let sent = self
            .broker
            .append(&to, key.as_bytes(), Some(value.as_bytes()));
        sent.await.expect("a record can be sent");
    }

    /// Key and value of what is committed in a partition, in order, up to where it ends now.
    pub(crate) async fn read(&self, from: &TopicPartition) -> Vec<(String, String)> {
        let of = std::slice::from_ref(from);
        let ends = self.broker.high_watermarks(of).await;
        let end = ends.expect("it has an end")[from];
        let rows = Reader::open(&*self.broker, from, Offset(0))
            .until(end)
            .await;
        let text = |bytes: Option<Vec<u8>>| {
            String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
        };
        let pair = |row: Row| (text(row.key), text(row.value));
        rows.into_iter().map(pair).collect()
    }

    /// The counts that were sent for each key, in order.
    pub(crate) async fn counts(&self, partition: i32) -> BTreeMap<String, Vec<u64>> {
        let mut counts = BTreeMap::<String, Vec<u64>>::new();
        for (key, count) in self.read(&self.app.out(partition)).await {
            let count = count.parse().expect("it is a count");
            counts.entry(key).or_default().push(count);
        }
        counts
    }

    /// No record was doubled or skipped: the counts of every key go up one by one. How many there are.
    pub(crate) async fn check_counts(&self, partition: i32) -> usize {
        let counts = self.counts(partition).await;
        for (key, counts) in &counts {
            let expected: Vec<u64> = (1..=counts.len() as u64).collect();
            assert_eq!(*counts, expected, "key {key} of partition {partition}");
        }
        counts.values().map(Vec::len).sum()
    }

    /// All that a store has of its tables.
    pub(crate) fn tables(&self, stores: &dyn Stores, partition: i32) -> Vec<(Vec<u8>, Vec<u8>)> {
        let store = stores
            .open(&self.app.shard(partition))
            .expect("it is there");
        let tables = KeyRange::prefix(&tanist_actors::table::table_prefix("counts"));
        store
            .page(&tables, Order::Ascending, usize::MAX)
            .expect("it can be read")
    }
}

impl News {
    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().expect("nobody panics while telling")
    }
}

impl Reports for News {
    fn shard(&self, status: ShardStatus) {
        self.told().shards.insert(status.shard.clone(), status);
        self.any.notify_one();
    }

    fn gone(&self, shard: &ShardId) {
        self.told().shards.remove(shard);
        self.any.notify_one();
    }

    fn release(&self, released: Record) {
        self.told().to_write.push(released);
        self.any.notify_one();
    }

    fn begun(&self, begun: Begun) {
        self.told().to_write.push(Record::Begun(begun));
        self.any.notify_one();
    }

    fn stage(&self, shard: &ShardId, epoch: Epoch, stage: Stage) {
        let at = self.clock.elapsed();
        self.told().stages.push((shard.clone(), epoch, stage, at));
        self.any.notify_one();
    }

    fn writes(&self, _: &Arc<str>) {}

    fn commit(&self, _: &CommitReport) {
        self.any.notify_one();
    }

    fn unread(&self, _: &Arc<str>, _: UnreadPartitions) {}
}

/// Runs `test` on memory ports and virtual time.
pub(crate) fn on_memory<T, F: Future<Output = T>>(
    seed: u64,
    app: App,
    test: impl FnOnce(World, Memory) -> F,
) -> T {
    memory_runtime(true, async {
        let (memory, connect) = Memory::new(seed);
        let world = World::new(app, connect).await;
        test(world, memory).await
    })
}

/// Runs `test` on memory ports and real time, which passes while a store blocks.
pub(crate) fn on_memory_in_real_time<T, F: Future<Output = T>>(
    app: App,
    test: impl FnOnce(World, Memory) -> F,
) -> T {
    memory_runtime(false, async {
        let (memory, connect) = Memory::new(1);
        let world = World::new(app, connect).await;
        test(world, memory).await
    })
}

fn memory_runtime<T>(paused: bool, test: impl Future<Output = T>) -> T {
    tokio::task::LocalSet::new().block_on(&memory::runtime(paused), test)
}

/// The broker behind the memory ports.
pub(crate) struct Memory {
    pub(crate) port: tanist_broker::BrokerPort,
}

impl Memory {
    fn new(seed: u64) -> (Self, Connect) {
        let (broker, port) = memory::broker(seed);
        let connect = move |id: &str| Arc::new(broker.client(id)) as Arc<dyn Broker>;
        (Self { port }, Box::new(connect))
    }
}
