//! [`Rates`]: how fast things go, from counters that are looked at now and then.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tanist_cluster::ShardId;

/// How far back rates look.
const SAMPLES: usize = 5;
/// How often the counters are to be looked at.
pub(crate) const PERIOD: Duration = Duration::from_secs(1);

/// The counters at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) at: Duration,
    pub(crate) commits: u64,
    pub(crate) records: BTreeMap<ShardId, u64>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Rates(VecDeque<Sample>);

impl Rates {
    /// Takes the counters in.
    pub(crate) fn add(&mut self, sample: Sample) {
        if self.0.len() == SAMPLES {
            self.0.pop_front();
        }
        self.0.push_back(sample);
    }

    /// Commits a second.
    pub(crate) fn commits(&self) -> f64 {
        self.rate(|sample| sample.commits)
    }

    /// Records a second of a shard.
    pub(crate) fn records_of(&self, shard: &ShardId) -> f64 {
        self.rate(|sample| sample.records.get(shard).copied().unwrap_or_default())
    }

    /// Records a second of all shards.
    pub(crate) fn records(&self) -> f64 {
        self.rate(|sample| sample.records.values().sum())
    }

    fn rate(&self, counter: impl Fn(&Sample) -> u64) -> f64 {
        let (Some(first), Some(last)) = (self.0.front(), self.0.back()) else {
            return 0.0;
        };
        let seconds = last.at.saturating_sub(first.at).as_secs_f64();
        if seconds == 0.0 {
            return 0.0;
        }
        // A shard that began anew counts from 0 again.
        let more = counter(last).saturating_sub(counter(first));
        (more as f64 / seconds * 10.0).round() / 10.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_seconds() {
        let (shard, mut rates) = (ShardId::new("a", 0), Rates::default());
        assert_eq!(rates.records(), 0.0);
        for second in 0..10 {
            rates.add(Sample {
                at: Duration::from_secs(second),
                commits: 10 * second,
                records: [(shard.clone(), if second < 5 { 0 } else { 100 * second })].into(),
            });
        }
        assert_eq!(rates.commits(), 10.0);
        assert_eq!(rates.records_of(&shard), 100.0);
        assert_eq!(rates.records(), 100.0);
        assert_eq!(rates.records_of(&ShardId::new("a", 1)), 0.0);
    }
}
