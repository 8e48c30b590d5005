//! What goes with time, and what may not.

use super::*;

#[test]
fn compaction_keeps_the_last_value_of_a_key_at_its_offset() {
    let mut fixture = Fixture::compacted();
    fixture
        .plain(&[("a", Some("1")), ("b", Some("1")), ("a", Some("2"))])
        .unwrap();
    fixture
        .plain(&[("c", Some("1")), ("b", Some("2"))])
        .unwrap();
    fixture.plain(&[("c", Some("2"))]).unwrap();
    fixture.compact();
    // The last batch is not touched, and what it supersedes is not known of yet.
    assert_eq!(fixture.committed(), ["2 a=2", "3 c=1", "4 b=2", "5 c=2"]);
    assert_eq!(
        fixture.bounds(),
        Bounds {
            start: 0,
            last_stable: 6,
            end: 6
        }
    );
    fixture.plain(&[("d", Some("1"))]).unwrap();
    fixture.compact();
    assert_eq!(fixture.committed(), ["2 a=2", "4 b=2", "5 c=2", "6 d=1"]);
}

#[test]
fn compaction_stops_at_the_last_stable_offset() {
    let mut fixture = Fixture::compacted();
    fixture.plain(&[("a", Some("1"))]).unwrap();
    let producer = fixture.init("x").unwrap();
    fixture.join("x", producer).unwrap();
    fixture.write(producer, 0, &[("a", Some("2"))]).unwrap();
    fixture.plain(&[("a", Some("3"))]).unwrap();
    fixture.plain(&[("b", Some("1"))]).unwrap();
    fixture.compact();
    let all = ["0 a=1", "1 a=2", "2 a=3", "3 b=1"];
    assert_eq!(fixture.read(Isolation::ReadUncommitted), all);
    assert_eq!(fixture.committed(), ["0 a=1"]);
    fixture.end("x", producer, Outcome::Commit).unwrap();
    fixture.compact();
    assert_eq!(fixture.committed(), ["2 a=3", "3 b=1"]);
}

#[test]
fn an_aborted_value_supersedes_nothing_and_goes() {
    let mut fixture = Fixture::compacted();
    fixture.plain(&[("a", Some("1"))]).unwrap();
    fixture.transact("x", &[("a", Some("aborted"))], Outcome::Abort);
    fixture.plain(&[("b", Some("1"))]).unwrap();
    fixture.compact();
    assert_eq!(fixture.committed(), ["0 a=1", "3 b=1"]);
    assert_eq!(fixture.read(Isolation::ReadUncommitted), ["0 a=1", "3 b=1"]);
}

#[test]
fn tombstones_stay_for_the_delete_retention_after_they_were_met() {
    let mut fixture = Fixture::compacted();
    fixture.plain(&[("a", Some("1"))]).unwrap();
    fixture.plain(&[("a", None)]).unwrap();
    fixture.plain(&[("b", Some("1"))]).unwrap();
    fixture.pass(48 * 60 * 60 * 1000);
    fixture.compact();
    assert_eq!(fixture.committed(), ["1 a", "2 b=1"]);
    fixture.pass(24 * 60 * 60 * 1000);
    fixture.compact();
    assert_eq!(fixture.committed(), ["1 a", "2 b=1"]);
    fixture.pass(1);
    fixture.compact();
    assert_eq!(fixture.committed(), ["2 b=1"]);
}

#[test]
fn a_marker_goes_with_the_last_trace_of_its_transaction_and_hides_nothing_then() {
    let mut fixture = Fixture::compacted();
    fixture.transact("x", &[("a", Some("aborted"))], Outcome::Abort);
    let producer = fixture.init("x").unwrap();
    fixture.join("x", producer).unwrap();
    fixture.write(producer, 0, &[("a", Some("1"))]).unwrap();
    fixture.end("x", producer, Outcome::Commit).unwrap();
    fixture.plain(&[("b", Some("1"))]).unwrap();
    let batches = |fixture: &Fixture| {
        fixture
            .core
            .topic("t")
            .unwrap()
            .partition(0)
            .unwrap()
            .batches
            .len()
    };
    fixture.compact();
    assert_eq!(
        batches(&fixture),
        4,
        "the aborted record has gone, its marker has not"
    );
    fixture.pass(24 * 60 * 60 * 1000 + 1);
    fixture.compact();
    assert_eq!(
        batches(&fixture),
        3,
        "the marker of the commit stays with its record"
    );
    assert_eq!(
        fixture
            .core
            .topic("t")
            .unwrap()
            .partition(0)
            .unwrap()
            .aborted,
        []
    );
    assert_eq!(fixture.committed(), ["2 a=1", "4 b=1"]);
}

#[test]
fn a_partition_is_compacted_by_itself_once_enough_was_appended() {
    let mut fixture = Fixture::compacted();
    fixture.core.settings.compaction_min_bytes = 1_000;
    for value in 0..9 {
        fixture.plain(&[("a", Some(&value.to_string()))]).unwrap();
    }
    fixture.pass(15_000);
    assert_eq!(fixture.committed().len(), 9);
    for value in 9..20 {
        fixture.plain(&[("a", Some(&value.to_string()))]).unwrap();
    }
    fixture.pass(15_000);
    assert_eq!(fixture.committed(), ["18 a=18", "19 a=19"]);
}

#[test]
fn retention_deletes_from_the_front_but_nothing_of_an_open_transaction() {
    let keep = TopicConfig {
        retention: Some(MINUTE),
        ..TopicConfig::default()
    };
    let mut fixture = Fixture::new(keep);
    fixture.plain(&[("a", Some("1"))]).unwrap();
    let producer = fixture.init("x").unwrap();
    fixture.join("x", producer).unwrap();
    fixture.write(producer, 0, &[("b", Some("1"))]).unwrap();
    fixture.plain(&[("c", Some("1"))]).unwrap();
    fixture.core.settings.transaction_check_interval = Millis(i64::MAX);
    fixture.core.upkeep = Upkeep::default();
    fixture.pass(0);
    fixture.pass(5 * 60 * 1000);
    assert_eq!(fixture.read(Isolation::ReadUncommitted), ["1 b=1", "2 c=1"]);
    assert_eq!(
        fixture.bounds(),
        Bounds {
            start: 1,
            last_stable: 1,
            end: 3
        }
    );
    fixture.end("x", producer, Outcome::Commit).unwrap();
    fixture.pass(5 * 60 * 1000);
    assert_eq!(
        fixture.bounds(),
        Bounds {
            start: 4,
            last_stable: 4,
            end: 4
        }
    );
}

#[test]
fn retention_by_size_keeps_the_newest_batches() {
    let mut fixture = Fixture::new(TopicConfig {
        retention_bytes: Some(200),
        ..TopicConfig::default()
    });
    for value in ["1", "2", "3", "4"] {
        fixture.plain(&[("a", Some(value))]).unwrap();
    }
    fixture.pass(5 * 60 * 1000);
    assert_eq!(fixture.committed(), ["2 a=3", "3 a=4"]);
}
