//! Purging: what has been processed of the app's own topics, between two steps, nobody needs any more (S8). As Kafka Streams
//! does, by `repartition.purge.interval.ms`.
//!
//! Only below what a commit of this worker has told, which has succeeded: positions never go back, so that whoever has the
//! shard then, or later, begins there or above, and a worker that has lost it meanwhile deletes what is done all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tanist_cluster::Offset;

use super::Worker;
use crate::port::{BrokerError, CommitError, TopicPartition};

const INTERVAL: Duration = Duration::from_secs(30);

impl Worker {
    /// Purges now and then. Never done.
    pub(super) async fn purge(&self) -> CommitError {
        let mut purged = BTreeMap::new();
        let mut is_refused = false;
        loop {
            self.desk.clock().sleep(INTERVAL).await;
            let done: BTreeMap<_, _> = (self.shards.borrow().values())
                .flat_map(|shard| shard.processed())
                .collect();
            let more = more_than(&purged, &done);
            if more.is_empty() {
                continue;
            }
            match self.delete_records(more).await {
                // Of shards that have gone, it is forgotten.
                Ok(()) => {
                    purged = done;
                    is_refused = false;
                }
                Err(error) if is_refused => tracing::debug!(%error, "cannot purge"),
                Err(error) => {
                    is_refused = true;
                    tracing::warn!(
                        "what has been processed is not deleted from the app's own topics, which grow: {error}; trying again"
                    );
                }
            }
        }
    }
}

impl Worker {
    /// Deletes what is below, in the topics that were read: in one that was made anew it is something else.
    async fn delete_records(
        &self,
        below: Vec<(TopicPartition, Offset)>,
    ) -> Result<(), BrokerError> {
        let shards: Vec<_> = self.shards.borrow().values().cloned().collect();
        let inputs = shards.iter().flat_map(|shard| shard.inputs_read());
        let read: BTreeMap<_, _> = inputs.map(|(input, uuid)| (input, uuid.clone())).collect();
        let topics: BTreeSet<_> = below.iter().map(|(it, _)| it.topic.clone()).collect();
        let there = self.broker.topics(&Vec::from_iter(topics)).await?;
        let is_the_same = |input: &TopicPartition| {
            let there = there.get(&input.topic);
            there.is_some_and(|topic| topic.id.is_none() || topic.id.as_ref() == read.get(input))
        };
        let below = below.into_iter().filter(|(input, _)| is_the_same(input));
        self.broker.delete_records(&Vec::from_iter(below)).await
    }
}

/// How far there is more to delete.
fn more_than(
    purged: &BTreeMap<TopicPartition, Offset>,
    done: &BTreeMap<TopicPartition, Offset>,
) -> Vec<(TopicPartition, Offset)> {
    let more = done.iter().filter(|(partition, below)| {
        let before = purged.get(partition).copied().unwrap_or_default();
        **below > before
    });
    more.map(|(partition, below)| (partition.clone(), *below))
        .collect()
}

#[cfg(test)]
mod tests {
    use tanist_cluster::Partition;

    use super::*;

    #[test]
    fn only_what_was_processed_since_is_purged() {
        let at = |offsets: &[i64]| -> BTreeMap<TopicPartition, Offset> {
            let place = |partition| TopicPartition::new("own", Partition(partition));
            (0..)
                .map(place)
                .zip(offsets.iter().copied().map(Offset))
                .collect()
        };
        let more = |purged: &[i64], done: &[i64]| -> Vec<(i32, i64)> {
            let more = more_than(&at(purged), &at(done)).into_iter();
            more.map(|(it, below)| (it.partition.0, below.0)).collect()
        };
        assert_eq!(more(&[], &[0, 3]), [(1, 3)]);
        assert_eq!(more(&[5, 3], &[5, 4, 7]), [(1, 4), (2, 7)]);
        assert_eq!(more(&[5], &[4]), []);
    }
}
