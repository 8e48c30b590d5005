//! What only the memory ports have: virtual time, kills, ordered faults. What all ports have in common is tested by the list
//! of cases in package `tanist-tests`.

mod faults;
mod kills;
mod time;

use std::sync::Arc;
use std::time::Duration;

use tanist_actors::port::{
    Broker, Clock, Commit, CommitError, CommitRecord, Log, OffsetCommit, Source, Span, TokioClock,
    TopicId, TopicPartition,
};
use tanist_broker::{BrokerPort, Isolation, Settings, TopicConfig, TransactionState};
use tanist_cluster::{MemberId, Millis, Offset, Partition, TransactionalId, WorkerIndex};
use tokio::sync::Notify;

use super::{MemoryBroker, Process};

const GROUP: &str = "group";

/// Runs a test on virtual time, of which it has an hour.
fn on_virtual_time<T>(test: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let ended = tokio::time::timeout(Duration::from_secs(3_600), test).await;
        ended.expect("it ends within an hour of virtual time")
    })
}

/// A broker with topics `a` and `b` of one partition each.
struct World {
    broker: MemoryBroker,
    port: BrokerPort,
    clock: TokioClock,
}

impl World {
    fn new(seed: u64) -> Self {
        let clock = TokioClock::starting_at(Millis(1_000_000));
        let port = BrokerPort::new(Settings::default());
        for topic in ["a", "b"] {
            let now = tanist_broker::Millis(clock.now().0);
            port.create_topic(topic, 1, TopicConfig::default(), now)
                .unwrap();
        }
        Self {
            broker: MemoryBroker::new(port.clone(), Arc::new(clock), seed),
            port,
            clock,
        }
    }

    fn now(&self) -> tanist_broker::Millis {
        tanist_broker::Millis(self.clock.now().0)
    }

    async fn log(&self) -> Box<dyn Log> {
        self.broker.log(&id()).await.unwrap().build()
    }

    /// That of a process that may die.
    async fn doomed(&self) -> (Box<dyn Log>, Arc<Process>) {
        let process = Arc::<Process>::default();
        let broker = self.broker.of_process("doomed", process.clone());
        (broker.log(&id()).await.unwrap().build(), process)
    }

    fn read(&self, topic: &str) -> (Box<dyn Source + Send>, Arc<Notify>) {
        let ready = Arc::new(Notify::new());
        let source = self
            .broker
            .open(&partition(topic), Offset(0), ready.clone());
        (source.unwrap(), ready)
    }

    /// The values that read_committed sees, looked at past the ports.
    fn visible(&self, topic: &str) -> Vec<String> {
        let address = tanist_broker::TopicPartition::new(topic, 0);
        let isolation = Isolation::ReadCommitted;
        let fetched = self
            .port
            .fetch(&address, 0, 1_000, isolation, self.now())
            .unwrap();
        let text = |record: tanist_broker::LogRecord| {
            String::from_utf8(record.value.unwrap().to_vec()).unwrap()
        };
        fetched.records.into_iter().map(text).collect()
    }

    async fn committed(&self) -> Option<String> {
        let of = [partition("a")];
        let committed = self.broker.committed(GROUP, &of).await.unwrap();
        committed.get(&of[0]).map(|offset| offset.metadata.clone())
    }

    fn transaction(&self) -> TransactionState {
        self.port.describe_transaction(id().as_str()).unwrap().1
    }
}

fn id() -> TransactionalId {
    TransactionalId::of("app", MemberId(1), WorkerIndex(0))
}

fn partition(topic: &str) -> TopicPartition {
    TopicPartition::new(topic, Partition(0))
}

/// The text as key and value in both topics, and as the metadata of the offset of the first.
fn commit(text: &str) -> Commit {
    let span = Span {
        start: 0,
        end: text.len() as u32,
    };
    let record = |topic| CommitRecord {
        topic: TopicId(topic),
        partition: Partition(0),
        key: Some(span),
        value: Some(span),
        timestamp: None,
        headers: None,
    };
    Commit {
        topics: Arc::from([Arc::from("a"), Arc::from("b")]),
        records: vec![record(0), record(1)],
        bytes: text.as_bytes().to_vec(),
        group: GROUP.into(),
        offsets: vec![OffsetCommit {
            partition: partition("a"),
            offset: Offset(1),
            metadata: text.to_owned(),
        }],
        states: Vec::new(),
    }
}

async fn sleep_ms(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}
