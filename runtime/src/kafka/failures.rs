//! [`Failures`]: which records of those that were sent together failed, and the worst reason.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tanist_actors::port::{Commit, CommitError};

use super::error::{is_fenced_code, is_refusal, is_too_large};

/// See the module. That a producer has been fenced, or which record of a batch was refused, is told with one record only;
/// the others are said to be purged, or to have been beside it. So what is worst counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Failures {
    pub(super) worst: Option<RDKafkaErrorCode>,
    /// The records that bear that code, by their places.
    records: Vec<usize>,
}

impl Failures {
    pub(super) fn one(record: usize, code: RDKafkaErrorCode) -> Self {
        Self {
            worst: Some(code),
            records: vec![record],
        }
    }

    pub(super) fn add(&mut self, record: usize, code: RDKafkaErrorCode) {
        let rank = |code| (is_fenced_code(code), is_refusal(code));
        if self.worst.is_none_or(|worst| rank(worst) < rank(code)) {
            self.worst = Some(code);
            self.records.clear();
        }
        if self.worst == Some(code) {
            self.records.push(record);
        }
    }

    /// As an error of the client.
    pub(super) fn error(&self) -> KafkaError {
        let code = self.worst.unwrap_or(RDKafkaErrorCode::OperationTimedOut);
        KafkaError::MessageProduction(code)
    }

    /// What is to be told of `commit`, if one of its records was refused for good.
    pub(super) fn refused(&self, commit: &Commit, reason: String) -> Option<CommitError> {
        let code = self.worst.filter(|code| is_refusal(*code))?;
        Some(commit.refused(&self.records, is_too_large(code), reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failures(codes: &[RDKafkaErrorCode]) -> Failures {
        let mut failures = Failures::default();
        for (record, code) in codes.iter().enumerate() {
            failures.add(record, *code);
        }
        failures
    }

    #[test]
    fn the_record_that_was_refused_is_told_from_those_beside_it() {
        let failures = failures(&[
            RDKafkaErrorCode::InvalidDifferentRecord,
            RDKafkaErrorCode::InvalidRecord,
            RDKafkaErrorCode::InvalidDifferentRecord,
            RDKafkaErrorCode::InvalidRecord,
        ]);
        assert_eq!(failures.worst, Some(RDKafkaErrorCode::InvalidRecord));
        assert_eq!(failures.records, [1, 3]);
    }

    #[test]
    fn a_fence_is_not_hidden_by_the_records_that_were_purged_for_it() {
        let failures = failures(&[
            RDKafkaErrorCode::PurgeQueue,
            RDKafkaErrorCode::InvalidProducerEpoch,
            RDKafkaErrorCode::PurgeQueue,
        ]);
        assert_eq!(failures.worst, Some(RDKafkaErrorCode::InvalidProducerEpoch));
        assert_eq!(failures.records, [1]);
    }
}
