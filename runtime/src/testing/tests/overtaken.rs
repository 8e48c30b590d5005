//! Records that overtook a slow one, with `concurrency(n)`, when their node dies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tanist_cluster::Offset;

use super::*;

#[test]
fn what_had_overtaken_a_slow_record_before_a_restart_does_not_count_as_unread_after_it() {
    // More than a consumer reads at once: the last of them come when the first has been committed.
    const RECORDS: u64 = 500;
    let is_slow = Arc::new(AtomicBool::new(true));
    let mut app = App::new("slow");
    let words = app.topic::<u64, u64>("words").partitions(1);
    let out = app.topic::<u64, u64>("out").partitions(1);
    let slow = is_slow.clone();
    app.agent_fn("slow", &words, async move |word, cx| {
        if word.key == 0 && slow.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_secs(3_600)).await;
        }
        cx.send(&out, word.key, word.value)
    })
    .concurrency(2);
    let mut test = TestApp::new(app);
    for number in 0..RECORDS {
        test.topic("words").send(number, number);
    }
    test.advance(Duration::from_secs(5));
    let done = test.topic("out").records::<u64, u64>();
    assert_eq!(done.len() as u64, RECORDS - 1, "all but the slow one");
    test.kill("n1");
    is_slow.store(false, Ordering::Relaxed);
    test.start("n1");
    test.advance(Duration::from_secs(5));
    let done = test.topic("out").records::<u64, u64>();
    assert_eq!(done.len() as u64, RECORDS, "each of them once");
    let status = test.status("n1");
    let committed = status[0].inputs.values().map(|input| input.committed);
    assert_eq!(committed.collect::<Vec<_>>(), [Offset(RECORDS as i64)]);
}
