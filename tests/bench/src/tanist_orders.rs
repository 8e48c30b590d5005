//! The contestant: Tanist, doing what the loops do.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use rdkafka::Message;
use serde::{Deserialize, Serialize};
use tanist::codec::{Bincode, Codec};
use tanist::kafka::{Kafka, KafkaSettings};
use tanist::prelude::*;
use tanist_tests::reader::read_committed;

use crate::Result;
use crate::contest::Stage;
use crate::kafka::PATIENCE;
use crate::orders;

/// An order, whole, as an application would have it.
#[derive(Serialize, Deserialize)]
struct Order {
    account_id: String,
    product_id: String,
    amount: u32,
    price: f64,
}

/// What is kept per account.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Tally {
    count: u64,
    total: f64,
}

struct CountOrders {
    counts: Table<String, Tally>,
}

impl Agent for CountOrders {
    type Key = String;
    type Value = Order;

    async fn handle(&mut self, order: Record<String, Order>, _cx: &mut Context) -> Handled {
        let value = f64::from(order.value.amount) * order.value.price;
        self.counts.update(&order.key, |tally| {
            tally.count += 1;
            tally.total += value;
        })?;
        Ok(())
    }
}

/// What the contestant is told.
#[derive(Args)]
pub(crate) struct TanistArguments {
    #[arg(long)]
    broker: String,
    #[arg(long)]
    input: String,
    #[arg(long)]
    app: String,
    #[arg(long)]
    dir: PathBuf,
    /// Count by a key that the input does not have
    #[arg(long)]
    group_by: bool,
    /// Number of workers
    #[arg(long, default_value_t = 1)]
    workers: u32,
}

fn app(arguments: &TanistArguments) -> App {
    let mut app = App::new(&arguments.app);
    let counts = app.table::<String, Tally>("order_count");
    let count = move |shard: &ShardContext| CountOrders {
        counts: shard.table(&counts),
    };
    if arguments.group_by {
        let orders = app.topic::<Option<Vec<u8>>, Order>(&arguments.input);
        let by_account = orders.group_by("account", |order| order.value.account_id.clone());
        app.agent("count-orders", by_account, count);
    } else {
        let orders = app.topic::<String, Order>(&arguments.input);
        app.agent("count-orders", &orders, count);
    }
    app
}

pub(crate) fn run(arguments: &TanistArguments) -> Result<()> {
    use tanist_actors::port::TokioClock;
    use tanist_actors::worker::{Guarantee, Thread, WorkerSettings};
    let _ = tracing_subscriber::fmt().with_env_filter(std::env::var("RUST_LOG").unwrap_or("warn".into())).with_writer(std::io::stderr).try_init();
    let system = actix::System::new();
    system.block_on(async {
        let board: Arc<tanist::node::Board> = Arc::default();
        let kafka = Kafka::new(KafkaSettings::new(&arguments.broker, &arguments.app))?;
        let stores = tanist::store::RocksStores::open(&arguments.dir, &arguments.app, &Default::default())?;
        let admin = Kafka::new(KafkaSettings::new(&arguments.broker, &arguments.app))?;
        use tanist_actors::port::{Broker as _, TopicPartition};
        let parts: Vec<_> = (0..8).map(|p| TopicPartition::new(&*arguments.input, tanist_cluster::Partition(p))).collect();
        let ends = admin.offsets(&parts).await?;
        let guarantee = match std::env::var("G").as_deref() { Ok("alo") => Guarantee::AtLeastOnce, Ok("amo") => Guarantee::AtMostOnce, _ => Guarantee::ExactlyOnce };
        let node = tanist::node::Node::join(tanist::node::NodeParts {
            app: Arc::new(app(arguments)),
            name: "n1".into(),
            workers: arguments.workers,
            settings: WorkerSettings { guarantee, ..WorkerSettings::default() },
            broker: Arc::new(kafka),
            stores: Arc::new(stores),
            clock: Arc::new(TokioClock::system()),
            thread: Thread::Own,
            board: board.clone(),
            http: None,
            incarnation: uuid::Uuid::new_v4(),
        }).await?;
        let (wish, wished) = tokio::sync::watch::channel(tanist::node::Wish::Run);
        let watch = async {
            let mut total_ends = None;
            loop {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let shards = board.shards();
                let done = |topic: &str, ends: &dyn Fn(i32) -> i64| {
                    let of: Vec<_> = shards.iter().flat_map(|s| s.inputs.values().filter(|i| &*i.topic == topic).map(move |i| (s.shard.partition.0, i.position.0))).collect();
                    of.len() == 8 && of.iter().all(|(p, c)| *c >= ends(*p))
                };
                let first = done(&arguments.input, &|p| ends[&parts[p as usize]].end.0);
                if !first { continue }
                if !arguments.group_by { break }
                let topic = format!("{}-account-repartition", arguments.app);
                let rparts: Vec<_> = (0..8).map(|p| TopicPartition::new(&*topic, tanist_cluster::Partition(p))).collect();
                if total_ends.is_none() {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    total_ends = Some(admin.offsets(&rparts).await.unwrap());
                }
                let ends = total_ends.as_ref().unwrap();
                if done(&topic, &|p| ends[&rparts[p as usize]].end.0 - 1) { break }
            }
            let _ = wish.send(tanist::node::Wish::Stop);
            std::future::pending::<()>().await
        };
        tokio::select! {
            exit = node.run(wished) => { eprintln!("{:?} {:?}", exit?, board.totals()); }
            () = watch => {}
        }
        Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    })?;
    Ok(())
}

/// Whether the changelog, as committed, holds the tally of every account.
pub(crate) fn check(stage: &Stage, records: u64) -> Result<()> {
    let mut found = std::collections::BTreeMap::new();
    let mut undecodable = 0;
    let changelog = format!("{}-order_count-changelog", stage.app);
    read_committed(&stage.broker, &changelog, PATIENCE, |record| {
        let key = record.key().unwrap_or_default();
        if key.first() == Some(&0xff) {
            return;
        }
        let value = record.payload().unwrap_or_default();
        match Codec::<Tally>::decode(&Bincode, value.get(2..).unwrap_or_default()) {
            Ok(Tally { count, total }) => {
                let account = String::from_utf8_lossy(key).into_owned();
                found.insert(account, orders::Tally { count, total });
            }
            Err(_) => undecodable += 1,
        }
    })?;
    crate::orders_count::compare(&found, &crate::orders_count::expected(records), undecodable)
}

pub(crate) fn command(stage: &Stage, more: &[&str]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("tanist").args(["--broker", &stage.broker, "--input", &stage.input, "--app", &stage.app]);
    command.arg("--dir").arg(&stage.dir).args(more);
    Ok(command)
}
