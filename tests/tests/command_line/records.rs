//! Records and stored values that cannot be read stop their shard alone, and are not skipped.

use rdkafka::Message;
use rdkafka::producer::{BaseRecord, Producer};
use serde_json::Value;
use tanist_tests::broker::TestBroker;
use tanist_tests::clients::TIMEOUT;
use tanist_tests::orders::{ORDER_COUNTS, check_orders};
use tanist_tests::program::{Process, Program};
use tanist_tests::reader::read_committed;

use super::{CATCH_UP, CHANGELOG, assert_counted, generate, orders};

/// The shard that is broken, as status has it.
fn broken(worker: &mut Process, program: &Program) -> Value {
    worker.until("a shard is broken", |_| {
        let status = program.json(&["status"]);
        let mut shards = status["shards"].as_array()?.iter();
        shards.find(|shard| shard["state"] == "broken").cloned()
    })
}

#[test]
fn a_record_that_cannot_be_decoded_stops_its_shard_alone_and_is_not_skipped() {
    let (broker, program) = orders();
    let mut worker = program.worker(&[]);
    program.answer(&["send", "orders", "key", "no order", "--raw"]);
    let shard = broken(&mut worker, &program);
    let partition = shard["shard"].as_str().unwrap().strip_prefix("orders/");
    let partition: i32 = partition.unwrap().parse().unwrap();
    let reason = shard["reason"].as_str().unwrap();
    let place = format!("orders[{partition}] offset 0");
    assert!(
        reason.contains("the value cannot be decoded") && reason.contains(&place),
        "{reason}"
    );

    generate(&program, 1000);
    let (_, end, _) = broker.raw().list_offset("orders", partition, -1, false);
    assert!(end > 1, "the shard has more to do");
    let good = 1000 - (end as u64 - 1);
    worker.until("the others have counted", |_| {
        let check = check_orders(broker.bootstrap(), ORDER_COUNTS, TIMEOUT).ok()?;
        assert!(check.is_sound() && check.orders() <= good, "{check}");
        (check.orders() == good).then_some(())
    });
    worker.until_logged("the shard has stopped, the others go on");
    worker.stop();

    let log = program.start(CATCH_UP).expect_end(1);
    assert!(
        log.contains("cannot catch up, because shard orders/") && log.contains(&place),
        "{log}"
    );
}

/// Writes the last record of `key` in the changelog again, changed; its partition.
fn rewrite(broker: &TestBroker, key: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> i32 {
    let mut found = None;
    read_committed(broker.bootstrap(), CHANGELOG, TIMEOUT, |record| {
        if record.key() == Some(key) {
            let value = record.payload().unwrap_or_default().to_vec();
            found = Some((record.partition(), value));
        }
    })
    .expect("the changelog can be read");
    let (partition, mut value) = found.expect("the changelog has the key");
    change(&mut value);
    let producer = broker.producer();
    let record = BaseRecord::to(CHANGELOG)
        .partition(partition)
        .key(key)
        .payload(&value);
    assert!(producer.send(record).is_ok());
    producer.flush(TIMEOUT).expect("the broker takes it");
    partition
}

/// Sets the version of the value that the changelog has for `account`; its former one, and its partition.
fn set_version(broker: &TestBroker, account: &str, version: u8) -> (u8, i32) {
    let mut former = 0;
    let partition = rewrite(broker, account.as_bytes(), |value| {
        // A byte for the codec, one for the version.
        former = std::mem::replace(&mut value[1], version);
    });
    (former, partition)
}

#[test]
fn a_table_value_of_another_version_is_named_with_its_key_and_both_versions() {
    const ORDER: &str = r#"{"account_id":"b/ä 1","product_id":"p","amount":2,"price":1.5}"#;
    let (broker, program) = orders();
    generate(&program, 100);
    program.answer(&["send", "orders", ORDER]);
    program.answer(CATCH_UP);
    let (former, partition) = set_version(&broker, "b/ä 1", 9);

    let mut worker = program.worker(&[]);
    let says = format!(
        "table order_count: the stored value of key \"b/ä 1\" has format 1 version 9, but the app declares format 1 \
         version {former}: run the version of the app that wrote it"
    );
    let asked = program.run(&["get", "order_count", "b/ä 1"]);
    assert_eq!(asked.code, Some(1), "{asked:?}");
    assert!(asked.stderr.contains(&says), "{asked:?}");
    program.answer(&["send", "orders", ORDER]);
    let shard = broken(&mut worker, &program);
    assert_eq!(shard["shard"], format!("account-repartition/{partition}"));
    let reason = shard["reason"].as_str().unwrap();
    assert!(reason.contains(&says), "{reason}");
    worker.stop();

    // Nothing was written over it, nor skipped: once the value can be read, the counts go on. From the changelog alone,
    // since a store whose changelog was written to by hand is refused.
    set_version(&broker, "b/ä 1", former);
    program.answer(&[CATCH_UP, &["--data-dir", "elsewhere"]].concat());
    assert_counted(&broker, 102);
}

#[test]
fn a_table_of_another_type_is_refused_with_what_differs_and_queries_say_so() {
    let (broker, program) = orders();
    generate(&program, 100);
    program.answer(CATCH_UP);
    // As if the build that wrote it had had its fields in another order.
    let partition = rewrite(&broker, b"\xfftanist.inputs", |marker| {
        let text = String::from_utf8(std::mem::take(marker)).unwrap();
        let changed = text.replace("{count: u64, total: f64}", "{total: f64, count: u64}");
        assert_ne!(changed, text, "a commit tells of the table's type");
        *marker = changed.into_bytes();
    });

    let mut worker = program.start(&["worker"]);
    worker.until_logged("holds what the app cannot read");
    let says = "table order_count holds what the app cannot read: its values were {total: f64, count: u64} then and {count: \
                u64, total: f64} now.";
    let shard = broken(&mut worker, &program);
    assert_eq!(shard["shard"], format!("account-repartition/{partition}"));
    let reason = shard["reason"].as_str().unwrap();
    assert!(reason.starts_with(says), "{reason}");
    let asked = program.run(&["scan", "order_count"]);
    assert_eq!(asked.code, Some(1), "{asked:?}");
    assert!(asked.stderr.contains(says), "{asked:?}");
    worker.stop();
}
