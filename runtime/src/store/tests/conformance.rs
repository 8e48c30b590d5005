//! What the port [`Store`] asks, asked of every implementation.

use std::collections::BTreeMap;
use std::ops::Bound::{self, Excluded, Included, Unbounded};

use proptest::prelude::*;
use tanist_actors::port::{
    Changes, KeyRange, MemoryStore, MemoryStores, Order, Page, Store, StoreError, Stores,
};
use tanist_cluster::ShardId;

use crate::store::{RocksStores, StoreOptions};

/// Runs `case` on an empty store of each kind.
fn on_each_store(mut case: impl FnMut(&str, &dyn Store)) {
    let shard = ShardId::new("orders", 0);
    case("memory", &MemoryStore::default());
    case(
        "memory of a node",
        &*MemoryStores::default().open(&shard).unwrap(),
    );
    let dir = tempfile::tempdir().unwrap();
    let stores = RocksStores::open(dir.path(), "orders", &StoreOptions::default()).unwrap();
    case("rocksdb", &*stores.open(&shard).unwrap());
}

#[test]
fn a_store_that_was_cleared_holds_nothing_and_takes_everything() {
    on_each_store(|kind, store| {
        let everything = || {
            let page = store.page(&KeyRange::prefix(&[]), Order::Ascending, 10);
            keys(page.unwrap())
        };
        let long = [&[200][..], &[b'z'; 200], &[0xff; 9]].concat();
        let writes: &[Write<'_>] = &[
            (b"\0", Some(b"0")),
            (b"\x01t", Some(b"1")),
            (&long, Some(b"2")),
        ];
        store.apply(&changes(writes)).unwrap();
        store.flush().unwrap();
        store.apply(&changes(&writes[1..])).unwrap();
        assert_eq!(everything().len(), 3, "{kind}");
        store.clear().unwrap();
        assert_eq!(everything(), Vec::<Vec<u8>>::new(), "{kind}");
        store.apply(&changes(&writes[..2])).unwrap();
        assert_eq!(everything(), [b"\0".to_vec(), b"\x01t".to_vec()], "{kind}");
    });
}

type Write<'a> = (&'a [u8], Option<&'a [u8]>);

fn changes(writes: &[Write<'_>]) -> Changes {
    let mut changes = Changes::default();
    for (key, value) in writes {
        // A key is given in two parts, which are joined.
        let (prefix, key) = key.split_at(key.len() / 2);
        match value {
            Some(value) => changes.put(prefix, key, value),
            None => changes.delete(prefix, key),
        }
    }
    changes
}

fn keys(page: Page) -> Vec<Vec<u8>> {
    page.into_iter().map(|(key, _)| key).collect()
}

#[test]
fn the_last_write_to_a_key_is_read() {
    let one: &[u8] = b"1";
    type Entries<'a> = &'a [(&'a [u8], &'a [u8])];
    let cases: &[(&[&[Write<'_>]], Entries<'_>)] = &[
        (&[], &[]),
        (&[&[]], &[]),
        (&[&[(b"a", Some(one))]], &[(b"a", one)]),
        (&[&[(b"a", Some(one)), (b"a", Some(b"2"))]], &[(b"a", b"2")]),
        (&[&[(b"a", Some(one)), (b"a", None)]], &[]),
        (&[&[(b"a", None), (b"a", Some(one))]], &[(b"a", one)]),
        (&[&[(b"a", Some(one))], &[(b"a", None)]], &[]),
        (
            &[&[(b"a", Some(one))], &[(b"a", Some(b""))]],
            &[(b"a", b"")],
        ),
        (&[&[(b"a", None)], &[(b"a", Some(one))]], &[(b"a", one)]),
        (
            &[&[
                (b"b", Some(b"2")),
                (b"", Some(b"0")),
                (b"\xff\xff", Some(b"3")),
                (b"\0", Some(one)),
            ]],
            &[(b"", b"0"), (b"\0", one), (b"b", b"2"), (b"\xff\xff", b"3")],
        ),
    ];
    for (number, (batches, expected)) in cases.iter().enumerate() {
        on_each_store(|kind, store| {
            for batch in *batches {
                store.apply(&changes(batch)).unwrap();
            }
            let all = KeyRange {
                from: Unbounded,
                to: Unbounded,
            };
            let found = store.page(&all, Order::Ascending, usize::MAX).unwrap();
            let entries = expected.iter();
            let expected: Page = entries.map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
            assert_eq!(found, expected, "case {number}, {kind}");
            for (key, value) in expected {
                assert_eq!(
                    store.get(&key).unwrap(),
                    Some(value),
                    "case {number}, {kind}"
                );
            }
            assert_eq!(store.get(b"none").unwrap(), None);
        });
    }
}

#[test]
fn a_page_holds_the_first_of_its_range_in_its_order() {
    use Order::{Ascending, Descending};
    type Ends<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);
    let cases: &[(Ends<'_>, Order, usize, &[&[u8]])] = &[
        (
            (Unbounded, Unbounded),
            Ascending,
            9,
            &[b"", b"a", b"aa", b"b", b"\xff"],
        ),
        (
            (Unbounded, Unbounded),
            Descending,
            9,
            &[b"\xff", b"b", b"aa", b"a", b""],
        ),
        ((Unbounded, Unbounded), Ascending, 2, &[b"", b"a"]),
        ((Unbounded, Unbounded), Descending, 2, &[b"\xff", b"b"]),
        ((Unbounded, Unbounded), Ascending, 0, &[]),
        (
            (Included(b"a"), Included(b"b")),
            Ascending,
            9,
            &[b"a", b"aa", b"b"],
        ),
        (
            (Included(b"a"), Included(b"b")),
            Descending,
            9,
            &[b"b", b"aa", b"a"],
        ),
        ((Excluded(b"a"), Excluded(b"b")), Ascending, 9, &[b"aa"]),
        ((Excluded(b"a"), Excluded(b"b")), Descending, 9, &[b"aa"]),
        ((Excluded(b""), Unbounded), Ascending, 1, &[b"a"]),
        ((Unbounded, Excluded(b"")), Descending, 9, &[]),
        ((Unbounded, Included(b"")), Descending, 9, &[b""]),
        ((Included(b"ab"), Unbounded), Ascending, 9, &[b"b", b"\xff"]),
        (
            (Included(b"\xff"), Included(b"\xff")),
            Ascending,
            9,
            &[b"\xff"],
        ),
        ((Excluded(b"\xff"), Unbounded), Descending, 9, &[]),
        ((Included(b"b"), Included(b"a")), Ascending, 9, &[]),
        ((Excluded(b"a"), Excluded(b"a")), Descending, 9, &[]),
    ];
    on_each_store(|kind, store| {
        let writes: &[Write<'_>] = &[
            (b"a", Some(b"1")),
            (b"b", Some(b"1")),
            (b"", Some(b"1")),
            (b"gone", Some(b"1")),
            (b"aa", Some(b"1")),
            (b"\xff", Some(b"1")),
        ];
        store.apply(&changes(writes)).unwrap();
        store.flush().unwrap();
        store.apply(&changes(&[(b"gone", None)])).unwrap();
        for (ends, order, limit, expected) in cases {
            let range = KeyRange {
                from: ends.0.map(<[u8]>::to_vec),
                to: ends.1.map(<[u8]>::to_vec),
            };
            let found = keys(store.page(&range, *order, *limit).unwrap());
            assert_eq!(found, *expected, "{kind}: {range:?} {order:?} {limit}");
        }
    });
}

#[derive(Clone, Debug)]
enum Action {
    Apply(Vec<(Vec<u8>, Option<Vec<u8>>)>),
    Fill(Vec<(Vec<u8>, Option<Vec<u8>>)>),
    Flush,
    Page(KeyRange, Order, usize),
}

/// Few bytes and short, so that keys meet; the ends of the alphabet are where bounds go wrong.
fn any_key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(
        prop::sample::select(vec![0, 1, b'a', b'b', 0xfe, 0xff]),
        0..4,
    )
}

fn any_bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
    prop_oneof![
        any_key().prop_map(Included),
        any_key().prop_map(Excluded),
        Just(Unbounded)
    ]
}

fn any_action() -> impl Strategy<Value = Action> {
    let value = prop::option::weighted(0.7, prop::collection::vec(any::<u8>(), 0..8));
    let writes = || prop::collection::vec((any_key(), value.clone()), 0..60);
    let order = prop::sample::select(vec![Order::Ascending, Order::Descending]);
    let page = (any_bound(), any_bound(), order, 0_usize..20);
    prop_oneof![
        4 => writes().prop_map(Action::Apply),
        2 => writes().prop_map(Action::Fill),
        1 => Just(Action::Flush),
        6 => page.prop_map(|(from, to, order, limit)| Action::Page(KeyRange { from, to }, order, limit)),
    ]
}

/// The same as `action`, on a map.
fn on_map(map: &mut BTreeMap<Vec<u8>, Vec<u8>>, action: &Action) -> Page {
    match action {
        Action::Apply(writes) | Action::Fill(writes) => {
            for (key, value) in writes {
                match value {
                    Some(value) => map.insert(key.clone(), value.clone()),
                    None => map.remove(key),
                };
            }
            Page::new()
        }
        Action::Flush => Page::new(),
        Action::Page(range, order, limit) => {
            let within = map.iter().filter(|(key, _)| range.contains(key));
            let mut page: Page = within.map(|(k, v)| (k.clone(), v.clone())).collect();
            if *order == Order::Descending {
                page.reverse();
            }
            page.truncate(*limit);
            page
        }
    }
}

fn on_store(store: &dyn Store, action: &Action) -> Result<Page, StoreError> {
    let changes = |writes: &[(Vec<u8>, Option<Vec<u8>>)]| {
        let writes: Vec<Write<'_>> = writes.iter().map(|(k, v)| (&**k, v.as_deref())).collect();
        changes(&writes)
    };
    match action {
        Action::Apply(writes) => store.apply(&changes(writes))?,
        Action::Fill(writes) => store.fill(&changes(writes))?,
        Action::Flush => store.flush()?,
        Action::Page(range, order, limit) => return store.page(range, *order, *limit),
    }
    Ok(Page::new())
}

proptest! {
    // Each case opens databases.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_store_is_a_sorted_map(actions in prop::collection::vec(any_action(), 1..30)) {
        on_each_store(|kind, store| {
            let mut map = BTreeMap::new();
            for (number, action) in actions.iter().enumerate() {
                let expected = on_map(&mut map, action);
                let found = on_store(store, action).unwrap();
                assert_eq!(found, expected, "{kind}, action {number}");
            }
            for (key, value) in &map {
                assert_eq!(store.get(key).unwrap().as_ref(), Some(value), "{kind}");
            }
        });
    }
}
