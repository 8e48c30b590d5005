//! Every order of events in a small cluster, with the production functions: three nodes, two shards, one
//! control log, and of Kafka what matters: whose producers are valid, and what was committed.
//!
//! A node reads the log when it likes: one that is frozen, and wakes, is one that does not act for a while.
//! What a node writes is under way for as long as it likes, to the log and to Kafka, also when it has crashed
//! meanwhile. That a commit holds a record's input offset, table writes and outputs is Kafka's promise, so that S2 and S6
//! come down to: each shard's commits are 0, 1, 2 ..., without a gap or a repeat, whoever makes them.
//!
//! The checks that run always are small spaces, each for one thing that goes wrong; `bin/test model` goes
//! through larger ones, in which several do.

mod log;
mod node;
mod state;

use std::sync::Arc;

use stateright::{Checker, Expectation, HasDiscoveries, Model, Property};

use crate::control::{Armed, Join, Record};
use crate::ids::{Generation, MemberId, ShardId};
use crate::plan::Plan;
use crate::testing::{join, topology};
use log::{Logged, Sent};
use node::Node;
use state::{Action, Faults, State};

const NODES: i64 = 3;

fn shard(s: usize) -> ShardId {
    ShardId::new("orders", s as i32)
}

struct Cluster {
    shards: usize,
    /// So many records are committed per shard. One is enough to see two owners commit the same.
    commits: u8,
    faults: Faults,
    /// Who has all shards at first, and soon hands some of them over.
    holder: MemberId,
}

impl Model for Cluster {
    type State = State;
    type Action = Action;

    /// Members that are armed, under a first plan.
    fn init_states(&self) -> Vec<State> {
        let mut log: Vec<Arc<Logged>> = Vec::new();
        let members: Vec<MemberId> = (0..NODES).map(MemberId).collect();
        for n in 0..NODES {
            let join = Join {
                topology: topology(self.shards as u32),
                ..join(&format!("n{n}"))
            };
            Logged::append(&mut log, Sent::new(Record::Join(join)));
        }
        let generation = Generation(1);
        for &member in &members {
            let armed = Record::Armed(Armed { member, generation });
            Logged::append(&mut log, Sent::new(armed));
        }
        let view = log.last().expect("they joined").view.clone();
        let mut plan = Plan::single(&view, self.holder, (0..self.shards).map(shard));
        plan.fenced.clear();
        plan.members = members.iter().copied().collect();
        Logged::append(&mut log, Sent::new(Record::Plan(plan)));
        let node = |id: &MemberId| Node::new(*id, self.shards, &log);
        vec![State {
            nodes: members.iter().map(node).collect(),
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
            // Every log ends up in a quiet state, and those before it are its beginnings.
            Property::always("S9: same log, same view", |_, state: &State| {
                !state.is_quiet() || log::folds_alike(&state.log)
            }),
            Property::always("nobody waits for ever", |_, state: &State| {
                let over = state.is_done() || !state.nodes.iter().any(Node::is_up);
                !state.is_quiet() || over || !state.expected().is_empty()
            }),
            Property::sometimes("all is processed", |_, state: &State| state.is_done()),
            Property::sometimes("a shard is handed over", |model: &Self, state: &State| {
                state.handed_over || model.shards == 1
            }),
            Property::sometimes("a fenced node is refused", |model: &Self, state: &State| {
                let possible = model.faults.wrong_suspicions > 0 && model.commits > 0;
                state.refused || !possible
            }),
        ]
    }
}

const NONE: Faults = Faults {
    crashes: 0,
    wrong_suspicions: 0,
    rearms: 0,
    leaves: 0,
};

fn check(shards: usize, commits: u8, faults: Faults) {
    check_model(Cluster {
        shards,
        commits,
        faults,
        holder: MemberId(0),
    });
}

fn check_model(model: Cluster) {
    let checker = model.checker().threads(2);
    let checker = checker.finish_when(HasDiscoveries::AnyFailures);
    let checker = checker.spawn_bfs().join();
    println!(
        "{} shards, {} commits each, {:?}: {} states, {} steps deep",
        checker.model().shards,
        checker.model().commits,
        checker.model().faults,
        checker.unique_state_count(),
        checker.max_depth()
    );
    let (sometimes, always): (Vec<_>, Vec<_>) = checker
        .model()
        .properties()
        .into_iter()
        .partition(|it| it.expectation == Expectation::Sometimes);
    for property in always {
        if let Some(path) = checker.discovery(property.name) {
            panic!("not {:?} after {:?}", property.name, path.into_actions());
        }
    }
    for property in sometimes {
        let found = checker.discovery(property.name).is_some();
        assert!(found, "never {:?}", property.name);
    }
}

#[test]
fn a_live_shard_is_handed_over() {
    check(2, 2, NONE);
}

#[test]
fn a_node_stops_in_order() {
    let leaves = 1;
    check(2, 1, Faults { leaves, ..NONE });
}

#[test]
fn any_node_crashes_at_any_moment_the_director_too() {
    let crashes = 1;
    check(2, 1, Faults { crashes, ..NONE });
}

#[test]
fn a_node_that_lives_or_sleeps_is_taken_for_dead_and_wakes() {
    let faults = Faults {
        wrong_suspicions: 1,
        ..NONE
    };
    check(2, 1, faults);
}

/// Enough shards for two plans of one epoch to give one of them to different nodes that both may write. Permits alone
/// are looked at.
#[test]
fn of_two_plans_that_follow_the_same_one_only_the_first_gives_permits() {
    let faults = Faults {
        wrong_suspicions: 1,
        ..NONE
    };
    check_model(Cluster {
        shards: 3,
        commits: 0,
        faults,
        holder: MemberId(1),
    });
}

#[test]
fn a_node_replaces_its_producers_while_it_is_taken_for_dead() {
    let faults = Faults {
        wrong_suspicions: 1,
        rearms: 1,
        ..NONE
    };
    check(1, 1, faults);
}

#[test]
#[ignore = "some minutes and 2 GB: bin/test model"]
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
    check(2, 1, faults(2, 0, 0, 0));
}
