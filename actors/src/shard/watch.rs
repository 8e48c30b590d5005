//! [`Watch`]: the handlers of a shard that have not come back at once, and what to say of one that takes long. Kafka would
//! not notice: whoever polls for a consumer polls for those that stand still, too.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tanist_cluster::Offset;

use super::{Shard, ShardState};
use crate::intake::Intake;
use crate::patience::{Patience, Say};
use crate::port::TopicPartition;
use crate::table::Ticket;
use crate::worker::Grip;

/// See the module.
#[derive(Default)]
pub(super) struct Watch {
    handlers: RefCell<BTreeMap<Ticket, Handler>>,
    patience: RefCell<Patience>,
}

struct Handler {
    since: Duration,
    /// As progress is kept: agent and topic. None for timers.
    input: Option<(String, TopicPartition, Offset)>,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Nothing new.
    Nothing,
    /// This is to be said, and shown.
    Stuck(String),
    /// It goes on.
    Over,
}

impl Watch {
    pub(super) fn begin(
        &self,
        ticket: Ticket,
        since: Duration,
        input: Option<(String, TopicPartition, Offset)>,
    ) {
        let handler = Handler { since, input };
        self.handlers.borrow_mut().insert(ticket, handler);
    }

    pub(super) fn end(&self, ticket: Ticket) {
        self.handlers.borrow_mut().remove(&ticket);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.handlers.borrow().is_empty() && !self.patience.borrow().has_spoken()
    }

    /// Looks at the one that takes longest.
    pub(super) fn look(&self, now: Duration) -> Finding {
        let handlers = self.handlers.borrow();
        let oldest = handlers.values().min_by_key(|it| it.since);
        let age = oldest.map_or(Duration::ZERO, |it| now.saturating_sub(it.since));
        match self.patience.borrow_mut().look(age) {
            Say::Nothing => return Finding::Nothing,
            Say::Over => return Finding::Over,
            Say::Lasts => {}
        }
        let input = oldest.and_then(|it| it.input.as_ref());
        let what = describe(input.map(|(input, partition, offset)| (&**input, partition, *offset)));
        let seconds = age.as_secs();
        Finding::Stuck(format!(
            "{what} has been in its handler for {seconds} s, and what comes behind it waits"
        ))
    }
}

/// What is in a handler: a record of an input, which is called as progress is kept, or a timer.
pub(crate) fn describe(input: Option<(&str, &TopicPartition, Offset)>) -> String {
    let Some((input, partition, offset)) = input else {
        return "a timer".to_owned();
    };
    let agent = input.strip_suffix(&*partition.topic);
    let agent = agent.and_then(|it| it.strip_suffix('@')).unwrap_or(input);
    format!("agent {agent} at {partition} offset {offset}")
}

impl Shard {
    /// Where a lane that reads `intake`, or only runs timers, shows what it is at.
    pub(crate) fn grip(&self, intake: Option<&Rc<RefCell<Intake>>>) -> Grip {
        let input = intake.and_then(|intake| self.input_of(intake));
        self.desk.grip(self.id(), input)
    }

    fn input_of(&self, intake: &Rc<RefCell<Intake>>) -> Option<(String, TopicPartition)> {
        let mut agents = self.intakes.iter();
        let agent = agents.find(|agent| Rc::ptr_eq(&agent.intake, intake))?;
        Some((agent.key.clone(), intake.borrow().partition().clone()))
    }

    /// The handler of `ticket` has not come back at once; it has a record of `intake` in hand, or is a timer.
    pub(crate) fn handler_waits(
        &self,
        ticket: Ticket,
        intake: Option<&Rc<RefCell<Intake>>>,
        offset: Option<Offset>,
    ) {
        let input = intake.zip(offset).and_then(|(intake, offset)| {
            let (input, partition) = self.input_of(intake)?;
            Some((input, partition, offset))
        });
        self.watch.begin(ticket, self.elapsed(), input);
        self.desk.note_waiting();
    }

    /// It has come back, or is undone.
    pub(crate) fn handler_is_back(&self, ticket: Ticket) {
        self.watch.end(ticket);
    }

    /// Whether there is nothing to look at.
    pub(crate) fn waits_for_nobody(&self) -> bool {
        self.watch.is_empty()
    }

    /// Says and shows what takes long.
    pub(crate) fn look_at_handlers(&self) {
        let is_stuck = matches!(*self.state.borrow(), ShardState::Stuck { .. });
        let is_running = *self.state.borrow() == ShardState::Running;
        match self.watch.look(self.elapsed()) {
            Finding::Stuck(reason) => {
                tracing::warn!(shard = %self.id(), "{reason}");
                if is_running || is_stuck {
                    self.set_state(ShardState::Stuck { reason });
                }
            }
            Finding::Over if is_stuck => self.set_state(ShardState::Running),
            Finding::Over | Finding::Nothing => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tanist_cluster::Partition;

    use super::*;
    use crate::table::Scope;

    #[test]
    fn a_handler_that_takes_long_is_told_again_and_again_until_it_is_over() {
        let (watch, scope) = (Watch::default(), Scope::default());
        let second = Duration::from_secs(1);
        let (slow, other) = (scope.begin(), scope.begin());
        let orders = TopicPartition::new("orders", Partition(3));
        let input = Some(("count@orders".to_owned(), orders, Offset(7)));
        watch.begin(slow, second, input);
        watch.begin(other, second * 2, None);
        let mut told = Vec::new();
        for seconds in 1..=100 {
            match watch.look(second * seconds) {
                Finding::Stuck(text) => told.push((seconds, text)),
                finding => assert_eq!(finding, Finding::Nothing),
            }
        }
        let at: Vec<u32> = told.iter().map(|(at, _)| *at).collect();
        assert_eq!(at, [11, 21, 41, 81]);
        let expected = "agent count at orders[3] offset 7 has been in its handler for 10 s";
        assert!(told[0].1.starts_with(expected), "{told:?}");
        watch.end(slow);
        let timer = watch.look(second * 200);
        assert!(matches!(timer, Finding::Stuck(text) if text.starts_with("a timer has been")));
        watch.end(other);
        assert!(!watch.is_empty(), "that it is over is still to be said");
        assert_eq!(watch.look(second * 201), Finding::Over);
        assert_eq!(watch.look(second * 202), Finding::Nothing);
        assert!(watch.is_empty());
    }
}
