//! Settings of a worker, and [`due`]: when it commits. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a record's effects are worth when its node dies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guarantee {
    /// Input offset, table writes and outputs in one transaction.
    #[default]
    ExactlyOnce,
    /// Outputs leave at once and may be repeated. Tables and offsets stay exact: they are in one transaction.
    AtLeastOnce,
    /// The offset is committed before the record is handled: what was in hand is lost, nothing is repeated.
    AtMostOnce,
}

/// How a worker works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerSettings {
    /// See [`Guarantee`].
    pub guarantee: Guarantee,
    /// The longest time that something finished waits for a commit.
    pub commit_interval: Duration,
    /// How old the last commit must be for a worker without work to commit at once.
    pub quiet_interval: Duration,
    /// Uncommitted outputs and table writes, in bytes, after which it commits at once; while a commit is under way, it
    /// waits when there is as much again. Outputs of a hundred bytes take ten times that in memory.
    pub commit_bytes: usize,
    /// How long a shard that is to stop, or to go elsewhere, may take to finish what it has in hand. What is not finished by
    /// then is undone, and done again by whoever has the shard next.
    pub finish_timeout: Duration,
    /// For how long a handler may block its thread; none: for ever. Then [`WorkerHandle::answers`](super::WorkerHandle::answers)
    /// has been false for so long, and as nothing can cut the handler off, the process has to end.
    pub max_poll_interval: Option<Duration>,
    /// Memory for decoded table values.
    pub cache_bytes: usize,
    /// The largest record, key, value and headers, that may be sent.
    pub max_record_bytes: usize,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            guarantee: Guarantee::ExactlyOnce,
            commit_interval: Duration::from_millis(100),
            quiet_interval: Duration::from_millis(20),
            commit_bytes: 2 << 20,
            finish_timeout: Duration::from_secs(10),
            max_poll_interval: Some(Duration::from_secs(5 * 60)),
            cache_bytes: 32 << 20,
            max_record_bytes: 1_000_000,
        }
    }
}

/// What the decision to commit depends upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Something was finished since the last commit was sealed.
    pub(crate) uncommitted: bool,
    /// Somebody waits for a commit.
    pub(crate) wanted: bool,
    /// No lane has anything to do.
    pub(crate) idle: bool,
    /// Outputs and table writes that wait.
    pub(crate) bytes: usize,
}

/// When to commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// When the facts have changed.
    Never,
    /// After this time, unless the facts change.
    In(Duration),
    /// At once.
    Now,
}

/// When to commit, given that none is in flight and the last was sealed `since_last` ago: a quiet app at once, a busy one
/// rarely.
pub(crate) fn due(facts: Facts, settings: &WorkerSettings, since_last: Duration) -> Due {
    if facts.wanted || facts.bytes >= settings.commit_bytes {
        return Due::Now;
    }
    if !facts.uncommitted {
        return Due::Never;
    }
    let interval = if facts.idle {
        settings.quiet_interval.min(settings.commit_interval)
    } else {
        settings.commit_interval
    };
    match interval.checked_sub(since_last) {
        Some(left) if !left.is_zero() => Due::In(left),
        _ => Due::Now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_app_commits_at_once_and_a_busy_one_rarely() {
        let settings = WorkerSettings {
            commit_bytes: 1000,
            ..WorkerSettings::default()
        };
        let ms = Duration::from_millis;
        // uncommitted, wanted, idle, bytes, ms since the last
        for (uncommitted, wanted, idle, bytes, since, expected) in [
            (false, false, true, 0, 500, Due::Never),
            (false, true, true, 0, 0, Due::Now),
            (true, false, true, 10, 500, Due::Now),
            (true, false, true, 10, 5, Due::In(ms(15))),
            (true, false, false, 10, 5, Due::In(ms(95))),
            (true, false, false, 10, 100, Due::Now),
            (true, false, false, 1000, 0, Due::Now),
        ] {
            let facts = Facts {
                uncommitted,
                wanted,
                idle,
                bytes,
            };
            assert_eq!(
                due(facts, &settings, ms(since)),
                expected,
                "{facts:?} after {since} ms"
            );
        }
    }

    #[test]
    fn a_short_interval_is_kept_by_quiet_apps_too() {
        let settings = WorkerSettings {
            commit_interval: Duration::from_millis(5),
            ..WorkerSettings::default()
        };
        let facts = Facts {
            uncommitted: true,
            wanted: false,
            idle: true,
            bytes: 1,
        };
        assert_eq!(due(facts, &settings, Duration::from_millis(6)), Due::Now);
    }
}
