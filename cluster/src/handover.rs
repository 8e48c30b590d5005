//! One replica of a shard on one node, from the first copy to the last commit: standby, warm-up, hand-over
//! and failover are ways through one machine.
//!
//! ```text
//!            a role           opened             permitted              caught up
//!   Absent ---------> Opening ------> Following ----------> CatchingUp ----------> Active
//!     ^                  |             |  ^  ^                  |                    |
//!     |                  | no role     |  |  |   taken away     |                    | taken away
//!     |                  v             |  |  +------------------+                    v
//!     |    closed     Closing <--------+  |                                      Finishing
//!     +-----------------  ^     no role   |                                          |
//!                         +---------------+-------------------- committed -----------+
//!
//!   any -- failed --> Broken -- no role --> Closing
//!   any -- lost ----> Absent
//! ```
//!
//! - A *failover* and the second half of a *hand-over* are the upper line: the replica was `Following` for
//!   long, and what happens once the permit is there takes no longer than reading a few records. The first
//!   half of a hand-over is `Active -> Finishing -> Following`.
//! - A permit is held from `permitted` until its release, in `Opening`, `CatchingUp`, `Active`, `Finishing`
//!   and `Broken`. Whoever holds one answers `taken away` with exactly one [`Step::Release`], as soon as
//!   nothing of it can be committed any more.
//!
//! [`crate::replicas`] tells the machines of a node what the view says, and keeps their permits.

use crate::ids::{MemberId, ShardId};
use crate::plan::Assignment;
use crate::view::View;

/// What the plan wants of this node for a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Role {
    /// Nothing.
    #[default]
    Nothing,
    /// A copy: as a standby, a warm-up, or because it is to be active and has to wait for its permit.
    Copy,
}

/// Where a replica is. See the diagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Phase {
    /// Nothing runs here. There may be a copy on disk.
    #[default]
    Absent,
    /// The store is being opened and the inputs are being assigned, unpolled.
    Opening,
    /// The changelog is applied to the store as it grows.
    Following,
    /// Nobody else writes any more; the rest of the changelog is read.
    CatchingUp,
    /// Records are processed.
    Active,
    /// No more records are taken; the last commit is under way.
    Finishing,
    /// The store is being closed.
    Closing,
    /// It cannot go on here; the reason is where the failure was. Waits to be moved.
    Broken,
}

/// A replica: its phase, what is wanted of it, and whether it has a permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Replica {
    phase: Phase,
    role: Role,
    permit: bool,
}

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// The view changed; this is what it wants now.
    Assigned(Role),
    /// The view gave a permit.
    Permitted,
    /// [`crate::permit::Review::Close`].
    TakenAway,
    /// [`crate::permit::Review::Lost`], or this node is outside in another way.
    Lost,
    /// [`Step::Open`] is done.
    Opened,
    /// [`Step::CatchUp`] is done.
    CaughtUp,
    /// [`Step::Finish`] is done: the outcome of the last commit is known.
    Committed,
    /// [`Step::Close`] is done.
    Closed,
    /// The shard cannot go on here: its policy says so, or its store or changelog does. Whatever ran has been
    /// stopped, and the outcome of its last commit is known.
    Failed,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Open the store; assign the inputs, split and unpolled; let the producer learn its topics.
    Open,
    /// Apply the changelog to the store as it grows.
    Follow,
    /// Ask where the changelog ends, by its *high watermark*, and apply it up to there. The last commit of
    /// the one before is decided, but its markers may still be on their way, so that the last stable offset
    /// would be too early an end.
    CatchUp,
    /// Seek the inputs to the positions in the store's state, and process. The permit goes with it.
    Activate,
    /// Take no more records; commit what is done.
    Finish,
    /// Write [`crate::permit::Closing::done`] to the control log.
    Release,
    /// Stop following, un-assign, and close the store. It stays on disk.
    Close,
    /// Stop everything of this shard at once, without a commit, and close the store.
    Drop,
}

impl Role {
    /// What the current plan wants of `me`.
    #[must_use]
    pub fn of(view: &View, me: MemberId, shard: &ShardId) -> Self {
        let inside = view.member(me).and(view.plan());
        let assignment = inside.and_then(|plan| plan.get(shard));
        assignment.map(|it| Self::under(it, me)).unwrap_or_default()
    }

    /// What an assignment of the current plan wants of `me`, which is a member.
    #[must_use]
    pub fn under(it: &Assignment, me: MemberId) -> Self {
        match it.active == me || it.standbys.contains_key(&me) || it.warmups.contains_key(&me) {
            true => Self::Copy,
            false => Self::Nothing,
        }
    }
}

impl Replica {
    /// Where it is.
    #[must_use]
    pub fn phase(self) -> Phase {
        self.phase
    }

    /// What is wanted of it.
    #[must_use]
    pub fn role(self) -> Role {
        self.role
    }

    /// Whether it has a permit that it has not released yet.
    #[must_use]
    pub fn holds_permit(self) -> bool {
        self.permit
    }

    /// Whether to ask the view for a permit.
    #[must_use]
    pub fn wants_permit(self) -> bool {
        !self.permit && matches!(self.phase, Phase::Opening | Phase::Following)
    }

    /// The one place where phases change.
    #[must_use]
    pub fn on(mut self, event: Event) -> (Self, Vec<Step>) {
        use Phase::{Absent, Active, Broken, CatchingUp, Closing, Finishing, Following, Opening};
        match event {
            Event::Assigned(role) => self.role = role,
            Event::Permitted => self.permit = true,
            _ => {}
        }
        let (phase, steps) = match (self.phase, event) {
            (Absent, Event::Lost) => (Absent, vec![]),
            (_, Event::Lost) => {
                self = Self::default();
                (Absent, vec![Step::Drop])
            }
            (Absent | Closing | Broken, Event::Failed) => (self.phase, vec![]),
            // Its permit was taken away before, so nobody would ask for it again.
            (Finishing, Event::Failed) => {
                self.permit = false;
                (Broken, vec![Step::Release])
            }
            (_, Event::Failed) => (Broken, vec![]),

            (Absent, Event::Assigned(Role::Copy)) => (Opening, vec![Step::Open]),
            (Opening, Event::Opened) if self.permit => {
                (CatchingUp, vec![Step::Follow, Step::CatchUp])
            }
            (Opening, Event::Opened) => (Following, vec![Step::Follow]),
            (Following, Event::Permitted) => (CatchingUp, vec![Step::CatchUp]),
            (CatchingUp, Event::CaughtUp) => (Active, vec![Step::Activate]),

            (Active, Event::TakenAway) => (Finishing, vec![Step::Finish]),
            (Finishing, Event::Committed) => {
                self.permit = false;
                (Following, vec![Step::Release, Step::Follow])
            }
            (Opening | Broken, Event::TakenAway) => {
                self.permit = false;
                (self.phase, vec![Step::Release])
            }
            (CatchingUp, Event::TakenAway) => {
                self.permit = false;
                (Following, vec![Step::Release])
            }

            (Closing, Event::Closed) if self.role == Role::Copy => (Opening, vec![Step::Open]),
            (Closing, Event::Closed) => (Absent, vec![]),
            (phase, _) => (phase, vec![]),
        };
        self.phase = phase;
        self.close_if_unwanted(steps)
    }

    /// A replica that nobody wants and that holds nothing ends, wherever it is.
    fn close_if_unwanted(mut self, mut steps: Vec<Step>) -> (Self, Vec<Step>) {
        let ends = matches!(
            self.phase,
            Phase::Opening | Phase::Following | Phase::Broken
        );
        if ends && self.role == Role::Nothing && !self.permit {
            steps.retain(|step| *step == Step::Release);
            steps.push(Step::Close);
            self.phase = Phase::Closing;
        }
        (self, steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COPY: Event = Event::Assigned(Role::Copy);
    const NONE: Event = Event::Assigned(Role::Nothing);

    fn run(events: &[Event]) -> (Replica, Vec<Step>) {
        let mut all = Vec::new();
        let mut replica = Replica::default();
        for event in events {
            let (next, steps) = replica.on(*event);
            replica = next;
            all.extend(steps);
        }
        (replica, all)
    }

    fn check(events: &[Event], phase: Phase, steps: &[Step]) {
        let (replica, found) = run(events);
        assert_eq!((replica.phase, &found[..]), (phase, steps), "{events:?}");
    }

    #[test]
    fn the_ways_through_the_diagram() {
        use Event::*;
        use Step::{Activate, CatchUp, Close, Drop, Finish, Follow, Open, Release};
        check(&[COPY, Opened], Phase::Following, &[Open, Follow]);
        check(
            &[COPY, Opened, Permitted, CaughtUp],
            Phase::Active,
            &[Open, Follow, CatchUp, Activate],
        );
        check(
            &[COPY, Permitted, Opened],
            Phase::CatchingUp,
            &[Open, Follow, CatchUp],
        );
        let active = [COPY, Opened, Permitted, CaughtUp];
        let and = |more: &[Event]| [&active[..], more].concat();
        let done = |more: &[Step]| [&[Open, Follow, CatchUp, Activate], more].concat();
        check(
            &and(&[TakenAway, COPY, Committed]),
            Phase::Following,
            &done(&[Finish, Release, Follow]),
        );
        check(
            &and(&[TakenAway, NONE, Committed, Closed]),
            Phase::Absent,
            &done(&[Finish, Release, Close]),
        );
        check(
            &and(&[TakenAway, NONE, Committed, COPY, Closed]),
            Phase::Opening,
            &done(&[Finish, Release, Close, Open]),
        );
        check(&and(&[Lost]), Phase::Absent, &done(&[Drop]));
        check(
            &and(&[Failed, TakenAway, NONE]),
            Phase::Closing,
            &done(&[Release, Close]),
        );
        check(
            &[COPY, Opened, Permitted, TakenAway],
            Phase::Following,
            &[Open, Follow, CatchUp, Release],
        );
        check(
            &[COPY, Permitted, TakenAway, NONE],
            Phase::Closing,
            &[Open, Release, Close],
        );
    }

    /// Every sequence of events, those included that nobody would send.
    #[test]
    fn whatever_happens_a_permit_is_released_once_and_nothing_is_processed_without_one() {
        use Event::*;
        let events = [
            COPY, NONE, Permitted, TakenAway, Lost, Opened, CaughtUp, Committed, Closed, Failed,
        ];
        let mut reached = vec![Replica::default()];
        let mut next = 0;
        while let Some(&replica) = reached.get(next) {
            next += 1;
            for event in events {
                // The view gives a permit only to whom has none, and takes one only from whom has one.
                if (event == Permitted && !replica.wants_permit())
                    || (event == TakenAway && !replica.holds_permit())
                {
                    continue;
                }
                let (after, steps) = replica.on(event);
                let released = steps.iter().filter(|step| **step == Step::Release).count();
                let case = format!("{replica:?} on {event:?}: {after:?} {steps:?}");
                let had = replica.permit || event == Permitted;
                let gone = had && !after.permit && event != Lost;
                assert_eq!(released, usize::from(gone), "{case}");
                if matches!(
                    after.phase,
                    Phase::CatchingUp | Phase::Active | Phase::Finishing
                ) {
                    assert!(after.permit, "{case}");
                }
                if steps.contains(&Step::Release) {
                    let processing = matches!(after.phase, Phase::Active | Phase::Finishing);
                    assert!(!processing, "{case}");
                }
                if replica.phase == Phase::Finishing {
                    let ends = matches!(event, Committed | Failed);
                    assert_eq!(released == 1, ends, "{case}");
                }
                if event == TakenAway {
                    assert!(released == 1 || after.phase == Phase::Finishing, "{case}");
                }
                if !reached.contains(&after) {
                    reached.push(after);
                }
            }
        }
        let phases: Vec<_> = reached.iter().map(|it| it.phase).collect();
        assert!(phases.contains(&Phase::Finishing) && phases.contains(&Phase::Broken));
    }
}
