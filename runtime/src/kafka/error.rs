//! What the errors of librdkafka mean here.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use tanist_actors::port::{BrokerError, LogError, TopicPartition};
use tanist_cluster::Offset;

use super::fence::FenceError;

/// Why a try to have something done by a broker failed.
pub(super) struct Failure {
    pub(super) reason: String,
    pub(super) remedy: Remedy,
}

/// What helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// To try again: a broker answered that it is not possible yet.
    Time,
    /// That a broker comes back.
    Contact,
    /// To try again for a while: a broker does not know the topic. Just after its leader has moved, or it was made, one
    /// that is behind the others says so; where it goes on, it was deleted.
    News,
    /// Nothing that we can do.
    None,
}

impl From<KafkaError> for Failure {
    fn from(error: KafkaError) -> Self {
        let remedy = match error.rdkafka_error_code() {
            Some(
                Code::AllBrokersDown
                | Code::BrokerTransportFailure
                | Code::OperationTimedOut
                | Code::Resolve,
            ) => Remedy::Contact,
            Some(Code::UnknownPartition | Code::UnknownTopic | Code::UnknownTopicOrPartition) => {
                Remedy::News
            }
            _ if is_transient(&error) => Remedy::Time,
            _ => Remedy::None,
        };
        let reason = in_words(&error);
        Self { reason, remedy }
    }
}

/// What an error means and what helps, where librdkafka's own words tell neither; these are beside it.
pub(super) fn in_words(error: &KafkaError) -> String {
    let words = match error.rdkafka_error_code() {
        Some(Code::UnknownPartition | Code::UnknownTopic | Code::UnknownTopicOrPartition) => {
            "a topic or partition that it needs does not exist (any more); was it deleted, or the broker's data?"
        }
        Some(
            Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed,
        ) => "the broker does not allow it to this user: grant it, or log in as another",
        Some(Code::InvalidReplicationFactor) => {
            "there are fewer brokers than replicas: start more, or ask for fewer (`Topic::replicas`)"
        }
        Some(Code::LeaderNotAvailable | Code::NotLeaderForPartition) => {
            "a partition has no leader just now"
        }
        Some(Code::OperationTimedOut | Code::RequestTimedOut | Code::MessageTimedOut) => {
            "no broker has answered in time"
        }
        Some(Code::AllBrokersDown | Code::BrokerTransportFailure) => "no broker can be reached",
        _ => return error.to_string(),
    };
    format!("{words} ({error})")
}

impl From<FenceError> for Failure {
    fn from(error: FenceError) -> Self {
        let remedy = match error {
            FenceError::NoAnswer(_) => Remedy::Contact,
            FenceError::TooLate(..) => Remedy::Time,
            FenceError::Refused(..) => Remedy::None,
        };
        let reason = error.to_string();
        Self { reason, remedy }
    }
}

/// True if a repetition may succeed without anybody doing anything but wait.
pub(super) fn is_transient(error: &KafkaError) -> bool {
    if let KafkaError::Transaction(error) = error
        && error.is_retriable()
    {
        return true;
    }
    error.rdkafka_error_code().is_some_and(is_transient_code)
}

pub(super) fn is_transient_code(code: Code) -> bool {
    matches!(
        code,
        Code::AllBrokersDown
            | Code::BrokerNotAvailable
            | Code::BrokerTransportFailure
            | Code::ConcurrentTransactions
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            // Whom it asked is not one of the brokers any more.
            | Code::DestroyBroker
            | Code::FencedLeaderEpoch
            | Code::InProgress
            | Code::KafkaStorageError
            | Code::LeaderNotAvailable
            | Code::MessageTimedOut
            | Code::NetworkException
            | Code::NotController
            | Code::NotCoordinator
            | Code::NotEnoughReplicas
            | Code::NotEnoughReplicasAfterAppend
            | Code::NotLeaderForPartition
            | Code::OffsetNotAvailable
            | Code::OperationTimedOut
            | Code::PreviousInProgress
            | Code::ReplicaNotAvailable
            | Code::RequestTimedOut
            | Code::Resolve
            | Code::UnknownLeaderEpoch
            | Code::UnstableOffsetCommit
            | Code::WaitingForCoordinator
    )
}

/// True if a record was refused, and will be whenever it comes again.
pub(super) fn is_refusal(code: Code) -> bool {
    is_too_large(code)
        || matches!(
            code,
            Code::InvalidRecord
                | Code::InvalidTimestamp
                | Code::PolicyViolation
                | Code::TopicAuthorizationFailed
        )
}

/// True if that was for the size of the record.
pub(super) fn is_too_large(code: Code) -> bool {
    matches!(code, Code::MessageSizeTooLarge | Code::MessageBatchTooLarge)
}

/// True if the producer that got it has been fenced. Fatal is every error after which a producer may write no more,
/// which for a transactional one means the same.
pub(super) fn is_fenced(error: &KafkaError) -> bool {
    if let KafkaError::Transaction(error) = error
        && error.is_fatal()
    {
        return true;
    }
    error.rdkafka_error_code().is_some_and(is_fenced_code)
}

pub(super) fn is_fenced_code(code: Code) -> bool {
    matches!(
        code,
        Code::Fatal | Code::Fenced | Code::InvalidProducerEpoch | Code::ProducerFenced
    )
}

/// What an error on the queue of a partition means; `None` if the client mends it by itself.
pub(super) fn of_partition(
    partition: &TopicPartition,
    code: Code,
    offset: Offset,
    reason: &str,
) -> Option<LogError> {
    match code {
        code if is_transient_code(code) => None,
        Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::LogTruncation => {
            Some(LogError::OutOfRange {
                partition: partition.clone(),
                offset,
            })
        }
        Code::UnknownPartition | Code::UnknownTopic | Code::UnknownTopicOrPartition => {
            Some(LogError::UnknownPartition(partition.clone()))
        }
        _ => Some(LogError::Broken {
            partition: partition.clone(),
            reason: reason.to_owned(),
        }),
    }
}

/// The error of a call that failed although a broker answered, or would have failed with any.
pub(super) fn refused(what: &str, reason: impl ToString) -> BrokerError {
    BrokerError::Refused {
        what: what.to_owned(),
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tanist_cluster::Partition;

    #[test]
    fn an_error_of_a_partition_is_an_end_a_mistake_or_nothing() {
        let partition = TopicPartition::new("orders", Partition(3));
        let check = |code, expect: &str| {
            let error = of_partition(&partition, code, Offset(7), "because");
            let text = error.map_or("nothing".to_owned(), |error| error.to_string());
            assert!(text.contains(expect), "{code}: {text}");
        };
        check(Code::BrokerTransportFailure, "nothing");
        check(Code::NotLeaderForPartition, "nothing");
        check(
            Code::AutoOffsetReset,
            "orders[3]: offset 7 is not in the log any more",
        );
        check(Code::LogTruncation, "offset 7");
        check(Code::UnknownTopicOrPartition, "orders[3] does not exist");
        check(Code::TopicAuthorizationFailed, "orders[3]: because");
    }

    #[test]
    fn what_a_change_of_leader_brings_about_is_tried_again_and_a_refusal_is_not() {
        for (code, remedy) in [
            (Code::NotLeaderForPartition, Remedy::Time),
            (Code::OffsetNotAvailable, Remedy::Time),
            (Code::FencedLeaderEpoch, Remedy::Time),
            (Code::UnknownLeaderEpoch, Remedy::Time),
            (Code::MessageTimedOut, Remedy::Time),
            (Code::UnknownTopicOrPartition, Remedy::News),
            (Code::UnknownPartition, Remedy::News),
            (Code::BrokerTransportFailure, Remedy::Contact),
            (Code::MessageSizeTooLarge, Remedy::None),
            (Code::TopicAuthorizationFailed, Remedy::None),
        ] {
            let failure = Failure::from(KafkaError::OffsetFetch(code));
            assert_eq!(failure.remedy, remedy, "{code}");
        }
    }

    #[test]
    fn what_users_may_see_is_in_words_before_the_name_of_the_error() {
        for (code, words) in [
            (Code::UnknownPartition, "does not exist (any more)"),
            (Code::TopicAuthorizationFailed, "does not allow it"),
            (Code::OperationTimedOut, "has answered in time"),
            (Code::AllBrokersDown, "no broker can be reached"),
        ] {
            let failure = Failure::from(KafkaError::MetadataFetch(code));
            let (before, _) = failure.reason.split_once(" (Meta data").unwrap_or_default();
            assert!(before.contains(words), "{}", failure.reason);
        }
    }

    #[test]
    fn fenced_is_what_a_successor_causes_and_not_what_the_network_does() {
        for code in [
            Code::ProducerFenced,
            Code::InvalidProducerEpoch,
            Code::Fenced,
        ] {
            assert!(is_fenced(&KafkaError::MessageProduction(code)), "{code}");
        }
        for code in [Code::OperationTimedOut, Code::ConcurrentTransactions] {
            assert!(!is_fenced(&KafkaError::MessageProduction(code)), "{code}");
            assert!(is_transient(&KafkaError::MessageProduction(code)), "{code}");
        }
    }
}
