//! [`Schedule`]: a cluster, and what is done to it in which order; decided by a seed alone. Pure.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use tanist_broker::{ApiKey, Fault};

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Schedule {
    pub(super) seed: u64,
    pub(super) shape: Shape,
    /// Each with the time that passes before it.
    pub(super) events: Vec<(Duration, Event)>,
}

/// What the cluster is like.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shape {
    pub(super) nodes: Vec<NodeShape>,
    pub(super) workers: u32,
    pub(super) standbys: u32,
    /// How many records of a partition an agent may have in hand.
    pub(super) lanes: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct NodeShape {
    /// How far its clock is ahead of the broker's.
    pub(super) clock_ahead_ms: i64,
    /// Whether others notice at once when its process is gone.
    pub(super) is_linked: bool,
}

/// Something that is done. `node` counts, round and round, those to which it can be done; if there are none, nothing is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Event {
    /// So many records, each of which takes so long to be handled.
    Send { records: u32, takes_ms: u64 },
    /// SIGKILL, maybe with the loss of its disk.
    Kill { node: usize, disk: bool },
    /// The same when it has passed so many points at which it meets the world.
    KillAtPoint { node: usize, points: u64 },
    /// Of all.
    KillAll,
    /// It gets no turn for so long.
    Freeze { node: usize, ms: u64 },
    /// The same when it has passed so many points.
    FreezeAtPoint { node: usize, points: u64, ms: u64 },
    /// An orderly stop.
    Stop { node: usize },
    /// Of one that does not run.
    Start { node: usize },
    /// Of one that was not there before.
    Add,
    /// The broker is away for so long: it does not answer, or is not there.
    Outage { ms: u64, is_silent: bool },
    /// The broker is away for this node alone.
    Cut { node: usize, ms: u64 },
    /// Something goes wrong with the next requests of a node.
    Fault {
        node: usize,
        api: ApiKey,
        fault: Fault,
        times: u64,
    },
}

/// The most that a cluster grows to.
pub(super) const MAX_NODES: usize = 5;

impl Schedule {
    /// What `seed` decides.
    pub(super) fn of(seed: u64) -> Self {
        let mut dice = fastrand::Rng::with_seed(seed);
        let dice = &mut dice;
        let shape = Shape {
            nodes: (0..[3, 3, 2, 4][dice.usize(..4)])
                .map(|_| node(dice))
                .collect(),
            workers: dice.u32(1..3),
            standbys: dice.u32(..3),
            lanes: [1, 3][dice.usize(..2)],
        };
        let mut events = Vec::new();
        for _ in 0..dice.usize(2..10) {
            events.push((pause(dice), event(dice)));
            if dice.u32(..3) > 0 {
                // In the midst of the work for some records.
                events.push((pause(dice), send(dice)));
                let soon = of_one(&[0..5, 0..40], dice);
                events.push((Duration::from_millis(soon), event(dice)));
            }
        }
        Self {
            seed,
            shape,
            events,
        }
    }
}

fn node(dice: &mut fastrand::Rng) -> NodeShape {
    const HOUR_MS: i64 = 3_600_000;
    NodeShape {
        clock_ahead_ms: [0, HOUR_MS, -HOUR_MS][dice.usize(..3)],
        is_linked: dice.u32(..4) > 0,
    }
}

/// Mostly in the midst of what follows from the event before, sometimes when all is quiet again.
fn pause(dice: &mut fastrand::Rng) -> Duration {
    Duration::from_millis(of_one(&[0..5, 0..30, 0..200, 0..1500], dice))
}

/// A number of one of the ranges.
fn of_one(ranges: &[Range<u64>], dice: &mut fastrand::Rng) -> u64 {
    let range = ranges[dice.usize(..ranges.len())].clone();
    dice.u64(range)
}

fn send(dice: &mut fastrand::Rng) -> Event {
    Event::Send {
        records: dice.u32(1..12),
        takes_ms: [0, 0, 3, 40][dice.usize(..4)],
    }
}

fn event(dice: &mut fastrand::Rng) -> Event {
    let node = dice.usize(..MAX_NODES);
    // Shorter and longer than the time for which a member may be silent.
    let ms = of_one(&[20..900, 1_000..3_000], dice);
    let points = of_one(&[1..20, 1..200], dice);
    match dice.u32(..32) {
        0..2 => send(dice),
        2..4 => Event::Kill {
            node,
            disk: dice.u32(..3) == 0,
        },
        4..10 => Event::KillAtPoint { node, points },
        10 => Event::KillAll,
        11 => Event::Freeze { node, ms },
        12..15 => Event::FreezeAtPoint { node, points, ms },
        15..18 => Event::Stop { node },
        18..23 => Event::Start { node },
        23 => Event::Add,
        24 => Event::Outage {
            ms,
            is_silent: dice.bool(),
        },
        25 => Event::Cut { node, ms },
        _ => {
            let (api, fault) = fault(dice);
            let times = of_one(&[1..4, 1..30], dice);
            Event::Fault {
                node,
                api,
                fault,
                times,
            }
        }
    }
}

/// Any, but often with the end of a transaction, on whose fate most depends.
fn fault(dice: &mut fastrand::Rng) -> (ApiKey, Fault) {
    const API: [ApiKey; 9] = [
        ApiKey::InitProducerId,
        ApiKey::AddPartitionsToTxn,
        ApiKey::Produce,
        ApiKey::AddOffsetsToTxn,
        ApiKey::TxnOffsetCommit,
        ApiKey::EndTxn,
        ApiKey::Fetch,
        ApiKey::ListOffsets,
        ApiKey::OffsetFetch,
    ];
    const FAULTS: [Fault; 8] = [
        Fault::LoseRequest,
        Fault::LoseAnswer,
        Fault::CutBefore,
        Fault::CutAfter,
        Fault::Twice,
        Fault::Late,
        Fault::LateBy(Duration::from_millis(5)),
        Fault::LateBy(Duration::from_millis(400)),
    ];
    const LATE_MARKERS: [Fault; 2] = [
        Fault::DelayMarkers(Duration::from_millis(300)),
        Fault::DelayRecordMarkers(Duration::from_millis(300)),
    ];
    match dice.u32(..4) {
        0 => (ApiKey::EndTxn, LATE_MARKERS[dice.usize(..2)]),
        1 => (ApiKey::EndTxn, FAULTS[dice.usize(..FAULTS.len())]),
        _ => (
            API[dice.usize(..API.len())],
            FAULTS[dice.usize(..FAULTS.len())],
        ),
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shape {
            nodes,
            workers,
            standbys,
            lanes,
        } = &self.shape;
        writeln!(f, "  {workers} workers, {standbys} standbys, {lanes} lanes")?;
        for (number, node) in (1..).zip(nodes) {
            writeln!(f, "  n{number}: {node:?}")?;
        }
        for (pause, event) in &self.events {
            writeln!(f, "  after {pause:?}: {event:?}")?;
        }
        Ok(())
    }
}
