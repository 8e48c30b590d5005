//! [`Transactions`]: carries out commits, one request after the other, as a Kafka client does.

use tanist_actors::port::{Commit, CommitError, OffsetCommit};
use tanist_broker::{
    BrokerError as Refusal, BrokerPort, Committed, Millis, Outcome, Producer as Identity,
    TopicPartition,
};
use tanist_cluster::{Offset, TransactionalId};

use super::batches::{Batches, batches_of};
use super::producer::{NotSent, Producer};
use super::wire::{Wire, is_silence};

/// The transactional producer of a worker. Its process dead in the middle of a commit, it leaves an open transaction behind.
pub(super) struct Transactions {
    id: TransactionalId,
    producer: Producer,
}

impl Transactions {
    /// Takes over `id`.
    pub(super) async fn start(wire: &Wire, id: &TransactionalId) -> Result<Self, Refusal> {
        Ok(Self {
            id: id.clone(),
            producer: Producer::start(wire, Some(id.as_str())).await?,
        })
    }

    /// Carries out `commit` and returns the offsets of its records. After an error nothing more may be asked of it.
    pub(super) async fn carry_out(&mut self, commit: &Commit) -> Result<Vec<Offset>, CommitError> {
        if commit.records.is_empty() && commit.offsets.is_empty() {
            return Ok(Vec::new());
        }
        let batches = batches_of(commit, self.producer.wire.now());
        let offsets = match self.fill(commit, &batches).await {
            Ok(offsets) => offsets,
            Err(not_sent) => {
                let aborted = self.abort(not_sent.refusal).await;
                return Err(match aborted {
                    CommitError::Aborted(_) => not_sent.refused(commit).unwrap_or(aborted),
                    fenced => fenced,
                });
            }
        };
        match self.end(Outcome::Commit).await {
            Ok(()) => Ok(offsets),
            Err(refusal) if is_silence(refusal) => Err(CommitError::Unknown(refusal.to_string())),
            Err(refusal) => Err(self.abort(refusal).await),
        }
    }

    /// Brings records and offsets into the transaction.
    async fn fill(&mut self, commit: &Commit, batches: &Batches) -> Result<Vec<Offset>, NotSent> {
        let mut offsets = vec![Offset(0); commit.records.len()];
        if !batches.is_empty() {
            let partitions: Vec<TopicPartition> = batches.keys().cloned().collect();
            let (id, producer) = (self.id.as_str(), self.identity());
            self.ask(|port, now| port.add_partitions(id, producer, &partitions, now))
                .await?;
            for (index, offset) in self.producer.send(batches).await? {
                offsets[index] = offset;
            }
        }
        if !commit.offsets.is_empty() {
            let committed: Vec<_> = commit.offsets.iter().map(committed).collect();
            let (id, producer) = (self.id.as_str(), self.identity());
            self.ask(|port, now| port.add_offsets(id, producer, &commit.group, now))
                .await?;
            self.ask(|port, now| {
                port.commit_offsets_in_transaction(producer, &commit.group, &committed, now)
            })
            .await?;
        }
        Ok(offsets)
    }

    fn identity(&self) -> Identity {
        self.producer.identity
    }

    async fn ask(
        &self,
        call: impl Fn(&BrokerPort, Millis) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let pause = |refusal| self.producer.pause_after(refusal);
        self.producer.wire.repeat(call, pause).await
    }

    /// Whether no other transaction may follow, see [`Producer`].
    pub(super) fn is_doubted(&self) -> bool {
        self.producer.is_doubted()
    }

    /// Ends the transaction. What is not answered is sometimes asked again and sometimes given up, so that a worker meets
    /// both things that it meets with Kafka's client: a doubt about the outcome, and about the producer alone.
    async fn end(&self, outcome: Outcome) -> Result<(), Refusal> {
        let (id, producer) = (self.id.as_str(), self.identity());
        let end = |port: &BrokerPort, now| port.end_transaction(id, producer, outcome, now);
        let goes_on = |refusal| !is_silence(refusal) || self.producer.wire.chance(2) == 0;
        let pause = |refusal| {
            self.producer
                .pause_after(refusal)
                .filter(|_| goes_on(refusal))
        };
        self.producer.wire.repeat(end, pause).await
    }

    /// Rolls back after `cause`. If even that gets no answer: nothing has asked the broker to commit, so the open transaction
    /// is rolled back by the next producer of this id, or after its time-out.
    async fn abort(&self, cause: Refusal) -> CommitError {
        match self.end(Outcome::Abort).await {
            Err(refusal) if refusal.is_fenced() => failed(refusal),
            _ => failed(cause),
        }
    }
}

fn committed(offset: &OffsetCommit) -> (TopicPartition, Committed) {
    let partition = TopicPartition::new(&*offset.partition.topic, offset.partition.partition.0);
    let committed = Committed {
        offset: offset.offset.0,
        leader_epoch: None,
        metadata: Some(offset.metadata.clone()),
    };
    (partition, committed)
}

fn failed(refusal: Refusal) -> CommitError {
    // An id that was taken over so often that its epochs were used up has another producer id.
    if refusal.is_fenced() || refusal == Refusal::InvalidProducerIdMapping {
        CommitError::Fenced(refusal.to_string())
    } else {
        CommitError::Aborted(refusal.to_string())
    }
}
