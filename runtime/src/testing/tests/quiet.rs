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

/// Keeps words by their key, and says what it has of one when it is asked.
fn keep() -> App {
    let mut app = App::new("keep");
    let words = app.topic::<String, String>("words").partitions(1);
    let out = app.topic::<String, String>("out").partitions(1);
    let kept = app.table::<String, String>("kept");
    app.agent("keep", &words, move |shard| Keep {
        kept: shard.table(&kept),
        out: out.clone(),
    });
    app
}

struct Keep {
    kept: Table<String, String>,
    out: Topic<String, String>,
}

impl Agent for Keep {
    type Key = String;
    type Value = String;

    async fn handle(&mut self, word: Record<String, String>, cx: &mut Context) -> Handled {
        match word.value.as_str() {
            "delete" => self.kept.delete(&word.key)?,
            "get" => {
                let found = format!("{:?}", self.kept.get(&word.key)?);
                cx.send(&self.out, word.key, found)?;
            }
            _ => self.kept.put(&word.key, word.value)?,
        }
        Ok(())
    }
}

#[test]
fn a_deleted_key_stays_deleted_when_its_deletion_is_gone_from_the_changelog() {
    for seed in 0..12 {
        let mut test = TestApp::new(keep()).seed(seed);
        for (key, word) in [
            ("a", "1"),
            ("b", "1"),
            ("a", "delete"),
            ("c", "1"),
            ("d", "1"),
        ] {
            test.topic("words").send(key, word);
            test.settle();
        }
        // With some prefix of what was written.
        test.kill("n1");
        let changelog = tanist_broker::TopicPartition::new("keep-kept-changelog", 0);
        for _ in 0..2 {
            let now = tanist_broker::Millis(test.now().0);
            test.broker().compact(&changelog, now).unwrap();
            test.advance(HOUR * 25);
        }
        test.start("n1");
        test.topic("words").send("a", "get");
        test.topic("words").send("b", "get");
        test.settle();
        let found: Vec<_> = test.topic("out").records::<String, String>();
        let found: Vec<&str> = found.iter().map(|(_, found)| &**found).collect();
        assert_eq!(found, ["None", "Some(\"1\")"], "seed {seed}");
    }
}

/// Sends a word, and leaves the app alone for longer than Kafka keeps its positions.
fn away(test: &mut TestApp) {
    test.topic("words").send("a", "once");
    test.settle();
    test.kill("n1");
    test.advance(DAY * 8);
}

fn words(test: &mut TestApp) -> Vec<String> {
    let out = test.topic("out").records::<String, String>();
    out.into_iter().map(|(_, word)| word).collect()
}

#[test]
fn a_shard_without_tables_whose_position_was_forgotten_says_so_and_processes_nothing_again() {
    let mut test = TestApp::new(echo());
    away(&mut test);
    test.start("n1");
    test.topic("words").send("a", "twice");
    test.advance(HOUR);
    for shard in test.status("n1") {
        let ShardState::Broken { reason } = &shard.state else {
            panic!("{shard:?}");
        };
        assert!(reason.contains("does not say any more how far"), "{reason}");
        assert!(reason.contains("--reset-offsets"), "{reason}");
    }
    assert_eq!(words(&mut test), ["once"]);
    test.kill("n1");
    // What is advised.
    let (broker, now) = (test.broker(), tanist_broker::Millis(test.now().0));
    for topic in ["words", "echo-word-repartition"] {
        let place = tanist_broker::TopicPartition::new(topic, 0);
        let position = tanist_broker::Committed {
            offset: 1,
            ..Default::default()
        };
        let group = [(place, position)];
        broker.commit_offsets("echo", &group, now).unwrap();
    }
    test.start("n1");
    test.settle();
    assert_eq!(words(&mut test), ["once", "twice"]);
}

#[test]
fn an_input_that_is_new_to_an_app_is_read_from_its_beginning_however_long_it_was_away() {
    let mut test = TestApp::new(echo());
    away(&mut test);
    let (broker, now) = (test.broker(), tanist_broker::Millis(test.now().0));
    for topic in ["words", "echo-word-repartition"] {
        broker.delete_topic(topic, now).unwrap();
    }
    test.start("n1");
    test.settle();
    test.topic("words").send("a", "anew");
    test.settle();
    assert_eq!(words(&mut test), ["once", "anew"]);
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

#[test]
fn that_a_topic_is_read_is_noted_when_the_last_member_has_gone_that_could_not_read_the_note() {
    let mut test = TestApp::new(echo());
    test.advance(Duration::from_secs(1));
    let control = test.topic("echo.control").raw();
    let join = control.into_iter().find_map(|record| {
        let value = String::from_utf8(record.value?.to_vec()).ok()?;
        value.contains("\"join\"").then_some(value)
    });
    // As builds from before the second format wrote it.
    let mut old: serde_json::Value = serde_json::from_str(&join.unwrap()).unwrap();
    let incarnation = uuid::Uuid::from_u128(7).to_string();
    old["record"]["join"]["node"] = "old".into();
    old["record"]["join"]["incarnation"] = incarnation.clone().into();
    let fields = old["record"]["join"].as_object_mut().unwrap();
    fields.remove("reads_format").unwrap();
    // It is somebody else's, by which it would be found out at once.
    fields.remove("http");
    let (key, now) = (format!("member/{incarnation}"), test.now());
    let (key, value) = (Some(key.into_bytes()), Some(old.to_string().into_bytes()));
    test.topic("echo.control").send_bytes(now, key, value);
    test.topic("words").send("a", "once");
    let noted = |test: &mut TestApp| {
        let keys = test.topic("echo.control").raw().into_iter();
        let keys = keys.filter_map(|record| record.key);
        keys.filter(|key| key.starts_with(b"begun/")).count()
    };
    test.advance(Duration::from_millis(900));
    assert_eq!(words(&mut test), ["once"]);
    assert_eq!(noted(&mut test), 0);
    // It never beats, and is put out.
    test.settle();
    assert_eq!(noted(&mut test), 2);
}
