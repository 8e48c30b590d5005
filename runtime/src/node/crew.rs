//! [`Crew`]: the workers of a member: each gets a producer that was announced, then its shards; one that cannot commit is
//! made anew.
//!
//! ```text
//! preparing -> prepared -> announced -> running -- cannot commit --> preparing, after a pause
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use tanist_actors::group::GroupSpec;
use tanist_actors::patience::{Patience, Say};
use tanist_actors::port::{BrokerError, CommitError, LocalPortFuture, LogBuilder};
use tanist_actors::worker::{Refusals, Unfinished, WorkerHandle, WorkerParts};
use tanist_cluster::control::{Armed, Record};
use tanist_cluster::handover::Role;
use tanist_cluster::view::View;
use tanist_cluster::{
    Epoch, Generation, GroupName, MemberId, ShardId, TransactionalId, WorkerIndex,
};
use tokio::sync::oneshot;

use super::NodeParts;
use super::deal::{Deal, Part, deal};
use crate::app::AppTopology;

/// The pause before a worker that could not commit is made anew: at first, and, doubled each time, at most.
const BACKOFF: std::ops::Range<Duration> = Duration::from_millis(100)..Duration::from_secs(5);
/// Who ran for so long has no past.
const SOUND: Duration = Duration::from_secs(30);

type Groups = BTreeMap<GroupName, Arc<GroupSpec>>;
type Prepared = (WorkerIndex, Result<Box<dyn LogBuilder>, BrokerError>);
type Ended = (WorkerIndex, Option<CommitError>);

enum Place {
    Preparing,
    /// To be announced. Who was put out meanwhile need not know: it does not get as far as its permit.
    Prepared(Box<dyn LogBuilder>),
    Announced(Generation, Box<dyn LogBuilder>),
    Running {
        handle: WorkerHandle,
        since: Duration,
        mine: Arc<BTreeSet<ShardId>>,
        silence: Silence,
    },
}

/// For how long a thread has not answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Silence {
    lasts: Duration,
    patience: Patience,
    is_told: bool,
}

impl Silence {
    /// So much time has passed. What is to be said: that it lasts, that it has reached the `limit`, or (0) that it is over.
    fn grow(
        &mut self,
        answers: bool,
        passed: Duration,
        limit: Option<Duration>,
    ) -> Option<Duration> {
        let before = self.lasts;
        self.lasts = match answers {
            true => Duration::ZERO,
            false => self.lasts + passed,
        };
        let lasts = self.patience.look(self.lasts) == Say::Lasts;
        let is_reached = limit.is_some_and(|limit| before < limit && limit <= self.lasts);
        let is_over = answers && std::mem::take(&mut self.is_told);
        self.is_told |= lasts || is_reached;
        (lasts || is_reached || is_over).then_some(self.lasts)
    }
}

/// What is to be said of a worker whose thread does not answer.
#[derive(Debug)]
pub(super) struct Silent {
    /// Its shards.
    pub(super) shards: Arc<BTreeSet<ShardId>>,
    /// For how long, and why.
    pub(super) reason: String,
    /// For so long that its process is to be ended.
    pub(super) is_overdue: bool,
}

/// What has become of a worker.
pub(super) enum News {
    /// It may be announced.
    Prepared(WorkerIndex),
    /// It could not commit.
    Ended(WorkerIndex, CommitError),
}

/// A worker that could not commit, again or for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Relapse {
    /// How often in a row.
    pub(super) times: u32,
    /// How long it is left alone now.
    pub(super) pause: Duration,
}

impl Relapse {
    /// `ran`: for how long it had worked since the one `before`.
    fn after(before: Option<Self>, ran: Duration) -> Self {
        match before.filter(|_| ran < SOUND) {
            None => Self {
                times: 1,
                pause: BACKOFF.start,
            },
            Some(before) => Self {
                times: before.times.saturating_add(1),
                pause: (before.pause * 2).min(BACKOFF.end),
            },
        }
    }
}

/// See the module. Dropped: all of them end at once, without a commit.
pub(super) struct Crew {
    me: MemberId,
    groups: Arc<Groups>,
    places: BTreeMap<WorkerIndex, Place>,
    preparing: FuturesUnordered<LocalPortFuture<'static, Prepared>>,
    ended: FuturesUnordered<LocalPortFuture<'static, Ended>>,
    relapses: BTreeMap<WorkerIndex, Relapse>,
    announced: Generation,
    deal: Deal,
    declined: BTreeSet<(Epoch, ShardId)>,
    refusals: Refusals,
}

impl Crew {
    /// Nobody yet.
    pub(super) fn new(me: MemberId, topology: &AppTopology) -> Self {
        let groups = topology.groups.iter();
        let groups = groups.map(|group| (group.name.clone(), group.clone()));
        Self {
            me,
            groups: Arc::new(groups.collect()),
            places: BTreeMap::new(),
            preparing: FuturesUnordered::new(),
            ended: FuturesUnordered::new(),
            relapses: BTreeMap::new(),
            announced: Generation::default(),
            deal: Deal::new(),
            declined: BTreeSet::new(),
            refusals: Refusals::default(),
        }
    }

    /// Begins to make these workers ready.
    pub(super) fn prepare(
        &mut self,
        workers: impl Iterator<Item = WorkerIndex>,
        parts: &NodeParts,
    ) {
        for worker in workers {
            self.prepare_one(worker, Duration::ZERO, parts);
        }
    }

    fn prepare_one(&mut self, worker: WorkerIndex, pause: Duration, parts: &NodeParts) {
        self.places.insert(worker, Place::Preparing);
        let id = TransactionalId::of(parts.app.id(), self.me, worker);
        let (broker, pause) = (parts.broker.clone(), parts.clock.sleep(pause));
        self.preparing.push(Box::pin(async move {
            pause.await;
            (worker, broker.log(&id).await)
        }));
    }

    /// Whether all workers have been started once.
    pub(super) fn is_armed(&self) -> bool {
        self.announced > Generation::default()
    }

    /// Until something has become of a worker.
    pub(super) async fn next(&mut self) -> Result<News, BrokerError> {
        tokio::select! {
            biased;
            Some((worker, log)) = self.preparing.next() => {
                self.places.insert(worker, Place::Prepared(log?));
                Ok(News::Prepared(worker))
            }
            Some((worker, error)) = self.ended.next() => {
                let error = error.unwrap_or_else(|| CommitError::Unknown("its thread has ended".into()));
                Ok(News::Ended(worker, error))
            }
            else => std::future::pending().await,
        }
    }

    /// A worker has ended: it is made anew, after the pause in the answer.
    pub(super) fn replace(&mut self, worker: WorkerIndex, parts: &NodeParts) -> Relapse {
        let now = parts.clock.elapsed();
        let ran = match self.places.remove(&worker) {
            Some(Place::Running { since, .. }) => now.saturating_sub(since),
            _ => Duration::ZERO,
        };
        let before = self.relapses.get(&worker).copied();
        let relapse = Relapse::after(before, ran);
        self.relapses.insert(worker, relapse);
        self.prepare_one(worker, relapse.pause, parts);
        relapse
    }

    /// What to say of the producers that are ready. The first time, all at once.
    pub(super) fn announce(&mut self, view: &View) -> Option<Record> {
        let member = view.member(self.me)?;
        let is_ready = |place: &Place| matches!(place, Place::Prepared(_));
        let waits = |place: &Place| !self.is_armed() && !is_ready(place);
        let mut places = self.places.values();
        if places.clone().any(waits) || !places.any(is_ready) {
            return None;
        }
        let generation = self.announced.max(member.generation).next();
        self.announced = generation;
        let places = std::mem::take(&mut self.places).into_iter();
        let announced = places.map(|(worker, place)| match place {
            Place::Prepared(log) => (worker, Place::Announced(generation, log)),
            place => (worker, place),
        });
        self.places = announced.collect();
        let member = self.me;
        Some(Record::Armed(Armed { member, generation }))
    }

    /// Starts the workers whose announcement was read back. Whether there were any.
    pub(super) fn start(&mut self, view: &View, parts: &NodeParts, topology: &AppTopology) -> bool {
        let mut any = false;
        for worker in (0..parts.workers).map(WorkerIndex) {
            let Some(Place::Announced(generation, _)) = self.places.get(&worker) else {
                continue;
            };
            let Some(producer) = view.producer_permit(self.me, *generation) else {
                continue;
            };
            let Some(Place::Announced(_, log)) = self.places.remove(&worker) else {
                continue;
            };
            let (tell, ended) = oneshot::channel();
            let worker_parts = WorkerParts {
                index: worker,
                app: parts.app.id().into(),
                me: self.me,
                groups: self.groups.clone(),
                settings: parts.settings.clone(),
                topics: topology.topics.clone(),
                broker: parts.broker.clone(),
                producer,
                log,
                stores: parts.stores.clone(),
                clock: parts.clock.clone(),
                reports: parts.board.clone(),
                refusals: self.refusals.clone(),
            };
            let place = Place::Running {
                handle: WorkerHandle::start(worker_parts, parts.thread, tell),
                since: parts.clock.elapsed(),
                mine: Arc::default(),
                silence: Silence::default(),
            };
            self.places.insert(worker, place);
            let ended = async move { (worker, ended.await.ok()) };
            self.ended.push(Box::pin(ended));
            any = true;
        }
        any
    }

    /// Asks the threads of the workers whether they go on, `passed` after the last time. What is to be said of those that do
    /// not, or (nothing) do again.
    pub(super) fn look(
        &mut self,
        passed: Duration,
        limit: Option<Duration>,
    ) -> Vec<(WorkerIndex, Option<Silent>)> {
        let mut found = Vec::new();
        for (worker, place) in &mut self.places {
            let Place::Running {
                handle,
                mine,
                silence,
                ..
            } = place
            else {
                continue;
            };
            let told = silence.grow(handle.answers(), passed, limit);
            found.extend(told.map(|lasts| {
                let what = handle.in_hand();
                let reason = format!(
                    "worker {worker} has not answered for {} s: {} blocks its thread (tokio's spawn_blocking is for what takes \
                     long)",
                    lasts.as_secs(),
                    what.as_deref().unwrap_or("something of one of its shards"),
                );
                let silent = Silent {
                    shards: mine.clone(),
                    reason,
                    is_overdue: limit.is_some_and(|limit| lasts >= limit),
                };
                (*worker, (!lasts.is_zero()).then_some(silent))
            }));
        }
        found
    }

    /// Deals out the shards that `view` and what is `here` ask for, and tells the workers. What is owed for shards that no
    /// worker has is to be written: the answer.
    pub(super) fn follow(
        &mut self,
        view: &Arc<View>,
        here: &BTreeSet<ShardId>,
        workers: u32,
    ) -> Vec<Record> {
        let wanted = self.wanted(view, here);
        self.deal = deal(&wanted, &self.deal, workers);
        let mut shares: BTreeMap<WorkerIndex, BTreeSet<ShardId>> = BTreeMap::new();
        for (shard, worker) in &self.deal {
            shares.entry(*worker).or_default().insert(shard.clone());
        }
        for (worker, place) in &mut self.places {
            if let Place::Running { handle, mine, .. } = place {
                let share = shares.remove(worker).unwrap_or_default();
                if share != **mine {
                    *mine = Arc::new(share);
                }
                handle.follow(view.clone(), mine.clone());
            }
        }
        let epoch = view.epoch();
        self.declined.retain(|(of, _)| *of == epoch);
        let owed = view
            .owed(self.me)
            .filter(|shard| !self.deal.contains_key(*shard));
        let owed: Vec<ShardId> = owed.cloned().collect();
        let unsaid = owed
            .into_iter()
            .filter(|shard| self.declined.insert((epoch, shard.clone())));
        unsaid.map(|shard| view.decline(&shard, self.me)).collect()
    }

    fn wanted(&self, view: &View, here: &BTreeSet<ShardId>) -> BTreeMap<ShardId, Part> {
        let plan = view.plan().into_iter().flat_map(|plan| plan.shards());
        let mut wanted: BTreeMap<ShardId, Part> = plan
            .filter(|(shard, _)| self.groups.contains_key(&shard.group))
            .filter(|(shard, _)| Role::of(view, self.me, shard) == Role::Copy)
            .map(|(shard, it)| match it.active == self.me {
                true => (shard.clone(), Part::Active),
                false => (shard.clone(), Part::Copy),
            })
            .collect();
        // What is about to go stays where it is until it is gone.
        let going = here.iter().chain(view.owed(self.me));
        for shard in going.filter(|shard| self.deal.contains_key(*shard)) {
            wanted.entry(shard.clone()).or_insert(Part::Copy);
        }
        wanted
    }

    /// Lets all of them commit what is finished, so that every reader sees it; false if one had ended.
    pub(super) fn settle(&self) -> LocalPortFuture<'static, bool> {
        let running = self.places.values().filter_map(|place| match place {
            Place::Running { handle, .. } => Some(handle.settle()),
            _ => None,
        });
        let settling: Vec<_> = running.collect();
        let all = settling.len() == self.places.len();
        Box::pin(async move { join_all(settling).await.into_iter().all(|done| done) && all })
    }

    /// Lets all of them finish and end. Those that could not commit what they had finished, and those of whose last
    /// commit nobody knows.
    pub(super) fn stop(&mut self) -> LocalPortFuture<'static, BTreeMap<WorkerIndex, Unfinished>> {
        let is_armed = self.is_armed();
        self.preparing.clear();
        self.ended.clear();
        let places = std::mem::take(&mut self.places).into_iter();
        let stopping = places.filter_map(|(worker, place)| match place {
            Place::Running { handle, .. } => Some((worker, Some(handle))),
            Place::Preparing if is_armed => Some((worker, None)),
            // What was before it is decided, now that the producer is there.
            Place::Preparing | Place::Prepared(_) | Place::Announced(..) => None,
        });
        let stopping = stopping.map(|(worker, handle)| async move {
            let stopped = match handle {
                Some(handle) => handle.stop().await,
                None => Err(Unfinished::default()),
            };
            Some((worker, stopped.err()?))
        });
        let stopping: Vec<_> = stopping.collect();
        Box::pin(async move { join_all(stopping).await.into_iter().flatten().collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_does_not_answer_is_told_again_and_again_until_it_does() {
        let mut silence = Silence::default();
        let mut told = Vec::new();
        for seconds in 1..=100 {
            let limit = Some(Duration::from_secs(50));
            let said = silence.grow(seconds == 90, Duration::from_secs(1), limit);
            told.extend(said.map(|lasts| (seconds, lasts.as_secs())));
        }
        let again = (100, 10);
        assert_eq!(
            told,
            [
                (10, 10),
                (20, 20),
                (40, 40),
                (50, 50),
                (80, 80),
                (90, 0),
                again
            ]
        );
    }

    #[test]
    fn that_a_silence_is_over_is_said_if_it_was_told_and_only_then() {
        let second = Duration::from_secs(1);
        for (limit, told) in [
            (None, vec![]),
            (Some(second), vec![second, Duration::ZERO]),
            (Some(3 * second), vec![3 * second, Duration::ZERO]),
            (Some(4 * second), vec![]),
        ] {
            let mut silence = Silence::default();
            let answers = [false, false, false, true, true];
            let said = answers.map(|answers| silence.grow(answers, second, limit));
            assert_eq!(said.into_iter().flatten().collect::<Vec<_>>(), told);
        }
    }

    #[test]
    fn a_worker_that_fails_again_and_again_is_left_alone_for_longer_and_longer() {
        let mut relapse = None;
        let mut pauses = Vec::new();
        for times in 1..=8 {
            let next = Relapse::after(relapse, Duration::from_secs(2));
            assert_eq!(next.times, times);
            pauses.push(next.pause.as_millis());
            relapse = Some(next);
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        let healthy = Relapse::after(relapse, SOUND);
        assert_eq!((healthy.times, healthy.pause), (1, BACKOFF.start));
    }
}
