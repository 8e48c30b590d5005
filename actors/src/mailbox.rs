//! [`Mailbox`]: the head of a Kafka partition in memory. Its tail *is* the partition: what nobody takes is not fetched.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use tanist_cluster::Offset;
use tokio::sync::Notify;

use crate::port::{Batch, LogError, RawRecord, Source};
use crate::record::Headers;

/// Records that are pulled at a time: what of them is looked at fits the first cache of a processor.
const BATCH_RECORDS: usize = 100;
/// Batches that are held for the slowest reader of a partition before the others have to wait for it.
const WINDOW_BATCHES: usize = 20;

/// A record in its batch.
#[derive(Clone)]
pub(crate) struct Item {
    batch: Rc<dyn Batch>,
    index: usize,
}

impl Item {
    pub(crate) fn new(batch: Rc<dyn Batch>, index: usize) -> Self {
        Self { batch, index }
    }

    pub(crate) fn raw(&self) -> RawRecord<'_> {
        self.batch.get(self.index)
    }

    pub(crate) fn offset(&self) -> Offset {
        self.batch.offset(self.index)
    }

    pub(crate) fn headers(&self) -> Headers {
        self.batch.headers(self.index)
    }
}

/// A reader of a mailbox: each agent of the topic is one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReaderId(usize);

/// See the module.
pub(crate) struct Mailbox {
    source: Box<dyn Source>,
    ready: Arc<Notify>,
    window: VecDeque<Rc<dyn Batch>>,
    /// Number of the first batch of `window`.
    first: u64,
    /// For each reader the number of the batch that is its next, counted from the first that was ever pulled.
    cursors: Vec<u64>,
    reached: Offset,
}

impl Mailbox {
    /// A mailbox over `source`, which notifies `ready`.
    pub(crate) fn new(source: Box<dyn Source>, ready: Arc<Notify>) -> Self {
        Self {
            source,
            ready,
            window: VecDeque::new(),
            first: 0,
            cursors: Vec::new(),
            reached: Offset(0),
        }
    }

    /// Adds a reader, before anything is read.
    pub(crate) fn reader(&mut self) -> ReaderId {
        self.cursors.push(0);
        ReaderId(self.cursors.len() - 1)
    }

    /// Notified when there may be more for a reader that got nothing.
    pub(crate) fn ready(&self) -> &Arc<Notify> {
        &self.ready
    }

    /// The next records for `reader`, if there are any now.
    pub(crate) fn next(&mut self, reader: ReaderId) -> Result<Option<Rc<dyn Batch>>, LogError> {
        if self.reached(reader).is_some() && !self.pull()? {
            return Ok(None);
        }
        let batch = self.window[(self.cursors[reader.0] - self.first) as usize].clone();
        self.cursors[reader.0] += 1;
        self.drop_passed();
        Ok(Some(batch))
    }

    /// All below this offset has been handed to `reader`; `None` while there is more for it here.
    pub(crate) fn reached(&self, reader: ReaderId) -> Option<Offset> {
        let at_end = self.cursors[reader.0] == self.first + self.window.len() as u64;
        at_end.then_some(self.reached)
    }

    fn pull(&mut self) -> Result<bool, LogError> {
        if self.window.len() >= WINDOW_BATCHES {
            return Ok(false);
        }
        let pulled = self.source.pull(BATCH_RECORDS)?;
        if let Some(reached) = pulled.reached {
            self.reached = reached;
        }
        let Some(batch) = pulled.batch else {
            return Ok(false);
        };
        self.window.push_back(batch.into());
        // There is something for the other readers and lanes too.
        self.ready.notify_waiters();
        Ok(true)
    }

    fn drop_passed(&mut self) {
        let slowest = self.cursors.iter().copied().min().unwrap_or(self.first);
        let was_full = self.window.len() >= WINDOW_BATCHES;
        while self.first < slowest {
            self.window.pop_front();
            self.first += 1;
        }
        if was_full && self.window.len() < WINDOW_BATCHES {
            self.ready.notify_waiters();
        }
    }
}
