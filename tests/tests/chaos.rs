//! `chaos` in a short form: what `bin/test chaos` does at length.
//!
//! `TANIST_TEST_SEED` says with which seed.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tanist_tests::program::{Ended, Program, example};

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
fn an_app_without_a_generator_and_a_reader_has_no_chaos() {
    let hello = Program::new("01_hello", "").without_variables();
    let refused = hello.run(&["chaos"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("'chaos'"), "{refused:?}");
}

/// How it ends where the reader is this shell script, if there is one.
fn judged_by(reader: Option<&str>) -> Ended {
    let beside = example("02_orders");
    let beside = beside.parent().expect("a file is in a folder");
    let folder = tempfile::tempdir_in(beside).expect("a temporary folder can be made");
    if let Some(script) = reader {
        let program = folder.path().join("check-orders");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("the folder is ours");
        let runs = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&program, runs).expect("the file is ours");
    }
    let orders = Program::new("02_orders", "").without_variables();
    let orders = orders.linked_into(folder.path());
    orders.run(&[
        "chaos", "--nodes", "1", "--events", "1", "--only", "stop", "--rate", "100",
    ])
}

#[test]
fn what_the_reader_has_against_it_is_said_with_exit_code_1() {
    let finds = "cat >/dev/null; echo '{\"sound\": false, \"inputs\": 0, \"text\": \"a7 lacks 3\", \"gaps\": []}'";
    for (reader, code, says) in [
        (
            Some(finds),
            1,
            &["not sound: a7 lacks 3; ", " and 0 are accounted for"][..],
        ),
        (
            Some("cat >/dev/null; exit 7"),
            1,
            &["exit status: 7 and no judgement"],
        ),
        (
            None,
            2,
            &["cannot start the reader that judges this app, check-orders: "],
        ),
    ] {
        let ended = judged_by(reader);
        assert_eq!(ended.code, Some(code), "{reader:?}: {ended:?}");
        for part in says {
            assert!(ended.stderr.contains(part), "{part} in {ended:?}");
        }
    }
}
