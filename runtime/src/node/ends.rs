//! [`ends_of`]: where the changelogs of some shards end, as far as the broker tells in time.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tanist_actors::port::{BrokerError, Clock, TopicPartition};
use tanist_cluster::{Offset, ShardId};

/// The sum of the ends of a shard's changelogs, for each of some shards.
pub(super) type Ends = BTreeMap<ShardId, Offset>;

type Bounds = BTreeMap<TopicPartition, Range<Offset>>;

/// How long the broker may take to answer for all at once, and then for as many as it will one by one.
const WITHIN: Duration = Duration::from_secs(5);
/// How long it may take to answer for one.
const ONE_WITHIN: Duration = Duration::from_millis(500);
/// How many are asked for at the same time, each on a thread that may wait for as long as a call can take.
const AT_ONCE: usize = 8;

/// Asks for all of them; and, because a partition without a leader holds up the answer for all (S5), for each by itself if
/// that takes too long. Beside the ends that are known, why others are not.
pub(super) async fn ends_of(
    shards: Vec<(ShardId, Vec<TopicPartition>)>,
    clock: &dyn Clock,
    ask: impl AsyncFn(&[TopicPartition]) -> Result<Bounds, BrokerError>,
) -> (Ends, Option<String>) {
    let all: Vec<TopicPartition> = shards.iter().flat_map(|(_, all)| all.clone()).collect();
    match within(clock, WITHIN, ask(&all)).await {
        Some(Ok(bounds)) => {
            let ends = shards
                .into_iter()
                .map(|(shard, its)| (shard, sum(&its, &bounds)));
            return (ends.collect(), None);
        }
        Some(Err(error)) => return (Ends::new(), Some(error.to_string())),
        None => {}
    }
    let (count, mut ends) = (shards.len(), Ends::new());
    let each = stream::iter(shards).map(|(shard, its)| {
        let ask = &ask;
        async move {
            let bounds = within(clock, ONE_WITHIN, ask(&its)).await?.ok()?;
            Some((shard, sum(&its, &bounds)))
        }
    });
    let mut each = each.buffer_unordered(AT_ONCE);
    let collect = async {
        while let Some(known) = each.next().await {
            ends.extend(known);
        }
    };
    within(clock, WITHIN, collect).await;
    drop(each);
    let missing = count - ends.len();
    let why = format!("of {missing} shards the broker does not tell it in time");
    (ends, (missing > 0).then_some(why))
}

fn sum(partitions: &[TopicPartition], bounds: &Bounds) -> Offset {
    let end = |partition| bounds.get(partition).map_or(0, |it| it.end.0);
    Offset(partitions.iter().map(end).sum())
}

/// What comes of `future`, if it is done before `limit`.
async fn within<T>(
    clock: &dyn Clock,
    limit: Duration,
    future: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        biased;
        done = future => Some(done),
        () = clock.sleep(limit) => None,
    }
}

#[cfg(test)]
mod tests {
    use tanist_actors::port::TokioClock;
    use tanist_cluster::Partition;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_changelog_without_a_leader_is_the_only_one_whose_end_is_not_known() {
        const LEADERLESS: i32 = 3;
        let shards = (0..20).map(|partition| {
            let changelog = TopicPartition::new("shop-counts-changelog", Partition(partition));
            (ShardId::new("orders", partition), vec![changelog])
        });
        let ask = async |asked: &[TopicPartition]| {
            if asked.iter().any(|it| it.partition.0 == LEADERLESS) {
                std::future::pending::<()>().await;
            }
            let bounds = |it: &TopicPartition| Offset(0)..Offset(i64::from(it.partition.0));
            Ok(asked.iter().map(|it| (it.clone(), bounds(it))).collect())
        };
        let clock = TokioClock::system();
        let (ends, why) = ends_of(shards.collect(), &clock, ask).await;
        let expected = (0..20).filter(|it| *it != LEADERLESS);
        let expected = expected.map(|it| (ShardId::new("orders", it), Offset(i64::from(it))));
        assert_eq!(ends, expected.collect());
        let why = why.expect("one is missing");
        assert!(why.starts_with("of 1 shards"), "{why}");
        assert!(clock.elapsed() < WITHIN * 2, "{:?}", clock.elapsed());
    }
}
