//! Tables against a model: a map of finished writes, and what unfinished records have written on top of it.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use proptest::prelude::*;
use tanist_cluster::{Offset, Partition, ShardId};

use super::*;
use crate::codec::{Bincode, Codec, Format, Json};
use crate::port::{MemoryStore, Store, TopicId};
use crate::stage::{Stage, Target};

const CHANGELOG: Target = Target {
    topic: TopicId(0),
    partition: Partition(0),
};

/// A table of a shard that has nothing else, and the way of its commits into the store.
struct World {
    scope: Rc<Scope>,
    store: Arc<dyn Store>,
    shard: Rc<TableShard<String, u64>>,
    table: Table<String, u64>,
    replay: Replay,
    sealed: Option<Stage>,
    offset: i64,
}

impl World {
    fn new(cache_bytes: usize) -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let scope: Rc<Scope> = Rc::default();
        let home = TableHome {
            store: store.clone(),
            scope: scope.clone(),
            budget: CacheBudget::new(cache_bytes),
            dirty_bytes: Rc::default(),
        };
        let shard = Rc::new(TableShard::new(TableDef::new("counts"), home));
        let changelog = Changelog {
            topic: "changelog".into(),
            prefix: table_prefix("counts"),
            shape: None,
        };
        Self {
            scope,
            store,
            table: Table::new(shard.clone()),
            shard,
            replay: Replay::new(
                [changelog].into(),
                StoreState::new("app", &ShardId::new("g", 0)),
            ),
            sealed: None,
            offset: 0,
        }
    }

    /// Has `work` done by a record; keeps it, or undoes it.
    fn record(&self, keep: bool, work: impl FnOnce(&Table<String, u64>)) {
        let ticket = self.scope.begin();
        self.scope.enter(ticket);
        work(&self.table);
        self.scope.end(ticket);
        if keep {
            self.shard.keep(ticket);
        } else {
            self.shard.undo(ticket);
        }
    }

    fn seal(&mut self) {
        let mut stage = Stage::default();
        self.shard.seal(&mut stage, CHANGELOG).unwrap();
        self.sealed = Some(stage);
    }

    /// The commit in flight succeeds: it goes into the store by the same replay as everything else (S4).
    fn commit(&mut self) {
        let Some(stage) = self.sealed.take() else {
            return;
        };
        for record in &stage.records {
            let key = record.key.unwrap().of(&stage.bytes);
            let value = record.value.map(|value| value.of(&stage.bytes));
            self.replay.record(0, key, value).unwrap();
            self.offset += 1;
        }
        self.replay.reached(0, Offset(self.offset));
        self.store.apply(&self.replay.take()).unwrap();
        self.shard.committed();
    }

    fn entries(&self) -> BTreeMap<String, u64> {
        self.table.iter().unwrap().map(Result::unwrap).collect()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, u64),
    Add(u8, u64),
    Delete(u8),
    Fail(u8, u64),
    Seal,
    Commit,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..20_u8, 0..100_u64).prop_map(|(key, value)| Step::Put(key, value)),
        4 => (0..20_u8, 0..100_u64).prop_map(|(key, value)| Step::Add(key, value)),
        2 => (0..20_u8).prop_map(Step::Delete),
        2 => (0..20_u8, 0..100_u64).prop_map(|(key, value)| Step::Fail(key, value)),
        1 => Just(Step::Seal),
        1 => Just(Step::Commit),
    ]
}

fn key(number: u8) -> String {
    format!("k{number:02}")
}

proptest! {
    /// Whatever is committed when, and however little fits into the cache: a table is the map of what was finished, read
    /// one by one or in order, and its store is that map as of the last commit (S3).
    #[test]
    fn a_table_is_the_map_of_its_finished_writes(
        steps in proptest::collection::vec(step(), 1..200),
        cache_bytes in prop_oneof![Just(0_usize), Just(1000), Just(1 << 20)],
    ) {
        let mut world = World::new(cache_bytes);
        let mut model: BTreeMap<String, u64> = BTreeMap::new();
        let mut sealed = None;
        let mut stored = BTreeMap::new();
        for step in steps {
            match step {
                Step::Put(k, v) => {
                    world.record(true, |table| table.put(&key(k), v).unwrap());
                    model.insert(key(k), v);
                }
                Step::Add(k, v) => {
                    world.record(true, |table| table.update(&key(k), |value| *value += v).unwrap());
                    *model.entry(key(k)).or_default() += v;
                }
                Step::Delete(k) => {
                    world.record(true, |table| table.delete(&key(k)).unwrap());
                    model.remove(&key(k));
                }
                Step::Fail(k, v) => world.record(false, |table| {
                    table.put(&key(k), v).unwrap();
                    table.delete(&key(k.wrapping_add(1) % 20)).unwrap();
                    table.update(&key(k), |value| *value += 1).unwrap();
                }),
                Step::Seal if sealed.is_none() => {
                    world.seal();
                    sealed = Some(model.clone());
                }
                Step::Commit => if let Some(sealed) = sealed.take() {
                    world.commit();
                    stored = sealed;
                },
                Step::Seal => {}
            }
            prop_assert_eq!(&world.entries(), &model);
        }
        for number in 0..20 {
            let mut value = None;
            world.record(true, |table| value = table.get(key(number).as_str()).unwrap());
            prop_assert_eq!(value, model.get(&key(number)).copied());
        }
        let reader: &dyn TableReader = &TableDef::<String, u64>::new("counts");
        let page = reader.scan(&*world.store, std::ops::Bound::Unbounded, std::ops::Bound::Unbounded, 1000).unwrap();
        let page: BTreeMap<String, u64> =
            page.into_iter().map(|(k, v)| (k.as_str().unwrap().to_owned(), v.as_u64().unwrap())).collect();
        prop_assert_eq!(page, stored);
    }
}

#[test]
fn ranges_and_prefixes_see_what_is_not_stored_yet_in_both_directions() {
    let mut world = World::new(1 << 20);
    world.record(true, |table| {
        (0..10).for_each(|k| table.put(&key(k), u64::from(k)).unwrap())
    });
    world.seal();
    world.commit();
    world.record(true, |table| {
        table.delete(&key(3)).unwrap();
        table.put(&key(4), 40).unwrap();
        table.put("k045", 45).unwrap();
    });
    let numbers = |scan: Scan<String, u64>| scan.map(|entry| entry.unwrap().1).collect::<Vec<_>>();
    assert_eq!(
        numbers(world.table.range(key(2)..=key(5)).unwrap()),
        [2, 40, 45, 5]
    );
    assert_eq!(
        numbers(world.table.range_descending(key(2)..key(5)).unwrap()),
        [45, 40, 2]
    );
    assert_eq!(numbers(world.table.prefix("k04").unwrap()), [40, 45]);
    assert_eq!(world.table.count().unwrap(), 10);
}

#[test]
fn a_key_belongs_to_the_record_that_touched_it_until_that_is_finished() {
    let world = World::new(1 << 20);
    let first = world.scope.begin();
    world.scope.enter(first);
    world.table.get("a").unwrap();
    world.scope.leave();
    let second = world.scope.begin();
    world.scope.enter(second);
    assert_eq!(
        world.table.put("a", 1),
        Err(TableError::Busy("counts".into()))
    );
    world.table.put("b", 1).unwrap();
    assert!(
        world.scope.end(second),
        "the conflict is known, whatever the handler made of it"
    );
    world.shard.undo(second);
    assert!(!world.scope.end(first));
    world.shard.keep(first);
    world.record(true, |table| table.put("a", 2).unwrap());
    assert_eq!(world.entries(), [("a".to_owned(), 2)].into());
}

#[test]
fn a_commit_takes_nothing_of_an_unfinished_record_but_what_it_overwrote() {
    let mut world = World::new(1 << 20);
    world.record(true, |table| table.put("a", 1).unwrap());
    let waiting = world.scope.begin();
    world.scope.enter(waiting);
    world.table.put("a", 2).unwrap();
    world.table.put("b", 2).unwrap();
    world.scope.leave();
    world.seal();
    world.commit();
    let reader: &dyn TableReader = &TableDef::<String, u64>::new("counts");
    assert_eq!(reader.get(&*world.store, b"a").unwrap(), Some(1.into()));
    assert_eq!(reader.get(&*world.store, b"b").unwrap(), None);
    world.scope.end(waiting);
    world.shard.undo(waiting);
    assert_eq!(world.entries(), [("a".to_owned(), 1)].into());
    assert!(!world.shard.has_dirty(), "what was undone is not written");
}

/// Has to ask its bytes only where there is `more`.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Seldom {
    name: String,
    more: Option<serde_json::Value>,
}

#[test]
fn what_an_older_build_wrote_of_a_type_that_did_not_ask_its_bytes_is_read() {
    let old = Seldom {
        name: "a".into(),
        more: None,
    };
    let def = TableDef::<String, Seldom>::new("accounts");
    let mut bytes = vec![Format::Bincode as u8, 1];
    Bincode.encode(&old, &mut bytes).unwrap();
    let read = |def: &TableDef<String, Seldom>, bytes: &[u8]| {
        super::handle::decode_stored(def, 1, b"a", bytes)
    };
    assert_eq!(read(&def, &bytes), Ok(old.clone()));
    let chosen = def.value_codec(Json);
    assert!(matches!(
        read(&chosen, &bytes),
        Err(TableError::Version { .. })
    ));
    bytes[1] = 2;
    let def = TableDef::<String, Seldom>::new("accounts");
    assert!(matches!(
        read(&def, &bytes),
        Err(TableError::Version { .. })
    ));
}

#[test]
fn a_value_of_another_version_is_an_error_that_names_its_key_and_both() {
    let world = World::new(1 << 20);
    let mut changes = crate::port::Changes::default();
    changes.put(&table_prefix("counts"), b"old", &[1, 9, 5]);
    world.store.apply(&changes).unwrap();
    let ticket = world.scope.begin();
    world.scope.enter(ticket);
    let error = world.table.get("old").unwrap_err().to_string();
    assert!(
        error.starts_with("table counts: the stored value of key \"old\" has format 1 version 9, ")
            && error.contains("the app declares format 1 version 1:"),
        "{error}"
    );
}

#[test]
fn a_write_outside_of_a_handler_is_refused() {
    let world = World::new(1 << 20);
    assert_eq!(
        world.table.put("a", 1),
        Err(TableError::NotHandling("counts".into()))
    );
}

#[test]
fn keys_that_look_reserved_survive_the_changelog() {
    let mut replay = Replay::new(
        [Changelog {
            topic: "changelog".into(),
            prefix: vec![1, b't'],
            shape: None,
        }]
        .into(),
        StoreState::new("app", &ShardId::new("g", 0)),
    );
    let mut escaped = Vec::new();
    escape(INPUTS_KEY, &mut escaped);
    replay.record(0, &escaped, Some(&[1, 1, 7])).unwrap();
    let store = MemoryStore::default();
    store.apply(&replay.take()).unwrap();
    let key = [&[1, b't'][..], INPUTS_KEY].concat();
    assert_eq!(store.get(&key).unwrap(), Some(vec![1, 1, 7]));
    let foreign = replay
        .record(0, b"\xffanother", Some(&[1, 1, 7]))
        .unwrap_err();
    assert!(foreign.to_string().contains("reserved key"), "{foreign}");
    let foreign = replay.record(0, b"k", Some(b"{}")).unwrap_err();
    assert!(foreign.to_string().contains("another program"), "{foreign}");
}

#[test]
fn a_changelog_of_an_older_build_gets_the_shape_of_its_table_and_keeps_it() {
    let shape = |values: &str| {
        Some(Arc::new(TableShape {
            keys: "utf8".into(),
            values: values.into(),
        }))
    };
    let (narrow, wide) = (shape("bincode u32"), shape("bincode u64"));
    let changelog = Changelog {
        topic: "changelog".into(),
        prefix: table_prefix("counts"),
        shape: narrow.clone(),
    };
    let state = StoreState::new("app", &ShardId::new("g", 0));
    let mut replay = Replay::new([changelog.clone()].into(), state);
    let mut commit = |table: &Option<Arc<TableShape>>| {
        let table = table.clone();
        let inputs = serde_json::to_vec(&Inputs {
            table,
            ..Inputs::default()
        });
        replay.record(0, INPUTS_KEY, Some(&inputs.unwrap()))
    };
    assert_eq!(commit(&None), Ok(()));
    assert_eq!(commit(&narrow), Ok(()));
    assert_eq!(commit(&None), Ok(()));
    let refused = commit(&wide).unwrap_err().to_string();
    assert!(
        refused.starts_with(
            "table counts holds what the app cannot read: its values were u64 then and u32 now."
        ),
        "{refused}"
    );
    assert_eq!(commit(&shape("bincode of a newer %kind")), Ok(()));
    assert_eq!(commit(&narrow), Ok(()));
    assert_eq!(replay.check_shapes(), Ok(()));
    let state = replay.state().clone();
    let later = Changelog {
        shape: wide,
        ..changelog
    };
    assert!(Replay::new([later].into(), state).check_shapes().is_err());
}

#[test]
fn where_a_shard_has_several_changelogs_its_last_commit_counts_in_whatever_order_they_are_read() {
    let changelog = |topic: &str| Changelog {
        topic: topic.into(),
        prefix: table_prefix(topic),
        shape: None,
    };
    for order in [[0, 1], [1, 0]] {
        let state = StoreState::new("app", &ShardId::new("g", 0));
        let mut replay = Replay::new([changelog("a"), changelog("b")].into(), state);
        for place in order {
            let inputs = Inputs {
                commit: [7, 9][place],
                ..Inputs::default()
            };
            let inputs = serde_json::to_vec(&inputs).unwrap();
            replay.record(place, INPUTS_KEY, Some(&inputs)).unwrap();
        }
        assert_eq!(replay.state().inputs.commit, 9, "{order:?}");
        let commits = Vec::from_iter(replay.state().commits.values().copied());
        assert_eq!(commits, [7, 9], "{order:?}");
    }
}
