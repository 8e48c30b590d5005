//! [`Moves`]: how shards came from one node to another, with the time of each stage, from the events of all nodes.

use std::collections::{BTreeMap, VecDeque};

use tanist_cluster::{Epoch, Millis, NodeName, ShardId};

use super::event::Event;

/// How many moves are remembered that are not complete yet. More than that were given up by their nodes.
const MAX_OPEN: usize = 1000;
/// How many plans, and how many turns of nodes, are remembered.
const MAX_CAUSES: usize = 64;
/// The last stage, after which a shard is at work.
const LAST_STAGE: &str = "first_commit";
/// The stages of one shard.
const STAGES: [&str; 6] = [
    "last_commit",
    "released",
    "permitted",
    "caught_up",
    "assigned",
    LAST_STAGE,
];
/// What comes before, for all shards together.
const COMMON: [&str; 3] = ["dead", "fenced", PLANNED];
/// Of these, the one that names the plan.
const PLANNED: &str = "planned";
/// What takes its shards from a node, and what makes it a node like any other again.
const FAILURES: [&str; 3] = ["killed", "frozen", "ended"];
const RECOVERIES: [&str; 2] = ["started", "thawed"];

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Moves {
    open: BTreeMap<(ShardId, Epoch), BTreeMap<&'static str, Millis>>,
    /// Who had it at last, and since when.
    owners: BTreeMap<ShardId, (NodeName, Millis)>,
    common: VecDeque<(&'static str, Option<Epoch>, Millis)>,
    /// Failures and recoveries of nodes.
    turns: VecDeque<Turn>,
}

#[derive(Debug)]
struct Turn {
    node: NodeName,
    is_failure: bool,
    at: Millis,
}

/// A shard is at work on another node, or again on the same.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Moved {
    from: NodeName,
    /// The last stage.
    last: Event,
    /// From its cause to the last stage.
    pub(super) took_ms: i64,
    /// The stages before it, in milliseconds after the cause.
    stages: String,
}

impl Moved {
    /// As an event.
    pub(super) fn event(&self) -> Event {
        let Self {
            from,
            took_ms,
            stages,
            ..
        } = self;
        self.told("moved", summary(from, *took_ms, stages))
    }

    fn told(&self, kind: &str, text: String) -> Event {
        Event {
            kind: kind.into(),
            took_ms: Some(self.took_ms as f64),
            text,
            ..self.last.clone()
        }
    }
}

/// What matters comes first: the rest may find no place in a line.
fn summary(from: &NodeName, took_ms: i64, stages: &str) -> String {
    let colon = if stages.is_empty() { "" } else { ": " };
    format!("from {from} in {took_ms} ms to the first commit{colon}{stages}")
}

/// Those of one plan that go from one node to another, as one event.
pub(super) fn gather(moved: &[Moved]) -> Vec<Event> {
    let mut groups: BTreeMap<_, Vec<&Moved>> = BTreeMap::new();
    for it in moved {
        let key = (it.last.epoch, &it.from, &it.last.node);
        groups.entry(key).or_default().push(it);
    }
    let slowest = |group: Vec<&Moved>| {
        let slowest = group.iter().max_by_key(|it| it.took_ms)?;
        let Moved {
            from,
            took_ms,
            stages,
            ..
        } = slowest;
        let shards = match group.len() {
            1 => slowest.last.shard.as_ref()?.to_string(),
            shards => format!("{shards} shards"),
        };
        let text = format!("{shards} {}", summary(from, *took_ms, stages));
        let told = slowest.told("took_over", text);
        Some(Event {
            shard: None,
            ..told
        })
    };
    let mut all: Vec<Event> = groups.into_values().filter_map(slowest).collect();
    all.sort_by_key(|event| event.at_ms);
    all
}

impl Moves {
    /// Takes in an event. Answers with the move of which this was the last stage.
    pub(super) fn fold(&mut self, event: &Event) -> Option<Moved> {
        let is_failure = FAILURES.contains(&&*event.kind);
        if is_failure || RECOVERIES.contains(&&*event.kind) {
            let turn = Turn {
                node: event.node.clone(),
                is_failure,
                at: event.at_ms,
            };
            push(&mut self.turns, turn);
        }
        if let Some(stage) = COMMON.into_iter().find(|stage| *stage == event.kind) {
            push(&mut self.common, (stage, event.epoch, event.at_ms));
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

    fn sum_up(&mut self, shard: ShardId, epoch: Epoch, last: &Event) -> Option<Moved> {
        let mut stages = self.open.remove(&(shard.clone(), epoch))?;
        // One that nobody had yet has not moved.
        let owner = (last.node.clone(), last.at_ms);
        let (from, owned) = self.owners.insert(shard, owner)?;
        let first = stages.values().min().copied()?;
        let mut common = self.common.iter();
        let planned = common.find(|(stage, of, _)| *stage == PLANNED && *of == Some(epoch));
        let begin = planned.map_or(first, |(.., at)| *at);
        if from == last.node && begin < owned {
            // By that plan it had the shard already: a worker was made anew, and nobody has taken anything over.
            return None;
        }
        // Until its last commit for a shard, its owner is at work.
        let left = stages.get("last_commit").or(stages.get("released"));
        let since = self.failure(&from, owned, begin).or(left.copied());
        let since = since.unwrap_or(begin);
        let common = self.common.iter().filter(|(stage, of, at)| {
            (since..=begin).contains(at) && (*stage != PLANNED || *of == Some(epoch))
        });
        stages.extend(common.map(|(stage, _, at)| (*stage, *at)));
        let mut stages: Vec<_> = stages.into_iter().filter(|(_, at)| *at >= since).collect();
        let all = || COMMON.iter().chain(&STAGES);
        let place = |stage: &str| all().position(|known| *known == stage);
        stages.sort_by_key(|(stage, at)| (*at, place(stage)));
        let steps: Vec<String> = stages
            .into_iter()
            .filter(|(stage, _)| *stage != LAST_STAGE)
            .map(|(stage, at)| format!("{} {}", stage.replace('_', " "), at.0 - since.0))
            .collect();
        Some(Moved {
            from,
            last: last.clone(),
            took_ms: last.at_ms.0 - since.0,
            stages: steps.join(", "),
        })
    }

    /// Since when `node` was not at work any more, between when it got a shard and when that was planned to go to another.
    /// Since then it may have been started again.
    fn failure(&self, node: &NodeName, owned: Millis, planned: Millis) -> Option<Millis> {
        let turns = self.turns.iter().rev();
        let turns = turns.filter(|turn| turn.node == *node && (owned..=planned).contains(&turn.at));
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
    use crate::up::event::time_of_day;

    fn event(node: &str, at: i64, kind: &str, shard: bool, epoch: Option<u64>) -> Event {
        Event {
            shard: shard.then(|| ShardId::new("orders", 3)),
            epoch: epoch.map(Epoch),
            ..Event::of(&node.into(), Millis(at), kind, "")
        }
    }

    fn told(moves: &mut Moves, events: &[Event]) -> Vec<String> {
        let sums = events.iter().filter_map(|event| moves.fold(event));
        sums.map(|moved| moved.event().to_string()).collect()
    }

    /// A shard that n2 has had from the beginning.
    fn of_n2() -> Moves {
        let mut moves = Moves::default();
        let first = [
            event("n1", 0, "planned", false, Some(1)),
            event("n2", 5, "permitted", true, Some(1)),
            event("n2", 9, "first_commit", true, Some(1)),
        ];
        assert_eq!(told(&mut moves, &first), [""; 0], "nobody had it before");
        moves
    }

    #[test]
    fn a_worker_that_is_made_anew_has_taken_nothing_over() {
        let mut moves = of_n2();
        let anew = [
            event("n2", 5_000, "permitted", true, Some(1)),
            event("n2", 5_030, "first_commit", true, Some(1)),
        ];
        assert_eq!(told(&mut moves, &anew), [""; 0]);
    }

    #[test]
    fn a_failover_is_timed_from_the_kill_of_the_former_owner() {
        let events = [
            event("n3", 900, "killed", false, None),
            event("n2", 1000, "killed", false, None),
            event("n2", 1001, "ended", false, None),
            event("n2", 1002, "started", false, None),
            event("n1", 1003, "dead", false, None),
            event("n1", 1010, "fenced", false, None),
            event("n1", 1015, "planned", false, Some(2)),
            event("n3", 1020, "permitted", true, Some(2)),
            event("n3", 1020, "caught_up", true, Some(2)),
            event("n3", 1030, "assigned", true, Some(2)),
            event("n3", 1095, "first_commit", true, Some(2)),
        ];
        assert_eq!(
            told(&mut of_n2(), &events),
            [
                "n3   moved        orders/3 from n2 in 95 ms to the first commit: dead 3, fenced 10, planned 15, \
              permitted 20, caught up 20, assigned 30 (plan 2)"
            ]
        );
    }

    #[test]
    fn what_a_node_went_through_before_it_had_a_shard_is_no_cause() {
        let mut moves = of_n2();
        let failure = [
            event("n3", 100, "killed", false, None),
            event("n3", 200, "started", false, None),
            event("n3", 300, "first_commit", true, Some(2)),
            event("n1", 400, "planned", false, Some(3)),
            event("n2", 450, "first_commit", true, Some(3)),
        ];
        let told = told(&mut moves, &failure);
        assert!(
            told[1].contains("from n3 in 50 ms to the first commit: planned 0"),
            "{told:?}"
        );
    }

    #[test]
    fn a_hand_over_is_timed_from_the_last_commit_of_the_former_owner() {
        let events = [
            event("n2", 1000, "stopping", false, None),
            event("n1", 3000, "planned", false, Some(2)),
            event("n2", 3020, "last_commit", true, Some(2)),
            event("n2", 3021, "released", true, Some(2)),
            event("n3", 3035, "permitted", true, Some(2)),
            event("n3", 3050, "first_commit", true, Some(2)),
            event("n2", 3060, "ended", false, None),
        ];
        assert_eq!(
            told(&mut of_n2(), &events),
            [
                "n3   moved        orders/3 from n2 in 30 ms to the first commit: last commit 0, released 1, \
              permitted 15 (plan 2)"
            ]
        );
    }

    #[test]
    fn moves_of_one_plan_between_two_nodes_are_one_event_with_the_stages_of_the_slowest() {
        let moved = |partition: i32, from: &str, took_ms: i64| Moved {
            from: from.into(),
            last: Event {
                shard: Some(ShardId::new("orders", partition)),
                ..event("n3", 1000 + took_ms, "first_commit", true, Some(2))
            },
            took_ms,
            stages: "dead 3, fenced 10".into(),
        };
        let all = [moved(1, "n2", 60), moved(2, "n2", 70), moved(3, "n1", 50)];
        let told: Vec<String> = gather(&all).iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "n3   took over    orders/3 from n1 in 50 ms to the first commit: dead 3, fenced 10 (plan 2)",
                "n3   took over    2 shards from n2 in 70 ms to the first commit: dead 3, fenced 10 (plan 2)",
            ]
        );
    }

    #[test]
    fn what_a_move_cost_is_seen_in_a_narrow_window() {
        let last = Event {
            shard: Some(ShardId::new("orders", 3)),
            ..event("n3", 1095, "first_commit", true, Some(2))
        };
        let moved = Moved {
            from: "n2".into(),
            last,
            took_ms: 1095,
            stages: "dead 3, fenced 10, planned 15".into(),
        };
        let text = gather(&[moved.clone(), moved])[0].to_string();
        let line = format!("{} {text}", time_of_day(Millis(0)));
        assert!(
            line[..80].contains("in 1095 ms to the first commit"),
            "{line}"
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
