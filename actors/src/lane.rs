//! [`Lane`]: an instance of an agent at work: takes up a record, has it handled, keeps or undoes its effects.

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::agent::{Agent, Timer};
use crate::context::Context;
use crate::failure::Handled;
use crate::in_hand::{Held, InHand, Settled};
use crate::intake::{Intake, Next};
use crate::mailbox::Item;
use crate::shard::Shard;
use crate::stream::{Destination, Place, Read, Repartition};
use crate::supervision::{FailureKind, History, LaneFailure, Task};
use crate::topic::Topics;
use crate::worker::{Grip, LaneCount};

/// How long a lane handles records before it lets the others of its worker go on. The longer, the more of its table is
/// still in the processor's cache; the shorter, the sooner a commit or a shard that is being moved gets its turn.
const TURN: Duration = Duration::from_millis(1);
/// The same in records, where the clock stands still.
const TURN_RECORDS: u32 = 4000;
/// Records from one look at the clock to the next.
const LOOK_RECORDS: u32 = 16;

/// How a lane ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaneExit {
    /// As it was asked to.
    Stopped,
    /// Its agent failed. What the record did is undone.
    Failed(LaneFailure),
}

/// See the module.
pub struct Lane {
    shard: Rc<Shard>,
    /// Among those of its agent.
    number: usize,
    intake: Option<Rc<RefCell<Intake>>>,
    place: Place,
    cx: Context,
    grip: Grip,
    history: Rc<RefCell<History>>,
    /// Records handled since its turn began.
    handled: u32,
    turn_began: Duration,
    _counted: LaneCount,
}

impl Lane {
    pub(crate) fn new(
        shard: &Rc<Shard>,
        number: usize,
        intake: Option<Rc<RefCell<Intake>>>,
        history: &Rc<RefCell<History>>,
    ) -> Self {
        let topic = intake
            .as_ref()
            .map(|intake| intake.borrow().partition().topic.clone());
        Self {
            shard: shard.clone(),
            number,
            grip: shard.grip(intake.as_ref()),
            intake,
            place: Place {
                topic: topic.as_deref().unwrap_or_default().into(),
                partition: shard.id().partition,
            },
            cx: shard.agent_context(),
            history: history.clone(),
            handled: 0,
            turn_began: shard.elapsed(),
            _counted: shard.count_lane(),
        }
    }

    /// Runs `agent` until the shard is stopped, or it fails.
    pub(crate) async fn run<A: Agent>(
        mut self,
        mut agent: A,
        read: &Read<A::Key, A::Value>,
        timers: &[Timer<A>],
    ) -> LaneExit {
        match self.work(&mut agent, read, timers).await {
            Ok(()) => LaneExit::Stopped,
            Err(failure) => LaneExit::Failed(failure),
        }
    }

    async fn work<A: Agent>(
        &mut self,
        agent: &mut A,
        read: &Read<A::Key, A::Value>,
        timers: &[Timer<A>],
    ) -> Result<(), LaneFailure> {
        let lane = self.number;
        self.aside(Task::Start { lane }, async |cx| agent.started(cx).await)
            .await?;
        let mut due = Due::new(timers.iter().map(|timer| timer.every), self.shard.elapsed());
        loop {
            while let Some(timer) = due.take(|| self.shard.elapsed()) {
                self.aside(Task::Tick { lane, timer }, async |cx| {
                    (timers[timer].run)(agent, cx).await
                })
                .await?;
            }
            match self.next()? {
                Next::Record(item) => self.handle(agent, read, item).await?,
                Next::Wait => self.wait(due.next()).await,
                Next::End => break,
            }
            self.breathe().await;
        }
        self.aside(Task::Stop { lane }, async |cx| agent.stopped(cx).await)
            .await
    }

    /// Writes every record on to a repartition topic, until the shard is stopped.
    pub(crate) async fn rewrite(mut self, through: &Repartition, topics: &Topics) -> LaneExit {
        let Some(to) = through.destination(topics) else {
            let message = format!("the repartition topic {} is not known", through.name);
            return LaneExit::Failed(LaneFailure::new(FailureKind::Input, message));
        };
        loop {
            let step = match self.next() {
                Ok(Next::Record(item)) => self.rewrite_one(through, to, item),
                Ok(Next::Wait) => {
                    self.wait(None).await;
                    Ok(())
                }
                Ok(Next::End) => return LaneExit::Stopped,
                Err(failure) => Err(failure),
            };
            if let Err(failure) = step {
                return LaneExit::Failed(failure);
            }
            self.breathe().await;
        }
    }

    fn rewrite_one(
        &mut self,
        through: &Repartition,
        to: Destination,
        item: Item,
    ) -> Result<(), LaneFailure> {
        let in_hand = InHand::begin(
            &self.shard,
            &self.grip,
            &self.history,
            self.intake.as_ref(),
            Held::Record(&item),
        );
        let written = (through.rewrite)(&item, &self.place, to, self.cx.outputs());
        let written = written
            .map_err(|error| LaneFailure::new(FailureKind::Undecodable, error))
            .and_then(|()| {
                let checked = self.cx.check_size();
                checked.map_err(|error| LaneFailure::new(FailureKind::Error, error))
            });
        if written.is_ok() {
            self.shard.stage(self.cx.outputs());
        }
        in_hand.settle_with(written, self.cx.outputs())
    }

    /// Runs timers alone, until the shard is stopped.
    pub(crate) async fn run_timers(mut self, timers: &[Timer<()>]) -> LaneExit {
        let lane = self.number;
        let mut due = Due::new(timers.iter().map(|timer| timer.every), self.shard.elapsed());
        while !self.shard.is_stopping() {
            while let Some(timer) = due.take(|| self.shard.elapsed()) {
                if let Err(failure) = self
                    .aside(Task::Tick { lane, timer }, async |cx| {
                        (timers[timer].run)(&mut (), cx).await
                    })
                    .await
                {
                    return LaneExit::Failed(failure);
                }
            }
            self.wait(due.next()).await;
        }
        LaneExit::Stopped
    }

    fn next(&mut self) -> Result<Next, LaneFailure> {
        let Some(intake) = &self.intake else {
            return Ok(if self.shard.is_stopping() {
                Next::End
            } else {
                Next::Wait
            });
        };
        let mut intake = intake.borrow_mut();
        let next = intake.next();
        if intake.wants_commit() {
            self.shard.wants_commit();
        }
        next.map_err(|error| LaneFailure::new(FailureKind::Input, error))
    }

    async fn handle<A: Agent>(
        &mut self,
        agent: &mut A,
        read: &Read<A::Key, A::Value>,
        item: Item,
    ) -> Result<(), LaneFailure> {
        loop {
            let in_hand = InHand::begin(
                &self.shard,
                &self.grip,
                &self.history,
                self.intake.as_ref(),
                Held::Record(&item),
            );
            let record = match read(&item, &self.place) {
                Ok(Some(record)) => record,
                Ok(None) => return in_hand.settle_with(Ok(()), self.cx.outputs()),
                Err(error) => {
                    let failure = LaneFailure::new(FailureKind::Undecodable, error);
                    return in_hand.settle_with(Err(failure), self.cx.outputs());
                }
            };
            self.cx.begin(Some(item.clone()), Some(record.timestamp));
            let handled = {
                let handler = pin!(agent.handle(record, &mut self.cx));
                in_hand.scoped(handler).await
            };
            match in_hand.settle(handled, self.cx.outputs()) {
                Settled::Done => return Ok(()),
                Settled::Failed(failure) => return Err(failure),
                Settled::Conflict => self.shard.wait_for_others().await,
            }
        }
    }

    /// What belongs to no record: timers, `started`, `stopped`.
    async fn aside(
        &mut self,
        task: Task,
        mut work: impl AsyncFnMut(&mut Context) -> Handled,
    ) -> Result<(), LaneFailure> {
        loop {
            let in_hand = InHand::begin(
                &self.shard,
                &self.grip,
                &self.history,
                self.intake.as_ref(),
                Held::Aside(task),
            );
            self.cx.begin(None, None);
            let done = in_hand.scoped(pin!(work(&mut self.cx))).await;
            match in_hand.settle(done, self.cx.outputs()) {
                Settled::Done => return Ok(()),
                Settled::Failed(failure) => return Err(failure),
                Settled::Conflict => self.shard.wait_for_others().await,
            }
        }
    }

    /// Until there may be something to do.
    async fn wait(&mut self, timer: Option<Duration>) {
        let idle = self.shard.idle();
        self.shard.tell_of_markers();
        let ready: std::sync::Arc<Notify> = match &self.intake {
            Some(intake) => intake.borrow().ready(),
            None => self.shard.stopping(),
        };
        match timer {
            None => ready.notified().await,
            Some(at) => {
                let sleep = self.shard.sleep(at.saturating_sub(self.shard.elapsed()));
                tokio::select! {
                    biased;
                    () = ready.notified() => {}
                    () = sleep => {}
                }
            }
        }
        drop(idle);
        self.begin_turn();
    }

    /// Lets the others have the thread now and then, and waits while too much is uncommitted.
    async fn breathe(&mut self) {
        self.handled += 1;
        if self.is_turn_over() {
            tokio::task::yield_now().await;
            self.shard.wait_for_room().await;
            self.begin_turn();
        }
    }

    fn is_turn_over(&self) -> bool {
        !self.shard.has_room()
            || self.handled >= TURN_RECORDS
            || self.handled.is_multiple_of(LOOK_RECORDS)
                && self.shard.elapsed().saturating_sub(self.turn_began) >= TURN
    }

    fn begin_turn(&mut self) {
        self.handled = 0;
        self.turn_began = self.shard.elapsed();
    }
}

/// A timer that is always due would leave its worker no time for anything else.
const SHORTEST_PERIOD: Duration = Duration::from_millis(1);

/// When the timers of a lane are due. A tick that is late is run once, however late it is.
struct Due {
    timers: Vec<(Duration, Duration)>,
}

impl Due {
    fn new(periods: impl Iterator<Item = Duration>, now: Duration) -> Self {
        let timer = |period: Duration| {
            let period = period.max(SHORTEST_PERIOD);
            (now + period, period)
        };
        let timers = periods.map(timer).collect();
        Self { timers }
    }

    /// A timer that is due, by its index; it counts as run. Asks for the time only if there are timers: this is called
    /// for every record.
    fn take(&mut self, now: impl FnOnce() -> Duration) -> Option<usize> {
        if self.timers.is_empty() {
            return None;
        }
        let now = now();
        let index = self.timers.iter().position(|(at, _)| *at <= now)?;
        let (at, period) = &mut self.timers[index];
        *at += *period;
        if *at <= now {
            *at = now + *period;
        }
        Some(index)
    }

    /// When the next one is due.
    fn next(&self) -> Option<Duration> {
        self.timers.iter().map(|(at, _)| *at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_without_a_period_is_not_always_due() {
        let now = Duration::from_secs(7);
        let mut due = Due::new([Duration::ZERO].into_iter(), now);
        let later = now + Duration::from_millis(5);
        let runs: Vec<_> = std::iter::from_fn(|| due.take(|| later)).take(3).collect();
        assert_eq!(runs, [0]);
        assert_eq!(due.next(), Some(later + SHORTEST_PERIOD));
    }
}
