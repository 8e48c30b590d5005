//! [`KafkaSource`]: the records of one partition, in batches.

use rdkafka::error::RDKafkaErrorCode;
use tanist_actors::port::{Batch, LogError, Pulled, RawRecord, Source};
use tanist_actors::record::Headers;
use tanist_cluster::{Millis, Offset};

use super::consumer::Lease;
use super::error::of_partition;
use super::raw::{Message, Messages, PartitionQueue};

/// Reads one partition.
pub(super) struct KafkaSource {
    /// Before the lease, so that it is gone before the partition can be opened again: the two would share it.
    queue: PartitionQueue,
    lease: Lease,
    /// Why nothing comes any more, until it is sought elsewhere.
    failed: Option<LogError>,
}

impl KafkaSource {
    pub(super) fn new(queue: PartitionQueue, lease: Lease) -> Self {
        // The queue may hold what is left of an earlier reading, which nobody is to see: it is no longer empty when the
        // first record comes, so nobody is notified of that. A first pull clears it.
        queue.ready().notify_one();
        Self {
            queue,
            lease,
            failed: None,
        }
    }

    /// Takes ends and errors out of `messages`; the last end among them.
    fn sort_out(&mut self, messages: &mut Messages) -> Option<Offset> {
        let mut reached = None;
        messages.retain(|message| {
            match message.error() {
                None => return true,
                Some(RDKafkaErrorCode::PartitionEOF) => reached = Some(Offset(message.offset())),
                Some(code) => self.fail(code, message),
            }
            false
        });
        reached
    }

    fn fail(&mut self, code: RDKafkaErrorCode, message: &Message) {
        let reason = message.reason();
        let error = of_partition(
            self.lease.partition(),
            code,
            Offset(message.offset()),
            &reason,
        );
        match error {
            Some(error) => self.failed = self.failed.take().or(Some(error)),
            None => tracing::debug!(partition = %self.lease.partition(), %code, "{reason}"),
        }
    }
}

impl Source for KafkaSource {
    fn pull(&mut self, max_records: usize) -> Result<Pulled, LogError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if self.lease.is_gone() {
            let partition = self.lease.partition().clone();
            return Err(LogError::UnknownPartition(partition));
        }
        let mut messages = self.queue.take(max_records);
        let taken = messages.as_slice().len();
        let all_records = messages
            .as_slice()
            .iter()
            .all(|message| message.error().is_none());
        let reached = if all_records {
            None
        } else {
            self.sort_out(&mut messages)
        };
        let records = messages.as_slice().len();
        // Fewer than were asked for, though the queue was perhaps not emptied: it will not notify by itself.
        if records < max_records && taken == max_records {
            self.queue.ready().notify_one();
        }
        if records == 0 {
            if let Some(error) = &self.failed {
                return Err(error.clone());
            }
            return Ok(Pulled {
                batch: None,
                reached,
            });
        }
        // An error that came behind them is for the next pull.
        if self.failed.is_some() {
            self.queue.ready().notify_one();
        }
        Ok(Pulled {
            batch: Some(Box::new(KafkaBatch(messages))),
            reached,
        })
    }

    fn seek(&mut self, to: Offset) -> Result<(), LogError> {
        self.lease.seek(to)?;
        self.failed = None;
        // As in `new`.
        self.queue.ready().notify_one();
        Ok(())
    }
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        self.lease.unassign();
        // What has been read ahead is out of date now: this gives it back.
        self.queue.take(1);
    }
}

/// Records, in the memory that they were fetched into.
struct KafkaBatch(Messages);

impl Batch for KafkaBatch {
    fn len(&self) -> usize {
        self.0.as_slice().len()
    }

    #[inline]
    fn get(&self, index: usize) -> RawRecord<'_> {
        let message = &self.0.as_slice()[index];
        RawRecord {
            key: message.key(),
            value: message.value(),
            timestamp: Millis(message.timestamp()),
            offset: Offset(message.offset()),
        }
    }

    fn headers(&self, index: usize) -> Headers {
        self.0.as_slice()[index].headers()
    }

    #[inline]
    fn offset(&self, index: usize) -> Offset {
        Offset(self.0.as_slice()[index].offset())
    }
}
