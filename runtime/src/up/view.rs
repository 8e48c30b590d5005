//! [`View`]: what is known of the local cluster, folded from facts.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Serialize;
use tanist_actors::shard::ShardState;
use tanist_cluster::{MemberId, Millis, NodeName, ShardId};

use super::event::Event;
use super::local::{Ended, Running};
use super::moves::{Moved, Moves, gather};
use super::order::{Act, State};
use crate::http::{NodeStatus, Role};

/// How many events are remembered.
const MAX_EVENTS: usize = 500;
/// How many moves are remembered, for the summary.
const MAX_MOVED: usize = 100_000;
/// How long an event is held back, because others that came before it may still be on their way.
const SETTLE_MS: i64 = 600;

/// Something that was done or seen.
#[derive(Clone, Debug)]
pub(crate) enum Fact {
    Started(Running),
    /// An order was carried out.
    Done(NodeName, Act),
    Ended(Ended),
    /// A node tells of something, or we do.
    Happened(Event),
    /// A node answers.
    Status {
        node: NodeName,
        pid: u32,
        address: SocketAddr,
        /// See [`Pace::round`], when it was asked.
        round: u64,
        status: Box<NodeStatus>,
    },
    /// A node does not answer.
    Silent {
        node: NodeName,
        pid: u32,
    },
    /// The generator has sent so many records in all.
    Sent(u64),
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(super) nodes: Vec<NodeView>,
    /// All that the app has, as far as it is known.
    pub(super) shards: BTreeSet<ShardId>,
    /// From an input to what comes of it, at most: as many as there are inputs.
    steps: usize,
    pub(super) sent: Sent,
    /// What has settled, the oldest first.
    pub(super) events: VecDeque<Event>,
    /// By time, and then as they came.
    unsettled: BTreeMap<(Millis, u64), Event>,
    /// Who has joined and left: every node tells it of every other.
    known: BTreeSet<(MemberId, String)>,
    arrived: u64,
    moves: Moves,
    /// Those that are not told together yet.
    moved: Vec<Moved>,
    moved_ms: Vec<i64>,
    /// The present round, see [`View::is_drained`], and how many before it were complete in a row.
    round: u64,
    complete: usize,
}

/// How nodes are to be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pace {
    /// What is asked in it counts for it alone.
    pub(crate) round: u64,
    /// Somebody waits for the answers.
    pub(crate) is_hurried: bool,
}

/// A node.
#[derive(Debug)]
pub(super) struct NodeView {
    pub(super) name: NodeName,
    pub(super) state: State,
    pid: u32,
    pub(super) log: PathBuf,
    /// What it said at last; none while it has said nothing, or does not run.
    pub(super) told: Option<Told>,
    /// It runs, and does not answer.
    pub(super) silent: bool,
    /// The last round in which it had nothing left to do.
    settled_in: Option<u64>,
}

/// What a node has said of itself.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) address: SocketAddr,
    pub(super) member: Option<MemberId>,
    pub(super) records_per_second: Option<f64>,
    pub(super) lag_records: Option<u64>,
    pub(super) settled: bool,
    pub(super) broker_reachable: bool,
    pub(super) shards: BTreeMap<ShardId, Copy>,
}

/// A node's copy of a shard.
#[derive(Debug)]
pub(super) struct Copy {
    pub(super) part: Part,
    pub(super) records_per_second: Option<f64>,
    pub(super) lag_records: Option<u64>,
}

/// What a node is to a shard at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Active,
    /// Active, and not at work: it is restored, restarted, or stopping.
    Busy,
    Standby,
    /// A standby or a warm-up that is not complete yet.
    Filling,
    Warmup,
    /// About to be given up.
    Going,
    Broken,
}

/// What the generator has sent.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) records: Option<u64>,
    pub(super) per_second: f64,
    at: Millis,
}

/// How long moves took, from their cause to the first commit of the new owner.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Pauses {
    pub(crate) moves: usize,
    pub(crate) median_ms: i64,
    pub(crate) longest_ms: i64,
}

impl View {
    /// Of an app with these shards, and those that its nodes tell of; its inputs are so many.
    pub(crate) fn new(shards: impl Iterator<Item = ShardId>, steps: usize) -> Self {
        Self {
            shards: shards.collect(),
            steps,
            ..Self::default()
        }
    }

    /// Takes in what was done or seen at `now`.
    pub(crate) fn fold(&mut self, now: Millis, fact: Fact) {
        match fact {
            Fact::Started(running) => self.started(now, running),
            Fact::Done(name, act) => self.done(now, &name, act),
            Fact::Ended(ended) => self.ended(now, ended),
            Fact::Happened(event) => self.happened(event),
            Fact::Status {
                node,
                pid,
                address,
                round,
                status,
            } => {
                let shards = status.shards.iter().map(|line| line.shard.clone());
                let shards: Vec<ShardId> = shards.collect();
                if let Some(view) = self.process(&node, pid) {
                    let broken = view.newly_broken(&status);
                    view.told = Some(Told::new(address, *status));
                    view.silent = false;
                    self.shards.extend(shards);
                    for text in broken {
                        self.happened(Event::of(&node, now, "broken", text));
                    }
                    self.count_round(pid, round);
                }
            }
            Fact::Silent { node, pid } => {
                if let Some(node) = self.process(&node, pid) {
                    node.silent = true;
                    self.restart_rounds();
                }
            }
            Fact::Sent(records) => self.sent.fold(now, records),
        }
    }

    fn started(&mut self, now: Millis, running: Running) {
        let Running { node, pid, log, .. } = running;
        self.happened(Event::of(&node, now, "started", format!("process {pid}")));
        let view = NodeView {
            name: node,
            state: State::Running,
            pid,
            log,
            told: None,
            silent: false,
            settled_in: None,
        };
        match self.nodes.iter_mut().find(|node| node.name == view.name) {
            Some(node) => *node = view,
            None => self.nodes.push(view),
        }
        self.restart_rounds();
    }

    fn done(&mut self, now: Millis, name: &NodeName, act: Act) {
        let (state, kind) = match act {
            Act::Kill => (State::Killed, "killed"),
            Act::Freeze => (State::Frozen, "frozen"),
            Act::Thaw => (State::Running, "thawed"),
            Act::Stop => (State::Stopping, "stopping"),
            // Told by the fact that it runs.
            Act::Start => return,
        };
        self.happened(Event::of(name, now, kind, ""));
        if let Some(node) = self.nodes.iter_mut().find(|node| node.name == *name) {
            node.state = state;
        }
        self.restart_rounds();
    }

    fn ended(&mut self, now: Millis, ended: Ended) {
        let Ended {
            node,
            exit,
            is_expected,
            last_lines,
        } = ended;
        let mut text = exit.to_string();
        if !is_expected {
            text = format!("unexpectedly: {text}");
            for line in last_lines {
                text.push_str("\n    ");
                text.push_str(&line);
            }
        }
        self.happened(Event::of(&node, now, "ended", text));
        if let Some(node) = self.nodes.iter_mut().find(|view| view.name == node) {
            node.state = State::Ended(exit);
            node.told = None;
            node.silent = false;
        }
        self.restart_rounds();
    }

    fn happened(&mut self, event: Event) {
        if let Some(member) = event.member
            && ["joined", "left"].contains(&&*event.kind)
            && !self.known.insert((member, event.kind.clone()))
        {
            return;
        }
        if self.known.len() > MAX_EVENTS {
            self.known.pop_first();
        }
        self.unsettled.insert((event.at_ms, self.arrived), event);
        self.arrived += 1;
    }

    /// The node, if what was seen is of its present process.
    fn process(&mut self, name: &NodeName, pid: u32) -> Option<&mut NodeView> {
        let node = self.nodes.iter_mut().find(|node| node.name == *name)?;
        (node.pid == pid && node.state.is_alive()).then_some(node)
    }

    /// The events that nothing can come before any more at `now`, in the order of their times, and what follows from
    /// them.
    pub(crate) fn settle(&mut self, now: Millis) -> Vec<Event> {
        let later = self.unsettled.split_off(&(Millis(now.0 - SETTLE_MS), 0));
        let settled = std::mem::replace(&mut self.unsettled, later);
        let mut all = Vec::new();
        let known = self.moved.len();
        for event in settled.into_values() {
            let moved = self.moves.fold(&event);
            all.push(event);
            if let Some(moved) = moved {
                if self.moved_ms.len() < MAX_MOVED {
                    self.moved_ms.push(moved.took_ms);
                }
                all.push(moved.event());
                self.moved.push(moved);
            }
        }
        // Until no more come: those of one failure come together.
        if self.moved.len() == known {
            all.extend(gather(&std::mem::take(&mut self.moved)));
        }
        let places = self.events.back().map_or(1, |event| event.seq + 1)..;
        for (event, place) in all.iter_mut().zip(places) {
            event.seq = place;
        }
        self.events.extend(all.iter().cloned());
        let over = self.events.len().saturating_sub(MAX_EVENTS);
        self.events.drain(..over);
        all
    }

    /// Where a node answers, the one that is likeliest to do so first.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let mut nodes: Vec<&NodeView> = self.nodes.iter().collect();
        nodes.sort_by_key(|node| (node.state != State::Running, node.silent));
        let told = nodes.into_iter().filter_map(|node| node.told.as_ref());
        told.map(|told| told.address).collect()
    }

    /// The place of a node in the order in which they came, and how it is.
    pub(crate) fn node(&self, place: usize) -> Option<(&NodeName, State)> {
        let node = self.nodes.get(place)?;
        Some((&node.name, node.state))
    }

    /// How many nodes there are, whether they run or not.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The present round.
    pub(crate) fn round(&self) -> u64 {
        self.round
    }

    /// Begins to count anew.
    pub(crate) fn restart_rounds(&mut self) {
        self.round += 1;
        self.complete = 0;
    }

    /// The process `pid` has answered what it was asked in `round`.
    fn count_round(&mut self, pid: u32, round: u64) {
        if !self.is_settled() {
            return self.restart_rounds();
        }
        for node in &mut self.nodes {
            if node.pid == pid && round == self.round {
                node.settled_in = Some(round);
            }
        }
        let mut alive = self.nodes.iter().filter(|node| node.state.is_alive());
        if alive.all(|node| node.settled_in == Some(self.round)) {
            self.round += 1;
            self.complete += 1;
        }
    }

    fn is_settled(&self) -> bool {
        let alive = || self.nodes.iter().filter(|node| node.state.is_alive());
        let is_settled = |told: &Told| told.member.is_some() && told.settled;
        alive().all(|node| node.told.as_ref().is_some_and(is_settled))
            && self.lag_records() == Some(0)
    }

    /// What waits in all inputs; none unless somebody tells it of each shard.
    pub(super) fn lag_records(&self) -> Option<u64> {
        let alive = || self.nodes.iter().filter(|node| node.state.is_alive());
        let at_work: BTreeSet<&ShardId> = alive()
            .filter_map(|node| node.told.as_ref())
            .flat_map(|told| &told.shards)
            .filter(|(_, copy)| copy.part == Part::Active)
            .map(|(shard, _)| shard)
            .collect();
        if at_work.len() < self.shards.len() || alive().any(NodeView::is_stale) {
            return None;
        }
        // A node that has said nothing yet may have what nobody else tells of.
        alive().map(|node| node.told.as_ref()?.lag_records).sum()
    }

    /// Whether all that was sent before the rounds began is processed and committed. A round is complete when every node,
    /// asked after the one before was complete, has nothing left to do. Each proves it for one more step of the way: what
    /// a step writes is left to do for the next.
    pub(crate) fn is_drained(&self) -> bool {
        let mut nodes = self.nodes.iter();
        nodes.any(|node| node.state.is_alive()) && self.complete > self.steps
    }

    /// Why it makes no sense to wait for [`View::is_drained`]; none if it does.
    pub(crate) fn hindrance(&self) -> Option<String> {
        let alive = || self.nodes.iter().filter(|node| node.state.is_alive());
        if alive().next().is_none() {
            return Some("no node runs".to_owned());
        }
        if let Some(node) = alive().find(|node| node.state != State::Running) {
            return Some(format!("{} is {}", node.name, node.state));
        }
        let copies = |part| {
            let told = alive().filter_map(|node| Some((&node.name, node.told.as_ref()?)));
            told.flat_map(move |(name, told)| {
                let copies = told.shards.iter().filter(move |(_, it)| it.part == part);
                copies.map(move |(shard, _)| (shard, name))
            })
        };
        let at_work: BTreeSet<&ShardId> = copies(Part::Active).map(|(shard, _)| shard).collect();
        let mut broken = copies(Part::Broken);
        let (shard, node) = broken.find(|(shard, _)| !at_work.contains(shard))?;
        Some(format!("shard {shard} is broken on {node}"))
    }

    /// What moves cost, if there were any that had a cause which was seen.
    pub(crate) fn pauses(&self) -> Option<Pauses> {
        let mut all = self.moved_ms.clone();
        all.sort_unstable();
        Some(Pauses {
            moves: all.len(),
            median_ms: *all.get(all.len() / 2)?,
            longest_ms: *all.last()?,
        })
    }

    /// What the generator has sent, if there is one.
    pub(crate) fn sent(&self) -> Option<u64> {
        self.sent.records
    }
}

impl NodeView {
    /// What it said at last may not hold any more.
    pub(super) fn is_stale(&self) -> bool {
        self.silent || self.state != State::Running
    }

    /// What is to be told of the shards that broke since it was asked before.
    fn newly_broken(&self, status: &NodeStatus) -> Vec<String> {
        let before = |shard| self.told.as_ref()?.shards.get(shard);
        let broken = status.shards.iter().filter_map(|line| match &line.state {
            Some(ShardState::Broken { reason }) => Some((&line.shard, reason)),
            _ => None,
        });
        let new =
            broken.filter(|(shard, _)| before(shard).is_none_or(|it| it.part != Part::Broken));
        new.map(|(shard, reason)| format!("shard {shard}: {reason}"))
            .collect()
    }
}

impl Told {
    fn new(address: SocketAddr, status: NodeStatus) -> Self {
        let shards = status.shards.into_iter().filter_map(|line| {
            let part = match (line.role, line.state?) {
                (Role::Active, ShardState::Running) => Part::Active,
                (_, ShardState::Broken { .. }) => Part::Broken,
                (Role::Active, _) => Part::Busy,
                (Role::Going, _) => Part::Going,
                (_, ShardState::Restoring { .. }) => Part::Filling,
                (Role::Standby, _) => Part::Standby,
                (Role::Warmup, _) => Part::Warmup,
            };
            let copy = Copy {
                part,
                records_per_second: line.records_per_second,
                lag_records: line.lag_records,
            };
            Some((line.shard, copy))
        });
        Self {
            address,
            member: status.member,
            records_per_second: status.records_per_second,
            lag_records: status.lag_records,
            settled: status.settled,
            broker_reachable: status.broker.reachable,
            shards: shards.collect(),
        }
    }
}

impl Sent {
    fn fold(&mut self, now: Millis, records: u64) {
        let before = self.records.replace(records).unwrap_or(records);
        let seconds = (now.0 - self.at.0).max(1) as f64 / 1e3;
        self.per_second = records.saturating_sub(before) as f64 / seconds;
        self.at = now;
    }
}

#[cfg(test)]
mod tests;
