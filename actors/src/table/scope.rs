//! [`Scope`]: which record's handler is running in a shard, and which others are unfinished.
//!
//! Handlers of different records may interleave where they wait (`concurrency(n)`, several agents in a shard). What one
//! has written must not be seen by another before it is finished, for it may yet be undone (S2). So a key that a handler
//! has touched, be it only read, belongs to its record until that is finished; another record that comes upon it is
//! undone at once and tried again later. Handlers that never wait never meet.

use std::cell::{Cell, RefCell};

/// A record in the hands of an agent. Never used again; 0 is nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

impl Ticket {
    pub(crate) const NOBODY: Self = Self(0);
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    last: Cell<u64>,
    current: Cell<Ticket>,
    /// Begun and not finished. As many as there are lanes in the shard, so a short list.
    open: RefCell<Vec<Ticket>>,
    /// Those of `open` that came upon a key of another record.
    conflicts: RefCell<Vec<Ticket>>,
}

impl Scope {
    /// A record is taken up.
    pub(crate) fn begin(&self) -> Ticket {
        let ticket = Ticket(self.last.get() + 1);
        self.last.set(ticket.0);
        self.open.borrow_mut().push(ticket);
        ticket
    }

    /// Its handler runs now, until it waits or returns.
    pub(crate) fn enter(&self, ticket: Ticket) {
        self.current.set(ticket);
    }

    /// No handler runs.
    pub(crate) fn leave(&self) {
        self.current.set(Ticket::NOBODY);
    }

    /// A record is finished, or given up. True if it came upon a key of another record.
    pub(crate) fn end(&self, ticket: Ticket) -> bool {
        self.open.borrow_mut().retain(|open| *open != ticket);
        if self.current.get() == ticket {
            self.leave();
        }
        let mut conflicts = self.conflicts.borrow_mut();
        let before = conflicts.len();
        conflicts.retain(|other| *other != ticket);
        conflicts.len() < before
    }

    /// Whose handler runs.
    pub(crate) fn current(&self) -> Ticket {
        self.current.get()
    }

    /// True if `ticket` is unfinished.
    pub(crate) fn is_open(&self, ticket: Ticket) -> bool {
        ticket != Ticket::NOBODY && self.open.borrow().contains(&ticket)
    }

    /// True if `owner` is another record than the current one, and unfinished. Notes the conflict.
    pub(crate) fn conflicts_with(&self, owner: Ticket) -> bool {
        let conflict = owner != self.current.get() && self.is_open(owner);
        if conflict {
            self.conflicts.borrow_mut().push(self.current.get());
        }
        conflict
    }

    /// True if records are unfinished.
    pub(crate) fn any_open(&self) -> bool {
        !self.open.borrow().is_empty()
    }
}
