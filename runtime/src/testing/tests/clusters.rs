//! Several nodes: who has what, and what becomes of it.

use tanist_cluster::NodeName;

use super::*;

/// The `orders` of the other tests, whose table has so many standbys.
fn with_standbys(standbys: u32) -> App {
    let mut app = App::new("orders");
    let orders = app.topic::<Option<Vec<u8>>, Order>("orders").partitions(4);
    let updates = app.topic::<String, Tally>("order-counts").partitions(4);
    let counts = app.table::<String, Tally>("order_count").standbys(standbys);
    let by_account = orders.group_by("account", |order| order.value.account_id.clone());
    app.agent("count-orders", by_account, move |shard| CountOrders {
        counts: shard.table(&counts),
        updates: updates.clone(),
    });
    app
}

fn send(test: &mut TestApp, count: u32) {
    for number in 0..count {
        let order = order(&format!("a{}", number % 9), 1);
        test.topic("orders").send(None::<String>, order);
    }
}

/// Each account was counted so often in all, and whoever has a copy of it has the same.
fn check(test: &mut TestApp, counted: u64, copies: usize) {
    let counts = check_counts(test);
    assert_eq!(counts.values().sum::<u64>(), counted);
    for account in counts.keys() {
        let mut held = 0;
        for node in ["n1", "n2", "n3"] {
            let tally = test.table("order_count").on(node).get::<Tally>(account);
            if let Some(tally) = tally {
                assert_eq!(tally.count, counts[account], "{account} on {node}");
                held += 1;
            }
        }
        assert_eq!(held, copies, "copies of {account}");
        let active = test.active_of("order_count", account);
        let tally = test.table("order_count").on(active).get::<Tally>(account);
        assert!(tally.is_some());
    }
}

#[test]
fn whoever_is_killed_frozen_or_stopped_the_others_go_on_and_the_copies_are_made_again() {
    for seed in 0..10 {
        let mut test = TestApp::new(with_standbys(1)).nodes(3).seed(seed);
        send(&mut test, 20);
        test.settle();
        check(&mut test, 20, 2);

        let active = test.active_of("order_count", "a1");
        test.kill(active.clone());
        send(&mut test, 20);
        test.settle();
        check(&mut test, 40, 2);
        assert_ne!(test.active_of("order_count", "a1"), active);

        test.start(active);
        test.settle();
        let active = test.active_of("order_count", "a2");
        test.freeze(active.clone());
        send(&mut test, 20);
        test.settle();
        assert_ne!(test.active_of("order_count", "a2"), active);
        test.thaw(active);
        send(&mut test, 20);
        test.settle();
        check(&mut test, 80, 2);

        let active = test.active_of("order_count", "a3");
        test.topic("orders").send(None::<String>, order("a3", 1));
        let exit = test.stop(active).unwrap();
        assert_eq!(exit, crate::node::NodeExit::Stopped { committed: true });
        test.settle();
        check(&mut test, 81, 2);
    }
}

#[test]
fn a_node_that_is_added_gets_its_share() {
    let mut test = TestApp::new(with_standbys(0));
    send(&mut test, 20);
    test.settle();
    assert_eq!(test.add(), NodeName::from("n2"));
    test.settle();
    let accounts = (0..9).map(|number| test.active_of("order_count", &format!("a{number}")));
    let nodes: std::collections::BTreeSet<NodeName> = accounts.collect();
    assert_eq!(nodes.len(), 2);
}

#[test]
fn a_cluster_is_determined_by_its_seed() {
    let run = |seed| {
        let mut test = TestApp::new(with_standbys(1)).nodes(3).seed(seed);
        for number in 0..60 {
            test.topic("orders")
                .send(None::<String>, order(&format!("a{}", number % 7), number));
            test.advance(Duration::from_millis(3));
            if number == 20 {
                test.kill("n1");
            }
            if number == 40 {
                test.start("n1");
            }
        }
        test.settle();
        let now = test.now();
        (
            test.topic("order-counts").raw(),
            test.topic("orders.control").raw(),
            now,
        )
    };
    assert!(run(1) == run(1), "two runs of one seed differ");
    assert!(run(1) != run(2), "two seeds give the same run");
}
