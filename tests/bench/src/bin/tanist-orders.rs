//! The contestant: an ordinary Tanist app that does what the loops do, run by its ordinary command line. What differs
//! from run to run comes by the environment.

use std::env;

use tanist::prelude::*;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// An order, whole, as an application would have it.
#[derive(Serialize, Deserialize)]
struct Order {
    account_id: String,
    product_id: String,
    amount: u32,
    price: f64,
}

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

fn main() -> tanist::Result<()> {
    let told = |variable| env::var(variable).unwrap_or_default();
    let mut app = App::new(&told("BENCH_APP"));
    let input = told("BENCH_INPUT");
    let counts = app.table::<String, Tally>("order_count");
    let count = move |shard: &ShardContext| CountOrders {
        counts: shard.table(&counts),
    };
    if told("BENCH_KEYS") == "other" {
        let orders = app.topic::<Option<Vec<u8>>, Order>(&input);
        let by_account = orders.group_by("account", |order| order.value.account_id.clone());
        app.agent("count-orders", by_account, count);
    } else {
        let orders = app.topic::<String, Order>(&input);
        app.agent("count-orders", &orders, count);
    }
    app.main()
}
