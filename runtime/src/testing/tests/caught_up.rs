//! Nodes that end when the inputs are read.

use super::*;
use crate::node::Wish;

#[test]
fn a_node_that_has_caught_up_fails_if_a_shard_has_stopped_on_another() {
    let mut test = TestApp::new(orders()).nodes(2);
    test.settle();
    let (key, garbage) = (Some(b"any".to_vec()), Some(b"garbage".to_vec()));
    let now = test.now();
    test.topic("orders").send_bytes(now, key, garbage);
    test.settle();
    test.advance(Duration::from_secs(60));
    let plans = test.driver().view().epoch().0;
    assert!(plans < 10, "what breaks everywhere stays: {plans} plans");
    let name = test.add();
    test.driver().node(&name).wish(Wish::StopWhenCaughtUp);
    test.advance(Duration::from_secs(10));
    let ended = test.ended(name);
    let error = ended.expect("it has caught up").unwrap_err();
    assert!(error.contains("cannot catch up, because shard"), "{error}");
}
