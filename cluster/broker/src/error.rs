//! What the broker refuses, with Kafka's numbers.

use thiserror::Error;

/// Why a call was refused. Each stands for the Kafka error of the same name; [`BrokerError::code`] is its number on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// The offset is before the log's start or behind its end.
    #[error("offset out of range: before the start of the log or behind its end")]
    OffsetOutOfRange,
    /// The bytes are no record batch.
    #[error("corrupt message: the bytes are no valid record batch")]
    CorruptMessage,
    /// No such topic, or it has no such partition.
    #[error("unknown topic or partition")]
    UnknownTopicOrPartition,
    /// This broker does not lead the partition (only as an injected fault).
    #[error("not leader or follower: look the leader up again")]
    NotLeaderOrFollower,
    /// No answer came in time; whether the call took effect is unknown.
    #[error("request timed out: its outcome is unknown")]
    RequestTimedOut,
    /// The batch is larger than the topic's `max.message.bytes`.
    #[error("message too large: larger than the topic's max.message.bytes")]
    MessageTooLarge,
    /// What is noted beside an offset is longer than `offset.metadata.max.bytes`.
    #[error("offset metadata too large: longer than the broker's offset.metadata.max.bytes")]
    OffsetMetadataTooLarge,
    /// The broker is stopped or the connection was cut.
    #[error("network exception: no connection to the broker")]
    NetworkException,
    /// The coordinator is still loading (only as an injected fault).
    #[error("coordinator load in progress: try again")]
    CoordinatorLoadInProgress,
    /// There is no coordinator (only as an injected fault).
    #[error("coordinator not available: try again")]
    CoordinatorNotAvailable,
    /// This broker is not the coordinator (only as an injected fault).
    #[error("not coordinator: look the coordinator up again")]
    NotCoordinator,
    /// The topic's name is not allowed.
    #[error("invalid topic: a name has 1 to 249 of the characters a-z, A-Z, 0-9, '.', '_' and '-'")]
    InvalidTopic,
    /// Too few replicas are in sync (only as an injected fault).
    #[error("not enough replicas")]
    NotEnoughReplicas,
    /// A commit for a generation that the group does not have.
    #[error("illegal generation: the group has no such generation")]
    IllegalGeneration,
    /// A commit by a member that the group does not have.
    #[error("unknown member id: the group has no such member")]
    UnknownMemberId,
    /// The broker does not speak this API or version.
    #[error("unsupported version")]
    UnsupportedVersion,
    /// The topic exists.
    #[error("topic already exists")]
    TopicAlreadyExists,
    /// The number of partitions is not possible.
    #[error("invalid partitions: the count must be positive and may only grow")]
    InvalidPartitions,
    /// More replicas than brokers.
    #[error("invalid replication factor: there is one broker")]
    InvalidReplicationFactor,
    /// A topic setting that does not exist or cannot be read.
    #[error("invalid config: no such topic setting, or not a value of it")]
    InvalidConfig,
    /// The request contradicts itself.
    #[error("invalid request")]
    InvalidRequest,
    /// The cleanup policy of the topic forbids it.
    #[error("policy violation: the topic's cleanup.policy forbids it")]
    PolicyViolation,
    /// A sequence number that does not follow the last one of its producer.
    #[error("out of order sequence: it does not follow the producer's last one")]
    OutOfOrderSequence,
    /// A newer epoch of the producer exists; the answer to those that know no [`BrokerError::ProducerFenced`].
    #[error("invalid producer epoch: a newer producer with the same transactional id exists")]
    InvalidProducerEpoch,
    /// The transaction is not in a state that allows this.
    #[error("invalid transaction state")]
    InvalidTxnState,
    /// The transactional id belongs to another producer id.
    #[error("invalid producer id mapping: the transactional id has another producer id")]
    InvalidProducerIdMapping,
    /// The transaction time-out is not positive or above the broker's maximum.
    #[error("invalid transaction timeout: not positive, or above the broker's maximum")]
    InvalidTransactionTimeout,
    /// The former transaction of this transactional id is still being finished: try again.
    #[error("concurrent transactions: the former one is still being finished, try again")]
    ConcurrentTransactions,
    /// Not done because another part of the same request failed.
    #[error("operation not attempted: another part of the request failed")]
    OperationNotAttempted,
    /// The disk failed (only as an injected fault).
    #[error("kafka storage error")]
    KafkaStorageError,
    /// No such group.
    #[error("group id not found")]
    GroupIdNotFound,
    /// A record that its topic does not accept, such as one without a key on a compacted topic.
    #[error("invalid record: its topic does not accept it")]
    InvalidRecord,
    /// The group has offsets of an open transaction.
    #[error("unstable offset commit: a transaction with offsets of this group is open, try again")]
    UnstableOffsetCommit,
    /// A newer epoch of the producer exists.
    #[error("producer fenced: a newer producer with the same transactional id exists")]
    ProducerFenced,
}

impl BrokerError {
    /// Kafka's number of this error.
    pub fn code(self) -> i16 {
        match self {
            Self::OffsetOutOfRange => 1,
            Self::CorruptMessage => 2,
            Self::UnknownTopicOrPartition => 3,
            Self::NotLeaderOrFollower => 6,
            Self::RequestTimedOut => 7,
            Self::MessageTooLarge => 10,
            Self::OffsetMetadataTooLarge => 12,
            Self::NetworkException => 13,
            Self::CoordinatorLoadInProgress => 14,
            Self::CoordinatorNotAvailable => 15,
            Self::NotCoordinator => 16,
            Self::InvalidTopic => 17,
            Self::NotEnoughReplicas => 19,
            Self::IllegalGeneration => 22,
            Self::UnknownMemberId => 25,
            Self::UnsupportedVersion => 35,
            Self::TopicAlreadyExists => 36,
            Self::InvalidPartitions => 37,
            Self::InvalidReplicationFactor => 38,
            Self::InvalidConfig => 40,
            Self::InvalidRequest => 42,
            Self::PolicyViolation => 44,
            Self::OutOfOrderSequence => 45,
            Self::InvalidProducerEpoch => 47,
            Self::InvalidTxnState => 48,
            Self::InvalidProducerIdMapping => 49,
            Self::InvalidTransactionTimeout => 50,
            Self::ConcurrentTransactions => 51,
            Self::OperationNotAttempted => 55,
            Self::KafkaStorageError => 56,
            Self::GroupIdNotFound => 69,
            Self::InvalidRecord => 87,
            Self::UnstableOffsetCommit => 88,
            Self::ProducerFenced => 90,
        }
    }

    /// Whether a newer producer with the same transactional id has taken over (in either of Kafka's two spellings).
    pub fn is_fenced(self) -> bool {
        matches!(self, Self::InvalidProducerEpoch | Self::ProducerFenced)
    }
}

/// A call to the broker, or why it was refused.
pub type Result<T> = std::result::Result<T, BrokerError>;
