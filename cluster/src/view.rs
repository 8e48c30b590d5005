//! What a node knows from the control log: the fold of its records (S9: same log, same view).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use crate::control::{Armed, Entry, Join, Key, Leave, Record, Released};
use crate::ids::{Epoch, Generation, MemberId, NodeName, Offset, Partition, ShardId};
use crate::plan::Plan;

#[cfg(test)]
mod tests;

/// The fold of the control log up to some offset.
///
/// Two nodes that have read to the same offset hold equal views, also when one of them has read the log
/// before a compaction and the other after it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    read_to: Offset,
    /// Every key whose last record is not a tombstone: what [`crate::garbage`] chooses from.
    pub(crate) keys: BTreeSet<Key>,
    /// Who joined and did not leave, the expelled ones too until their `Join` is cleaned away.
    joined: BTreeMap<MemberId, Member>,
    plan: Option<Plan>,
    /// Of the current epoch, and of later ones whose plan is not here yet (a repeated write of it may have
    /// taken the first one's place).
    released: BTreeMap<Epoch, BTreeSet<(ShardId, MemberId)>>,
    /// Where positions were committed, and in which topic of that name.
    begun: BTreeMap<(Arc<str>, Partition), Option<Arc<str>>>,
}

/// A member, as the log knows it. Whether it is alive is each node's own judgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What it said when it joined.
    pub join: Join,
    /// The latest of its [`Armed`].
    pub generation: Generation,
    expelled: Option<Expelled>,
}

/// By which plan a member was put out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expelled {
    /// The latest plan that says so.
    pub epoch: Epoch,
    /// Its author.
    pub by: MemberId,
}

/// How a member stands to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Its `Join` has not been read yet.
    NotYet,
    /// It is one of them.
    Member,
    /// It left, or was expelled. Drop every shard at once, without a commit; to go on, join as a new member.
    Outside {
        /// By whom, while the log still knows.
        expelled: Option<Expelled>,
    },
}

/// What a record did to the view. For logs and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// A new member.
    Joined(MemberId),
    /// A member said that it is gone.
    Left(MemberId),
    /// A member's producers may be used.
    Armed(MemberId, Generation),
    /// A new plan.
    Planned(Epoch),
    /// A plan that came too late: another one of its epoch, or of a later one, was first.
    PlanIgnored {
        /// The epoch that it wanted to be.
        epoch: Epoch,
        /// Whose it was.
        author: MemberId,
    },
    /// A member gave up a shard.
    Released(ShardId, MemberId),
    /// Nothing: about members or epochs that are gone.
    Nothing,
}

/// The log is not the one that was read before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the control log was read up to offset {read_to} and now shows offset {offset}: it was truncated or created anew; \
     stop every node of this app, then start them again"
)]
pub struct WentBack {
    /// What came.
    pub offset: Offset,
    /// What had to come at least.
    pub read_to: Offset,
}

impl View {
    /// Takes in the entry at `offset`.
    ///
    /// # Errors
    /// Offsets have to rise (gaps are normal: compaction).
    pub fn apply(&mut self, offset: Offset, entry: Entry) -> Result<Applied, WentBack> {
        let read_to = self.read_to;
        if offset < read_to {
            return Err(WentBack { offset, read_to });
        }
        self.read_to = offset.next();
        match &entry {
            Entry::Record(record) => self.keys.insert(record.key()),
            Entry::Tombstone(key) => self.keys.remove(key),
        };
        Ok(match entry {
            Entry::Record(Record::Join(join)) => self.joins(MemberId(offset.0), join),
            Entry::Record(Record::Leave(leave)) => self.leaves(&leave),
            Entry::Record(Record::Armed(armed)) => self.arms(armed),
            Entry::Record(Record::Plan(plan)) => self.plans(plan),
            Entry::Record(Record::Released(released)) => self.releases(released),
            Entry::Record(Record::Begun(begun)) => {
                self.begun.insert((begun.topic, begun.partition), begun.id);
                Applied::Nothing
            }
            Entry::Tombstone(Key::Member(incarnation)) => self.forgets(incarnation),
            Entry::Tombstone(Key::Begun(topic, partition)) => {
                self.begun.remove(&(topic, partition));
                Applied::Nothing
            }
            // Only what has no part in the view any more gets one of these.
            Entry::Tombstone(Key::Armed(..) | Key::Plan(..) | Key::Released(..)) => {
                Applied::Nothing
            }
        })
    }

    fn joins(&mut self, id: MemberId, join: Join) -> Applied {
        // A repeated `Join` takes the first one's place, as it will after compaction.
        self.forgets(join.incarnation);
        let member = Member {
            join,
            generation: Generation::default(),
            expelled: None,
        };
        self.joined.insert(id, member);
        Applied::Joined(id)
    }

    fn leaves(&mut self, leave: &Leave) -> Applied {
        self.forgets(leave.incarnation)
    }

    fn forgets(&mut self, incarnation: Uuid) -> Applied {
        match self.find_any(incarnation) {
            Some(id) => {
                self.joined.remove(&id);
                Applied::Left(id)
            }
            None => Applied::Nothing,
        }
    }

    fn arms(&mut self, armed: Armed) -> Applied {
        match self.joined.get_mut(&armed.member) {
            Some(member) if armed.generation > member.generation => {
                member.generation = armed.generation;
                Applied::Armed(armed.member, armed.generation)
            }
            _ => Applied::Nothing,
        }
    }

    /// Compare-and-set: the first plan that follows the current one. The epoch need not be the very next:
    /// after compaction, the plans before may be missing. For the same reason the plan says anew who is
    /// expelled.
    fn plans(&mut self, plan: Plan) -> Applied {
        let (epoch, author) = (plan.epoch, plan.author);
        if epoch <= self.epoch() {
            return Applied::PlanIgnored { epoch, author };
        }
        for (id, member) in &mut self.joined {
            // A fence does not reach the producers of a later generation.
            let reached = |&generation: &Generation| member.generation <= generation;
            let out = plan.expelled.contains(id) || plan.fenced.get(id).is_some_and(reached);
            member.expelled = out.then_some(Expelled { epoch, by: author });
        }
        self.released.retain(|&of, _| of >= epoch);
        self.plan = Some(plan);
        Applied::Planned(epoch)
    }

    fn releases(&mut self, released: Released) -> Applied {
        let Released {
            epoch,
            member,
            shard,
        } = released;
        if epoch < self.epoch() {
            return Applied::Nothing;
        }
        let of_epoch = self.released.entry(epoch).or_default();
        of_epoch.insert((shard.clone(), member));
        Applied::Released(shard, member)
    }
}

/// What one can ask of it.
impl View {
    /// The next offset to read.
    #[must_use]
    pub fn read_to(&self) -> Offset {
        self.read_to
    }

    /// Who joined, did not leave and was not expelled, in the order of joining.
    pub fn members(&self) -> impl Iterator<Item = (MemberId, &Member)> {
        let inside = self.joined.iter().filter(|(_, it)| it.expelled.is_none());
        inside.map(|(id, member)| (*id, member))
    }

    /// One of the [`View::members`].
    #[must_use]
    pub fn member(&self, id: MemberId) -> Option<&Member> {
        self.joined.get(&id).filter(|it| it.expelled.is_none())
    }

    /// Whether every member reads this record. One of an older build would end.
    #[must_use]
    pub fn all_read(&self, record: &Record) -> bool {
        let format = record.format();
        self.members()
            .all(|(_, member)| member.join.reads_format >= format)
    }

    /// The member that joined with this incarnation: how a process learns its own id.
    #[must_use]
    pub fn find(&self, incarnation: Uuid) -> Option<MemberId> {
        let id = self.find_any(incarnation)?;
        self.member(id).map(|_| id)
    }

    /// How `me` stands to the others.
    #[must_use]
    pub fn standing(&self, me: MemberId) -> Standing {
        match self.joined.get(&me) {
            Some(member) => match member.expelled {
                None => Standing::Member,
                expelled => Standing::Outside { expelled },
            },
            None if self.read_to.0 <= me.0 => Standing::NotYet,
            None => Standing::Outside { expelled: None },
        }
    }

    /// The current plan.
    #[must_use]
    pub fn plan(&self) -> Option<&Plan> {
        self.plan.as_ref()
    }

    /// The number of the current plan, 0 before the first.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.plan.as_ref().map(Plan::epoch).unwrap_or_default()
    }

    /// Whether a position was committed in a partition, by a shard without tables; and in which topic of that name, if that
    /// was known.
    #[must_use]
    pub fn begun(&self, topic: &Arc<str>, partition: Partition) -> Option<Option<&Arc<str>>> {
        let begun = self.begun.get(&(topic.clone(), partition));
        begun.map(Option::as_ref)
    }

    /// Whom the shard's active waits for before it gets its permit.
    pub fn awaited<'a>(&'a self, shard: &'a ShardId) -> impl Iterator<Item = MemberId> + 'a {
        let after = self.plan.as_ref().and_then(|plan| plan.get(shard));
        let after = after.into_iter().flat_map(|it| it.after.iter().copied());
        after.filter(|&id| self.member(id).is_some() && !self.has_released(shard, id))
    }

    /// The shards that others wait for `me` to release. Finish those that run, and write [`Released`] for each,
    /// also for those that do not run here any more or never did.
    pub fn owed(&self, me: MemberId) -> impl Iterator<Item = &ShardId> {
        let shards = self.plan.iter().flat_map(Plan::shards);
        let mine = shards.filter(move |(_, it)| it.after.contains(&me));
        mine.map(|(shard, _)| shard)
            .filter(move |shard| self.member(me).is_some() && !self.has_released(shard, me))
    }

    /// Everybody who may hold a permit for the shard or could get one under the current plan.
    pub(crate) fn may_hold(&self, shard: &ShardId) -> BTreeSet<MemberId> {
        let plan = self.plan.as_ref().and_then(|plan| plan.get(shard));
        let active = plan.map(|it| it.active);
        let active = active.filter(|&id| self.member(id).is_some());
        self.awaited(shard).chain(active).collect()
    }

    /// Whether nobody counts on `me` any more: no shard is its own, and none has still to be released. A
    /// member that stops waits for this, unless it is the only one, and then writes its `Leave`.
    #[must_use]
    pub fn may_leave(&self, me: MemberId) -> bool {
        let mine = self
            .plan
            .iter()
            .any(|plan| plan.actives_of(me).next().is_some());
        !mine && self.owed(me).next().is_none()
    }

    /// The names of those for whom the current plan was made, as far as the log still has them.
    pub(crate) fn planned_nodes(&self) -> impl Iterator<Item = &NodeName> {
        let planned = self.plan.iter().flat_map(|plan| plan.members());
        planned.filter_map(|id| Some(&self.joined.get(id)?.join.node))
    }

    /// Who was expelled and whose `Join` is still in the log. The next plan has to say it again: this one
    /// will be compacted away, perhaps before that `Join` is.
    pub(crate) fn expelled(&self) -> impl Iterator<Item = MemberId> + '_ {
        let out = self.joined.iter().filter(|(_, it)| it.expelled.is_some());
        out.map(|(id, _)| *id)
    }

    fn has_released(&self, shard: &ShardId, member: MemberId) -> bool {
        let released = self.released.get(&self.epoch());
        // The tuple has to be owned to be looked up; names are counted references.
        released.is_some_and(|set| set.contains(&(shard.clone(), member)))
    }

    fn find_any(&self, incarnation: Uuid) -> Option<MemberId> {
        let mut joined = self.joined.iter();
        let found = joined.find(|(_, it)| it.join.incarnation == incarnation);
        found.map(|(id, _)| *id)
    }
}
