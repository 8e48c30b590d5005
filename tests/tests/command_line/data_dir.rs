//! Data directories that are in use, or not this app's.

use std::fs;

use tanist_broker::{ApiKey, Fault, FaultRule};

use super::{CATCH_UP, HELLO, assert_counted, generate, orders};

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
fn a_node_whose_data_directory_is_taken_away_says_so_and_ends_and_nothing_is_lost() {
    let (broker, program) = orders();
    let mut worker = program.worker(&[]);
    generate(&program, 500);
    worker.until("some are counted", |_| {
        (program.json(&["status"])["records"].as_u64() > Some(0)).then_some(())
    });
    fs::remove_dir_all(program.folder().join(".tanist")).unwrap();
    let log = worker.expect_end(2);
    let says =
        "error: the data directory .tanist/orders was deleted or moved away while the node ran";
    assert!(log.contains(says), "{log}");
    assert!(log.contains("left"), "it hands its shards over: {log}");
    assert!(!log.contains("store="), "RocksDB has nothing to say: {log}");
    generate(&program, 500);
    program.answer(CATCH_UP);
    assert_counted(&broker, 1000);
}

#[test]
fn copies_that_are_behind_ask_once_how_long_their_changelogs_keep_deletions() {
    let (broker, program) = orders();
    let catch_up = |dir| {
        let args = [
            "worker",
            "--until-caught-up",
            "--workers",
            "1",
            "--data-dir",
            dir,
        ];
        program.answer(&args);
    };
    generate(&program, 500);
    catch_up("old");
    generate(&program, 500);
    catch_up("new");
    let faults = broker.inner().faults();
    // No fault, but counted.
    let rule = FaultRule::new(Fault::DelayAnswer(std::time::Duration::ZERO));
    let asked = faults.add(rule.api(ApiKey::DescribeConfigs).times(100));
    catch_up("old");
    // At the start, of all own topics; and of the changelogs, by the one worker for its eight shards.
    assert_eq!(faults.hits(asked), 2);
}
