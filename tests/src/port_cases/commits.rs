//! What a commit brings about.

use std::sync::Arc;

use tanist_actors::port::{
    CommittedOffset, MemoryStore, OffsetCommit, StateCommit, Store, TopicPartition,
};
use tanist_actors::record::Headers;
use tanist_actors::table::{Changelog, Replay, StoreState, table_prefix};
use tanist_cluster::{Millis, Offset, ShardId};

use super::Case;
use super::world::World;
use crate::source::{Row, texts};

pub(super) const CASES: &[Case] = &[
    Case::new(
        "a commit brings its records and its offsets with their metadata",
        |world| Box::pin(records_and_offsets(world)),
    ),
    Case::new(
        "a commit brings the stores to the position behind their changelog records",
        |world| Box::pin(stores(world)),
    ),
    Case::new("a record is read as it was committed", |world| {
        Box::pin(round_trip(world))
    }),
    Case::new(
        "the records of a partition keep their order within a commit and between commits",
        |world| Box::pin(order(world)),
    ),
    Case::new(
        "a commit without records or without offsets or without either succeeds",
        |world| Box::pin(parts(world)),
    ),
    Case::new(
        "a record without a timestamp gets the time of its commit",
        |world| Box::pin(timestamp(world)),
    ),
    Case::new(
        "a record of the first moment of 1970 is not one of today",
        |world| Box::pin(first_moment(world)),
    ),
    Case::new(
        "what is published is there when the answer comes, in order, without any commit",
        |world| Box::pin(publish(world)),
    ),
];

async fn records_and_offsets(world: &World<'_>) {
    let [output, other] = world.topic().await;
    let [input, unread] = world.topic().await;
    let log = world.log(&world.id(0)).await;
    let commit = world
        .commit()
        .text(&output, "a")
        .text(&other, "b")
        .offset(&input, 7, "done 9 11");
    let back = log.commit(commit.seal()).await.expect("it is committed");
    assert_eq!(back.records.len(), 2, "the commit comes back as it was");
    assert_eq!(texts(&world.all(&output).await), ["a"]);
    assert_eq!(texts(&world.all(&other).await), ["b"]);
    let committed = CommittedOffset {
        offset: Offset(7),
        metadata: "done 9 11".to_owned(),
    };
    assert_eq!(world.committed(&input).await, Some(committed));
    assert_eq!(world.committed(&unread).await, None);
}

const APP: &str = "app";

/// What a commit does to a new store whose table has `changelog`; the records at `records` are its changelog records.
fn state(
    store: &Arc<MemoryStore>,
    changelog: &TopicPartition,
    records: std::ops::Range<usize>,
) -> StateCommit {
    let store: Arc<dyn Store> = store.clone();
    let shard = ShardId::new("group", changelog.partition.0);
    let state = StoreState::load(&*store, APP, &shard, "memory").expect("the store is ours");
    let changelogs = [Changelog {
        topic: changelog.topic.clone(),
        prefix: table_prefix("table"),
        shape: None,
    }];
    StateCommit {
        replay: Replay::new(Arc::from(changelogs), state),
        store,
        changelogs: vec![(0, records)],
        failed: None,
    }
}

/// The position of a store in its changelog.
fn position(store: &MemoryStore, changelog: &TopicPartition) -> Option<Offset> {
    let shard = ShardId::new("group", changelog.partition.0);
    let state = StoreState::load(store, APP, &shard, "memory").expect("the store is ours");
    state.changelogs.get(&changelog.topic).copied()
}

/// A stored value: format and version come first.
const VALUE: &[u8] = &[5, 0, b'v'];

async fn stores(world: &World<'_>) {
    let [first, second] = world.topic_with(&[("cleanup.policy", "compact")]).await;
    let [output] = world.topic().await;
    let stores = [Arc::<MemoryStore>::default(), Arc::default()];
    let log = world.log(&world.id(0)).await;
    // The second time there are markers between the commits.
    for _ in 0..2 {
        let commit = world
            .commit()
            .record(&first, Some(b"a"), Some(VALUE))
            .record(&first, Some(b"b"), None)
            .text(&output, "an output between them")
            .record(&second, Some(b"c"), Some(VALUE))
            .state(state(&stores[0], &first, 0..2))
            .state(state(&stores[1], &second, 3..4));
        let back = log.commit(commit.seal()).await.expect("it is committed");
        assert!(back.states.iter().all(|state| state.failed.is_none()));
    }
    for (store, changelog) in stores.iter().zip([&first, &second]) {
        let last = world.all(changelog).await.pop().expect("it has records");
        assert_eq!(position(store, changelog), Some(last.offset.next()));
    }
    let key = [&table_prefix("table")[..], b"a"].concat();
    let value = stores[0].get(&key).expect("memory can be read");
    assert_eq!(value.as_deref(), Some(VALUE));
}

async fn round_trip(world: &World<'_>) {
    let [to] = world.topic().await;
    let log = world.log(&world.id(0)).await;
    let headers = Headers::new()
        .with("first", "1")
        .with("binary", [0, 255, 128]);
    let mut null = Headers::new();
    null.push("null", None);
    null.push("empty", Some(Vec::new()));
    let row =
        |offset, key: Option<&[u8]>, value: Option<&[u8]>, timestamp, headers: &Headers| Row {
            offset: Offset(offset),
            key: key.map(<[u8]>::to_vec),
            value: value.map(<[u8]>::to_vec),
            timestamp: Millis(timestamp),
            headers: headers.clone(),
        };
    let none = Headers::new();
    let sent = [
        row(0, Some(b"key"), Some(b"value"), 1_700_000_000_000, &headers),
        row(1, None, Some(b"without a key"), 1_600_000_000_001, &null),
        row(2, Some(b"without a value"), None, 1, &none),
        row(3, Some(b""), Some(b""), 1_700_000_000_002, &none),
        row(
            4,
            Some(&[0, 255]),
            Some(&[255, 0, 254]),
            1_700_000_000_003,
            &none,
        ),
    ];
    let commit = sent.iter().fold(world.commit(), |commit, row| {
        commit
            .record(&to, row.key.as_deref(), row.value.as_deref())
            .with(row.timestamp, row.headers.clone())
    });
    log.commit(commit.seal()).await.expect("it is committed");
    assert_eq!(world.all(&to).await, sent);
}

async fn order(world: &World<'_>) {
    const COMMITS: usize = 3;
    const RECORDS: usize = 2_500;
    let partitions: [TopicPartition; 3] = world.topic().await;
    let log = world.log(&world.id(0)).await;
    for round in 0..COMMITS {
        let commit = (0..RECORDS).fold(world.commit(), |commit, number| {
            let to = &partitions[number % partitions.len()];
            commit.text(to, &(round * RECORDS + number).to_string())
        });
        log.commit(commit.seal()).await.expect("it is committed");
    }
    for (own, partition) in partitions.iter().enumerate() {
        let rows = world.all(partition).await;
        let wanted = (0..COMMITS * RECORDS)
            .filter(|number| number % RECORDS % partitions.len() == own)
            .map(|number| number.to_string());
        assert!(texts(&rows).into_iter().eq(wanted), "{partition}");
        assert!(rows.is_sorted_by(|one, next| one.offset < next.offset));
    }
}

async fn parts(world: &World<'_>) {
    let [to] = world.topic().await;
    let [input] = world.topic().await;
    let log = world.log(&world.id(0)).await;
    for commit in [
        world.commit(),
        world.commit().offset(&input, 1, ""),
        world.commit(),
        world.commit().text(&to, "a"),
        world.commit(),
        world.commit().offset(&input, 2, "").offset(&to, 0, "x"),
    ] {
        log.commit(commit.seal()).await.expect("it is committed");
    }
    assert_eq!(texts(&world.all(&to).await), ["a"]);
    let partitions = [input, to];
    let committed = world
        .broker()
        .committed(&world.group(), &partitions)
        .await
        .expect("a group's offsets can be read");
    let [input, to] = &partitions;
    let expected = [(input, 2, ""), (to, 0, "x")].map(|(partition, offset, metadata)| {
        let committed = CommittedOffset {
            offset: Offset(offset),
            metadata: metadata.to_owned(),
        };
        (partition.clone(), committed)
    });
    assert_eq!(committed, expected.into());
}

async fn timestamp(world: &World<'_>) {
    let [to] = world.topic().await;
    let log = world.log(&world.id(0)).await;
    let before = world.commit().text(&to, "a");
    log.commit(before.seal()).await.expect("it is committed");
    let after = world.append(&to, "b").await;
    let rows = world.read(&to, 0).until(after.next()).await;
    let [own, appended] = &rows[..] else {
        panic!("two records, not {rows:?}");
    };
    // Both are told by one clock, and one was asked for after the other's answer.
    let apart = appended.timestamp.0 - own.timestamp.0;
    assert!((0..20_000).contains(&apart), "{apart} ms apart");
}

async fn first_moment(world: &World<'_>) {
    let [to] = world.topic().await;
    let log = world.log(&world.id(0)).await;
    let commit = world.commit().text(&to, "a");
    let commit = commit.with(Millis(0), Headers::new());
    log.commit(commit.seal()).await.expect("it is committed");
    let rows = world.all(&to).await;
    // librdkafka cannot say 0.
    assert!((0..=1).contains(&rows[0].timestamp.0), "{rows:?}");
}

async fn publish(world: &World<'_>) {
    let [one, other] = world.topic().await;
    let log = world.log(&world.id(0)).await;
    for text in ["a", "b"] {
        let outputs = world.commit().text(&one, text).text(&other, text);
        let back = log.publish(outputs.seal()).await.expect("it is sent");
        assert_eq!(back.records.len(), 2, "the outputs come back as they were");
        assert_eq!(back.offsets, [] as [OffsetCommit; 0]);
    }
    for partition in [&one, &other] {
        assert_eq!(world.bounds(partition).await, Offset(0)..Offset(2));
        assert_eq!(texts(&world.all(partition).await), ["a", "b"]);
    }
}
