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
    let ended = program.run(&[
        "worker",
        "--broker",
        "nowhere",
        "--commit-bytes",
        "lots",
        "--advertised-http",
        "http://here:80",
    ]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    for fault in [
        "tanist.toml: comit_interval: there is no such setting; did you mean `commit_interval`?",
        "tanist.toml: workers = \"0\": give a whole number, 1 or more",
        "the Kafka property `acks` cannot be set",
        "`http` (0.0.0.0:8080) is all addresses of this machine: give one of them, or say in `advertised_http`",
        "--advertised-http = \"http://here:80\": give host:port",
        "TANIST_DATADIR: there is no such setting; did you mean `data_dir`?",
        "--broker = \"nowhere\": give host:port",
        "--commit-bytes = \"lots\": give a whole number of bytes",
    ] {
        assert!(ended.stderr.contains(fault), "{fault} in\n{}", ended.stderr);
    }
}

#[test]
fn a_property_that_the_kafka_client_does_not_know_is_named_before_anything_is_asked() {
    let (_broker, program) = orders();
    for command in ["worker", "up", "generate"] {
        let ended = program.run(&[command, "--kafka", "foo=bar"]);
        assert_eq!(ended.code, Some(2), "{command}: {ended:?}");
        let fault = "the Kafka property `foo` cannot be set: librdkafka knows none of this name";
        assert!(ended.stderr.contains(fault), "{command}: {ended:?}");
        assert_eq!(ended.stdout, "", "{command}");
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

#[test]
fn an_address_that_leads_elsewhere_would_have_others_take_the_node_for_dead_and_is_refused() {
    let (_broker, program) = orders();
    let ended = program.run(&["worker", "--advertised-http", "127.0.0.1:1"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    let message = "127.0.0.1:1 does not lead to this node, which listens at 127.0.0.1:";
    assert!(ended.stderr.contains(message), "{ended:?}");
}

#[test]
fn a_local_cluster_takes_orders_from_its_machine_alone() {
    let (_broker, program) = orders();
    let ended = program.run(&["up", "--http", "0.0.0.0:0", "--advertised-http", "here:1"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("takes orders"), "{ended:?}");
}

#[test]
fn a_commands_help_shows_the_settings_that_matter_to_it_and_it_takes_all() {
    let (_broker, program) = orders();
    for (command, shown, hidden) in [
        ("kill", &["--data-dir ", "--http "][..], &["--broker "][..]),
        (
            "send",
            &["--broker ", "--data-dir "],
            &["--http ", "--workers "],
        ),
        ("generate", &["--broker "], &["--http ", "--workers "]),
        ("topology", &["--broker "], &["--http ", "--workers "]),
        ("broker", &["--listen "], &["--broker ", "--data-dir "]),
    ] {
        for help in ["-h", "--help"] {
            let text = program.answer(&[command, help]);
            for flag in shown {
                assert!(text.contains(flag), "{flag} in {command}: {text}");
            }
            for flag in hidden.iter().chain(&["--commit-bytes "]) {
                assert!(!text.contains(flag), "{flag} in {command}: {text}");
            }
            assert!(
                text.contains("`worker --help`") || command == "broker",
                "{text}"
            );
        }
    }
    assert!(
        program
            .answer(&["worker", "--help"])
            .contains("--commit-bytes")
    );
    for args in [
        &[
            "kill",
            "n1",
            "--commit-bytes",
            "1MiB",
            "--data-dir",
            "elsewhere",
        ][..],
        &[
            "--commit-bytes",
            "1MiB",
            "--data-dir",
            "elsewhere",
            "kill",
            "n1",
        ],
    ] {
        let ended = program.run(args);
        assert_eq!(ended.code, Some(6), "{ended:?}");
        assert!(
            ended.stderr.contains("elsewhere/http is not there"),
            "{ended:?}"
        );
    }
}

#[test]
fn the_exit_codes_of_the_help_are_those_of_the_docs() {
    let page = include_str!("../../../docs/troubleshooting.md");
    let (_, table) = page
        .split_once("| code | meaning |\n| --- | --- |\n")
        .unwrap();
    let rows = table.lines().take_while(|line| line.starts_with("| "));
    let rows = rows.map(|row| row.trim_matches(['|', ' ']).replacen(" | ", "  ", 1));
    let (_broker, program) = orders();
    let help = program.answer(&["--help"]);
    let (_, told) = help.split_once("Exit codes").unwrap();
    let told = told.lines().skip(1).map(|line| line.trim().to_owned());
    let (rows, told): (Vec<String>, Vec<String>) = (rows.collect(), told.collect());
    assert!(rows.len() > 5, "{page}");
    assert_eq!(told, rows);
}
