//! [`decide`]: what comes after a failure. A pure function of what has happened.

use std::collections::BTreeMap;
use std::time::Duration;

use tanist_cluster::Offset;

/// How often a record is tried, and how long is waited in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Attempts, the first included, before the shard stops.
    pub attempts: u32,
    /// The pause after the first failure; doubled after each further one.
    pub backoff: Duration,
    /// The longest pause.
    pub max_backoff: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            attempts: 5,
            backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
        }
    }
}

/// What an agent does that may fail apart from all else that it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Task {
    /// Taking up records.
    Input,
    /// The record at this offset of its input.
    Record(Offset),
    /// Making the instance of this lane; `started`.
    Start {
        /// The lane's number.
        lane: usize,
    },
    /// A timer of the instance of this lane.
    Tick {
        /// The lane's number.
        lane: usize,
        /// The timer's number.
        timer: usize,
    },
    /// `stopped`.
    Stop {
        /// The lane's number.
        lane: usize,
    },
}

/// What an agent failed at, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneFailure {
    /// What it was at.
    pub task: Task,
    /// What kind of failure it was.
    pub kind: FailureKind,
    /// What it says.
    pub message: String,
}

/// What kind of failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The handler returned an error.
    Error,
    /// The handler, or the factory, panicked.
    Panic,
    /// The record's bytes could not be decoded.
    Undecodable,
    /// The input partition cannot be read.
    Input,
}

impl LaneFailure {
    /// A failure at the input, or at what will be said by who knows what was in hand.
    pub(crate) fn new(kind: FailureKind, message: impl ToString) -> Self {
        Self {
            task: Task::Input,
            kind,
            message: message.to_string(),
        }
    }
}

/// How often an agent has failed at what it has not succeeded with since. Bounded: a record that failed stays open until it
/// succeeds, of records only so many are open at once (`MAX_OPEN`), and lanes and timers are as many as were declared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    failures: BTreeMap<Task, u32>,
}

impl History {
    /// All that has failed has succeeded since.
    pub fn is_empty(&self) -> bool {
        self.failures.is_empty()
    }

    /// It is forgotten how often `task` has failed.
    pub fn succeeded(&mut self, task: Task) {
        self.failures.remove(&task);
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directive {
    /// Make the agent anew and give it the record again.
    Restart {
        /// How often it has failed at this.
        attempt: u32,
        /// After this pause.
        after: Duration,
    },
    /// Stop the shard: it is broken here until an operator has seen to it.
    Stop,
}

/// Decides what comes after `failure`, and notes it in `history`.
///
/// | failure | directive |
/// | --- | --- |
/// | the bytes cannot be decoded, the partition cannot be read | stop: another attempt changes nothing |
/// | error or panic, the n-th at this task since it last succeeded, n < attempts | restart after `backoff * 2^(n-1)`, at most `max_backoff` |
/// | the same, n = attempts | stop |
///
/// Each [`Task`] is counted for itself: with several lanes, other records succeed and fail in between, and a timer that
/// fails now and then has not failed again and again.
pub fn decide(policy: &Policy, history: &mut History, failure: &LaneFailure) -> Directive {
    if matches!(failure.kind, FailureKind::Undecodable | FailureKind::Input) {
        return Directive::Stop;
    }
    let attempt = history.failures.entry(failure.task).or_default();
    *attempt += 1;
    let attempt = *attempt;
    if attempt >= policy.attempts {
        return Directive::Stop;
    }
    let doubled = 1_u32.checked_shl(attempt - 1).unwrap_or(u32::MAX);
    let pause = policy.backoff.saturating_mul(doubled);
    Directive::Restart {
        attempt,
        after: pause.min(policy.max_backoff),
    }
}

#[cfg(test)]
mod tests {
    use FailureKind::{Error, Input, Panic, Undecodable};

    use super::*;

    const POISONED: Task = Task::Record(Offset(7));
    const OTHER: Task = Task::Record(Offset(8));
    const TICK: Task = Task::Tick { lane: 0, timer: 0 };

    /// What happens to an agent.
    #[derive(Clone, Copy)]
    enum Event {
        Fails(Task, FailureKind),
        Succeeds(Task),
    }
    use Event::{Fails, Succeeds};

    /// The pause after each failure in milliseconds, none where the shard stops.
    fn pauses(events: &[Event]) -> Vec<Option<u64>> {
        let policy = Policy {
            attempts: 4,
            backoff: Duration::from_millis(100),
            max_backoff: Duration::from_millis(300),
        };
        let mut history = History::default();
        let pause = |event: &Event| match *event {
            Succeeds(task) => {
                history.succeeded(task);
                None
            }
            Fails(task, kind) => {
                let failure = LaneFailure {
                    task,
                    ..LaneFailure::new(kind, "")
                };
                Some(match decide(&policy, &mut history, &failure) {
                    Directive::Restart { after, .. } => Some(after.as_millis() as u64),
                    Directive::Stop => None,
                })
            }
        };
        events.iter().filter_map(pause).collect()
    }

    #[test]
    fn a_record_is_tried_with_growing_pauses_and_then_stops_its_shard() {
        let kinds = [Error, Panic, Error, Error];
        let events = kinds.map(|kind| Fails(POISONED, kind));
        assert_eq!(pauses(&events), [Some(100), Some(200), Some(300), None]);
    }

    #[test]
    fn what_cannot_be_read_is_not_tried_again() {
        assert_eq!(pauses(&[Fails(POISONED, Undecodable)]), [None]);
        assert_eq!(pauses(&[Fails(Task::Input, Input)]), [None]);
    }

    #[test]
    fn two_poisoned_records_that_fail_in_turn_stop_their_shard_as_one_does() {
        let turn = [Fails(POISONED, Error), Fails(OTHER, Error)];
        let (first, second) = (Some(100), Some(200));
        assert_eq!(
            pauses(&turn.repeat(4)[..7]),
            [first, first, second, second, Some(300), Some(300), None]
        );
    }

    #[test]
    fn what_others_succeed_with_does_not_begin_the_count_anew() {
        let others = [
            OTHER,
            TICK,
            Task::Start { lane: 0 },
            Task::Tick { lane: 1, timer: 0 },
            Task::Tick { lane: 0, timer: 1 },
        ];
        let turn = |task: Task| {
            let others = others.into_iter().filter(move |other| *other != task);
            others.map(Succeeds).chain([Fails(task, Error)])
        };
        for task in [POISONED, TICK] {
            let events: Vec<_> = (0..4).flat_map(|_| turn(task)).collect();
            assert_eq!(pauses(&events), [Some(100), Some(200), Some(300), None]);
        }
    }

    #[test]
    fn a_timer_that_fails_now_and_then_is_tried_for_ever() {
        let day = [Fails(TICK, Error), Fails(TICK, Panic), Succeeds(TICK)];
        assert_eq!(pauses(&day.repeat(9)), [Some(100), Some(200)].repeat(9));
    }

    #[test]
    fn nothing_is_remembered_of_what_has_succeeded() {
        let mut history = History::default();
        for offset in 0..1000 {
            let task = Task::Record(Offset(offset));
            let failure = LaneFailure {
                task,
                ..LaneFailure::new(Error, "")
            };
            decide(&Policy::default(), &mut history, &failure);
            assert!(!history.is_empty());
            history.succeeded(task);
            assert!(history.is_empty());
        }
    }
}
