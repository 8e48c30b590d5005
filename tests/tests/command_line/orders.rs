//! Running: a node processes what there is and ends, or goes on until it is stopped.

use nix::sys::signal::Signal;
use tanist_tests::clients::TIMEOUT;
use tanist_tests::orders::{ORDER_COUNTS, check_orders};

use super::{CATCH_UP, assert_counted, orders};

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
