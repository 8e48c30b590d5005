//! The records of topic `{app}.heartbeat`: one partition, minutes of retention, written by every member some
//! ten times a second.
//!
//! They say that a member lives and how far its copies are. Nothing that has to be right depends on them: a
//! heartbeat that is lost or late costs time, never a record.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::codec::{DecodeError, from_json, to_json};
use crate::ids::{MemberId, Offset, ShardId};

/// One sign of life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Whose.
    pub member: MemberId,
    /// The how-manieth, from 0: how a member knows its own when it comes back.
    pub beat: u64,
    /// Its operator has asked it to stop: its shards are to go elsewhere.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaving: bool,
    /// What it has. Left out while nothing has changed that a plan depends on: with many shards it is by far
    /// the larger part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
}

/// What a member has.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Report {
    /// The copies on its disk, also those for which it has no role at present: a node that comes back after a
    /// restart takes up where it was.
    pub copies: BTreeMap<ShardId, Copy>,
    /// The shards that it cannot run.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub broken: BTreeSet<ShardId>,
}

/// How far a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copy {
    /// Its position in the changelog.
    pub position: Offset,
    /// How many records the changelog goes on after that.
    pub lag_records: u64,
}

impl Heartbeat {
    /// The key under which it is written.
    #[must_use]
    pub fn key(&self) -> String {
        format!("heartbeat/{}", self.member)
    }

    /// The value to be written.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        to_json(self)
    }

    /// Reads a record of the topic.
    ///
    /// # Errors
    /// A record of a newer build, or of another program. The reader may go on: one sign of life less.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<Self, DecodeError> {
        from_json(&String::from_utf8_lossy(key), value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_without_news_is_short_and_one_with_news_is_read_as_written() {
        let mut heartbeat = Heartbeat {
            member: MemberId(40),
            beat: 7,
            leaving: false,
            report: None,
        };
        let short = heartbeat.encode();
        assert_eq!(
            String::from_utf8_lossy(&short),
            r#"{"format":1,"record":{"member":40,"beat":7}}"#
        );
        let copy = Copy {
            position: Offset(17),
            lag_records: 3,
        };
        heartbeat.leaving = true;
        heartbeat.report = Some(Report {
            copies: [(ShardId::new("orders", 3), copy)].into(),
            broken: [ShardId::new("orders", 4)].into(),
        });
        let read = Heartbeat::decode(heartbeat.key().as_bytes(), &heartbeat.encode()).unwrap();
        assert_eq!(read, heartbeat);
    }
}
