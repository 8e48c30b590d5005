//! [`Board`]: what this node knows of itself and the others, for status and queries: what its workers report, the view,
//! and its timeline.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tanist_actors::port::Clock;
use tanist_actors::shard::{ShardState, ShardStatus};
use tanist_actors::worker::{CommitReport, Reports, Stage, UnreadPartitions};
use tanist_cluster::control::{Begun, Key, Record};
use tanist_cluster::view::View;
use tanist_cluster::{Epoch, MemberId, NodeName, Offset, ShardId, WorkerIndex};
use tokio::sync::{Notify, watch};

use super::crew::Silent;
use super::death::Death;
use super::report::Replica;
use super::timeline::{Event, EventKind, Note, Timeline};

/// How many deaths are remembered.
const MAX_DEATHS: usize = 8;

/// Commits since the node started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitTotals {
    /// How many.
    pub commits: u64,
    /// Outputs and changelog records in them.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How long they took in all.
    pub took: Duration,
    /// How long the longest took.
    pub longest: Duration,
}

/// What a shard has done since it is at work here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    /// By the node's clock.
    pub(crate) since: Duration,
    pub(crate) records: u64,
}

#[derive(Debug, Default)]
struct Entries {
    shards: BTreeMap<ShardId, ShardStatus>,
    /// Since when those that are at work are so.
    since: BTreeMap<ShardId, Duration>,
    /// Records of shards that have gone, or begun anew.
    past_records: u64,
    totals: CommitTotals,
    written: BTreeSet<Arc<str>>,
    unread: BTreeMap<Arc<str>, UnreadPartitions>,
    /// To be written to the control log: at most one for each shard and plan.
    releases: VecDeque<Record>,
    /// Of inputs: to be written when all members read them.
    begun: BTreeMap<Key, Record>,
    member: Option<MemberId>,
    view: Arc<View>,
    others: BTreeSet<MemberId>,
    /// Workers whose thread does not answer.
    silent: BTreeMap<WorkerIndex, Silent>,
    /// Until then nobody can have taken this node for dead, as far as it was silent.
    sure_until: Duration,
    /// The last that were put out.
    deaths: VecDeque<Death>,
    /// When the last plan was read.
    planned: Option<(Epoch, Duration)>,
}

impl Entries {
    /// The next record that may be written by now: one that a member of an older build does not read would end that.
    fn next_record(&mut self) -> Option<Record> {
        if let Some(released) = self.releases.pop_front() {
            return Some(released);
        }
        let begun = self.begun.first_entry()?;
        self.view.all_read(begun.get()).then(|| begun.remove())
    }
}

/// See the module. Shared by all threads of the node.
pub struct Board {
    clock: Arc<dyn Clock>,
    entries: Mutex<Entries>,
    version: watch::Sender<u64>,
    released: Notify,
    timeline: Timeline,
}

impl Board {
    /// Of the node that is called so.
    pub fn new(node: NodeName, clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            entries: Mutex::default(),
            version: watch::Sender::new(0),
            released: Notify::new(),
            timeline: Timeline::new(node),
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All shards that are here, sorted.
    pub fn shards(&self) -> Vec<ShardStatus> {
        let entries = self.entries();
        let mut shards = entries.shards.clone();
        // What they said themselves before stands, and is shown again when the thread goes on.
        for silent in entries.silent.values() {
            for shard in &*silent.shards {
                let state = shards.get_mut(shard).map(|status| &mut status.state);
                if let Some(state @ (ShardState::Running | ShardState::Stuck { .. })) = state {
                    let reason = silent.reason.clone();
                    *state = ShardState::Stuck { reason };
                }
            }
        }
        shards.into_values().collect()
    }

    /// What blocks the thread of a worker, so that none of its shards goes on; said when that has lasted for ten seconds.
    pub fn blocked(&self) -> Option<String> {
        let entries = self.entries();
        let mut silent = entries.silent.values();
        silent.next().map(|silent| silent.reason.clone())
    }

    /// The same, once it has lasted for [`max_poll_interval`](tanist_actors::worker::WorkerSettings::max_poll_interval). A
    /// node cannot end such a thread: whoever runs it has to end the process, as the command line does.
    pub fn overdue(&self) -> Option<String> {
        let entries = self.entries();
        let mut silent = entries.silent.values();
        let overdue = silent.find(|silent| silent.is_overdue);
        overdue.map(|silent| silent.reason.clone())
    }

    /// Records handled since the process started.
    pub fn records(&self) -> u64 {
        let entries = self.entries();
        let here = entries.shards.values().map(|shard| shard.records);
        entries.past_records + here.sum::<u64>()
    }

    /// The shards that are at work here.
    pub(crate) fn at_work(&self) -> BTreeMap<ShardId, Work> {
        let entries = self.entries();
        let work = |(shard, since): (&ShardId, &Duration)| {
            let (since, records) = (*since, entries.shards.get(shard)?.records);
            Some((shard.clone(), Work { since, records }))
        };
        entries.since.iter().filter_map(work).collect()
    }

    /// Commits since the start.
    pub fn totals(&self) -> CommitTotals {
        self.entries().totals
    }

    /// Which member this node is at present.
    pub fn member(&self) -> Option<MemberId> {
        self.entries().member
    }

    /// What this node has read of the control log: who is there, and who has what.
    pub fn view(&self) -> Arc<View> {
        self.entries().view.clone()
    }

    /// The other members that are alive. None until this node can know.
    pub fn others(&self) -> BTreeSet<MemberId> {
        self.entries().others.clone()
    }

    /// Whether what is active here is so nowhere else. Not after this node was frozen, or cut off from the broker, for
    /// so long that others may have put somebody in its place of which it has not read yet.
    pub fn is_sure(&self) -> bool {
        self.clock.elapsed() < self.entries().sure_until
    }

    /// What happened lately.
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// Who was put out lately.
    pub fn deaths(&self) -> Vec<Death> {
        self.entries().deaths.iter().cloned().collect()
    }

    /// The events after the one of this number.
    pub fn events(&self, after: u64) -> Vec<Event> {
        self.timeline.after(after)
    }

    /// The topics that this node has sent to.
    pub(super) fn written(&self) -> BTreeSet<Arc<str>> {
        self.entries().written.clone()
    }

    /// The input topics with partitions that nobody reads.
    pub fn unread(&self) -> BTreeMap<Arc<str>, UnreadPartitions> {
        self.entries().unread.clone()
    }

    /// Changes with every report.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    fn changed(&self) {
        self.version.send_modify(|version| *version += 1);
    }

    pub(super) fn note(&self, note: Note) {
        self.timeline.add(self.clock.now(), note);
    }

    /// The control log was read further.
    pub(super) fn follow(&self, member: Option<MemberId>, view: &Arc<View>) {
        let mut entries = self.entries();
        entries.member = member;
        let deaths = Death::between(&entries.view, view, self.clock.now());
        entries.deaths.extend(deaths);
        let over = entries.deaths.len().saturating_sub(MAX_DEATHS);
        entries.deaths.drain(..over);
        entries.view = view.clone();
        let epoch = view.epoch();
        if entries.planned.is_none_or(|(planned, _)| planned != epoch) {
            entries.planned = Some((epoch, self.clock.elapsed()));
        }
        drop(entries);
        self.released.notify_one();
        self.changed();
    }

    /// See [`Board::others`].
    pub(super) fn judge(&self, others: BTreeSet<MemberId>) {
        self.entries().others = others;
        self.changed();
    }

    /// See [`Board::is_sure`].
    pub(super) fn sure_until(&self, until: Duration) {
        self.entries().sure_until = until;
    }

    /// Nothing of a former member is here any more.
    pub(super) fn clear(&self) {
        let mut entries = self.entries();
        entries.sure_until = Duration::ZERO;
        let gone = std::mem::take(&mut entries.shards);
        entries.past_records += gone.values().map(|shard| shard.records).sum::<u64>();
        entries.since.clear();
        entries.releases.clear();
        entries.begun.clear();
        entries.others.clear();
        entries.silent.clear();
    }

    /// What the workers say of their replicas.
    pub(super) fn replicas(&self) -> BTreeMap<ShardId, Replica> {
        let entries = self.entries();
        let shards = entries.shards.iter();
        shards
            .map(|(shard, status)| (shard.clone(), replica(status)))
            .collect()
    }

    /// The thread of a worker does not answer, or does again.
    pub(super) fn silent(&self, worker: WorkerIndex, silent: Option<Silent>) {
        let all = &mut self.entries().silent;
        match silent {
            Some(silent) => all.insert(worker, silent),
            None => all.remove(&worker),
        };
        self.changed();
    }

    /// The shards of which there is something here.
    pub(super) fn here(&self) -> BTreeSet<ShardId> {
        self.entries().shards.keys().cloned().collect()
    }

    /// The next record that a worker wants to have written.
    pub(super) async fn released(&self) -> Record {
        loop {
            if let Some(record) = self.entries().next_record() {
                return record;
            }
            self.released.notified().await;
        }
    }
}

fn replica(status: &ShardStatus) -> Replica {
    let position = status.copy.map(|copy| copy.position);
    match (&status.state, position) {
        (ShardState::Broken { .. }, _) => Replica::Broken,
        (
            ShardState::Running
            | ShardState::Stuck { .. }
            | ShardState::Restarting { .. }
            | ShardState::Stopping,
            position,
        ) => Replica::Active(position.unwrap_or(Offset(0))),
        (_, Some(position)) => Replica::Copy(position),
        (_, None) => Replica::Unknown,
    }
}

impl Reports for Board {
    fn shard(&self, status: ShardStatus) {
        let now = self.clock.elapsed();
        let mut entries = self.entries();
        let before = entries.shards.get(&status.shard);
        let before = before.map_or(0, |before| before.records);
        let began_anew = status.records < before;
        if began_anew {
            entries.past_records += before;
        }
        if began_anew || !status.state.is_at_work() {
            entries.since.remove(&status.shard);
        }
        if status.state.is_at_work() {
            entries.since.entry(status.shard.clone()).or_insert(now);
        }
        entries.shards.insert(status.shard.clone(), status);
        drop(entries);
        self.changed();
    }

    fn gone(&self, shard: &ShardId) {
        let mut entries = self.entries();
        entries.since.remove(shard);
        let gone = entries.shards.remove(shard);
        entries.past_records += gone.map_or(0, |gone| gone.records);
        drop(entries);
        self.changed();
    }

    fn release(&self, released: Record) {
        if let Record::Released(it) = &released {
            let note = Note::new(EventKind::Released, "given up");
            self.note(note.shard(&it.shard).epoch(it.epoch));
        }
        self.entries().releases.push_back(released);
        self.released.notify_one();
    }

    fn begun(&self, begun: Begun) {
        let record = Record::Begun(begun);
        self.entries().begun.insert(record.key(), record);
        self.released.notify_one();
    }

    fn stage(&self, shard: &ShardId, epoch: Epoch, stage: Stage) {
        let planned = self.entries().planned;
        let planned = planned.filter(|(of, _)| *of == epoch);
        let took = planned.map(|(_, at)| self.clock.elapsed().saturating_sub(at));
        let (kind, what) = match stage {
            Stage::LastCommit => (EventKind::LastCommit, "its last commit here"),
            Stage::Permitted => (EventKind::Permitted, "may be processed"),
            Stage::CaughtUp => (EventKind::CaughtUp, "its copy is complete"),
            Stage::Assigned => (EventKind::Assigned, "its inputs are open"),
            Stage::FirstCommit => (EventKind::FirstCommit, "its first commit here"),
        };
        let note = Note::new(kind, what);
        self.note(note.shard(shard).epoch(epoch).took(took));
    }

    fn writes(&self, topic: &Arc<str>) {
        self.entries().written.insert(topic.clone());
    }

    fn unread(&self, topic: &Arc<str>, unread: UnreadPartitions) {
        let before = self.entries().unread.insert(topic.clone(), unread);
        if before != Some(unread) {
            tracing::warn!("input topic {topic} {unread}");
            self.changed();
        }
    }

    fn commit(&self, commit: &CommitReport) {
        let mut entries = self.entries();
        let totals = &mut entries.totals;
        totals.commits += 1;
        totals.records += commit.records as u64;
        totals.bytes += commit.bytes as u64;
        totals.took += commit.took;
        totals.longest = totals.longest.max(commit.took);
        drop(entries);
        self.changed();
    }
}

#[cfg(test)]
mod tests {
    use tanist_actors::port::TokioClock;

    use super::*;

    #[test]
    fn a_shard_is_shown_as_it_was_when_its_thread_goes_on() {
        let clock = Arc::new(TokioClock::starting_at(tanist_cluster::Millis(0)));
        let board = Board::new("n1".into(), clock);
        let stuck = || ShardState::Stuck {
            reason: "it waits for a server".into(),
        };
        let states = [ShardState::Running, stuck(), ShardState::Standby, stuck()];
        let shard = |partition| ShardId::new("orders", partition);
        for (partition, state) in (0..).zip(&states) {
            board.shard(ShardStatus {
                shard: shard(partition),
                state: state.clone(),
                inputs: BTreeMap::new(),
                records: 0,
                uncommitted: false,
                copy: None,
            });
        }
        let shown = || board.shards().into_iter().map(|status| status.state);
        let silent = |is_overdue| Silent {
            shards: Arc::new([0, 1, 2, 7].map(shard).into()),
            reason: "a handler blocks its thread".into(),
            is_overdue,
        };
        let blocked = ShardState::Stuck {
            reason: silent(false).reason,
        };
        let expected = [blocked.clone(), blocked, ShardState::Standby, stuck()];
        for is_overdue in [false, true] {
            board.silent(WorkerIndex(0), Some(silent(is_overdue)));
            assert!(shown().eq(expected.clone()));
            assert_eq!(board.blocked(), Some(silent(false).reason));
            assert_eq!(board.overdue(), board.blocked().filter(|_| is_overdue));
        }
        board.silent(WorkerIndex(0), None);
        assert!(shown().eq(states.clone()));
        assert_eq!((board.blocked(), board.overdue()), (None, None));
    }

    #[test]
    fn what_a_node_has_processed_is_counted_on_when_its_shards_go_and_come() {
        let board = Board::new("n1".into(), Arc::new(TokioClock::system()));
        let shard = ShardId::new("orders", 0);
        let report = |state: ShardState, records| {
            board.shard(ShardStatus {
                shard: shard.clone(),
                state,
                inputs: BTreeMap::new(),
                records,
                uncommitted: false,
                copy: None,
            });
            let work = board.at_work().get(&shard).map(|work| work.records);
            (board.records(), work)
        };
        assert_eq!(report(ShardState::Running, 7), (7, Some(7)));
        assert_eq!(report(ShardState::Standby, 0), (7, None));
        assert_eq!(report(ShardState::Running, 2), (9, Some(2)));
        board.gone(&shard);
        assert_eq!((board.records(), board.at_work().len()), (9, 0));
        assert_eq!(report(ShardState::Running, 1), (10, Some(1)));
        board.clear();
        assert_eq!((board.records(), board.at_work().len()), (10, 0));
    }
}
