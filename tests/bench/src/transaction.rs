//! What a commit of a loop consists of: changelog records, outputs and input offsets in one transaction, then the store.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rocksdb::DB;

use crate::Result;
use crate::kafka::{PARTITIONS, PATIENCE, transactional};
use crate::raw::TopicHandle;
use crate::tallies::{self, Changes};

/// Marks the delivery reports whose offsets matter.
const CHANGELOG: usize = 1;
const OUTPUT: usize = 0;

/// The content of a transaction, but for outputs, which are with the producer already.
#[derive(Default)]
pub(crate) struct Sealed {
    pub(crate) changes: Changes,
    pub(crate) positions: Vec<Position>,
}

/// Up to where an input partition has been processed.
pub(crate) struct Position {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) next: i64,
}

impl Sealed {
    pub(crate) fn add_positions(&mut self, topic: &Arc<str>, next: &[i64]) {
        let positions = (0..).zip(next).filter(|(_, next)| **next > 0);
        self.positions
            .extend(positions.map(|(partition, next)| Position {
                topic: topic.clone(),
                partition,
                next: *next,
            }));
    }

    pub(crate) fn clear(&mut self) {
        self.changes.clear();
        self.positions.clear();
    }
}

/// Learns from delivery reports how far the changelog has come, and what could not be delivered.
struct Reports {
    changelog_ends: Vec<AtomicI64>,
    failed: AtomicBool,
    failure: Mutex<Option<KafkaError>>,
}

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, kind: usize) {
        match result {
            Ok(message) if kind == CHANGELOG => {
                self.changelog_ends[message.partition() as usize]
                    .store(message.offset() + 1, Ordering::Relaxed);
            }
            Ok(_) => {}
            Err((error, _)) => {
                *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
                self.failed.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// Begins, fills and commits the transactions of one producer.
pub(crate) struct Transactor {
    // Topic handles are given back before their producer.
    changelog: TopicHandle,
    producer: BaseProducer<Reports>,
    group: ConsumerGroupMetadata,
    store: Arc<DB>,
}

impl Transactor {
    pub(crate) fn new(
        broker: &str,
        app: &str,
        changelog: &str,
        group: ConsumerGroupMetadata,
        store: Arc<DB>,
    ) -> Result<Transactor> {
        let reports = Reports {
            changelog_ends: (0..PARTITIONS).map(|_| AtomicI64::new(0)).collect(),
            failed: AtomicBool::new(false),
            failure: Mutex::new(None),
        };
        let producer: BaseProducer<Reports> =
            transactional(broker, app).create_with_context(reports)?;
        producer.init_transactions(PATIENCE)?;
        let changelog = TopicHandle::new(&producer, changelog)?;
        Ok(Transactor {
            changelog,
            producer,
            group,
            store,
        })
    }

    pub(crate) fn topic(&self, name: &str) -> Result<TopicHandle> {
        TopicHandle::new(&self.producer, name)
    }

    pub(crate) fn begin(&self) -> Result<()> {
        Ok(self.producer.begin_transaction()?)
    }

    /// Adds a record to the open transaction, on the partition that its key belongs to.
    pub(crate) fn output(&self, topic: &TopicHandle, key: &[u8], value: &[u8]) -> Result<()> {
        self.produce(topic, None, key, value, OUTPUT)
    }

    fn produce(
        &self,
        topic: &TopicHandle,
        partition: Option<i32>,
        key: &[u8],
        value: &[u8],
        kind: usize,
    ) -> Result<()> {
        if topic.produce(partition, key, value, kind)? {
            return Ok(());
        }
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            self.producer.poll(Duration::from_millis(1));
            if topic.produce(partition, key, value, kind)? {
                return Ok(());
            }
        }
        Err("the queue of the producer stays full".into())
    }

    /// Lets go of what has been delivered; until then it takes room in the queue.
    pub(crate) fn serve_reports(&self) {
        self.producer.poll(Duration::ZERO);
    }

    /// Completes and commits the open transaction, then brings the store to the same state.
    pub(crate) fn commit(&self, sealed: &Sealed) -> Result<()> {
        for (partition, key, tally) in sealed.changes.iter() {
            self.produce(
                &self.changelog,
                Some(partition),
                key,
                &tally.encode(),
                CHANGELOG,
            )?;
        }
        self.drain()?;
        let mut offsets = TopicPartitionList::with_capacity(sealed.positions.len());
        for position in &sealed.positions {
            offsets.add_partition_offset(
                &position.topic,
                position.partition,
                Offset::Offset(position.next),
            )?;
        }
        self.producer
            .send_offsets_to_transaction(&offsets, &self.group, PATIENCE)?;
        self.producer.commit_transaction(PATIENCE)?;
        let ends = &self.producer.context().changelog_ends;
        let ends: Vec<i64> = ends.iter().map(|end| end.load(Ordering::Relaxed)).collect();
        tallies::write(&self.store, &sealed.changes, &ends)
    }

    /// Waits until every record is delivered. `commit_transaction` would do so too, in steps of 100 ms.
    fn drain(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        // Tells the producer to wait for no more records; that it is not done at once is no error.
        let _ = self.producer.flush(Duration::ZERO);
        loop {
            self.producer.poll(Duration::ZERO);
            if self.producer.in_flight_count() == 0 {
                break;
            }
            if Instant::now() > deadline {
                return Err("records are not delivered".into());
            }
            // `poll` with a time-out spins out its last millisecond.
            thread::sleep(Duration::from_micros(500));
        }
        let reports = self.producer.context();
        if reports.failed.load(Ordering::Relaxed) {
            let failure = reports
                .failure
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            return Err(format!("a record was not delivered: {failure:?}").into());
        }
        Ok(())
    }
}
