//! Kills: what is dropped at an await.

use std::collections::BTreeSet;
use std::pin::pin;
use std::task::Poll;

use super::*;
use crate::memory::process::{End, Process};

/// Polls `future` until it has waited `awaits` times, and drops it there; false if it had come to its end before.
async fn kill_at<T>(awaits: usize, future: impl Future<Output = T>) -> bool {
    let mut future = pin!(future);
    for _ in 0..=awaits {
        let polled = std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context)));
        if polled.await.is_ready() {
            return false;
        }
        // Whatever it waits for, a millisecond brings it further.
        sleep_ms(1).await;
    }
    true
}

#[test]
fn a_commit_that_is_killed_at_any_of_its_awaits_happens_whole_or_not_at_all() {
    let mut left_open = 0;
    let mut committed_unanswered = 0;
    for seed in 0..5 {
        for awaits in 0.. {
            let was_killed = on_virtual_time(async {
                let world = World::new(seed);
                let (log, process) = world.doomed().await;
                log.commit(commit("before")).await.unwrap();
                let was_killed = kill_at(awaits, log.commit(commit("killed"))).await;
                process.die();
                left_open += usize::from(matches!(
                    world.transaction(),
                    TransactionState::Ongoing { .. }
                ));
                let log = world.log().await;
                let happened = world.committed().await.unwrap() == "killed";
                committed_unanswered += usize::from(happened && was_killed);
                log.commit(commit("after")).await.unwrap();
                let mut expected = vec!["before", "killed", "after"];
                if !happened {
                    assert!(was_killed);
                    expected.remove(1);
                }
                assert_eq!(world.visible("a"), expected, "seed {seed}, await {awaits}");
                assert_eq!(world.visible("b"), expected, "seed {seed}, await {awaits}");
                was_killed
            });
            if !was_killed {
                break;
            }
        }
    }
    assert!(left_open > 10, "kills in open transactions: {left_open}");
    assert!(
        committed_unanswered > 0,
        "no kill between commit and answer"
    );
}

#[test]
fn the_next_append_is_not_taken_for_one_that_was_killed() {
    for awaits in 0..6 {
        on_virtual_time(async {
            let world = World::new(7);
            let to = partition("a");
            let append = |text: &'static str| {
                let (broker, to) = (&world.broker, &to);
                async move { broker.append(to, b"k", Some(text.as_bytes())).await }
            };
            append("before").await.unwrap();
            kill_at(awaits, append("killed")).await;
            append("after").await.unwrap();
            let visible = world.visible("a");
            let expected: &[&str] = match visible.len() {
                2 => &["before", "after"],
                _ => &["before", "killed", "after"],
            };
            assert_eq!(visible, expected, "await {awaits}");
        });
    }
}

#[test]
fn a_commit_goes_on_though_nobody_waits_for_it_and_no_other_is_taken_meanwhile() {
    on_virtual_time(async {
        let world = World::new(7);
        let log = world.log().await;
        kill_at(1, log.commit(commit("killed"))).await;
        for _ in 0..2 {
            let error = log.commit(commit("after")).await.err();
            assert!(matches!(error, Some(CommitError::Aborted(_))), "{error:?}");
        }
        sleep_ms(100).await;
        assert_eq!(world.visible("a"), ["killed"]);
    });
}

#[test]
fn a_transaction_that_nobody_comes_back_for_is_rolled_back_by_time_alone() {
    on_virtual_time(async {
        let world = World::new(7);
        let address = tanist_broker::TopicPartition::new("a", 0);
        let bounds = || world.port.peek(&address).unwrap();
        for awaits in 0.. {
            let (log, process) = world.doomed().await;
            assert!(kill_at(awaits, log.commit(commit("killed"))).await);
            process.die();
            if bounds().last_stable < bounds().end {
                break;
            }
        }
        let stable = Offset(bounds().last_stable);
        let told = world.broker.offsets(&[partition("a")]).await.unwrap();
        assert_eq!(told[&partition("a")].end, stable);
        let marker = Offset(bounds().end);
        let (mut source, ready) = world.read("a");
        loop {
            let pulled = source.pull(10).unwrap();
            assert!(pulled.batch.is_none(), "nothing of it is ever seen");
            if pulled.reached == Some(marker.next()) {
                break;
            }
            ready.notified().await;
        }
    });
}

#[test]
fn a_process_dies_at_exactly_one_point_of_a_commit_which_happens_whole_or_not_at_all() {
    let mut seen = BTreeSet::new();
    for points in 1.. {
        let died = on_virtual_time(async {
            let world = World::new(7);
            let process = Arc::<Process>::default();
            let broker = world.broker.of_process("n1", process.clone());
            let log = broker.log(&id()).await.unwrap().build();
            let before = process.passed();
            process.end_after(points, End::Dies);
            let committed = tokio::time::timeout(Duration::from_secs(9), log.commit(commit("x")));
            let died = committed.await.is_err();
            assert_eq!((died, process.is_dead()), (died, died));
            if died {
                assert_eq!(process.passed(), before + points);
            }
            let _next = world.log().await;
            let visible = world.visible("a");
            assert_eq!(visible, world.visible("b"), "at point {points}");
            assert_eq!(!visible.is_empty(), world.committed().await.is_some());
            seen.insert((died, visible.len()));
            died
        });
        if !died {
            break;
        }
    }
    assert_eq!(seen, [(true, 0), (true, 1), (false, 1)].into());
}

#[test]
fn a_frozen_process_stands_where_it_is_and_goes_on_when_it_thaws() {
    on_virtual_time(async {
        let world = World::new(7);
        let process = Arc::<Process>::default();
        let broker = world.broker.of_process("n1", process.clone());
        let log = broker.log(&id()).await.unwrap().build();
        process.freeze();
        let before = world.clock.elapsed();
        let (committed, ()) = tokio::join!(log.commit(commit("x")), async {
            sleep_ms(5_000).await;
            assert_eq!(world.visible("a"), [""; 0]);
            process.thaw();
        });
        committed.unwrap();
        assert!((5_000..5_050).contains(&(world.clock.elapsed() - before).as_millis()));
    });
}
