//! [`Rates`]: how fast things go, from counters that are looked at now and then.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tanist_cluster::ShardId;

use crate::node::Work;

/// How far back rates look.
const SAMPLES: usize = 5;
/// How often the counters are to be looked at.
pub(crate) const PERIOD: Duration = Duration::from_secs(1);

/// In less time nothing can be said: a shard that has just come has a backlog.
const LEAST: Duration = Duration::from_millis(200);

/// The counters at one time. Of shards, only those that are at work: what one counted elsewhere, or before, is no rate of here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) at: Duration,
    pub(crate) commits: u64,
    pub(crate) records: BTreeMap<ShardId, Work>,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rates(VecDeque<Sample>);

impl Rates {
    /// Takes the counters in.
    pub(crate) fn add(&mut self, sample: Sample) {
        if self.0.len() == SAMPLES {
            self.0.pop_front();
        }
        self.0.push_back(sample);
    }

    /// The same up to this sample, which is looked at once.
    pub(crate) fn until(&self, now: Sample) -> Self {
        let mut rates = self.clone();
        rates.0.push_back(now);
        rates
    }

    /// Commits a second.
    pub(crate) fn commits(&self) -> f64 {
        self.rate(|sample| sample.commits)
    }

    /// Records a second of a shard, since it is at work here; none if it has just come.
    pub(crate) fn records_of(&self, shard: &ShardId) -> Option<f64> {
        let last = self.0.back()?;
        let work = last.records.get(shard)?;
        // It counts from 0 since it came; or from what was seen of it first.
        let came_lately = self.0.front()?.at <= work.since;
        let mut seen = self.0.iter().filter_map(|sample| {
            let same = sample.records.get(shard)?;
            (same.since == work.since).then_some((sample.at, same.records))
        });
        let (from, before) = if came_lately {
            (work.since, 0)
        } else {
            seen.next()?
        };
        let span = last.at.saturating_sub(from);
        let more = work.records.saturating_sub(before);
        (span >= LEAST).then(|| tenths(more as f64 / span.as_secs_f64()))
    }

    /// Records a second of all shards that are at work, as far as that is known; none if it is known of none of them.
    pub(crate) fn records(&self) -> Option<f64> {
        let shards = self.0.back().map(|sample| &sample.records);
        let shards = shards.into_iter().flat_map(BTreeMap::keys);
        total(shards.map(|shard| self.records_of(shard)))
    }

    fn rate(&self, counter: impl Fn(&Sample) -> u64) -> f64 {
        let (Some(first), Some(last)) = (self.0.front(), self.0.back()) else {
            return 0.0;
        };
        let seconds = last.at.saturating_sub(first.at).as_secs_f64();
        if seconds == 0.0 {
            return 0.0;
        }
        let more = counter(last).saturating_sub(counter(first));
        tenths(more as f64 / seconds)
    }
}

fn tenths(rate: f64) -> f64 {
    (rate * 10.0).round() / 10.0
}

/// The sum of what is known; none if nothing of it is, although there is something.
pub(crate) fn total(rates: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let (mut known, mut unknown) = (None, false);
    for rate in rates {
        match rate {
            Some(rate) => *known.get_or_insert(0.0) += rate,
            None => unknown = true,
        }
    }
    match known {
        Some(sum) => Some(tenths(sum)),
        None => (!unknown).then_some(0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(partition: i32) -> ShardId {
        ShardId::new("a", partition)
    }

    /// Shards, since when each is at work, and what it has done.
    fn sample(at_ms: u64, shards: &[(i32, u64, u64)]) -> Sample {
        let work = |&(partition, since_ms, records): &(i32, u64, u64)| {
            let since = Duration::from_millis(since_ms);
            (shard(partition), Work { since, records })
        };
        Sample {
            at: Duration::from_millis(at_ms),
            commits: at_ms / 100,
            records: shards.iter().map(work).collect(),
        }
    }

    #[test]
    fn a_rate_is_that_of_the_last_seconds() {
        let mut rates = Rates::default();
        assert_eq!(rates.records(), Some(0.0), "there is no shard");
        for second in 0..10 {
            let records = if second < 5 { 0 } else { 100 * second };
            rates.add(sample(1000 * second, &[(0, 0, records)]));
        }
        assert_eq!(rates.commits(), 10.0);
        assert_eq!(rates.records_of(&shard(0)), Some(100.0));
        assert_eq!(rates.records(), Some(100.0));
        assert_eq!(rates.records_of(&shard(1)), None);
        let now = rates.until(sample(9500, &[(0, 0, 1400)]));
        assert_eq!(now.records(), Some(200.0));
    }

    #[test]
    fn a_rate_begins_when_the_shard_has_come_and_ends_when_it_goes() {
        let mut rates = Rates::default();
        let mut look = |at_ms, shards: &[(i32, u64, u64)]| {
            rates.add(sample(at_ms, shards));
            (
                rates.records_of(&shard(0)),
                rates.records_of(&shard(1)),
                rates.records(),
            )
        };
        look(10_000, &[(0, 0, 1000)]);
        let both = look(11_000, &[(0, 0, 1100), (1, 10_900, 50)]);
        assert_eq!(both, (Some(100.0), None, Some(100.0)), "it has just come");
        // What it does here is known at once.
        let both = look(12_000, &[(0, 0, 1200), (1, 10_900, 55)]);
        assert_eq!(both, (Some(100.0), Some(50.0), Some(150.0)));
        // The other goes, with all that it had counted.
        let one = look(13_000, &[(1, 10_900, 105)]);
        assert_eq!(one, (None, Some(50.0), Some(50.0)));
        // And comes back, and counts from 0 again.
        let both = look(14_000, &[(0, 13_500, 20), (1, 10_900, 155)]);
        assert_eq!(both, (Some(40.0), Some(50.0), Some(90.0)));
    }

    #[test]
    fn the_sum_does_not_drop_when_shards_have_moved_here() {
        let mut rates = Rates::default();
        rates.add(sample(1000, &[(0, 0, 100)]));
        rates.add(sample(2000, &[(0, 0, 200)]));
        let after_a_kill = rates.until(sample(2500, &[(0, 0, 250), (1, 2100, 40)]));
        assert_eq!(after_a_kill.records(), Some(200.0));
    }
}
