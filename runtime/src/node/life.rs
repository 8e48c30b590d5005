//! [`Life`]: a node as a member, from its `Join` until it has left or is put out. One loop: something happens, the view and
//! what is known of the others change, and what follows from that is begun; nothing in the loop waits.

mod leave;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tanist_actors::port::{BrokerError, LocalPortFuture};
use tanist_actors::worker::Unfinished;
use tanist_cluster::admission::{Admission, admit};
use tanist_cluster::control::{Begun, Join, Record};
use tanist_cluster::garbage;
use tanist_cluster::heartbeat::{Heartbeat, Reports};
use tanist_cluster::liveness::Liveness;
use tanist_cluster::view::{Applied, Standing, View};
use tanist_cluster::{MemberId, ShardId, WorkerIndex};
use tokio::sync::watch;

use super::beats::Beats;
use super::catch_up::{CatchUp, QUIET, Reached};
use super::control::{ControlLog, Writes, Written};
use super::crew::{Crew, News, Silent};
use super::inquiry::Inquiry;
use super::office::{Fenced, Office};
use super::report::Reporter;
use super::stores::Positions;
use super::timeline::{EventKind, Note};
use super::watch::Watch;
use super::{NodeError, NodeParts, Wish, story};
use crate::app::AppTopology;

/// How long a member that has stopped tries to say so.
const FAREWELL: Duration = Duration::from_secs(5);

/// More time than passes between two looks at the workers of a process that is not frozen.
const MAX_PASSED: Duration = Duration::from_secs(1);

/// More heartbeats than come between two readings of the control log.
const MAX_EARLY: usize = 1000;

/// How it ended.
pub(super) enum Ending {
    /// As its operator wished. False: the last commit did not succeed.
    Stopped { committed: bool },
    /// The others go on without it; everything that it held was dropped.
    Outside,
}

/// How far the stop is.
enum Stop {
    /// Nobody has asked for one.
    No,
    /// Its shards are to go elsewhere, since then.
    Leaving(Duration),
    /// The workers are ending.
    Workers,
    /// They could not commit what they had finished: new ones come to where they were, since then.
    Again(Duration),
    /// These are ending, for good.
    LastWorkers,
    /// They have; the `Leave` is being written, since then.
    Farewell(Duration),
}

type Errand = LocalPortFuture<'static, Result<(CatchUp, Option<Reached>), BrokerError>>;

/// See the module.
pub(super) struct Life<'n> {
    pub(super) parts: &'n NodeParts,
    pub(super) topology: &'n AppTopology,
    pub(super) control: &'n mut ControlLog,
    pub(super) beats: &'n mut Beats,
    pub(super) join: Join,
    pub(super) me: MemberId,
    /// Until it is certain that it may stay.
    entering: Option<Inquiry>,
    liveness: Liveness,
    alive: BTreeSet<MemberId>,
    since: Duration,
    knows: bool,
    watch: Watch,
    office: Office,
    crew: Crew,
    writes: Writes,
    reporter: Reporter,
    reports: Reports,
    /// Of members whose `Join` was not read yet.
    early: Vec<Heartbeat>,
    beat_at: Duration,
    ticked: Duration,
    /// The next heartbeat is to tell everything.
    tell_all: bool,
    /// The view, or what the workers have, has changed since they were told.
    stale: bool,
    here: BTreeSet<ShardId>,
    catch_up: Option<Errand>,
    stop: Stop,
    stopping: Option<LocalPortFuture<'static, BTreeMap<WorkerIndex, Unfinished>>>,
    committed: bool,
    /// Workers that were made anew for the sake of a stop have come to where those before them were.
    came_back: bool,
    failure: Option<NodeError>,
}

/// What can happen.
enum Happened {
    Wished(Wish),
    Read(Vec<Applied>),
    Heard(Vec<Heartbeat>),
    Written(Written),
    Released(Record),
    Crew(News),
    Fenced(Fenced),
    Gone(MemberId),
    Asked,
    Looked,
    CaughtUp(CatchUp, Option<Reached>),
    Stopped(BTreeMap<WorkerIndex, Unfinished>),
    Tick,
}

impl<'n> Life<'n> {
    pub(super) fn new(
        parts: &'n NodeParts,
        topology: &'n AppTopology,
        control: &'n mut ControlLog,
        beats: &'n mut Beats,
        (join, me): (Join, MemberId),
        on_disk: Positions,
    ) -> Self {
        beats.begin(me);
        let writes = Writes::new(
            parts.broker.clone(),
            parts.clock.clone(),
            control.partition().clone(),
        );
        Self {
            entering: Some(Inquiry::default()),
            liveness: Liveness::new(me, parts.cluster.failure_timeout),
            alive: BTreeSet::new(),
            since: parts.clock.elapsed(),
            knows: false,
            watch: Watch::default(),
            office: Office::new(me),
            crew: Crew::new(me, topology),
            writes,
            reporter: Reporter::new(topology, parts.cluster.policy, on_disk),
            reports: Reports::default(),
            early: Vec::new(),
            beat_at: Duration::ZERO,
            ticked: Duration::ZERO,
            tell_all: false,
            stale: true,
            here: BTreeSet::new(),
            catch_up: None,
            stop: Stop::No,
            stopping: None,
            committed: true,
            came_back: true,
            failure: None,
            parts,
            topology,
            control,
            beats,
            join,
            me,
        }
    }

    /// Lives. `wish` is what the operator wants, at the start and later.
    pub(super) async fn run(
        mut self,
        wish: &mut watch::Receiver<Wish>,
    ) -> Result<Ending, NodeError> {
        let first = *wish.borrow_and_update();
        self.take(Happened::Wished(first))?;
        self.take(Happened::Read(Vec::new()))?;
        loop {
            if let Some(ending) = self.consider()? {
                return Ok(ending);
            }
            let happened = self.next(wish).await?;
            self.take(happened)?;
        }
    }

    async fn next(&mut self, wish: &mut watch::Receiver<Wish>) -> Result<Happened, NodeError> {
        let tick = self.beat_at.saturating_sub(self.parts.clock.elapsed());
        Ok(tokio::select! {
            biased;
            // Who is stopping has no other wish; nor is there always somebody left who could have one.
            wish = next_wish(wish), if matches!(self.stop, Stop::No) => Happened::Wished(wish),
            read = self.control.changed() => Happened::Read(read?),
            record = self.parts.board.released() => Happened::Released(record),
            gone = self.watch.next() => Happened::Gone(gone),
            fenced = self.office.next() => Happened::Fenced(fenced),
            news = self.crew.next() => Happened::Crew(news?),
            heard = self.beats.heard() => Happened::Heard(heard),
            written = self.writes.next() => Happened::Written(written),
            stopped = answer(&mut self.stopping) => Happened::Stopped(stopped),
            () = asked(&mut self.entering) => Happened::Asked,
            () = self.reporter.looked() => Happened::Looked,
            caught_up = answer(&mut self.catch_up) => {
                let (caught_up, reached) = caught_up?;
                Happened::CaughtUp(caught_up, reached)
            }
            () = self.parts.clock.sleep(tick) => Happened::Tick,
        })
    }

    fn take(&mut self, happened: Happened) -> Result<(), NodeError> {
        let now = self.parts.clock.elapsed();
        match happened {
            Happened::Wished(Wish::Run) | Happened::Asked => {}
            Happened::Wished(Wish::StopWhenCaughtUp) => self.begin_to_catch_up(),
            Happened::Wished(Wish::Stop) => self.leave(),
            Happened::Read(applied) => self.read(&applied, now),
            Happened::Heard(heard) => self.heard(heard, now),
            Happened::Written((record, written)) => self.written(record, written, now)?,
            Happened::Released(record) => self.writes.write(record),
            Happened::Crew(News::Prepared(worker)) => {
                tracing::debug!(%worker, "its producer is ready");
            }
            Happened::Crew(News::Ended(worker, error)) => {
                let relapse = self.crew.replace(worker, self.parts);
                // Of the new one nothing has been said.
                self.parts.board.silent(worker, None);
                let text = format!(
                    "worker {worker} could not commit ({error}; failure {} in a row): it is made anew in {:?}, and its \
                     shards go on from what is committed",
                    relapse.times, relapse.pause,
                );
                self.parts.board.note(Note::new(EventKind::Rearmed, text));
            }
            Happened::Fenced(fenced) => {
                for note in self.office.fenced(fenced) {
                    self.parts.board.note(note);
                }
            }
            Happened::Gone(member) => self.liveness.refused(member),
            Happened::Looked => self.beat_at = now,
            Happened::CaughtUp(catch_up, reached) => self.caught_up(catch_up, reached),
            Happened::Stopped(unfinished) => self.stopped(&unfinished, now),
            Happened::Tick => self.tick(now),
        }
        Ok(())
    }

    /// What follows from all that is known now.
    fn consider(&mut self) -> Result<Option<Ending>, NodeError> {
        let view = self.control.view().clone();
        if let Some(ending) = self.ending(&view) {
            return match self.failure.take() {
                Some(failure) => Err(failure),
                None => Ok(Some(ending)),
            };
        }
        self.enter(&view);
        self.judge(&view);
        let can_work = matches!(self.stop, Stop::No | Stop::Leaving(_) | Stop::Again(_));
        if can_work {
            let announcement = self.crew.announce(&view);
            announcement
                .into_iter()
                .for_each(|it| self.writes.write(it));
            self.stale |= self.crew.start(&view, self.parts, self.topology);
            if std::mem::take(&mut self.stale) {
                let owed = self.crew.follow(&view, &self.here, self.parts.workers);
                owed.into_iter()
                    .for_each(|record| self.writes.write(record));
            }
        }
        if let Some(plan) = self
            .office
            .direct(&view, &self.alive, &self.reports, self.parts)
        {
            self.writes.write(Record::Plan(plan));
        }
        self.stop_if_free(&view);
        Ok(None)
    }

    fn ending(&mut self, view: &View) -> Option<Ending> {
        let committed = self.committed;
        let outside = view.standing(self.me) != Standing::Member;
        match self.stop {
            Stop::Farewell(_) if outside => Some(Ending::Stopped { committed }),
            Stop::Leaving(_) | Stop::Again(_) if outside => {
                Some(Ending::Stopped { committed: false })
            }
            // Whether the last commits succeeded, the workers will say.
            Stop::Workers | Stop::LastWorkers => None,
            Stop::Farewell(since) => {
                let late = self.parts.clock.elapsed().saturating_sub(since) >= FAREWELL;
                late.then_some(Ending::Stopped { committed })
            }
            _ => outside.then_some(Ending::Outside),
        }
    }

    /// Checks once more whether it may be here, since another may have joined just before; then makes its workers ready.
    fn enter(&mut self, view: &View) {
        let Some(inquiry) = &mut self.entering else {
            return;
        };
        match admit(view, &self.join, Some(self.me), |id| inquiry.peer(id)) {
            Admission::Welcome => {
                self.entering = None;
                let workers = (0..self.parts.workers).map(WorkerIndex);
                self.crew.prepare(workers, self.parts);
            }
            Admission::Ask(members) => {
                inquiry.ask(&members, view, self.parts, self.beats.partition());
            }
            Admission::Refused(refusal) => {
                self.entering = None;
                self.failure = Some(NodeError::Refused(refusal));
                self.farewell("refused");
            }
        }
    }

    /// Who is alive, and who is to be watched.
    fn judge(&mut self, view: &View) {
        let alive: BTreeSet<MemberId> = self.liveness.alive(view).collect();
        // Whoever is new does not know yet who is dead; the director's plan, or some time, makes sure.
        let now = self.parts.clock.elapsed();
        let lived = now.saturating_sub(self.since) > 2 * self.parts.cluster.failure_timeout;
        let planned = view
            .plan()
            .is_some_and(|plan| plan.members().contains(&self.me));
        let knows = lived || planned;
        if alive != self.alive || knows != self.knows {
            self.knows = knows;
            let others = alive.iter().filter(|id| knows && **id != self.me);
            self.parts.board.judge(others.copied().collect());
        }
        if alive != self.alive {
            self.alive = alive;
            self.office.ask_now();
            let director = self.alive.first().copied();
            self.watch.follow(view, self.me, director, self.parts);
            let verdict = |id| self.liveness.verdict(id);
            for note in self.office.mourn(view, &self.alive, verdict, now) {
                self.parts.board.note(note);
            }
        }
    }

    fn read(&mut self, applied: &[Applied], now: Duration) {
        let view = self.control.view().clone();
        self.liveness.follow(&view);
        self.reports.follow(&view);
        let early = std::mem::take(&mut self.early);
        self.heard(early, now);
        self.office.ask_now();
        self.stale = true;
        let before = self.parts.board.view();
        self.parts.board.follow(Some(self.me), &view);
        for applied in applied {
            let took = match (applied, view.plan()) {
                (Applied::Planned(epoch), Some(plan)) if plan.epoch() == *epoch => {
                    self.office.planned(plan, now)
                }
                _ => None,
            };
            if self.office.directs()
                && let Some(note) = story::of(applied, &before, &view, took)
            {
                self.parts.board.note(note);
            }
            if matches!(applied, Applied::Joined(_)) {
                // It knows nothing of us yet.
                self.tell_all = true;
                self.beat_at = now;
            }
        }
    }

    fn heard(&mut self, heard: Vec<Heartbeat>, now: Duration) {
        for heartbeat in heard {
            let Heartbeat { member, beat, .. } = heartbeat;
            if let Some(inquiry) = &mut self.entering {
                inquiry.heard(member);
            }
            if member == self.me {
                if let Some(sent) = self.beats.sent_at(beat) {
                    self.liveness.own_came_back(sent, now);
                    // It was not silent before, and is dead no sooner than it was for so long.
                    let until = sent + self.parts.cluster.failure_timeout;
                    self.parts.board.sure_until(until);
                }
                continue;
            }
            self.liveness.heard(member);
            match self.control.view().standing(member) {
                Standing::Member => self.reported(heartbeat, now),
                // Its first report may be here before its `Join`, and is not told again while it stays as it is.
                Standing::NotYet if self.early.len() < MAX_EARLY => self.early.push(heartbeat),
                Standing::NotYet | Standing::Outside { .. } => {}
            }
        }
    }

    /// Takes note of what a member says of itself.
    fn reported(&mut self, heartbeat: Heartbeat, now: Duration) {
        let member = heartbeat.member;
        let before = self.reports.get(member).map(|(_, leaving)| *leaving);
        let reports = heartbeat.report.is_some();
        self.reports.heard(heartbeat);
        let after = self.reports.get(member).map(|(_, leaving)| *leaving);
        if before != after {
            self.office.ask_now();
        } else if reports {
            self.office.ask_soon(now);
        }
    }

    /// What is done now and then: heartbeats, and all that waits for time to pass.
    fn tick(&mut self, now: Duration) {
        self.beat_at = now + self.parts.cluster.heartbeat_interval;
        // A process that was frozen asks too late, not its workers.
        let passed = now.saturating_sub(std::mem::replace(&mut self.ticked, now));
        let limit = self.parts.settings.max_poll_interval;
        for (worker, silent) in self.crew.look(passed.min(MAX_PASSED), limit) {
            if let Some(Silent { reason, .. }) = &silent {
                tracing::warn!("{reason}");
            }
            self.parts.board.silent(worker, silent);
        }
        let here = self.parts.board.here();
        if here != self.here {
            self.here = here;
            // A shard that has gone from one worker may go to another.
            self.stale = true;
        }
        let replicas = self.parts.board.replicas();
        let (broker, clock) = (&self.parts.broker, &self.parts.clock);
        self.reporter.look(broker, clock, &replicas, now);
        self.tell_all |= self.beats.has_lost();
        let report = self.reporter.news(&replicas, self.tell_all, now);
        let leaving = !matches!(self.stop, Stop::No);
        if let Some(heartbeat) = self.beats.send(leaving, report) {
            if let Some(report) = &heartbeat.report {
                self.tell_all = false;
                self.reporter.told(report.clone(), now);
            }
            self.reported(heartbeat, now);
        }
        if self.office.may_sweep(now) {
            self.writes.sweep(garbage(self.control.view()));
        }
    }

    fn written(
        &mut self,
        record: Record,
        written: Result<tanist_cluster::Offset, BrokerError>,
        now: Duration,
    ) -> Result<(), NodeError> {
        let error = match (written, &record) {
            (Ok(_), _) => return Ok(()),
            // The next director would fare no better.
            (Err(error @ BrokerError::Refused { .. }), Record::Plan(plan)) => {
                tracing::warn!(
                    "plan {} ({} bytes) was not taken, and no shard moves until one is: if it is too large, raise \
                     max.message.bytes of topic {}; trying again ({error})",
                    plan.epoch(),
                    record.encode().len(),
                    self.control.partition().topic,
                );
                self.office.refused(plan, now);
                return Ok(());
            }
            // Said again when the shard begins anew.
            (Err(error @ BrokerError::Refused { .. }), Record::Begun(begun)) => {
                let Begun {
                    topic, partition, ..
                } = begun;
                tracing::warn!("it is not noted that {topic}[{partition}] is read: {error}");
                return Ok(());
            }
            (Err(error @ BrokerError::Refused { .. }), _) => return Err(error.into()),
            (Err(error), _) => error,
        };
        tracing::warn!("could not write to the control log: {error}");
        if still_wanted(&record, self.control.view()) {
            self.writes.repeat(record);
        }
        Ok(())
    }
}

/// Whether a record whose fate is unknown is to be written again.
fn still_wanted(record: &Record, view: &View) -> bool {
    match record {
        Record::Plan(plan) => view.epoch() < plan.epoch(),
        Record::Released(released) => view.epoch() <= released.epoch,
        Record::Armed(armed) => view
            .member(armed.member)
            .is_some_and(|member| member.generation < armed.generation),
        Record::Leave(leave) => view.member(leave.member).is_some(),
        Record::Begun(begun) => {
            view.begun(&begun.topic, begun.partition) != Some(begun.id.as_ref())
        }
        // Written once: with a new incarnation next time.
        Record::Join(_) => false,
    }
}

/// The next wish. That nobody is left who could have one is one, too.
async fn next_wish(wish: &mut watch::Receiver<Wish>) -> Wish {
    match wish.changed().await {
        Ok(()) => *wish.borrow_and_update(),
        Err(_) => Wish::Stop,
    }
}

/// What the future in `slot` gives, which is then done with. Never done if there is none.
async fn answer<T>(slot: &mut Option<LocalPortFuture<'static, T>>) -> T {
    let Some(future) = slot else {
        return std::future::pending().await;
    };
    let answer = future.await;
    *slot = None;
    answer
}

async fn asked(inquiry: &mut Option<Inquiry>) {
    match inquiry {
        Some(inquiry) => inquiry.next().await,
        None => std::future::pending().await,
    }
}
