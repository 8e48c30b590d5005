//! A local cluster: what it shows, the orders that it takes from other terminals, and how its nodes end.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;

use nix::sys::signal::Signal;
use serde_json::Value;
use tanist_tests::program::{Process, Program};

use super::{CATCH_UP, HELLO, ORDERS, assert_counted, orders};

const UP: &[&str] = &["up", "--nodes", "1", "--json", "--rate", "200"];

/// Without a broker, in a folder of its own.
fn alone() -> Program {
    Program::new(ORDERS, "").without_variables()
}

fn events(up: &Process) -> Vec<Value> {
    let text = up.stdout();
    let events = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"));
    events.collect()
}

/// Waits for the last event of this kind about `node`, after so many others; its text.
fn until(up: &mut Process, node: &str, kind: &str, others: usize) -> String {
    up.until(&format!("{node} has {kind}"), |up| {
        let events = events(up);
        let mut events = events
            .iter()
            .filter(|event| event["node"] == node && event["kind"] == kind);
        let event = events.nth(others)?;
        Some(event["text"].as_str().unwrap_or_default().to_owned())
    })
}

/// Starts a local cluster, and waits until its node is at work.
fn start(program: &Program, args: &[&str]) -> Process {
    let mut up = program.start(args);
    until_at_work(program, &mut up);
    up
}

fn until_at_work(program: &Program, up: &mut Process) {
    up.until("a table can be asked for", |_| {
        (program.run(&["get", "order_count", "a1"]).code == Some(0)).then_some(())
    });
}

/// How often others have taken shards over from `node`.
fn took_over(up: &Process, node: &str) -> usize {
    let from = format!(" from {node} in ");
    let events = events(up);
    let events = events.iter().filter(|event| event["kind"] == "took_over");
    events
        .filter(|event| {
            event["text"]
                .as_str()
                .is_some_and(|text| text.contains(&from))
        })
        .count()
}

fn last(stdout: &str) -> Value {
    let last = stdout.lines().last().expect("there is a last word");
    serde_json::from_str(last).expect("it is JSON")
}

/// The process of a node, which it has told of so many times before.
fn process(up: &mut Process, node: &str, others: usize) -> u32 {
    let text = until(up, node, "started", others);
    let id = text
        .strip_prefix("process ")
        .expect("it says which process it is");
    id.parse().expect("that is a number")
}

/// Whether a process runs, be it frozen. One that nobody has waited for yet does not.
fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn it_ends_by_itself_with_everything_committed_and_says_so() {
    let ended = alone().run(&["up", "--nodes", "1", "--seconds", "2", "--rate", "500"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let expected = [
        "orders: broker 127.0.0.1:",
        "(in memory)",
        "n1   started",
        "n1   stopping",
        "n1   ended        exit code 0",
        "stopped after ",
        "\nAll of the ",
    ];
    for part in expected {
        assert!(ended.stdout.contains(part), "{part} in {}", ended.stdout);
    }
}

#[test]
fn an_interrupt_ends_it_in_the_same_way_and_nothing_is_lost_or_doubled() {
    let (broker, program) = orders();
    let up = start(&program, UP);
    let ended = up.interrupt();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let last = last(&ended.stdout);
    assert_eq!(last["all_committed"], true, "{ended:?}");
    assert!(!program.folder().join(".tanist/orders/http").exists());
    assert_counted(&broker, last["sent"].as_u64().unwrap());
}

#[test]
fn what_others_have_sent_to_its_own_broker_is_waited_for_too() {
    const WORDS: usize = 4000;
    let program = Program::new("blocking", "").without_variables();
    // So that it is not done at once.
    let program = program.variable("BLOCKS_WHILE", "block");
    let mut up = program.start(&["up", "--nodes", "1", "--json"]);
    up.until("a table can be asked for", |_| {
        (program.run(&["scan", "counts"]).code == Some(0)).then_some(())
    });
    let word = |n| format!("{{\"key\":\"k{}\",\"blocks\":false}}\n", n % 40);
    program.file("words", (0..WORDS).map(word).collect::<String>());
    program.answer(&["send", "words", "--file", "words", "--key-field", "key"]);
    let ended = up.interrupt();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("\"draining\""), "{ended:?}");
    assert_eq!(last(&ended.stdout)["all_committed"], true, "{ended:?}");
}

#[test]
fn nodes_are_killed_frozen_stopped_started_and_added_from_another_terminal() {
    let (broker, program) = orders();
    let mut up = start(&program, UP);
    assert_eq!(program.answer(&["kill", "n1"]), "n1 killed\n");
    until(&mut up, "n1", "ended", 0);
    assert_eq!(program.json(&["start", "n1"])["done"], "started");
    assert_eq!(program.answer(&["freeze", "n1"]), "n1 frozen\n");
    assert_eq!(program.answer(&["thaw", "n1"]), "n1 thawed\n");
    until_at_work(&program, &mut up);
    assert_eq!(program.answer(&["stop", "n1"]), "n1 stopped\n");
    assert_eq!(until(&mut up, "n1", "ended", 1), "exit code 0");
    assert_eq!(program.answer(&["add"]), "n2 added\n");
    until_at_work(&program, &mut up);
    let ended = up.interrupt();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let last = last(&ended.stdout);
    assert_eq!(
        (&last["nodes"], &last["all_committed"]),
        (&2.into(), &true.into())
    );
    assert_counted(&broker, last["sent"].as_u64().unwrap());
}

#[test]
fn the_shards_of_a_node_that_is_killed_or_frozen_go_on_elsewhere_and_nothing_is_lost_or_doubled() {
    let (broker, program) = orders();
    let mut up = start(&program, &["up", "--json", "--rate", "500"]);
    for (act, after) in [("kill", "start"), ("freeze", "thaw")] {
        let mut first_commits = BTreeMap::new();
        up.until("all nodes are at work", |up| {
            for event in events(up) {
                if event["kind"] == "first_commit" {
                    first_commits.insert(event["shard"].to_string(), event["node"].to_string());
                }
            }
            let nodes: BTreeSet<&String> = first_commits.values().collect();
            (nodes.len() == 3).then_some(())
        });
        let before = took_over(&up, "n2");
        program.answer(&[act, "n2"]);
        up.until("others have the shards of n2", |up| {
            (took_over(up, "n2") > before).then_some(())
        });
        let plan = program.answer(&["status", "--explain"]);
        let death = plan
            .lines()
            .find(|line| line.starts_with("dead: n2 (member "));
        let death = death.unwrap_or_else(|| panic!("who died in:\n{plan}"));
        assert!(death.contains("; its shards went to n"), "{death}");
        let table = program.answer(&["status"]);
        let mut lines = table.lines().filter(|line| line.starts_with("n2 "));
        let line = lines.find(|line| line.contains("  dead: put out by plan "));
        assert!(line.is_some(), "who died in:\n{table}");
        program.answer(&[after, "n2"]);
    }
    let ended = up.interrupt();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let last = last(&ended.stdout);
    assert_eq!(last["all_committed"], true, "{ended:?}");
    assert_counted(&broker, last["sent"].as_u64().unwrap());
}

#[test]
fn a_node_that_stands_still_is_a_line_of_the_status_and_holds_nobody_up() {
    let program = alone();
    let args = ["up", "--json", "--nodes", "2", "--failure-timeout", "1h"];
    let mut up = start(&program, &args);
    program.answer(&["freeze", "n2"]);
    let status = up.until("the others tell of it", |_| {
        let status = program.run(&["status"]).stdout;
        let mut lines = status.lines().map(str::to_owned);
        lines.find(|line| line.starts_with("n2 ") && line.contains("no answer"))
    });
    assert!(
        status.ends_with("no answer in time: it may be frozen"),
        "{status}"
    );
    let status = program.json(&["status"]);
    assert_eq!(status["lag_records"], Value::Null, "{status}");
    assert_eq!(
        status["nodes"].as_array().map(Vec::len),
        Some(2),
        "{status}"
    );
    program.answer(&["thaw", "n2"]);
    assert_eq!(up.interrupt().code, Some(0));
}

#[test]
fn what_is_sent_beside_it_goes_to_its_broker() {
    let program = alone();
    let mut up = start(&program, UP);
    let order = r#"{"account_id":"newcomer","product_id":"p","amount":1,"price":1.0}"#;
    program.answer(&["send", "orders", order]);
    program.answer(&[
        "generate",
        "--rate",
        "0",
        "--records",
        "10",
        "--accounts",
        "1",
    ]);
    up.until("it is counted", |_| {
        let found = program.run(&["get", "order_count", "newcomer"]);
        found.stdout.contains("\"count\":1").then_some(())
    });
    assert_eq!(up.interrupt().code, Some(0));
}

#[test]
fn an_order_that_makes_no_sense_is_refused_with_the_reason() {
    let program = alone();
    let _up = start(&program, UP);
    for (args, code, message) in [
        (&["kill", "n7"][..], 2, "there is no node n7: there are n1"),
        (&["thaw", "n1"], 1, "cannot thaw n1: it is not frozen"),
        (
            &["start", "n1"],
            1,
            "cannot start n1: it is running already",
        ),
        (&["kill", "broker"], 1, "`stop` and `start` keep it"),
    ] {
        let ended = program.run(args);
        assert_eq!(ended.code, Some(code), "{args:?}: {ended:?}");
        assert!(ended.stderr.contains(message), "{args:?}: {ended:?}");
    }
}

#[test]
fn orders_need_a_local_cluster_and_a_single_node_is_none() {
    let (_broker, program) = orders();
    let ended = program.run(&["kill", "n1"]);
    assert_eq!(ended.code, Some(6), "{ended:?}");
    assert!(ended.stderr.contains("several with `up`"), "{ended:?}");
    let _worker = program.worker(&[]);
    let ended = program.run(&["kill", "n1"]);
    assert_eq!(ended.code, Some(6), "{ended:?}");
    assert!(ended.stderr.contains("a single node"), "{ended:?}");
}

#[test]
fn a_broker_that_is_stopped_and_started_has_lost_nothing() {
    let program = alone();
    let mut up = start(&program, UP);
    assert_eq!(program.answer(&["stop", "broker"]), "broker stopped\n");
    up.until("the node misses it", |_| {
        let status = program.run(&["status"]);
        status.stdout.contains("does not answer").then_some(())
    });
    assert_eq!(program.answer(&["start", "broker"]), "broker started\n");
    until_at_work(&program, &mut up);
    let ended = up.interrupt();
    assert_eq!(
        (ended.code, &last(&ended.stdout)["all_committed"]),
        (Some(0), &true.into()),
        "{ended:?}"
    );
}

#[test]
fn a_killed_local_cluster_takes_its_nodes_along_be_they_frozen() {
    let program = alone();
    let mut up = start(
        &program,
        &[
            "up",
            "--nodes",
            "1",
            "--json",
            "--rate",
            "0",
            "--records",
            "1000",
        ],
    );
    let first = process(&mut up, "n1", 0);
    program.answer(&["freeze", "n1"]);
    program.answer(&["add"]);
    let second = process(&mut up, "n2", 0);
    assert!(runs(first) && runs(second));
    up.kill();
    let mut other = program.start(&["broker", "--listen", "127.0.0.1:0"]);
    other.until("no node runs", |_| {
        (!runs(first) && !runs(second)).then_some(())
    });
    // What it left behind is in nobody's way.
    let up = start(&program, UP);
    assert_eq!(up.interrupt().code, Some(0));
}

#[test]
fn a_node_whose_parent_is_gone_does_not_begin() {
    let (_broker, program) = orders();
    let ended = program.run(&[CATCH_UP, &["--parent", "4194304"]].concat());
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended
            .stderr
            .contains("which has started this node, is gone"),
        "{ended:?}"
    );
}

#[test]
fn a_node_that_ends_by_itself_is_shown_with_its_last_words_and_stays_down() {
    let program = alone();
    let mut up = start(&program, UP);
    let pid = process(&mut up, "n1", 0);
    let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
    program.answer(&["add"]);
    // As the kernel does it when memory runs out.
    nix::sys::signal::kill(pid, Signal::SIGKILL).unwrap();
    assert!(until(&mut up, "n1", "ended", 0).starts_with("unexpectedly: SIGKILL\n"));
    program.answer(&["start", "n1"]);
    up.stop();
}

#[test]
fn when_every_node_has_ended_by_itself_it_ends_too_and_says_why() {
    let (broker, program) = orders();
    broker.raw().create_topic("order-counts", 3, &[]);
    let ended = program.run(&["up", "--nodes", "2", "--json", "--records", "0"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    for part in [
        "n1 has ended with exit code 2; its log .tanist/orders/n1.log ends so:",
        "topic order-counts has 3 partitions, but the app declares 8",
    ] {
        assert!(ended.stderr.contains(part), "{part} in {ended:?}");
    }
}

#[test]
fn a_port_or_a_directory_that_is_taken_is_named() {
    let program = alone();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (command, flag) in [
        ("up", "--http"),
        ("worker", "--http"),
        ("broker", "--listen"),
    ] {
        let ended = program.run(&[command, flag, &address]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        let named = format!("cannot listen on {address}: ");
        let remedy = format!("choose another address with {flag}, or port 0");
        for part in [named, remedy] {
            assert!(ended.stderr.contains(&part), "{part} in {ended:?}");
        }
    }

    let up = start(&program, UP);
    for args in [UP, &["worker"]] {
        let ended = program.run(args);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        let holder = format!(".tanist/orders is in use by process {}", up.id());
        assert!(ended.stderr.contains(&holder), "{ended:?}");
    }
    let ended = program
        .beside(HELLO)
        .run(&["up", "--data-dir", ".tanist/orders"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
}

#[test]
fn a_broker_that_is_away_is_waited_for_and_can_be_given_up() {
    let program = Program::new(ORDERS, "127.0.0.1:1");
    let mut up = program.start(UP);
    let log = program.folder().join(".tanist/orders/n1.log");
    up.until("the node misses it", |_| {
        let log = fs::read_to_string(&log).ok()?;
        log.contains("127.0.0.1:1").then_some(())
    });
    let ended = up.interrupt();
    assert_eq!(ended.code, Some(5), "{ended:?}");
    assert!(
        ended.stderr.contains("broker answers at 127.0.0.1:1"),
        "{ended:?}"
    );
    assert_eq!(
        last(&ended.stdout)["all_committed"],
        Value::Null,
        "{ended:?}"
    );
}

#[test]
fn an_app_without_a_generator_has_a_local_cluster_too() {
    let ended =
        Program::new(HELLO, "")
            .without_variables()
            .run(&["up", "--nodes", "1", "--seconds", "1"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!ended.stdout.contains("were sent"), "{ended:?}");
}
