//! A state of the model, and what may happen in it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::log::Logged;
use super::node::Node;
use crate::director::Decision;
use crate::handover::{Event, Phase};
use crate::ids::MemberId;

/// What need not happen, and how often it may.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Faults {
    pub(super) crashes: u8,
    pub(super) wrong_suspicions: u8,
    /// A worker replaces its producer, after a doubt.
    pub(super) rearms: u8,
    pub(super) leaves: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) log: Vec<Arc<Logged>>,
    pub(super) nodes: Vec<Node>,
    /// Members whose producers Kafka accepts.
    pub(super) valid: BTreeSet<MemberId>,
    pub(super) committed: Vec<u8>,
    /// How many there will be.
    pub(super) commits: u8,
    /// A commit was accepted that was not the next one of its shard.
    pub(super) interleaved: bool,
    /// Kafka refused a commit of a node that believed itself a member.
    pub(super) refused: bool,
    /// A shard went from a living node to another.
    pub(super) handed_over: bool,
    pub(super) left: Faults,
    pub(super) leaving: Option<MemberId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Action {
    /// A node reads the next record of the control log.
    Read(usize),
    /// What a node wrote arrives in the control log.
    Send(usize),
    /// A node has read a changelog to its end.
    CatchUp(usize, usize),
    /// A node seals a commit of a shard, and sends it to Kafka.
    Commit(usize, usize),
    /// Kafka decides about it.
    Decide(usize, usize),
    /// The last commit of a shard is done.
    Finish(usize, usize),
    Notice(usize, MemberId),
    Direct(usize),
    /// Kafka ends the producers of a member; the node that asked for it learns so.
    Fence(usize, MemberId),
    Stop(usize),
    // What need not happen.
    Crash(usize),
    SuspectWrongly(usize, MemberId),
    /// A node initialises its producers anew. What they had under way was committed before, or is aborted.
    Rearm {
        n: usize,
        committed: bool,
    },
    AskToLeave(usize),
}

impl State {
    fn member(&self, n: usize) -> MemberId {
        self.nodes[n].me
    }

    /// How many nodes could change the shard at this moment, whether or not they know that they should not.
    pub(super) fn writers(&self, s: usize) -> usize {
        let valid = |node: &&Node| self.valid.contains(&node.me);
        let able = self.nodes.iter().filter(valid);
        able.filter(|node| node.writes(s)).count()
    }

    pub(super) fn is_done(&self) -> bool {
        self.committed.iter().all(|count| *count == self.commits)
    }

    /// Whether everybody has read and written all that there was.
    pub(super) fn is_quiet(&self) -> bool {
        let quiet = |it: &Node| it.crashed || it.outbox.is_empty() && !it.should_read(&self.log);
        self.nodes.iter().all(quiet)
    }

    /// What will happen sooner or later, if nothing else does.
    pub(super) fn expected(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        for (n, node) in self.nodes.iter().enumerate() {
            let under_way = node.shards.iter().enumerate();
            let under_way = under_way.filter(|(_, local)| local.under_way);
            actions.extend(under_way.map(|(s, _)| Action::Decide(n, s)));
            if node.crashed {
                continue;
            }
            if node.should_read(&self.log) {
                actions.push(Action::Read(n));
            }
            if !node.outbox.is_empty() {
                actions.push(Action::Send(n));
            }
            if !node.outside {
                self.work(n, &mut actions);
                self.office(n, &mut actions);
            }
        }
        actions
    }

    /// What a node does for its shards.
    fn work(&self, n: usize, actions: &mut Vec<Action>) {
        let node = &self.nodes[n];
        for (s, local) in node.shards.iter().enumerate() {
            match node.phase(s) {
                Phase::CatchingUp => actions.push(Action::CatchUp(n, s)),
                Phase::Finishing if !local.under_way => {
                    actions.push(Action::Finish(n, s));
                }
                _ => {}
            }
            if node.can_commit(s) && local.position < self.commits {
                actions.push(Action::Commit(n, s));
            }
        }
        if self.leaving == Some(node.me) && node.view.may_leave(node.me) {
            actions.push(Action::Stop(n));
        }
    }

    /// What a node does for the cluster.
    fn office(&self, n: usize, actions: &mut Vec<Action>) {
        let node = &self.nodes[n];
        // A suspicion has no effect but on a director, so that nobody else needs to have it yet.
        if self.could_direct(n, 0) {
            let crashed = self.nodes.iter().filter(|it| it.crashed).map(|it| it.me);
            let noticed = crashed.filter(|id| !node.suspects.contains(id));
            actions.extend(noticed.map(|id| Action::Notice(n, id)));
        }
        actions.extend(node.fencing.keys().map(|id| Action::Fence(n, *id)));
        let begins = match node.clone().decide(self.leaving) {
            Decision::Write(_) | Decision::Fence(_) => true,
            Decision::NotMine | Decision::Wait(_) | Decision::Rest => false,
        };
        if begins {
            actions.push(Action::Direct(n));
        }
    }

    /// Whether a node would be the director once it knew all that have crashed, and suspected so many more.
    fn could_direct(&self, n: usize, more: u8) -> bool {
        let node = &self.nodes[n];
        let before = node.view.members().map(|(id, _)| id);
        let before = before.take_while(|id| *id != node.me);
        let lives = |id: &MemberId| {
            let crashed = self.nodes.iter().any(|it| it.me == *id && it.crashed);
            !crashed && !node.suspects.contains(id)
        };
        before.filter(lives).count() <= usize::from(more)
    }

    pub(super) fn faults(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        for (n, node) in self.nodes.iter().enumerate().filter(|(_, it)| it.is_up()) {
            if self.left.crashes > 0 {
                actions.push(Action::Crash(n));
            }
            if self.left.rearms > 0 {
                let committed = false;
                actions.push(Action::Rearm { n, committed });
                if node.shards.iter().any(|local| local.under_way) {
                    let committed = true;
                    actions.push(Action::Rearm { n, committed });
                }
            }
            if self.left.leaves > 0 && self.leaving.is_none() {
                actions.push(Action::AskToLeave(n));
            }
            if self.left.wrong_suspicions > 0 && self.could_direct(n, self.left.wrong_suspicions) {
                let up = self.nodes.iter().filter(|it| it.is_up());
                let others = up.map(|it| it.me).filter(|id| *id != node.me);
                let trusted = others.filter(|id| !node.suspects.contains(id));
                actions.extend(trusted.map(|id| Action::SuspectWrongly(n, id)));
            }
        }
        actions
    }

    pub(super) fn apply(&mut self, action: Action) {
        match action {
            Action::Read(n) => self.nodes[n].read(&self.log),
            Action::Send(n) => {
                let record = self.nodes[n].outbox.pop_front().expect("there is one");
                Logged::append(&mut self.log, record);
            }
            Action::CatchUp(n, s) => {
                self.nodes[n].shards[s].position = self.committed[s];
                self.nodes[n].answer(s, Event::CaughtUp);
            }
            Action::Commit(n, s) => self.nodes[n].shards[s].under_way = true,
            Action::Decide(n, s) => self.decide(n, s),
            Action::Finish(n, s) => {
                self.nodes[n].finish(s);
                self.handed_over = true;
            }
            Action::Notice(n, id) => drop(self.nodes[n].suspects.insert(id)),
            Action::Direct(n) => self.nodes[n].direct(self.leaving),
            Action::Fence(n, id) => {
                self.valid.remove(&id);
                self.nodes[n].fence_is_done(id);
            }
            Action::Stop(n) => {
                self.valid.remove(&self.member(n));
                self.nodes[n].leave("stopped");
            }
            Action::Crash(n) => {
                self.left.crashes -= 1;
                self.nodes[n].crashed = true;
            }
            Action::SuspectWrongly(n, id) => {
                self.left.wrong_suspicions -= 1;
                self.nodes[n].suspects.insert(id);
            }
            Action::Rearm { n, committed } => self.rearm(n, committed),
            Action::AskToLeave(n) => {
                self.left.leaves -= 1;
                self.leaving = Some(self.member(n));
            }
        }
    }

    /// Kafka's part of a commit. False: refused.
    fn commits(&mut self, n: usize, s: usize) -> bool {
        let local = &mut self.nodes[n].shards[s];
        local.under_way = false;
        let accepted = self.valid.contains(&self.nodes[n].me);
        if accepted {
            let position = self.nodes[n].shards[s].position;
            self.interleaved |= position != self.committed[s];
            self.committed[s] = position + 1;
        }
        accepted
    }

    fn decide(&mut self, n: usize, s: usize) {
        if self.commits(n, s) {
            self.nodes[n].shards[s].position += 1;
        } else if self.nodes[n].is_up() {
            self.refused = true;
            self.nodes[n].leave("fenced");
        }
    }

    fn rearm(&mut self, n: usize, committed: bool) {
        self.left.rearms -= 1;
        for s in 0..self.committed.len() {
            if committed && self.nodes[n].shards[s].under_way {
                self.commits(n, s);
            }
        }
        self.valid.insert(self.member(n));
        self.nodes[n].rearm();
    }
}
