//! Sources over a real queue.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use tanist_actors::port::{Broker, LogError};
use tanist_tests::broker::TestBroker;

use crate::support::{Reader, commit, id, kafka, log, partition, run};

/// Writes slowly, so that queues become empty again and again, at all kinds of moments between two pulls.
#[test]
fn readers_of_slow_partitions_are_woken_for_each_record() {
    const RECORDS: usize = 300;
    let broker = TestBroker::start();
    let kafka = kafka(&broker, &[]);
    let topic = broker.topic(2, &[]);
    run(async {
        let log = log(&kafka, &id(&broker)).await;
        let (first, second) = (partition(&topic, 0), partition(&topic, 1));
        let write = async {
            for number in 0..RECORDS {
                for to in [&first, &second] {
                    let value = number.to_string();
                    let appended = kafka.append(to, b"k", Some(value.as_bytes())).await;
                    appended.expect("a record can be appended");
                }
                // From nothing to longer than a fetch waits.
                tokio::time::sleep(Duration::from_micros((number as u64 % 31) * 400)).await;
            }
        };
        let read = async |from, max| {
            let mut reader = Reader::open(&*log, from, 0);
            let mut read = Vec::new();
            while read.len() < RECORDS {
                read.extend(reader.next(max).await.expect("it can be read"));
            }
            let wanted: Vec<_> = (0..RECORDS)
                .map(|number| (number as i64, number.to_string()))
                .collect();
            assert_eq!(read, wanted);
        };
        tokio::join!(write, read(&first, 1), read(&second, 3));
    });
}

/// Long enough for what was written to have been read ahead. If it is not, the test proves less, and does not fail.
async fn until_read_ahead() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

#[test]
fn a_reader_that_finds_only_an_end_is_woken_for_what_is_behind_it() {
    let broker = TestBroker::start();
    let kafka = kafka(&broker, &[]);
    let from = partition(&broker.topic(1, &[]), 0);
    run(async {
        let log = log(&kafka, &id(&broker)).await;
        let mut reader = Reader::open(&*log, &from, 0);
        let values = ["a", "b", "c"];
        // Between them in the queue: an end each.
        for value in values {
            until_read_ahead().await;
            let appended = kafka.append(&from, b"k", Some(value.as_bytes())).await;
            appended.expect("a record can be appended");
        }
        until_read_ahead().await;
        for (offset, value) in (0..).zip(values) {
            assert_eq!(reader.next(1).await, Ok(vec![(offset, value.to_owned())]));
        }
    });
}

#[test]
fn a_reader_that_waits_after_a_seek_is_woken_though_its_queue_was_full() {
    let broker = TestBroker::start();
    let kafka = kafka(&broker, &[]);
    let from = partition(&broker.topic(1, &[]), 0);
    run(async {
        let log = log(&kafka, &id(&broker)).await;
        let appended = kafka.append(&from, b"k", Some(b"a")).await;
        appended.expect("a record can be appended");
        let mut reader = Reader::open(&*log, &from, 0);
        until_read_ahead().await;
        reader.woken().await;
        let to = tanist_cluster::Offset(0);
        reader.source.seek(to).expect("a seek is taken");
        reader.woken().await;
        assert_eq!(reader.next(1).await, Ok(vec![(0, "a".to_owned())]));
    });
}

#[test]
fn a_partition_that_was_given_back_can_be_opened_again_elsewhere() {
    const RECORDS: i64 = 500;
    let broker = TestBroker::start();
    let kafka = kafka(&broker, &[]);
    let topic = broker.topic(1, &[]);
    run(async {
        let log = log(&kafka, &id(&broker)).await;
        let from = partition(&topic, 0);
        let numbers: Vec<String> = (0..RECORDS).map(|number| number.to_string()).collect();
        for some in numbers.chunks(50) {
            let some: Vec<&str> = some.iter().map(String::as_str).collect();
            let written = broker.raw().produce(
                None,
                &topic,
                0,
                tanist_tests::raw::batch(None, -1, false, &some),
            );
            assert_eq!(written.error_code, 0);
        }
        for round in 0..40 {
            // Given back with much, little and nothing read ahead.
            let start = round * 97 % RECORDS;
            let mut reader = Reader::open(&*log, &from, start);
            let read = reader.next(7).await.expect("it can be read");
            assert_eq!(read[0], (start, start.to_string()), "round {round}");
            if round % 3 == 0 {
                let to = (start + 211) % RECORDS;
                let to_offset = tanist_cluster::Offset(to);
                reader.source.seek(to_offset).expect("a seek is taken");
                let read = reader.next(1).await.expect("it can be read");
                assert_eq!(read, [(to, to.to_string())], "round {round}");
            }
        }
    });
}

#[test]
fn a_partition_is_read_by_one_source_at_a_time() {
    let broker = TestBroker::start();
    let kafka = kafka(&broker, &[]);
    let from = partition(&broker.topic(1, &[]), 0);
    run(async {
        let log = log(&kafka, &id(&broker)).await;
        let reader = Reader::open(&*log, &from, 0);
        let ready = std::sync::Arc::default();
        let second = log.open(&from, tanist_cluster::Offset(0), ready).err();
        assert!(
            matches!(second, Some(LogError::Broken { .. })),
            "{second:?}"
        );
        drop(reader);
        Reader::open(&*log, &from, 0);
    });
}

#[test]
fn a_topic_that_is_deleted_under_its_reader_is_unknown() {
    let broker = TestBroker::start();
    let kafka = kafka(&broker, &[("topic.metadata.propagation.max.ms", "100")]);
    let topic = broker.topic(1, &[]);
    let from = partition(&topic, 0);
    run(async {
        let log = log(&kafka, &id(&broker)).await;
        let mut reader = Reader::open(&*log, &from, 0);
        let written = log
            .commit(commit(std::slice::from_ref(&from), "a", 0))
            .await;
        written.expect("it is committed");
        reader.next(1).await.expect("it can be read");
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", broker.bootstrap())
            .create()
            .expect("the settings are right");
        let deleted = admin.delete_topics(&[&topic], &AdminOptions::new()).await;
        deleted.expect("a topic can be deleted")[0]
            .as_ref()
            .expect("this one too");
        let error = reader.next(1).await.expect_err("nothing is left to read");
        assert_eq!(error, LogError::UnknownPartition(from));
    });
}
