//! What the broker refuses, as Kafka does.

use super::*;

#[test]
fn however_many_records_overtake_a_slow_one_all_are_committed_and_none_twice() {
    for others in [100, 3000] {
        let mut app = App::new("overtaken");
        let words = app.topic::<String, u64>("words").partitions(1);
        let out = app.topic::<String, u64>("out").partitions(1);
        app.agent_fn("slow", &words, async move |word, cx| {
            if word.key == "slow" {
                tokio::time::sleep(Duration::from_secs(60)).await;
            }
            cx.send(&out, word.key, word.value)
        })
        .concurrency(8);
        let mut test = TestApp::new(app);
        test.topic("words").send("slow", 0_u64);
        for number in 1..=others {
            test.topic("words").send(format!("k{number}"), number);
        }
        test.advance(Duration::from_secs(10));
        let out = test.topic("out").records::<String, u64>();
        assert_eq!(out.len() as u64, others, "all but the slow one");
        test.kill("n1");
        test.start("n1");
        test.settle();
        let out = test.topic("out").records::<String, u64>();
        let mut numbers: Vec<u64> = out.into_iter().map(|(_, number)| number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..=others).collect::<Vec<_>>());
    }
}

/// The shards of n1 that are broken, and why.
fn broken(test: &mut TestApp) -> Vec<(String, String)> {
    let shards = test.status("n1").into_iter();
    let broken = shards.filter_map(|status| match status.state {
        ShardState::Broken { reason } => Some((status.shard.to_string(), reason)),
        _ => None,
    });
    broken.collect()
}

#[test]
fn a_record_that_the_broker_refuses_breaks_its_shard_and_no_other() {
    for guarantee in [Guarantee::ExactlyOnce, Guarantee::AtLeastOnce] {
        let mut app = App::new("refused");
        let words = app.topic::<String, String>("words").partitions(4);
        let out = app.topic::<Option<String>, String>("out").partitions(1);
        let out = out.setting("cleanup.policy", "compact");
        app.agent_fn("pass", &words, async move |word, cx| {
            let key = (word.value != "keyless").then_some(word.key);
            cx.send(&out, key, word.value)
        });
        let mut test = TestApp::new(app).settings(WorkerSettings {
            guarantee,
            ..WorkerSettings::default()
        });
        test.settle();
        // a is in partition 0, c in 2, d in 1 of four.
        for (key, value) in [("a", "1"), ("d", "keyless"), ("c", "1")] {
            test.topic("words").send(key, value);
        }
        test.advance(Duration::from_secs(20));
        for key in ["a", "c", "d"] {
            test.topic("words").send(key, "2");
        }
        test.settle();
        let broken = broken(&mut test);
        let [(shard, reason)] = &broken[..] else {
            panic!("{guarantee:?}: one shard, not {broken:?}");
        };
        assert!(shard.ends_with('1'), "{shard}");
        assert!(
            reason.contains("a record for out[0] was refused"),
            "{reason}"
        );
        let mut out = test.topic("out").raw();
        out.sort_by(|one, other| (&one.key, &one.value).cmp(&(&other.key, &other.value)));
        if guarantee == Guarantee::AtLeastOnce {
            out.dedup_by(|one, other| (&one.key, &one.value) == (&other.key, &other.value));
        }
        assert_eq!(out.len(), 4, "{guarantee:?}: {out:?}");
    }
}

#[test]
fn a_record_that_is_too_large_breaks_its_shard_before_the_broker_sees_it() {
    let settings = WorkerSettings {
        max_record_bytes: 1000,
        ..WorkerSettings::default()
    };
    let check = |app: App, expected: &str| {
        let mut test = TestApp::new(app).settings(settings.clone());
        test.topic("words").send("a", "x".repeat(800));
        test.topic("words").send("d", "x".repeat(2000));
        test.topic("words").send("c", "x".repeat(800));
        test.advance(Duration::from_secs(60));
        test.topic("words").send("a", "x".repeat(800));
        test.settle();
        let broken = broken(&mut test);
        let [(_, reason)] = &broken[..] else {
            panic!("one shard, not {broken:?}");
        };
        assert!(reason.contains(expected), "{reason}");
    };
    let words = |app: &mut App| app.topic::<String, String>("words").partitions(4);

    let mut app = App::new("headers");
    let (words_topic, out) = (words(&mut app), app.topic::<String, String>("out"));
    app.agent_fn("headers", &words_topic, async move |word, cx| {
        let headers = Headers::new().with("large", word.value);
        cx.send_record(
            &out,
            OutputRecord::new(word.key, "small".to_owned()).headers(headers),
        )
    });
    check(app, "topic out: a record of 20");

    let mut app = App::new("rekeyed");
    let by_length = words(&mut app).group_by("length", |word| word.value.len() as u64);
    app.agent_fn("rekeyed", by_length, async |_, _| Ok(()));
    check(app, "is over the limit of 1000");

    let mut app = App::new("tables");
    struct Keeps(Table<String, String>);
    impl Agent for Keeps {
        type Key = String;
        type Value = String;
        async fn handle(&mut self, word: Record<String, String>, _: &mut Context) -> Handled {
            self.0
                .update(&word.key, |last| *last = word.value.clone())?;
            Ok(())
        }
    }
    let (words_topic, last) = (words(&mut app), app.table::<String, String>("last"));
    app.agent("keeps", &words_topic, move |shard| {
        Keeps(shard.table(&last))
    });
    check(app, "table last: key d has come to 20");
}

/// Takes a large record through both kinds of topics of its own.
fn large() -> TestApp {
    let mut app = App::new("large");
    let words = app
        .topic::<String, String>("words")
        .partitions(1)
        .setting("max.message.bytes", "4000000");
    let by_length = words.group_by("length", |word| word.value.len() as u64);
    let last = app.table::<u64, String>("last");
    struct Keeps(Table<u64, String>);
    impl Agent for Keeps {
        type Key = u64;
        type Value = String;
        async fn handle(&mut self, word: Record<u64, String>, _: &mut Context) -> Handled {
            Ok(self.0.put(&word.key, word.value)?)
        }
    }
    app.agent("keeps", by_length, move |shard| Keeps(shard.table(&last)));
    TestApp::new(app).settings(WorkerSettings {
        max_record_bytes: 3_000_000,
        ..WorkerSettings::default()
    })
}

#[test]
fn own_topics_are_made_to_take_the_largest_record_that_the_settings_allow() {
    let mut test = large();
    test.topic("words").send("a", "x".repeat(2_900_000));
    test.settle();
    assert_eq!(broken(&mut test), []);
    assert_eq!(test.table("last").entries::<u64, String>().len(), 1);
}

#[test]
fn own_topics_that_take_less_than_the_settings_allow_are_refused() {
    for (topic, policy) in [
        ("large-last-changelog", "compact"),
        ("large-length-repartition", "delete"),
    ] {
        let mut test = large();
        test.stop("n1").unwrap();
        let (broker, now) = (test.broker(), tanist_broker::Millis(test.now().0));
        broker.delete_topic(topic, now).unwrap();
        let mut config = tanist_broker::TopicConfig::default();
        config.set("cleanup.policy", policy).unwrap();
        broker.create_topic(topic, 1, config, now).unwrap();
        test.start("n1");
        test.advance(Duration::from_secs(10));
        let why = test.ended("n1").expect("it has ended").unwrap_err();
        let expected = format!("topic {topic} takes records of up to 1048588 bytes");
        assert!(why.contains(&expected), "{why}");
        assert!(why.contains("max.message.bytes=3048588"), "{why}");
    }
}

#[test]
fn a_question_that_the_broker_refuses_is_asked_again_for_a_while() {
    for (times, is_broken) in [(3, false), (1000, true)] {
        let mut app = App::new("patient");
        let words = app.topic::<String, String>("words").partitions(1);
        let out = app.topic::<String, String>("out").partitions(1);
        app.agent_fn("pass", &words, async move |word, cx| {
            cx.send(&out, word.key, word.value)
        });
        let mut test = TestApp::new(app).nodes(2);
        test.topic("words").send("a", "1");
        test.settle();
        let refuse = tanist_broker::Fault::Refuse(tanist_broker::BrokerError::InvalidRequest);
        let rule = tanist_broker::FaultRule::new(refuse);
        let rule = rule.api(tanist_broker::ApiKey::OffsetFetch).times(times);
        test.broker().faults().add(rule);
        let nodes = ["n1", "n2"];
        let at_work = nodes.map(|node| {
            let mut shards = test.status(node).into_iter();
            shards.any(|shard| shard.state == ShardState::Running)
        });
        let active = nodes[usize::from(at_work[1])];
        test.kill(active);
        test.topic("words").send("a", "2");
        test.advance(Duration::from_secs(30));
        let heir = nodes[usize::from(at_work[0])];
        let state = test.status(heir).remove(0).state;
        assert_eq!(
            matches!(state, ShardState::Broken { .. }),
            is_broken,
            "{times}: {state}"
        );
        let out = test.topic("out").records::<String, String>();
        assert_eq!(out.len(), if is_broken { 1 } else { 2 });
    }
}
