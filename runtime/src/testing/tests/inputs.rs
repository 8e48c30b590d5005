//! What becomes of inputs that change under an app.

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// Counts words in a table.
fn count() -> App {
    let mut app = App::new("count");
    let words = app.topic::<String, String>("words").partitions(1);
    let counts = app.table::<String, u64>("counts");
    app.agent("count", &words, move |shard| Count {
        counts: shard.table(&counts),
    });
    app
}

struct Count {
    counts: Table<String, u64>,
}

impl Agent for Count {
    type Key = String;
    type Value = String;

    async fn handle(&mut self, word: Record<String, String>, _: &mut Context) -> Handled {
        Ok(self.counts.update(&word.key, |count| *count += 1)?)
    }
}

/// Passes words on, without a table; `lanes` at a time.
fn pass(lanes: usize) -> App {
    let mut app = App::new("pass");
    let words = app.topic::<String, String>("words").partitions(1);
    let out = app.topic::<String, String>("out").partitions(1);
    app.agent_fn("pass", &words, async move |word, cx| {
        if word.value == "slow" {
            tokio::time::sleep(MINUTE * 60).await;
        }
        cx.send(&out, word.key, word.value)
    })
    .concurrency(lanes);
    app
}

fn send(test: &mut TestApp, count: usize, word: &str) {
    for number in 0..count {
        test.topic("words").send(format!("k{number}"), word);
    }
}

fn make_anew(test: &mut TestApp, topic: &str) {
    let (broker, now) = (test.broker(), tanist_broker::Millis(test.now().0));
    broker.delete_topic(topic, now).unwrap();
    broker
        .create_topic(topic, 1, Default::default(), now)
        .unwrap();
}

/// Why the one shard is broken.
fn broken(test: &mut TestApp) -> String {
    match test.status("n1").remove(0).state {
        ShardState::Broken { reason } => reason,
        state => panic!("the shard is {state}"),
    }
}

fn words_out(test: &mut TestApp) -> usize {
    test.topic("out").records::<String, String>().len()
}

#[test]
fn an_input_made_anew_while_nobody_ran_is_not_read_from_the_old_position() {
    let mut test = TestApp::new(count());
    send(&mut test, 10, "old");
    test.settle();
    test.stop("n1").unwrap();
    make_anew(&mut test, "words");
    send(&mut test, 15, "new");
    for _ in 0..2 {
        test.start("n1");
        test.settle();
        let reason = broken(&mut test);
        assert!(
            reason.starts_with("input words[0] was deleted and made anew"),
            "{reason}"
        );
        assert!(reason.contains("under another app id"), "{reason}");
        test.kill("n1");
    }
}

#[test]
fn an_input_made_anew_while_it_is_read_is_noticed() {
    for lanes in [1, 8] {
        let mut test = TestApp::new(pass(lanes));
        send(&mut test, 10, "old");
        test.settle();
        make_anew(&mut test, "words");
        send(&mut test, 15, "new");
        test.advance(MINUTE);
        let reason = broken(&mut test);
        assert!(
            reason.starts_with("input words[0] was deleted and made anew"),
            "{reason}"
        );
        let way_out = "kafka-consumer-groups --group pass --topic words:0 --reset-offsets";
        assert!(reason.contains(way_out), "{reason}");
    }
}

#[test]
fn an_input_made_anew_is_read_from_its_beginning_where_there_is_no_table_and_no_position() {
    let mut test = TestApp::new(pass(1));
    send(&mut test, 10, "old");
    test.settle();
    test.stop("n1").unwrap();
    // With the topic, brokers forget the positions in it.
    make_anew(&mut test, "words");
    send(&mut test, 15, "new");
    test.start("n1");
    test.settle();
    assert_eq!(words_out(&mut test), 25);
}

/// The one position of the group, written again, as by Kafka's own tool or after the topic was made anew.
fn commit(test: &mut TestApp, offset: i64, metadata: Option<String>) {
    let (broker, now) = (test.broker(), tanist_broker::Millis(test.now().0));
    let committed = tanist_broker::Committed {
        offset,
        leader_epoch: None,
        metadata,
    };
    let words = tanist_broker::TopicPartition::new("words", 0);
    broker
        .commit_offsets("pass", &[(words, committed)], now)
        .unwrap();
}

#[test]
fn a_position_without_a_table_is_of_the_topic_that_stands_beside_it() {
    for (lanes, first) in [(1, "old"), (8, "slow")] {
        let mut test = TestApp::new(pass(lanes));
        send(&mut test, 1, first);
        send(&mut test, 9, "old");
        test.advance(MINUTE);
        test.kill("n1");
        let now = tanist_broker::Millis(test.now().0);
        let place = tanist_broker::TopicPartition::new("words", 0);
        let before = test.broker().committed_offset("pass", &place, true, now);
        let before = before.unwrap().expect("it has a position");
        make_anew(&mut test, "words");
        send(&mut test, 15, "new");
        commit(&mut test, before.offset, before.metadata);
        test.start("n1");
        test.advance(MINUTE);
        let reason = broken(&mut test);
        assert!(reason.contains("was deleted and made anew"), "{reason}");
        test.kill("n1");
        // What is advised helps.
        commit(&mut test, 0, None);
        let before = words_out(&mut test);
        test.start("n1");
        test.advance(MINUTE);
        assert_eq!(words_out(&mut test), before + 15);
    }
}

fn grow(test: &mut TestApp, partitions: i32) {
    let (broker, now) = (test.broker(), tanist_broker::Millis(test.now().0));
    broker.create_partitions("words", partitions, now).unwrap();
}

fn unread(test: &mut TestApp) -> Vec<String> {
    let unread = test.driver().node(&"n1".into()).board.unread();
    let texts = unread.iter().map(|(topic, it)| format!("{topic} {it}"));
    texts.collect()
}

#[test]
fn partitions_added_under_a_node_are_told_and_read_after_a_restart() {
    let mut app = App::new("grow");
    let words = app.topic::<String, String>("words");
    let out = app.topic::<String, String>("out").partitions(1);
    app.agent_fn("pass", &words, async move |word, cx| {
        cx.send(&out, word.key, word.value)
    });
    let mut test = TestApp::new(app);
    test.settle();
    grow(&mut test, 3);
    send(&mut test, 9, "new");
    assert_eq!(unread(&mut test), [""; 0]);
    test.advance(MINUTE);
    let told = unread(&mut test);
    assert_eq!(told.len(), 1);
    let expected = "words has 3 partitions by now, of which this app reads the 1";
    assert!(told[0].starts_with(expected), "{told:?}");
    assert!(told[0].contains("Stop all nodes"), "{told:?}");
    assert!(words_out(&mut test) < 9);
    test.stop("n1").unwrap();
    test.start("n1");
    test.settle();
    assert_eq!(words_out(&mut test), 9);
    test.advance(MINUTE);
    assert_eq!(unread(&mut test), [""; 0]);
}

#[test]
fn partitions_added_to_the_input_of_a_table_are_told_and_refused_after_a_restart() {
    let mut app = App::new("grow");
    let words = app.topic::<String, String>("words");
    let counts = app.table::<String, u64>("counts");
    app.agent("count", &words, move |shard| Count {
        counts: shard.table(&counts),
    });
    let mut test = TestApp::new(app);
    send(&mut test, 3, "old");
    test.settle();
    grow(&mut test, 3);
    test.advance(MINUTE);
    let told = unread(&mut test);
    assert!(told[0].contains("under another app id"), "{told:?}");
    test.stop("n1").unwrap();
    test.start("n1");
    test.advance(MINUTE);
    let ended = test.ended("n1").expect("it is refused").unwrap_err();
    let expected = "topic grow-counts-changelog, from which a table is restored, has 1 partitions, and the topics \
         that the table is divided as have 3: words";
    assert!(ended.contains(expected), "{ended}");
}
