//! [`Moves`]: how shards came from one node to another, with the time of each stage, from the events of all nodes.

use std::collections::{BTreeMap, VecDeque};

use tanist_cluster::{Epoch, Millis, NodeName, ShardId};

use super::event::Event;

/// How many moves are remembered that are not complete yet. More than that were given up by their nodes.
const MAX_OPEN: usize = 1000;
/// How many plans, and how many turns of nodes, are remembered.
const MAX_CAUSES: usize = 64;
/// How long after its cause a move can begin: longer than any time-out for failures.
const CAUSE_WITHIN_MS: i64 = 60_000;

/// The last stage, after which a shard is at work.
const LAST_STAGE: &str = "first_commit";
/// The stages of one shard.
const STAGES: [&str; 5] = ["released", "permitted", "caught_up", "assigned", LAST_STAGE];
/// What takes its shards from a node, and what makes it a node like any other again.
const FAILURES: [&str; 3] = ["killed", "frozen", "ended"];
const RECOVERIES: [&str; 2] = ["started", "thawed"];

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Moves {
    open: BTreeMap<(ShardId, Epoch), BTreeMap<&'static str, Millis>>,
    /// Who had it at last.
    owners: BTreeMap<ShardId, NodeName>,
    /// Stages that all moves of a plan have in common.
    plans: VecDeque<(Option<Epoch>, &'static str, Millis)>,
    /// Failures and recoveries of nodes.
    turns: VecDeque<Turn>,
}

#[derive(Debug)]
struct Turn {
    node: NodeName,
    is_failure: bool,
    at: Millis,
}

impl Moves {
    /// Takes in an event. Answers with another one that sums a move up, if this was its last stage.
    pub(super) fn fold(&mut self, event: &Event) -> Option<Event> {
        let is_failure = FAILURES.contains(&&*event.kind);
        if is_failure || RECOVERIES.contains(&&*event.kind) {
            let turn = Turn {
                node: event.node.clone(),
                is_failure,
                at: event.at_ms,
            };
            push(&mut self.turns, turn);
        }
        for common in ["dead", "fenced", "planned"] {
            if event.kind == common {
                push(&mut self.plans, (event.epoch, common, event.at_ms));
            }
        }
        let (shard, epoch) = (event.shard.clone()?, event.epoch?);
        let stage = STAGES.into_iter().find(|stage| *stage == event.kind)?;
        let stages = self.open.entry((shard.clone(), epoch)).or_default();
        stages.insert(stage, event.at_ms);
        if stage == LAST_STAGE {
            return self.sum_up(shard, epoch, event);
        }
        if self.open.len() > MAX_OPEN {
            self.open.pop_first();
        }
        None
    }

    fn sum_up(&mut self, shard: ShardId, epoch: Epoch, last: &Event) -> Option<Event> {
        let mut stages = self.open.remove(&(shard.clone(), epoch))?;
        let from = self.owners.insert(shard, last.node.clone());
        let from = from.filter(|from| *from != last.node);
        let planned = self.plans.iter().rev();
        let mut planned =
            planned.filter(|(of, stage, _)| *of == Some(epoch) && *stage == "planned");
        let first = stages.values().min().copied()?;
        let begin = planned.next().map_or(first, |(.., at)| *at);
        let failed = from.as_ref().and_then(|from| self.failure(from, begin));
        // Until it releases a shard, its owner is at work.
        let since = failed.or(stages.get("released").copied()).unwrap_or(begin);
        for (_, stage, at) in &self.plans {
            if (since..=first).contains(at) {
                stages.insert(stage, *at);
            }
        }
        let mut stages: Vec<_> = stages.into_iter().filter(|(_, at)| *at >= since).collect();
        stages.sort_by_key(|(stage, at)| (*at, *stage == LAST_STAGE));
        let stages = stages.iter();
        let steps: Vec<String> = stages
            .map(|(stage, at)| format!("{} {}", stage.replace('_', " "), at.0 - since.0))
            .collect();
        let from = from.map_or_else(String::new, |from| format!("from {from}: "));
        Some(Event {
            kind: "moved".into(),
            took_ms: Some((last.at_ms.0 - since.0) as f64),
            text: format!("{from}{} ms", steps.join(", ")),
            seq: 0,
            ..last.clone()
        })
    }

    /// Since when `node` was not at work any more, a while before `begin`. Since then it may have been started again.
    fn failure(&self, node: &NodeName, begin: Millis) -> Option<Millis> {
        let since = begin.0 - CAUSE_WITHIN_MS;
        let turns = self.turns.iter().rev();
        let turns =
            turns.filter(|turn| turn.node == *node && (since..=begin.0).contains(&turn.at.0));
        let failures = turns
            .skip_while(|turn| !turn.is_failure)
            .take_while(|turn| turn.is_failure);
        failures.last().map(|turn| turn.at)
    }
}

fn push<T>(all: &mut VecDeque<T>, new: T) {
    if all.len() == MAX_CAUSES {
        all.pop_front();
    }
    all.push_back(new);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(node: &str, at: i64, kind: &str, shard: bool, epoch: Option<u64>) -> Event {
        Event {
            shard: shard.then(|| ShardId::new("orders", 3)),
            epoch: epoch.map(Epoch),
            ..Event::of(&node.into(), Millis(at), kind, "")
        }
    }

    fn told(moves: &mut Moves, events: &[Event]) -> Vec<String> {
        let sums = events.iter().filter_map(|event| moves.fold(event));
        sums.map(|event| event.to_string()).collect()
    }

    #[test]
    fn a_failover_is_timed_from_the_kill_of_the_former_owner() {
        let mut moves = Moves::default();
        let first = [
            event("n1", 0, "planned", false, Some(1)),
            event("n2", 5, "permitted", true, Some(1)),
            event("n2", 9, "first_commit", true, Some(1)),
        ];
        let first = told(&mut moves, &first);
        assert_eq!(
            first,
            ["n2   moved        orders/3 epoch 1 9.0 ms planned 0, permitted 5, first commit 9 ms"]
        );
        let second = [
            event("n3", 900, "killed", false, None),
            event("n2", 1000, "killed", false, None),
            event("n2", 1001, "ended", false, None),
            event("n2", 1002, "started", false, None),
            event("n1", 1003, "dead", false, None),
            event("n1", 1010, "fenced", false, None),
            event("n1", 1015, "planned", false, Some(2)),
            event("n3", 1020, "permitted", true, Some(2)),
            event("n3", 1025, "caught_up", true, Some(2)),
            event("n3", 1030, "assigned", true, Some(2)),
            event("n3", 1095, "first_commit", true, Some(2)),
        ];
        let second = told(&mut moves, &second);
        assert_eq!(
            second,
            [
                "n3   moved        orders/3 epoch 2 95.0 ms from n2: dead 3, fenced 10, planned 15, permitted 20, \
              caught up 25, assigned 30, first commit 95 ms"
            ]
        );
    }

    #[test]
    fn a_hand_over_is_timed_from_the_release_by_the_former_owner() {
        let mut moves = Moves::default();
        told(
            &mut moves,
            &[
                event("n2", 5, "permitted", true, Some(1)),
                event("n2", 9, "first_commit", true, Some(1)),
            ],
        );
        let events = [
            event("n2", 1000, "stopping", false, None),
            event("n1", 3000, "planned", false, Some(2)),
            event("n2", 3030, "released", true, Some(2)),
            event("n3", 3035, "permitted", true, Some(2)),
            event("n3", 3050, "first_commit", true, Some(2)),
            event("n2", 3060, "ended", false, None),
        ];
        assert_eq!(
            told(&mut moves, &events),
            [
                "n3   moved        orders/3 epoch 2 20.0 ms from n2: released 0, permitted 5, first commit 20 ms"
            ]
        );
    }

    #[test]
    fn what_is_remembered_of_moves_has_a_limit() {
        let mut moves = Moves::default();
        for epoch in 0..2 * MAX_OPEN as u64 {
            moves.fold(&event("n1", 0, "permitted", true, Some(epoch)));
            moves.fold(&event("n1", 0, "killed", false, None));
        }
        assert!(moves.open.len() <= MAX_OPEN && moves.turns.len() <= MAX_CAUSES);
    }
}
