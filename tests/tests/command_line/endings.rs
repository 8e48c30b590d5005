//! Ctrl-C while what has to be waited for does not come: it says what it does, ends, and says what was not done.

use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value;
use tanist_tests::program::{Ended, Process, Program};

use super::{ORDERS, orders};

const UP: &[&str] = &["up", "--nodes", "1", "--json", "--rate", "200"];

/// The first event of this kind.
fn event(stdout: &str, kind: &str) -> Option<Value> {
    let mut lines = stdout.lines().flat_map(serde_json::from_str::<Value>);
    lines.find(|line| line["kind"] == kind)
}

/// A local cluster that has counted some orders.
fn at_work(program: &Program) -> Process {
    let mut up = program.start(UP);
    up.until("orders are counted", |_| {
        let counted = program.run(&["scan", "order_count", "--limit", "1"]);
        (!counted.stdout.is_empty()).then_some(())
    });
    up
}

fn assert_interrupted(ended: &Ended, expected: &[&str]) {
    assert_eq!(ended.code, Some(130), "{ended:?}");
    for expected in expected {
        assert!(ended.stderr.contains(expected), "{expected} in {ended:?}");
    }
}

#[test]
fn a_local_cluster_whose_broker_stands_still_ends_without_waiting_for_it_and_says_so() {
    let (broker, program) = orders();
    let mut up = at_work(&program);
    broker.inner().pause();
    up.signal(Signal::SIGINT);
    up.until("it says what it does", |up| {
        up.stderr().contains("stopping: ").then_some(())
    });
    let ended = up.wait();
    assert_eq!(ended.code, Some(5), "{ended:?}");
    let why = format!("no Kafka broker answers at {}", broker.bootstrap());
    assert!(ended.stderr.contains(&why), "{ended:?}");
    let told = event(&ended.stdout, "not_drained").expect("it is told");
    assert!(told["text"].as_str().unwrap().contains(&why), "{told}");
}

#[test]
fn a_local_cluster_whose_directory_is_taken_away_says_so_and_ends() {
    let (_broker, program) = orders();
    let mut up = at_work(&program);
    fs::remove_dir_all(program.folder().join(".tanist")).unwrap();
    let told = up.until("it is told", |up| event(&up.stdout(), "data_gone"));
    let text = told["text"].as_str().unwrap();
    assert!(text.contains(".tanist/orders was deleted"), "{text}");
    let ended = up.wait();
    assert_eq!(ended.code, Some(2), "{ended:?}");
    for said in [
        ".tanist/orders was deleted or moved away while the nodes ran",
        "n1 has ended with exit code 2",
    ] {
        assert!(ended.stderr.contains(said), "{said} in {ended:?}");
    }
}

#[test]
fn a_second_interrupt_ends_a_command_at_once_and_says_what_that_means() {
    for (command, says) in [
        (
            &["worker"][..],
            "nothing is lost; what was not committed is processed again",
        ),
        (
            &["generate", "--rate", "200"],
            "it is not known whether they have arrived",
        ),
        (
            UP,
            "the nodes are killed; what is not committed is processed again",
        ),
    ] {
        let (broker, program) = orders();
        let mut process = program.start(command);
        process.until("it is at work", |process| {
            let is_at_work = match command {
                ["generate", ..] => process.stderr().contains(" sent, "),
                _ => {
                    let status = program.run(&["status"]).stdout;
                    status.contains(" running")
                }
            };
            is_at_work.then_some(())
        });
        broker.inner().pause();
        process.signal(Signal::SIGINT);
        process.until_logged("stopping: ");
        assert_interrupted(&process.interrupt(), &["ended at once: ", says]);
    }
}

#[test]
fn who_has_a_node_catch_up_and_interrupts_it_is_told_that_it_has_not() {
    let program = Program::new(ORDERS, "127.0.0.1:1");
    let mut worker = program.start(&["worker", "--until-caught-up"]);
    worker.until_logged("no Kafka broker answers");
    assert_interrupted(&worker.interrupt(), &["it had not caught up yet"]);
}

#[test]
fn who_sends_without_a_broker_is_told_that_nothing_was_sent() {
    let program = Program::new(ORDERS, "127.0.0.1:1");
    for args in [&["send", "orders", "{}"][..], &["generate"]] {
        let mut sender = program.start(args);
        sender.until_logged("no Kafka broker answers");
        let expected = ["stopping: ", "at 127.0.0.1:1: nothing was sent"];
        assert_interrupted(&sender.interrupt(), &expected);
    }
}

#[test]
fn who_sends_when_the_broker_stands_still_is_told_what_was_sent() {
    let (broker, program) = orders();
    let pipe = program.folder().join("orders");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.is_ok_and(|made| made.success()));
    let mut sender = program.start(&["send", "orders", "--file", "orders"]);
    let mut lines = File::options().write(true).open(&pipe).unwrap();
    let line = b"{\"account_id\":\"a\",\"product_id\":\"p\",\"amount\":1,\"price\":1.0}\n";
    lines.write_all(&line.repeat(10)).unwrap();
    until_acknowledged(&mut sender, 10);
    broker.inner().pause();
    lines.write_all(&line.repeat(2)).unwrap();
    sender.until_logged("10 records sent, 0 a second");
    let expected = [
        "stopping: ",
        "10 records are sent and acknowledged; of 2 more it is not known whether they have arrived",
        "; line 13 and what follows was not sent",
    ];
    assert_interrupted(&sender.interrupt(), &expected);
    broker.inner().resume();

    let mut generator = program.start(&["generate", "--rate", "50"]);
    until_acknowledged(&mut generator, 1);
    broker.inner().pause();
    generator.until("nothing is acknowledged any more", |generator| {
        let log = generator.stderr();
        let last = log.lines().last()?;
        last.ends_with(" sent, 0 a second").then_some(())
    });
    let expected = ["it is not known whether they have arrived"];
    assert_interrupted(&generator.interrupt(), &expected);
}

fn until_acknowledged(sender: &mut Process, least: u64) {
    sender.until("the broker has acknowledged some", |sender| {
        let log = sender.stderr();
        let mut sent = log.lines().filter_map(|line| line.split(' ').next());
        sent.any(|sent| sent.parse::<u64>().is_ok_and(|sent| sent >= least))
            .then_some(())
    });
}

#[test]
fn a_question_that_nobody_answers_is_ended_at_once() {
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = deaf.local_addr().unwrap().to_string();
    let program = Program::new(ORDERS, "127.0.0.1:1").variable("TANIST_HTTP", &address);
    for args in [
        &["status"][..],
        &["get", "order_count", "a"],
        &["kill", "n1"],
    ] {
        let asking = program.start(args);
        let _question = deaf.accept().unwrap();
        // The shell calls this 130.
        assert_eq!(asking.interrupt().code, None, "{args:?}");
    }
}
