//! What has been processed leaves the topics between two steps; nothing else does.

use super::*;

const MINUTE: Duration = Duration::from_secs(60);
const BETWEEN: &str = "purging-word-repartition";

/// Passes words on behind a step; takes its time for a slow one, by which the others go.
fn app() -> App {
    let mut app = App::new("purging");
    let words = app.topic::<String, String>("words").partitions(1);
    let out = app.topic::<String, String>("out").partitions(1);
    let by_word = words.group_by("word", |word| word.value.clone());
    app.agent_fn("pass", by_word, async move |word, cx| {
        if word.value == "slow" {
            tokio::time::sleep(MINUTE * 10).await;
        }
        cx.send(&out, word.key, word.value)
    })
    .concurrency(8);
    app
}

/// Where the topic between the steps begins and ends.
fn bounds(test: &mut TestApp) -> (i64, i64) {
    let place = tanist_broker::TopicPartition::new(BETWEEN, 0);
    let bounds = test.broker().peek(&place).unwrap();
    (bounds.start, bounds.end)
}

fn out(test: &mut TestApp) -> Vec<String> {
    let out = test.topic("out").records::<String, String>();
    let mut words: Vec<String> = out.into_iter().map(|(_, word)| word).collect();
    words.sort();
    words
}

#[test]
fn what_is_processed_is_purged_and_what_is_left_is_found_by_whoever_comes_next() {
    for seed in 0..4 {
        let mut test = TestApp::new(app()).nodes(2).seed(seed);
        for word in ["a", "b"] {
            test.topic("words").send("k", word);
        }
        test.settle();
        test.advance(MINUTE);
        let (start, end) = bounds(&mut test);
        assert!(start == end && start >= 2, "seed {seed}: {start} to {end}");
        for word in ["slow", "c", "d"] {
            test.topic("words").send("k", word);
        }
        test.advance(MINUTE * 2);
        assert_eq!(
            bounds(&mut test).0,
            start,
            "seed {seed}: the slow one is not processed, and those after it are not purged before it is"
        );
        assert_eq!(out(&mut test), ["a", "b", "c", "d"], "all but the slow one");
        // To its heir, and back.
        for (node, other) in [("n1", "n2"), ("n2", "n1")] {
            test.kill(node);
            test.advance(MINUTE);
            assert!(test.ended(other).is_none());
            test.start(node);
            test.advance(MINUTE);
        }
        test.advance(MINUTE * 20);
        test.settle();
        assert_eq!(out(&mut test), ["a", "b", "c", "d", "slow"], "seed {seed}");
        test.advance(MINUTE);
        let (start, end) = bounds(&mut test);
        assert_eq!(start, end, "seed {seed}");
        test.topic("words").send("k", "e");
        test.settle();
        assert_eq!(out(&mut test).len(), 6, "seed {seed}");
    }
}

#[test]
fn a_purge_that_the_broker_refuses_changes_nothing() {
    let mut test = TestApp::new(app());
    let rule = tanist_broker::FaultRule::new(tanist_broker::Fault::Refuse(
        tanist_broker::BrokerError::PolicyViolation,
    ));
    let rule = rule.api(tanist_broker::ApiKey::DeleteRecords).times(3);
    test.broker().faults().add(rule);
    test.topic("words").send("k", "a");
    test.settle();
    test.advance(MINUTE);
    assert_eq!(bounds(&mut test).0, 0);
    test.topic("words").send("k", "b");
    test.settle();
    assert_eq!(out(&mut test), ["a", "b"]);
    test.advance(MINUTE * 2);
    assert!(bounds(&mut test).0 >= 2, "it was tried again");
}
