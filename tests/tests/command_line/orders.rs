//! Running: a node processes what there is and ends, or goes on until it is stopped.

use std::fs;

use nix::sys::signal::Signal;
use tanist_tests::clients::TIMEOUT;
use tanist_tests::orders::{ORDER_COUNTS, check_orders};
use tanist_tests::program::Program;

use super::{CATCH_UP, ORDERS, assert_counted, orders};

const GENERATE: &[&str] = &[
    "generate",
    "--rate",
    "0",
    "--records",
    "5000",
    "--accounts",
    "40",
];

#[test]
fn until_caught_up_processes_what_there_is_with_all_that_follows_and_ends() {
    let (broker, program) = orders();
    program.answer(GENERATE);
    let worker = program.json(CATCH_UP);
    // Each order is regrouped, then counted.
    assert_eq!(
        (&worker["records"], &worker["committed"]),
        (&10_000.into(), &true.into())
    );
    assert_counted(&broker, 5000);
    // And again, over what came meanwhile and what is there already.
    program.answer(GENERATE);
    let worker = program.json(CATCH_UP);
    assert_eq!(worker["records"], 10_000);
    assert_eq!(program.json(CATCH_UP)["records"], 0);
    assert_counted(&broker, 10_000);
}

#[test]
fn a_node_that_is_stopped_has_committed_what_it_has_finished() {
    let (broker, program) = orders();
    let worker = program.worker(&[]);
    let mut generator = program.start(&["generate", "--rate", "2000"]);
    generator.until("1000 are sent", |generator| {
        let progress = generator.stderr();
        let mut sent = progress.lines().filter_map(|line| line.split(' ').next());
        sent.any(|sent| sent.parse::<u64>().is_ok_and(|sent| sent >= 1000))
            .then_some(())
    });
    let ended = worker.interrupt();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.starts_with("stopped after "), "{ended:?}");
    assert!(!program.folder().join(".tanist/orders/http").exists());
    let sent = generator.interrupt();
    assert_eq!(sent.code, Some(0), "{sent:?}");
    program.answer(CATCH_UP);
    let check = check_orders(broker.bootstrap(), ORDER_COUNTS, TIMEOUT).unwrap();
    assert!(check.is_sound(), "{check}");
    let expected = format!("sent {} records ", check.orders());
    assert!(sent.stdout.starts_with(&expected), "{sent:?}, {check}");
}

#[test]
fn a_second_signal_ends_a_node_that_cannot_commit() {
    let (broker, program) = orders();
    let mut worker = program.worker(&[]);
    program.answer(GENERATE);
    broker.inner().pause();
    worker.signal(Signal::SIGTERM);
    worker.until_logged("stopping");
    worker.signal(Signal::SIGTERM);
    assert_eq!(worker.wait().code, Some(128 + 15));
}

#[test]
fn a_demo_ends_with_everything_committed_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    // No broker is there: it brings its own.
    let program = Program::new(ORDERS, "127.0.0.1:1")
        .variable("TMPDIR", &folder.path().display().to_string());
    let ended = program.run(&["demo", "--seconds", "3", "--rate", "500", "--accounts", "3"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for part in [
        "broker 127.0.0.1:",
        "1 s: sent ",
        "commits/s",
        "; a0 {\"count\":",
    ] {
        assert!(ended.stdout.contains(part), "{part} in {}", ended.stdout);
    }
    let last = ended.stdout.lines().last().unwrap_or_default();
    assert!(last.starts_with("All of the 1,"), "{}", ended.stdout);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    assert!(!program.folder().join(".tanist").exists());
}

#[test]
fn a_demo_ends_in_the_same_way_when_it_is_interrupted() {
    let mut demo = Program::new(ORDERS, "127.0.0.1:1").start(&["demo", "--json"]);
    demo.until("orders are counted", |demo| {
        demo.stdout()
            .contains(r#""table":["order_count",[{"key":"a0""#)
            .then_some(())
    });
    let ended = demo.interrupt();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let last = ended.stdout.lines().last().unwrap_or_default();
    assert!(last.contains(r#""all_committed":true"#), "{ended:?}");
}
