//! Shards that go from one member to another: handed over by the living, taken over from the dead.

use std::sync::Arc;
use std::time::Duration;

use tanist_actors::port::MemoryStores;
use tanist_actors::worker::{Guarantee, Stage};

use super::app::App;
use super::world::{World, on_memory};

const KEYS: [&str; 3] = ["a", "b", "c"];

fn stores() -> Arc<MemoryStores> {
    Arc::default()
}

/// Two members, of which the first is at work, and the second has copies.
async fn pair(world: &mut World) -> (tanist_cluster::MemberId, tanist_cluster::MemberId) {
    let (first, second) = (world.join(stores()).await, world.join(stores()).await);
    world.plan(first, &[second], &[]);
    world
        .until("the first is at work", |world| {
            world.all_running(first) && world.all_standby(second)
        })
        .await;
    (first, second)
}

async fn handed_over(mut world: World, tables: bool) {
    let (first, second) = pair(&mut world).await;
    world.send(0, &KEYS).await;
    world.send(1, &KEYS).await;
    for (from, to) in [(first, second), (second, first), (first, second)] {
        world.plan(to, &[from], &[]);
        // Sent while it goes over.
        world.send(0, &KEYS).await;
        world
            .until("the heir is at work", |world| world.all_running(to))
            .await;
        assert!(!world.all_running(from));
        world.send(1, &KEYS).await;
    }
    world
        .until("all is committed", |world| {
            world.committed(second, 0) >= 12 && world.committed(second, 1) >= 12
        })
        .await;
    if tables {
        assert_eq!(world.check_counts(0).await, 12);
        assert_eq!(world.check_counts(1).await, 12);
    } else {
        assert_eq!(world.read(&world.app.out(0)).await.len(), 12);
    }
}

#[test]
fn a_shard_is_handed_over_without_a_record_doubled_or_skipped() {
    for seed in 0..10 {
        on_memory(seed, App::new("app", 2, true), |world, _| {
            handed_over(world, true)
        });
    }
}

#[test]
fn a_shard_without_tables_is_handed_over_by_the_offsets_of_the_group() {
    for seed in 0..10 {
        on_memory(seed, App::new("app", 2, false), |world, _| {
            handed_over(world, false)
        });
    }
}

#[test]
fn each_stage_of_a_hand_over_is_told_once_in_order() {
    on_memory(1, App::new("app", 1, true), |mut world, _| async move {
        let (first, second) = pair(&mut world).await;
        world.plan(second, &[first], &[]);
        world
            .until("the heir is at work", |world| world.all_running(second))
            .await;
        world.send(0, &KEYS).await;
        world
            .until("it has committed", |world| world.committed(second, 0) >= 3)
            .await;
        let stages = |member| world.stages(member).into_iter().map(|(_, stage, _)| stage);
        assert_eq!(stages(first).collect::<Vec<_>>(), [Stage::LastCommit]);
        assert_eq!(
            stages(second).collect::<Vec<_>>(),
            [
                Stage::Permitted,
                Stage::CaughtUp,
                Stage::Assigned,
                Stage::FirstCommit
            ]
        );
    });
}

/// Kills the active at some moment of its work, with a transaction open or not.
async fn taken_over(mut world: World, after: Duration) -> usize {
    let (first, second) = pair(&mut world).await;
    for _ in 0..3 {
        world.send(0, &KEYS).await;
    }
    tokio::time::sleep(after).await;
    world.kill(first);
    world.send(0, &KEYS).await;
    world.fence(second, first).await;
    world.plan(second, &[], &[first]);
    world
        .until("the heir has done all", |world| {
            world.committed(second, 0) >= 12
        })
        .await;
    match world.settings.guarantee {
        Guarantee::ExactlyOnce => world.check_counts(0).await,
        Guarantee::AtLeastOnce | Guarantee::AtMostOnce => {
            let counts = world.counts(0).await;
            for (key, counts) in &counts {
                let last = counts.iter().max().copied().unwrap_or(0);
                assert!(
                    last <= 4,
                    "the table is exact, so {key} has no more than were sent"
                );
                if world.settings.guarantee == Guarantee::AtLeastOnce {
                    assert!(
                        (1..=4).all(|count| counts.contains(&count)),
                        "{key}: {counts:?}"
                    );
                }
            }
            counts.values().map(Vec::len).sum()
        }
    }
}

#[test]
fn a_failover_doubles_and_skips_nothing_whatever_transaction_the_dead_left_open() {
    for ms in 0..60 {
        println!("killed after {ms} ms, seed {ms}");
        let done = on_memory(ms, App::new("app", 1, true), |world, _| {
            taken_over(world, Duration::from_millis(ms))
        });
        assert_eq!(done, 12);
    }
}

#[test]
fn a_failover_keeps_what_each_guarantee_promises() {
    for ms in (0..60).step_by(3) {
        for guarantee in [Guarantee::AtLeastOnce, Guarantee::AtMostOnce] {
            println!("{guarantee:?}, killed after {ms} ms, seed {ms}");
            let done = on_memory(ms, App::new("app", 1, true), |mut world, _| {
                world.settings.guarantee = guarantee;
                taken_over(world, Duration::from_millis(ms))
            });
            match guarantee {
                Guarantee::AtMostOnce => assert!(done <= 12),
                _ => assert!(done >= 12),
            }
        }
    }
}

#[test]
fn a_failover_begins_where_the_dead_one_had_committed_though_it_had_no_copy() {
    on_memory(5, App::new("app", 1, true), |mut world, _| async move {
        let (first, second) = (world.join(stores()).await, world.join(stores()).await);
        world.plan(first, &[], &[]);
        world.send(0, &KEYS).await;
        world
            .until("it has committed", |world| world.committed(first, 0) >= 3)
            .await;
        assert_eq!(world.shards_of(second), 0);
        world.kill(first);
        world.fence(second, first).await;
        world.plan(second, &[], &[first]);
        world.send(0, &KEYS).await;
        world
            .until("the other has done the rest", |world| {
                world.committed(second, 0) >= 6
            })
            .await;
        assert_eq!(world.check_counts(0).await, 6);
    });
}

#[test]
fn who_was_put_out_drops_all_at_once_and_releases_nothing() {
    on_memory(2, App::new("app", 2, true), |mut world, _| async move {
        let (first, second) = pair(&mut world).await;
        // It lives, and is taken to be dead.
        world.fence(second, first).await;
        world.plan(second, &[], &[first]);
        world
            .until("the other is at work", |world| {
                world.all_running(second) && world.shards_of(first) == 0
            })
            .await;
        world.send(0, &KEYS).await;
        world
            .until("it is done", |world| world.committed(second, 0) >= 3)
            .await;
        assert_eq!(world.check_counts(0).await, 3);
    });
}

#[test]
fn a_member_that_stops_in_order_leaves_nothing_to_be_done_again() {
    on_memory(3, App::new("app", 1, true), |mut world, _| async move {
        let (first, second) = pair(&mut world).await;
        world.send(0, &KEYS).await;
        world
            .until("it is read", |world| {
                let status = world.status(first, 0).expect("it is there");
                status.records >= 3
            })
            .await;
        world.stop(first).await;
        assert_eq!(world.check_counts(0).await, 3);
        world.fence(second, first).await;
        world.plan(second, &[], &[first]);
        world.send(0, &KEYS).await;
        world
            .until("the rest is done", |world| world.committed(second, 0) >= 6)
            .await;
        assert_eq!(world.check_counts(0).await, 6);
    });
}
