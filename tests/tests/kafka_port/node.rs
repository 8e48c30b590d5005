//! What a node asks of brokers that are busy, or not there.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer;
use rdkafka::producer::Producer;
use rdkafka::topic_partition_list::Offset as Position;
use tanist::kafka::{Contact, Kafka, KafkaSettings};
use tanist_actors::port::{Broker, BrokerError, CommitError};
use tanist_broker::{ApiKey, Fault, FaultRule};
use tanist_cluster::Offset;
use tanist_tests::broker::TestBroker;
use tanist_tests::clients::{TIMEOUT, begin};
use tanist_tests::raw::poll_until;

use crate::support::{GROUP, LONG, Reader, commit, id, impatient, kafka, log, partition, run};

#[test]
fn an_open_transaction_is_not_below_the_end() {
    let broker = TestBroker::start();
    let kafka = kafka(&broker, &[]);
    let topic = broker.topic(1, &[]);
    let of = partition(&topic, 0);
    let end = || {
        let offsets = run(kafka.offsets(std::slice::from_ref(&of)));
        offsets.expect("it has offsets")[&of].end
    };
    let producer = broker.initialised(&broker.unique("id"));
    begin(&producer, &topic, &["a", "b"]);
    assert_eq!(end(), Offset(0));
    producer.commit_transaction(TIMEOUT).unwrap();
    broker.raw().await_stable(&topic, 0);
    assert_eq!(end(), Offset(3));
}

#[test]
fn committed_offsets_are_told_when_the_transaction_that_changes_them_is_decided() {
    let broker = TestBroker::start();
    let kafka = kafka(&broker, &[]);
    let topic = broker.topic(1, &[]);
    let of = partition(&topic, 0);
    let producer = broker.initialised(&broker.unique("id"));
    begin(&producer, &topic, &["a"]);
    let mut offsets = TopicPartitionList::new();
    offsets
        .add_partition_offset(&topic, 0, Position::Offset(41))
        .unwrap();
    let group = broker.consumer(GROUP, "read_committed").group_metadata();
    producer
        .send_offsets_to_transaction(&offsets, &group.expect("it has a group"), TIMEOUT)
        .unwrap();
    run(async {
        let asked = kafka.committed(GROUP, std::slice::from_ref(&of));
        tokio::pin!(asked);
        let early = tokio::time::timeout(Duration::from_millis(300), &mut asked).await;
        assert!(early.is_err(), "told {early:?} before it was decided");
        producer.commit_transaction(TIMEOUT).unwrap();
        let committed = tokio::time::timeout(LONG, asked).await;
        let committed = committed.expect("it is decided").expect("an answer");
        assert_eq!(committed[&of].offset, Offset(41));
    });
}

#[test]
fn a_topic_that_is_made_anew_is_another_one() {
    let broker = TestBroker::start();
    let kafka = kafka(&broker, &[]);
    let topic = broker.topic(3, &[]);
    let name: Arc<str> = topic.as_str().into();
    let told = || run(kafka.topics(std::slice::from_ref(&name))).expect("an answer");
    let first = told()[&name].clone();
    assert_eq!(first.partitions, 3);
    assert!(first.id.is_some(), "both brokers have ids");
    assert_eq!(told()[&name], first, "it is the same when asked again");
    broker.raw().delete_topic(&topic);
    poll_until("the end of the topic", || told().is_empty().then_some(()));
    broker.raw().create_topic(&topic, 3, &[]);
    let second = poll_until("the new topic", || told().remove(&name));
    assert_ne!(second.id, first.id);
}

#[test]
fn wrong_settings_are_refused_all_at_once() {
    let mut settings = KafkaSettings::new("", GROUP);
    settings.properties.insert("acks".into(), "0".into());
    let error = Kafka::new(settings).err().expect("they are wrong");
    let text = error.to_string();
    assert!(text.contains("broker") && text.contains("acks"), "{text}");
    let mut settings = KafkaSettings::new("localhost:1", GROUP);
    settings.properties.insert("no.such.one".into(), "0".into());
    let error = Kafka::new(settings)
        .err()
        .expect("there is no such property");
    assert!(error.to_string().contains("no.such.one"), "{error}");
}

#[test]
fn who_waits_for_no_broker_is_told_which_and_why() {
    // A port that was free a moment ago.
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it has an address").to_string();
    drop(taken);
    let mut settings = KafkaSettings::new(&address, GROUP);
    settings.broker_timeout = Some(Duration::from_secs(2));
    let kafka = Kafka::new(settings).expect("the settings are right");
    let error = run(kafka.topics(&["topic".into()])).expect_err("nobody is there");
    assert!(
        matches!(error, BrokerError::Unreachable { .. }),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(text.contains(&address), "{text}");
    assert!(text.contains("refused"), "{text}");
    run(async {
        let mut contact = kafka.contact();
        let lost = contact.wait_for(|contact| *contact == Contact::Lost);
        let lost = tokio::time::timeout(LONG, lost).await;
        lost.expect("that is seen").expect("the node is alive");
    });
}

#[test]
fn a_write_that_is_not_answered_may_be_there() {
    let broker = TestBroker::embedded();
    let kafka = kafka(&broker, &[("socket.timeout.ms", "400")]);
    let topic = broker.topic(1, &[]);
    let to = partition(&topic, 0);
    for fault in [Fault::LoseRequest, Fault::LoseAnswer] {
        let rule = FaultRule::new(fault).api(ApiKey::Produce);
        broker.inner().faults().add(rule);
        let error = run(kafka.append(&to, b"key", Some(b"value"))).err();
        assert!(
            matches!(error, Some(BrokerError::Unreachable { .. })),
            "{fault:?}: {error:?}"
        );
        let written = run(kafka.append(&to, b"key", Some(b"value")));
        assert!(written.is_ok(), "{fault:?}: {written:?}");
    }
}

#[test]
fn whoever_asks_for_a_topic_that_was_deleted_is_told_which() {
    let broker = TestBroker::start();
    let kafka = kafka(&broker, &[]);
    let (there, gone) = (broker.topic(1, &[]), broker.unique("gone"));
    let asked = [partition(&there, 0), partition(&gone, 0)];
    let error = run(kafka.offsets(&asked)).expect_err("one of them does not exist");
    assert!(matches!(error, BrokerError::Refused { .. }), "{error:?}");
    let text = error.to_string();
    let says = format!("topic {gone} does not exist; was it deleted?");
    assert!(text.contains(&says), "{text}");
}

#[test]
fn a_bootstrap_address_that_says_nothing_holds_up_no_fence() {
    let broker = TestBroker::start();
    // It accepts, as the kernel does for a process that is frozen, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let silent = silent.local_addr().map(|at| (at, silent));
    let (address, _silent) = silent.expect("it has an address");
    let addresses = format!("{address},{}", broker.bootstrap());
    let mut settings = KafkaSettings::new(addresses, GROUP);
    settings.broker_timeout = Some(LONG);
    let kafka = Kafka::new(settings).expect("the settings are right");
    let fenced = run(kafka.fence(&[id(&broker)]));
    assert_eq!(fenced, Ok(()));
}

#[test]
fn a_broker_that_went_away_and_came_back_is_read_and_written_on() {
    let broker = TestBroker::embedded();
    let kafka = impatient(&broker);
    let topic = broker.topic(1, &[]);
    let from = partition(&topic, 0);
    let to = std::slice::from_ref(&from);
    run(async {
        let id = id(&broker);
        let first = log(&kafka, &id).await;
        let mut reader = Reader::open(&*first, &from, 0);
        first
            .commit(commit(to, "before", 1))
            .await
            .expect("it is committed");
        assert_eq!(reader.next(1).await, Ok(vec![(0, "before".to_owned())]));

        let mut contact = kafka.contact();
        assert_eq!(*contact.borrow(), Contact::Reachable);

        broker.inner().stop();
        let lost = contact.wait_for(|contact| *contact == Contact::Lost);
        let lost = tokio::time::timeout(LONG, lost).await;
        lost.expect("that is seen").expect("the node is alive");
        let during = first.commit(commit(to, "during", 2)).await;
        assert!(
            matches!(
                during,
                Err(CommitError::Aborted(_) | CommitError::Unknown(_))
            ),
            "nobody was there to take it"
        );
        let waiting = log(&kafka, &id);
        tokio::pin!(waiting);
        let early = tokio::time::timeout(Duration::from_millis(200), &mut waiting).await;
        assert!(early.is_err(), "nobody is there to initialise a producer");

        broker.inner().restart().expect("its address is free");
        let second = tokio::time::timeout(LONG, waiting).await;
        let second = second.expect("it is initialised now");
        second
            .commit(commit(to, "after", 3))
            .await
            .expect("it is committed");
        // By the consumer of before.
        assert_eq!(
            reader.next(1).await.map(|rows| rows[0].1.clone()),
            Ok("after".to_owned())
        );
        let back = contact.wait_for(|contact| *contact == Contact::Reachable);
        let back = tokio::time::timeout(LONG, back).await;
        back.expect("that is seen").expect("the node is alive");
        let committed = kafka.committed(GROUP, to).await.expect("an answer");
        assert_eq!(committed[&from].metadata, "after");
    });
}
