//! What a node may say after it was frozen.

use super::*;

#[test]
fn a_node_that_was_frozen_is_not_sure_of_what_it_has_before_it_has_heard_of_itself() {
    let mut test = TestApp::new(orders()).nodes(2);
    test.settle();
    let is_sure = |test: &mut TestApp| test.driver().is_sure(&"n1".into());
    assert!(is_sure(&mut test));
    test.freeze("n1");
    test.advance(Duration::from_secs(3));
    test.thaw("n1");
    assert!(!is_sure(&mut test), "another has its shards by now");
    test.settle();
    assert!(is_sure(&mut test));
    // A broker that is away leaves it in the same doubt.
    test.broker().pause();
    test.advance(Duration::from_secs(2));
    assert!(!is_sure(&mut test));
}
