//! Whether the nodes of a test have anything left to do.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use tanist_actors::port::{KeyRange, Order, Page};
use tanist_actors::shard::{ShardState, ShardStatus};
use tanist_actors::table::STATE_KEY;
use tanist_broker::TopicPartition;
use tanist_cluster::plan::{Assignment, Why};
use tanist_cluster::view::View;
use tanist_cluster::{MemberId, NodeName, ShardId};

use super::drive::Driver;
use super::node::TestNode;

/// Virtual time without anything to do before the app counts as settled: longer than a commit waits, and than a director
/// waits for reports.
const QUIET: Duration = Duration::from_millis(400);
/// The same where a node is not in the plan: it may have just joined, or there is nothing for it to do.
const LONG_QUIET: Duration = Duration::from_secs(3);

impl Driver {
    /// Lets the nodes work until nothing is left to do, which is looked after every `step`. After `limit`: what is.
    pub(crate) fn settle(&mut self, limit: Duration, step: Duration) -> Result<(), String> {
        let begun = self.elapsed();
        let mut quiet_since = None;
        loop {
            let now = self.elapsed();
            let mut rest = self.rest();
            if let (None, Some(since)) = (&rest, quiet_since)
                && now - since >= self.quiet()
            {
                rest = self.copy_behind();
                if rest.is_none() {
                    return Ok(());
                }
            }
            match rest {
                None => quiet_since = quiet_since.or(Some(now)),
                Some(rest) if now - begun > limit => return Err(rest),
                Some(_) => quiet_since = None,
            }
            self.advance(step);
        }
    }

    /// What is still to be done by the nodes that live; `None` if nothing is.
    fn rest(&self) -> Option<String> {
        for node in self.nodes() {
            if let Some(Err(error)) = node.ended() {
                return Some(format!("node {} ended: {error}", node.name));
            }
        }
        if let Some(node) = self.live().find(|node| node.is_stopping()) {
            return Some(format!("node {} is stopping", node.name));
        }
        let unknown = self.live().find(|node| node.member().is_none());
        if let Some(node) = unknown {
            return Some(format!("node {} has not joined", node.name));
        }
        self.live().next()?;
        let view = self.view();
        let Some(plan) = view.plan() else {
            return Some("there is no plan yet".to_owned());
        };
        // Who has left may still be named in the plan.
        let mut planned = plan
            .members()
            .iter()
            .filter_map(|id| Some((id, view.member(*id)?)));
        let dead = planned.find(|(id, _)| self.live().all(|node| node.member() != Some(**id)));
        if let Some((id, member)) = dead {
            return Some(format!(
                "the plan counts on member {id}, node {}",
                member.join.node
            ));
        }
        let mut shards = plan.shards().iter();
        shards.find_map(|(shard, roles)| self.rest_of(shard, roles))
    }

    fn live(&self) -> impl Iterator<Item = &TestNode> {
        self.nodes().iter().filter(|node| node.lives())
    }

    /// How long there must be nothing to do.
    fn quiet(&self) -> Duration {
        let view = self.view();
        let is_planned = |id| view.plan().is_some_and(|plan| plan.members().contains(&id));
        match self.live().filter_map(TestNode::member).all(is_planned) {
            true => QUIET,
            false => LONG_QUIET,
        }
    }

    fn rest_of(&self, shard: &ShardId, roles: &Assignment) -> Option<String> {
        let for_now = |why: &Why| matches!(why, Why::Until { .. });
        if !roles.warmups.is_empty() || roles.standbys.values().any(for_now) {
            return Some(format!("shard {shard} moves"));
        }
        let active = match self.status_at(shard, roles.active) {
            Ok(status) => status,
            Err(rest) => return Some(rest),
        };
        let rest = match &active.state {
            ShardState::Broken { .. } => None,
            ShardState::Running => self.unread(&active),
            state => Some(format!("shard {shard} is {state}")),
        };
        rest.or_else(|| {
            let mut standbys = roles.standbys.keys();
            standbys.find_map(|standby| match self.status_at(shard, *standby) {
                Ok(status) => match status.state {
                    ShardState::Broken { .. } | ShardState::Standby => None,
                    state => Some(format!("the copy of shard {shard} is {state}")),
                },
                Err(rest) => Some(rest),
            })
        })
    }

    /// A standby whose copy is not what the active has. By its content: positions go on where nothing was committed.
    fn copy_behind(&self) -> Option<String> {
        let view = self.view();
        let shards = view.plan().into_iter().flat_map(|plan| plan.shards());
        let mut copies = shards.flat_map(|(shard, roles)| {
            let standbys = roles.standbys.keys();
            standbys.map(move |standby| (shard, roles.active, *standby))
        });
        let behind = copies.find(|(shard, active, standby)| {
            let (of_active, of_standby) =
                (self.content(shard, *active), self.content(shard, *standby));
            of_active
                .zip(of_standby)
                .is_some_and(|(one, other)| one != other)
        });
        let (shard, ..) = behind?;
        Some(format!("a copy of shard {shard} is behind its active"))
    }

    /// What the tables of a shard have at a member. None where it is broken.
    fn content(&self, shard: &ShardId, member: MemberId) -> Option<Page> {
        let status = self.status_at(shard, member).ok()?;
        let at = self.live().find(|it| it.member() == Some(member))?;
        let store = at.stores().find(shard)?;
        let all = KeyRange {
            from: Bound::Excluded(STATE_KEY.to_vec()),
            to: Bound::Unbounded,
        };
        let page = store.page(&all, Order::Ascending, usize::MAX);
        let is_sound = !matches!(status.state, ShardState::Broken { .. });
        is_sound.then(|| page.unwrap_or_else(|error| panic!("{error}")))
    }

    fn status_at(&self, shard: &ShardId, member: MemberId) -> Result<ShardStatus, String> {
        let at = self.live().find(|it| it.member() == Some(member));
        let all = at.map(|node| node.board.shards()).unwrap_or_default();
        let found = all.into_iter().find(|status| status.shard == *shard);
        found.ok_or_else(|| format!("shard {shard} is not at member {member} yet"))
    }

    /// An input of the shard with records that are not finished, or that no commit contains.
    fn unread(&self, shard: &ShardStatus) -> Option<String> {
        shard.inputs.iter().find_map(|(agent, input)| {
            let partition = TopicPartition::new(&*input.topic, shard.shard.partition.0);
            let records = self.records(&partition, input.committed.min(input.position).0);
            (!records.is_empty()).then(|| {
                format!(
                    "{agent}[{}] has {} records to read",
                    shard.shard.partition,
                    records.len()
                )
            })
        })
    }

    /// The control log, as whichever node that lives has read it furthest.
    pub(crate) fn view(&self) -> Arc<View> {
        let views = self.live().map(|node| node.board.view());
        views.max_by_key(|view| view.read_to()).unwrap_or_default()
    }

    /// Who processes a shard.
    pub(crate) fn active_of(&self, shard: &ShardId) -> Option<NodeName> {
        let view = self.view();
        let active = view.plan()?.get(shard)?.active;
        let is_it = |node: &&TestNode| node.member() == Some(active);
        Some(self.nodes().iter().find(is_it)?.name.clone())
    }
}
