//! What a commit and a reader make of a broker that fails.

use tanist_actors::port::BrokerError;
use tanist_broker::{ApiKey, BrokerError as Refusal, Fault, FaultRule};

use super::*;

const TRANSACTION_APIS: [ApiKey; 5] = [
    ApiKey::AddPartitionsToTxn,
    ApiKey::Produce,
    ApiKey::AddOffsetsToTxn,
    ApiKey::TxnOffsetCommit,
    ApiKey::EndTxn,
];

fn order(world: &World, api: ApiKey, fault: Fault) {
    world.port.faults().add(FaultRule::new(fault).api(api));
}

#[test]
fn a_commit_whose_end_was_not_answered_is_unknown_until_a_new_log_decides() {
    for (fault, visible) in [
        (Fault::LoseAnswer, &["x"][..]),
        (Fault::CutAfter, &["x"]),
        (Fault::LoseRequest, &[]),
        (Fault::CutBefore, &[]),
        (Fault::LateBy(Duration::from_secs(1)), &[]),
    ] {
        on_virtual_time(async {
            let world = World::new(7);
            let log = world.log().await;
            // Until the client gives up.
            let rule = FaultRule::new(fault).api(ApiKey::EndTxn);
            world.port.faults().add(rule.times(u64::MAX));
            for text in ["x", "y"] {
                let error = log.commit(commit(text)).await.err();
                assert!(matches!(error, Some(CommitError::Unknown(_))), "{error:?}");
            }
            let _new = world.log().await;
            // A request that comes later changes nothing any more.
            for _ in 0..2 {
                for topic in ["a", "b"] {
                    assert_eq!(world.visible(topic), visible, "{fault:?}");
                }
                assert_eq!(world.committed().await.as_deref(), visible.first().copied());
                sleep_ms(2_000).await;
            }
        });
    }
}

#[test]
fn a_commit_whose_end_was_asked_for_again_is_the_last_of_its_producer() {
    let mut asked_again = 0;
    for seed in 0..20 {
        on_virtual_time(async {
            let world = World::new(seed);
            let log = world.log().await;
            // Else it would end the next transaction.
            order(
                &world,
                ApiKey::EndTxn,
                Fault::LateBy(Duration::from_millis(90)),
            );
            if log.commit(commit("x")).await.is_err() {
                return;
            }
            asked_again += 1;
            let error = log.commit(commit("y")).await.err();
            assert!(matches!(error, Some(CommitError::Aborted(_))), "{error:?}");
        });
    }
    assert!(asked_again > 3, "{asked_again}");
}

#[test]
fn what_is_not_answered_is_asked_again_and_happens_once() {
    for api in [
        ApiKey::AddPartitionsToTxn,
        ApiKey::Produce,
        ApiKey::AddOffsetsToTxn,
        ApiKey::TxnOffsetCommit,
    ] {
        for fault in [
            Fault::LoseRequest,
            Fault::LoseAnswer,
            Fault::CutBefore,
            Fault::CutAfter,
            Fault::Late,
            Fault::LateBy(Duration::from_millis(1)),
            Fault::LateBy(Duration::from_millis(60)),
        ] {
            on_virtual_time(async {
                let world = World::new(7);
                let log = world.log().await;
                order(&world, api, fault);
                log.commit(commit("x")).await.unwrap();
                // The request may still be on the way.
                let error = log.commit(commit("z")).await.err();
                assert!(matches!(error, Some(CommitError::Aborted(_))), "{error:?}");
                let log = world.log().await;
                log.commit(commit("y")).await.unwrap();
                sleep_ms(1_000).await;
                for topic in ["a", "b"] {
                    assert_eq!(world.visible(topic), ["x", "y"], "{api:?} {fault:?}");
                }
                assert_eq!(world.committed().await.as_deref(), Some("y"));
            });
        }
    }
}

#[test]
fn what_is_done_twice_happens_once() {
    for api in TRANSACTION_APIS {
        on_virtual_time(async {
            let world = World::new(7);
            let log = world.log().await;
            for text in ["x", "y"] {
                order(&world, api, Fault::Twice);
                log.commit(commit(text)).await.unwrap();
            }
            for topic in ["a", "b"] {
                assert_eq!(world.visible(topic), ["x", "y"], "{api:?}");
            }
        });
    }
}

#[test]
fn what_the_broker_cannot_do_yet_is_asked_again() {
    let init = [ApiKey::InitProducerId];
    for api in init.into_iter().chain(TRANSACTION_APIS) {
        on_virtual_time(async {
            let world = World::new(7);
            for refusal in [
                Refusal::ConcurrentTransactions,
                Refusal::CoordinatorLoadInProgress,
                Refusal::NotCoordinator,
            ] {
                order(&world, api, Fault::Refuse(refusal));
            }
            let log = world.log().await;
            log.commit(commit("x")).await.unwrap();
            assert_eq!(world.visible("a"), ["x"]);
        });
    }
}

#[test]
fn what_the_broker_refuses_for_good_aborts_the_transaction() {
    for api in TRANSACTION_APIS {
        on_virtual_time(async {
            let world = World::new(7);
            let log = world.log().await;
            order(&world, api, Fault::Refuse(Refusal::PolicyViolation));
            let error = log.commit(commit("x")).await.err();
            assert!(matches!(error, Some(CommitError::Aborted(_))), "{error:?}");
            assert!(!matches!(
                world.transaction(),
                TransactionState::Ongoing { .. }
            ));
            assert_eq!(world.visible("a"), [""; 0]);
        });
    }
}

#[test]
fn a_broker_that_comes_back_delays_and_loses_nothing() {
    type Away = fn(&BrokerPort);
    for away in [BrokerPort::pause as Away, BrokerPort::stop] {
        on_virtual_time(async {
            let world = World::new(7);
            let log = world.log().await;
            let (mut source, ready) = world.read("a");
            let to = partition("b");
            let read = async {
                loop {
                    let pulled = source.pull(1).unwrap();
                    if pulled.batch.is_some() {
                        break;
                    }
                    ready.notified().await;
                }
            };
            away(&world.port);
            let (committed, appended, (), ()) = tokio::join!(
                log.commit(commit("x")),
                world.broker.append(&to, b"k", Some(b"appended")),
                read,
                async {
                    sleep_ms(10_000).await;
                    world.port.resume();
                }
            );
            committed.unwrap();
            appended.unwrap();
            assert_eq!(world.visible("a"), ["x"]);
            assert_eq!(world.visible("b").len(), 2);
        });
    }
}

#[test]
fn a_broker_that_stays_away_is_given_up_within_bounds() {
    on_virtual_time(async {
        let world = World::new(7);
        let log = world.log().await;
        world.port.stop();
        let before = world.clock.elapsed();
        let (to, ids) = ([partition("a")], [id()]);
        let (committed, published, offsets, fenced, appended, opened) = tokio::join!(
            log.commit(commit("x")),
            log.publish(commit("x")),
            world.broker.offsets(&to),
            world.broker.fence(&ids),
            world.broker.append(&to[0], b"k", None),
            async { world.broker.log(&id()).await.map(|_| ()) },
        );
        assert!((world.clock.elapsed() - before).as_secs() < 60);
        assert!(matches!(committed.err(), Some(CommitError::Aborted(_))));
        assert!(matches!(published.err(), Some(CommitError::Unknown(_))));
        for error in [offsets.err(), fenced.err(), appended.err(), opened.err()] {
            let is_unreachable = matches!(error, Some(BrokerError::Unreachable { .. }));
            assert!(is_unreachable, "{error:?}");
        }
    });
}

#[test]
fn markers_that_come_later_wake_readers_and_let_offsets_be_told() {
    on_virtual_time(async {
        let world = World::new(7);
        let log = world.log().await;
        let (mut source, ready) = world.read("a");
        order(
            &world,
            ApiKey::EndTxn,
            Fault::DelayMarkers(Duration::from_millis(300)),
        );
        let before = world.clock.elapsed();
        log.commit(commit("x")).await.unwrap();
        assert_eq!(world.visible("a"), [""; 0]);
        let told = world.committed();
        let read = async {
            while source.pull(1).unwrap().batch.is_none() {
                ready.notified().await;
            }
            (world.clock.elapsed() - before).as_millis()
        };
        let (told, read_ms) = tokio::join!(told, read);
        assert_eq!(told.as_deref(), Some("x"));
        assert!((300..350).contains(&read_ms), "{read_ms} ms");
    });
}

#[test]
fn a_fault_of_one_node_leaves_the_others_alone() {
    on_virtual_time(async {
        let world = World::new(7);
        let (n1, n2) = (world.broker.client("n1"), world.broker.client("n2"));
        let cut = FaultRule::new(Fault::CutBefore)
            .client("n1")
            .times(u64::MAX);
        let cut = world.port.faults().add(cut);
        let of = [partition("a")];
        assert!(n1.offsets(&of).await.is_err());
        assert!(n2.offsets(&of).await.is_ok());
        world.port.faults().remove(cut);
        assert!(n1.offsets(&of).await.is_ok());
    });
}
