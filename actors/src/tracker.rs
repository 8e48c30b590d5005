//! [`Tracker`]: which records of a partition an agent has finished, and the offset that may be committed (S6).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tanist_cluster::Offset;

/// How far an agent has come in a partition. Part of a shard's state, written with every commit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The smallest unfinished offset: all below it are finished.
    pub next: Offset,
    /// Offsets above `next` that are finished all the same, because `concurrency(n)` let them overtake. They must not
    /// be handled again: their effects are in the same commit.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub done: BTreeSet<Offset>,
}

/// Follows the records of one partition through an agent.
///
/// A record is *begun* once, in offset order, and *finished* once, in any order.
#[derive(Clone, Debug, Default)]
pub struct Tracker {
    /// Where it went on: all below is finished.
    resumed: Offset,
    /// Begun and not finished.
    unfinished: BTreeSet<Offset>,
    /// Finished, above the smallest of `unfinished`.
    done: BTreeSet<Offset>,
    /// One past the largest offset begun or known to be passed.
    end: Offset,
}

impl Tracker {
    /// Goes on from what was committed.
    pub fn resume(progress: &Progress) -> Self {
        Self {
            resumed: progress.next,
            unfinished: BTreeSet::new(),
            done: progress.done.clone(),
            end: progress.next,
        }
    }

    /// True if the record at `offset` was finished before the restart: pass over it.
    pub fn is_done(&self, offset: Offset) -> bool {
        offset < self.resumed || (!self.done.is_empty() && self.done.contains(&offset))
    }

    /// A record is taken up.
    pub fn begin(&mut self, offset: Offset) {
        debug_assert!(offset >= self.end, "{offset} begun after {}", self.end);
        self.unfinished.insert(offset);
        self.pass(offset.next());
    }

    /// A record is finished: its effects are staged.
    pub fn finish(&mut self, offset: Offset) {
        let was_unfinished = self.unfinished.remove(&offset);
        debug_assert!(was_unfinished, "{offset} finished, but not begun");
        if self.unfinished.first().is_some_and(|first| *first < offset) {
            self.done.insert(offset);
        }
        self.forget_passed();
    }

    /// Both at once, for the record after the last one while nothing else is unfinished: what an agent without
    /// concurrency does, at the cost of a comparison.
    pub fn finish_next(&mut self, offset: Offset) {
        debug_assert!(self.unfinished.is_empty(), "records are in flight");
        self.pass(offset.next());
        if !self.done.is_empty() {
            self.forget_passed();
        }
    }

    /// Nothing below `offset` will come any more: what lies between were markers or compacted records.
    pub fn pass(&mut self, offset: Offset) {
        self.end = self.end.max(offset);
    }

    /// How many records are begun and not finished.
    pub fn in_flight(&self) -> usize {
        self.unfinished.len()
    }

    /// The smallest unfinished offset: what may be committed.
    pub fn committable(&self) -> Offset {
        self.unfinished.first().copied().unwrap_or(self.end)
    }

    /// What is to be written with a commit.
    pub fn progress(&self) -> Progress {
        let next = self.committable();
        Progress {
            next,
            done: self.done.range(next..).copied().collect(),
        }
    }

    fn forget_passed(&mut self) {
        let next = self.committable();
        while self.done.first().is_some_and(|first| *first < next) {
            self.done.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_finished_above_an_unfinished_record_is_remembered_and_not_begun_again() {
        let mut tracker = Tracker::resume(&Progress::default());
        for offset in 0..4 {
            tracker.begin(Offset(offset));
        }
        tracker.finish(Offset(1));
        tracker.finish(Offset(3));
        let progress = tracker.progress();
        assert_eq!(progress.next, Offset(0));
        assert_eq!(progress.done, [Offset(1), Offset(3)].into());
        let resumed = Tracker::resume(&progress);
        let again: Vec<bool> = (0..5)
            .map(|offset| resumed.is_done(Offset(offset)))
            .collect();
        assert_eq!(again, [false, true, false, true, false]);
    }

    proptest! {
        /// S6, for any order in which records are finished, with gaps in the offsets, and a restart in between.
        #[test]
        fn the_committed_offset_never_passes_an_unfinished_record(
            gaps in proptest::collection::vec(1..4_i64, 1..40),
            order in proptest::collection::vec(any::<prop::sample::Index>(), 0..40),
            restart in any::<bool>(),
        ) {
            let offsets: Vec<Offset> = gaps.iter().scan(0, |at, gap| { *at += gap; Some(Offset(*at)) }).collect();
            let mut tracker = Tracker::resume(&Progress::default());
            let mut open = Vec::new();
            for offset in &offsets {
                tracker.begin(*offset);
                open.push(*offset);
            }
            for index in order {
                if open.is_empty() { break }
                let finished = open.remove(index.index(open.len()));
                tracker.finish(finished);
                let smallest = open.first().copied().unwrap_or_else(|| offsets.last().unwrap().next());
                prop_assert_eq!(tracker.committable(), smallest);
            }
            if restart {
                let progress = tracker.progress();
                let resumed = Tracker::resume(&progress);
                for offset in &offsets {
                    prop_assert_eq!(resumed.is_done(*offset), !open.contains(offset));
                }
            }
        }
    }
}
