//! What a node cannot work with, it says, with what to do about it, and an exit code; and it loses nothing.

use std::fs;
use std::time::UNIX_EPOCH;

use rdkafka::producer::{BaseRecord, Producer};
use tanist_broker::Millis;
use tanist_tests::clients::TIMEOUT;
use tanist_tests::node::{ORDERS, Orders, PARTITIONS};
use tanist_tests::orders::{ORDER_COUNTS, check_orders};

/// The exit codes that the help describes.
const FAILED: i32 = 1;
const WRONG: i32 = 2;
const NO_BROKER: i32 = 3;

const CHANGELOG: &str = "orders-order_count-changelog";

fn assert_says(log: &str, expected: &[&str]) {
    for expected in expected {
        assert!(log.contains(expected), "`{expected}` in:\n{log}");
    }
}

/// Sends so many orders and has them counted by `node`.
fn count(orders: &Orders, node: &str, records: u32) {
    let records = records.to_string();
    orders.generate(0, &["--records", &records]).expect_end(0);
    orders.worker(node, &["--until-caught-up"]).expect_end(0);
}

fn delete_topic(orders: &Orders, topic: &str) {
    let now = UNIX_EPOCH.elapsed().expect("it is later than 1970");
    let now = Millis(now.as_millis() as i64);
    let broker = orders.broker().inner().in_process();
    broker.delete_topic(topic, now).expect("the topic is there");
}

fn send(orders: &Orders, topic: &str, partition: i32, value: &str, times: usize) {
    let producer = orders.broker().producer();
    for _ in 0..times {
        let record = BaseRecord::<str, str>::to(topic).partition(partition);
        producer
            .send(record.key("k").payload(value))
            .map_err(|(error, _)| error)
            .expect("the queue of a producer has room");
    }
    producer.flush(TIMEOUT).expect("the broker takes it");
}

#[test]
fn a_broker_that_does_not_answer_in_time_is_named() {
    let orders = Orders::embedded();
    let args = ["--broker", "127.0.0.1:1", "--broker-timeout", "500ms"];
    let log = orders.worker("node", &args).expect_end(NO_BROKER);
    assert_says(&log, &["no Kafka broker answers at 127.0.0.1:1"]);
}

#[test]
fn a_data_directory_that_is_in_use_or_another_apps_is_refused() {
    let orders = Orders::embedded();
    let mut first = orders.worker("node", &[]);
    first.await_log("joined");
    let log = orders.worker("node", &[]).expect_end(WRONG);
    let holder = format!("in use by process {}", first.id());
    assert_says(&log, &[&holder, "a data directory of its own"]);
    first.stop();

    let dir = orders.data_dir("node");
    fs::write(dir.join("app.json"), r#"{"app":"other","layout":1}"#).expect("it can be written");
    let log = orders.worker("node", &[]).expect_end(WRONG);
    assert_says(&log, &["belongs to app `other`, not to `orders`"]);
}

#[test]
fn a_topic_with_another_number_of_partitions_is_refused_with_both() {
    let orders = Orders::embedded();
    orders.broker().raw().create_topic(ORDER_COUNTS, 3, &[]);
    let log = orders.worker("node", &[]).expect_end(WRONG);
    assert_says(
        &log,
        &["topic order-counts has 3 partitions, but the app declares 8"],
    );
}

#[test]
fn a_record_that_cannot_be_decoded_stops_its_shard_alone_and_is_not_skipped() {
    let orders = Orders::embedded();
    orders.generate(0, &["--records", "1"]).expect_end(0);
    send(&orders, ORDERS, 3, "no order", 1);
    let bad = orders.broker().raw().list_offset(ORDERS, 3, -1, false).1 - 1;
    orders.generate(0, &["--records", "1000"]).expect_end(0);
    let behind = orders.broker().raw().list_offset(ORDERS, 3, -1, false).1 - bad - 1;
    assert!(behind > 0, "the shard has more to do");

    let mut node = orders.worker("node", &[]);
    let good = u64::try_from(1001 - behind).expect("there were that many");
    node.await_that("the orders of the other partitions", || {
        check_orders(orders.broker().bootstrap(), ORDER_COUNTS, TIMEOUT)
            .is_ok_and(|check| check.is_sound() && check.orders() == good)
    });
    node.await_log("the shard has stopped, the others go on");
    assert_says(&node.log(), &[&format!("orders[3] offset {bad}")]);
    node.stop();

    let log = orders
        .worker("node", &["--until-caught-up"])
        .expect_end(FAILED);
    assert_says(
        &log,
        &["cannot catch up", &format!("orders[3] offset {bad}")],
    );
}

#[test]
fn an_input_that_was_truncated_before_it_was_read_is_not_skipped() {
    let orders = Orders::embedded();
    count(&orders, "node", 500);
    let mut raw = orders.broker().raw();
    let read = raw.list_offset(ORDERS, 2, -1, false).1;
    orders.generate(0, &["--records", "500"]).expect_end(0);
    assert_eq!(raw.delete_records(ORDERS, 2, read + 1).0, 0);
    let log = orders
        .worker("node", &["--until-caught-up"])
        .expect_end(FAILED);
    let come_to = format!("come to {read}");
    assert_says(
        &log,
        &[
            "input orders[2] was truncated or created anew",
            &come_to,
            "begin anew under another app id",
        ],
    );
}

#[test]
fn a_changelog_that_does_not_reach_to_the_store_or_is_another_one_is_refused() {
    let orders = Orders::embedded();
    count(&orders, "node", 1000);
    delete_topic(&orders, CHANGELOG);
    let again = || {
        orders
            .worker("node", &["--until-caught-up"])
            .expect_end(FAILED)
    };
    assert_says(
        &again(),
        &[
            CHANGELOG,
            "was truncated or created anew",
            "move the data directory away",
        ],
    );

    for partition in 0..PARTITIONS {
        send(&orders, CHANGELOG, partition, "of another app", 2000);
    }
    assert_says(
        &again(),
        &[
            CHANGELOG,
            "is not the one that the store here was filled from",
        ],
    );
}

#[test]
fn a_changelog_that_was_lost_with_the_disk_is_refused() {
    let orders = Orders::embedded();
    count(&orders, "node", 1000);
    delete_topic(&orders, CHANGELOG);
    let log = orders
        .worker("elsewhere", &["--until-caught-up"])
        .expect_end(FAILED);
    assert_says(
        &log,
        &[
            CHANGELOG,
            "has lost what was committed to it",
            "bring the topic back, or begin anew under another app id",
        ],
    );
}
