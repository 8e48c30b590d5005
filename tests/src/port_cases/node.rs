//! What a node asks of the broker beside reading and committing.

use std::collections::BTreeMap;

use tanist_actors::port::{BrokerError, TopicPartition, TopicSpec};
use tanist_cluster::{Offset, Partition};

use super::Case;
use super::world::World;

pub(super) const CASES: &[Case] = &[
    Case::new("those topics are told that exist", |world| {
        Box::pin(topics(world))
    }),
    Case::new("what exists is not created again", |world| {
        Box::pin(create(world))
    }),
    Case::new(
        "a topic with a setting that does not exist is refused",
        |world| Box::pin(refused(world)),
    ),
    Case::new("an append answers with the offset of its record", |world| {
        Box::pin(append(world))
    }),
    Case::new(
        "a record that is larger than usual is appended where its topic takes it",
        |world| Box::pin(append_large(world)),
    ),
    Case::new("appends that are asked for together all happen", |world| {
        Box::pin(appends(world))
    }),
    Case::new(
        "what is deleted below an offset is gone, and no more",
        |world| Box::pin(delete_records(world)),
    ),
    Case::new(
        "the offsets of a partition that does not exist are refused",
        |world| Box::pin(no_offsets(world)),
    ),
    Case::new(
        "a group that has committed nothing has no offsets",
        |world| Box::pin(no_group(world)),
    ),
];

async fn topics(world: &World<'_>) {
    let [of_three, _, _] = world.topic().await;
    let [of_one] = world.topic().await;
    let missing = world.topic_name();
    let names = [of_three.topic.clone(), missing, of_one.topic.clone()];
    let topics = world.broker().topics(&names).await.expect("an answer");
    let counts: Vec<_> = topics
        .iter()
        .map(|(name, topic)| (name.clone(), topic.partitions))
        .collect();
    assert_eq!(counts, [(of_three.topic, 3), (of_one.topic, 1)]);
}

async fn delete_records(world: &World<'_>) {
    let [first, second, third] = world.topic().await;
    for partition in [&first, &second, &third] {
        for value in [&b"0"[..], b"1", b"2"] {
            let appended = world.broker().append(partition, b"k", Some(value)).await;
            appended.expect("it is appended");
        }
    }
    let below = [(first.clone(), Offset(2)), (third.clone(), Offset(3))];
    // Again is no error.
    for _ in 0..2 {
        let deleted = world.broker().delete_records(&below).await;
        deleted.expect("they are deleted");
    }
    let partitions = [first, second, third];
    let offsets = world.broker().offsets(&partitions).await;
    let offsets = offsets.expect("an answer");
    let one = partitions[1].clone();
    let left = partitions.map(|it| (offsets[&it].start.0, offsets[&it].end.0));
    assert_eq!(left, [(2, 3), (0, 3), (3, 3)]);
    let beyond = [(one, Offset(9))];
    let deleted = world.broker().delete_records(&beyond).await;
    deleted.expect_err("nothing stands there");
}

fn spec(world: &World<'_>, partitions: i32) -> TopicSpec {
    TopicSpec {
        name: world.topic_name(),
        partitions,
        replicas: None,
        config: BTreeMap::new(),
    }
}

async fn create(world: &World<'_>) {
    let (first, second) = (spec(world, 2), spec(world, 3));
    let specs = [first, second];
    for some in [&specs[..1], &specs, &specs[1..]] {
        let created = world.broker().create_topics(some).await;
        created.expect("that a topic exists is no error");
    }
    let other = TopicSpec {
        partitions: 5,
        ..specs[0].clone()
    };
    let created = world.broker().create_topics(&[other]).await;
    created.expect("nor if it has another count: that is for others to see");
    let names = specs.map(|spec| spec.name);
    let topics = world.broker().topics(&names).await.expect("an answer");
    assert_eq!(topics[&names[0]].partitions, 2);
    assert_eq!(topics[&names[1]].partitions, 3);
}

async fn refused(world: &World<'_>) {
    let mut spec = spec(world, 1);
    let config = &mut spec.config;
    config.insert("no.such.setting".to_owned(), "1".to_owned());
    let name = spec.name.clone();
    let error = world.broker().create_topics(&[spec]).await.err();
    assert!(
        matches!(error, Some(BrokerError::Refused { .. })),
        "{error:?}"
    );
    let topics = world.broker().topics(&[name]).await.expect("an answer");
    assert!(topics.is_empty());
}

async fn append(world: &World<'_>) {
    let [to] = world.topic_with(&[("cleanup.policy", "compact")]).await;
    for (offset, value) in (0..).zip([Some("a"), None, Some("")]) {
        let value = value.map(str::as_bytes);
        let appended = world.broker().append(&to, b"k", value).await;
        assert_eq!(appended, Ok(Offset(offset)));
    }
    assert_eq!(world.high_watermark(&to).await, Offset(3));
    let rows = world.all(&to).await;
    let values: Vec<_> = rows.iter().map(|row| row.value.as_deref()).collect();
    assert_eq!(values, [Some(&b"a"[..]), None, Some(b"")]);
    assert!(rows.iter().all(|row| row.key.as_deref() == Some(b"k")));
}

async fn append_large(world: &World<'_>) {
    let limits = [
        ("max.message.bytes", "8388608"),
        ("segment.bytes", "8388608"),
    ];
    let [to] = world.topic_with(&limits).await;
    let value = vec![7; 4 << 20];
    let appended = world.broker().append(&to, b"k", Some(&value)).await;
    assert_eq!(appended, Ok(Offset(0)));
    let rows = world.all(&to).await;
    assert!(
        rows[0].value.as_deref() == Some(&value[..]),
        "it is read as it was written"
    );
}

async fn appends(world: &World<'_>) {
    let [to] = world.topic().await;
    let offsets = tokio::join!(
        world.append(&to, "a"),
        world.append(&to, "b"),
        world.append(&to, "c")
    );
    let rows = world.all(&to).await;
    for (offset, text) in [(offsets.0, "a"), (offsets.1, "b"), (offsets.2, "c")] {
        let row = rows.iter().find(|row| row.offset == offset);
        assert_eq!(row.map(|row| row.text()), Some(text));
    }
    assert_eq!(rows.len(), 3);
}

async fn no_offsets(world: &World<'_>) {
    let [known] = world.topic().await;
    let unknown = TopicPartition::new(known.topic.clone(), Partition(1));
    let error = world
        .broker()
        .offsets(&[known.clone(), unknown.clone()])
        .await
        .err();
    assert!(
        matches!(error, Some(BrokerError::Refused { .. })),
        "{error:?}"
    );
    let error = world
        .broker()
        .high_watermarks(&[known, unknown])
        .await
        .err();
    assert!(
        matches!(error, Some(BrokerError::Refused { .. })),
        "{error:?}"
    );
}

async fn no_group(world: &World<'_>) {
    let [known] = world.topic().await;
    assert_eq!(world.committed(&known).await, None);
}
