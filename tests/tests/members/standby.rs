//! Copies that are not at work.

use std::sync::Arc;

use tanist_actors::port::MemoryStores;
use tanist_actors::shard::ShardState;
use tanist_broker::{Millis, NewRecord, TopicPartition};

use super::app::App;
use super::world::{World, on_memory};

const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Where a member's copy of partition 0 is, and how many records it lacks.
fn copy_of(world: &World, member: tanist_cluster::MemberId) -> Option<(i64, u64)> {
    let copy = world.status(member, 0)?.copy?;
    Some((copy.position.0, copy.lag_records))
}

#[test]
fn a_standbys_store_becomes_equal_to_the_actives() {
    for seed in 0..10 {
        on_memory(seed, App::new("app", 1, true), |mut world, _| async move {
            let stores = [Arc::<MemoryStores>::default(), Arc::default()];
            let first = world.join(stores[0].clone()).await;
            let second = world.join(stores[1].clone()).await;
            world.plan(first, &[second], &[]);
            for round in 1..=5 {
                world.send(0, &KEYS).await;
                let all = 5 * round;
                world
                    .until("the standby has followed", |world| {
                        world.committed(first, 0) >= all
                            && world.all_standby(second)
                            && world.tables(&*stores[0], 0) == world.tables(&*stores[1], 0)
                    })
                    .await;
                let tables = world.tables(&*stores[1], 0);
                assert_eq!(tables.len(), KEYS.len(), "seed {seed}");
            }
            let (active, standby) = (copy_of(&world, first), copy_of(&world, second));
            let (active, standby) = (active.expect("it has one"), standby.expect("it has one"));
            // Behind the last record of the active there is its marker, which the standby has passed or not.
            assert!(
                (active.0..=active.0 + 1).contains(&standby.0),
                "{active:?} {standby:?}"
            );
            assert_eq!(standby.1, 0);
        });
    }
}

#[test]
fn a_standby_that_starts_again_goes_on_from_its_disk() {
    on_memory(
        4,
        App::new("app", 1, true),
        |mut world, memory| async move {
            let stores = Arc::<MemoryStores>::default();
            let first = world.join(Arc::<MemoryStores>::default()).await;
            let second = world.join(stores.clone()).await;
            world.plan(first, &[second], &[]);
            world.send(0, &KEYS).await;
            world
                .until("the standby has followed", |world| {
                    world.committed(first, 0) >= 5 && world.tables(&*stores, 0).len() == 5
                })
                .await;
            world.kill(second);
            // What it has, it need not read again, and cannot.
            let position = copy_of(&world, first).expect("it has one").0;
            let changelog = world.app.changelog(0);
            let address = TopicPartition::new(&*changelog.topic, 0);
            let now = Millis(1_700_000_000_000);
            memory
                .port
                .delete_records(&address, Some(position - 1), now)
                .expect("they are deleted");
            world.send(0, &["f"]).await;
            let third = world.join(stores.clone()).await;
            world.plan(first, &[third], &[]);
            world
                .until("it has gone on", |world| {
                    world.all_standby(third) && world.tables(&*stores, 0).len() == 6
                })
                .await;
        },
    );
}

#[test]
fn a_copy_that_is_filled_tells_how_far_it_is_and_can_become_active() {
    on_memory(
        6,
        App::new("app", 1, true),
        |mut world, memory| async move {
            let stores = Arc::<MemoryStores>::default();
            let first = world.join(Arc::<MemoryStores>::default()).await;
            world.plan(first, &[], &[]);
            world
                .until("it is at work", |world| world.all_running(first))
                .await;
            world.send(0, &KEYS).await;
            world
                .until("it has committed", |world| world.committed(first, 0) >= 5)
                .await;
            // A long changelog, as of a table with many keys.
            let changelog = world.app.changelog(0);
            let address = TopicPartition::new(&*changelog.topic, 0);
            let record = |key: u32| NewRecord {
                key: Some(format!("key{key}").into_bytes().into()),
                value: Some(vec![1, 1, 9].into()),
                headers: Vec::new(),
                timestamp: Millis(0),
            };
            for batch in 0..50 {
                let records: Vec<_> = (batch * 100..(batch + 1) * 100).map(record).collect();
                let now = Millis(1_700_000_000_000);
                memory
                    .port
                    .append(&address, &records, None, now)
                    .expect("they are appended");
            }
            let second = world.join(stores.clone()).await;
            world.plan(first, &[second], &[]);
            world
            .until("it is on its way", |world| {
                matches!(world.state(second, 0), Some(ShardState::Restoring { of, .. }) if of > 4000)
            })
            .await;
            let lag = copy_of(&world, second).expect("it is known").1;
            assert!(lag > 1000, "it lacks {lag} records");
            world
                .until("it has all", |world| world.all_standby(second))
                .await;
            assert_eq!(copy_of(&world, second).expect("it is known").1, 0);
            world.plan(second, &[first], &[]);
            world
                .until("it is at work", |world| world.all_running(second))
                .await;
            world.send(0, &KEYS).await;
            world
                .until("it has committed", |world| world.committed(second, 0) >= 10)
                .await;
            assert_eq!(world.check_counts(0).await, 10);
        },
    );
}
