//! [`Topics`]: from the records of a commit to produce calls.

use std::sync::Arc;

use rdkafka::error::KafkaResult;
use tanist_actors::port::{Commit, CommitRecord};
use tanist_cluster::Millis;

use super::raw::{Outgoing, Producer, Topic};

/// As librdkafka is told a timestamp. To it, 0 is none, and the record would bear the time of now: the millisecond after it
/// is as near as one comes.
pub(super) fn timestamp(time: Millis) -> i64 {
    match time.0 {
        0 => 1,
        time => time,
    }
}

/// Handles of the topics of an app, in the order in which its commits count them.
#[derive(Default)]
pub(super) struct Topics {
    names: Arc<[Arc<str>]>,
    handles: Vec<Topic>,
}

impl Topics {
    /// Those of `names`, kept from the last time if they are the same.
    pub(super) fn of(
        &mut self,
        producer: &Producer,
        names: &Arc<[Arc<str>]>,
    ) -> KafkaResult<&Self> {
        if self.names != *names {
            self.handles = names
                .iter()
                .map(|name| producer.topic(name))
                .collect::<KafkaResult<_>>()?;
            self.names = names.clone();
        }
        Ok(self)
    }

    /// Produces the record at `index`.
    pub(super) fn produce(&self, commit: &Commit, index: usize, tag: usize) -> KafkaResult<()> {
        let CommitRecord {
            topic,
            partition,
            key,
            value,
            timestamp,
            headers,
        } = &commit.records[index];
        self.handles[usize::from(topic.0)].produce(&Outgoing {
            partition: partition.0,
            key: key.map(|span| span.of(&commit.bytes)),
            value: value.map(|span| span.of(&commit.bytes)),
            timestamp: timestamp.map(self::timestamp),
            headers: headers.as_deref(),
            tag,
        })
    }
}
