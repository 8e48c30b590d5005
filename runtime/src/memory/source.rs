//! [`MemorySource`]: the queue of one partition, filled by a task of its own, as a Kafka client fills it in the background.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tanist_actors::port::{Batch, LogError, Pulled, RawRecord, Source, TopicPartition};
use tanist_actors::record::Headers;
use tanist_broker::{BrokerError as Refusal, BrokerPort, Isolation, LogRecord};
use tanist_cluster::{Millis, Offset};
use tokio::sync::Notify;

use super::task::Task;
use super::wire::{Wire, pause_after};

/// How many records are read ahead; the last batch may go beyond it.
pub(super) const READ_AHEAD_RECORDS: usize = 200;

/// A partition that is being read.
pub(super) struct MemorySource {
    queue: Arc<Queue>,
    _fetcher: Task,
}

/// What lies between the task that fetches and the source that hands out.
pub(super) struct Queue {
    partition: TopicPartition,
    /// The same, as the broker names it.
    address: tanist_broker::TopicPartition,
    /// The reader may pull.
    ready: Arc<Notify>,
    /// The fetcher may find something.
    wake: Notify,
    state: Mutex<State>,
}

/// A queue is filled until it is full, at the end, or has failed.
#[derive(Default)]
struct State {
    /// Where to fetch next.
    position: i64,
    records: VecDeque<LogRecord>,
    /// The last fetch came to the end.
    at_end: bool,
    /// And that is still to be said.
    unsaid_end: bool,
    failure: Option<LogError>,
}

/// What came of a fetch.
enum Fetched {
    /// Something, and there may be more.
    Some,
    /// Nothing, until the fetcher is woken.
    Nothing,
    /// Nothing, until that time has passed.
    NotNow(Duration),
}

impl MemorySource {
    pub(super) fn open(
        wire: Wire,
        partition: &TopicPartition,
        from: Offset,
        ready: Arc<Notify>,
    ) -> Self {
        let queue = Arc::new(Queue {
            partition: partition.clone(),
            address: tanist_broker::TopicPartition::new(&*partition.topic, partition.partition.0),
            ready,
            wake: Notify::new(),
            state: Mutex::new(State {
                position: from.0,
                ..State::default()
            }),
        });
        queue.wake.notify_one();
        Self {
            _fetcher: Task::spawn(Arc::clone(&queue).keep_filled(wire)),
            queue,
        }
    }

    pub(super) fn queue(&self) -> Weak<Queue> {
        Arc::downgrade(&self.queue)
    }

    #[cfg(test)]
    pub(super) fn read_ahead_records(&self) -> usize {
        self.queue.lock().records.len()
    }
}

impl State {
    /// How many records may be fetched now.
    fn room_records(&self) -> usize {
        if self.failure.is_some() {
            return 0;
        }
        READ_AHEAD_RECORDS.saturating_sub(self.records.len())
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn keep_filled(self: Arc<Self>, wire: Wire) {
        loop {
            self.wake.notified().await;
            loop {
                wire.travel().await;
                match self.fetch(&wire) {
                    Fetched::Some => {}
                    Fetched::Nothing => break,
                    Fetched::NotNow(pause) => tokio::time::sleep(pause).await,
                }
            }
        }
    }

    fn fetch(&self, wire: &Wire) -> Fetched {
        let mut state = self.lock();
        let room = state.room_records();
        if room == 0 {
            return Fetched::Nothing;
        }
        let isolation = Isolation::ReadCommitted;
        let fetched = wire
            .port
            .fetch(&self.address, state.position, room, isolation, wire.now());
        let fetched = match fetched {
            Ok(fetched) => fetched,
            Err(refusal) => {
                if let Some(pause) = pause_after(refusal) {
                    return Fetched::NotNow(pause);
                }
                state.failure = Some(self.failure(refusal, state.position));
                self.ready.notify_one();
                return Fetched::Nothing;
            }
        };
        let before = state.position;
        state.position = fetched.next_offset;
        if fetched.records.len() < room {
            // All was read; what is not there below the end was compacted away.
            state.position = state.position.max(fetched.bounds.last_stable);
        }
        let is_end = state.position >= fetched.bounds.last_stable;
        let is_new = state.position > before || (is_end && !state.at_end);
        state.records.extend(fetched.records);
        state.unsaid_end = is_end && (is_new || state.unsaid_end);
        state.at_end = is_end;
        if is_new {
            self.ready.notify_one();
        }
        if is_end {
            Fetched::Nothing
        } else {
            Fetched::Some
        }
    }

    fn failure(&self, refusal: Refusal, position: i64) -> LogError {
        let partition = self.partition.clone();
        match refusal {
            Refusal::OffsetOutOfRange => LogError::OutOfRange {
                partition,
                offset: Offset(position),
            },
            Refusal::UnknownTopicOrPartition => LogError::UnknownPartition(partition),
            refusal => LogError::Broken {
                partition,
                reason: refusal.to_string(),
            },
        }
    }

    /// Wakes the fetcher if there is something new for it.
    pub(super) fn look(&self, port: &BrokerPort) {
        let state = self.lock();
        if state.room_records() == 0 {
            return;
        }
        let as_before = port
            .peek(&self.address)
            .is_ok_and(|bounds| bounds.last_stable <= state.position);
        if !as_before {
            self.wake.notify_one();
        }
    }
}

impl Source for MemorySource {
    fn pull(&mut self, max_records: usize) -> Result<Pulled, LogError> {
        let mut state = self.queue.lock();
        let count = max_records.min(state.records.len());
        let records: Vec<LogRecord> = state.records.drain(..count).collect();
        let mut pulled = Pulled::default();
        // The end and the failure come behind the records.
        if state.records.is_empty() {
            if std::mem::take(&mut state.unsaid_end) {
                pulled.reached = Some(Offset(state.position));
            }
            if let Some(failure) = &state.failure {
                if records.is_empty() && pulled.reached.is_none() {
                    return Err(failure.clone());
                }
                self.queue.ready.notify_one();
            }
        }
        if !records.is_empty() {
            pulled.batch = Some(Box::new(MemoryBatch(records)));
            if !state.at_end {
                self.queue.wake.notify_one();
            }
        }
        Ok(pulled)
    }

    fn seek(&mut self, to: Offset) -> Result<(), LogError> {
        *self.queue.lock() = State {
            position: to.0,
            ..State::default()
        };
        self.queue.wake.notify_one();
        Ok(())
    }
}

/// Records as they were fetched.
struct MemoryBatch(Vec<LogRecord>);

impl Batch for MemoryBatch {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, index: usize) -> RawRecord<'_> {
        let record = &self.0[index];
        RawRecord {
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            timestamp: Millis(record.timestamp.0),
            offset: Offset(record.offset),
        }
    }

    fn headers(&self, index: usize) -> Headers {
        let mut headers = Headers::new();
        for (name, value) in &self.0[index].headers {
            headers.push(name.as_str(), value.as_deref().map(<[u8]>::to_vec));
        }
        headers
    }

    fn offset(&self, index: usize) -> Offset {
        Offset(self.0[index].offset)
    }
}
