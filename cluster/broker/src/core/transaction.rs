//! The transaction coordinator's view of one transactional id, as a state machine without a clock.
//!
//! ```text
//!             add                     end, fence or time-out             all markers written
//! Empty ───────────────► Ongoing ───────────────────────────► Preparing ────────────────────► Complete
//!                           ▲                                                                   │
//!                           └──────────────────────────── add ──────────────────────────────────┘
//! ```

use std::collections::BTreeSet;

use super::{Millis, Producer, TopicPartition};
use crate::error::{BrokerError, Result};

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Its records and offsets count.
    Commit,
    /// They never happened.
    Abort,
}

/// Where a transactional id stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionState {
    /// No transaction yet in this epoch.
    Empty,
    /// Open since that time.
    Ongoing {
        /// When its first partition or group was added.
        since: Millis,
    },
    /// Decided; its markers are written when that time comes.
    Preparing {
        /// How it ends.
        outcome: Outcome,
        /// When its markers are written.
        due: Millis,
    },
    /// Ended.
    Complete {
        /// How it ended.
        outcome: Outcome,
    },
}

/// What the answer to an InitProducerId is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Initiation {
    /// The epoch was raised, or the repeated call was recognised.
    Ready(Producer),
    /// The epochs of the producer id are used up: give it a new one.
    Exhausted,
    /// An open transaction has to be aborted first.
    Abort,
}

/// The last epoch but one; the last is left for fencing.
const LAST_EPOCH: i16 = i16::MAX - 1;
const NO_EPOCH: i16 = -1;

/// One transactional id.
#[derive(Debug, Clone)]
pub(crate) struct Transaction {
    pub(crate) producer: Producer,
    /// The epoch before the last InitProducerId that named one: recognises its repetition.
    last_epoch: i16,
    /// The producer id before the epochs of the present one began.
    previous_id: Option<i64>,
    timeout: Millis,
    pub(crate) state: TransactionState,
    pub(crate) partitions: BTreeSet<TopicPartition>,
    pub(crate) groups: BTreeSet<String>,
}

impl Transaction {
    pub(crate) fn new(producer_id: i64) -> Self {
        Self {
            producer: Producer {
                id: producer_id,
                epoch: NO_EPOCH,
            },
            last_epoch: NO_EPOCH,
            previous_id: None,
            timeout: Millis(0),
            state: TransactionState::Empty,
            partitions: BTreeSet::new(),
            groups: BTreeSet::new(),
        }
    }

    /// Decides on an InitProducerId; `current` is what the caller believes to be, if it says so.
    pub(crate) fn initiate(
        &mut self,
        timeout: Millis,
        current: Option<Producer>,
    ) -> Result<Initiation> {
        if let Some(current) = current.filter(|_| self.producer.epoch != NO_EPOCH)
            && current.id != self.producer.id
            && !(self.previous_id == Some(current.id) && current.epoch >= LAST_EPOCH)
        {
            return Err(BrokerError::ProducerFenced);
        }
        match self.state {
            TransactionState::Preparing { .. } => Err(BrokerError::ConcurrentTransactions),
            TransactionState::Ongoing { .. } => Ok(Initiation::Abort),
            TransactionState::Empty | TransactionState::Complete { .. } => {
                self.raise_epoch(timeout, current)
            }
        }
    }

    fn raise_epoch(&mut self, timeout: Millis, current: Option<Producer>) -> Result<Initiation> {
        let epoch = self.producer.epoch;
        let expected = current.map(|current| current.epoch);
        if epoch >= LAST_EPOCH && expected.is_none_or(|expected| expected == epoch) {
            return Ok(Initiation::Exhausted);
        }
        match expected {
            None => self.last_epoch = NO_EPOCH,
            Some(expected) if epoch == NO_EPOCH || expected == epoch => self.last_epoch = epoch,
            Some(expected) if expected == self.last_epoch => {
                return Ok(Initiation::Ready(self.producer));
            }
            Some(_) => return Err(BrokerError::ProducerFenced),
        }
        self.producer.epoch += 1;
        self.timeout = timeout;
        self.state = TransactionState::Empty;
        Ok(Initiation::Ready(self.producer))
    }

    /// Goes on with a new producer id, from epoch 0; the repetition of a call that named its epoch will be recognised.
    pub(crate) fn renew(
        &mut self,
        producer_id: i64,
        timeout: Millis,
        current: Option<Producer>,
    ) -> Producer {
        self.previous_id = Some(self.producer.id);
        self.last_epoch = current.map_or(NO_EPOCH, |current| current.epoch);
        self.producer = Producer {
            id: producer_id,
            epoch: 0,
        };
        self.timeout = timeout;
        self.state = TransactionState::Empty;
        self.producer
    }

    /// Checks that the caller is this producer, in its present epoch.
    fn check(&self, producer: Producer) -> Result<()> {
        if producer.id != self.producer.id {
            return Err(BrokerError::InvalidProducerIdMapping);
        }
        if producer.epoch != self.producer.epoch {
            return Err(BrokerError::ProducerFenced);
        }
        Ok(())
    }

    /// Lets a partition or group join; the first one opens the transaction.
    pub(crate) fn open(&mut self, producer: Producer, now: Millis) -> Result<()> {
        self.check(producer)?;
        match self.state {
            TransactionState::Preparing { .. } => return Err(BrokerError::ConcurrentTransactions),
            TransactionState::Ongoing { .. } => {}
            TransactionState::Empty | TransactionState::Complete { .. } => {
                self.state = TransactionState::Ongoing { since: now };
            }
        }
        Ok(())
    }

    /// Checks that this producer has an open transaction, as a write into it demands.
    pub(crate) fn verify(&self, producer: Producer) -> Result<()> {
        self.check(producer).map_err(|error| match error {
            // A write is answered with the older of the two names.
            BrokerError::ProducerFenced => BrokerError::InvalidProducerEpoch,
            other => other,
        })?;
        match self.state {
            TransactionState::Ongoing { .. } => Ok(()),
            TransactionState::Preparing { .. } => Err(BrokerError::ConcurrentTransactions),
            TransactionState::Empty | TransactionState::Complete { .. } => {
                Err(BrokerError::InvalidTxnState)
            }
        }
    }

    /// Decides on an EndTxn. True if the transaction is to be ended now, false if it ended so before.
    pub(crate) fn end(&self, producer: Producer, outcome: Outcome) -> Result<bool> {
        self.check(producer)?;
        match self.state {
            TransactionState::Ongoing { .. } => Ok(true),
            TransactionState::Complete { outcome: ended } if ended == outcome => Ok(false),
            TransactionState::Preparing { outcome: ends, .. } if ends == outcome => {
                Err(BrokerError::ConcurrentTransactions)
            }
            TransactionState::Empty
            | TransactionState::Complete { .. }
            | TransactionState::Preparing { .. } => Err(BrokerError::InvalidTxnState),
        }
    }

    /// Shuts out the present epoch: what aborts on behalf of another does this first.
    pub(crate) fn fence(&mut self) {
        self.producer.epoch = self.producer.epoch.saturating_add(1);
        self.last_epoch = NO_EPOCH;
    }

    /// Whether it has been open for longer than its time-out.
    pub(crate) fn is_overdue(&self, now: Millis) -> bool {
        matches!(self.state, TransactionState::Ongoing { since } if since.plus(self.timeout) < now)
    }
}
