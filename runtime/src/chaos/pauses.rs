//! [`Pauses`]: for how long shards stood still, by what was done to the cluster. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::schedule::Kind;

/// Between two outputs of a partition that a reader saw, ms since the epoch by the clock of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gap {
    /// Of which partition; that of the shard whose output it is.
    pub(crate) partition: i32,
    /// When the last output before it was seen.
    pub(crate) from_ms: i64,
    /// When the first output after it was seen.
    pub(crate) to_ms: i64,
}

/// Something was done to the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Happened {
    /// What.
    pub(crate) kind: Step,
    /// When, ms since the epoch.
    pub(crate) at_ms: i64,
    /// When the cluster was whole again.
    pub(crate) until_ms: i64,
    /// The partitions whose shard moved by it, or had no active for a moment.
    pub(crate) concerned: BTreeSet<i32>,
    /// Not if it belongs to the warm-up, or came while the cluster was still busy with another one.
    pub(crate) is_measured: bool,
}

/// A step of an event that has pauses of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    /// The event itself.
    Done(Kind),
    /// A node is started again, or thawed.
    Back(Kind),
}

/// Longest pauses, in ms, each of one shard and one step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    /// How many steps.
    pub(crate) steps: usize,
    /// Of the shards concerned.
    pub(crate) concerned: Vec<i64>,
    /// Of the others.
    pub(crate) others: Vec<i64>,
}

/// See the module. Sorted by step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Pauses(pub(crate) BTreeMap<String, Row>);

/// The pauses of the measured ones of `happened`, by the gaps that overlap them; when a node is back, only what of a
/// gap comes after that, since before it is what its absence did. Of a partition without a gap that is worth
/// mentioning, which is one of `least_ms`, nothing is known but that.
pub(crate) fn pauses(
    happened: &[Happened],
    gaps: &[Gap],
    partitions: i32,
    least_ms: i64,
) -> Pauses {
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for it in happened.iter().filter(|it| it.is_measured) {
        let row = rows.entry(it.kind.to_string()).or_default();
        row.steps += 1;
        for partition in 0..partitions {
            let overlaps = |gap: &&Gap| {
                gap.partition == partition && gap.to_ms > it.at_ms && gap.from_ms < it.until_ms
            };
            let longest = gaps.iter().filter(overlaps).map(|gap| match it.kind {
                Step::Done(_) => gap.to_ms - gap.from_ms,
                Step::Back(_) => gap.to_ms - gap.from_ms.max(it.at_ms),
            });
            let longest = longest.max().unwrap_or(least_ms).max(least_ms);
            match it.concerned.contains(&partition) {
                true => row.concerned.push(longest),
                false => row.others.push(longest),
            }
        }
    }
    for row in rows.values_mut() {
        row.concerned.sort_unstable();
        row.others.sort_unstable();
    }
    Pauses(rows)
}

/// The value below which `percent` of the sorted `values` are; `None` of none.
pub(crate) fn percentile(values: &[i64], percent: usize) -> Option<i64> {
    let last = values.len().checked_sub(1)?;
    Some(values[(last * percent).div_ceil(100)])
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(kind) => kind.fmt(f),
            Self::Back(kind) => write!(f, "back after {kind}"),
        }
    }
}

impl fmt::Display for Pauses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<28} {:>6} | {:>6} {:>6} {:>6} {:>6} | {:>6} {:>6}",
            "pauses, ms", "steps", "p50", "p90", "p99", "max", "p99", "max"
        )?;
        let shown = |values: &[i64], percent| match percentile(values, percent) {
            Some(ms) => ms.to_string(),
            None => "-".to_owned(),
        };
        for (step, row) in &self.0 {
            writeln!(
                f,
                "{step:<28} {:>6} | {:>6} {:>6} {:>6} {:>6} | {:>6} {:>6}",
                row.steps,
                shown(&row.concerned, 50),
                shown(&row.concerned, 90),
                shown(&row.concerned, 99),
                shown(&row.concerned, 100),
                shown(&row.others, 99),
                shown(&row.others, 100),
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kill(at_ms: i64, until_ms: i64, concerned: &[i32]) -> Happened {
        Happened {
            kind: Step::Done(Kind::Kill),
            at_ms,
            until_ms,
            concerned: concerned.iter().copied().collect(),
            is_measured: true,
        }
    }

    fn gap(partition: i32, from_ms: i64, to_ms: i64) -> Gap {
        Gap {
            partition,
            from_ms,
            to_ms,
        }
    }

    #[test]
    fn a_pause_is_the_longest_gap_of_a_shard_that_overlaps_the_event() {
        let happened = [kill(1000, 2000, &[0])];
        let gaps = [
            gap(0, 900, 990),
            gap(0, 980, 1100),
            gap(0, 1500, 1570),
            gap(0, 2001, 9000),
            gap(1, 1200, 1290),
        ];
        let row = &pauses(&happened, &gaps, 3, 60).0["kill"];
        assert_eq!((row.steps, &row.concerned[..]), (1, &[120][..]));
        assert_eq!(row.others, [60, 90]);
    }

    #[test]
    fn a_pause_that_a_node_finds_when_it_is_back_counts_from_then() {
        let mut back = kill(1000, 2000, &[0, 1]);
        back.kind = Step::Back(Kind::KillAll);
        let gaps = [gap(0, 200, 1500), gap(1, 200, 1010)];
        let row = &pauses(&[back], &gaps, 2, 60).0["back after kill all"];
        assert_eq!(row.concerned, [60, 500]);
    }

    #[test]
    fn what_is_not_to_be_measured_is_not() {
        let mut early = kill(1000, 2000, &[0]);
        early.is_measured = false;
        assert_eq!(
            pauses(&[early], &[gap(0, 1000, 1900)], 1, 60),
            Pauses::default()
        );
    }

    #[test]
    fn percentiles_are_of_the_values_themselves() {
        let values: Vec<i64> = (1..=100).collect();
        assert_eq!(percentile(&values, 50), Some(51));
        assert_eq!(percentile(&values, 99), Some(100));
        assert_eq!(percentile(&[5], 50), Some(5));
        assert_eq!(percentile(&[], 50), None);
    }
}
