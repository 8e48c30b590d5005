use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tanist_broker::{ApiKey, Fault};

use super::schedule::{Event, NodeShape, Shape};
use super::*;

/// In the tests of every day.
const SEEDS: u64 = 1000;
/// So many failures are shown, with the least that fails.
const MAX_SHOWN: usize = 3;

#[allow(clippy::print_stdout, reason = "the seeds and figures of a test")]
fn say(what: &str) {
    println!("{what}");
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable} is a whole number, not {text}")))
}

/// One, beside other tests.
fn threads() -> u64 {
    number("TANIST_TEST_THREADS").unwrap_or(1)
}

/// Leaves out what a failing schedule does not need in order to fail.
fn shrink(schedule: &Schedule) -> Schedule {
    let mut least = schedule.clone();
    for index in (0..schedule.events.len()).rev() {
        let mut less = least.clone();
        less.events.remove(index);
        if run(&less).0.is_err() {
            least = less;
        }
    }
    least
}

/// Runs all of `schedules`, on so many threads, and tells of those that fail.
fn run_all(schedules: &[Schedule], threads: u64) {
    #[expect(
        clippy::disallowed_methods,
        reason = "seeds per second are of the machine's time"
    )]
    let begun = Instant::now();
    let (next, failed) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(schedule) = schedules.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
            if let (Err(error), _) = run(schedule) {
                failed.lock().unwrap().push((schedule.clone(), error));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let took = begun.elapsed();
    let per_second = schedules.len() as f64 / took.as_secs_f64();
    say(&format!(
        "{} runs in {took:.1?}, {per_second:.0} a second on {threads} threads",
        schedules.len()
    ));
    let failed = failed.into_inner().unwrap();
    for (schedule, error) in failed.iter().take(MAX_SHOWN) {
        let least = shrink(schedule);
        let seed = schedule.seed;
        say(&format!("TANIST_TEST_SEED={seed}: {error}\n{least}"));
    }
    let seeds: Vec<u64> = failed.iter().map(|(schedule, _)| schedule.seed).collect();
    assert_eq!(seeds, [0; 0], "seeds that failed");
}

/// Runs a schedule, and tells its story.
fn tell(schedule: &Schedule) {
    say(&format!("seed {}\n{schedule}", schedule.seed));
    if std::env::var("RUST_LOG").is_ok() {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let log = tracing_subscriber::fmt().with_env_filter(filter);
        log.with_ansi(false).init();
    }
    let (outcome, world) = run(schedule);
    for (ms, what) in world.story() {
        say(&format!("{ms:>8} {what}"));
    }
    assert_eq!(outcome, Ok(()));
}

#[test]
fn whatever_is_done_to_a_cluster_nothing_is_lost_or_doubled_and_all_is_taken_care_of() {
    let (seed, seeds) = (number("TANIST_TEST_SEED"), number("TANIST_TEST_SEEDS"));
    if let (Some(seed), None) = (seed, seeds) {
        let schedule = Schedule::of(seed);
        return match run(&schedule).0 {
            Ok(()) => tell(&schedule),
            Err(_) => tell(&shrink(&schedule)),
        };
    }
    let first = seed.unwrap_or(0);
    let all = first..first + seeds.unwrap_or(SEEDS);
    let schedules: Vec<Schedule> = all.map(Schedule::of).collect();
    run_all(&schedules, threads());
}

/// Seed 2904: the markers of the last commits of a store were still on their way.
#[test]
fn a_store_ahead_of_what_readers_see_is_no_store_of_another_changelog() {
    assert_eq!(run(&Schedule::of(2904)).0, Ok(()));
}

/// Three nodes, to which nothing happens but `event`, so long after their start.
fn one_event(after_ms: u64, event: Event) -> Schedule {
    let node = NodeShape {
        clock_ahead_ms: 0,
        is_linked: true,
    };
    let send = Event::Send {
        records: 8,
        takes_ms: 3,
    };
    let ms = Duration::from_millis;
    Schedule {
        seed: 7,
        shape: Shape {
            nodes: vec![node; 3],
            workers: 1,
            standbys: 1,
            lanes: 1,
        },
        events: vec![
            (ms(after_ms), event),
            (ms(0), send),
            (ms(150), send),
            (ms(150), send),
        ],
    }
}

/// A node is frozen and wakes while it is being fenced, which takes long: requests to do so are lost.
fn wakes_in_its_fence(node: usize, points: u64) -> Schedule {
    let lost = |node| Event::Fault {
        node,
        api: ApiKey::InitProducerId,
        fault: Fault::LoseRequest,
        times: 60,
    };
    let ms = 2400 + points * 7 % 400;
    let mut schedule = one_event(500, Event::FreezeAtPoint { node, points, ms });
    let all = (0..3).map(|node| (Duration::ZERO, lost(node)));
    schedule.events.splice(1..1, all);
    let send = Event::Send {
        records: 8,
        takes_ms: 0,
    };
    schedule.events.push((Duration::from_millis(3000), send));
    schedule
}

/// Requests to end a transaction come again so much later, when the next transaction may be open.
fn ends_come_late(node: usize, ms: u64) -> Schedule {
    let fault = Event::Fault {
        node,
        api: ApiKey::EndTxn,
        fault: Fault::LateBy(Duration::from_millis(ms)),
        times: 3,
    };
    let mut schedule = one_event(500, fault);
    for (_, event) in &mut schedule.events[1..] {
        let (records, takes_ms) = (80, 2);
        *event = Event::Send { records, takes_ms };
    }
    schedule
}

#[test]
fn at_whatever_point_a_node_dies_or_freezes_or_is_not_answered_the_others_go_on_where_it_was() {
    let step = match number("TANIST_TEST_SEEDS") {
        Some(_) => 1,
        None => 13,
    };
    let dies = |node, points| Event::KillAtPoint { node, points };
    let sleeps = |node, points| Event::FreezeAtPoint {
        node,
        points,
        ms: 1500,
    };
    let mut schedules = Vec::new();
    for node in 0..3 {
        for points in (1..=240).step_by(step) {
            for after_ms in [0, 500] {
                schedules.push(one_event(after_ms, dies(node, points)));
                schedules.push(one_event(after_ms, sleeps(node, points)));
            }
        }
        let dense = (1..60).step_by(step.div_ceil(2));
        schedules.extend(dense.map(|points| wakes_in_its_fence(node, points)));
        let late_ms = (50..200).step_by(step.div_ceil(2));
        schedules.extend(late_ms.map(|ms| ends_come_late(node, ms)));
    }
    run_all(&schedules, threads());
}

#[test]
fn a_run_is_determined_by_its_schedule() {
    let trace = |seed| {
        let (outcome, world) = run(&Schedule::of(seed));
        let mut trace = DefaultHasher::new();
        (outcome, world.story(), world.driver.elapsed()).hash(&mut trace);
        for node in world.driver.nodes() {
            node.process.passed().hash(&mut trace);
        }
        for topic in ["sim.control", "product-counts", "account-counts"] {
            let partition = tanist_broker::TopicPartition::new(topic, 0);
            format!("{:?}", world.driver.records(&partition, 0)).hash(&mut trace);
        }
        trace.finish()
    };
    let mut traces = BTreeSet::new();
    for seed in 0..20 {
        assert_eq!(trace(seed), trace(seed), "two runs of seed {seed} differ");
        traces.insert(trace(seed));
    }
    assert_eq!(traces.len(), 20, "two seeds give the same run");
}
