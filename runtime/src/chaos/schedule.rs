//! [`schedule`]: what is done to a cluster, in which order; decided by a seed alone. Pure.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

/// What can be done to a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// SIGKILL of a node, which is started again.
    Kill,
    /// The same of the director.
    KillDirector,
    /// Of two nodes at once.
    KillTwo,
    /// Of all nodes at once.
    KillAll,
    /// Of a node, whose data directory is deleted before it is started again.
    KillWithDisk,
    /// SIGSTOP for less than the time-out for failures, then SIGCONT.
    FreezeShort,
    /// The same for longer.
    FreezeLong,
    /// A node stops in an orderly way, and is started again.
    Stop,
    /// One node after the other.
    RollingRestart,
    /// A node is added, which goes again at the end of the event.
    Add,
    /// The broker is stopped and started again.
    BrokerRestart,
}

/// How often each kind comes, compared with the others.
const WEIGHTS: [(Kind, u32); 11] = [
    (Kind::Kill, 6),
    (Kind::KillDirector, 5),
    (Kind::KillTwo, 2),
    (Kind::KillAll, 1),
    (Kind::KillWithDisk, 2),
    (Kind::FreezeShort, 2),
    (Kind::FreezeLong, 4),
    (Kind::Stop, 4),
    (Kind::RollingRestart, 1),
    (Kind::Add, 3),
    (Kind::BrokerRestart, 1),
];

/// One thing to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Event {
    /// What.
    pub(crate) kind: Kind,
    /// To which node: the n-th of those that run, counted round and round.
    pub(crate) pick: usize,
    /// How long the node stays away, or the broker.
    pub(crate) away: Duration,
    /// How long to wait before it, once the cluster is whole again.
    pub(crate) after: Duration,
    /// It comes while the cluster is still busy with the one before: for safety, not for figures.
    pub(crate) early: bool,
}

/// What a schedule is made for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// Decides everything.
    pub(crate) seed: u64,
    /// How many events.
    pub(crate) events: usize,
    /// Only these kinds.
    pub(crate) only: Vec<Kind>,
    /// For how long a node has to be silent in order to count as dead.
    pub(crate) failure_timeout: Duration,
}

/// The events that `wanted` decides.
pub(crate) fn schedule(wanted: &Wanted) -> Vec<Event> {
    let mut dice = fastrand::Rng::with_seed(wanted.seed);
    let kinds: Vec<(Kind, u32)> = WEIGHTS
        .into_iter()
        .filter(|(kind, _)| wanted.only.contains(kind))
        .collect();
    let mut events: Vec<Event> = (0..wanted.events)
        .map(|_| event(&kinds, wanted.failure_timeout, &mut dice))
        .collect();
    // Before it there is no event that the cluster could be busy with.
    if let Some(first) = events.first_mut() {
        first.early = false;
    }
    events
}

fn event(kinds: &[(Kind, u32)], failure_timeout: Duration, dice: &mut fastrand::Rng) -> Event {
    let kind = draw(kinds, dice);
    let mut ms = |range: std::ops::Range<u64>| Duration::from_millis(dice.u64(range));
    let away = match kind {
        Kind::FreezeShort => failure_timeout * dice.u32(10..60) / 100,
        Kind::FreezeLong => failure_timeout + ms(500..2500),
        Kind::BrokerRestart => ms(500..3000),
        _ => ms(300..2500),
    };
    Event {
        kind,
        pick: dice.usize(0..64),
        away,
        after: Duration::from_millis(dice.u64(500..2000)),
        early: dice.u32(0..8) == 0,
    }
}

fn draw(kinds: &[(Kind, u32)], dice: &mut fastrand::Rng) -> Kind {
    let all: u32 = kinds.iter().map(|(_, weight)| weight).sum();
    let mut left = dice.u32(0..all.max(1));
    for (kind, weight) in kinds {
        match left.checked_sub(*weight) {
            Some(rest) => left = rest,
            None => return *kind,
        }
    }
    Kind::Kill
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Kill => "kill",
            Self::KillDirector => "kill the director",
            Self::KillTwo => "kill two",
            Self::KillAll => "kill all",
            Self::KillWithDisk => "kill, disk lost",
            Self::FreezeShort => "freeze, short",
            Self::FreezeLong => "freeze, long",
            Self::Stop => "stop",
            Self::RollingRestart => "rolling restart",
            Self::Add => "add",
            Self::BrokerRestart => "broker restart",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(seed: u64, only: &[Kind]) -> Wanted {
        Wanted {
            seed,
            events: 400,
            only: only.to_vec(),
            failure_timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn a_seed_gives_the_same_schedule_and_another_seed_another() {
        assert_eq!(
            schedule(&wanted(7, Kind::value_variants())),
            schedule(&wanted(7, Kind::value_variants()))
        );
        assert_ne!(
            schedule(&wanted(7, Kind::value_variants())),
            schedule(&wanted(8, Kind::value_variants()))
        );
    }

    #[test]
    fn the_first_event_waits_for_the_cluster_to_be_whole() {
        let first = |seed| schedule(&wanted(seed, Kind::value_variants()))[0].early;
        assert!(!(0..64).any(first));
    }

    #[test]
    fn every_kind_comes_and_only_those_that_are_wanted() {
        let all = schedule(&wanted(1, Kind::value_variants()));
        for (kind, _) in WEIGHTS {
            assert!(all.iter().any(|event| event.kind == kind), "{kind}");
        }
        let some = schedule(&wanted(1, &[Kind::Stop, Kind::Add]));
        assert!(
            some.iter()
                .all(|it| matches!(it.kind, Kind::Stop | Kind::Add))
        );
    }

    #[test]
    fn a_short_freeze_is_shorter_than_the_time_out_and_a_long_one_longer() {
        let timeout = Duration::from_secs(1);
        for event in schedule(&wanted(3, Kind::value_variants())) {
            match event.kind {
                Kind::FreezeShort => assert!(event.away < timeout * 6 / 10, "{event:?}"),
                Kind::FreezeLong => assert!(event.away > timeout, "{event:?}"),
                _ => {}
            }
        }
    }
}
