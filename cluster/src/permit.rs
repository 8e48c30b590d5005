//! Proofs that a node may write. Their fields are private and they cannot be copied: whatever writes asks for
//! one by type.
//!
//! - The [`ProducerPermit`] goes to a worker's transaction thread with the producer that it is for.
//! - The [`Permit`] is moved into the shard when it becomes active ([`crate::replicas::Task::Activate`]), and
//!   dropped when it has stopped.
//!
//! Why a permit is exclusive (S1), for one shard. By *holders* of a plan we mean its active and all that its
//! `after` names.
//! 1. A permit is given to the active only, and only when everybody in `after` has released the shard in this
//!    epoch or is gone.
//! 2. A plan's holders include whoever may hold a permit: the next author puts the active and the unreleased
//!    of the plan that it follows into `after`, and a plan that does not follow the current one is ignored.
//! 3. A holder that released has no permit, and can get one only from a later plan that names it active,
//!    where it waits for the holders of that time. A `Released` of an earlier epoch does not count: the
//!    member may have been active again since.
//! 4. A member is gone once it left (it has closed its producers), or once a plan was accepted whose author
//!    had fenced it before, up to its latest generation. Kafka then refuses every commit of it, however long
//!    it slept.
//! 5. So a permit that its member neither released nor lost by fencing stays exclusive through any number of
//!    plans, and [`Permit::review`] may keep it although a plan in between, which was read at the same time,
//!    named another.

// For the model, whose states are copied, the types here can be copied, too; nothing else can.

use crate::control::{Record, Released};
use crate::ids::{Epoch, Generation, MemberId, ShardId};
use crate::view::{Standing, View};

/// Proof that `member` may process `shard`.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone, PartialEq, Eq, Hash))]
#[must_use = "a permit that is dropped has to be released in the control log, or others wait for it"]
pub struct Permit {
    shard: ShardId,
    member: MemberId,
    epoch: Epoch,
}

/// What becomes of a permit under a newer view.
#[derive(Debug)]
#[must_use]
pub enum Review {
    /// Go on.
    Kept(Permit),
    /// Another is to have the shard: take no more records, commit what is done, then [`Closing::done`].
    Close(Closing),
    /// This member is outside: drop the shard at once. Nothing can be committed any more.
    Lost(ShardId),
}

/// A permit for one last commit.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone, PartialEq, Eq, Hash))]
#[must_use = "others wait for this shard to be released"]
pub struct Closing {
    shard: ShardId,
    member: MemberId,
}

/// Proof that the producers of `generation` were announced in the log by a member that was not expelled by
/// then, so that any fence that is to count reaches them.
///
/// Initialise the producers, write [`crate::control::Armed`], and begin no transaction before the view gives
/// this.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone, PartialEq, Eq, Hash))]
#[must_use]
pub struct ProducerPermit {
    member: MemberId,
    generation: Generation,
}

impl View {
    /// The permit of `me` for `shard`, once the plan names it active, its producers are armed and nobody else
    /// may write it.
    ///
    /// For a shard that does not run here: one that does keeps its own, see [`Permit::review`].
    #[must_use]
    pub fn permit(&self, shard: &ShardId, me: MemberId) -> Option<Permit> {
        let armed = self.member(me)?.generation > Generation::default();
        let active = self.plan()?.get(shard)?.active == me;
        let free = self.awaited(shard).next().is_none();
        (armed && active && free).then(|| Permit {
            shard: shard.clone(),
            member: me,
            epoch: self.epoch(),
        })
    }

    /// The permit for the producers that `me` announced as `generation`.
    #[must_use]
    pub fn producer_permit(&self, me: MemberId, generation: Generation) -> Option<ProducerPermit> {
        let read = self.member(me)?.generation >= generation;
        (read && generation > Generation::default()).then_some(ProducerPermit {
            member: me,
            generation,
        })
    }

    /// What to write about a shard of [`View::owed`] that does not run here: it was given up before, or never
    /// begun.
    #[must_use]
    pub fn decline(&self, shard: &ShardId, me: MemberId) -> Record {
        Record::Released(Released {
            epoch: self.epoch(),
            member: me,
            shard: shard.clone(),
        })
    }
}

impl Permit {
    /// For what.
    #[must_use]
    pub fn shard(&self) -> &ShardId {
        &self.shard
    }

    /// For whom.
    #[must_use]
    pub fn member(&self) -> MemberId {
        self.member
    }

    /// The latest plan under which it was given or kept.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The same for the worker of the shard, while [`crate::replicas`] keeps this one to review it.
    pub(crate) fn again(&self) -> Self {
        let shard = self.shard.clone();
        Self { shard, ..*self }
    }

    /// Holds the permit against a newer view. Call it after every change of plan or membership.
    pub fn review(self, view: &View) -> Review {
        if view.standing(self.member) != Standing::Member {
            return Review::Lost(self.shard);
        }
        let assignment = view.plan().and_then(|plan| plan.get(&self.shard));
        if assignment.is_some_and(|it| it.active == self.member) {
            let epoch = view.epoch();
            return Review::Kept(Self { epoch, ..self });
        }
        Review::Close(Closing {
            shard: self.shard,
            member: self.member,
        })
    }
}

impl Closing {
    /// For what.
    #[must_use]
    pub fn shard(&self) -> &ShardId {
        &self.shard
    }

    /// The last commit is done, its outcome known: what to write to the control log.
    #[must_use]
    pub fn done(self, view: &View) -> Record {
        view.decline(&self.shard, self.member)
    }
}

impl ProducerPermit {
    /// For whom.
    #[must_use]
    pub fn member(&self) -> MemberId {
        self.member
    }

    /// For which producers.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.generation
    }
}
