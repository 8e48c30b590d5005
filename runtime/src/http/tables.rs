//! [`Tables`]: reads the tables of the shards that are on this node: committed values, straight from their stores.

use std::ops::Bound;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tanist_actors::group::{GroupSpec, GroupTable};
use tanist_actors::partitioner::partition_of;
use tanist_actors::port::{KeyRange, Store};
use tanist_actors::table::{TableEntry, TableError, TableReader};
use tanist_cluster::ShardId;

use crate::node::OpenStores;

/// How many entries a page has unless it is said.
const PAGE: usize = 100;
/// How many it has at most.
pub(crate) const MAX_PAGE: usize = 10_000;

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QueryError {
    /// The app has no such table.
    #[error("there is no table {table}; there {}", are(known))]
    NoTable { table: String, known: Vec<String> },
    /// The node is not that far.
    #[error(
        "the node has not joined yet: it waits for the broker, or for its predecessor to be out of the way"
    )]
    NotJoined,
    /// What was asked for is no key, or no range.
    #[error("{0}")]
    Bad(String),
    /// A part of the table is not here, or not yet.
    #[error("shard {0} is not ready on this node: `status` says why")]
    NotReady(ShardId),
    /// A stored value, or the store.
    #[error(transparent)]
    Table(#[from] TableError),
}

fn are(known: &[String]) -> String {
    match known {
        [] => "are none in this app".to_owned(),
        [one] => format!("is {one}"),
        many => format!("are {}", many.join(", ")),
    }
}

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
}

/// Entries in the order of their keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Page {
    pub(crate) entries: Vec<Entry>,
    /// What to ask for next, if there may be more.
    pub(crate) after: Option<String>,
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) key: Value,
    pub(crate) value: Value,
}

/// See the module.
pub(crate) struct Tables {
    groups: Vec<Arc<GroupSpec>>,
    stores: Arc<OpenStores>,
}

impl Tables {
    pub(crate) fn new(groups: Vec<Arc<GroupSpec>>, stores: Arc<OpenStores>) -> Self {
        Self { groups, stores }
    }

    /// The names of all tables.
    pub(crate) fn names(&self) -> Vec<String> {
        let tables = self.all().map(|(_, table)| table.spec.name.to_string());
        tables.collect()
    }

    /// The value of `key`.
    pub(crate) fn get(&self, table: &str, key: &str) -> Result<Option<Value>, QueryError> {
        let (group, reader) = self.find(table)?;
        let key = reader.key(key).map_err(bad)?;
        let home = partition_of(&key, group.partitions).0;
        let home = ShardId::new(group.name.clone(), home);
        let found = reader.get(&*self.store(&home)?, &key)?;
        if found.is_some() {
            return Ok(found);
        }
        // Where the partition was decided by other bytes than the table's key, it is elsewhere.
        for shard in shards(group).filter(|shard| *shard != home) {
            let found = reader.get(&*self.store(&shard)?, &key)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// A page of entries, of all shards, sorted.
    pub(crate) fn scan(&self, table: &str, range: &Range) -> Result<Page, QueryError> {
        let (group, reader) = self.find(table)?;
        let limit = range.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE);
        let bounds = bounds(&**reader, range)?;
        let mut entries: Vec<TableEntry> = Vec::new();
        if !bounds.is_empty() {
            for shard in shards(group) {
                let store = self.store(&shard)?;
                let page = reader.page(&*store, bounds.from.clone(), bounds.to.clone(), limit)?;
                entries.extend(page);
            }
        }
        entries.sort_by(|a, b| a.bytes.cmp(&b.bytes));
        let more = entries.len() >= limit;
        entries.truncate(limit);
        let last = entries.last().filter(|_| more);
        Ok(Page {
            after: last.map(|entry| key_text(&entry.key)),
            entries: entries.into_iter().map(entry).collect(),
        })
    }

    fn all(&self) -> impl Iterator<Item = (&Arc<GroupSpec>, &GroupTable)> {
        let groups = self.groups.iter();
        groups.flat_map(|group| group.tables.iter().map(move |table| (group, table)))
    }

    fn find(&self, table: &str) -> Result<(&GroupSpec, &Arc<dyn TableReader>), QueryError> {
        let found = self.all().find(|(_, known)| &*known.spec.name == table);
        let (group, found) = found.ok_or_else(|| QueryError::NoTable {
            table: table.to_owned(),
            known: self.names(),
        })?;
        Ok((group, &found.spec.reader))
    }

    fn store(&self, shard: &ShardId) -> Result<Arc<dyn Store>, QueryError> {
        let store = self.stores.find(shard);
        store.ok_or_else(|| QueryError::NotReady(shard.clone()))
    }
}

fn shards(group: &GroupSpec) -> impl Iterator<Item = ShardId> {
    (0..group.partitions).map(|partition| ShardId::new(group.name.clone(), partition))
}

/// The smallest range that all conditions allow.
fn bounds(reader: &dyn TableReader, range: &Range) -> Result<KeyRange, QueryError> {
    let key = |text: &Option<String>| text.as_ref().map(|text| reader.key(text).map_err(bad));
    let mut bounds = match key(&range.prefix).transpose()? {
        Some(prefix) => KeyRange::prefix(&prefix),
        None => KeyRange {
            from: Bound::Unbounded,
            to: Bound::Unbounded,
        },
    };
    for (text, bound) in [
        (
            &range.from,
            Bound::Included as fn(Vec<u8>) -> Bound<Vec<u8>>,
        ),
        (&range.after, Bound::Excluded),
    ] {
        if let Some(key) = key(text).transpose()? {
            bounds.from = later(bounds.from, bound(key));
        }
    }
    if let Some(to) = key(&range.to).transpose()? {
        bounds.to = match bounds.to {
            Bound::Excluded(end) if end < to => Bound::Excluded(end),
            _ => Bound::Excluded(to),
        };
    }
    Ok(bounds)
}

/// The one that begins later.
fn later(a: Bound<Vec<u8>>, b: Bound<Vec<u8>>) -> Bound<Vec<u8>> {
    let rank = |bound: &Bound<Vec<u8>>| match bound {
        Bound::Unbounded => (Vec::new(), 0),
        Bound::Included(key) => (key.clone(), 1),
        Bound::Excluded(key) => (key.clone(), 2),
    };
    if rank(&a) >= rank(&b) { a } else { b }
}

fn bad(error: TableError) -> QueryError {
    QueryError::Bad(error.to_string())
}

fn entry(entry: TableEntry) -> Entry {
    Entry {
        key: entry.key,
        value: entry.value,
    }
}

/// A key as people write it: text as it is, everything else as JSON.
pub(crate) fn key_text(key: &Value) -> String {
    match key {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use tanist_actors::agent::TableSpec;
    use tanist_actors::codec::Codec;
    use tanist_actors::port::{Changes, MemoryStores, Stores, TopicId};
    use tanist_actors::table::{TableDef, table_prefix};

    use super::*;

    const PARTITIONS: i32 = 3;

    /// A table of strings whose values are the lengths of their keys, each key in the shard that `home` says.
    fn tables(keys: &[&str], home: impl Fn(&str) -> i32) -> Tables {
        let def = TableDef::<String, u64>::new("sizes");
        let group = GroupSpec {
            name: "words".into(),
            partitions: PARTITIONS,
            inputs: Vec::new(),
            timers: Vec::new(),
            tables: vec![GroupTable {
                spec: TableSpec {
                    name: "sizes".into(),
                    config: def.config(),
                    reader: Arc::new(def),
                },
                changelog: TopicId(0),
            }],
        };
        let stores = Arc::new(OpenStores::new(Arc::new(MemoryStores::default())));
        for shard in shards(&group) {
            let mut changes = Changes::default();
            for key in keys.iter().filter(|key| home(key) == shard.partition.0) {
                let mut value = vec![1, 1];
                let size = key.len() as u64;
                tanist_actors::codec::Bincode
                    .encode(&size, &mut value)
                    .unwrap();
                changes.put(&table_prefix("sizes"), key.as_bytes(), &value);
            }
            stores.open(&shard).unwrap().apply(&changes).unwrap();
        }
        Tables::new(vec![Arc::new(group)], stores)
    }

    fn own_partition(key: &str) -> i32 {
        partition_of(key.as_bytes(), PARTITIONS).0
    }

    fn keys(page: &Page) -> Vec<String> {
        page.entries
            .iter()
            .map(|entry| key_text(&entry.key))
            .collect()
    }

    #[test]
    fn a_key_is_found_in_its_shard_and_in_any_other() {
        for home in [own_partition as fn(&str) -> i32, |_| 2] {
            let tables = tables(&["a", "bb", "ccc"], home);
            assert_eq!(tables.get("sizes", "bb").unwrap(), Some(2.into()));
            assert_eq!(tables.get("sizes", "dddd").unwrap(), None);
        }
    }

    #[test]
    fn a_scan_merges_the_shards_and_goes_on_after_its_last_key() {
        let words = ["a", "aa", "ab", "b", "ba", "c", "ca", "d"];
        let tables = tables(&words, own_partition);
        let mut range = Range {
            limit: Some(3),
            ..Range::default()
        };
        let mut found = Vec::new();
        loop {
            let page = tables.scan("sizes", &range).unwrap();
            found.extend(keys(&page));
            range.after = page.after;
            if range.after.is_none() {
                break;
            }
        }
        assert_eq!(found, words);
    }

    #[test]
    fn conditions_narrow_each_other() {
        let tables = tables(&["a", "aa", "ab", "ac", "b", "c"], own_partition);
        let check = |[prefix, from, to, after]: [&str; 4], expected: &[&str]| {
            let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            let range = Range {
                prefix: given(prefix),
                from: given(from),
                to: given(to),
                after: given(after),
                limit: None,
            };
            let page = tables.scan("sizes", &range).unwrap();
            assert_eq!(keys(&page), expected, "{range:?}");
            assert_eq!(page.after, None);
        };
        check(["a", "", "", ""], &["a", "aa", "ab", "ac"]);
        check(["a", "ab", "", ""], &["ab", "ac"]);
        check(["a", "ab", "ac", ""], &["ab"]);
        check(["a", "", "z", "ab"], &["ac"]);
        check(["", "ab", "c", "a"], &["ab", "ac", "b"]);
        check(["", "c", "a", ""], &[]);
    }

    #[test]
    fn what_is_not_here_is_named() {
        let tables = tables(&["a"], own_partition);
        let error = tables.get("size", "a").unwrap_err().to_string();
        assert_eq!(error, "there is no table size; there is sizes");
        let empty = Tables::new(
            tables.groups.clone(),
            Arc::new(OpenStores::new(Arc::new(MemoryStores::default()))),
        );
        let error = empty.get("sizes", "a").unwrap_err().to_string();
        assert!(error.starts_with("shard words/"), "{error}");
    }
}
