//! Commits whose requests go astray: each happens once or not at all, and what is in doubt ends the log.

use std::time::Duration;

use tanist::kafka::Kafka;
use tanist_actors::port::{Broker, CommitError, TopicPartition};
use tanist_broker::{ApiKey, Fault, FaultRule};
use tanist_cluster::TransactionalId;
use tanist_tests::broker::TestBroker;

use crate::noticing;
use crate::support::{GROUP, commit, id, kafka, log, partition, run};

const FAULTS: [Fault; 6] = [
    Fault::CutBefore,
    Fault::CutAfter,
    Fault::LoseRequest,
    Fault::LoseAnswer,
    Fault::Late,
    Fault::LateBy(Duration::from_millis(700)),
];

/// Commits three values as a worker does: after each error with a new log, and from what has been committed.
async fn work<T>(
    kafka: &Kafka,
    id: &TransactionalId,
    to: &[TopicPartition],
    order_fault: impl FnOnce() -> T,
) -> Result<(), String> {
    let values = ["a", "b", "c"];
    let mut current = log(kafka, id).await;
    order_fault();
    let mut next = 0;
    while next < values.len() {
        let error = match current.commit(commit(to, values[next], next as i64)).await {
            Ok(_) => {
                next += 1;
                continue;
            }
            Err(error) => error,
        };
        current = log(kafka, id).await;
        let committed = kafka.committed(GROUP, to).await;
        let committed = committed.map_err(|error| error.to_string())?;
        let done = committed
            .get(&to[0])
            .map_or(0, |last| last.offset.0 as usize + 1);
        match error {
            CommitError::Fenced(_) => return Err(format!("nobody fences here: {error}")),
            CommitError::Aborted(_) if done != next => {
                return Err(format!("{error}, but {done} are committed after {next}"));
            }
            CommitError::Refused { .. } => return Err(format!("nothing is refused here: {error}")),
            CommitError::Aborted(_) | CommitError::Unknown(_) => next = done,
        }
    }
    Ok(())
}

/// Whatever happens to the first request of this kind, each commit happens once.
fn each_commit_happens_once(api: ApiKey) {
    for fault in FAULTS {
        let broker = TestBroker::embedded();
        let kafka = kafka(&broker, &[("socket.timeout.ms", "400")]);
        let topics = [broker.topic(1, &[]), broker.topic(1, &[])];
        let to = topics.each_ref().map(|topic| partition(topic, 0));
        let id = id(&broker);
        let faults = broker.inner().faults();
        let order = || faults.add(FaultRule::new(fault).api(api));
        run(work(&kafka, &id, &to, order)).unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        for topic in &topics {
            broker.raw().await_stable(topic, 0);
            assert_eq!(broker.committed(topic, 0), ["a", "b", "c"], "{fault:?}");
        }
    }
}

#[test]
fn a_commit_whose_partitions_go_astray_happens_once() {
    each_commit_happens_once(ApiKey::AddPartitionsToTxn);
}

#[test]
fn a_commit_whose_records_go_astray_happens_once() {
    each_commit_happens_once(ApiKey::Produce);
}

#[test]
fn a_commit_whose_group_goes_astray_happens_once() {
    each_commit_happens_once(ApiKey::AddOffsetsToTxn);
}

#[test]
fn a_commit_whose_offsets_go_astray_happens_once() {
    each_commit_happens_once(ApiKey::TxnOffsetCommit);
}

#[test]
fn a_commit_whose_end_goes_astray_happens_once() {
    each_commit_happens_once(ApiKey::EndTxn);
}

#[test]
fn a_log_whose_connection_broke_during_a_commit_takes_no_other() {
    noticing::listen();
    let broker = TestBroker::embedded();
    let kafka = kafka(&broker, &[]);
    let topic = broker.topic(1, &[]);
    let to = [partition(&topic, 0)];
    run(async {
        let log = log(&kafka, &id(&broker)).await;
        log.commit(commit(&to, "a", 0))
            .await
            .expect("it is committed");
        // Of several that break alike one soon after the other, the client library logs the first two only.
        for value in ["b", "c"] {
            noticing::cut(&broker);
            log.commit(commit(&to, value, 0))
                .await
                .expect("it is committed");
        }
        let cut = FaultRule::new(Fault::CutAfter).api(ApiKey::TxnOffsetCommit);
        broker.inner().faults().add(cut);
        log.commit(commit(&to, "d", 1))
            .await
            .expect("it is repeated");
        for _ in 0..2 {
            let refused = log.commit(commit(&to, "e", 2)).await.err();
            assert!(
                matches!(refused, Some(CommitError::Aborted(_))),
                "{refused:?}"
            );
        }
    });
    broker.expect_committed(&topic, 0, &["a", "b", "c", "d"]);
}

#[test]
fn a_connection_that_broke_between_commits_is_no_doubt() {
    noticing::listen();
    let broker = TestBroker::embedded();
    let kafka = kafka(&broker, &[]);
    let topic = broker.topic(1, &[]);
    let to = [partition(&topic, 0)];
    run(async {
        let log = log(&kafka, &id(&broker)).await;
        for value in ["a", "b", "c"] {
            log.commit(commit(&to, value, 0))
                .await
                .expect("it is committed");
            noticing::cut(&broker);
        }
    });
    broker.expect_committed(&topic, 0, &["a", "b", "c"]);
}
