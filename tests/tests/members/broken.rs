//! Replicas that cannot go on.

use std::sync::Arc;

use tanist_actors::port::MemoryStores;
use tanist_actors::shard::ShardState;
use tanist_broker::{Millis, TopicPartition};

use super::app::{App, POISON};
use super::world::on_memory;

const KEYS: [&str; 3] = ["a", "b", "c"];

#[test]
fn a_changelog_that_is_truncated_under_a_copy_breaks_it_with_a_clear_word() {
    on_memory(
        7,
        App::new("app", 2, true),
        |mut world, memory| async move {
            let stores = Arc::<MemoryStores>::default();
            let first = world.join(Arc::<MemoryStores>::default()).await;
            let second = world.join(stores.clone()).await;
            world.plan(first, &[second], &[]);
            world.send(0, &KEYS).await;
            world
                .until("the standby has followed", |world| {
                    world.committed(first, 0) >= 3 && world.tables(&*stores, 0).len() == 3
                })
                .await;
            world.kill(second);
            world.send(0, &KEYS).await;
            world
                .until("the active has gone on", |world| {
                    world.committed(first, 0) >= 6
                })
                .await;
            let changelog = world.app.changelog(0);
            let address = TopicPartition::new(&*changelog.topic, 0);
            let now = Millis(1_700_000_000_000);
            memory
                .port
                .delete_records(&address, None, now)
                .expect("they are deleted");
            let third = world.join(stores).await;
            world.plan(first, &[third], &[]);
            world
                .until(
                    "the copy is broken, and the other shard's is not",
                    |world| {
                        matches!(world.state(third, 0), Some(ShardState::Broken { .. }))
                            && world.state(third, 1) == Some(ShardState::Standby)
                    },
                )
                .await;
            let Some(ShardState::Broken { reason }) = world.state(third, 0) else {
                panic!("it was broken")
            };
            for word in [
                "changelog app-counts-changelog[0] was truncated",
                "move the data directory away",
            ] {
                assert!(reason.contains(word), "{word} is not in {reason}");
            }
            assert!(world.all_running(first));
        },
    );
}

#[test]
fn a_shard_that_breaks_down_is_released_when_it_is_taken_away_with_all_that_it_finished() {
    on_memory(8, App::new("app", 2, true), |mut world, _| async move {
        let stores = [Arc::<MemoryStores>::default(), Arc::default()];
        let first = world.join(stores[0].clone()).await;
        let second = world.join(stores[1].clone()).await;
        world.plan(first, &[second], &[]);
        world.send(0, &KEYS).await;
        world.send_value(0, "a", POISON).await;
        world
            .until("it has broken down", |world| {
                matches!(world.state(first, 0), Some(ShardState::Broken { .. }))
            })
            .await;
        world.send(1, &KEYS).await;
        world
            .until("the other one goes on", |world| {
                world.committed(first, 1) >= 3
            })
            .await;
        world.plan(second, &[], &[]);
        world
            .until("it has come to the heir", |world| {
                matches!(world.state(second, 0), Some(ShardState::Broken { .. }))
                    && world.state(second, 1) == Some(ShardState::Running)
                    && world.shards_of(first) == 0
            })
            .await;
        assert_eq!(world.check_counts(0).await, 3);
        assert!(!world.is_awaited(0));
    });
}
