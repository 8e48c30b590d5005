//! The app that is simulated: it counts orders by product, as they come, and by account, through a repartition topic.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::schedule::Shape;
use crate::prelude::*;

pub(super) const ORDERS: &str = "orders";
/// Each table, and the topic to which its counts go.
pub(super) const COUNTS: [(&str, &str); 2] = [
    ("products", "product-counts"),
    ("accounts", "account-counts"),
];
pub(super) const PARTITIONS: i32 = 2;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) account: String,
    /// How long it takes to handle it.
    pub(super) takes_ms: u64,
}

/// What goes out for each order.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Counted {
    pub(super) count: u64,
    /// Which instance of the agent: those that were made later have higher numbers.
    pub(super) writer: u64,
}

struct Count {
    counts: Table<String, u64>,
    out: Topic<String, Counted>,
    me: u64,
}

impl Agent for Count {
    type Key = String;
    type Value = Order;

    async fn handle(&mut self, order: Record<String, Order>, cx: &mut Context) -> Handled {
        if order.value.takes_ms > 0 {
            tokio::time::sleep(Duration::from_millis(order.value.takes_ms)).await;
        }
        let count = self.counts.update(&order.key, |count| {
            *count += 1;
            *count
        })?;
        let writer = self.me;
        cx.send(&self.out, order.key, Counted { count, writer })
    }
}

pub(super) fn app(shape: &Shape) -> App {
    let mut app = App::new("sim");
    let writers = Arc::<AtomicU64>::default();
    let orders = app.topic::<String, Order>(ORDERS).partitions(PARTITIONS);
    let by_account = orders.group_by("account", |order| order.value.account.clone());
    for ((table, out), input) in COUNTS.into_iter().zip([Stream::from(&orders), by_account]) {
        let counts = app.table::<String, u64>(table).standbys(shape.standbys);
        let out = app.topic::<String, Counted>(out).partitions(PARTITIONS);
        let writers = writers.clone();
        app.agent(table, input, move |shard| Count {
            counts: shard.table(&counts),
            out: out.clone(),
            me: writers.fetch_add(1, Ordering::Relaxed),
        })
        .concurrency(shape.lanes);
    }
    app
}
