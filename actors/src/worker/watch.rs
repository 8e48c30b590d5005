//! What becomes of the topics that a worker reads, while it reads them: one that was deleted and made anew is not the one in
//! which a shard stands at its position; and one that was given more partitions is not read whole. By the same look it is known
//! from which of the app's own topics to purge what has been processed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::error::ReplicaError;
use super::purge::Purge;
use super::{UnreadPartitions, Worker};
use crate::port::{CommitError, TopicInfo};

/// How often it looks: one small request.
const INTERVAL: Duration = Duration::from_secs(30);

impl Worker {
    /// Looks at the input topics now and then, and purges. Never done.
    pub(super) async fn watch_topics(&self) -> CommitError {
        let inputs = self.groups.values().flat_map(|group| &group.inputs);
        let topics: BTreeSet<Arc<str>> = inputs
            .map(|input| self.desk.topic_name(input.topic))
            .collect();
        let topics = Vec::from_iter(topics);
        let mut purge = Purge::default();
        loop {
            self.desk.clock().sleep(INTERVAL).await;
            match self.broker.topics(&topics).await {
                Ok(found) => {
                    self.look_for_topics_made_anew(&found);
                    self.look_for_partitions(&found);
                    purge.go_on(self, &found).await;
                }
                Err(error) => tracing::debug!(%error, "cannot look at the input topics"),
            }
        }
    }

    fn look_for_partitions(&self, found: &BTreeMap<Arc<str>, TopicInfo>) {
        for group in self.groups.values() {
            for input in &group.inputs {
                let topic = self.desk.topic_name(input.topic);
                let partitions = found.get(&topic).map_or(0, |topic| topic.partitions);
                if partitions > group.partitions {
                    let unread = UnreadPartitions {
                        read: group.partitions,
                        partitions,
                        has_tables: group.has_tables(),
                    };
                    self.desk.reports().unread(&topic, unread);
                }
            }
        }
    }

    fn look_for_topics_made_anew(&self, found: &BTreeMap<Arc<str>, TopicInfo>) {
        // A shard that breaks down leaves.
        let shards: Vec<_> = self.shards.borrow().values().cloned().collect();
        for shard in shards {
            let anew = shard.inputs_read().find_map(|(input, read)| {
                let found = found.get(&input.topic)?.id.as_ref()?;
                (read != found).then(|| {
                    let has_tables = shard.has_tables();
                    ReplicaError::made_anew(&self.app, &input, read, found, has_tables)
                })
            });
            if let Some(error) = anew
                && !shard.is_broken()
            {
                shard.break_down(error.to_string());
            }
        }
    }
}
