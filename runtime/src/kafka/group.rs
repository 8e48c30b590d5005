//! [`Groups`]: in whose name offsets are committed.

use std::sync::Arc;

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, KafkaResult};

use super::consumer::Consumer;
use super::settings::KafkaSettings;

/// What says to the broker that a transaction's offsets belong to a group, which nobody has to have joined for that.
pub(super) struct Groups {
    settings: KafkaSettings,
    /// The group that was asked for last: always the same, in an app.
    last: Option<(String, Arc<ConsumerGroupMetadata>)>,
}

impl Groups {
    /// Knows the group of `consumer`, which is that of `settings`.
    pub(super) fn new(settings: &KafkaSettings, consumer: &Consumer) -> Self {
        let group = consumer.group().map(Arc::new);
        Self {
            settings: settings.clone(),
            last: group.map(|group| (settings.group.clone(), group)),
        }
    }

    /// The group `name`.
    pub(super) fn of(&mut self, name: &str) -> KafkaResult<Arc<ConsumerGroupMetadata>> {
        if let Some((last, group)) = &self.last
            && last == name
        {
            return Ok(group.clone());
        }
        let member: BaseConsumer = self.settings.admin(name).create()?;
        let group = member.group_metadata().ok_or_else(|| {
            KafkaError::ClientCreation(format!("a consumer of group {name} has no group"))
        })?;
        let group = Arc::new(group);
        self.last = Some((name.to_owned(), group.clone()));
        Ok(group)
    }
}
