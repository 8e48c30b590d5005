//! What is asked of a table, what one node has of the answer ([`Part`]), and what comes of the parts of all: pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tanist_actors::shard::{ShardState, ShardStatus};
use tanist_cluster::Partition;

use super::tables::key_text;

/// Which entries are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Range {
    /// Keys that begin so.
    pub(crate) prefix: Option<String>,
    /// The first key.
    pub(crate) from: Option<String>,
    /// The first key that is not wanted any more.
    pub(crate) to: Option<String>,
    /// The last key of the page before.
    pub(crate) after: Option<String>,
    /// How many.
    pub(crate) limit: Option<usize>,
    /// A copy will do.
    #[serde(rename = "stale-ok")]
    pub(crate) stale_ok: bool,
}

/// How the value of a key is wanted.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct How {
    /// A copy will do.
    #[serde(rename = "stale-ok")]
    pub(crate) stale_ok: bool,
}

/// What one node asks another, which answers for itself alone: nobody passes a question on twice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Question {
    pub(crate) table: String,
    /// The shards to answer for.
    pub(crate) partitions: BTreeSet<Partition>,
    pub(crate) wanted: Wanted,
}

/// The value of a key, or a page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Wanted {
    Key(String),
    Range(Range),
}

/// What one node has of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// In the order of their keys.
    pub(crate) entries: Vec<Entry>,
    /// The shards for which a copy answered, and how many records that is behind, if it is known.
    pub(crate) copies: BTreeMap<Partition, Option<u64>>,
    /// The shards for which this node cannot answer, and why.
    pub(crate) missing: BTreeMap<Partition, String>,
    /// Of these, those that are broken here.
    #[serde(default)]
    pub(crate) broken: BTreeSet<Partition>,
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) key: Value,
    pub(crate) value: Value,
}

/// The answer for a key.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Found {
    pub(crate) table: String,
    pub(crate) key: String,
    pub(crate) value: Value,
    #[serde(flatten)]
    pub(crate) freshness: Freshness,
}

/// Why there is no answer; among others, because there is no such key.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Refusal {
    pub(crate) kind: String,
    pub(crate) error: String,
    #[serde(flatten)]
    pub(crate) freshness: Freshness,
}

/// Whether an answer is what is committed now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Freshness {
    /// Some of it comes from copies.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) stale: bool,
    /// How many records those are behind, together; none if that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lag_records: Option<u64>,
}

/// Entries in the order of their keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Page {
    pub(crate) entries: Vec<Entry>,
    /// What to ask for next, if there may be more.
    pub(crate) after: Option<String>,
    #[serde(flatten)]
    pub(crate) freshness: Freshness,
}

/// What a store on this node is to its shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// All that is committed.
    Whole,
    /// A copy, so many records behind, if that is known.
    Copy(Option<u64>),
    /// Still being filled: it would answer that keys are not there which are.
    Filling,
    /// The shard is broken, for this reason. Its store, if it is open still, is as a copy, where that is known.
    Broken(String, Option<u64>),
}

impl Held {
    /// What can be said by `status`, if the plan has the shard active here or not, and if this node `is_sure` to know the
    /// plan: else there may be a later one, and more by now than is here.
    pub(crate) fn of(status: Option<&ShardStatus>, is_active: bool, is_sure: bool) -> Option<Self> {
        let status = status?;
        let lag = status.copy.map(|copy| copy.lag_records);
        Some(match &status.state {
            ShardState::Restoring { .. } => Self::Filling,
            ShardState::Broken { reason } => Self::Broken(reason.clone(), lag),
            _ if !is_sure => Self::Copy(None),
            ShardState::Running | ShardState::Stuck { .. } | ShardState::Restarting { .. }
                if is_active =>
            {
                Self::Whole
            }
            _ => Self::Copy(lag),
        })
    }
}

impl Freshness {
    /// Of an answer that these parts gave.
    pub(crate) fn of<'a>(parts: impl IntoIterator<Item = &'a Part>) -> Self {
        let copies = parts.into_iter().flat_map(|part| part.copies.values());
        let lags: Vec<Option<u64>> = copies.copied().collect();
        match lags.is_empty() {
            true => Self::default(),
            false => Self {
                stale: true,
                lag_records: lags.into_iter().sum(),
            },
        }
    }

    /// What people are to know of it.
    pub(crate) fn warning(self) -> Option<String> {
        self.stale.then(|| match self.lag_records {
            Some(lag) => format!("stale: the answer is {lag} records behind"),
            None => "stale: how far behind the answer is, is not known".to_owned(),
        })
    }
}

impl Page {
    /// The first `limit` entries of all parts, each of which has its own first `limit`. `bytes` tells those of a key, by
    /// which entries are sorted.
    pub(crate) fn merge<E>(
        parts: Vec<Part>,
        limit: usize,
        bytes: impl Fn(&Entry) -> Result<Vec<u8>, E>,
    ) -> Result<Self, E> {
        let freshness = Freshness::of(&parts);
        let entries = parts.into_iter().flat_map(|part| part.entries);
        let sorted = entries.map(|entry| Ok((bytes(&entry)?, entry)));
        let mut sorted = sorted.collect::<Result<Vec<_>, E>>()?;
        sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
        let more = sorted.len() >= limit;
        sorted.truncate(limit);
        let entries: Vec<Entry> = sorted.into_iter().map(|(_, entry)| entry).collect();
        let last = entries.last().filter(|_| more);
        Ok(Self {
            after: last.map(|entry| key_text(&entry.key)),
            entries,
            freshness,
        })
    }
}

#[cfg(test)]
mod tests {
    use tanist_cluster::heartbeat::Copy;
    use tanist_cluster::{Offset, ShardId};

    use super::*;

    fn part(keys: &[&str], copies: &[(i32, Option<u64>)]) -> Part {
        let entry = |key: &&str| Entry {
            key: (*key).into(),
            value: 1.into(),
        };
        let copies = copies.iter().map(|(n, lag)| (Partition(*n), *lag));
        Part {
            entries: keys.iter().map(entry).collect(),
            copies: copies.collect(),
            ..Part::default()
        }
    }

    #[test]
    fn the_pages_of_all_nodes_are_one_in_the_order_of_the_keys() {
        let parts = || {
            vec![
                part(&["b", "e", "f"], &[]),
                part(&[], &[]),
                part(&["a", "c"], &[]),
            ]
        };
        let bytes = |entry: &Entry| Ok::<_, ()>(key_text(&entry.key).into_bytes());
        let page = |limit| Page::merge(parts(), limit, bytes).unwrap();
        let keys = |page: &Page| {
            let keys = page.entries.iter().map(|entry| key_text(&entry.key));
            keys.collect::<String>()
        };
        assert_eq!(
            (keys(&page(3)), page(3).after),
            ("abc".into(), Some("c".into()))
        );
        assert_eq!((keys(&page(9)), page(9).after), ("abcef".into(), None));
        assert_eq!(page(3).freshness, Freshness::default());
    }

    #[test]
    fn an_answer_of_copies_tells_how_far_they_are_behind_if_all_know_it() {
        for (copies, stale, lag_records) in [
            (&[][..], false, None),
            (&[(0, Some(0))], true, Some(0)),
            (&[(0, Some(3)), (1, Some(4))], true, Some(7)),
            (&[(0, Some(3)), (1, None)], true, None),
        ] {
            let parts = [part(&["a"], &[]), part(&["b"], copies)];
            let expected = Freshness { stale, lag_records };
            assert_eq!(Freshness::of(&parts), expected, "{copies:?}");
        }
    }

    #[test]
    fn only_the_active_at_work_has_all_and_a_copy_that_is_being_filled_says_nothing() {
        let status = |state: ShardState| ShardStatus {
            shard: ShardId::new("orders", 0),
            state,
            inputs: BTreeMap::new(),
            records: 0,
            uncommitted: false,
            copy: Some(Copy {
                position: Offset(7),
                lag_records: 2,
                is_closed: false,
            }),
        };
        let restoring = ShardState::Restoring { records: 1, of: 9 };
        for (state, is_active, is_sure, held) in [
            (ShardState::Running, true, true, Held::Whole),
            (ShardState::Running, true, false, Held::Copy(None)),
            (ShardState::Running, false, true, Held::Copy(Some(2))),
            (ShardState::CatchingUp, true, true, Held::Copy(Some(2))),
            (ShardState::Standby, false, true, Held::Copy(Some(2))),
            (ShardState::Standby, false, false, Held::Copy(None)),
            (restoring.clone(), true, true, Held::Filling),
            (restoring, false, false, Held::Filling),
        ] {
            let found = Held::of(Some(&status(state.clone())), is_active, is_sure);
            assert_eq!(
                found,
                Some(held),
                "{state:?}, active: {is_active}, sure: {is_sure}"
            );
        }
        assert_eq!(Held::of(None, true, true), None);
        let broken = ShardState::Broken {
            reason: "the disk".into(),
        };
        let held = Held::of(Some(&status(broken)), true, true);
        assert_eq!(held, Some(Held::Broken("the disk".into(), Some(2))));
    }
}
