//! [`Gaps`]: for how long a reader had nothing to read of a partition.
#![allow(clippy::disallowed_methods, reason = "it measures real time")]

use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

use serde::Serialize;

/// Between two records of a partition, ms since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// Of which partition.
    pub partition: i32,
    /// When the record before it was seen.
    pub from_ms: i64,
    /// When the record after it was seen.
    pub to_ms: i64,
}

/// See the module.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Gaps {
    gaps: Vec<Gap>,
    #[serde(skip)]
    least_ms: i64,
    #[serde(skip)]
    seen: BTreeMap<i32, i64>,
}

impl Gaps {
    /// Notes what is at least so long, in ms.
    pub fn at_least(least_ms: i64) -> Self {
        Self {
            least_ms,
            ..Self::default()
        }
    }

    /// A record of `partition` is seen now.
    pub fn observe(&mut self, partition: i32) {
        let now = UNIX_EPOCH.elapsed().map_or(0, |now| now.as_millis());
        self.observe_at(partition, now as i64);
    }

    fn observe_at(&mut self, partition: i32, to_ms: i64) {
        let before = self.seen.insert(partition, to_ms);
        if let Some(from_ms) = before.filter(|from_ms| to_ms - from_ms >= self.least_ms) {
            self.gaps.push(Gap {
                partition,
                from_ms,
                to_ms,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_between_two_records_of_one_partition() {
        let mut gaps = Gaps::at_least(60);
        for (partition, at_ms) in [(0, 1000), (1, 1010), (0, 1050), (1, 1100), (0, 1110)] {
            gaps.observe_at(partition, at_ms);
        }
        let gap = |partition, from_ms, to_ms| Gap {
            partition,
            from_ms,
            to_ms,
        };
        assert_eq!(gaps.gaps, [gap(1, 1010, 1100), gap(0, 1050, 1110)]);
    }
}
