//! [`Fence`]: how the producers of a member are ended that is to write no more.

use crate::ids::{Generation, MemberId, NodeName, TransactionalId, WorkerIndex};
use crate::view::View;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    #[test]
    fn a_fence_names_every_worker_of_the_member_and_the_generation_that_it_covers() {
        let mut world = World::default();
        world.start();
        world.read(0, usize::MAX);
        world.arm(0);
        world.read(0, usize::MAX);
        let view = &world.nodes[0].view;
        let fence = Fence::of(view, MemberId(0)).unwrap();
        let ids: Vec<String> = fence.ids("app").map(|id| id.to_string()).collect();
        assert_eq!(ids, ["app-0-0", "app-0-1"]);
        assert_eq!(fence.generation, Generation(1));
        assert_eq!(Fence::of(view, MemberId(7)), None, "nobody knows it");
    }
}
