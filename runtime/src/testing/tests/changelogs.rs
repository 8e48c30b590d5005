//! Changelogs that are lost, and restores that are broken off.

use std::collections::BTreeSet;

use tanist_broker::TransactionalProducer;

use super::*;

/// Counts words, and remembers long ones, in one group.
fn words() -> App {
    let mut app = App::new("words");
    let words = app.topic::<String, String>("words").partitions(1);
    let counts = app.table::<String, u64>("counts");
    let long = app.table::<String, String>("long");
    app.agent("count", &words, move |shard| Words {
        counts: shard.table(&counts),
        long: shard.table(&long),
    });
    app
}

struct Words {
    counts: Table<String, u64>,
    long: Table<String, String>,
}

impl Agent for Words {
    type Key = String;
    type Value = String;

    async fn handle(&mut self, word: Record<String, String>, _: &mut Context) -> Handled {
        if word.value.len() > 5 {
            self.long.put(&word.key, word.value)?;
        } else {
            self.counts.update(&word.key, |count| *count += 1)?;
        }
        Ok(())
    }
}

const COUNTS: &str = "words-counts-changelog";
const LONG: &str = "words-long-changelog";

fn send(test: &mut TestApp, words: &[(&str, &str)]) {
    for (key, word) in words {
        test.topic("words").send(key, word);
        // Each in a commit of its own.
        test.settle();
    }
}

fn lose(test: &mut TestApp, topics: &[&str]) {
    for topic in topics {
        let now = tanist_broker::Millis(test.now().0);
        test.broker().delete_topic(topic, now).unwrap();
    }
}

/// Why the one shard is broken.
fn broken(test: &mut TestApp) -> String {
    test.settle();
    match test.status("n1").remove(0).state {
        ShardState::Broken { reason } => reason,
        state => panic!("the shard is {state}"),
    }
}

#[test]
fn a_changelog_that_is_lost_with_the_disk_is_missed_also_where_another_is_left() {
    for (lost, named) in [
        (&[COUNTS, LONG][..], COUNTS),
        (&[COUNTS], COUNTS),
        (&[LONG], LONG),
    ] {
        let mut test = TestApp::new(words());
        send(&mut test, &[("a", "aha"), ("b", "behind"), ("a", "aha")]);
        test.kill("n1");
        test.lose_disk("n1");
        lose(&mut test, lost);
        test.start("n1");
        let reason = broken(&mut test);
        let expected = format!("changelog {named}[0] has lost what was committed to it");
        assert!(reason.starts_with(&expected), "{lost:?}: {reason}");
        assert!(reason.contains("under another app id"), "{reason}");
    }
}

#[test]
fn a_changelog_that_is_made_anew_while_it_is_written_is_missed_at_the_next_commit() {
    let mut test = TestApp::new(words());
    send(&mut test, &[("a", "aha"), ("b", "behind"), ("a", "aha")]);
    lose(&mut test, &[COUNTS]);
    let mut config = tanist_broker::TopicConfig::default();
    config.set("cleanup.policy", "compact").unwrap();
    let now = tanist_broker::Millis(test.now().0);
    test.broker().create_topic(COUNTS, 1, config, now).unwrap();
    test.topic("words").send("a", "aha");
    let reason = broken(&mut test);
    let expected = format!("changelog {COUNTS} was deleted and made anew, or cut off: ");
    assert!(reason.starts_with(&expected), "{reason}");
    assert!(reason.contains("under another app id"), "{reason}");
}

#[test]
fn a_changelog_that_is_lost_while_the_disk_is_there_is_missed() {
    for lost in [COUNTS, LONG] {
        let mut test = TestApp::new(words());
        send(&mut test, &[("a", "aha"), ("b", "behind")]);
        test.stop("n1").unwrap();
        lose(&mut test, &[lost]);
        test.start("n1");
        let reason = broken(&mut test);
        let expected = format!("changelog {lost}[0] was truncated or created anew");
        assert!(reason.starts_with(&expected), "{reason}");
    }
}

/// As after a broker was killed: what was committed is there, and markers of the commit are still to be written.
#[test]
fn a_store_that_is_ahead_of_the_last_stable_offset_is_not_taken_for_another() {
    let mut test = TestApp::new(words());
    send(&mut test, &[("a", "aha")]);
    let (broker, now) = (test.broker(), tanist_broker::Millis(test.now().0));
    let minute = tanist_broker::Millis(60_000);
    let mut slow = TransactionalProducer::start(&broker, "slow", minute, now).unwrap();
    let record = tanist_broker::NewRecord {
        key: Some("b".into()),
        ..Default::default()
    };
    let changelog = tanist_broker::TopicPartition::new(COUNTS, 0);
    slow.send(&changelog, &[record], now).unwrap();
    test.topic("words").send("a", "aha");
    test.advance(Duration::from_secs(1));
    test.stop("n1").unwrap();
    test.start("n1");
    test.advance(Duration::from_secs(5));
    let state = test.status("n1").remove(0).state;
    let waits = !matches!(state, ShardState::Broken { .. } | ShardState::Running);
    assert!(waits, "the shard is {state}");
    slow.abort(tanist_broker::Millis(test.now().0)).unwrap();
    test.settle();
    assert_eq!(test.table("counts").get::<u64>("a"), Some(2));
}

#[test]
fn a_table_that_was_never_written_to_is_not_missed() {
    let mut test = TestApp::new(words());
    send(&mut test, &[("a", "aha")]);
    for disk_is_lost in [false, true] {
        test.kill("n1");
        if disk_is_lost {
            test.lose_disk("n1");
        }
        lose(&mut test, &[LONG]);
        test.start("n1");
        send(&mut test, &[("a", "aha")]);
    }
    assert_eq!(test.table("counts").get::<u64>("a"), Some(3));
}

#[test]
fn offsets_that_somebody_has_set_are_no_promise_of_a_changelog() {
    let mut test = TestApp::new(words());
    send(&mut test, &[("a", "aha"), ("a", "aha")]);
    test.kill("n1");
    test.lose_disk("n1");
    lose(&mut test, &[COUNTS, LONG]);
    let offset = tanist_broker::Committed {
        offset: 1,
        leader_epoch: None,
        metadata: None,
    };
    let now = tanist_broker::Millis(test.now().0);
    let of = tanist_broker::TopicPartition::new("words", 0);
    let set = test.broker().commit_offsets("words", &[(of, offset)], now);
    set.unwrap();
    test.start("n1");
    test.settle();
    assert_eq!(test.table("counts").get::<u64>("a"), Some(1));
}

#[test]
fn a_restore_that_is_broken_off_anywhere_goes_on_where_it_was() {
    let mut test = TestApp::new(words());
    let long = "x".repeat(2000);
    for key in 0..3000 {
        test.topic("words").send(key.to_string(), &long);
    }
    test.settle();
    test.kill("n1");
    test.lose_disk("n1");
    test.start("n1");
    let mut seen = BTreeSet::new();
    for _ in 0..10_000 {
        test.advance(Duration::from_micros(200));
        match test.status("n1").first().map(|shard| &shard.state) {
            Some(&ShardState::Restoring { records, of })
                if (1..of).contains(&records) && seen.insert(records) =>
            {
                test.stop("n1").unwrap();
                test.start("n1");
            }
            Some(ShardState::Running) => break,
            _ => {}
        }
    }
    assert!(seen.len() > 1, "no restore was broken off: {seen:?}");
    test.settle();
    assert_eq!(test.table("long").entries::<String, String>().len(), 3000);
    let states: Vec<_> = test
        .status("n1")
        .into_iter()
        .map(|shard| shard.state)
        .collect();
    assert_eq!(states, [ShardState::Running]);
}

#[test]
fn a_store_of_another_life_of_its_changelog_is_recognised_however_long_that_has_become() {
    // Shorter, as long, longer; and longer with all that was there when the store left compacted away.
    for (sent, is_compacted) in [(2, false), (3, false), (4, false), (9, false), (9, true)] {
        let mut test = TestApp::new(words()).nodes(2);
        send(&mut test, &[("a", "aha"), ("b", "oho"), ("a", "aha")]);
        test.stop("n2").unwrap();
        test.stop("n1").unwrap();
        test.lose_disk("n1");
        // With the topic go the group's offsets.
        lose(&mut test, &[COUNTS, LONG, "words"]);
        test.start("n1");
        for _ in 0..sent {
            send(&mut test, &[("a", "aha")]);
        }
        if is_compacted {
            let now = tanist_broker::Millis(test.now().0);
            let changelog = tanist_broker::TopicPartition::new(COUNTS, 0);
            test.broker().compact(&changelog, now).unwrap();
        }
        test.stop("n1").unwrap();
        test.start("n2");
        test.settle();
        let states = test.status("n2").into_iter().map(|shard| shard.state);
        let reason = states.map(|state| state.to_string()).collect::<String>();
        let expected = if sent < 3 {
            "was truncated or created anew"
        } else {
            "is not the one that the store"
        };
        assert!(
            reason.contains(expected),
            "{sent} words, {is_compacted}: {reason}"
        );
    }
}

#[test]
fn a_changelog_to_which_another_app_writes_is_refused() {
    let mut test = TestApp::new(words());
    send(&mut test, &[("a", "aha"), ("b", "aha")]);
    test.stop("n1").unwrap();
    let (broker, now) = (test.broker(), tanist_broker::Millis(test.now().0));
    let changelog = tanist_broker::TopicPartition::new(COUNTS, 0);
    let isolation = tanist_broker::Isolation::ReadCommitted;
    let written = broker.fetch(&changelog, 0, 1000, isolation, now).unwrap();
    // The same, from an app of another id.
    test.lose_disk("n1");
    lose(&mut test, &[LONG, "words"]);
    make_anew(&mut test, COUNTS, "compact");
    let minute = tanist_broker::Millis(60_000);
    let mut other = TransactionalProducer::start(&broker, "other", minute, now).unwrap();
    let mut theirs = 0;
    let records = written.records.into_iter().map(|record| {
        let value = String::from_utf8(record.value.unwrap_or_default().to_vec()).unwrap();
        let renamed = value.replace(r#""app":"words""#, r#""app":"other""#);
        theirs += usize::from(renamed != value);
        tanist_broker::NewRecord {
            key: record.key,
            value: Some(renamed.into()),
            ..Default::default()
        }
    });
    let records: Vec<_> = records.collect();
    assert_eq!(theirs, 2, "each commit says whose it is");
    other.send(&changelog, &records, now).unwrap();
    other.commit(now).unwrap();
    test.start("n1");
    let reason = broken(&mut test);
    assert!(
        reason.contains(COUNTS) && reason.contains("it holds a table of app `other`"),
        "{reason}"
    );
}

/// Deletes a topic and makes it anew, with this `cleanup.policy`.
fn make_anew(test: &mut TestApp, topic: &str, policy: &str) {
    lose(test, &[topic]);
    let mut config = tanist_broker::TopicConfig::default();
    config.set("cleanup.policy", policy).unwrap();
    let now = tanist_broker::Millis(test.now().0);
    test.broker().create_topic(topic, 1, config, now).unwrap();
}

#[test]
fn a_node_refuses_own_topics_that_do_not_keep_what_they_are_for() {
    for (topic, policy) in [
        (COUNTS, "delete"),
        (LONG, "compact,delete"),
        ("words.control", "delete"),
    ] {
        let mut test = TestApp::new(words());
        test.stop("n1").unwrap();
        make_anew(&mut test, topic, policy);
        test.start("n1");
        test.advance(Duration::from_secs(10));
        let why = test.ended("n1").expect("it has ended").unwrap_err();
        let expected = format!("topic {topic} has cleanup.policy={policy}, but ");
        assert!(why.contains(&expected), "{why}");
        assert!(
            why.contains("--add-config cleanup.policy=compact)"),
            "{why}"
        );
    }
}
