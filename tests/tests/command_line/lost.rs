//! What the broker has lost, or has of somebody else, is missed: no shard goes on as if it had been nothing.

use std::fs;
use std::time::UNIX_EPOCH;

use rdkafka::producer::{BaseRecord, Producer};
use tanist_broker::Millis;
use tanist_tests::broker::TestBroker;
use tanist_tests::clients::TIMEOUT;
use tanist_tests::program::Program;

use super::{CATCH_UP, CHANGELOG, assert_counted, generate, orders};

/// A broker and a folder with so many orders counted.
fn counted(records: u32) -> (TestBroker, Program) {
    let (broker, program) = orders();
    generate(&program, records);
    program.answer(CATCH_UP);
    (broker, program)
}

fn delete_topic(broker: &TestBroker, topic: &str) {
    let now = UNIX_EPOCH.elapsed().expect("it is later than 1970");
    let now = Millis(now.as_millis() as i64);
    let port = broker.inner().in_process();
    port.delete_topic(topic, now).expect("the topic is there");
}

/// A node refuses, and says all of this.
fn assert_refuses(program: &Program, expected: &[&str]) {
    let log = program.start(CATCH_UP).expect_end(1);
    for expected in expected {
        assert!(log.contains(expected), "`{expected}` in:\n{log}");
    }
}

#[test]
fn an_input_that_was_truncated_before_it_was_read_is_not_skipped() {
    let (broker, program) = counted(500);
    let mut raw = broker.raw();
    let read = raw.list_offset("orders", 2, -1, false).1;
    generate(&program, 500);
    assert_eq!(raw.delete_records("orders", 2, read + 1).0, 0);
    let come_to = format!("come to {read}");
    assert_refuses(
        &program,
        &[
            "input orders[2] was truncated or created anew",
            &come_to,
            "begin anew under another app id",
        ],
    );
}

#[test]
fn an_input_that_was_made_anew_is_not_read_from_the_old_position() {
    let (broker, program) = counted(500);
    let between = "orders-account-repartition";
    delete_topic(&broker, between);
    broker.raw().create_topic(between, 8, &[]);
    assert_refuses(
        &program,
        &[
            "input orders-account-repartition[",
            "was deleted and made anew",
        ],
    );
}

#[test]
fn a_changelog_that_was_deleted_or_is_anothers_does_not_fit_the_disk() {
    let (broker, program) = counted(1000);
    delete_topic(&broker, CHANGELOG);
    assert_refuses(
        &program,
        &[
            CHANGELOG,
            "was truncated or created anew",
            "move the data directory away",
        ],
    );
    let producer = broker.producer();
    for number in 0..8 * 2000 {
        let record = BaseRecord::to(CHANGELOG).partition(number % 8);
        assert!(producer.send(record.key("k").payload("of another")).is_ok());
    }
    producer.flush(TIMEOUT).unwrap();
    assert_refuses(
        &program,
        &[
            CHANGELOG,
            "is not the one that the store here was filled from",
            "give the app an id of its own",
        ],
    );
}

#[test]
fn a_changelog_that_was_lost_with_the_disk_is_missed() {
    let (broker, program) = counted(1000);
    delete_topic(&broker, CHANGELOG);
    fs::remove_dir_all(program.folder().join(".tanist")).unwrap();
    assert_refuses(
        &program,
        &[
            CHANGELOG,
            "has lost what was committed to it",
            "bring the topic back, or begin anew under another app id",
        ],
    );
}

#[test]
fn a_table_whose_shards_are_broken_says_so_where_and_why_to_whoever_asks() {
    let (broker, program) = counted(1000);
    delete_topic(&broker, CHANGELOG);
    let mut worker = program.start(&["worker"]);
    let status = worker.until("all that is lost was missed", |_| {
        let status = program.run(&["status", "--json"]);
        let status: serde_json::Value = serde_json::from_str(&status.stdout).ok()?;
        (status["broken_shards"] == 8).then_some(status)
    });
    let node = status["nodes"][0]["node"].as_str().unwrap();
    let text = program.answer(&["status"]);
    let first =
        format!("8 SHARDS ARE BROKEN, and the input waits: account-repartition/0 on {node}");
    assert!(text.starts_with(&first), "{text}");
    for args in [&["get", "order_count", "a1"][..], &["scan", "order_count"]] {
        let ended = program.run(args);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let where_and_why = format!("({node}: broken there: changelog {CHANGELOG}[");
        for expected in [
            " is broken, so its part of the table cannot be read",
            &where_and_why,
        ] {
            assert!(ended.stderr.contains(expected), "{expected} in {ended:?}");
        }
        assert!(!ended.stderr.contains("try again"), "{ended:?}");
    }
}

#[test]
fn a_data_directory_is_older_than_a_broker_that_forgot_all_and_what_is_advised_helps() {
    let (broker, program) = counted(1000);
    drop(broker);
    let broker = TestBroker::embedded();
    let program = program
        .without_variables()
        .variable("TANIST_BROKER", broker.bootstrap());
    generate(&program, 10);
    assert_refuses(
        &program,
        &[
            CHANGELOG,
            "the embedded broker forgets all when it ends",
            "move the data directory away",
        ],
    );
    let data = program.folder().join(".tanist/orders");
    fs::rename(data, program.folder().join("away")).unwrap();
    program.answer(CATCH_UP);
    assert_counted(&broker, 10);
}
