//! [`decide`]: what comes after a failure. A pure function of what has happened.

use std::time::Duration;

use tanist_cluster::Offset;

use crate::port::TopicPartition;

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

/// Which record an agent failed at, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneFailure {
    /// The record; none for a timer, `started` or `stopped`.
    pub record: Option<(TopicPartition, Offset)>,
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
    /// A failure of which the record is not known yet, or at none.
    pub(crate) fn new(kind: FailureKind, message: impl ToString) -> Self {
        Self {
            record: None,
            kind,
            message: message.to_string(),
        }
    }
}

/// What has happened to an agent so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    record: Option<(TopicPartition, Offset)>,
    attempts: u32,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directive {
    /// Make the agent anew and give it the record again.
    Restart {
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
/// | error or panic, the n-th at this record, n < attempts | restart after `backoff * 2^(n-1)`, at most `max_backoff` |
/// | the same, n = attempts | stop |
///
/// A failure at another record begins the count anew, for in between one has succeeded.
pub fn decide(policy: &Policy, history: &mut History, failure: &LaneFailure) -> Directive {
    if history.record != failure.record {
        *history = History {
            record: failure.record.clone(),
            attempts: 0,
        };
    }
    history.attempts += 1;
    match failure.kind {
        FailureKind::Undecodable | FailureKind::Input => Directive::Stop,
        FailureKind::Error | FailureKind::Panic if history.attempts >= policy.attempts => {
            Directive::Stop
        }
        FailureKind::Error | FailureKind::Panic => {
            let doubled = 1_u32.checked_shl(history.attempts - 1).unwrap_or(u32::MAX);
            let after = policy
                .backoff
                .saturating_mul(doubled)
                .min(policy.max_backoff);
            Directive::Restart { after }
        }
    }
}

impl History {
    /// How often the agent has failed at its present record.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }
}

#[cfg(test)]
mod tests {
    use tanist_cluster::Partition;

    use super::*;

    fn failure(kind: FailureKind, offset: Option<i64>) -> LaneFailure {
        LaneFailure {
            record: offset
                .map(|offset| (TopicPartition::new("orders", Partition(0)), Offset(offset))),
            kind,
            message: String::new(),
        }
    }

    fn decided(failures: &[(FailureKind, Option<i64>)]) -> Vec<Option<u64>> {
        let policy = Policy {
            attempts: 4,
            backoff: Duration::from_millis(100),
            max_backoff: Duration::from_millis(300),
        };
        let mut history = History::default();
        let decide = |(kind, offset): &(FailureKind, Option<i64>)| match decide(
            &policy,
            &mut history,
            &failure(*kind, *offset),
        ) {
            Directive::Restart { after } => Some(after.as_millis() as u64),
            Directive::Stop => None,
        };
        failures.iter().map(decide).collect()
    }

    #[test]
    fn a_record_is_tried_with_growing_pauses_and_then_stops_its_shard() {
        use FailureKind::{Error, Panic};
        let same = [
            (Error, Some(7)),
            (Panic, Some(7)),
            (Error, Some(7)),
            (Error, Some(7)),
        ];
        assert_eq!(decided(&same), [Some(100), Some(200), Some(300), None]);
    }

    #[test]
    fn another_record_begins_the_count_anew() {
        use FailureKind::Error;
        let other = [
            (Error, Some(7)),
            (Error, Some(7)),
            (Error, Some(8)),
            (Error, None),
            (Error, None),
        ];
        assert_eq!(
            decided(&other),
            [Some(100), Some(200), Some(100), Some(100), Some(200)]
        );
    }

    #[test]
    fn what_cannot_be_read_is_not_tried_again() {
        assert_eq!(decided(&[(FailureKind::Undecodable, Some(1))]), [None]);
        assert_eq!(decided(&[(FailureKind::Input, None)]), [None]);
    }
}
