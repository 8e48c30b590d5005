//! Settings, and what does not fit them.

use serde_json::Value;

use super::orders;

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
            serde_json::from_str::<Value>(&program.run(&["status", "--here", "--json"]).stdout).ok()
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
