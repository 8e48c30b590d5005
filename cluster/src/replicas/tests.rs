use super::*;
use crate::plan::{Roles, Why};
use crate::testing::{Log, roles, shard};

/// Two members, and the replicas of both, which have read everything.
struct World {
    log: Log,
    members: [MemberId; 2],
    replicas: [Replicas; 2],
}

impl World {
    fn new() -> Self {
        let mut log = Log::default();
        let members = ["n0", "n1"].map(|node| log.join(node));
        let replicas = members.map(Replicas::new);
        Self {
            log,
            members,
            replicas,
        }
    }

    /// A plan: `active` processes, and the other one has a copy, or not.
    fn plan(&mut self, active: usize, copy: bool, fenced: &[(MemberId, u32)]) {
        let standby = self.members[1 - active];
        let standbys = copy.then_some((standby, Why::Missing));
        let roles = Roles {
            standbys: standbys.into_iter().collect(),
            ..roles(self.members[active])
        };
        let plan = self.log.plan_with(self.members[1], roles, fenced);
        self.log.write(plan);
    }

    fn follow(&mut self, n: usize) -> Vec<Task> {
        self.replicas[n].follow(&self.log.view, &[shard()].into())
    }

    fn on(&mut self, n: usize, ticket: Ticket, event: Event) -> Vec<Task> {
        self.replicas[n].on(&shard(), ticket, event, &self.log.view)
    }

    /// Answers whatever there is to answer, until nothing is left, and writes what there is to write. What was done.
    fn work(&mut self, n: usize, tasks: Vec<Task>) -> String {
        let mut done = Vec::new();
        let mut left: std::collections::VecDeque<Task> = tasks.into();
        while let Some(task) = left.pop_front() {
            done.push(name(&task));
            let event = match task {
                Task::Open(..) => Event::Opened,
                Task::CatchUp(..) => Event::CaughtUp,
                Task::Finish(..) => Event::Committed,
                Task::Close(..) => Event::Closed,
                Task::Write(record) => {
                    self.log.write(record);
                    continue;
                }
                Task::Follow(_) | Task::Activate(_) | Task::Drop(_) => continue,
            };
            left.extend(self.on(n, task.ticket().unwrap(), event));
        }
        done.join(", ")
    }

    fn go(&mut self, n: usize) -> String {
        let tasks = self.follow(n);
        self.work(n, tasks)
    }
}

fn name(task: &Task) -> &'static str {
    match task {
        Task::Open(..) => "open",
        Task::Follow(_) => "follow",
        Task::CatchUp(..) => "catch up",
        Task::Activate(_) => "activate",
        Task::Finish(..) => "finish",
        Task::Close(..) => "close",
        Task::Drop(_) => "drop",
        Task::Write(_) => "write",
    }
}

#[test]
fn a_live_shard_goes_over_when_its_last_commit_is_done() {
    let mut world = World::new();
    world.plan(0, true, &[]);
    assert_eq!(world.go(0), "open, follow, catch up, activate");
    assert_eq!(world.go(1), "open, follow");
    world.plan(1, true, &[]);
    assert_eq!(world.go(1), "", "the other one has not released it");
    assert_eq!(world.go(0), "finish, write, follow");
    assert_eq!(world.go(1), "catch up, activate");
    assert_eq!(world.go(0), "", "released once");
}

#[test]
fn a_fenced_members_shard_is_taken_over_at_once_and_it_drops_it_when_it_wakes() {
    let mut world = World::new();
    world.plan(0, true, &[]);
    let (dead, _) = (world.go(0), world.go(1));
    assert!(dead.ends_with("activate"));
    world.plan(1, false, &[(world.members[0], 1)]);
    assert_eq!(world.go(1), "catch up, activate");
    assert_eq!(world.go(0), "drop");
    assert_eq!(world.replicas[0].phases().count(), 0);
    assert_eq!(world.go(0), "");
}

#[test]
fn a_shard_that_one_does_not_hold_is_declined_once() {
    let mut world = World::new();
    world.plan(0, false, &[]);
    world.plan(1, false, &[]);
    assert_eq!(world.go(0), "write", "it has read both plans at once");
    assert_eq!(world.go(0), "");
    assert_eq!(world.go(1), "open, follow, catch up, activate");
}

#[test]
fn a_shard_that_is_taken_away_while_it_catches_up_is_released_once() {
    let mut world = World::new();
    world.plan(0, true, &[]);
    let tasks = world.follow(0);
    let tasks = world.on(0, tasks[0].ticket().unwrap(), Event::Opened);
    assert_eq!(
        tasks.iter().map(name).collect::<Vec<_>>(),
        ["follow", "catch up"]
    );
    world.plan(1, true, &[]);
    assert_eq!(world.go(0), "write");
    assert_eq!(world.replicas[0].phase(&shard()), Phase::Following);
}

#[test]
fn a_late_answer_to_something_that_was_given_up_is_ignored() {
    let mut world = World::new();
    world.plan(0, true, &[]);
    let tasks = world.follow(0);
    let tasks = world.on(0, tasks[0].ticket().unwrap(), Event::Opened);
    let late = tasks[1].ticket().unwrap();
    world.plan(1, true, &[]);
    world.go(0);
    assert!(world.go(1).ends_with("activate"));
    world.plan(0, true, &[]);
    world.go(1);
    let tasks = world.follow(0);
    assert_eq!(name(&tasks[0]), "catch up");
    // The other one has committed more since then.
    assert!(world.on(0, late, Event::CaughtUp).is_empty());
    assert_eq!(world.replicas[0].phase(&shard()), Phase::CatchingUp);
    assert_eq!(world.work(0, tasks), "catch up, activate");
}

#[test]
fn a_new_worker_begins_anew_with_what_is_still_its_own() {
    let mut world = World::new();
    world.plan(0, true, &[]);
    world.go(0);
    world.replicas[0] = Replicas::new(world.members[0]);
    assert_eq!(world.go(0), "open, follow, catch up, activate");
    world.plan(1, true, &[]);
    world.replicas[0] = Replicas::new(world.members[0]);
    assert_eq!(world.go(0), "write, open, follow");
}

#[test]
fn a_worker_has_only_what_is_dealt_to_it() {
    let mut world = World::new();
    world.plan(0, false, &[]);
    world.plan(1, true, &[]);
    let none = BTreeSet::new();
    let tasks = world.replicas[0].follow(&world.log.view, &none);
    assert!(tasks.is_empty(), "another one may run it");
    assert_eq!(world.go(0), "write, open, follow");
    assert_eq!(world.go(0), "");
    let tasks = world.replicas[0].follow(&world.log.view, &none);
    assert_eq!(world.work(0, tasks), "close");
}

#[test]
fn a_broken_shard_is_released_when_another_is_to_have_it() {
    let mut world = World::new();
    world.plan(0, true, &[]);
    let tasks = world.follow(0);
    let opened = world.on(0, tasks[0].ticket().unwrap(), Event::Opened);
    world.on(0, opened[1].ticket().unwrap(), Event::Failed);
    assert_eq!(world.replicas[0].phase(&shard()), Phase::Broken);
    assert!(world.replicas[0].holds(&shard()));
    world.plan(1, false, &[]);
    assert_eq!(world.go(0), "write, close");
    assert!(world.go(1).ends_with("activate"));
}
