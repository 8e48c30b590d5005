//! What cannot work is refused, with what to do about it; nothing is lost by it.

use serde_json::Value;
use tanist_tests::clients::TIMEOUT;
use tanist_tests::orders::{ORDER_COUNTS, check_orders};

use super::{HELLO, orders};

#[test]
fn all_faults_of_a_configuration_are_told_at_once() {
    let (_broker, program) = orders();
    program.file(
        "tanist.toml",
        "comit_interval = '5ms'\nworkers = 0\n[kafka]\nacks = 1\n",
    );
    let program = program
        .variable("TANIST_HTTP", "0.0.0.0:8080")
        .variable("TANIST_DATADIR", "x");
    let ended = program.run(&["worker", "--broker", "nowhere", "--commit-bytes", "lots"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    for fault in [
        "tanist.toml: comit_interval: there is no such setting; did you mean `commit_interval`?",
        "tanist.toml: workers = \"0\": give a whole number, 1 or more",
        "the Kafka property `acks` cannot be set",
        "TANIST_HTTP = \"0.0.0.0:8080\": other machines would reach it",
        "TANIST_DATADIR: there is no such setting; did you mean `data_dir`?",
        "--broker = \"nowhere\": give host:port",
        "--commit-bytes = \"lots\": give a whole number of bytes",
    ] {
        assert!(ended.stderr.contains(fault), "{fault} in\n{}", ended.stderr);
    }
}

#[test]
fn a_flag_wins_over_the_environment_over_the_file() {
    let (broker, program) = orders();
    program.file(
        "mine.toml",
        "broker = '127.0.0.1:1'\nbroker_timeout = '1h'\nnode = 'by-file'\n",
    );
    let program = program
        .variable("TANIST_CONFIG", "mine.toml")
        .variable("TANIST_NODE", "by-variable");
    let status = |args: &[&str]| {
        let mut worker = program.start(&[&["worker"], args].concat());
        let status = worker.until("it answers", |_| {
            serde_json::from_str::<Value>(&program.run(&["status", "--json"]).stdout).ok()
        });
        worker.interrupt();
        status
    };
    let by_variables = status(&[]);
    assert_eq!(by_variables["node"], "by-variable");
    assert_eq!(by_variables["broker"]["address"], broker.bootstrap());
    assert_eq!(status(&["--node", "by-flag"])["node"], "by-flag");
}

#[test]
fn a_named_configuration_file_has_to_be_there() {
    let (_broker, program) = orders();
    let ended = program.run(&["worker", "--config", "none.toml"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(
        ended
            .stderr
            .contains("none.toml: the configuration file cannot be read"),
        "{ended:?}"
    );
}

#[test]
fn a_topic_with_another_partition_count_is_refused_with_both_counts() {
    let (broker, program) = orders();
    broker.raw().create_topic("orders", 3, &[]);
    let ended = program.run(&["worker"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(
        ended
            .stderr
            .contains("topic orders has 3 partitions, but the app declares 8"),
        "{ended:?}"
    );
}

#[test]
fn two_processes_on_one_data_directory_are_one_too_many() {
    let (_broker, program) = orders();
    let worker = program.worker(&[]);
    let second = program.run(&["worker"]);
    assert_eq!(second.code, Some(2), "{second:?}");
    let holder = format!("is in use by process {}: stop that", worker.id());
    assert!(second.stderr.contains(&holder), "{second:?}");
    // The first one has noticed nothing.
    assert_eq!(program.run(&["status"]).code, Some(0));
}

#[test]
fn a_data_directory_of_another_app_is_refused() {
    let (_broker, program) = orders();
    program.answer(&["worker", "--until-caught-up", "--data-dir", "data"]);
    let ended = program.beside(HELLO).run(&["worker", "--data-dir", "data"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(
        ended
            .stderr
            .contains("data belongs to app `orders`, not to `hello`"),
        "{ended:?}"
    );
}

#[test]
fn a_second_node_takes_over_and_the_first_says_that_it_was_fenced() {
    let (broker, program) = orders();
    let first = program.worker(&["--node", "first"]);
    program.answer(&["generate", "--rate", "0", "--records", "1000"]);
    let second = program.start(&["worker", "--node", "second", "--data-dir", "elsewhere"]);
    let ended = first.wait();
    assert_eq!(ended.code, Some(5), "{ended:?}");
    assert!(
        ended.stderr.contains("fenced: another node (member "),
        "{ended:?}"
    );
    assert_eq!(second.interrupt().code, Some(0));
    program.answer(&["worker", "--until-caught-up"]);
    let check = check_orders(broker.bootstrap(), ORDER_COUNTS, TIMEOUT).unwrap();
    assert!(check.is_sound() && check.orders() == 1000, "{check}");
}

#[test]
fn a_record_that_cannot_be_decoded_stops_its_shard_alone_and_waits_there() {
    let (_broker, program) = orders();
    let mut worker = program.worker(&[]);
    program.answer(&["send", "orders", "key", "no order", "--raw"]);
    let broken = worker.until("a shard is broken", |_| {
        let status = program.json(&["status"]);
        let shards = status["shards"].as_array()?;
        shards
            .iter()
            .find(|shard| shard["state"] == "broken")
            .cloned()
    });
    let reason = broken["reason"].as_str().unwrap();
    assert!(
        reason.contains("the value cannot be decoded") && reason.contains("offset 0"),
        "{reason}"
    );
    // The others go on.
    let others = r#"{"account_id":"a","product_id":"p","amount":1,"price":1.0}"#;
    for key in 0..16 {
        program.answer(&["send", "orders", &key.to_string(), others]);
    }
    worker.until("the others have counted", |_| {
        let counted = program.run(&["get", "order_count", "a", "--json"]).stdout;
        let counted: Value = serde_json::from_str(&counted).ok()?;
        let status = program.json(&["status"]);
        let waiting = status["lag_records"].as_i64()?;
        (counted["value"]["count"].as_i64()? + waiting == 16 + 1).then_some(())
    });
    let restarted = program.run(&["worker", "--until-caught-up", "--data-dir", "elsewhere"]);
    assert_eq!(restarted.code, Some(1), "{restarted:?}");
    assert!(
        restarted
            .stderr
            .contains("cannot catch up, because shard orders/"),
        "{restarted:?}"
    );
}
