//! A broker that is away, comes, and goes.

use tanist_broker::{Config, EmbeddedBroker};
use tanist_tests::program::Program;

use super::{CATCH_UP, ORDERS, orders};

/// An address where nobody listens.
fn nowhere() -> String {
    let broker = EmbeddedBroker::start(Config::default()).expect("there is a free port");
    broker.address().to_string()
}

#[test]
fn every_command_gives_up_after_the_broker_timeout_and_says_so() {
    let address = nowhere();
    let program = Program::new(ORDERS, &address);
    for args in [
        &["worker"][..],
        &["send", "orders", "{}"],
        &["generate", "--records", "1"],
        &["topology"],
        &["up", "--headless"],
    ] {
        let ended = program.run(&[args, &["--broker-timeout", "500ms"]].concat());
        assert_eq!(ended.code, Some(3), "{args:?}: {ended:?}");
        let message = format!("no Kafka broker answers at {address}");
        assert!(ended.stderr.contains(&message), "{args:?}: {ended:?}");
    }
}

#[test]
fn a_node_waits_for_its_broker_and_begins_when_it_comes() {
    let address = nowhere();
    let program = Program::new(ORDERS, &address);
    let mut worker = program.start(CATCH_UP);
    worker.until_logged("no Kafka broker answers; waiting for one");
    let status = program.json(&["status", "--here"]);
    assert_eq!(
        (&status["broker"]["reachable"], &status["member"]),
        (&false.into(), &serde_json::Value::Null)
    );
    let listen = address.parse().unwrap();
    let _broker = EmbeddedBroker::start(Config {
        listen,
        ..Config::default()
    })
    .unwrap();
    let ended = worker.wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("Kafka answers again"), "{ended:?}");
}

#[test]
fn a_broker_that_stands_still_is_one_that_does_not_answer() {
    let (broker, program) = orders();
    let worker = program.worker(&[]);
    broker.inner().pause();
    let status = program.answer(&["status"]);
    assert!(status.contains(", which does not answer"), "{status}");
    assert_eq!(
        program.json(&["status"])["lag_records"],
        serde_json::Value::Null
    );
    broker.inner().resume();
    drop(worker);
}

#[test]
fn a_node_that_waits_for_its_broker_can_be_stopped() {
    let mut worker = Program::new(ORDERS, &nowhere()).start(&["worker"]);
    worker.until_logged("no Kafka broker answers; waiting for one");
    assert_eq!(worker.interrupt().code, Some(0));
}

#[test]
fn a_node_whose_broker_goes_gives_up_after_the_broker_timeout() {
    let (broker, program) = orders();
    let worker = program.worker(&["--broker-timeout", "1s"]);
    broker.inner().stop();
    let ended = worker.wait();
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stderr.contains("--broker-timeout"), "{ended:?}");
}

#[test]
fn a_node_whose_broker_has_forgotten_all_says_so_and_what_to_do() {
    let (broker, program) = orders();
    let worker = program.worker(&[]);
    broker.inner().stop();
    let listen = broker.bootstrap().parse().unwrap();
    let _another = EmbeddedBroker::start(Config {
        listen,
        ..Config::default()
    })
    .unwrap();
    let log = worker.expect_end(1);
    for expected in [
        "orders.control[0], in which the nodes of this app agree who does what, is not there as it was",
        "the embedded broker, which forgets all when it ends",
        "move their data directories away",
    ] {
        assert!(log.contains(expected), "{expected} in:\n{log}");
    }
}

#[test]
fn the_embedded_broker_is_a_program_too() {
    let mut broker =
        Program::new(ORDERS, "127.0.0.1:1").start(&["broker", "--listen", "127.0.0.1:0", "--json"]);
    let address = broker.until("it tells its address", |broker| {
        let line: serde_json::Value = serde_json::from_str(broker.stdout().lines().next()?).ok()?;
        Some(line["broker"].as_str()?.to_owned())
    });
    let program = Program::new(ORDERS, &address);
    program.answer(&["generate", "--rate", "0", "--records", "10"]);
    assert_eq!(program.json(CATCH_UP)["records"], 20);
    let taken = program.run(&["broker", "--listen", &address]);
    assert_eq!(taken.code, Some(2));
    assert!(taken.stderr.contains("choose another address"), "{taken:?}");
    assert_eq!(broker.interrupt().code, Some(0));
}
