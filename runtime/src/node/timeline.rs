//! [`Timeline`]: what happened to this node and its shards, the last few hundred events, for people.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tanist_cluster::{Epoch, MemberId, Millis, NodeName, ShardId};
use tokio::sync::watch;

/// How many events are kept.
const KEPT: usize = 200;

/// The time of day in UTC, to the second.
pub(crate) fn time_of_day(at: Millis) -> String {
    let seconds = at.0.div_euclid(1000).rem_euclid(24 * 3600);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{hour:02}:{minute:02}:{second:02}")
}

/// What kind of thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A member joined.
    Joined,
    /// A member left in an orderly way, or its name was cleared away.
    Left,
    /// The director takes a member for dead.
    Dead,
    /// The director has ended the producers of a member.
    Fenced,
    /// A plan counts; its author says so.
    Planned,
    /// This node gave a shard up.
    Released,
    /// This node may process a shard.
    Permitted,
    /// Its copy of the shard is complete.
    CaughtUp,
    /// Its inputs stand where they have to.
    Assigned,
    /// Its first commit for the shard succeeded.
    FirstCommit,
    /// So did its last one, before it releases the shard.
    LastCommit,
    /// This node was put out, and dropped everything.
    Outside,
    /// It joined anew after that.
    Rejoined,
    /// It may not join.
    Refused,
    /// It was asked to stop.
    Leaving,
    /// A worker could not commit, and was made anew.
    Rearmed,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The how-manieth of this node, from 1.
    pub seq: u64,
    /// When, by this node's clock.
    pub at_ms: Millis,
    /// Who tells it.
    pub node: NodeName,
    /// What.
    pub kind: EventKind,
    /// Of which shard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<ShardId>,
    /// Of which member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<MemberId>,
    /// Under which plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// How long it took, in milliseconds: see the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<f64>,
    /// For people.
    pub text: String,
}

/// An event without what the timeline adds to it.
#[derive(Clone, Debug)]
pub(super) struct Note {
    kind: EventKind,
    shard: Option<ShardId>,
    member: Option<MemberId>,
    epoch: Option<Epoch>,
    took: Option<Duration>,
    text: String,
}

impl Note {
    pub(super) fn new(kind: EventKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            shard: None,
            member: None,
            epoch: None,
            took: None,
            text: text.into(),
        }
    }

    pub(super) fn shard(self, shard: &ShardId) -> Self {
        let shard = Some(shard.clone());
        Self { shard, ..self }
    }

    pub(super) fn member(self, member: MemberId) -> Self {
        let member = Some(member);
        Self { member, ..self }
    }

    pub(super) fn epoch(self, epoch: Epoch) -> Self {
        let epoch = Some(epoch);
        Self { epoch, ..self }
    }

    pub(super) fn took(self, took: Option<Duration>) -> Self {
        Self { took, ..self }
    }
}

/// See the module. Shared by all threads of the node.
#[derive(Debug)]
pub struct Timeline {
    node: NodeName,
    events: Mutex<VecDeque<Event>>,
    last: watch::Sender<u64>,
}

impl Timeline {
    pub(super) fn new(node: NodeName) -> Self {
        Self {
            node,
            events: Mutex::default(),
            last: watch::Sender::new(0),
        }
    }

    fn events(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, at: Millis, note: Note) {
        let Note {
            kind,
            shard,
            member,
            epoch,
            took,
            text,
        } = note;
        let took_ms = took.map(millis);
        match &shard {
            None if kind == EventKind::Rearmed => tracing::warn!("{text}"),
            None => tracing::info!(took_ms, "{text}"),
            // There may be many; who wants to see them asks for the events.
            Some(shard) => tracing::debug!(took_ms, %shard, "{text}"),
        }
        let mut events = self.events();
        let seq = events.back().map_or(1, |last| last.seq + 1);
        if events.len() == KEPT {
            events.pop_front();
        }
        events.push_back(Event {
            seq,
            at_ms: at,
            node: self.node.clone(),
            kind,
            shard,
            member,
            epoch,
            took_ms,
            text,
        });
        drop(events);
        self.last.send_replace(seq);
    }

    /// The events after the one of this number, as far as they are kept; 0: all.
    pub fn after(&self, seq: u64) -> Vec<Event> {
        let events = self.events();
        let later = events.iter().filter(|event| event.seq > seq);
        later.cloned().collect()
    }

    /// The number of the last event; changes with every one.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }
}

/// With a tenth of a millisecond's precision.
fn millis(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e4).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_events_are_kept_and_numbered_without_a_gap() {
        let timeline = Timeline::new(NodeName::from("n1"));
        assert!(timeline.after(0).is_empty());
        let last = timeline.watch();
        for number in 0..KEPT as i64 + 5 {
            let note =
                Note::new(EventKind::Planned, "a plan").took(Some(Duration::from_micros(1250)));
            timeline.add(Millis(number), note);
        }
        assert_eq!(*last.borrow(), KEPT as u64 + 5);
        let events = timeline.after(0);
        let numbers: Vec<u64> = events.iter().map(|event| event.seq).collect();
        assert_eq!(numbers, (6..=KEPT as u64 + 5).collect::<Vec<_>>());
        assert_eq!(timeline.after(KEPT as u64 + 4).len(), 1);
        assert_eq!(
            serde_json::to_string(&events[0]).unwrap(),
            r#"{"seq":6,"at_ms":5,"node":"n1","kind":"planned","took_ms":1.3,"text":"a plan"}"#
        );
    }
}
