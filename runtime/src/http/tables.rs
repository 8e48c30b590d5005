//! [`Tables`]: reads the tables of the shards that are on this node: committed values, straight from their stores.

use std::ops::Bound;
use std::sync::Arc;

use serde_json::Value;
use tanist_actors::group::{GroupSpec, GroupTable};
use tanist_actors::partitioner::partition_of;
use tanist_actors::port::{KeyRange, Store};
use tanist_actors::table::{TableEntry, TableError, TableReader};
use tanist_cluster::{Partition, ShardId};

use super::question::{Entry, Held, Page, Part, Question, Range, Wanted};
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
    /// Nobody could answer for a part of the table.
    #[error(
        "nobody answers for shard {shard} just now ({why}); `status` says how the nodes are, and whether to try again soon"
    )]
    NoAnswer { shard: ShardId, why: String },
    /// A part of the table is broken, and nobody has a copy of it.
    #[error(
        "shard {shard} is broken, so its part of the table cannot be read until that is mended ({why}); `status` shows \
         all that is broken"
    )]
    Broken { shard: ShardId, why: String },
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

    /// The shards of a table.
    pub(crate) fn shards(&self, table: &str) -> Result<Vec<ShardId>, QueryError> {
        Ok(shards(self.find(table)?.0).collect())
    }

    /// Where `key` is, unless its partition was decided by other bytes than the table's key.
    pub(crate) fn home(&self, table: &str, key: &str) -> Result<ShardId, QueryError> {
        let (group, reader) = self.find(table)?;
        let key = reader.key(key).map_err(bad)?;
        let home = partition_of(&key, group.partitions).0;
        Ok(ShardId::new(group.name.clone(), home))
    }

    /// Whether a range can be asked for, and how many entries of it at most.
    pub(crate) fn check(&self, table: &str, range: &Range) -> Result<usize, QueryError> {
        bounds(&**self.find(table)?.1, range)?;
        Ok(limit(range))
    }

    /// One page of the parts of all nodes.
    pub(crate) fn merge(
        &self,
        table: &str,
        parts: Vec<Part>,
        limit: usize,
    ) -> Result<Page, QueryError> {
        let (_, reader) = self.find(table)?;
        let bytes = |entry: &Entry| Ok(reader.key(&key_text(&entry.key))?);
        Page::merge(parts, limit, bytes)
    }

    /// What the stores that are here say, each of which is to its shard what `held` tells.
    pub(crate) fn part(
        &self,
        question: &Question,
        held: impl Fn(&ShardId) -> Option<Held>,
    ) -> Result<Part, QueryError> {
        let (group, reader) = self.find(&question.table)?;
        let (mut stores, mut part) = (Vec::new(), Part::default());
        for &partition in &question.partitions {
            let shard = ShardId::new(group.name.clone(), partition.0);
            let held = held(&shard);
            let is_broken = matches!(held, Some(Held::Broken(..)));
            match self.store(&shard, held) {
                Ok(readable) => stores.push(readable),
                Err(why) => {
                    part.missing.insert(partition, why);
                    part.broken.extend(is_broken.then_some(partition));
                }
            }
        }
        match &question.wanted {
            Wanted::Key(key) => value(&**reader, key, stores, part),
            Wanted::Range(range) => page(&**reader, range, stores, part),
        }
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

    fn store(&self, shard: &ShardId, held: Option<Held>) -> Result<Readable, String> {
        let store = self.stores.find(shard);
        let copy = match held {
            Some(Held::Whole) => None,
            Some(Held::Copy(lag)) => Some((shard.partition, lag)),
            Some(Held::Filling) => return Err("its copy is still being filled".to_owned()),
            Some(Held::Broken(_, Some(lag))) if store.is_some() => {
                Some((shard.partition, Some(lag)))
            }
            Some(Held::Broken(reason, _)) => return Err(format!("broken there: {reason}")),
            None => return Err("it does not have the shard, or not yet".to_owned()),
        };
        let store = store.ok_or_else(|| "its store is not open".to_owned())?;
        Ok(Readable { store, copy })
    }
}

/// A store that may answer.
struct Readable {
    store: Arc<dyn Store>,
    /// For [`Part::copies`].
    copy: Option<(Partition, Option<u64>)>,
}

/// The value of a key, in whichever store it is.
fn value(
    reader: &dyn TableReader,
    key: &str,
    stores: Vec<Readable>,
    mut part: Part,
) -> Result<Part, QueryError> {
    let bytes = reader.key(key).map_err(bad)?;
    for Readable { store, copy } in stores {
        if let Some(value) = reader.get(&*store, &bytes)? {
            // The others have no say in it.
            part.copies = copy.into_iter().collect();
            let key = key.into();
            part.entries.push(Entry { key, value });
            break;
        }
        part.copies.extend(copy);
    }
    Ok(part)
}

/// A page of entries of all stores, sorted.
fn page(
    reader: &dyn TableReader,
    range: &Range,
    stores: Vec<Readable>,
    mut part: Part,
) -> Result<Part, QueryError> {
    let (limit, bounds) = (limit(range), bounds(reader, range)?);
    let mut entries: Vec<TableEntry> = Vec::new();
    for Readable { store, copy } in stores {
        part.copies.extend(copy);
        if !bounds.is_empty() {
            let (from, to) = (bounds.from.clone(), bounds.to.clone());
            entries.extend(reader.page(&*store, from, to, limit)?);
            // At once: those of all stores may be more than there is room for.
            entries.sort_by(|a, b| a.bytes.cmp(&b.bytes));
            entries.truncate(limit);
        }
    }
    part.entries = entries.into_iter().map(entry).collect();
    Ok(part)
}

fn limit(range: &Range) -> usize {
    range.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE)
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

    /// Of the shards that `held` knows, all of which are asked for.
    fn ask(tables: &Tables, wanted: Wanted, held: impl Fn(&ShardId) -> Option<Held>) -> Part {
        let question = Question {
            table: "sizes".into(),
            partitions: (0..PARTITIONS).map(Partition).collect(),
            wanted,
        };
        tables.part(&question, held).unwrap()
    }

    fn keys(part: &Part) -> Vec<String> {
        let keys = part.entries.iter().map(|entry| key_text(&entry.key));
        keys.collect()
    }

    #[test]
    fn a_key_is_found_in_its_shard_and_in_any_other() {
        for home in [own_partition as fn(&str) -> i32, |_| 2] {
            let tables = tables(&["a", "bb", "ccc"], home);
            let value = |key: &str| {
                let part = ask(&tables, Wanted::Key(key.into()), |_| Some(Held::Whole));
                part.entries.first().map(|entry| entry.value.clone())
            };
            assert_eq!(value("bb"), Some(2.into()));
            assert_eq!(value("dddd"), None);
        }
        let home = tables(&[], own_partition).home("sizes", "bb").unwrap();
        assert_eq!(home.partition.0, own_partition("bb"));
    }

    #[test]
    fn nodes_that_have_some_of_the_shards_each_make_up_the_table_page_by_page() {
        let words = ["a", "aa", "ab", "b", "ba", "c", "ca", "d"];
        let tables = tables(&words, own_partition);
        let mut range = Range {
            limit: Some(3),
            ..Range::default()
        };
        let mut found = Vec::new();
        loop {
            let of_node = |node: i32| {
                let has = move |shard: &ShardId| (shard.partition.0 == 0) == (node == 0);
                let held = move |shard: &ShardId| has(shard).then_some(Held::Whole);
                ask(&tables, Wanted::Range(range.clone()), held)
            };
            let parts = vec![of_node(0), of_node(1)];
            let page = tables.merge("sizes", parts, 3).unwrap();
            found.extend(page.entries.iter().map(|entry| key_text(&entry.key)));
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
                ..Range::default()
            };
            let part = ask(&tables, Wanted::Range(range.clone()), |_| Some(Held::Whole));
            assert_eq!(keys(&part), expected, "{range:?}");
        };
        check(["a", "", "", ""], &["a", "aa", "ab", "ac"]);
        check(["a", "ab", "", ""], &["ab", "ac"]);
        check(["a", "ab", "ac", ""], &["ab"]);
        check(["a", "", "z", "ab"], &["ac"]);
        check(["", "ab", "c", "a"], &["ab", "ac", "b"]);
        check(["", "c", "a", ""], &[]);
    }

    #[test]
    fn a_copy_says_that_it_is_one_and_what_is_not_here_is_named() {
        let tables = tables(&["a"], |_| 0);
        let error = tables.shards("size").unwrap_err().to_string();
        assert_eq!(error, "there is no table size; there is sizes");
        let held = |shard: &ShardId| match shard.partition.0 {
            0 => Some(Held::Copy(Some(7))),
            1 => Some(Held::Filling),
            2 => Some(Held::Broken("the disk".to_owned(), None)),
            _ => None,
        };
        for wanted in [Wanted::Key("a".into()), Wanted::Range(Range::default())] {
            let part = ask(&tables, wanted, held);
            assert_eq!(keys(&part), ["a"]);
            assert_eq!(part.copies, [(Partition(0), Some(7))].into());
            let missing: Vec<i32> = part.missing.keys().map(|it| it.0).collect();
            assert_eq!(missing, [1, 2]);
            assert_eq!(part.missing[&Partition(2)], "broken there: the disk");
            assert_eq!(part.broken, [Partition(2)].into());
        }
    }
}
