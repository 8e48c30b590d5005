//! [`Rates`]: how fast things go, from counters that are looked at now and then.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tanist_cluster::ShardId;

/// How far back rates look.
const SAMPLES: usize = 5;
/// How often the counters are to be looked at.
pub(crate) const PERIOD: Duration = Duration::from_secs(1);

/// The counters at one time. Of shards, only those that are at work: what one counted elsewhere, or before, is no rate of here.
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

    /// Records a second of a shard, since it is at work here; none if that was not looked at twice.
    pub(crate) fn records_of(&self, shard: &ShardId) -> Option<f64> {
        let (mut first, mut last) = (None, None);
        for sample in self.0.iter().rev() {
            let Some(records) = sample.records.get(shard) else {
                break;
            };
            let seen = (sample.at, *records);
            // One that began anew counts from 0 again.
            if first.is_some_and(|(_, later)| *records > later) {
                break;
            }
            last = last.or(Some(seen));
            first = Some(seen);
        }
        let ((from, before), (to, after)) = (first?, last?);
        let seconds = to.saturating_sub(from).as_secs_f64();
        (seconds > 0.0).then(|| tenths((after - before) as f64 / seconds))
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

    #[test]
    fn a_rate_is_that_of_the_last_seconds() {
        let (shard, mut rates) = (ShardId::new("a", 0), Rates::default());
        assert_eq!(rates.records(), Some(0.0), "there is no shard");
        for second in 0..10 {
            rates.add(Sample {
                at: Duration::from_secs(second),
                commits: 10 * second,
                records: [(shard.clone(), if second < 5 { 0 } else { 100 * second })].into(),
            });
        }
        assert_eq!(rates.commits(), 10.0);
        assert_eq!(rates.records_of(&shard), Some(100.0));
        assert_eq!(rates.records(), Some(100.0));
        assert_eq!(rates.records_of(&ShardId::new("a", 1)), None);
    }

    #[test]
    fn a_rate_begins_when_the_shard_has_come_and_ends_when_it_goes() {
        let mut rates = Rates::default();
        let mut look = |second: u64, records: &[(i32, u64)]| {
            let shard = |(n, records): &(i32, u64)| (ShardId::new("a", *n), *records);
            rates.add(Sample {
                at: Duration::from_secs(second),
                commits: 0,
                records: records.iter().map(shard).collect(),
            });
            let of = |n| rates.records_of(&ShardId::new("a", n));
            (of(0), of(1), rates.records())
        };
        look(0, &[(0, 1000)]);
        assert_eq!(look(1, &[(0, 1100)]), (Some(100.0), None, Some(100.0)));
        // One comes, and nothing is known of it yet.
        assert_eq!(look(2, &[(0, 1200), (1, 5)]).1, None);
        assert_eq!(
            look(3, &[(0, 1300), (1, 55)]),
            (Some(100.0), Some(50.0), Some(150.0))
        );
        // The other goes, with all that it had counted.
        assert_eq!(look(4, &[(1, 105)]), (None, Some(50.0), Some(50.0)));
        // And comes back, and counts from 0 again.
        assert_eq!(look(5, &[(0, 7), (1, 155)]), (None, Some(50.0), Some(50.0)));
        assert_eq!(look(6, &[(0, 3), (1, 205)]).0, None);
        assert_eq!(look(7, &[(0, 33)]), (Some(30.0), None, Some(30.0)));
        assert_eq!(look(8, &[(1, 1)]), (None, None, None));
    }
}
