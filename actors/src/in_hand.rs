//! [`InHand`]: a record, or a tick, from the moment it is taken up until its effects are kept or undone (S2).

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;

use crate::failure::Handled;
use crate::intake::Intake;
use crate::mailbox::Item;
use crate::shard::Shard;
use crate::stage::Stage;
use crate::supervision::{FailureKind, LaneFailure};
use crate::table::Ticket;
use crate::worker::Grip;

/// Dropped without having been settled (a panic, a lane that is cancelled), it undoes everything and gives its record
/// back.
pub(crate) struct InHand<'lane> {
    shard: &'lane Shard,
    grip: &'lane Grip,
    intake: Option<&'lane Rc<RefCell<Intake>>>,
    item: Option<&'lane Item>,
    ticket: Ticket,
    /// Its handler has not come back at once.
    waits: Cell<bool>,
    settled: bool,
}

/// How it ended.
pub(crate) enum Settled {
    /// Its effects are in the stage.
    Done,
    /// Undone; to be handled again as soon as another record of the shard is finished.
    Conflict,
    /// Undone, and given back.
    Failed(LaneFailure),
}

impl<'lane> InHand<'lane> {
    pub(crate) fn begin(
        shard: &'lane Rc<Shard>,
        grip: &'lane Grip,
        intake: Option<&'lane Rc<RefCell<Intake>>>,
        item: Option<&'lane Item>,
    ) -> Self {
        let ticket = shard.scope().begin();
        shard.scope().enter(ticket);
        grip.hold(item.map(Item::offset));
        Self {
            shard,
            grip,
            intake,
            item,
            ticket,
            waits: Cell::new(false),
            settled: false,
        }
    }

    /// Runs a handler; whenever it goes on, tables know whose writes come.
    pub(crate) async fn scoped<T>(&self, mut handler: Pin<&mut impl Future<Output = T>>) -> T {
        poll_fn(|task| {
            let offset = self.item.map(Item::offset);
            self.shard.scope().enter(self.ticket);
            self.grip.hold(offset);
            let polled = handler.as_mut().poll(task);
            self.grip.release();
            self.shard.scope().leave();
            if polled.is_pending() && !self.waits.replace(true) {
                self.shard.handler_waits(self.ticket, self.intake, offset);
            }
            polled
        })
        .await
    }

    /// Keeps what was done, or undoes it. `outputs` are what it has sent.
    pub(crate) fn settle(self, handled: Handled, outputs: &mut Stage) -> Settled {
        let outcome = handled.map_err(|failure| LaneFailure::new(FailureKind::Error, failure));
        self.close(outcome, outputs)
    }

    /// The same for what touches no table, and so meets no other record.
    pub(crate) fn settle_with(
        self,
        outcome: Result<(), LaneFailure>,
        outputs: &mut Stage,
    ) -> Result<(), LaneFailure> {
        match self.close(outcome, outputs) {
            Settled::Done | Settled::Conflict => Ok(()),
            Settled::Failed(failure) => Err(failure),
        }
    }

    fn close(mut self, outcome: Result<(), LaneFailure>, outputs: &mut Stage) -> Settled {
        self.settled = true;
        self.note_end();
        let outcome = outcome.and_then(|()| self.shard.takes(outputs));
        let conflict = self.shard.scope().end(self.ticket);
        match outcome {
            Ok(()) if !conflict => {
                self.shard.keep(self.ticket, outputs);
                if let (Some(intake), Some(item)) = (self.intake, self.item) {
                    intake.borrow_mut().finish(item);
                    self.shard.record_finished();
                }
                Settled::Done
            }
            outcome => {
                outputs.clear();
                self.shard.undo(self.ticket);
                match outcome {
                    Err(failure) if !conflict => {
                        let record = self.give_back();
                        Settled::Failed(LaneFailure { record, ..failure })
                    }
                    _ => Settled::Conflict,
                }
            }
        }
    }

    fn note_end(&self) {
        self.grip.release();
        if self.waits.get() {
            self.shard.handler_is_back(self.ticket);
        }
    }

    fn give_back(&mut self) -> Option<(crate::port::TopicPartition, tanist_cluster::Offset)> {
        let (intake, item) = (self.intake?, self.item.take()?);
        let offset = item.offset();
        let mut intake = intake.borrow_mut();
        intake.give_back(item.clone());
        Some((intake.partition().clone(), offset))
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        self.note_end();
        self.shard.scope().end(self.ticket);
        self.shard.undo(self.ticket);
        let record = self.give_back();
        self.shard.interrupted(record);
    }
}
