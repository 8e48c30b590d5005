//! [`Death`]: what became of the shards of a member that was put out.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use tanist_cluster::view::View;
use tanist_cluster::{Epoch, MemberId, Millis, NodeName};

use super::timeline::time_of_day;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    /// Who.
    pub member: MemberId,
    /// What it was called.
    pub node: NodeName,
    /// When this node read of it.
    pub at_ms: Millis,
    /// The plan that put it out.
    pub epoch: Epoch,
    /// Who has how many of the shards for which it was active.
    pub heirs: BTreeMap<NodeName, usize>,
}

impl Death {
    /// Of those whom the plan of `view` has put out, and the one of `before` had not.
    pub(super) fn between(before: &View, view: &View, now: Millis) -> Vec<Self> {
        let (Some(old), Some(new)) = (before.plan(), view.plan()) else {
            return Vec::new();
        };
        if old.epoch() == new.epoch() {
            return Vec::new();
        }
        let name = |id: MemberId| {
            let member = view.member(id).or_else(|| before.member(id));
            member.map(|member| member.join.node.clone())
        };
        // Who was armed anew meanwhile is still a member: its fence did not reach it.
        let dead = old
            .members()
            .iter()
            .filter(|id| new.fenced().contains_key(*id) && view.member(**id).is_none());
        let death = |id: &MemberId| {
            let mut heirs = BTreeMap::new();
            for shard in old.actives_of(*id) {
                if let Some(heir) = new.get(shard).and_then(|it| name(it.active)) {
                    *heirs.entry(heir).or_default() += 1;
                }
            }
            Some(Self {
                member: *id,
                node: name(*id)?,
                at_ms: now,
                epoch: new.epoch(),
                heirs,
            })
        };
        dead.filter_map(death).collect()
    }
}

impl Death {
    /// By what and when it was put out, and who has its shards.
    pub(crate) fn fate(&self) -> String {
        let heirs = self.heirs.iter();
        let heirs: Vec<String> = heirs
            .map(|(node, shards)| format!("{node} ({shards})"))
            .collect();
        let shards = match heirs.is_empty() {
            true => "it had no shards".to_owned(),
            false => format!("its shards went to {}", heirs.join(", ")),
        };
        let (epoch, at) = (self.epoch, time_of_day(self.at_ms));
        format!("put out by plan {epoch} at {at} UTC; {shards}")
    }
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fate = self.fate();
        write!(f, "dead: {} (member {}), {fate}", self.node, self.member)
    }
}
