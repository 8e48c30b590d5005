//! [`Beside`]: what a commit writes beside a shard's offsets into the consumer group.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::port::TopicUuid;
use crate::table::Inputs;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Beside {
    /// Of a shard with tables: the commit that its changelogs contain, or else they were lost. As older builds wrote it.
    Commit(u64),
    /// The same, and which changelogs these are: that of a table with a new name never had any of it.
    Tables {
        commit: u64,
        changelogs: BTreeSet<Arc<str>>,
    },
    /// Of a shard without tables: what it has finished, where the offsets do not say it all.
    Inputs(Inputs),
    /// Of a shard without tables: which topic the offset is of, where that is all that there is to say.
    Topic(TopicUuid),
}

impl Beside {
    /// Reads it. Anyone can set the offsets of a group, and then there is nothing beside them.
    pub(crate) fn read(metadata: &str) -> Option<Self> {
        serde_json::from_str(metadata).ok()
    }

    pub(crate) fn text(&self) -> String {
        serde_json::to_string(self).expect("plain values become JSON")
    }
}
