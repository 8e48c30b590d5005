//! Facts as nodes and processes give them, and what is made of them: events, a screen, its picture.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use tanist_cluster::Epoch;

use super::*;
use crate::http::{ShardLine, examples};
use crate::up::order::Exit;
use crate::up::screen::Around;

const PARTITIONS: i32 = 3;

/// The app has one input.
const STEPS: usize = 1;

fn shards() -> impl Iterator<Item = ShardId> {
    (0..PARTITIONS).map(|partition| ShardId::new("orders", partition))
}

fn started(node: &str, pid: u32) -> Fact {
    Fact::Started(Running {
        node: node.into(),
        pid,
        dir: PathBuf::from("data").join(node),
        log: PathBuf::from(format!("data/{node}.log")),
    })
}

fn view(nodes: &[(&str, u32)]) -> View {
    let mut view = View::new(shards(), STEPS);
    for &(node, pid) in nodes {
        view.fold(Millis(0), started(node, pid));
    }
    view
}

/// What a node says that is active for `partitions`, each with this lag.
fn status(node: &str, pid: u32, partitions: &[i32], lag: u64) -> Fact {
    asked(0, node, pid, partitions, lag)
}

/// The same, asked in this round.
fn asked(round: u64, node: &str, pid: u32, partitions: &[i32], lag: u64) -> Fact {
    let line = |shard: ShardId| {
        let is_here = partitions.contains(&shard.partition.0);
        let state = is_here.then_some(ShardState::Running);
        ShardLine {
            records_per_second: Some(500.0),
            lag_records: Some(lag),
            ..examples::line(shard, Role::Active, state)
        }
    };
    let status = NodeStatus {
        member: Some(MemberId(i64::from(pid))),
        records_per_second: Some(500.0 * partitions.len() as f64),
        lag_records: Some(lag * partitions.len() as u64),
        settled: lag == 0,
        ..examples::status(node, shards().map(line).collect())
    };
    Fact::Status {
        node: node.into(),
        pid,
        address: ([127, 0, 0, 1], pid as u16).into(),
        round,
        status: Box::new(status),
    }
}

fn end(node: &str, exit: Exit, is_expected: bool) -> Fact {
    Fact::Ended(Ended {
        node: node.into(),
        exit,
        is_expected,
        last_lines: vec!["error: cannot go on".into()],
    })
}

fn happened(node: &str, at: i64, kind: &str) -> Fact {
    Fact::Happened(Event::of(&node.into(), Millis(at), kind, ""))
}

fn picture(view: &View, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let screen = view.screen(&Around {
        title: "orders: broker 127.0.0.1:9092",
        notice: "cannot thaw n1: it is not frozen",
        chosen: 1,
    });
    terminal.draw(|frame| screen.draw(frame)).unwrap();
    let lines = terminal.backend().to_string();
    let lines = lines.lines().map(|line| line.trim_matches('"').trim_end());
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_screen_shows_nodes_shards_and_what_happened() {
    let mut view = view(&[("n1", 11), ("n2", 12), ("n3", 13)]);
    view.fold(Millis(100), status("n1", 11, &[0, 2], 4));
    view.fold(Millis(100), status("n2", 12, &[1], 0));
    view.fold(Millis(1000), Fact::Done("n2".into(), Act::Freeze));
    view.fold(Millis(2000), end("n3", Exit::Code(5), false));
    view.fold(Millis(2500), Fact::Sent(1000));
    view.fold(Millis(3500), Fact::Sent(2600));
    view.settle(Millis(10_000));
    assert_eq!(
        picture(&view, 90, 24),
        "\
orders: broker 127.0.0.1:9092
sent 1,600/s, 2,600 in all; processed 1,000/s, lag ?

 1 n1       running          member 11    1,000/s, lag 8         data/n1.log
>2 n2       frozen           member 12                           data/n2.log
 3 n3       ended: exit code 5                                     data/n3.log

   orders
   shard          0      1      2
   n1        active      . active
   n2             . active      .
   n3             .      .      .
   records/s    500           500
   lag            4             4
what happened (UTC) ──────────────────────────────────────────────────────────────────────
00:00:00.000 n1   started      process 11
00:00:00.000 n2   started      process 12
00:00:00.000 n3   started      process 13
00:00:01.000 n2   frozen
00:00:02.000 n3   ended        unexpectedly: exit code 5
    error: cannot go on

cannot thaw n1: it is not frozen
1-9 or arrows choose a node; k kill  f freeze, thaw  s stop, start  a add  q quit"
    );
}

#[test]
fn in_a_small_window_the_last_events_and_the_keys_are_still_there() {
    let mut view = view(&[("n1", 11)]);
    for at in 0..50 {
        view.fold(Millis(at), happened("n1", at, &format!("event-{at}")));
    }
    view.settle(Millis(10_000));
    for (width, height) in [(40, 12), (20, 5), (1, 1), (200, 100)] {
        let picture = picture(&view, width, height);
        if height > 8 {
            assert!(picture.contains("event-49"), "{picture}");
            assert!(picture.contains("1-9 or arrows"), "{picture}");
        }
    }
}

#[test]
fn events_of_several_nodes_are_shown_in_the_order_of_their_times() {
    let mut view = view(&[]);
    view.fold(Millis(1000), happened("n2", 990, "second"));
    view.fold(Millis(1200), happened("n1", 980, "first"));
    assert_eq!(view.settle(Millis(1500)), [], "others may be on their way");
    view.fold(Millis(1550), happened("n1", 1540, "third"));
    let kinds = |events: Vec<Event>| {
        events
            .into_iter()
            .map(|event| (event.seq, event.kind))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        kinds(view.settle(Millis(1700))),
        [(1, "first".into()), (2, "second".into())]
    );
    view.fold(Millis(3000), happened("n1", 1, "late"));
    assert_eq!(
        kinds(view.settle(Millis(3000))),
        [(3, "late".into()), (4, "third".into())]
    );
}

#[test]
fn that_a_member_joined_is_told_by_all_nodes_and_shown_once() {
    let mut view = view(&[]);
    for node in ["n1", "n2", "n3"] {
        let joined = Event::of(&node.into(), Millis(5), "joined", "node n3 joined");
        let member = Some(MemberId(7));
        view.fold(Millis(5), Fact::Happened(Event { member, ..joined }));
    }
    assert_eq!(view.settle(Millis(1000)).len(), 1);
}

#[test]
fn a_move_is_summed_up_with_what_it_cost() {
    let mut view = view(&[("n1", 11), ("n2", 12)]);
    let stage = |node: &str, at, kind: &str, epoch| {
        Fact::Happened(Event {
            shard: Some(ShardId::new("orders", 1)),
            epoch: Some(Epoch(epoch)),
            ..Event::of(&node.into(), Millis(at), kind, "")
        })
    };
    view.fold(Millis(5), stage("n1", 5, "permitted", 1));
    view.fold(Millis(9), stage("n1", 9, "first_commit", 1));
    view.fold(Millis(1000), Fact::Done("n1".into(), Act::Kill));
    view.fold(Millis(1001), end("n1", Exit::Signal(9), true));
    view.fold(Millis(1020), stage("n2", 1020, "permitted", 2));
    view.fold(Millis(1090), stage("n2", 1090, "first_commit", 2));
    let mut told = |now| {
        let told = view.settle(Millis(now));
        told.last().map(ToString::to_string).unwrap_or_default()
    };
    let sum = "orders/1 from n1 in 90 ms to the first commit: permitted 20 (plan 2)";
    assert_eq!(told(2000), format!("n2   moved        {sum}"));
    assert_eq!(told(2100), format!("n2   took over    {sum}"));
    assert_eq!(told(2200), "");
    let pauses = view.pauses().unwrap();
    assert_eq!((pauses.moves, pauses.longest_ms), (1, 90));
}

#[test]
fn what_a_process_said_that_is_gone_does_not_count() {
    let mut view = view(&[("n1", 11)]);
    view.fold(Millis(0), status("n1", 11, &[0], 0));
    assert_eq!(view.addresses(), ["127.0.0.1:11".parse().unwrap()]);
    view.fold(Millis(0), end("n1", Exit::Signal(9), false));
    assert_eq!(view.addresses(), []);
    view.fold(Millis(0), status("n1", 11, &[0], 0));
    assert_eq!(
        view.addresses(),
        [],
        "it was on its way when the node ended"
    );
}

#[test]
fn who_is_likeliest_to_answer_is_asked_first() {
    let mut view = view(&[("n1", 1), ("n2", 2), ("n3", 3)]);
    for (node, pid) in [("n1", 1), ("n2", 2), ("n3", 3)] {
        view.fold(Millis(0), status(node, pid, &[], 0));
    }
    view.fold(Millis(0), Fact::Done("n1".into(), Act::Freeze));
    view.fold(
        Millis(0),
        Fact::Silent {
            node: "n2".into(),
            pid: 2,
        },
    );
    let ports: Vec<u16> = view.addresses().iter().map(SocketAddr::port).collect();
    assert_eq!(ports, [3, 2, 1]);
}

#[test]
fn all_is_committed_when_no_node_had_a_lag_for_as_many_rounds_as_a_record_has_steps() {
    let mut view = view(&[("n1", 1), ("n2", 2)]);
    view.fold(Millis(0), Fact::Sent(10));
    let mut round = |first: u64, second: u64| {
        view.fold(Millis(0), asked(view.round(), "n1", 1, &[0, 1], first));
        view.fold(Millis(0), asked(view.round(), "n2", 2, &[2], second));
        view.is_drained()
    };
    assert!(!round(0, 0), "n1 had not heard of n2's shard");
    assert!(!round(1, 0));
    assert!(!round(0, 0));
    assert!(round(0, 0));
    assert!(!round(0, 1), "there is more again");
    assert!(!round(0, 0), "n1 had heard of that");
    assert!(!round(0, 0));
    assert!(round(0, 0));
    assert_eq!(view.hindrance(), None);
    view.fold(Millis(0), Fact::Done("n2".into(), Act::Freeze));
    assert!(!view.is_drained(), "what it holds is unknown");
    assert_eq!(view.hindrance().as_deref(), Some("n2 is frozen"));
}

#[test]
fn an_answer_counts_for_the_round_in_which_it_was_asked_for() {
    let mut view = view(&[("n1", 1), ("n2", 2)]);
    view.fold(Millis(0), status("n2", 2, &[2], 0));
    let began = view.round();
    for _ in 0..10 {
        view.fold(Millis(0), asked(view.round(), "n1", 1, &[0, 1], 0));
        view.fold(Millis(0), asked(began - 1, "n2", 2, &[2], 0));
    }
    assert!(
        !view.is_drained(),
        "n2 was asked before it was decided upon"
    );
    for _ in 0..2 {
        let round = view.round();
        view.fold(Millis(0), asked(round, "n2", 2, &[2], 0));
        view.fold(Millis(0), asked(round, "n1", 1, &[0, 1], 0));
    }
    assert!(view.is_drained());
}

#[test]
fn what_is_not_committed_is_not_drained_though_nothing_waits() {
    let mut view = view(&[("n1", 1)]);
    for _ in 0..10 {
        let mut fact = asked(view.round(), "n1", 1, &[0, 1, 2], 0);
        if let Fact::Status { status, .. } = &mut fact {
            status.settled = false;
        }
        view.fold(Millis(0), fact);
    }
    assert_eq!(view.lag_records(), Some(0));
    assert!(!view.is_drained());
}

#[test]
fn a_lag_that_somebody_does_not_tell_is_unknown() {
    let mut view = view(&[("n1", 1), ("n2", 2)]);
    assert_eq!(view.lag_records(), None);
    view.fold(Millis(0), status("n1", 1, &[0, 1], 3));
    assert_eq!(view.lag_records(), None, "n2 has said nothing");
    view.fold(Millis(0), status("n2", 2, &[], 0));
    assert_eq!(view.lag_records(), None, "nobody is at work for a shard");
    view.fold(Millis(0), status("n2", 2, &[2], 1));
    assert_eq!(view.lag_records(), Some(7));
    let silent = Fact::Silent {
        node: "n2".into(),
        pid: 2,
    };
    view.fold(Millis(0), silent);
    assert_eq!(view.lag_records(), None);
}

#[test]
fn a_shard_that_is_broken_and_runs_nowhere_is_named_as_what_cannot_be_waited_for() {
    let mut view = view(&[("n1", 1), ("n2", 2)]);
    view.fold(Millis(0), status("n2", 2, &[0, 1], 0));
    let mut broken = |role| {
        let reason = "it is too large".to_owned();
        let state = Some(ShardState::Broken { reason });
        let line = examples::line(ShardId::new("orders", 1), role, state);
        let fact = Fact::Status {
            node: "n1".into(),
            pid: 1,
            address: ([127, 0, 0, 1], 1).into(),
            round: 0,
            status: Box::new(examples::status("n1", vec![line])),
        };
        view.fold(Millis(0), fact);
        view.hindrance()
    };
    assert_eq!(broken(Role::Standby), None, "it runs on n2");
    view.fold(Millis(0), status("n2", 2, &[0], 0));
    let why = view.hindrance();
    assert_eq!(why.as_deref(), Some("shard orders/1 is broken on n1"));
}

#[test]
fn shards_without_an_owner_are_not_drained() {
    let mut view = view(&[("n1", 1)]);
    for _ in 0..10 {
        view.fold(Millis(0), asked(view.round(), "n1", 1, &[0, 1], 0));
    }
    assert!(!view.is_drained());
}

#[test]
fn a_node_that_has_not_joined_and_knows_of_no_shard_proves_nothing() {
    let mut view = View::new(std::iter::empty(), STEPS);
    view.fold(Millis(0), started("n1", 1));
    for _ in 0..10 {
        let Fact::Status {
            node,
            pid,
            address,
            round,
            mut status,
        } = asked(view.round(), "n1", 1, &[], 0)
        else {
            unreachable!("it makes one");
        };
        (status.member, status.shards) = (None, Vec::new());
        view.fold(
            Millis(0),
            Fact::Status {
                node,
                pid,
                address,
                round,
                status,
            },
        );
    }
    assert!(!view.is_drained());
}

#[test]
fn what_is_remembered_has_a_limit() {
    let mut view = view(&[]);
    for at in 0..2000 {
        view.fold(Millis(at), happened("n1", at, "event"));
        view.settle(Millis(at));
    }
    assert!(view.events.len() <= MAX_EVENTS && view.unsettled.len() < 1000);
}

#[test]
fn a_shard_that_breaks_is_told_once() {
    let mut view = view(&[("n1", 11)]);
    let mut broken = status("n1", 11, &[0], 0);
    if let Fact::Status { status, .. } = &mut broken {
        let reason = "it cannot be read".to_owned();
        status.shards[0].state = Some(ShardState::Broken { reason });
    }
    for (at, fact) in [
        (1, status("n1", 11, &[0], 0)),
        (2, broken.clone()),
        (3, broken),
    ] {
        view.fold(Millis(at), fact);
    }
    let events = view.settle(Millis(10_000));
    let told = events.iter().filter(|event| event.kind == "broken");
    let told: Vec<_> = told.map(|event| (event.at_ms, &*event.text)).collect();
    assert_eq!(told, [(Millis(2), "shard orders/0: it cannot be read")]);
}
