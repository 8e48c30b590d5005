//! What happens to nodes that is no reason to end, or to hold up others.

use std::sync::{Mutex, PoisonError, mpsc};

use tanist_actors::port::{MemoryStores, Store, StoreError, TokioClock};
use tanist_actors::shard::ShardState;
use tanist_broker::{ApiKey, BrokerPort, Fault, FaultRule, Settings, TopicConfig, TopicPartition};
use tanist_cluster::Millis;

use super::*;
use crate::memory::MemoryBroker;
use crate::prelude::{Context, Record};
use crate::testing::TestApp;

const NOW: tanist_broker::Millis = tanist_broker::Millis(1_767_225_600_000);

/// Keeps the last value of each key of `in`; at the value `hang` it never ends.
fn last_values(partitions: i32) -> App {
    let mut app = App::new("last");
    let input = app.topic::<String, String>("in").partitions(partitions);
    let output = app.topic::<String, String>("out").partitions(1);
    let table = app.table::<String, String>("last").standbys(1);
    app.agent("keep", &input, move |shard| Keep {
        last: shard.table(&table),
        output: output.clone(),
    });
    app
}

struct Keep {
    last: crate::prelude::Table<String, String>,
    output: crate::prelude::Topic<String, String>,
}

impl crate::prelude::Agent for Keep {
    type Key = String;
    type Value = String;

    async fn handle(
        &mut self,
        record: Record<String, String>,
        cx: &mut Context,
    ) -> crate::prelude::Handled {
        self.last.put(&record.key, record.value.clone())?;
        cx.send(&self.output, record.key, record.value.clone())?;
        if record.value == "hang" {
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

/// A disk on which nothing is found before somebody says so.
struct SlowDisk {
    disk: MemoryStores,
    look: Mutex<mpsc::Receiver<()>>,
}

impl Stores for SlowDisk {
    fn open(&self, shard: &ShardId) -> Result<Arc<dyn Store>, StoreError> {
        self.disk.open(shard)
    }

    fn exists(&self, shard: &ShardId) -> bool {
        // An error: all may look now.
        let _ = self
            .look
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv();
        self.disk.exists(shard)
    }
}

#[test]
fn a_node_joins_only_when_it_has_seen_its_disk() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::starting_at(Millis(NOW.0)));
        let port = BrokerPort::new(Settings::default());
        let broker = MemoryBroker::new(port.clone(), clock.clone(), 0);
        let (may_look, look) = mpsc::channel();
        let name = NodeName::from("n1");
        let node = Node::open(NodeParts {
            app: Arc::new(last_values(2)),
            name: name.clone(),
            workers: 1,
            settings: WorkerSettings::default(),
            cluster: ClusterSettings::default(),
            broker: Arc::new(broker.client("n1")),
            stores: Arc::new(SlowDisk {
                disk: MemoryStores::default(),
                look: Mutex::new(look),
            }),
            clock: clock.clone(),
            thread: Thread::This,
            board: Arc::new(Board::new(name, clock)),
            links: Arc::new(MemoryProcesses::default().links("n1")),
            http: None,
            machine: None,
            incarnation: Uuid::from_u128(1),
        });
        let (_wish, wished) = tokio_watch::channel(Wish::Run);
        let node = node.await.unwrap();
        tokio::task::spawn_local(node.run(wished));
        let control = TopicPartition::new("last.control", 0);
        let mut changes = port.changes();
        let mut joined = std::pin::pin!(async {
            while port.bounds(&control, NOW).unwrap().end == 0 {
                changes.changed().await.unwrap();
            }
        });
        let early = tokio::time::timeout(Duration::from_millis(200), &mut joined).await;
        assert!(early.is_err(), "it has joined and cannot beat yet");
        drop(may_look);
        joined.await;
    });
}

#[test]
fn a_plan_that_the_broker_refuses_ends_no_node() {
    let mut test = TestApp::new(last_values(400)).nodes(2);
    let mut config = TopicConfig::default();
    config.set("cleanup.policy", "compact").unwrap();
    // Enough for a `Join`.
    config.set("max.message.bytes", "1500").unwrap();
    let broker = test.broker();
    broker.create_topic("last.control", 1, config, NOW).unwrap();
    test.advance(Duration::from_secs(5));
    let written = test.topic("last.control").raw().len();
    test.advance(Duration::from_secs(60));
    for node in ["n1", "n2"] {
        assert_eq!(test.ended(node), None);
    }
    let keys = test.topic("last.control").raw().into_iter();
    let keys: Vec<_> = keys.filter_map(|record| record.key).collect();
    assert!(
        !keys.iter().any(|key| key.starts_with(b"plan/")),
        "{keys:?}"
    );
    assert_eq!(keys.len(), written, "nobody has to join again");
}

#[test]
fn what_is_foreign_in_the_control_log_is_left_out_by_all() {
    let mut test = TestApp::new(last_values(2)).nodes(2);
    test.settle();
    for (key, value) in [
        ("oops", "garbage"),
        ("member/oops", r#"{"format":1,"record":{"decree":{}}}"#),
        ("plan/7/1", r#"{"format":0}"#),
    ] {
        let (key, value) = (Some(key.into()), Some(value.into()));
        test.topic("last.control")
            .send_bytes(Millis(NOW.0), key, value);
    }
    test.topic("in").send("a", "1");
    test.settle();
    test.kill("n1");
    test.start("n1");
    test.topic("in").send("a", "2");
    test.settle();
    let last: Option<String> = test.table("last").get("a");
    assert_eq!(last.as_deref(), Some("2"));
}

#[test]
fn a_handler_that_never_ends_holds_up_neither_its_shard_nor_its_node() {
    let mut test = TestApp::new(last_values(1)).nodes(2);
    test.topic("in").send("a", "1");
    test.settle();
    let (stuck, other) = match test.active_of("last", "a").as_str() {
        "n1" => ("n1", "n2"),
        _ => ("n2", "n1"),
    };
    test.topic("in").send("b", "hang");
    test.advance(Duration::from_secs(1));
    let before = test.now();
    let stopped = test.stop(stuck).unwrap();
    assert_eq!(stopped, NodeExit::Stopped { committed: true });
    let took_ms = test.now().0 - before.0;
    let limit = ClusterSettings::default().leave_timeout;
    assert!(took_ms < limit.as_millis() as i64, "{took_ms} ms");
    test.advance(Duration::from_secs(1));
    assert_eq!(test.active_of("last", "a").as_str(), other);
    let states = test.status(other).into_iter().map(|status| status.state);
    assert_eq!(states.collect::<Vec<_>>(), [ShardState::Running]);
    // What was in hand is undone, all of it.
    let sent = test.topic("out").records::<String, String>();
    assert_eq!(sent, [("a".into(), "1".into())]);
    let last: Option<String> = test.table("last").get("b");
    assert_eq!(last, None);
}

#[test]
fn what_is_written_to_the_control_log_is_written_again_if_its_fate_is_unknown() {
    for (fault, written) in [Fault::LoseRequest, Fault::LoseAnswer]
        .into_iter()
        .flat_map(|fault| (1..=3).map(move |written| (fault, written)))
    {
        let mut test = TestApp::new(last_values(2));
        // The first is the `Join`.
        while test.topic("last.control").raw().len() < written {
            test.advance(Duration::from_millis(1));
        }
        let rule = FaultRule::new(fault).api(ApiKey::Produce);
        let rule = test.broker().faults().add(rule.times(u64::MAX));
        // Longer than a request is repeated.
        test.advance(Duration::from_secs(40));
        let hits = test.broker().faults().hits(rule);
        assert!(hits > 0, "{written}");
        test.broker().faults().remove(rule);
        test.topic("in").send("a", "1");
        test.settle();
        let last: Option<String> = test.table("last").get("a");
        assert_eq!(
            last.as_deref(),
            Some("1"),
            "{fault:?} after {written} records"
        );
    }
}
