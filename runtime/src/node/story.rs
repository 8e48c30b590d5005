//! What a change of the view is to people: events for the timeline.

use std::collections::BTreeMap;
use std::time::Duration;

use tanist_cluster::MemberId;
use tanist_cluster::plan::Plan;
use tanist_cluster::view::{Applied, View};

use super::timeline::{EventKind, Note};

/// What the director tells of `applied`, one of the changes from the view `before` to `view`. `took`: how long a plan took,
/// see [`super::office::Office::planned`].
pub(super) fn of(
    applied: &Applied,
    before: &View,
    view: &View,
    took: Option<Duration>,
) -> Option<Note> {
    match applied {
        Applied::Joined(id) => {
            let node = &view.member(*id)?.join.node;
            let text = format!("node {node} joined as member {id}");
            Some(Note::new(EventKind::Joined, text).member(*id))
        }
        Applied::Left(id) => {
            // Of one that was put out before, only the last trace was cleared away.
            let node = &before.member(*id)?.join.node;
            let text = format!("node {node} (member {id}) left");
            Some(Note::new(EventKind::Left, text).member(*id))
        }
        Applied::Planned(epoch) => {
            let plan = view.plan().filter(|plan| plan.epoch() == *epoch)?;
            Some(planned(plan, before.plan(), took))
        }
        Applied::Armed(..)
        | Applied::PlanIgnored { .. }
        | Applied::Released(..)
        | Applied::Nothing => None,
    }
}

fn planned(plan: &Plan, before: Option<&Plan>, took: Option<Duration>) -> Note {
    let active_before = |shard| Some(before?.get(shard)?.active);
    let shards = plan.shards().iter();
    let moved = shards.filter(|(shard, it)| active_before(*shard) != Some(it.active));
    let mut actives: BTreeMap<MemberId, usize> = BTreeMap::new();
    for it in plan.shards().values() {
        *actives.entry(it.active).or_default() += 1;
    }
    let actives = actives.into_iter();
    let actives: Vec<String> = actives
        .map(|(member, shards)| format!("{shards} on member {member}"))
        .collect();
    let moves = match moved.count() {
        1 => "1 shard moves".to_owned(),
        shards => format!("{shards} shards move"),
    };
    let text = format!("plan {}: {moves}; {}", plan.epoch(), actives.join(", "));
    Note::new(EventKind::Planned, text)
        .epoch(plan.epoch())
        .took(took)
}
