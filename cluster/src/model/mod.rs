//! Every order of events in a small cluster, with the production functions: three nodes, two shards, one
//! control log, and of Kafka what matters: whose producers are valid, and what was committed.
//!
//! A node reads the log when it likes: one that is frozen, and wakes, is one that does not act for a while.
//! What a node writes is under way for as long as it likes. A commit is one step; that it holds a record's
//! input offset, table writes and outputs is Kafka's promise, so that S2 and S6 come down to: each shard's
//! commits are 0, 1, 2 ..., without a gap or a repeat, whoever makes them.

mod node;

use std::collections::BTreeSet;
use std::sync::Arc;

use stateright::{Checker, Model, Property};

use crate::control::{Armed, Entry, Join, Record};
use crate::director::Decision;
use crate::handover::{Event, Phase};
use crate::ids::{Generation, MemberId, Offset, ShardId};
use crate::plan::Plan;
use crate::testing::{join, topology};
use crate::view::View;
use node::Node;

fn shard(s: usize) -> ShardId {
    ShardId::new("orders", s as i32)
}

/// What may happen, and how often.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Faults {
    crashes: u8,
    wrong_suspicions: u8,
    rearms: u8,
    leaves: u8,
}

const NONE: Faults = Faults {
    crashes: 0,
    wrong_suspicions: 0,
    rearms: 0,
    leaves: 0,
};

struct Cluster {
    shards: usize,
    /// So many records are committed per shard. One is enough to see two owners commit the same.
    commits: u8,
    faults: Faults,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    log: Vec<Arc<Entry>>,
    nodes: Vec<Node>,
    /// Members whose producers Kafka accepts.
    valid: BTreeSet<MemberId>,
    committed: Vec<u8>,
    /// How many there will be.
    commits: u8,
    /// A commit came that was not the next one of its shard.
    interleaved: bool,
    /// Kafka refused a commit of a node that believed itself a member.
    refused: bool,
    /// A shard went from a living node to another.
    handed_over: bool,
    left: Faults,
    leaving: Option<MemberId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Action {
    Read(usize),
    Send(usize),
    CatchUp(usize, usize),
    Commit(usize, usize),
    Finish(usize, usize),
    Notice(usize, MemberId),
    Direct(usize),
    Fence(usize, MemberId),
    Stop(usize),
    // What need not happen.
    Crash(usize),
    SuspectWrongly(usize, MemberId),
    Rearm(usize),
    AskToLeave(usize),
}

impl State {
    fn member(&self, n: usize) -> MemberId {
        self.nodes[n].me
    }

    fn writers(&self, s: usize) -> usize {
        let able = |node: &&Node| {
            let holds = node.shards[s].replica.holds_permit();
            holds && !node.crashed && node.producers.is_some() && self.valid.contains(&node.me)
        };
        self.nodes.iter().filter(able).count()
    }

    fn is_done(&self) -> bool {
        self.committed.iter().all(|count| *count == self.commits)
    }

    fn expected(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        for (n, node) in self
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| !node.crashed)
        {
            if !node.has_read(&self.log) {
                actions.push(Action::Read(n));
            }
            if !node.outbox.is_empty() {
                actions.push(Action::Send(n));
            }
            if !node.is_up() {
                continue;
            }
            for (s, local) in node.shards.iter().enumerate() {
                match local.replica.phase() {
                    Phase::CatchingUp => actions.push(Action::CatchUp(n, s)),
                    Phase::Finishing if node.producers.is_some() => {
                        actions.push(Action::Finish(n, s));
                    }
                    _ => {}
                }
                if node.can_process(s) && local.position < self.commits {
                    actions.push(Action::Commit(n, s));
                }
            }
            let crashed = self.nodes.iter().filter(|it| it.crashed).map(|it| it.me);
            let noticed = crashed.filter(|id| !node.suspects.contains(id));
            actions.extend(noticed.map(|id| Action::Notice(n, id)));
            actions.extend(node.fencing.keys().map(|id| Action::Fence(n, *id)));
            match node.decide(self.leaving) {
                Decision::Fence(fences) => {
                    if fences
                        .iter()
                        .any(|it| !node.fencing.contains_key(&it.member))
                    {
                        actions.push(Action::Direct(n));
                    }
                }
                Decision::Write(_) => actions.push(Action::Direct(n)),
                Decision::NotMine | Decision::Wait(_) | Decision::Rest => {}
            }
            if self.leaving == Some(node.me) && node.view.may_leave(node.me) {
                actions.push(Action::Stop(n));
            }
        }
        actions
    }

    fn faults(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        for (n, node) in self
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| node.is_up())
        {
            if self.left.crashes > 0 {
                actions.push(Action::Crash(n));
            }
            if self.left.rearms > 0 {
                actions.push(Action::Rearm(n));
            }
            if self.left.leaves > 0 && self.leaving.is_none() {
                actions.push(Action::AskToLeave(n));
            }
            let others = self
                .nodes
                .iter()
                .filter(|it| it.is_up() && it.me != node.me);
            let trusted = others
                .map(|it| it.me)
                .filter(|id| !node.suspects.contains(id));
            if self.left.wrong_suspicions > 0 {
                actions.extend(trusted.map(|id| Action::SuspectWrongly(n, id)));
            }
        }
        actions
    }

    fn commit(&mut self, n: usize, s: usize) {
        if !self.valid.contains(&self.member(n)) {
            self.refused = true;
            return self.nodes[n].was_fenced();
        }
        let position = &mut self.nodes[n].shards[s].position;
        self.interleaved |= *position != self.committed[s];
        *position += 1;
        self.committed[s] = *position;
    }

    fn apply(&mut self, action: Action) {
        match action {
            Action::Read(n) => self.nodes[n].read(&self.log),
            Action::Send(n) => {
                let record = self.nodes[n].outbox.pop_front().expect("there is one");
                self.log.push(Arc::new(Entry::Record(record)));
            }
            Action::CatchUp(n, s) => {
                self.nodes[n].shards[s].position = self.committed[s];
                self.nodes[n].tell(s, Event::CaughtUp);
            }
            Action::Commit(n, s) => self.commit(n, s),
            Action::Finish(n, s) => {
                self.nodes[n].tell(s, Event::Committed);
                self.handed_over = true;
            }
            Action::Notice(n, id) => drop(self.nodes[n].suspects.insert(id)),
            Action::Direct(n) => {
                let decision = self.nodes[n].decide(self.leaving);
                self.nodes[n].carry_out(decision);
            }
            Action::Fence(n, id) => {
                self.valid.remove(&id);
                self.nodes[n].fence_is_done(id);
            }
            Action::Stop(n) => {
                self.valid.remove(&self.member(n));
                self.nodes[n].stop();
            }
            Action::Crash(n) => {
                self.left.crashes -= 1;
                self.nodes[n].crashed = true;
            }
            Action::SuspectWrongly(n, id) => {
                self.left.wrong_suspicions -= 1;
                self.nodes[n].suspects.insert(id);
            }
            Action::Rearm(n) => {
                self.left.rearms -= 1;
                self.valid.insert(self.member(n));
                self.nodes[n].rearm();
            }
            Action::AskToLeave(n) => {
                self.left.leaves -= 1;
                self.leaving = Some(self.member(n));
            }
        }
    }
}

impl Model for Cluster {
    type State = State;
    type Action = Action;

    /// Three members, armed, under a first plan that gives everything to the first, so that it soon hands a
    /// shard over.
    fn init_states(&self) -> Vec<State> {
        let mut log: Vec<Arc<Entry>> = Vec::new();
        let mut view = View::default();
        let mut append = |view: &mut View, record: Record| {
            let entry = Entry::Record(record);
            log.push(Arc::new(entry.clone()));
            view.apply(Offset(log.len() as i64 - 1), entry).unwrap();
        };
        let members: Vec<MemberId> = (0..3).map(MemberId).collect();
        for n in 0..3 {
            append(
                &mut view,
                Record::Join(Join {
                    topology: topology(self.shards as u32),
                    ..join(&format!("n{n}"))
                }),
            );
        }
        for &member in &members {
            let generation = Generation(1);
            append(&mut view, Record::Armed(Armed { member, generation }));
        }
        let mut plan = Plan::single(&view, members[0], (0..self.shards).map(shard));
        plan.fenced.clear();
        plan.members = members.iter().copied().collect();
        append(&mut view, Record::Plan(plan));
        vec![State {
            nodes: members
                .iter()
                .map(|id| Node::new(*id, self.shards, &log))
                .collect(),
            valid: members.into_iter().collect(),
            committed: vec![0; self.shards],
            commits: self.commits,
            interleaved: false,
            refused: false,
            handed_over: false,
            left: self.faults,
            leaving: None,
            log,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.extend(state.expected());
        actions.extend(state.faults());
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut next = last.clone();
        next.apply(action);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("S1: one writer", |_, state: &State| {
                (0..state.committed.len()).all(|s| state.writers(s) <= 1)
            }),
            Property::always(
                "S2, S6: commits without gap or repeat",
                |_, state: &State| !state.interleaved,
            ),
            Property::always("S9: same log, same view", |_, state: &State| {
                let same =
                    |a: &Node, b: &Node| a.view.read_to() != b.view.read_to() || a.view == b.view;
                state
                    .nodes
                    .iter()
                    .zip(&state.nodes[1..])
                    .all(|(a, b)| same(a, b))
            }),
            Property::always("nobody waits for ever", |_, state: &State| {
                let done = state.is_done();
                done || !state.nodes.iter().any(Node::is_up) || !state.expected().is_empty()
            }),
            Property::sometimes("all is processed", |_, state: &State| state.is_done()),
            Property::sometimes("a shard is handed over", |model: &Self, state: &State| {
                state.handed_over || model.shards == 1
            }),
            Property::sometimes("a fenced node is refused", |model: &Self, state: &State| {
                state.refused || model.faults.wrong_suspicions == 0
            }),
        ]
    }
}

fn check(shards: usize, commits: u8, faults: Faults) {
    let model = Cluster {
        shards,
        commits,
        faults,
    };
    let checker = model.checker().threads(2).spawn_bfs().join();
    println!(
        "{shards} shards, {commits} commits each, {faults:?}: {} states, {} steps deep",
        checker.unique_state_count(),
        checker.max_depth()
    );
    checker.assert_properties();
}

#[test]
fn a_live_shard_is_handed_over() {
    check(2, 2, NONE);
}

#[test]
fn any_node_crashes_at_any_moment_the_director_too() {
    let crashes = 1;
    check(2, 1, Faults { crashes, ..NONE });
}

#[test]
fn a_node_that_lives_or_sleeps_is_taken_for_dead_and_wakes() {
    let wrong_suspicions = 1;
    check(
        2,
        1,
        Faults {
            wrong_suspicions,
            ..NONE
        },
    );
}

#[test]
fn a_node_replaces_its_producers_while_it_is_taken_for_dead() {
    let (wrong_suspicions, rearms) = (1, 1);
    check(
        1,
        1,
        Faults {
            wrong_suspicions,
            rearms,
            ..NONE
        },
    );
}

#[test]
#[ignore = "minutes: cargo test --release -p tanist-cluster several_things -- --ignored --nocapture"]
fn several_things_go_wrong_at_a_time() {
    let faults = |crashes, wrong_suspicions, rearms, leaves| Faults {
        crashes,
        wrong_suspicions,
        rearms,
        leaves,
    };
    check(2, 2, faults(1, 0, 0, 0));
    check(2, 2, faults(0, 1, 0, 0));
    check(2, 2, faults(0, 0, 1, 0));
    check(2, 2, faults(0, 0, 0, 1));
    check(1, 2, faults(2, 0, 0, 0));
    check(1, 2, faults(1, 1, 0, 0));
    check(1, 2, faults(1, 0, 1, 0));
    check(1, 2, faults(1, 0, 0, 1));
    check(1, 2, faults(0, 2, 0, 0));
    check(1, 2, faults(0, 1, 1, 0));
    check(1, 2, faults(0, 0, 1, 1));
    check(1, 2, faults(0, 1, 0, 1));
}
