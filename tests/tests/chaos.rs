//! `chaos` in a short form: what `bin/test chaos` does at length.
//!
//! `TANIST_TEST_SEED` says with which seed.

use tanist_tests::program::Program;

/// Enough for most kinds to come.
const EVENTS: &str = "10";

#[test]
fn whatever_is_done_to_a_cluster_nothing_is_lost_doubled_or_out_of_order() {
    let seed = std::env::var("TANIST_TEST_SEED").unwrap_or_else(|_| "11".into());
    let orders = Program::new("02_orders", "").without_variables();
    let chaos = orders.run(&[
        "chaos", "--events", EVENTS, "--seed", &seed, "--rate", "800",
    ]);
    assert_eq!(chaos.code, Some(0), "seed {seed}: {chaos:?}");
    let last = chaos.stdout.lines().last().unwrap_or_default();
    assert_eq!(last, "sound", "seed {seed}: {chaos:?}");
}

#[test]
fn a_reader_that_cannot_be_started_is_named() {
    let hello = Program::new("01_hello", "").without_variables();
    let refused = hello.run(&["chaos"]);
    assert_eq!(
        refused.code,
        Some(2),
        "without a generator and a judge there is no chaos"
    );
}
