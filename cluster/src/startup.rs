//! How a node takes the app over: fence whoever was there before, then plan.
//!
//! The way of a process, on one control-log reader that folds everything in order:
//! 1. Read the log to its end, write [`crate::control::Join`], read it back: [`View::find`] tells the member
//!    id.
//! 2. Carry out [`startup`]; read back what was written; repeat until nothing is left to do.
//! 3. After every change of the view: [`crate::permit::Permit::review`] each permit that is held, take new
//!    ones by [`View::permit`], answer what is [`View::owed`]. When [`View::standing`] says that it is
//!    outside, drop everything and begin at 1 with a new incarnation.
//! 4. With a new permit, read the shard's changelog to the *high watermark* asked after the permit, and not
//!    to the last stable offset: the last commit of the one before is decided, but its markers may still be
//!    on their way.
//! 5. To replace a producer (after a doubt): finish or abort what is open, initialise the new one, write
//!    [`crate::control::Armed`] with the next generation, and use it once [`View::producer_permit`] is there.
//!    Shards and their permits stay.
//! 6. To stop: commit, close the producers, write [`crate::control::Leave`]. Nobody then has to fence.

use crate::ids::{Generation, MemberId, NodeName, ShardId, TransactionalId, WorkerIndex};
use crate::plan::Plan;
use crate::view::View;

/// Something to do on the way. In this order, each finished before the next begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Initialise all transactional producers, then write [`crate::control::Armed`] with this generation.
    Arm(Generation),
    /// End the producers of a predecessor.
    Fence(Fence),
    /// Write this plan.
    Write(Plan),
}

/// Whom to fence: Kafka's `InitProducerId` for each of its [`Fence::ids`], all at once. Done when each was
/// answered without an error.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fence {
    /// The member.
    pub member: MemberId,
    /// Its name, for people.
    pub node: NodeName,
    /// The generation that this fence will cover.
    pub generation: Generation,
    /// How many workers it has.
    pub workers: u32,
}

impl Fence {
    /// The fence of a member of `view`.
    #[must_use]
    pub fn of(view: &View, member: MemberId) -> Option<Self> {
        let it = view.member(member)?;
        Some(Self {
            member,
            node: it.join.node.clone(),
            generation: it.generation,
            workers: it.join.workers,
        })
    }

    /// The transactional ids to be fenced.
    pub fn ids(&self, app: &str) -> impl Iterator<Item = TransactionalId> {
        let (app, member) = (app.to_owned(), self.member);
        (0..self.workers).map(move |worker| TransactionalId::of(&app, member, WorkerIndex(worker)))
    }
}

/// What `me` has to do in order to run the app alone; nothing when it does already, or is not (any more) a
/// member.
///
/// Ask again after the last step's record was read back: meanwhile another may have planned, or a predecessor
/// that lives may have armed itself anew, so that the fence missed it.
#[must_use]
pub fn startup(view: &View, me: MemberId) -> Vec<Step> {
    let Some(myself) = view.member(me) else {
        return Vec::new();
    };
    let mut steps = Vec::new();
    if myself.generation == Generation::default() {
        steps.push(Step::Arm(Generation::default().next()));
    }
    let others = view.members().filter(|(id, _)| *id != me);
    let fences: Vec<Fence> = others.filter_map(|(id, _)| Fence::of(view, id)).collect();
    let planned = fences.is_empty() && runs_everything(view, me);
    steps.extend(fences.into_iter().map(Step::Fence));
    if !planned {
        let shards: Vec<ShardId> = myself.join.topology.shards().collect();
        steps.push(Step::Write(Plan::single(view, me, shards)));
    }
    steps
}

fn runs_everything(view: &View, me: MemberId) -> bool {
    let mut wanted = view
        .member(me)
        .into_iter()
        .flat_map(|it| it.join.topology.shards());
    let active = |shard| view.plan()?.get(&shard).map(|it| it.active);
    view.plan().is_some() && wanted.all(|shard| active(shard) == Some(me))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{World, topology};

    fn world(nodes: usize) -> World {
        let mut world = World::default();
        for node in 0..nodes {
            world.start();
            world.read(node, usize::MAX);
        }
        world
    }

    fn shown(world: &World, node: usize) -> Vec<String> {
        let it = &world.nodes[node];
        let steps = startup(&it.view, it.me.unwrap()).into_iter();
        let shown = steps.map(|step| match step {
            Step::Arm(generation) => format!("arm {generation}"),
            Step::Fence(fence) => {
                let ids: Vec<String> = fence.ids("app").map(|id| id.to_string()).collect();
                format!("fence {} {}", fence.node, ids.join(" "))
            }
            Step::Write(plan) => format!("plan {} by {}", plan.epoch(), plan.author()),
        });
        shown.collect()
    }

    #[test]
    fn the_first_node_arms_itself_and_plans() {
        let mut world = world(1);
        assert_eq!(shown(&world, 0), ["arm 1", "plan 1 by 0"]);
        world.take_over(0);
        world.read(0, usize::MAX);
        assert_eq!(shown(&world, 0), [""; 0]);
        for shard in topology(2).shards() {
            assert_eq!(world.writers(&shard), [MemberId(0)]);
        }
    }

    #[test]
    fn the_next_fences_it_and_takes_over_whether_it_lives_or_not() {
        let mut world = world(1);
        world.take_over(0);
        world.read(0, usize::MAX);
        world.start();
        world.read(1, usize::MAX);
        let steps = ["arm 1", "fence n0 app-0-0 app-0-1", "plan 2 by 3"];
        assert_eq!(shown(&world, 1), steps);
        world.take_over(1);
        world.read(1, usize::MAX);
        assert_eq!(shown(&world, 1), [""; 0]);
        for shard in topology(2).shards() {
            assert_eq!(world.writers(&shard), [MemberId(3)]);
        }
        world.read(0, usize::MAX);
        assert_eq!(
            shown(&world, 0),
            [""; 0],
            "it is outside, and must not take over again"
        );
    }

    #[test]
    fn after_an_orderly_stop_nobody_is_fenced() {
        let mut world = world(1);
        world.take_over(0);
        world.read(0, usize::MAX);
        world.leave(0);
        world.start();
        world.read(1, usize::MAX);
        assert_eq!(shown(&world, 1), ["arm 1", "plan 2 by 4"]);
    }
}
