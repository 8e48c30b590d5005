//! How a partition is read.

use std::sync::Arc;

use tanist_actors::port::{LogError, Source, TopicPartition};
use tanist_cluster::{Offset, Partition};
use tokio::sync::Notify;

use super::Case;
use super::world::World;
use crate::source::{Reader, Row, rows_of, texts};

pub(super) const CASES: &[Case] = &[
    Case::new(
        "a source hands out each record once and in order and never more than asked for",
        |world| Box::pin(bounded(world)),
    ),
    Case::new(
        "a source says its end where the last offsets are markers",
        |world| Box::pin(markers(world)),
    ),
    Case::new("a source passes over what was aborted", |world| {
        Box::pin(aborted(world))
    }),
    Case::new("an empty partition has an end", |world| {
        Box::pin(empty(world))
    }),
    Case::new("a reader at the end is woken by what comes", |world| {
        Box::pin(woken(world))
    }),
    Case::new("a source begins at the offset that it is given", |world| {
        Box::pin(begins(world))
    }),
    Case::new(
        "after a seek nothing comes from elsewhere and the end is said again",
        |world| Box::pin(seek(world)),
    ),
    Case::new("an offset that was deleted is out of range", |world| {
        Box::pin(deleted(world))
    }),
    Case::new("an offset behind the end is out of range", |world| {
        Box::pin(beyond(world))
    }),
    Case::new(
        "a topic or partition that does not exist is unknown",
        |world| Box::pin(unknown(world)),
    ),
];

/// Commits `count` records, numbered.
async fn fill(world: &World<'_>, partition: &TopicPartition, count: usize) -> Vec<String> {
    let log = world.log(&world.id(0)).await;
    let texts: Vec<String> = (0..count).map(|number| number.to_string()).collect();
    let commit = texts
        .iter()
        .fold(world.commit(), |commit, text| commit.text(partition, text));
    log.commit(commit.seal()).await.expect("it is committed");
    // Only when this is visible the rest is.
    let end = world.append(partition, "the end").await;
    world.read(partition, end.0).until(end.next()).await;
    texts
}

async fn read_by<S: Source + ?Sized>(
    most: usize,
    reader: &mut Reader<S>,
    count: usize,
) -> Vec<Row> {
    let mut rows = Vec::new();
    while rows.len() < count {
        let pulled = reader.next(most).await.expect("the partition can be read");
        let some = rows_of(&pulled);
        assert!(
            some.len() <= most,
            "{} where {most} were asked for",
            some.len()
        );
        rows.extend(some);
    }
    rows
}

async fn bounded(world: &World<'_>) {
    let [from] = world.topic().await;
    let mut wanted = fill(world, &from, 1_000).await;
    wanted.push("the end".to_owned());
    let log = world.log(&world.id(1)).await;
    let ready = Arc::new(Notify::new());
    let source = log.open(&from, Offset(0), ready.clone());
    let mut worker = Reader::new(source.expect("it can be opened"), ready);
    let mut node = world.read(&from, 0);
    for most in [1, 7, 300] {
        let by_worker = read_by(most, &mut worker, wanted.len()).await;
        let by_node = read_by(most, &mut node, wanted.len()).await;
        assert_eq!(texts(&by_worker), wanted);
        assert_eq!(texts(&by_node), wanted);
        worker.seek(0);
        node.seek(0);
    }
}

async fn markers(world: &World<'_>) {
    let [from] = world.topic().await;
    let log = world.log(&world.id(0)).await;
    for text in ["a", "b"] {
        let commit = world.commit().text(&from, text);
        log.commit(commit.seal()).await.expect("it is committed");
    }
    // Two records, and a marker behind each.
    let rows = world.read(&from, 0).until(Offset(4)).await;
    assert_eq!(texts(&rows), ["a", "b"]);
    assert_eq!(world.bounds(&from).await, Offset(0)..Offset(4));
    assert!(world.read(&from, 3).until(Offset(4)).await.is_empty());
    assert!(world.read(&from, 4).until(Offset(4)).await.is_empty());
}

async fn aborted(world: &World<'_>) {
    let [from] = world.topic().await;
    let [small] = world.topic_with(&[("max.message.bytes", "2000")]).await;
    for (worker, text) in (0..).zip(["a", "b", "c"]) {
        let log = world.log(&world.id(worker)).await;
        let commit = world.commit().text(&from, text);
        log.commit(commit.seal()).await.expect("it is committed");
        let commit = world
            .commit()
            .text(&from, "aborted")
            .text(&small, &"x".repeat(10_000));
        let error = log.commit(commit.seal()).await.err();
        assert!(error.is_some(), "a record is too large");
    }
    assert_eq!(texts(&world.all(&from).await), ["a", "b", "c"]);
    let end = world.bounds(&from).await.end;
    let rows = world.read(&from, 1).until(end).await;
    assert_eq!(texts(&rows), ["b", "c", "the end"]);
}

async fn empty(world: &World<'_>) {
    let [from] = world.topic().await;
    assert_eq!(world.bounds(&from).await, Offset(0)..Offset(0));
    let mut reader = world.read(&from, 0);
    for _ in 0..2 {
        let pulled = reader.next(10).await.expect("it can be read");
        assert!(pulled.batch.is_none());
        assert_eq!(pulled.reached, Some(Offset(0)));
        reader.seek(0);
    }
}

async fn woken(world: &World<'_>) {
    let [from] = world.topic().await;
    let log = world.log(&world.id(0)).await;
    let mut reader = world.read(&from, 0);
    reader.until(Offset(0)).await;
    for text in ["a", "b", "c"] {
        let commit = world.commit().text(&from, text);
        let (committed, rows) = tokio::join!(log.commit(commit.seal()), reader.take(1));
        committed.expect("it is committed");
        assert_eq!(texts(&rows), [text]);
        // The marker too is something that it is woken for.
        reader.until(rows[0].offset.next().next()).await;
        world.append(&from, "appended").await;
        assert_eq!(texts(&reader.take(1).await), ["appended"]);
    }
}

async fn begins(world: &World<'_>) {
    let [from] = world.topic().await;
    fill(world, &from, 20).await;
    for offset in [0, 1, 13, 19] {
        let rows = world.read(&from, offset).take(1).await;
        assert_eq!(rows[0].offset, Offset(offset));
        assert_eq!(rows[0].text(), offset.to_string());
    }
    // Behind the last record stands a marker.
    let rows = world.read(&from, 20).take(1).await;
    assert_eq!(texts(&rows), ["the end"]);
}

async fn seek(world: &World<'_>) {
    let [from] = world.topic().await;
    fill(world, &from, 600).await;
    let end = world.bounds(&from).await.end;
    let mut reader = world.read(&from, 0);
    for (to, count) in [
        (0, 3),
        (500, 1),
        (7, 250),
        (7, 1),
        (599, 1),
        (0, 590),
        (20, 0),
    ] {
        reader.seek(to);
        let rows = reader.take(count).await;
        let wanted: Vec<String> = (to..)
            .take(count)
            .map(|number| number.to_string())
            .collect();
        assert_eq!(texts(&rows), wanted, "after a seek to {to}");
    }
    for to in [598, 600, end.0] {
        reader.seek(to);
        let rows = reader.until(end).await;
        assert!(rows.iter().all(|row| row.offset >= Offset(to)), "{rows:?}");
    }
}

async fn deleted(world: &World<'_>) {
    let [from] = world.topic().await;
    fill(world, &from, 10).await;
    world.delete_records(&from, Offset(6)).await;
    assert_eq!(world.bounds(&from).await.start, Offset(6));
    let error = world.read(&from, 2).failure().await;
    let expected = LogError::OutOfRange {
        partition: from.clone(),
        offset: Offset(2),
    };
    assert_eq!(error, expected);
    assert_eq!(texts(&world.read(&from, 6).take(1).await), ["6"]);
}

async fn beyond(world: &World<'_>) {
    let [from] = world.topic().await;
    world.append(&from, "a").await;
    let error = world.read(&from, 5).failure().await;
    let expected = LogError::OutOfRange {
        partition: from.clone(),
        offset: Offset(5),
    };
    assert_eq!(error, expected);
}

async fn unknown(world: &World<'_>) {
    let [known] = world.topic().await;
    let no_topic = TopicPartition::new(world.topic_name(), Partition(0));
    let no_partition = TopicPartition::new(known.topic, Partition(1));
    for partition in [no_topic, no_partition] {
        let ready = Arc::new(Notify::new());
        let error = match world.broker().open(&partition, Offset(0), ready.clone()) {
            Ok(source) => Reader::new(source, ready).failure().await,
            Err(error) => error,
        };
        assert_eq!(error, LogError::UnknownPartition(partition));
    }
}
