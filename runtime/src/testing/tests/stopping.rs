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
