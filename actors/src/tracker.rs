//! [`Tracker`]: which records of a partition an agent has finished, and the offset that may be committed (S6).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tanist_cluster::Offset;

/// How far an agent has come in a partition. Part of a shard's state, written with every commit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Progress {
    /// The smallest unfinished offset: all below it are finished.
    pub next: Offset,
    /// What `concurrency(n)` let overtake it. Nothing unless something has.
    pub ahead: Ahead,
}

/// What is finished above [`Progress::next`], and must not be handled again: its effects are in the same commit. Told by
/// its gaps: they are as many as records are in hand, whatever has gone by one that is slow (S8).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ahead {
    /// All below this is finished ...
    pub end: Offset,
    /// ... but these, from `next` on.
    pub open: BTreeSet<Offset>,
}

impl Progress {
    /// True if the record at `offset` is finished.
    pub fn contains(&self, offset: Offset) -> bool {
        offset < self.next || offset < self.ahead.end && !self.ahead.open.contains(&offset)
    }
}

/// [`Progress`] as it stands in logs.
#[derive(Serialize, Deserialize)]
struct Written {
    next: Offset,
    /// The end, counted from `next`, then each gap, counted from the one before it: short, for what a consumer group takes
    /// beside an offset is 4096 bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ahead: Vec<i64>,
    /// Finished offsets one by one: how it was written before.
    #[serde(default, skip_serializing)]
    done: BTreeSet<Offset>,
}

impl From<Progress> for Written {
    fn from(Progress { next, ahead }: Progress) -> Self {
        let mut before = next.0;
        let gaps = ahead.open.iter().map(|offset| {
            let gap = offset.0 - before;
            before = offset.0;
            gap
        });
        let end = (ahead != Ahead::default()).then_some(ahead.end.0 - next.0);
        Self {
            next,
            ahead: end.into_iter().chain(gaps).collect(),
            done: BTreeSet::new(),
        }
    }
}

impl From<Written> for Progress {
    fn from(Written { next, ahead, done }: Written) -> Self {
        let mut at = next.0;
        let ahead = match (&ahead[..], done.last()) {
            ([end, gaps @ ..], _) => Ahead {
                end: Offset(next.0.saturating_add(*end)),
                open: gaps
                    .iter()
                    .map(|gap| {
                        at = at.saturating_add(*gap);
                        Offset(at)
                    })
                    .collect(),
            },
            ([], Some(last)) => Ahead {
                end: last.next(),
                open: (next.0..last.0)
                    .map(Offset)
                    .filter(|offset| !done.contains(offset))
                    .collect(),
            },
            ([], None) => Ahead::default(),
        };
        Self { next, ahead }
    }
}

/// Follows the records of one partition through an agent.
///
/// A record is *begun* once, in offset order, and *finished* once, in any order.
#[derive(Clone, Debug, Default)]
pub struct Tracker {
    /// Where it went on.
    resumed: Progress,
    /// Begun and not finished.
    unfinished: BTreeSet<Offset>,
    /// One past the largest that was finished while a smaller one was not.
    ahead: Offset,
    /// One past the largest offset begun or known to be passed.
    end: Offset,
}

impl Tracker {
    /// Goes on from what was committed.
    pub fn resume(progress: &Progress) -> Self {
        Self {
            resumed: progress.clone(),
            unfinished: BTreeSet::new(),
            ahead: progress.ahead.end,
            end: progress.next,
        }
    }

    /// True if the record at `offset` was finished before the restart: pass over it.
    pub fn is_done(&self, offset: Offset) -> bool {
        self.resumed.contains(offset)
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
            self.ahead = self.ahead.max(offset.next());
        }
    }

    /// Both at once, for the record after the last one while nothing else is unfinished: what an agent without
    /// concurrency does, at the cost of a comparison.
    pub fn finish_next(&mut self, offset: Offset) {
        debug_assert!(self.unfinished.is_empty(), "records are in flight");
        self.pass(offset.next());
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
        if self.ahead <= next {
            return Progress {
                next,
                ..Progress::default()
            };
        }
        // What was open before the restart and has not come again yet is still open.
        let to_come = self.resumed.ahead.open.range(self.end..);
        let open = self.unfinished.iter().chain(to_come).copied();
        let ahead = Ahead {
            end: self.ahead,
            open: open.filter(|offset| *offset < self.ahead).collect(),
        };
        Progress { next, ahead }
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
        assert_eq!(progress.ahead.end, Offset(4));
        assert_eq!(progress.ahead.open, [Offset(0), Offset(2)].into());
        let resumed = Tracker::resume(&progress);
        let again: Vec<bool> = (0..5)
            .map(|offset| resumed.is_done(Offset(offset)))
            .collect();
        assert_eq!(again, [false, true, false, true, false]);
    }

    #[test]
    fn what_overtakes_a_slow_record_is_told_in_what_a_group_takes() {
        let mut tracker = Tracker::resume(&Progress::default());
        let offset = |number: i64| Offset(number * 1_000_003);
        for number in 0..50_000 {
            tracker.begin(offset(number));
            if number % 200 != 0 {
                tracker.finish(offset(number));
            }
        }
        let progress = tracker.progress();
        assert_eq!(progress.ahead.open.len(), 250);
        let text = serde_json::to_string(&progress).unwrap();
        assert!(text.len() < 4096, "{} bytes", text.len());
        assert_eq!(serde_json::from_str::<Progress>(&text).unwrap(), progress);
    }

    #[test]
    fn progress_is_read_as_it_was_written_before() {
        let read = |text| serde_json::from_str::<Progress>(text).unwrap();
        let done: Vec<i64> = {
            let progress = read(r#"{"next":5,"done":[6,9]}"#);
            (3..12)
                .filter(|at| progress.contains(Offset(*at)))
                .collect()
        };
        assert_eq!(done, [3, 4, 6, 9]);
        let plain = Progress {
            next: Offset(5),
            ..Progress::default()
        };
        assert_eq!(read(r#"{"next":5}"#), plain);
        assert_eq!(serde_json::to_string(&plain).unwrap(), r#"{"next":5}"#);
    }

    #[test]
    fn what_was_open_before_a_restart_stays_open_until_it_has_come_again() {
        let mut tracker = Tracker::resume(&Progress::default());
        (0..6).for_each(|at| tracker.begin(Offset(at)));
        for at in [1, 2, 4, 5] {
            tracker.finish(Offset(at));
        }
        let mut tracker = Tracker::resume(&tracker.progress());
        tracker.begin(Offset(0));
        tracker.finish(Offset(0));
        let progress = tracker.progress();
        let done: Vec<bool> = (0..7).map(|at| progress.contains(Offset(at))).collect();
        assert_eq!(done, [true, true, true, false, true, true, false]);
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
