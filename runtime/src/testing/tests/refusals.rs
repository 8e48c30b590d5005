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
