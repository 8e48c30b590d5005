//! What a partition remembers of a producer: its epoch, its last batches, and where its open transaction began.

use std::collections::VecDeque;

use super::batch::{Header, wrap_sequence};
use super::{Millis, Producer};
use crate::error::{BrokerError, Result};

/// How many batches of a producer are recognised when they come again, as in Kafka.
const REMEMBERED_BATCHES: usize = 5;

/// The numbers of a batch that was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
}

/// What has to happen with a batch of a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is new: append it.
    Append,
    /// It was appended before, from this offset on.
    Duplicate { base_offset: i64 },
}

/// The state of one producer in one partition.
#[derive(Debug, Clone)]
pub(crate) struct ProducerState {
    pub(crate) epoch: i16,
    seen: VecDeque<Seen>,
    /// Offset of the first record of its open transaction here.
    pub(crate) transaction_start: Option<i64>,
    pub(crate) last_active: Millis,
}

impl ProducerState {
    pub(crate) fn new(epoch: i16, now: Millis) -> Self {
        Self {
            epoch,
            seen: VecDeque::new(),
            transaction_start: None,
            last_active: now,
        }
    }

    /// Decides on a batch of this producer. A producer that the partition does not know may begin with any number.
    pub(crate) fn admit(&self, header: &Header, producer: Producer) -> Result<Admission> {
        if producer.epoch < self.epoch {
            return Err(BrokerError::InvalidProducerEpoch);
        }
        if producer.epoch == self.epoch
            && let Some(seen) = self.seen.iter().find(|seen| {
                seen.first_sequence == header.base_sequence
                    && seen.last_sequence == header.last_sequence()
            })
        {
            return Ok(Admission::Duplicate {
                base_offset: seen.base_offset,
            });
        }
        if header.base_sequence != self.expected_sequence(producer.epoch) {
            return Err(BrokerError::OutOfOrderSequence);
        }
        if self.transaction_start.is_some() && !header.transactional {
            return Err(BrokerError::InvalidTxnState);
        }
        Ok(Admission::Append)
    }

    /// A new epoch begins anew with 0.
    fn expected_sequence(&self, epoch: i16) -> i32 {
        match self.seen.back() {
            Some(last) if epoch == self.epoch => wrap_sequence(last.last_sequence, 1),
            _ => 0,
        }
    }

    /// Takes an appended batch into account.
    pub(crate) fn appended(&mut self, header: &Header, epoch: i16, base_offset: i64, now: Millis) {
        self.enter_epoch(epoch);
        if self.seen.len() == REMEMBERED_BATCHES {
            self.seen.pop_front();
        }
        self.seen.push_back(Seen {
            first_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            base_offset,
        });
        if header.transactional {
            self.transaction_start.get_or_insert(base_offset);
        }
        self.last_active = now;
    }

    /// Takes a marker into account; returns where the transaction that it ends began.
    pub(crate) fn ended(&mut self, epoch: i16, now: Millis) -> Option<i64> {
        self.enter_epoch(epoch);
        self.last_active = now;
        self.transaction_start.take()
    }

    fn enter_epoch(&mut self, epoch: i16) {
        if epoch > self.epoch {
            self.epoch = epoch;
            self.seen.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(0);

    fn header(base_sequence: i32, count: i32) -> Header {
        Header {
            count,
            max_timestamp: NOW,
            producer: None,
            base_sequence,
            transactional: true,
            control: false,
        }
    }

    fn producer(epoch: i16) -> Producer {
        Producer { id: 1, epoch }
    }

    fn state_after(batches: &[(i32, i32)]) -> ProducerState {
        let mut state = ProducerState::new(0, NOW);
        for (offset, (sequence, count)) in (0..).zip(batches) {
            state.appended(&header(*sequence, *count), 0, offset, NOW);
        }
        state
    }

    #[test]
    fn a_batch_follows_the_last_sequence() {
        let state = state_after(&[(0, 3)]);
        assert_eq!(
            state.admit(&header(3, 1), producer(0)),
            Ok(Admission::Append)
        );
        assert_eq!(
            state.admit(&header(4, 1), producer(0)),
            Err(BrokerError::OutOfOrderSequence)
        );
    }

    #[test]
    fn the_last_five_batches_are_recognised_and_no_older_one() {
        let state = state_after(&[(0, 1), (1, 1), (2, 1), (3, 1), (4, 1), (5, 1)]);
        for sequence in 1..=5 {
            let base_offset = i64::from(sequence);
            assert_eq!(
                state.admit(&header(sequence, 1), producer(0)),
                Ok(Admission::Duplicate { base_offset })
            );
        }
        assert_eq!(
            state.admit(&header(0, 1), producer(0)),
            Err(BrokerError::OutOfOrderSequence)
        );
    }

    #[test]
    fn a_new_epoch_begins_with_zero_and_shuts_out_the_old_one() {
        let mut state = state_after(&[(0, 3)]);
        assert_eq!(
            state.admit(&header(3, 1), producer(1)),
            Err(BrokerError::OutOfOrderSequence)
        );
        assert_eq!(
            state.admit(&header(0, 1), producer(1)),
            Ok(Admission::Append)
        );
        state.ended(1, NOW);
        assert_eq!(
            state.admit(&header(3, 1), producer(0)),
            Err(BrokerError::InvalidProducerEpoch)
        );
        assert_eq!(
            state.admit(&header(3, 1), producer(1)),
            Err(BrokerError::OutOfOrderSequence)
        );
        assert_eq!(
            state.admit(&header(0, 1), producer(1)),
            Ok(Admission::Append)
        );
    }

    #[test]
    fn sequences_wrap_to_zero() {
        let state = state_after(&[(i32::MAX - 1, 2)]);
        assert_eq!(
            state.admit(&header(0, 1), producer(0)),
            Ok(Admission::Append)
        );
        let state = state_after(&[(i32::MAX, 2)]);
        assert_eq!(
            state.admit(&header(1, 1), producer(0)),
            Ok(Admission::Append)
        );
    }

    #[test]
    fn an_open_transaction_takes_no_plain_batch() {
        let state = state_after(&[(0, 1)]);
        let plain = Header {
            transactional: false,
            ..header(1, 1)
        };
        assert_eq!(
            state.admit(&plain, producer(0)),
            Err(BrokerError::InvalidTxnState)
        );
    }
}
