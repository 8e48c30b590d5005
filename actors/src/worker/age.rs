//! How old a copy may be: compaction removes a deletion from a changelog `delete.retention.ms` after it was written. A store
//! that was behind for so long may hold keys whose deletion it can read nowhere: it is filled anew, from the beginning.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tanist_cluster::{Millis, Offset};

use super::Worker;
use super::copy::ShardCopy;
use super::error::ReplicaError;
use crate::port::{TopicPartition, TopicSettings};
use crate::table::{Inputs, Replay, StoreState};

/// What Kafka has unless told otherwise; what it does not tell is taken for that.
const DELETE_RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

impl Worker {
    /// `copy`, emptied if it may have missed deletions; `bounds` are those of `changelogs`.
    pub(super) async fn renew_if_old(
        &self,
        mut copy: ShardCopy,
        changelogs: &[TopicPartition],
        bounds: &[Range<Offset>],
    ) -> Result<ShardCopy, ReplicaError> {
        let now = self.desk.clock().now();
        let state = copy.replay.state();
        if state.changelogs.is_empty() {
            copy.replay.is_current(now);
            return Ok(copy);
        }
        if !is_behind(state, changelogs, bounds) {
            return Ok(copy);
        }
        let kept = self.delete_retention(changelogs).await?;
        let age = Duration::from_millis(now.0.saturating_sub(state.current_at.0).max(0) as u64);
        if !is_too_old(age, kept) && !is_of_the_future(state.current_at, now) {
            return Ok(copy);
        }
        tracing::warn!(
            shard = %copy.shard, age_s = age.as_secs(), delete_retention_s = kept.as_secs(),
            "the store here is so far behind that deletions may be gone from its changelog: it is filled anew"
        );
        let store = copy.store.clone();
        self.off_thread(move || store.clear()).await?;
        let mut state = StoreState::new(&self.app, &copy.shard);
        // By which another life of the changelog is still recognised.
        state.inputs = Inputs {
            born: copy.replay.state().inputs.born,
            ..Inputs::default()
        };
        copy.replay = Replay::new(copy.replay.changelogs().clone(), state);
        copy.replay.is_current(now);
        Ok(copy)
    }
}

/// How long the changelogs of an app keep deletions, as of when that was asked.
#[derive(Default)]
pub(super) struct Retentions(Option<(Duration, BTreeMap<Arc<str>, Duration>)>);

/// Many shards are opened together, and ask for the same.
const ASKED_FOR: Duration = Duration::from_secs(60);

impl Worker {
    /// The shortest of `changelogs`.
    async fn delete_retention(
        &self,
        changelogs: &[TopicPartition],
    ) -> Result<Duration, ReplicaError> {
        // Held while one asks: the others wait for its answer.
        let mut retentions = self.retentions.lock().await;
        let now = self.desk.clock().elapsed();
        let known = match &mut retentions.0 {
            Some((asked, known)) if now.saturating_sub(*asked) < ASKED_FOR => known,
            slot => {
                let tables = self.groups.values().flat_map(|group| &group.tables);
                let topics: Vec<Arc<str>> = tables
                    .map(|table| self.desk.topic_name(table.changelog))
                    .collect();
                let ask = async || self.broker.topic_settings(&topics).await;
                let settings = self.patiently(ask).await?;
                let of = |topic: Arc<str>| {
                    let kept = delete_retention(settings.get(&topic));
                    (topic, kept)
                };
                let known = topics.into_iter().map(of).collect();
                &mut slot.insert((now, known)).1
            }
        };
        let kept = changelogs.iter().filter_map(|it| known.get(&it.topic));
        Ok(kept.min().copied().unwrap_or(DELETE_RETENTION))
    }
}

/// Whether there is more to read than the marker of a transaction.
fn is_behind(state: &StoreState, changelogs: &[TopicPartition], bounds: &[Range<Offset>]) -> bool {
    changelogs.iter().zip(bounds).any(|(changelog, bounds)| {
        let position = state.changelogs.get(&changelog.topic);
        position.is_some_and(|position| bounds.end.0 - position.0 > 1)
    })
}

/// With time to read what is left, and for clocks that differ.
fn is_too_old(age: Duration, delete_retention: Duration) -> bool {
    age > delete_retention / 4 * 3
}

/// How far the clocks of nodes may differ.
const CLOCKS_DIFFER: i64 = 60 * 60 * 1000;

/// A clock that was ahead has written it: it says nothing of the age, and would not for as long.
fn is_of_the_future(current_at: Millis, now: Millis) -> bool {
    current_at.0.saturating_sub(now.0) > CLOCKS_DIFFER
}

fn delete_retention(settings: Option<&TopicSettings>) -> Duration {
    let told = settings.and_then(|settings| settings.get("delete.retention.ms"));
    let millis = told.and_then(|millis| millis.parse().ok());
    millis.map_or(DELETE_RETENTION, Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use tanist_cluster::{Partition, ShardId};

    use super::*;

    #[test]
    fn a_store_at_the_end_of_its_changelog_is_not_behind_whatever_its_age() {
        let changelog = TopicPartition::new("changelog", Partition(0));
        let mut state = StoreState::new("app", &ShardId::new("g", 0));
        state.changelogs.insert(changelog.topic.clone(), Offset(7));
        let behind = |end| {
            let bounds = Offset(0)..Offset(end);
            is_behind(&state, std::slice::from_ref(&changelog), &[bounds])
        };
        assert_eq!([7, 8, 9].map(behind), [false, false, true]);
    }

    #[test]
    fn a_store_that_was_current_in_the_future_is_of_no_known_age() {
        let hours = |hours: i64| Millis(hours * 60 * 60 * 1000);
        assert!(!is_of_the_future(hours(10), hours(10)));
        assert!(!is_of_the_future(hours(11), hours(10)));
        assert!(is_of_the_future(hours(12), hours(10)));
    }

    #[test]
    fn a_store_is_too_old_well_before_deletions_go() {
        let hour = Duration::from_secs(60 * 60);
        assert!(!is_too_old(hour * 18, DELETE_RETENTION));
        assert!(is_too_old(hour * 19, DELETE_RETENTION));
        let settings = [("delete.retention.ms".to_owned(), "60000".to_owned())].into();
        assert_eq!(delete_retention(Some(&settings)), Duration::from_secs(60));
    }
}
