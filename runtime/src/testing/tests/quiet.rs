//! What becomes of an app to which nothing is sent for a long time.

use super::*;

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A shard without tables that is filled by hand, and one that is filled by `group_by`.
fn echo() -> App {
    let mut app = App::new("echo");
    let words = app
        .topic::<String, String>("words")
        .partitions(1)
        .setting("retention.ms", "-1");
    let out = app
        .topic::<String, String>("out")
        .partitions(1)
        .setting("retention.ms", "-1");
    let by_word = words.group_by("word", |word| word.value.clone());
    app.agent_fn("echo", by_word, async move |word, cx| {
        cx.send(&out, word.key, word.value)
    });
    app
}

#[test]
fn positions_of_shards_without_tables_outlive_what_kafka_keeps_of_a_quiet_group() {
    let mut test = TestApp::new(echo());
    test.topic("words").send("a", "once");
    test.settle();
    test.advance(HOUR * 3 / 2);
    test.stop("n1").unwrap();
    // Seven days after the record, but not after the positions were committed again.
    test.advance(DAY * 7 - HOUR);
    test.start("n1");
    test.topic("words").send("a", "twice");
    test.settle();
    let out = test.topic("out").records::<String, String>();
    let words: Vec<&str> = out.iter().map(|(_, word)| &**word).collect();
    assert_eq!(words, ["once", "twice"]);
}
