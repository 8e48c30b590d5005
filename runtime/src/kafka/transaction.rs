//! [`Transactions`]: carries out a worker's commits, each as one transaction, on a thread of their own, since every call
//! of a transactional producer blocks.
//!
//! A commit: begin, produce, offsets, wait for the delivery reports, commit, apply to the stores. Whatever goes wrong on
//! the way ends the producer, too: see [`Transactor::run`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::thread;
use std::time::Duration;

use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer as _};
use rdkafka::topic_partition_list::{Offset as Position, TopicPartitionList};
use tanist_actors::port::{Commit, CommitError, LocalPortFuture};
use tanist_cluster::Offset;
use tokio::sync::oneshot;

use super::clock::Deadline;
use super::context::Context;
use super::error::is_fenced;
use super::failures::Failures;
use super::group::Groups;
use super::outgoing::Topics;
use super::raw::{Delivery, Producer};

/// How often an idle producer's events are served.
const IDLE: Duration = Duration::from_millis(500);
/// How long a roll-back may take. If it takes longer, whoever initialises the id next completes it.
const ABORT_LIMIT: Duration = Duration::from_secs(2);
/// How long the reports of refused records are waited for, when the client has said already that something is wrong.
const REPORTS_LIMIT: Duration = Duration::from_millis(200);
/// Between two tries of a call that the client says can be repeated.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// One worker's way to its transaction thread.
pub(super) struct Transactions {
    jobs: SyncSender<Job>,
}

struct Job {
    commit: Commit,
    reply: oneshot::Sender<Result<Commit, CommitError>>,
}

impl Transactions {
    /// Starts the thread. `producer` has been initialised.
    pub(super) fn start(
        producer: Arc<Producer>,
        groups: Groups,
        limit: Duration,
    ) -> std::io::Result<Self> {
        // One commit at a time.
        let (jobs, inbox) = mpsc::sync_channel(1);
        let troubles = producer.client().context().troubles();
        let transactor = Transactor {
            producer,
            topics: Topics::default(),
            groups,
            limit,
            troubles,
        };
        thread::Builder::new()
            .name("tanist-commit".into())
            .spawn(move || transactor.run(&inbox))?;
        Ok(Self { jobs })
    }

    /// Hands `commit` over to the thread.
    pub(super) fn commit(
        &self,
        commit: Commit,
    ) -> LocalPortFuture<'static, Result<Commit, CommitError>> {
        let (reply, answer) = oneshot::channel();
        let handed_over = self.jobs.try_send(Job { commit, reply });
        Box::pin(async move {
            match handed_over {
                Ok(()) => answer.await.unwrap_or_else(|_| {
                    Err(CommitError::Unknown("the transaction thread ended".into()))
                }),
                Err(TrySendError::Full(_)) => {
                    Err(CommitError::Aborted("another commit is under way".into()))
                }
                Err(TrySendError::Disconnected(_)) => Err(CommitError::Aborted(
                    "the transaction thread has ended".into(),
                )),
            }
        })
    }
}

/// What the thread owns.
struct Transactor {
    producer: Arc<Producer>,
    topics: Topics,
    groups: Groups,
    limit: Duration,
    troubles: Arc<AtomicU64>,
}

/// How far a transaction came, and why no further.
struct Failed {
    error: KafkaError,
    /// The broker may have been asked to commit.
    may_be_committed: bool,
    /// What is known of the records.
    failures: Failures,
}

impl From<KafkaError> for Failed {
    fn from(error: KafkaError) -> Self {
        Self {
            error,
            may_be_committed: false,
            failures: Failures::default(),
        }
    }
}

impl Transactor {
    /// One commit after the other, until one fails or leaves a doubt. Then the producer is done with: a request of its
    /// that was sent and not answered may still arrive and end a later transaction, unless a new epoch shuts it out
    /// (KIP-890); and after a refused record librdkafka does not find back into step.
    fn run(mut self, inbox: &Receiver<Job>) {
        let error = loop {
            let job = match inbox.recv_timeout(IDLE) {
                Ok(job) => job,
                Err(RecvTimeoutError::Timeout) => {
                    self.serve_waiting();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            self.serve_waiting();
            let troubles = self.troubles.load(Ordering::Relaxed);
            let outcome = self.commit(job.commit);
            self.serve_waiting();
            let end = match &outcome {
                Err(CommitError::Fenced(reason)) => Some(CommitError::Fenced(reason.clone())),
                Err(error) => Some(given_up(&error.to_string())),
                Ok(_) if self.troubles.load(Ordering::Relaxed) != troubles => Some(given_up(
                    "a connection broke, or a request was not answered",
                )),
                Ok(_) => None,
            };
            // Who does not wait for the answer any more has gone; there is nobody to tell.
            let _ = job.reply.send(outcome);
            if let Some(error) = end {
                break error;
            }
        };
        tracing::debug!(%error, "a transactional producer is done with");
        drop(self);
        for job in inbox {
            let _ = job.reply.send(Err(error.clone()));
        }
    }

    fn commit(&mut self, mut commit: Commit) -> Result<Commit, CommitError> {
        let tracked = commit.tracked();
        let offsets = if commit.records.is_empty() && commit.offsets.is_empty() {
            Vec::new()
        } else {
            let carried_out = self.carry_out(&commit, &tracked);
            carried_out.map_err(|failed| self.give_up(failed, &commit))?
        };
        commit.apply(|record| {
            let index = tracked.binary_search(&record);
            Offset(offsets[index.expect("only the offsets of tracked records are asked for")])
        });
        Ok(commit)
    }

    /// The whole transaction; the offsets of the tracked records.
    fn carry_out(&mut self, commit: &Commit, tracked: &[usize]) -> Result<Vec<i64>, Failed> {
        let deadline = Deadline::after(self.limit);
        self.client().begin_transaction()?;
        let mut reports = Reports::new(commit.records.len(), tracked);
        self.produce(commit)?;
        // While the records are on their way. Their delivery reports wait in the event queue.
        let sent = self.send_offsets(commit, deadline);
        let sent = match sent {
            Ok(()) => self.wait_for(&mut reports, deadline),
            Err(error) => {
                // A refused record may be why.
                let soon = Deadline::after(REPORTS_LIMIT);
                self.wait_for(&mut reports, soon).and(Err(error))
            }
        };
        sent.map_err(|error| Failed {
            failures: std::mem::take(&mut reports.failures),
            ..Failed::from(error)
        })?;
        self.repeat(deadline, |client, limit| client.commit_transaction(limit))
            .map_err(|error| Failed {
                may_be_committed: true,
                ..Failed::from(error)
            })?;
        Ok(reports.offsets)
    }

    fn produce(&mut self, commit: &Commit) -> Result<(), Failed> {
        let topics = self.topics.of(&self.producer, &commit.topics)?;
        for index in 0..commit.records.len() {
            topics.produce(commit, index, index).map_err(|error| {
                let code = error.rdkafka_error_code();
                let failures = code.map(|code| Failures::one(index, code));
                Failed {
                    failures: failures.unwrap_or_default(),
                    ..Failed::from(error)
                }
            })?;
        }
        Ok(())
    }

    fn send_offsets(&mut self, commit: &Commit, deadline: Deadline) -> KafkaResult<()> {
        if commit.offsets.is_empty() {
            return Ok(());
        }
        let mut list = TopicPartitionList::with_capacity(commit.offsets.len());
        for input in &commit.offsets {
            let (topic, number) = (&input.partition.topic, input.partition.partition.0);
            let mut element = list.add_partition(topic, number);
            element.set_offset(Position::Offset(input.offset.0))?;
            element.set_metadata(input.metadata.as_str());
        }
        let group = self.groups.of(&commit.group)?;
        self.repeat(deadline, |client, limit| {
            client.send_offsets_to_transaction(&list, &group, limit)
        })
    }

    /// Until all records are acknowledged, or one is refused.
    fn wait_for(&self, reports: &mut Reports<'_>, deadline: Deadline) -> KafkaResult<()> {
        while reports.missing > 0 && reports.failures.worst.is_none() {
            let served = self
                .producer
                .serve(deadline.remaining(), |delivery| reports.take(&delivery));
            if !served && deadline.has_passed() {
                return Err(KafkaError::MessageProduction(
                    RDKafkaErrorCode::OperationTimedOut,
                ));
            }
        }
        match reports.failures.worst {
            None => Ok(()),
            Some(_) => Err(reports.failures.error()),
        }
    }

    /// Makes a call until it succeeds, fails for good, or time is up.
    fn repeat(
        &self,
        deadline: Deadline,
        call: impl Fn(&BaseProducer<Context>, Duration) -> KafkaResult<()>,
    ) -> KafkaResult<()> {
        loop {
            match call(self.client(), deadline.remaining()) {
                Err(KafkaError::Transaction(error))
                    if error.is_retriable() && !deadline.has_passed() =>
                {
                    thread::sleep(RETRY_PAUSE);
                }
                result => return result,
            }
        }
    }

    /// What is to be told of a failed transaction, after what can be done about it.
    fn give_up(&self, failed: Failed, commit: &Commit) -> CommitError {
        let reason = match self.client().client().fatal_error() {
            Some((_, reason)) => return CommitError::Fenced(reason),
            None => failed.error.to_string(),
        };
        if is_fenced(&failed.error) {
            return CommitError::Fenced(reason);
        }
        let aborted = |reason: String| {
            let refused = failed.failures.refused(commit, reason.clone());
            refused.unwrap_or(CommitError::Aborted(reason))
        };
        match self.abort() {
            Ok(()) => aborted(reason),
            Err(error) if is_fenced(&error) => CommitError::Fenced(error.to_string()),
            // Nobody has asked for a commit, and this producer will not: whoever initialises its id next rolls it back.
            Err(error) if !failed.may_be_committed => aborted(format!(
                "{reason}; and its roll-back was not confirmed: {error}"
            )),
            Err(error) => CommitError::Unknown(format!("{reason}; {error}")),
        }
    }

    fn abort(&self) -> KafkaResult<()> {
        // The call waits until the events of all records have been served, which it does not do by itself.
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    self.producer.serve(RETRY_PAUSE, |_| {});
                }
            });
            let result = self.client().abort_transaction(ABORT_LIMIT);
            done.store(true, Ordering::Relaxed);
            result
        })
    }

    fn serve_waiting(&self) {
        while self.producer.serve(Duration::ZERO, |_| {}) {}
    }

    fn client(&self) -> &BaseProducer<Context> {
        self.producer.client()
    }
}

/// What a transaction that was given after the last one is told.
fn given_up(reason: &str) -> CommitError {
    CommitError::Aborted(format!(
        "the producer was given up after its last transaction: {reason}"
    ))
}

/// What is known of a transaction's records. Their tags are their places in the commit.
struct Reports<'a> {
    missing: usize,
    tracked: &'a [usize],
    /// Of the tracked records.
    offsets: Vec<i64>,
    failures: Failures,
}

impl<'a> Reports<'a> {
    fn new(records: usize, tracked: &'a [usize]) -> Self {
        Self {
            missing: records,
            tracked,
            offsets: vec![-1; tracked.len()],
            failures: Failures::default(),
        }
    }

    fn take(&mut self, delivery: &Delivery) {
        self.missing = self.missing.saturating_sub(1);
        match delivery.result {
            Err(code) => self.failures.add(delivery.tag, code),
            Ok(offset) => match self.tracked.binary_search(&delivery.tag) {
                // Acknowledged as a duplicate: its first answer was lost, and with it the offset.
                Ok(_) if offset < 0 => {
                    let unknown = RDKafkaErrorCode::OperationTimedOut;
                    self.failures.add(delivery.tag, unknown);
                }
                Ok(place) => self.offsets[place] = offset,
                Err(_) => {}
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(tag: usize, result: Result<i64, RDKafkaErrorCode>) -> Delivery {
        Delivery { tag, result }
    }

    #[test]
    fn reports_know_the_offsets_of_tracked_records_and_when_all_are_in() {
        let mut reports = Reports::new(3, &[1]);
        for report in [delivery(0, Ok(5)), delivery(1, Ok(6)), delivery(2, Ok(-1))] {
            assert!(reports.missing > 0);
            reports.take(&report);
        }
        assert_eq!((reports.missing, reports.failures.worst), (0, None));
        assert_eq!(reports.offsets, [6]);
    }

    #[test]
    fn a_position_that_is_not_known_fails_the_commit() {
        let mut reports = Reports::new(1, &[0]);
        reports.take(&delivery(0, Ok(-1001)));
        assert!(reports.failures.worst.is_some());
    }
}
