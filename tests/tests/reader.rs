//! The reader that judges the runtime sees what is committed, all of it, and nothing else.

use std::process::{Command, Stdio};
use std::time::Duration;

use rdkafka::Message;
use rdkafka::producer::{BaseRecord, Producer};
use tanist_tests::broker::TestBroker;
use tanist_tests::clients::{TIMEOUT, begin, send};
use tanist_tests::orders::check_orders;
use tanist_tests::reader::{ReadError, read_committed};

fn values(broker: &TestBroker, topic: &str) -> Vec<String> {
    let mut values = Vec::new();
    let records = read_committed(broker.bootstrap(), topic, TIMEOUT, |record| {
        values.push(String::from_utf8_lossy(record.payload().unwrap_or_default()).into_owned());
    });
    assert_eq!(records.expect("the topic can be read"), values.len() as u64);
    values.sort();
    values
}

#[test]
fn only_committed_records_are_read_up_to_an_open_transaction() {
    let broker = TestBroker::start();
    let topic = broker.topic(2, &[]);
    let producer = broker.initialised(&broker.unique("writer"));
    for (value, committed) in [("a", true), ("b", false), ("c", true)] {
        begin(&producer, &topic, &[value]);
        send(&producer, &topic, 1, value);
        let end = if committed {
            producer.commit_transaction(TIMEOUT)
        } else {
            producer.abort_transaction(TIMEOUT)
        };
        end.expect("the transaction ends");
    }
    assert_eq!(values(&broker, &topic), ["a", "a", "c", "c"]);

    begin(&producer, &topic, &["open"]);
    assert_eq!(values(&broker, &topic), ["a", "a", "c", "c"]);
    producer
        .abort_transaction(TIMEOUT)
        .expect("the transaction ends");
}

#[test]
fn a_missing_topic_is_not_taken_for_an_empty_one() {
    let broker = TestBroker::start();
    let missing = broker.unique("missing");
    let result = read_committed(broker.bootstrap(), &missing, TIMEOUT, |_| ());
    assert!(
        matches!(
            result,
            Err(ReadError::NoTopic { .. }) | Err(ReadError::Client { .. })
        ),
        "{result:?}"
    );
    let empty = broker.topic(3, &[]);
    assert!(values(&broker, &empty).is_empty());
}

#[test]
fn the_check_and_its_program_find_a_lost_order() {
    let broker = TestBroker::start();
    let topic = broker.topic(2, &[]);
    // Orders of 1970, which the broker would delete when it next looks.
    let orders = broker.topic(1, &[("retention.ms", "-1")]);
    let producer = broker.producer();
    let order = |account: &str| {
        let order = format!(r#"{{"account_id":"{account}","amount":2,"price":0.5}}"#);
        let record = BaseRecord::to(&orders).key("any").payload(&order);
        let sent = producer.send(record.timestamp(7));
        sent.expect("the queue has room");
        producer.flush(TIMEOUT).expect("the broker takes it");
    };
    let write = |account: &str, partition: i32, counts: &[u64]| {
        for count in counts {
            let value = format!(
                r#"{{"account_id":"{account}","count":{count},"total":{count},"order_ts":7}}"#
            );
            producer
                .send(
                    BaseRecord::to(&topic)
                        .key(account)
                        .payload(&value)
                        .partition(partition),
                )
                .expect("the queue has room");
        }
        producer.flush(TIMEOUT).expect("the broker takes it");
    };
    let program = |expected: u64| {
        let output = Command::new(env!("CARGO_BIN_EXE_check-orders"))
            .args([
                "--broker",
                broker.bootstrap(),
                "--topic",
                &topic,
                "--orders",
                &orders,
                "--expect",
                &expected.to_string(),
            ])
            .output()
            .expect("the program can be started");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    let check = || {
        check_orders(broker.bootstrap(), &topic, Duration::from_secs(20))
            .expect("the topic can be read")
    };

    ["a", "a", "a", "b"].into_iter().for_each(order);
    write("a", 0, &[1, 2, 3]);
    write("b", 1, &[1]);
    let sound = check();
    assert!(sound.is_sound(), "{sound}");
    assert_eq!((sound.orders(), sound.accounts["a"].total), (4, 3.0));
    assert_eq!(program(4).0, Some(0));
    assert_eq!(program(5).0, Some(1));

    write("b", 1, &[2]);
    let (code, output) = program(5);
    assert_eq!(code, Some(1));
    assert!(
        output.contains("account b: 2 orders were counted of the 1 that there are"),
        "{output}"
    );
    order("b");
    assert_eq!(program(5).0, Some(0));

    write("b", 1, &[4]);
    assert!(!check().is_sound());
    let (code, output) = program(7);
    assert_eq!(code, Some(1));
    assert!(
        output.contains("account b: count 4 where 3 is due: something was lost"),
        "{output}"
    );

    // Reads while it is written, and says when: each record but the first of its partition ends a gap of at least 0 ms.
    let mut follower = Command::new(env!("CARGO_BIN_EXE_check-orders"))
        .args(["--broker", broker.bootstrap(), "--topic", &topic])
        .args([
            "--orders",
            &orders,
            "--follow",
            "--least-gap",
            "0",
            "--json",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program can be started");
    write("c", 1, &[1, 2]);
    drop(follower.stdin.take());
    let output = follower.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1), "the fault is still there");
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(
        (&told["sound"], &told["inputs"]),
        (&false.into(), &9.into())
    );
    assert_eq!(told["gaps"].as_array().map(Vec::len), Some(6), "{told}");
}
