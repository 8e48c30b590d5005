//! Handlers and timers that fail again and again, or now and then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

#[test]
fn two_poisoned_records_in_hand_at_once_stop_their_shard_as_one_does() {
    let calls = Arc::new(AtomicU64::new(0));
    let counted = calls.clone();
    let mut app = App::new("poisoned");
    let words = app.topic::<String, u64>("words").partitions(1);
    app.agent_fn("poisoned", &words, async move |_, _| {
        // In turn the one and the other is the first to fail, and cuts the other off.
        let call = counted.fetch_add(1, Ordering::Relaxed);
        let is_first = (call / 2) % 2 == call % 2;
        tokio::time::sleep(Duration::from_secs(if is_first { 1 } else { 2 })).await;
        Err(Failure::new("as it was asked to"))
    })
    .concurrency(2);
    let mut test = TestApp::new(app);
    for key in ["a", "b"] {
        test.topic("words").send(key, 0_u64);
    }
    test.advance(Duration::from_secs(60));
    let state = test.status("n1").remove(0).state;
    assert!(matches!(state, ShardState::Broken { .. }), "{state}");
    // The fifth failure of the one comes after four of the other; each time both were called.
    assert_eq!(calls.load(Ordering::Relaxed), 2 * (5 + 4));
}

#[test]
fn a_timer_that_fails_now_and_then_does_not_stop_its_shard() {
    let calls = AtomicU64::new(0);
    let mut app = App::new("ticks");
    let ticks = app.topic::<String, u64>("ticks");
    app.every(Duration::from_secs(1), async move |cx| {
        if calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(3) {
            return Err(Failure::new("as it was asked to"));
        }
        cx.send(&ticks, "tick", 1)
    });
    let mut test = TestApp::new(app);
    test.settle();
    test.advance(Duration::from_secs(60));
    let count = test.topic("ticks").records::<String, u64>().len();
    assert!((35..=40).contains(&count), "{count} ticks");
}
