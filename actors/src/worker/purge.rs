//! [`Purge`]: what has been processed of the app's own topics, between two steps, nobody needs any more (S8). As Kafka Streams
//! does, by `repartition.purge.interval.ms`.
//!
//! Only below what a commit of this worker has told, which has succeeded: positions never go back, so that whoever has the
//! shard then, or later, begins there or above, and a worker that has lost it meanwhile deletes what is done all the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use tanist_cluster::Offset;

use super::Worker;
use crate::port::{TopicInfo, TopicPartition};

/// See the module.
#[derive(Default)]
pub(super) struct Purge {
    purged: BTreeMap<TopicPartition, Offset>,
    is_refused: bool,
}

impl Purge {
    /// Deletes what has been processed since the last time, in the topics that were read: in one that was made anew, by what
    /// is `there` now, it is something else.
    pub(super) async fn go_on(&mut self, worker: &Worker, there: &BTreeMap<Arc<str>, TopicInfo>) {
        let (mut done, mut read) = (BTreeMap::new(), BTreeMap::new());
        for shard in worker.shards.borrow().values() {
            done.extend(shard.processed());
            read.extend(shard.inputs_read().map(|(input, id)| (input, id.clone())));
        }
        let is_the_same = |input: &TopicPartition| {
            let there = there.get(&input.topic);
            there.is_some_and(|topic| topic.id.is_none() || topic.id.as_ref() == read.get(input))
        };
        let mut more = more_than(&self.purged, &done);
        more.retain(|(input, _)| is_the_same(input));
        if more.is_empty() {
            return;
        }
        match worker.broker.delete_records(&more).await {
            // Of shards that have gone, it is forgotten.
            Ok(()) => {
                self.purged = done;
                self.is_refused = false;
            }
            Err(error) if self.is_refused => tracing::debug!(%error, "cannot purge"),
            Err(error) => {
                self.is_refused = true;
                tracing::warn!(
                    "what has been processed is not deleted from the app's own topics, which grow: {error}; trying again"
                );
            }
        }
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
