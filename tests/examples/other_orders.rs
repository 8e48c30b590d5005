//! Another program under the id of the example `02_orders`: the nodes of the one must not let in those of the other.

use tanist::prelude::*;

#[derive(Serialize, Deserialize)]
struct Order {
    amount: u32,
}

fn main() -> tanist::Result<()> {
    let mut app = App::new("orders");
    let orders = app.topic::<Option<Vec<u8>>, Order>("orders").partitions(8);
    app.agent_fn("look-at-orders", &orders, async |_, _cx| Ok(()));
    app.main()
}
