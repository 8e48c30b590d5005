//! Sending: one record, or a file of them, in the partitions where Java would put them.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use rdkafka::Message;
use tanist_tests::clients::TIMEOUT;
use tanist_tests::reader::read_committed;

use super::orders;

/// Key, value and partition of each record.
fn records(broker: &str, topic: &str) -> Vec<(Option<String>, String, i32)> {
    let mut records = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    read_committed(broker, topic, TIMEOUT, |record| {
        let value = text(record.payload().unwrap_or_default());
        records.push((record.key().map(text), value, record.partition()));
    })
    .expect("the topic can be read");
    records.sort();
    records
}

#[test]
fn keys_decide_partitions_as_in_java() {
    let (broker, program) = orders();
    broker.raw().create_topic("words", 100, &[]);
    // `toPositive(murmur2(key)) % 100` by Apache Kafka's own test vectors.
    for (key, partition) in [("21", 40), ("foobar", 66), ("abc", 7)] {
        program.answer(&["send", "words", key, "x"]);
        let found = records(broker.bootstrap(), "words");
        let found = found
            .iter()
            .find(|(found, ..)| found.as_deref() == Some(key));
        assert_eq!(
            found.map(|(.., partition)| *partition),
            Some(partition),
            "{key}"
        );
    }
}

#[test]
fn each_line_of_a_file_is_a_record_under_the_key_that_a_field_says() {
    let (broker, program) = orders();
    broker.raw().create_topic("lines", 3, &[]);
    let lines = "{\"k\":\"a\",\"n\":1}\n\n{\"k\":7,\"n\":2}\r\n{\"k\":\"a\",\"n\":3}";
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(lines.as_bytes()).unwrap();
    program.file("lines.jsonl", lines);
    program.file("lines.jsonl.gz", packed.finish().unwrap());
    for file in ["lines.jsonl", "lines.jsonl.gz"] {
        let sent = program.json(&["send", "lines", "--file", file, "--key-field", "k"]);
        assert_eq!(sent["records"], 3, "{file}");
    }
    let found = records(broker.bootstrap(), "lines");
    let found: Vec<(&str, &str)> = found
        .iter()
        .map(|(key, value, _)| (key.as_deref().unwrap_or("none"), value.as_str()))
        .collect();
    let (first, second, third) = (
        r#"{"k":7,"n":2}"#,
        r#"{"k":"a","n":1}"#,
        r#"{"k":"a","n":3}"#,
    );
    assert_eq!(
        found,
        [
            ("7", first),
            ("7", first),
            ("a", second),
            ("a", second),
            ("a", third),
            ("a", third)
        ]
    );
}

#[test]
fn a_line_bears_the_timestamp_that_a_field_says() {
    let (broker, program) = orders();
    broker.raw().create_topic("lines", 1, &[]);
    program.file("lines.jsonl", "{\"at\":1357035300000}\n{\"at\":7}\n");
    let args = ["send", "lines", "--file", "lines.jsonl"];
    program.answer(&[&args[..], &["--timestamp-field", "at"]].concat());
    program.answer(&args);
    let mut timestamps = Vec::new();
    read_committed(broker.bootstrap(), "lines", TIMEOUT, |record| {
        timestamps.extend(record.timestamp().to_millis());
    })
    .unwrap();
    assert_eq!(timestamps[..2], [1_357_035_300_000, 7]);
    assert!(
        timestamps[2..].iter().all(|now| *now > 1_700_000_000_000),
        "{timestamps:?}"
    );
    assert_eq!(timestamps.len(), 4);
}

#[test]
fn a_bad_line_is_named_and_so_is_an_unknown_topic() {
    let (broker, program) = orders();
    program.file(
        "bad.jsonl",
        "{\"account_id\":\"a\",\"product_id\":\"p\",\"amount\":1,\"price\":1}\n{\"k\":1}\n",
    );
    for (args, code, message) in [
        (
            &["send", "orders", "--file", "bad.jsonl"][..],
            1,
            "bad.jsonl, line 2: topic orders does not take it: missing field `account_id`",
        ),
        (
            &["send", "orders", "--file", "bad.jsonl", "--key-field", "id"],
            1,
            "bad.jsonl, line 1: it has no field \"id\" for the key; nothing was sent",
        ),
        (
            &[
                "send",
                "orders",
                "--file",
                "bad.jsonl",
                "--timestamp-field",
                "product_id",
            ],
            1,
            "bad.jsonl, line 1: its field \"product_id\" for the timestamp is no whole number",
        ),
        (
            &["send", "orders", "--file", "none.jsonl"],
            2,
            "cannot read none.jsonl",
        ),
        (
            &["send", "orders", "hello"],
            2,
            "topic orders does not take it",
        ),
        (
            &["send", "order", "{}"],
            2,
            "topic order does not exist, and the app does not declare it",
        ),
        (&["send", "orders"], 2, "KEY VALUE"),
    ] {
        let ended = program.run(args);
        assert_eq!(ended.code, Some(code), "{args:?}: {ended:?}");
        assert!(ended.stderr.contains(message), "{args:?}: {ended:?}");
        let says = ended.stderr.contains("; the lines before it were sent");
        assert_eq!(says, message.contains("line 2"), "{ended:?}");
    }
    let mut sent = 0;
    read_committed(broker.bootstrap(), "orders", TIMEOUT, |_| sent += 1).unwrap();
    assert_eq!(sent, 1, "what was before line 2");
}
