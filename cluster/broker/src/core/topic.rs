//! A topic: its settings, by Kafka's names, and its partitions.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::partition::Partition;
use super::{Bounds, Millis};
use crate::error::{BrokerError, Result};

/// What becomes of old records. Both may be set, as `compact,delete`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cleanup {
    /// Only the last value of a key is kept.
    pub compact: bool,
    /// Records beyond the retention are deleted.
    pub delete: bool,
}

/// Settings of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicConfig {
    /// `cleanup.policy`.
    pub cleanup: Cleanup,
    /// `retention.ms`; none keeps records for ever.
    pub retention: Option<Millis>,
    /// `retention.bytes` of a partition; none for no limit.
    pub retention_bytes: Option<usize>,
    /// `max.message.bytes`: the largest batch.
    pub max_message_bytes: usize,
    /// `delete.retention.ms`: how long compaction keeps tombstones.
    pub delete_retention: Millis,
    /// Kafka's other settings, which this broker takes note of and does not act on.
    pub others: BTreeMap<String, String>,
}

const DAY: Millis = Millis(24 * 60 * 60 * 1000);

/// Kafka's topic settings that are stored and shown, and change nothing here.
const WITHOUT_EFFECT: &[&str] = &[
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "file.delete.delay.ms",
    "flush.messages",
    "flush.ms",
    "follower.replication.throttled.replicas",
    "index.interval.bytes",
    "leader.replication.throttled.replicas",
    "local.retention.bytes",
    "local.retention.ms",
    "max.compaction.lag.ms",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms",
    "min.insync.replicas",
    "preallocate",
    "remote.storage.enable",
    "segment.bytes",
    "segment.index.bytes",
    "segment.jitter.ms",
    "segment.ms",
    "unclean.leader.election.enable",
];

impl Default for TopicConfig {
    fn default() -> Self {
        Self {
            cleanup: Cleanup {
                compact: false,
                delete: true,
            },
            retention: Some(Millis(7 * DAY.0)),
            retention_bytes: None,
            max_message_bytes: 1_048_588,
            delete_retention: DAY,
            others: BTreeMap::new(),
        }
    }
}

impl TopicConfig {
    /// Kafka's defaults with `cleanup.policy=compact`.
    pub fn compacted() -> Self {
        Self {
            cleanup: Cleanup {
                compact: true,
                delete: false,
            },
            ..Self::default()
        }
    }

    /// Changes one setting by its Kafka name. Log append time is refused: this broker keeps the batches as they come.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        match name {
            "cleanup.policy" => self.cleanup = parse_cleanup(value)?,
            "retention.ms" => self.retention = parse_limit(value)?.map(Millis),
            "retention.bytes" => {
                let limit = parse_limit(value)?.map(usize::try_from);
                self.retention_bytes = limit.transpose().map_err(|_| BrokerError::InvalidConfig)?;
            }
            "max.message.bytes" => self.max_message_bytes = parse(value)?,
            "delete.retention.ms" => {
                self.delete_retention = parse_limit(value)?
                    .map(Millis)
                    .ok_or(BrokerError::InvalidConfig)?;
            }
            "message.timestamp.type" if value == "CreateTime" => {}
            name if WITHOUT_EFFECT.contains(&name) => {
                self.others.insert(name.to_owned(), value.to_owned());
            }
            _ => return Err(BrokerError::InvalidConfig),
        }
        Ok(())
    }

    /// All settings by their Kafka names.
    pub fn entries(&self) -> BTreeMap<String, String> {
        let or_none = |limit: Option<String>| limit.unwrap_or_else(|| "-1".to_owned());
        let policy = match self.cleanup {
            Cleanup {
                compact: true,
                delete: true,
            } => "compact,delete",
            Cleanup {
                compact: true,
                delete: false,
            } => "compact",
            Cleanup { compact: false, .. } => "delete",
        };
        let mut entries = self.others.clone();
        entries.extend([
            ("cleanup.policy".to_owned(), policy.to_owned()),
            (
                "retention.ms".to_owned(),
                or_none(self.retention.map(|limit| limit.0.to_string())),
            ),
            (
                "retention.bytes".to_owned(),
                or_none(self.retention_bytes.map(|limit| limit.to_string())),
            ),
            (
                "max.message.bytes".to_owned(),
                self.max_message_bytes.to_string(),
            ),
            (
                "delete.retention.ms".to_owned(),
                self.delete_retention.0.to_string(),
            ),
            ("message.timestamp.type".to_owned(), "CreateTime".to_owned()),
        ]);
        entries
    }
}

fn parse<T: std::str::FromStr>(value: &str) -> Result<T> {
    value.trim().parse().map_err(|_| BrokerError::InvalidConfig)
}

/// A number from 0 on, or -1 for no limit.
fn parse_limit(value: &str) -> Result<Option<i64>> {
    match parse(value)? {
        -1 => Ok(None),
        limit if limit >= 0 => Ok(Some(limit)),
        _ => Err(BrokerError::InvalidConfig),
    }
}

fn parse_cleanup(value: &str) -> Result<Cleanup> {
    let mut cleanup = Cleanup {
        compact: false,
        delete: false,
    };
    for policy in value.split(',') {
        match policy.trim() {
            "compact" => cleanup.compact = true,
            "delete" => cleanup.delete = true,
            _ => return Err(BrokerError::InvalidConfig),
        }
    }
    Ok(cleanup)
}

/// A topic as it is described to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: Uuid,
    /// Its settings.
    pub config: TopicConfig,
    /// The bounds of its partitions, from 0 on.
    pub partitions: Vec<Bounds>,
}

/// A topic.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) id: Uuid,
    pub(crate) config: TopicConfig,
    pub(crate) partitions: Vec<Partition>,
}

impl Topic {
    pub(crate) fn new(id: Uuid, partitions: i32, config: TopicConfig) -> Result<Self> {
        let mut topic = Self {
            id,
            config,
            partitions: Vec::new(),
        };
        topic.grow(partitions)?;
        Ok(topic)
    }

    /// Grows to `partitions`, which must be more than there are.
    pub(crate) fn grow(&mut self, partitions: i32) -> Result<()> {
        let count = usize::try_from(partitions).map_err(|_| BrokerError::InvalidPartitions)?;
        if count <= self.partitions.len() || count > MAX_PARTITIONS {
            return Err(BrokerError::InvalidPartitions);
        }
        self.partitions.resize_with(count, Partition::default);
        Ok(())
    }

    pub(crate) fn partition(&self, partition: i32) -> Result<&Partition> {
        let index = usize::try_from(partition).ok();
        index
            .and_then(|index| self.partitions.get(index))
            .ok_or(BrokerError::UnknownTopicOrPartition)
    }

    pub(crate) fn partition_mut(&mut self, partition: i32) -> Result<&mut Partition> {
        let index = usize::try_from(partition).ok();
        index
            .and_then(|index| self.partitions.get_mut(index))
            .ok_or(BrokerError::UnknownTopicOrPartition)
    }

    pub(crate) fn describe(&self, name: &str) -> TopicDescription {
        TopicDescription {
            name: name.to_owned(),
            id: self.id,
            config: self.config.clone(),
            partitions: self.partitions.iter().map(Partition::bounds).collect(),
        }
    }
}

/// The most partitions of one topic.
const MAX_PARTITIONS: usize = 10_000;

/// Refuses names that Kafka refuses.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty()
        || name.len() > 249
        || name == "."
        || name == ".."
        || !name.bytes().all(allowed)
    {
        return Err(BrokerError::InvalidTopic);
    }
    Ok(())
}
