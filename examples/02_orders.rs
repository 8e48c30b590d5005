//! Counts the orders of each account, exactly once: whatever is killed, `order-counts` holds the counts 1, 2, 3 ... of each
//! account, in order, without a gap or a repeat.
//!
//! ```text
//! orders --(by account)--> count-orders --> order-counts
//!                               |
//!                          order_count (table)
//! ```
//! `cargo run --example 02_orders -- up` runs a cluster of three nodes in one terminal, to be killed by keys. Or, in three
//! terminals:
//! ```text
//! cargo run --example 02_orders -- broker
//! cargo run --example 02_orders -- worker
//! cargo run --example 02_orders -- generate --rate 1000 --accounts 100
//! ```
//! and then `status`, `get order_count a17`, `scan order_count --limit 10`, `topology`, `--help`.

use tanist::prelude::*;
use tanist_examples as _; // the allocator

/// What comes in, under any key.
#[derive(Serialize, Deserialize)]
struct Order {
    account_id: String,
    product_id: String,
    amount: u32,
    price: f64,
}

/// What is known of an account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Tally {
    count: u64,
    total: f64,
}

/// What goes out for each order, under its account.
#[derive(Serialize, Deserialize)]
struct OrderCount {
    account_id: String,
    count: u64,
    total: f64,
    order_ts: Millis,
}

impl Tally {
    fn add(&mut self, order: &Order) -> Self {
        self.count += 1;
        self.total += f64::from(order.amount) * order.price;
        self.clone()
    }
}

/// One for each partition; its table is the part of `order_count` that goes with it.
struct CountOrders {
    counts: Table<String, Tally>,
    updates: Topic<String, OrderCount>,
}

impl Agent for CountOrders {
    type Key = String;
    type Value = Order;

    async fn handle(&mut self, order: Record<String, Order>, cx: &mut Context) -> Handled {
        let Tally { count, total } = self
            .counts
            .update(&order.key, |tally| tally.add(&order.value))?;
        let update = OrderCount {
            account_id: order.key.clone(),
            count,
            total,
            order_ts: order.timestamp,
        };
        cx.send(&self.updates, order.key, update)
    }
}

fn orders() -> App {
    let mut app = App::new("orders");
    let orders = app.topic::<Option<Vec<u8>>, Order>("orders").partitions(8);
    let updates = app
        .topic::<String, OrderCount>("order-counts")
        .partitions(8);
    let counts = app.table::<String, Tally>("order_count").standbys(1);

    let by_account = orders.group_by("account", |order| order.value.account_id.clone());
    app.agent("count-orders", by_account, move |shard| CountOrders {
        counts: shard.table(&counts),
        updates: updates.clone(),
    });

    app.generator("Send random orders", async move |args: Generate, client| {
        let mut random = Random(args.seed);
        let mut pace = client.pace(args.rate);
        let mut left = args.records.unwrap_or(u64::MAX);
        while left > 0 && pace.step().await {
            let order = random.order(args.accounts);
            let key = order.product_id.clone().into_bytes();
            client.send(&orders, key, &order).await?;
            left -= 1;
        }
        client.flush().await
    });
    app.judge("check-orders");
    app
}

#[derive(clap::Args)]
struct Generate {
    /// Orders a second; 0 is as many as possible
    #[arg(long, default_value_t = 1000.0)]
    rate: f64,
    /// Accounts that they are spread over
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    accounts: u32,
    /// Stop after so many [default: go on until Ctrl-C]
    #[arg(long)]
    records: Option<u64>,
    /// The same seed makes the same orders
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % u64::from(limit)) as u32
    }

    fn order(&mut self, accounts: u32) -> Order {
        Order {
            account_id: format!("a{}", self.below(accounts)),
            product_id: format!("p{}", self.below(100)),
            amount: 1 + self.below(5),
            price: f64::from(1 + self.below(200)) / 2.0,
        }
    }
}

fn main() -> tanist::Result<()> {
    orders().main()
}

#[cfg(test)]
mod tests {
    use tanist::testing::TestApp;

    use super::*;

    fn order(account_id: &str, amount: u32, price: f64) -> Order {
        Order {
            account_id: account_id.into(),
            product_id: "p1".into(),
            amount,
            price,
        }
    }

    #[test]
    fn an_account_keeps_its_count_when_its_node_dies() {
        let mut test = TestApp::new(orders()).nodes(2).seed(7);
        test.topic("orders").send("any", order("a1", 2, 9.5));
        test.settle();
        test.kill(test.active_of("order_count", "a1"));
        test.topic("orders").send("any", order("a1", 1, 4.0));
        test.settle();
        let tally = test.table("order_count").get("a1");
        assert_eq!(
            tally,
            Some(Tally {
                count: 2,
                total: 23.0
            })
        );
    }
}
