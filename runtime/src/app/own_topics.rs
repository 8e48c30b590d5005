//! What the app's own topics have to be like, by their settings: how large the records are that they take, and whether they
//! keep what they are there to keep.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tanist_actors::port::TopicSettings;

use super::fault::{Fault, Faults};
use super::topology::{AppTopology, TopicKind};

/// The name of an app's control log.
pub(crate) fn control_topic(app: &str) -> String {
    format!("{app}.control")
}

/// The name of the topic with the heartbeats of an app's nodes.
pub(crate) fn heartbeat_topic(app: &str) -> String {
    format!("{app}.heartbeat")
}

impl AppTopology {
    /// Those of its topics whose records it cannot do without.
    pub(crate) fn internal_topics(&self) -> impl Iterator<Item = (&Arc<str>, TopicKind)> {
        let all = self.topics.names.iter().zip(self.kinds.iter().copied());
        all.filter(|(_, kind)| *kind != TopicKind::Declared)
    }

    /// Has those of its own topics that are missing made so that they take records of so many bytes.
    pub(crate) fn make_room(&mut self, max_record_bytes: usize) {
        let Some(needed) = message_bytes(max_record_bytes) else {
            return;
        };
        let own: BTreeSet<Arc<str>> = self
            .internal_topics()
            .map(|(name, _)| name.clone())
            .collect();
        for spec in self
            .missing
            .iter_mut()
            .filter(|spec| own.contains(&spec.name))
        {
            let config = spec.config.entry("max.message.bytes".into());
            config.or_insert_with(|| needed.to_string());
        }
    }

    /// Whether its own topics that exist take records of so many bytes, by their settings.
    fn too_small(
        &self,
        settings: &BTreeMap<Arc<str>, TopicSettings>,
        max_record_bytes: usize,
    ) -> Vec<Fault> {
        let Some(needed) = message_bytes(max_record_bytes) else {
            return Vec::new();
        };
        let existing = self.internal_topics().filter_map(|(topic, _)| {
            let bytes = settings.get(topic)?.get("max.message.bytes")?;
            Some((topic, bytes.parse::<usize>().ok()?))
        });
        existing
            .filter(|(_, existing)| *existing < needed)
            .map(|(topic, existing)| Fault::MessageBytes {
                topic: topic.clone(),
                existing,
                needed,
            })
            .collect()
    }

    /// Whether its own topics keep what they are there to keep, by their settings, where those are known; `control` is the
    /// control log.
    pub(crate) fn check_settings(
        &self,
        control: &Arc<str>,
        settings: &BTreeMap<Arc<str>, TopicSettings>,
        max_record_bytes: usize,
    ) -> Result<(), Faults> {
        let own = self.internal_topics().map(|(topic, kind)| match kind {
            TopicKind::Repartition => (
                topic,
                "delete",
                "a record between two steps may have the key of a later one",
            ),
            _ => (
                topic,
                "compact",
                "a table is restored from it, of whatever age its keys are",
            ),
        });
        let control = (control, "compact", "it says for ever who the members are");
        let faults = own.chain([control]).filter_map(|(topic, needed, why)| {
            let policy = settings.get(topic)?.get("cleanup.policy")?.clone();
            (policy != needed).then(|| Fault::Cleanup {
                topic: topic.clone(),
                policy,
                needed,
                why,
            })
        });
        let faults = faults.chain(self.too_small(settings, max_record_bytes));
        match faults.collect::<Vec<_>>() {
            faults if faults.is_empty() => Ok(()),
            faults => Err(Faults(faults)),
        }
    }
}

/// What a batch of one record has around it, and more: what Kafka allows for it by default.
const BATCH_BYTES: usize = 48_588;
/// librdkafka's default for the largest record, which Kafka takes by default.
const USUAL_RECORD_BYTES: usize = 1_000_000;

/// The `max.message.bytes` that a topic needs for records of so many bytes, if that is more than it is made with.
fn message_bytes(max_record_bytes: usize) -> Option<usize> {
    (max_record_bytes > USUAL_RECORD_BYTES).then(|| max_record_bytes + BATCH_BYTES)
}
