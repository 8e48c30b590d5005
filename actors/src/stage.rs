//! [`Stage`]: records that wait for the next commit, in one piece of memory.

use tanist_cluster::{Millis, Partition};

use crate::port::{CommitRecord, Span, TopicId};
use crate::record::Headers;

/// Records to be produced, and their bytes.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    pub(crate) records: Vec<CommitRecord>,
    pub(crate) bytes: Vec<u8>,
}

/// Where a record goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) topic: TopicId,
    pub(crate) partition: Partition,
}

/// What stands beside key and value of an output.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    pub(crate) timestamp: Option<Millis>,
    pub(crate) headers: Option<Box<Headers>>,
}

/// As they stand in a commit, where most records have none.
pub(crate) fn boxed(headers: Headers) -> Option<Box<Headers>> {
    (!headers.is_empty()).then(|| Box::new(headers))
}

impl Stage {
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Adds a changelog record whose key and value `write` appends; it answers where the key ends, and whether there is
    /// a value. Answers how many bytes were written. On an error nothing is added.
    pub(crate) fn changelog_record<E>(
        &mut self,
        target: Target,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(usize, bool), E>,
    ) -> Result<usize, E> {
        let start = self.bytes.len();
        let (key_end, has_value) =
            write(&mut self.bytes).inspect_err(|_| self.bytes.truncate(start))?;
        let end = self.bytes.len();
        self.push(
            target,
            Some(start..key_end),
            has_value.then_some(key_end..end),
            Extras::default(),
        );
        Ok(end - start)
    }

    /// Adds a record whose key and value have been appended to `bytes` already.
    pub(crate) fn push(
        &mut self,
        target: Target,
        key: Option<std::ops::Range<usize>>,
        value: Option<std::ops::Range<usize>>,
        extras: Extras,
    ) {
        self.records.push(CommitRecord {
            topic: target.topic,
            partition: target.partition,
            key: key.map(span),
            value: value.map(span),
            timestamp: extras.timestamp,
            headers: extras.headers,
        });
    }

    /// Takes over all of `other`, which is empty then and keeps its memory.
    pub(crate) fn absorb(&mut self, other: &mut Self) {
        if other.records.is_empty() {
            other.bytes.clear();
            return;
        }
        let base = self.bytes.len() as u32;
        let moved = |span: Span| Span {
            start: span.start + base,
            end: span.end + base,
        };
        self.bytes.append(&mut other.bytes);
        self.records
            .extend(other.records.drain(..).map(|mut record| {
                record.key = record.key.map(moved);
                record.value = record.value.map(moved);
                record
            }));
    }

    pub(crate) fn clear(&mut self) {
        self.records.clear();
        self.bytes.clear();
    }

    /// How much there is: to be taken back to with [`Stage::truncate`].
    pub(crate) fn mark(&self) -> (usize, usize) {
        (self.records.len(), self.bytes.len())
    }

    pub(crate) fn truncate(&mut self, (records, bytes): (usize, usize)) {
        self.records.truncate(records);
        self.bytes.truncate(bytes);
    }
}

/// Whether one stage can hold `bytes` and `more`: spans are 32 bits.
pub(crate) fn fits(bytes: usize, more: usize) -> bool {
    bytes.saturating_add(more) <= u32::MAX as usize
}

/// Wrong in a stage of more than 4 GiB, which is never kept: see [`fits`].
fn span(range: std::ops::Range<usize>) -> Span {
    Span {
        start: range.start as u32,
        end: range.end as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_takes_what_its_spans_can_name() {
        let most = u32::MAX as usize;
        assert!(fits(most - 10, 10) && fits(0, most));
        assert!(!fits(most - 10, 11) && !fits(usize::MAX, 1));
        let whole = span(0..most);
        assert_eq!((whole.start, whole.end as usize), (0, most));
    }
}
