//! [`Intake`]: which record of a partition an agent takes up next, and which it has finished.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use tanist_cluster::Offset;
use tokio::sync::Notify;

use crate::mailbox::{Item, Mailbox, ReaderId};
use crate::port::{Batch, LogError, TopicPartition};
use crate::tracker::{Progress, Tracker};

/// Records that wait here because another of their key is in hand, per lane: further than this `concurrency(n)` does not
/// look ahead.
const WAITING_PER_LANE: usize = 32;
/// Records of an agent that are in hand or wait here, shared by the agents of a shard: what a commit tells of them is
/// within the 4096 bytes that a consumer group takes beside an offset.
pub(crate) const MAX_OPEN: usize = 256;

/// How records are handed to the lanes of an agent.
#[derive(Debug)]
enum Delivery {
    /// One after the other.
    InOrder,
    /// Several of different keys at once.
    Concurrent {
        lanes: usize,
        max_open: usize,
        /// Keys in hand; a record without a key is nobody's rival.
        held: Vec<Vec<u8>>,
    },
    /// `at_most_once`: one after the other, but only what a commit has passed already.
    AfterCommit {
        /// In the commit that is in flight.
        sealed: Offset,
        /// Committed: may be handled.
        released: Offset,
        /// A lane has this one.
        in_hand: Option<Offset>,
    },
}

/// How an agent wants its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    InOrder,
    Concurrent { lanes: usize, max_open: usize },
    AfterCommit,
}

/// See the module.
pub(crate) struct Intake {
    partition: TopicPartition,
    mailbox: Rc<RefCell<Mailbox>>,
    reader: ReaderId,
    tracker: Tracker,
    delivery: Delivery,
    /// Taken from the mailbox, and the first of its records that was not handed out.
    batch: Option<(Rc<dyn Batch>, usize)>,
    /// Taken from the mailbox and not handed out, in offset order: given back, or not to be handled yet.
    waiting: VecDeque<Item>,
    stopping: bool,
}

/// What an [`Intake`] has for a lane.
pub(crate) enum Next {
    Record(Item),
    /// Nothing now.
    Wait,
    /// Nothing any more: the shard is being stopped.
    End,
}

impl Intake {
    pub(crate) fn new(
        partition: TopicPartition,
        mailbox: &Rc<RefCell<Mailbox>>,
        mode: Mode,
        progress: &Progress,
    ) -> Self {
        let delivery = match mode {
            Mode::InOrder => Delivery::InOrder,
            Mode::Concurrent { lanes, max_open } => Delivery::Concurrent {
                lanes,
                max_open,
                held: Vec::new(),
            },
            Mode::AfterCommit => Delivery::AfterCommit {
                sealed: progress.next,
                released: progress.next,
                in_hand: None,
            },
        };
        Self {
            partition,
            reader: mailbox.borrow_mut().reader(),
            mailbox: mailbox.clone(),
            tracker: Tracker::resume(progress),
            delivery,
            batch: None,
            waiting: VecDeque::new(),
            stopping: false,
        }
    }

    pub(crate) fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// Notified when [`Intake::next`] may have something after it had nothing.
    pub(crate) fn ready(&self) -> Arc<Notify> {
        self.mailbox.borrow().ready().clone()
    }

    /// What the agent has finished (for `at_most_once`: what it will not be given again).
    pub(crate) fn progress(&self) -> Progress {
        self.tracker.progress()
    }

    /// The smallest offset that is not finished, be it announced as done already.
    pub(crate) fn position(&self) -> Offset {
        let announced = match self.delivery {
            Delivery::AfterCommit { in_hand, .. } => {
                in_hand.or_else(|| self.waiting.front().map(Item::offset))
            }
            _ => None,
        };
        announced.unwrap_or_else(|| self.tracker.committable())
    }

    /// Hands out no more: [`Next::End`] comes. Only what a commit has announced as done is still to be done.
    pub(crate) fn stop(&mut self) {
        self.stopping = true;
        if !matches!(self.delivery, Delivery::AfterCommit { .. }) {
            self.waiting.clear();
        }
        self.wake();
    }

    fn wake(&self) {
        self.mailbox.borrow().ready().notify_waiters();
    }

    /// The next record to be handled.
    pub(crate) fn next(&mut self) -> Result<Next, LogError> {
        let item = match &self.delivery {
            Delivery::InOrder => match self.waiting.pop_front() {
                Some(item) => Some(item),
                None => self.take()?,
            },
            Delivery::Concurrent { .. } => self.next_of_free_key()?,
            Delivery::AfterCommit { .. } => self.next_released()?,
        };
        Ok(match item {
            Some(item) => Next::Record(item),
            None if self.stopping && self.waiting.is_empty() => Next::End,
            None => Next::Wait,
        })
    }

    /// The next record of the mailbox that was not finished before a restart.
    fn take(&mut self) -> Result<Option<Item>, LogError> {
        if self.stopping {
            return Ok(None);
        }
        while let Some(item) = self.next_in_batch()? {
            if !self.tracker.is_done(item.offset()) {
                return Ok(Some(item));
            }
        }
        let mailbox = self.mailbox.borrow();
        if let Some(reached) = mailbox
            .reached(self.reader)
            .filter(|_| self.waiting.is_empty())
        {
            self.tracker.pass(reached);
        }
        Ok(None)
    }

    fn next_in_batch(&mut self) -> Result<Option<Item>, LogError> {
        let (batch, index) = match self.batch.take() {
            Some(rest) => rest,
            None => match self.mailbox.borrow_mut().next(self.reader)? {
                Some(batch) => (batch, 0),
                None => return Ok(None),
            },
        };
        if index + 1 < batch.len() {
            self.batch = Some((batch.clone(), index + 1));
        }
        Ok(Some(Item::new(batch, index)))
    }

    fn next_of_free_key(&mut self) -> Result<Option<Item>, LogError> {
        if let Some(place) = self.first_of_free_key() {
            let item = self.waiting.remove(place);
            return Ok(item.inspect(|item| self.hold(item)));
        }
        let Delivery::Concurrent {
            lanes, max_open, ..
        } = self.delivery
        else {
            return Ok(None);
        };
        while self.waiting.len() < lanes * WAITING_PER_LANE && self.tracker.in_flight() < max_open {
            let Some(item) = self.take()? else {
                return Ok(None);
            };
            self.tracker.begin(item.offset());
            if self.is_free(&item) && !self.waiting.iter().any(|before| same_key(before, &item)) {
                self.hold(&item);
                return Ok(Some(item));
            }
            self.waiting.push_back(item);
        }
        Ok(None)
    }

    /// The first waiting record whose key is neither in hand nor that of one that waits before it.
    fn first_of_free_key(&self) -> Option<usize> {
        let mut before: BTreeSet<&[u8]> = BTreeSet::new();
        self.waiting.iter().position(|item| match item.raw().key {
            None => true,
            Some(key) => before.insert(key) && self.is_free(item),
        })
    }

    fn is_free(&self, item: &Item) -> bool {
        match (&self.delivery, item.raw().key) {
            (Delivery::Concurrent { held, .. }, Some(key)) => !held.iter().any(|held| held == key),
            _ => true,
        }
    }

    fn hold(&mut self, item: &Item) {
        if let (Delivery::Concurrent { held, .. }, Some(key)) = (&mut self.delivery, item.raw().key)
        {
            held.push(key.to_vec());
        }
    }

    fn release(&mut self, item: &Item) {
        if let (Delivery::Concurrent { held, .. }, Some(key)) = (&mut self.delivery, item.raw().key)
            && let Some(place) = held.iter().position(|held| held == key)
        {
            held.swap_remove(place);
            if !self.waiting.is_empty() {
                self.wake();
            }
        }
    }

    fn next_released(&mut self) -> Result<Option<Item>, LogError> {
        // What is announced at once is what one batch holds: with the commit in between, more would only be lost.
        while self.waiting.len() < WAITING_PER_LANE {
            let Some(item) = self.take()? else { break };
            self.tracker.pass(item.offset().next());
            self.waiting.push_back(item);
        }
        let Delivery::AfterCommit {
            released, in_hand, ..
        } = &mut self.delivery
        else {
            return Ok(None);
        };
        let first = self.waiting.front().map(Item::offset);
        *in_hand = first.filter(|first| first < released);
        match in_hand {
            Some(_) => Ok(self.waiting.pop_front()),
            None => Ok(None),
        }
    }

    /// The record is finished.
    pub(crate) fn finish(&mut self, item: &Item) {
        match &mut self.delivery {
            Delivery::InOrder => self.tracker.finish_next(item.offset()),
            Delivery::Concurrent { .. } => {
                self.tracker.finish(item.offset());
                self.release(item);
            }
            Delivery::AfterCommit { in_hand, .. } => *in_hand = None,
        }
    }

    /// The record was not finished and must be handled again.
    pub(crate) fn give_back(&mut self, item: Item) {
        if self.stopping && !matches!(self.delivery, Delivery::AfterCommit { .. }) {
            return self.release(&item);
        }
        let place = self
            .waiting
            .partition_point(|other| other.offset() < item.offset());
        self.waiting.insert(place, item.clone());
        self.release(&item);
    }

    /// A commit that contains [`Intake::progress`] as it is now was sealed.
    pub(crate) fn sealed(&mut self) {
        let end = self.tracker.committable();
        if let Delivery::AfterCommit { sealed, .. } = &mut self.delivery {
            *sealed = end;
        }
    }

    /// That commit has succeeded.
    pub(crate) fn committed(&mut self) {
        if let Delivery::AfterCommit {
            sealed, released, ..
        } = &mut self.delivery
        {
            *released = *sealed;
            self.wake();
        }
    }

    /// True if something waits for a commit to be allowed ([`Mode::AfterCommit`]).
    pub(crate) fn wants_commit(&self) -> bool {
        match self.delivery {
            Delivery::AfterCommit { sealed, .. } => self.tracker.committable() > sealed,
            _ => false,
        }
    }
}

fn same_key(a: &Item, b: &Item) -> bool {
    a.raw().key.is_some_and(|key| b.raw().key == Some(key))
}
