//! [`Event`]: something that happened to a node or a shard, and when.

use std::fmt;

use serde::{Deserialize, Serialize};
use tanist_cluster::{Epoch, MemberId, Millis, NodeName, ShardId};

use crate::node;

/// See the module. Told by the nodes, and by whoever starts and kills them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Event {
    /// Its place among the events of the process that tells of it.
    pub(crate) seq: u64,
    /// When, by the clock of that process.
    pub(crate) at_ms: Millis,
    /// Where.
    pub(crate) node: NodeName,
    /// What, in a word.
    pub(crate) kind: String,
    /// The shard that it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) shard: Option<ShardId>,
    /// The member that it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) member: Option<MemberId>,
    /// The plan that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) epoch: Option<Epoch>,
    /// How long it took, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) took_ms: Option<f64>,
    /// The rest, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) text: String,
}

impl Event {
    /// Whether it is about one of many shards that do the same: what they have done is told together in the end.
    pub(crate) fn is_detail(&self) -> bool {
        self.shard.is_some()
    }

    /// One that concerns the node as a whole.
    pub(crate) fn of(node: &NodeName, at_ms: Millis, kind: &str, text: impl Into<String>) -> Self {
        Self {
            seq: 0,
            at_ms,
            node: node.clone(),
            kind: kind.to_owned(),
            shard: None,
            member: None,
            epoch: None,
            took_ms: None,
            text: text.into(),
        }
    }
}

impl fmt::Display for Event {
    /// On one line, without the time.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = format!("{:<4} {:<12}", self.node, self.kind.replace('_', " "));
        if let Some(shard) = &self.shard {
            line.push_str(&format!(" {shard}"));
        }
        if !self.text.is_empty() {
            line.push_str(&format!(" {}", self.text));
        }
        if let Some(epoch) = self.epoch
            && self.kind != "planned"
        {
            line.push_str(&format!(" (plan {epoch})"));
        }
        f.write_str(line.trim_end())
    }
}

/// The time of day in UTC with its milliseconds, as in logs.
pub(crate) fn time_of_day(at: Millis) -> String {
    let ms = at.0.rem_euclid(1000);
    format!("{}.{ms:03}", node::time_of_day(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_tells_is_understood_and_shown_on_a_line() {
        let told = r#"{"seq":7,"at_ms":86400001,"node":"n1","kind":"first_commit","shard":"orders/3","epoch":12,"took_ms":41.25}"#;
        let event: Event = serde_json::from_str(told).unwrap();
        assert_eq!(event.to_string(), "n1   first commit orders/3 (plan 12)");
        assert_eq!(time_of_day(event.at_ms), "00:00:00.001");
        assert_eq!(serde_json::to_string(&event).unwrap(), told);
    }
}
