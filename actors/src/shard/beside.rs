//! [`Beside`]: what a commit writes beside a shard's offsets into the consumer group.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::port::TopicUuid;
use crate::table::Inputs;

/// What a consumer group takes beside an offset (`offset.metadata.max.bytes`, unless the broker has another).
const MAX_BYTES: usize = 4096;

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

    /// Of a shard with tables that have these changelogs.
    pub(crate) fn of_tables(commit: u64, changelogs: BTreeSet<Arc<str>>) -> String {
        let text = Self::Tables { commit, changelogs }.text();
        match text.len() {
            // Then a table with a new name counts as one whose changelog was lost.
            size if size > MAX_BYTES => Self::Commit(commit).text(),
            _ => text,
        }
    }

    pub(crate) fn text(&self) -> String {
        serde_json::to_string(self).expect("plain values become JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_beside_an_offset_is_never_more_than_a_group_takes() {
        for (tables, names_all) in [(1, true), (40, true), (60, false), (1000, false)] {
            let name = |n| {
                format!("words-of-the-department-of-words-counts-of-the-words-{n}-changelog").into()
            };
            let text = Beside::of_tables(7, (0..tables).map(name).collect());
            assert!(text.len() <= MAX_BYTES, "{} bytes", text.len());
            let named = matches!(Beside::read(&text), Some(Beside::Tables { commit: 7, .. }));
            assert_eq!(named, names_all, "{tables} tables");
            assert!(named || Beside::read(&text) == Some(Beside::Commit(7)));
        }
    }
}
