//! Whether the nodes of a test have anything left to do.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tanist_actors::shard::{ShardState, ShardStatus};
use tanist_broker::TopicPartition;
use tanist_cluster::plan::Assignment;
use tanist_cluster::view::View;
use tanist_cluster::{MemberId, NodeName, ShardId};

use super::drive::Driver;
use super::node::TestNode;

/// Steps of virtual time in which it is looked whether the app has settled.
const STEP: Duration = Duration::from_millis(5);
/// Virtual time without anything to do before the app counts as settled: longer than a commit waits, and than a director
/// waits for reports.
const QUIET: Duration = Duration::from_millis(400);

impl Driver {
    /// Lets the nodes work until nothing is left to do. After `limit`: what is.
    pub(crate) fn settle(&mut self, limit: Duration) -> Result<(), String> {
        let begun = self.elapsed();
        let mut quiet_since = None;
        loop {
            let now = self.elapsed();
            let rest = self.rest();
            match (&rest, quiet_since) {
                (None, None) => quiet_since = Some(now),
                (None, Some(since)) if now - since >= QUIET => return Ok(()),
                (Some(_), _) => quiet_since = None,
                _ => {}
            }
            if let Some(rest) = rest.filter(|_| now - begun > limit) {
                return Err(rest);
            }
            self.advance(STEP);
        }
    }

    /// What is still to be done by the nodes that live; `None` if nothing is.
    fn rest(&self) -> Option<String> {
        for node in self.nodes() {
            if let Some(Err(error)) = node.ended() {
                return Some(format!("node {} ended: {error}", node.name));
            }
        }
        let mut members = BTreeSet::new();
        for node in self.nodes().iter().filter(|node| node.lives()) {
            match node.member() {
                Some(member) => members.insert(member),
                None => return Some(format!("node {} has not joined", node.name)),
            };
        }
        if members.is_empty() {
            return None;
        }
        let view = self.view();
        let Some(plan) = view.plan() else {
            return Some("there is no plan yet".to_owned());
        };
        // Who has left may still be named in the plan.
        let there = plan.members().iter().copied();
        let there: BTreeSet<MemberId> = there.filter(|id| view.member(*id).is_some()).collect();
        if there != members {
            return Some("the plan is not for the nodes that live".to_owned());
        }
        let mut shards = plan.shards().iter();
        shards.find_map(|(shard, roles)| self.rest_of(shard, roles))
    }

    fn rest_of(&self, shard: &ShardId, roles: &Assignment) -> Option<String> {
        if !roles.warmups.is_empty() {
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
            standbys.find_map(|standby| self.rest_of_copy(&active, *standby))
        })
    }

    /// What a standby lacks.
    fn rest_of_copy(&self, active: &ShardStatus, standby: MemberId) -> Option<String> {
        let copy = match self.status_at(&active.shard, standby) {
            Ok(copy) => copy,
            Err(rest) => return Some(rest),
        };
        let position = |status: &ShardStatus| status.copy.map(|copy| copy.position);
        let rest = match &copy.state {
            ShardState::Broken { .. } => None,
            ShardState::Standby if position(&copy) >= position(active) => None,
            ShardState::Standby => Some("behind its active".to_owned()),
            state => Some(state.to_string()),
        };
        rest.map(|rest| format!("the copy of shard {} is {rest}", active.shard))
    }

    fn status_at(&self, shard: &ShardId, member: MemberId) -> Result<ShardStatus, String> {
        let at = self.nodes().iter().find(|it| it.member() == Some(member));
        let all = at.map(|node| node.board.shards()).unwrap_or_default();
        let found = all.into_iter().find(|status| status.shard == *shard);
        found.ok_or_else(|| format!("shard {shard} is not at member {member} yet"))
    }

    /// An input of the shard with records that no commit contains.
    fn unread(&self, shard: &ShardStatus) -> Option<String> {
        shard.inputs.iter().find_map(|(agent, input)| {
            let partition = TopicPartition::new(&*input.topic, shard.shard.partition.0);
            let records = self.records(&partition, input.committed.0);
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
        let live = self.nodes().iter().filter(|node| node.lives());
        let views = live.map(|node| node.board.view());
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
