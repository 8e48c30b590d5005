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
use crate::supervision::{FailureKind, History, LaneFailure, Task};
use crate::table::Ticket;
use crate::worker::Grip;

/// Dropped without having been settled (a panic, a lane that is cancelled), it undoes everything and gives its record
/// back.
pub(crate) struct InHand<'lane> {
    shard: &'lane Shard,
    grip: &'lane Grip,
    history: &'lane RefCell<History>,
    intake: Option<&'lane Rc<RefCell<Intake>>>,
    held: Held<'lane>,
    ticket: Ticket,
    /// Its handler has not come back at once.
    waits: Cell<bool>,
    settled: bool,
}

/// What it is.
#[derive(Clone, Copy)]
pub(crate) enum Held<'lane> {
    Record(&'lane Item),
    /// What belongs to no record.
    Aside(Task),
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
        history: &'lane RefCell<History>,
        intake: Option<&'lane Rc<RefCell<Intake>>>,
        held: Held<'lane>,
    ) -> Self {
        let ticket = shard.scope().begin();
        shard.scope().enter(ticket);
        grip.hold(held.item().map(Item::offset));
        Self {
            shard,
            grip,
            history,
            intake,
            held,
            ticket,
            waits: Cell::new(false),
            settled: false,
        }
    }

    /// Runs a handler; whenever it goes on, tables know whose writes come.
    pub(crate) async fn scoped<T>(&self, mut handler: Pin<&mut impl Future<Output = T>>) -> T {
        poll_fn(|task| {
            let offset = self.held.item().map(Item::offset);
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
                if let (Some(intake), Some(item)) = (self.intake, self.held.item()) {
                    intake.borrow_mut().finish(item);
                    self.shard.record_finished();
                }
                self.note_success();
                Settled::Done
            }
            outcome => {
                outputs.clear();
                self.shard.undo(self.ticket);
                match outcome {
                    Err(failure) if !conflict => {
                        self.give_back();
                        let task = self.held.task();
                        Settled::Failed(LaneFailure { task, ..failure })
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

    /// Mostly there is nothing to forget: this is called for every record.
    fn note_success(&self) {
        let mut history = self.history.borrow_mut();
        if !history.is_empty() {
            history.succeeded(self.held.task());
        }
    }

    fn give_back(&self) {
        if let (Some(intake), Some(item)) = (self.intake, self.held.item()) {
            intake.borrow_mut().give_back(item.clone());
        }
    }
}

impl<'lane> Held<'lane> {
    fn item(self) -> Option<&'lane Item> {
        match self {
            Self::Record(item) => Some(item),
            Self::Aside(_) => None,
        }
    }

    fn task(self) -> Task {
        match self {
            Self::Record(item) => Task::Record(item.offset()),
            Self::Aside(task) => task,
        }
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
        self.give_back();
        // A lane that is cancelled is not to blame for what another one panics at.
        if std::thread::panicking() {
            self.shard.panicked_at(self.held.task());
        }
    }
}
