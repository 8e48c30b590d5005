//! Following: the changelogs of a shard flow into its store as they grow. The same for a restore, which is only further
//! behind, a standby, and what is left to be read when the permit is there (S4).

use std::cell::RefCell;
use std::mem::discriminant;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use tanist_cluster::heartbeat::Copy;
use tanist_cluster::{Offset, ShardId};
use tokio::sync::Notify;

use super::Worker;
use super::copy::ShardCopy;
use super::error::ReplicaError;
use crate::group::GroupSpec;
use crate::port::{Batch, LogError, Source, TopicPartition};
use crate::shard::{ShardState, ShardStatus};

/// Bytes of changelog that are put into the store at a time. More costs memory, in every shard that is restored; less
/// makes more files, which have to be merged.
const CHUNK_BYTES: usize = 2 << 20;
/// From so many on they go into a file of their own.
const FILE_BYTES: usize = CHUNK_BYTES / 4;
/// Records that are pulled at a time.
const BATCH_RECORDS: usize = 1000;
/// A changelog that fills so many pulls in a row is not near its end any more.
const FULL_PULLS: u32 = 10;

/// So many offsets before a store's position are looked at: the last may be a marker, which nobody sees.
const RECOGNISED_BY: i64 = 2;

/// How far a shard's changelogs are to be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Goal {
    /// For as long as they grow.
    Onward,
    /// To these offsets, one for each changelog, in their order.
    Ends(Vec<Offset>),
    /// No further.
    Nowhere,
}

/// Where a [`Worker::follow`] is to go.
pub(super) struct Course {
    goal: RefCell<Goal>,
    /// There may be more to read, or another goal.
    ready: Arc<Notify>,
}

/// What is being followed.
struct Tail<'a> {
    worker: &'a Worker,
    course: &'a Course,
    copy: ShardCopy,
    /// In the order in which the replay counts them.
    changelogs: Vec<Reading>,
    records: u64,
    /// How many records there are to be read in all, at most.
    of: u64,
    reported: Option<ShardState>,
}

/// A changelog that is being read.
struct Reading {
    partition: TopicPartition,
    source: Box<dyn Source>,
    /// Where the store stood before.
    begin: Offset,
    /// What is read next.
    next: Offset,
    /// An end that it had; it may have more by now.
    end: Offset,
    /// What was next when that was asked.
    asked_at: Offset,
    at_end: bool,
    /// What stands before the store's position was seen, if there is anything.
    is_recognised: bool,
    /// All that there is has been taken in, as of the last look.
    is_whole: bool,
    full_pulls: u32,
}

impl Course {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self {
            goal: RefCell::new(Goal::Onward),
            ready: Arc::new(Notify::new()),
        })
    }

    pub(super) fn set_goal(&self, goal: Goal) {
        *self.goal.borrow_mut() = goal;
        self.ready.notify_one();
    }
}

impl Worker {
    /// Follows the changelogs of `copy`, until the goal of `course` is reached.
    pub(super) async fn follow(
        self: Rc<Self>,
        copy: ShardCopy,
        course: Rc<Course>,
    ) -> Result<ShardCopy, ReplicaError> {
        let mut tail = Tail::open(&self, &course, copy).await?;
        loop {
            let more = tail.pull().await?;
            if tail.is_full() || !more && tail.has_last() {
                tail.take_in().await?;
                tail.report();
            }
            tail.look_ahead().await?;
            tail.report_change();
            if tail.is_there() {
                return Ok(tail.copy);
            }
            if more {
                tokio::task::yield_now().await;
            } else {
                course.ready.notified().await;
            }
        }
    }

    /// Where the changelogs of a shard end, markers included that are still on their way.
    pub(super) async fn changelog_ends(
        &self,
        shard: &ShardId,
        group: &GroupSpec,
    ) -> Result<Vec<Offset>, ReplicaError> {
        let changelogs = self.changelogs_of(shard, group);
        if changelogs.is_empty() {
            return Ok(Vec::new());
        }
        let ask = async || self.broker.high_watermarks(&changelogs).await;
        let mut ends = self.patiently(ask).await?;
        let of = |changelog| ends.remove(changelog).unwrap_or_default();
        Ok(changelogs.iter().map(of).collect())
    }

    /// Where `changelogs` begin and end.
    async fn bounds(
        &self,
        changelogs: &[TopicPartition],
    ) -> Result<Vec<Range<Offset>>, ReplicaError> {
        if changelogs.is_empty() {
            return Ok(Vec::new());
        }
        let ask = async || self.broker.offsets(changelogs).await;
        let mut bounds = self.patiently(ask).await?;
        let of = |changelog| bounds.remove(changelog).unwrap_or_default();
        Ok(changelogs.iter().map(of).collect())
    }

    /// Whether a changelog still has what a store has replayed. A store may be ahead of the last stable offset: a commit
    /// counts before its markers are written, which a broker that was killed makes good when it is back.
    async fn check(
        &self,
        partition: &TopicPartition,
        position: Offset,
        bounds: &Range<Offset>,
    ) -> Result<(), ReplicaError> {
        if (bounds.start..=bounds.end).contains(&position) {
            return Ok(());
        }
        let one = std::slice::from_ref(partition);
        let ask = async || self.broker.high_watermarks(one).await;
        let end = self
            .patiently(ask)
            .await?
            .remove(partition)
            .unwrap_or_default();
        if (bounds.start..=end).contains(&position) {
            return Ok(());
        }
        Err(ReplicaError::ChangelogTruncated {
            partition: partition.clone(),
            position,
            start: bounds.start,
            end,
        })
    }
}

impl<'a> Tail<'a> {
    async fn open(
        worker: &'a Worker,
        course: &'a Course,
        copy: ShardCopy,
    ) -> Result<Self, ReplicaError> {
        let partitions = worker.changelogs_of(&copy.shard, &copy.group);
        let bounds = worker.bounds(&partitions).await?;
        for (partition, bounds) in partitions.iter().zip(&bounds) {
            if let Some(position) = copy.position(partition) {
                worker.check(partition, position, bounds).await?;
            }
        }
        let copy = worker.renew_if_old(copy, &partitions, &bounds).await?;
        let mut changelogs = Vec::new();
        for (partition, bounds) in partitions.iter().zip(bounds) {
            let position = copy.position(partition);
            check_beginning(partition, position, bounds.start)?;
            let begin = position.unwrap_or(bounds.start);
            // By what stands before, the changelog is recognised.
            let from = Offset(begin.0 - RECOGNISED_BY).max(bounds.start);
            changelogs.push(Reading {
                source: worker.log.open(partition, from, course.ready.clone())?,
                partition: partition.clone(),
                begin,
                next: begin,
                end: bounds.end,
                asked_at: begin,
                at_end: false,
                is_recognised: false,
                is_whole: false,
                full_pulls: 0,
            });
        }
        let mut tail = Self {
            worker,
            course,
            of: changelogs.iter().map(Reading::left_records).sum(),
            copy,
            changelogs,
            records: 0,
            reported: None,
        };
        tail.report();
        Ok(tail)
    }

    /// Takes what there is now; false if there was nothing.
    async fn pull(&mut self) -> Result<bool, ReplicaError> {
        let mut any = false;
        for index in 0..self.changelogs.len() {
            any |= match self.pull_from(index) {
                Err(ReplicaError::Log(LogError::OutOfRange { partition, offset })) => {
                    for bounds in self.worker.bounds(std::slice::from_ref(&partition)).await? {
                        self.worker.check(&partition, offset, &bounds).await?;
                    }
                    return Err(LogError::OutOfRange { partition, offset }.into());
                }
                pulled => pulled?,
            };
        }
        Ok(any)
    }

    fn pull_from(&mut self, index: usize) -> Result<bool, ReplicaError> {
        let reading = &mut self.changelogs[index];
        let pulled = reading.source.pull(BATCH_RECORDS)?;
        let any = pulled.batch.is_some() || pulled.reached.is_some();
        if let Some(batch) = &pulled.batch {
            self.records += reading.take(index, &**batch, &mut self.copy)?;
        }
        reading.is_recognised |= any;
        reading.is_whole = pulled.reached.is_some() || reading.at_end && pulled.batch.is_none();
        reading.note_end(pulled.reached, pulled.batch.map_or(0, |batch| batch.len()));
        self.copy.replay.reached(index, reading.next);
        Ok(any)
    }

    /// As much waits to be put into the store as may.
    fn is_full(&self) -> bool {
        self.copy.replay.pending_bytes() >= CHUNK_BYTES
    }

    /// What waits to be put into the store is the last that there is for now, or that is wanted. Before that a pause in what
    /// comes is none: it would make small files.
    fn has_last(&self) -> bool {
        let is_last = || self.changelogs.iter().all(|reading| reading.at_end) || self.has_arrived();
        self.copy.replay.pending_bytes() > 0 && is_last()
    }

    /// Puts what has been read into the store, off this thread where that takes long: others work on it (S5).
    async fn take_in(&mut self) -> Result<(), ReplicaError> {
        if self.changelogs.iter().all(|reading| reading.is_whole) {
            self.copy.replay.is_current(self.worker.desk.clock().now());
        }
        let (store, changes) = (self.copy.store.clone(), self.copy.replay.take());
        let put = move || match changes.size_bytes() {
            FILE_BYTES.. => store.fill(&changes),
            _ => store.apply(&changes),
        };
        self.worker.off_thread(put).await?;
        Ok(())
    }

    /// Where more was read than was known to be there, asks how much there is.
    async fn look_ahead(&mut self) -> Result<(), ReplicaError> {
        let is_lost = |reading: &&mut Reading| {
            !reading.at_end && reading.next >= reading.end && reading.next > reading.asked_at
        };
        for reading in self.changelogs.iter_mut().filter(is_lost) {
            let bounds = self
                .worker
                .bounds(std::slice::from_ref(&reading.partition))
                .await?;
            reading.asked_at = reading.next;
            reading.end = bounds
                .iter()
                .map(|bounds| bounds.end)
                .max()
                .unwrap_or(reading.end);
            self.of = self.records + reading.left_records();
        }
        Ok(())
    }

    fn is_there(&self) -> bool {
        match *self.course.goal.borrow() {
            Goal::Onward => false,
            Goal::Nowhere => true,
            Goal::Ends(_) => self.copy.replay.pending_bytes() == 0 && self.has_arrived(),
        }
    }

    /// All that is to be read has been.
    fn has_arrived(&self) -> bool {
        let Goal::Ends(ends) = &*self.course.goal.borrow() else {
            return false;
        };
        let reached =
            |(reading, end): (&Reading, &Offset)| reading.is_recognised && reading.next >= *end;
        self.changelogs.iter().zip(ends).all(reached)
    }

    fn state(&self) -> ShardState {
        if self.changelogs.iter().any(|reading| !reading.at_end) {
            return ShardState::Restoring {
                records: self.records,
                of: self.of,
            };
        }
        match *self.course.goal.borrow() {
            Goal::Ends(_) => ShardState::CatchingUp,
            Goal::Onward | Goal::Nowhere => ShardState::Standby,
        }
    }

    fn report_change(&mut self) {
        let state = self.state();
        let same = |reported| discriminant(reported) == discriminant(&state);
        if !self.reported.as_ref().is_some_and(same) {
            self.report();
        }
    }

    fn report(&mut self) {
        // It has failed, or is being closed, which others tell.
        if *self.course.goal.borrow() == Goal::Nowhere {
            return;
        }
        let state = self.state();
        self.reported = Some(state.clone());
        let copy = self.changelogs.iter().map(Reading::copy);
        let sum = |sum: Copy, one: Copy| Copy {
            position: Offset(sum.position.0 + one.position.0),
            lag_records: sum.lag_records + one.lag_records,
            is_closed: false,
        };
        self.worker.desk.report(ShardStatus {
            copy: copy.reduce(sum),
            ..ShardStatus::without_work(&self.copy.shard, state)
        });
    }
}

impl Reading {
    /// Takes in the records of `batch`; how many there were.
    fn take(
        &mut self,
        changelog: usize,
        batch: &dyn Batch,
        copy: &mut ShardCopy,
    ) -> Result<u64, ReplicaError> {
        let mut records = 0;
        for index in 0..batch.len() {
            let record = batch.get(index);
            let key = record.key.unwrap_or_default();
            if record.offset >= self.begin {
                copy.replay.record(changelog, key, record.value)?;
                self.next = record.offset.next();
                records += 1;
            } else if !copy.recognises(changelog, key, record.value)? {
                return Err(ReplicaError::ForeignChangelog {
                    partition: self.partition.clone(),
                    position: self.begin,
                });
            }
        }
        Ok(records)
    }

    fn note_end(&mut self, reached: Option<Offset>, records: usize) {
        self.full_pulls = match records {
            BATCH_RECORDS.. => self.full_pulls + 1,
            _ => 0,
        };
        if let Some(reached) = reached {
            self.next = self.next.max(reached);
            self.at_end = true;
        } else if self.full_pulls >= FULL_PULLS {
            self.at_end = false;
        }
    }

    /// To the end that is known.
    fn left_records(&self) -> u64 {
        (self.end.0 - self.next.0).max(0) as u64
    }

    fn copy(&self) -> Copy {
        let lag_records = match self.at_end {
            true => 0,
            false => self.left_records().max(1),
        };
        Copy {
            position: self.next,
            lag_records,
            is_closed: false,
        }
    }
}

/// Compaction leaves the beginning where it is.
fn check_beginning(
    partition: &TopicPartition,
    position: Option<Offset>,
    start: Offset,
) -> Result<(), ReplicaError> {
    if position.is_some() || start <= Offset::default() {
        return Ok(());
    }
    let partition = partition.clone();
    Err(ReplicaError::ChangelogCut { partition, start })
}

#[cfg(test)]
mod tests {
    use tanist_cluster::Partition;

    use super::*;

    #[test]
    fn an_empty_store_is_filled_only_from_the_very_beginning_of_its_changelog() {
        let partition = TopicPartition::new("changelog", Partition(0));
        let answer = |position: Option<i64>, start| {
            let checked = check_beginning(&partition, position.map(Offset), Offset(start));
            checked.map_err(|error| error.to_string()).err()
        };
        assert_eq!(answer(None, 0), None);
        // Another node has the shard in its data directory, from before.
        assert_eq!(answer(Some(4), 2), None);
        let cut = answer(None, 2).unwrap();
        let expected = "changelog changelog[0] begins at offset 2: ";
        assert!(cut.starts_with(expected), "{cut}");
    }
}
