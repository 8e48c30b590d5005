//! Orderly stops, whatever the broker does meanwhile.

use tanist_broker::{ApiKey, Fault, FaultRule};

use super::*;
use crate::node::NodeExit;

#[test]
fn a_node_that_is_stopped_after_a_connection_broke_commits_by_a_new_producer() {
    for api in [ApiKey::AddPartitionsToTxn, ApiKey::Produce, ApiKey::EndTxn] {
        for fault in [Fault::CutAfter, Fault::CutBefore] {
            for seed in 0..5 {
                let mut test = TestApp::new(orders()).seed(seed);
                let send = |test: &mut TestApp| {
                    for account in ["a", "b", "c"] {
                        test.topic("orders").send(None::<String>, order(account, 1));
                    }
                };
                send(&mut test);
                test.settle();
                test.broker()
                    .faults()
                    .add(FaultRule::new(fault).api(api).client("n1"));
                send(&mut test);
                test.advance(Duration::from_millis(10 + 7 * seed));
                send(&mut test);
                test.advance(Duration::from_millis(3 * seed));
                let exit = test.stop("n1").unwrap();
                let stopped = NodeExit::Stopped { committed: true };
                assert_eq!(exit, stopped, "{api:?} {fault:?} seed {seed}");
                test.start("n1");
                test.settle();
                let counts = check_counts(&mut test);
                assert_eq!(counts.values().sum::<u64>(), 9);
            }
        }
    }
}

#[test]
fn a_node_that_is_stopped_leaves_what_waits_behind_a_hot_key_to_its_heir() {
    let mut app = App::new("hot");
    let words = app.topic::<String, u64>("words").partitions(1);
    let out = app.topic::<String, u64>("out").partitions(1);
    app.agent_fn("slow", &words, async move |word, cx| {
        tokio::time::sleep(Duration::from_secs(1)).await;
        cx.send(&out, word.key, word.value)
    })
    .concurrency(8);
    let mut test = TestApp::new(app);
    for number in 0..50_u64 {
        test.topic("words").send("hot", number);
    }
    test.advance(Duration::from_millis(4500));
    let begun = test.now();
    let exit = test.stop("n1").unwrap();
    let took = test.now().0 - begun.0;
    assert_eq!(exit, NodeExit::Stopped { committed: true });
    assert!(took < 3000, "{took} ms");
    test.start("n1");
    test.settle();
    let out = test.topic("out").records::<String, u64>();
    let numbers: Vec<u64> = out.into_iter().map(|(_, number)| number).collect();
    assert_eq!(numbers, (0..50).collect::<Vec<_>>());
}
