//! How a commit fails, and what becomes of a log: fenced, refused, cut off.

use std::time::Duration;

use tanist_actors::port::{CommitError, TopicPartition};

use super::Case;
use super::world::World;
use crate::source::texts;

pub(super) const CASES: &[Case] = &[
    Case::new(
        "a log that was fenced commits nothing more and says so",
        |world| Box::pin(fenced(world)),
    ),
    Case::new(
        "a new log under the same id fences the one before it",
        |world| Box::pin(succeeded(world)),
    ),
    Case::new(
        "a record that is too large aborts its whole commit and a new log goes on",
        |world| Box::pin(too_large(world)),
    ),
    Case::new(
        "a commit that is cut off happens whole or not at all once a new log has the id",
        |world| Box::pin(cut_off(world)),
    ),
    Case::new(
        "after a fence the offsets of a commit that was cut off are decided",
        |world| Box::pin(cut_off_and_fenced(world)),
    ),
    Case::new(
        "a record without a key is refused by a compacted topic, and named",
        |world| Box::pin(without_a_key(world)),
    ),
    Case::new(
        "whoever reads up to the high watermark that there is after a fence has seen all that was decided",
        |world| Box::pin(caught_up_after_a_fence(world)),
    ),
];

async fn fenced(world: &World<'_>) {
    let [to] = world.topic().await;
    let ids = [world.id(0), world.id(1), world.id(2)];
    let zombie = world.log(&ids[0]).await;
    let other = world.log(&ids[1]).await;
    let commit = world.commit().text(&to, "before");
    zombie.commit(commit.seal()).await.expect("it is committed");
    // The last of them has never been used.
    let fence = [ids[0].clone(), ids[2].clone()];
    world.broker().fence(&fence).await.expect("they are fenced");
    for _ in 0..2 {
        let commit = world.commit().text(&to, "after").offset(&to, 1, "");
        let error = zombie.commit(commit.seal()).await.err();
        assert!(matches!(error, Some(CommitError::Fenced(_))), "{error:?}");
    }
    let commit = world.commit().text(&to, "of another");
    other.commit(commit.seal()).await.expect("it is not fenced");
    assert_eq!(texts(&world.all(&to).await), ["before", "of another"]);
    assert_eq!(world.committed(&to).await, None);
}

async fn succeeded(world: &World<'_>) {
    let [to] = world.topic().await;
    let old = world.log(&world.id(0)).await;
    let commit = world.commit().text(&to, "old");
    old.commit(commit.seal()).await.expect("it is committed");
    let new = world.log(&world.id(0)).await;
    let commit = world.commit().text(&to, "zombie");
    let error = old.commit(commit.seal()).await.err();
    assert!(matches!(error, Some(CommitError::Fenced(_))), "{error:?}");
    let commit = world.commit().text(&to, "new");
    new.commit(commit.seal()).await.expect("it is committed");
    assert_eq!(texts(&world.all(&to).await), ["old", "new"]);
}

/// Whether it was this record, for that partition.
fn refuses(error: &Option<CommitError>, to: &TopicPartition, index: usize) -> bool {
    matches!(error, Some(CommitError::Refused { record, partition, .. }) if *record == index && partition == to)
}

async fn without_a_key(world: &World<'_>) {
    let [compacted] = world.topic_with(&[("cleanup.policy", "compact")]).await;
    let [to] = world.topic().await;
    let log = world.log(&world.id(0)).await;
    let draft = || {
        let with_key = world.commit().text(&to, "a");
        let with_key = with_key.record(&compacted, Some(b"k"), Some(b"a"));
        with_key.record(&compacted, None, Some(b"keyless"))
    };
    // Not in a transaction, and in one.
    let error = log.publish(draft().seal()).await.err();
    assert!(refuses(&error, &compacted, 2), "{error:?}");
    let commit = draft().offset(&to, 5, "");
    let error = log.commit(commit.seal()).await.err();
    assert!(refuses(&error, &compacted, 2), "{error:?}");
    let log = world.log(&world.id(0)).await;
    let commit = world.commit().record(&compacted, Some(b"k"), Some(b"b"));
    log.commit(commit.seal()).await.expect("it is committed");
    assert_eq!(texts(&world.all(&compacted).await), ["b"]);
    assert_eq!(world.committed(&to).await, None);
}

async fn too_large(world: &World<'_>) {
    let [small] = world.topic_with(&[("max.message.bytes", "2000")]).await;
    let [to] = world.topic().await;
    let log = world.log(&world.id(0)).await;
    let large = "x".repeat(10_000);
    let commit = world
        .commit()
        .text(&to, "a")
        .text(&small, &large)
        .offset(&to, 5, "");
    let error = log.commit(commit.seal()).await.err();
    assert!(refuses(&error, &small, 1), "{error:?}");
    let commit = world.commit().text(&to, "by the old log");
    assert!(
        log.commit(commit.seal()).await.is_err(),
        "after an error a log is done with"
    );
    let log = world.log(&world.id(0)).await;
    let commit = world.commit().text(&to, "b").text(&small, "b");
    log.commit(commit.seal()).await.expect("it is committed");
    for partition in [&to, &small] {
        assert_eq!(texts(&world.all(partition).await), ["b"]);
    }
    assert_eq!(world.committed(&to).await, None);
}

/// From before the first request of a commit until after its last.
const CUTS_MS: [u64; 10] = [0, 1, 2, 3, 5, 7, 9, 12, 16, 30];

async fn cut_off(world: &World<'_>) {
    let [one, other] = world.topic().await;
    let mut visible = Vec::new();
    for (round, cut_ms) in (0..).zip(CUTS_MS) {
        let log = world.log(&world.id(0)).await;
        let text = cut_ms.to_string();
        let commit = world
            .commit()
            .text(&one, &text)
            .text(&other, &text)
            .offset(&one, round, &text);
        let commit = log.commit(commit.seal());
        // What has not come to its end by then is dropped, with its log.
        let outcome = tokio::time::timeout(Duration::from_millis(cut_ms), commit).await;
        drop(log);
        drop(world.log(&world.id(0)).await);
        let committed = world.committed(&one).await;
        let happened = committed.is_some_and(|committed| committed.metadata == text);
        match outcome {
            Ok(Ok(_)) => assert!(happened, "its answer came, after {cut_ms} ms at most"),
            Ok(Err(error)) => panic!("nothing is wrong but the time: {error}"),
            Err(_) => {}
        }
        if happened {
            visible.push(text);
        }
    }
    for partition in [&one, &other] {
        assert_eq!(texts(&world.all(partition).await), visible, "{partition}");
    }
}

async fn cut_off_and_fenced(world: &World<'_>) {
    let [to] = world.topic().await;
    for (worker, cut_ms) in (0..).zip(CUTS_MS) {
        let id = world.id(worker);
        let log = world.log(&id).await;
        let commit =
            world
                .commit()
                .text(&to, &id.to_string())
                .offset(&to, i64::from(worker), id.as_str());
        let commit = log.commit(commit.seal());
        let _ = tokio::time::timeout(Duration::from_millis(cut_ms), commit).await;
        world.broker().fence(&[id]).await.expect("it is fenced");
        let visible = world.all(&to).await;
        let last = visible.iter().rev().find(|row| row.text() != "the end");
        let committed = world.committed(&to).await;
        assert_eq!(
            committed.map(|committed| committed.metadata),
            last.map(|row| row.text().to_owned()),
            "records and offsets are from one commit"
        );
    }
}

async fn caught_up_after_a_fence(world: &World<'_>) {
    let [to] = world.topic().await;
    for (worker, cut_ms) in (0..).zip(CUTS_MS) {
        let id = world.id(worker);
        let log = world.log(&id).await;
        let text = id.to_string();
        let commit = world
            .commit()
            .text(&to, &text)
            .offset(&to, i64::from(worker), &text);
        let commit = log.commit(commit.seal());
        let _ = tokio::time::timeout(Duration::from_millis(cut_ms), commit).await;
        let stable = world.bounds(&to).await.end;
        assert!(world.high_watermark(&to).await >= stable);
        world.broker().fence(&[id]).await.expect("it is fenced");
        let end = world.high_watermark(&to).await;
        let seen = world.read(&to, 0).until(end).await;
        let committed = world.committed(&to).await;
        assert_eq!(
            committed.map(|committed| committed.metadata).as_deref(),
            texts(&seen).last().copied(),
            "after {cut_ms} ms, read up to {end}"
        );
    }
}
