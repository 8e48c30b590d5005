//! [`Publisher`]: sends records outside of transactions, by an idempotent producer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::Producer as _;
use tanist_actors::port::{Commit, TopicPartition};
use tokio::sync::oneshot;

use super::failures::Failures;
use super::outgoing::Topics;
use super::raw::{Delivery, Outgoing, Producer, Topic};

/// How soon the thread notices that its publisher is gone.
const IDLE: Duration = Duration::from_millis(500);

/// What became of records that were sent together: the offset of the last one to be acknowledged, or which were
/// not.
pub(super) type Answer = oneshot::Receiver<Fate>;
pub(super) type Fate = Result<i64, Failures>;

/// An idempotent producer that the workers of a node share, and the thread that reads its delivery reports.
pub(super) struct Publisher {
    outbox: Arc<Outbox>,
}

struct Outbox {
    producer: Producer,
    topics: Mutex<BTreeMap<Arc<str>, Arc<Topic>>>,
    pending: Mutex<Pending>,
    gone: AtomicBool,
}

/// What has been sent and not been answered, by the tag of its first record; the others count on from there.
#[derive(Default)]
struct Pending {
    next_tag: usize,
    parcels: BTreeMap<usize, Parcel>,
}

struct Parcel {
    missing: usize,
    offset: i64,
    failures: Failures,
    reply: oneshot::Sender<Fate>,
}

impl Publisher {
    pub(super) fn start(producer: Producer) -> std::io::Result<Self> {
        let outbox = Arc::new(Outbox {
            producer,
            topics: Mutex::default(),
            pending: Mutex::default(),
            gone: AtomicBool::new(false),
        });
        let served = outbox.clone();
        thread::Builder::new()
            .name("tanist-publish".into())
            .spawn(move || {
                while !served.gone.load(Ordering::Relaxed) {
                    let delivered = |delivery: Delivery| locked(&served.pending).take(&delivery);
                    served.producer.serve(IDLE, delivered);
                }
            })?;
        Ok(Self { outbox })
    }

    /// Sends all records of `outputs`.
    pub(super) fn publish(&self, topics: &mut Topics, outputs: &Commit) -> KafkaResult<Answer> {
        let topics = topics.of(&self.outbox.producer, &outputs.topics)?;
        let records = outputs.records.len();
        let (tag, answer) = locked(&self.outbox.pending).open(records);
        for index in 0..records {
            if let Err(error) = topics.produce(outputs, index, tag + index) {
                locked(&self.outbox.pending).settle(tag + index, records - index, Err(error));
                break;
            }
        }
        Ok(answer)
    }

    /// Sends one record.
    pub(super) fn append(
        &self,
        partition: &TopicPartition,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> KafkaResult<Answer> {
        let topic = self.outbox.topic(&partition.topic)?;
        let (tag, answer) = locked(&self.outbox.pending).open(1);
        let produced = topic.produce(&Outgoing {
            partition: partition.partition.0,
            key: Some(key),
            value,
            timestamp: None,
            headers: None,
            tag,
        });
        if let Err(error) = produced {
            locked(&self.outbox.pending).settle(tag, 1, Err(error));
        }
        Ok(answer)
    }

    /// True if the producer has come to an end and another has to take its place.
    pub(super) fn is_broken(&self) -> bool {
        self.outbox
            .producer
            .client()
            .client()
            .fatal_error()
            .is_some()
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.outbox.gone.store(true, Ordering::Relaxed);
    }
}

impl Outbox {
    fn topic(&self, name: &Arc<str>) -> KafkaResult<Arc<Topic>> {
        let mut topics = locked(&self.topics);
        if let Some(topic) = topics.get(name) {
            return Ok(topic.clone());
        }
        let topic = Arc::new(self.producer.topic(name)?);
        topics.insert(name.clone(), topic.clone());
        Ok(topic)
    }
}

impl Pending {
    fn open(&mut self, records: usize) -> (usize, Answer) {
        let (reply, answer) = oneshot::channel();
        let tag = self.next_tag;
        // One more: a parcel without records has a tag, too.
        self.next_tag += records + 1;
        let parcel = Parcel {
            missing: records,
            offset: -1,
            failures: Failures::default(),
            reply,
        };
        self.parcels.insert(tag, parcel);
        // Nothing to wait for if there are none.
        self.settle(tag, 0, Ok(-1));
        (tag, answer)
    }

    fn take(&mut self, delivery: &Delivery) {
        let result = delivery.result.map_err(KafkaError::MessageProduction);
        self.settle(delivery.tag, 1, result);
    }

    /// Notes the fate of `records` of a parcel, from that with this tag on, and answers if it was that of the last.
    fn settle(&mut self, tag: usize, records: usize, result: KafkaResult<i64>) {
        let Some((&first, parcel)) = self.parcels.range_mut(..=tag).next_back() else {
            return;
        };
        parcel.missing = parcel.missing.saturating_sub(records);
        match result {
            Ok(offset) => parcel.offset = offset,
            Err(error) => {
                let code = error.rdkafka_error_code();
                let code = code.unwrap_or(RDKafkaErrorCode::Unknown);
                parcel.failures.add(tag - first, code);
            }
        }
        if parcel.missing > 0 {
            return;
        }
        if let Some(parcel) = self.parcels.remove(&first) {
            let answer = match parcel.failures.worst {
                None => Ok(parcel.offset),
                Some(_) => Err(parcel.failures),
            };
            // Who does not wait any more has gone; there is nobody to tell.
            let _ = parcel.reply.send(answer);
        }
    }
}

/// The answer that never came: the publisher is gone.
pub(super) fn no_answer() -> Failures {
    Failures::one(0, RDKafkaErrorCode::OperationTimedOut)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is changed under these locks is never half done: single insertions, removals and counters.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parcel_is_answered_when_its_last_record_is_and_with_the_first_failure() {
        let mut pending = Pending::default();
        let (good, mut good_answer) = pending.open(2);
        let (bad, mut bad_answer) = pending.open(2);
        let failure = KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge);
        pending.settle(good, 1, Ok(7));
        pending.settle(bad + 1, 1, Err(failure));
        let failures = Failures::one(1, RDKafkaErrorCode::MessageSizeTooLarge);
        assert!(good_answer.try_recv().is_err() && bad_answer.try_recv().is_err());
        pending.settle(good, 1, Ok(8));
        pending.settle(bad, 1, Ok(9));
        assert_eq!(good_answer.try_recv(), Ok(Ok(8)));
        assert_eq!(bad_answer.try_recv(), Ok(Err(failures)));
        assert!(pending.parcels.is_empty());
    }

    #[test]
    fn nothing_to_send_is_answered_at_once() {
        let (_, mut answer) = Pending::default().open(0);
        assert_eq!(answer.try_recv(), Ok(Ok(-1)));
    }
}
