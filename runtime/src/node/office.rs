//! [`Office`]: the shell around [`Director`]: fences whom the director takes for dead, and says when to ask again.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tanist_actors::port::{BrokerError, LocalPortFuture};
use tanist_cluster::director::{Decision, Director, Situation, TOGETHER, Waiting};
use tanist_cluster::fence::Fence;
use tanist_cluster::heartbeat::Reports;
use tanist_cluster::liveness::Verdict;
use tanist_cluster::plan::Plan;
use tanist_cluster::view::View;
use tanist_cluster::{MemberId, TransactionalId};

use super::NodeParts;
use super::timeline::{EventKind, Note};

/// How long the nodes that were there before an outage are waited for.
const GATHER: Duration = Duration::from_secs(1);
/// After the last change of plan, before the control log is cleared of what is superseded: a hand-over comes first.
const SETTLED: Duration = Duration::from_secs(2);
/// Before whoever could not be fenced is fenced again.
const PAUSE: Duration = Duration::from_secs(1);
/// Before a plan is worked out after one that the broker refused.
const REFUSED: Duration = Duration::from_secs(10);
/// How often it is looked whether they have come.
const OUTAGE: Duration = Duration::from_millis(100);
/// How often a plan is worked out anew only because reports have changed.
const REPORTS: Duration = Duration::from_millis(200);

/// A fence that has ended: of whom, how long it took, and whether it succeeded.
pub(super) struct Fenced {
    fences: Vec<Fence>,
    took: Duration,
    done: Result<(), BrokerError>,
}

/// See the module.
pub(super) struct Office {
    me: MemberId,
    books: Director,
    /// The last decision was up to this member.
    in_office: bool,
    fencing: FuturesUnordered<LocalPortFuture<'static, Fenced>>,
    /// The first death that no plan answers yet, and who is dead.
    noticed: Option<Duration>,
    dead: BTreeSet<MemberId>,
    /// Who leaves, and since when it is these.
    leaving: (BTreeSet<MemberId>, Duration),
    /// When to ask again.
    ask_at: Option<Duration>,
    /// Not before then, whatever happens.
    rest_until: Duration,
    sweep_at: Option<Duration>,
}

impl Office {
    pub(super) fn new(me: MemberId) -> Self {
        Self {
            me,
            books: Director::new(me),
            in_office: false,
            fencing: FuturesUnordered::new(),
            noticed: None,
            dead: BTreeSet::new(),
            leaving: (BTreeSet::new(), Duration::ZERO),
            ask_at: Some(Duration::ZERO),
            rest_until: Duration::ZERO,
            sweep_at: None,
        }
    }

    /// Whether the last decision was up to this member.
    pub(super) fn directs(&self) -> bool {
        self.in_office
    }

    /// Something has changed that a decision depends on.
    pub(super) fn ask_now(&mut self) {
        self.ask_at = Some(Duration::ZERO);
    }

    /// A report has changed.
    pub(super) fn ask_soon(&mut self, now: Duration) {
        self.ask_at.get_or_insert(now + REPORTS);
    }

    /// Tells whom this member takes for dead (not among `alive`, by `verdict`), each once, if it is the director by then.
    pub(super) fn mourn(
        &mut self,
        view: &View,
        alive: &BTreeSet<MemberId>,
        verdict: impl Fn(MemberId) -> Verdict,
        now: Duration,
    ) -> Vec<Note> {
        self.dead
            .retain(|id| view.member(*id).is_some() && !alive.contains(id));
        if alive.first() != Some(&self.me) {
            return Vec::new();
        }
        let mut notes = Vec::new();
        for (id, member) in view.members().filter(|(id, _)| !alive.contains(id)) {
            if self.dead.insert(id) {
                self.noticed.get_or_insert(now);
                let verdict = verdict(id);
                let silent = match verdict {
                    Verdict::Silent(silent) => Some(silent),
                    _ => None,
                };
                let text = format!("node {} is taken for dead: {verdict}", member.join.node);
                notes.push(Note::new(EventKind::Dead, text).member(id).took(silent));
            }
        }
        notes
    }

    /// Carries out what is decided, but for a plan: that is to be written by the caller.
    pub(super) fn direct(
        &mut self,
        view: &View,
        alive: &BTreeSet<MemberId>,
        reports: &Reports,
        parts: &NodeParts,
    ) -> Option<Plan> {
        let now = parts.clock.elapsed();
        let rests = now < self.rest_until;
        self.ask_at.take_if(|at| !rests && *at <= now)?;
        let leaving: BTreeSet<MemberId> = alive
            .iter()
            .copied()
            .filter(|id| reports.leaves(*id))
            .collect();
        if leaving != self.leaving.0 {
            self.leaving = (leaving, now);
        }
        let decision = self.books.next(&Situation {
            view,
            alive,
            reports,
            policy: &parts.cluster.policy,
            gather: GATHER,
            same_leave: now.saturating_sub(self.leaving.1),
            now,
        });
        let before = std::mem::replace(&mut self.in_office, decision != Decision::NotMine);
        if self.in_office && !before {
            tracing::info!("this member is the director");
        }
        match decision {
            Decision::NotMine | Decision::Rest => {}
            Decision::Wait(waiting) => {
                tracing::debug!(?waiting, "the director waits");
                match waiting {
                    Waiting::Outage { .. } => self.ask_at = Some(now + OUTAGE),
                    Waiting::Leaving => self.ask_at = Some(self.leaving.1 + TOGETHER),
                    Waiting::Plan(_) | Waiting::Fences(_) | Waiting::Myself => {}
                }
            }
            Decision::Fence(fences) => self.fence(fences, parts),
            Decision::Write(plan) => return Some(plan),
        }
        None
    }

    fn fence(&mut self, fences: Vec<Fence>, parts: &NodeParts) {
        let began = parts.clock.elapsed();
        let (broker, clock) = (parts.broker.clone(), parts.clock.clone());
        let ids: Vec<TransactionalId> = fences
            .iter()
            .flat_map(|fence| fence.ids(parts.app.id()))
            .collect();
        self.fencing.push(Box::pin(async move {
            let done = broker.fence(&ids).await;
            if done.is_err() {
                clock.sleep(PAUSE).await;
            }
            let took = clock.elapsed().saturating_sub(began);
            Fenced { fences, took, done }
        }));
    }

    /// Until a fence has ended. Never done if there is none.
    pub(super) async fn next(&mut self) -> Fenced {
        match self.fencing.next().await {
            Some(fenced) => fenced,
            None => std::future::pending().await,
        }
    }

    /// Takes note of it.
    pub(super) fn fenced(&mut self, fenced: Fenced) -> Vec<Note> {
        let Fenced { fences, took, done } = fenced;
        self.ask_now();
        if let Err(error) = done {
            fences
                .iter()
                .for_each(|fence| self.books.fence_failed(fence));
            tracing::warn!("could not fence dead members, trying again: {error}");
            return Vec::new();
        }
        let note = |fence: &Fence| {
            let text = format!("the producers of node {} are ended", fence.node);
            Note::new(EventKind::Fenced, text)
                .member(fence.member)
                .took(Some(took))
        };
        fences.iter().for_each(|fence| self.books.fenced(fence));
        fences.iter().map(note).collect()
    }

    /// A plan counts. How long it took from the first death that it answers, if it is one's own.
    pub(super) fn planned(&mut self, plan: &Plan, now: Duration) -> Option<Duration> {
        self.sweep_at = Some(now + SETTLED);
        let noticed = self.noticed.take_if(|_| plan.author() == self.me)?;
        Some(now.saturating_sub(noticed))
    }

    /// The broker did not take a plan. All stays as it is until it takes another.
    pub(super) fn refused(&mut self, plan: &Plan, now: Duration) {
        self.books.plan_refused(plan.epoch());
        self.rest_until = now + REFUSED;
        self.ask_now();
    }

    /// Whether it is time to clear the control log of what is superseded.
    pub(super) fn may_sweep(&mut self, now: Duration) -> bool {
        self.in_office && self.sweep_at.take_if(|at| *at <= now).is_some()
    }
}
