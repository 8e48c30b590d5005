//! [`Reader`]: what a partition holds, read by the port that agents read by.

use std::sync::Arc;
use std::time::Duration;

use tanist_actors::port::{Broker, LogError, Pulled, Source, TopicPartition};
use tanist_actors::record::Headers;
use tanist_cluster::{Millis, Offset};
use tokio::sync::Notify;

/// Longer than anything takes.
const LONG: Duration = Duration::from_secs(20);

/// A record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Where it is.
    pub offset: Offset,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its timestamp.
    pub timestamp: Millis,
    /// Its headers.
    pub headers: Headers,
}

impl Row {
    /// The value as text.
    pub fn text(&self) -> &str {
        let value = self.value.as_deref().expect("the record has a value");
        std::str::from_utf8(value).expect("the value is text")
    }
}

/// The values as text.
pub fn texts(rows: &[Row]) -> Vec<&str> {
    rows.iter().map(Row::text).collect()
}

/// A source and what wakes its reader.
pub struct Reader<S: ?Sized = dyn Source + Send> {
    ready: Arc<Notify>,
    /// What the source has last said to have reached, since it was opened or sought.
    reached: Option<Offset>,
    source: Box<S>,
}

impl Reader {
    /// Reads a partition from this offset on, with what belongs to a node.
    pub fn open(broker: &dyn Broker, partition: &TopicPartition, from: Offset) -> Self {
        let ready = Arc::new(Notify::new());
        let source = broker.open(partition, from, ready.clone());
        Self::new(source.expect("a partition can be opened"), ready)
    }
}

impl<S: Source + ?Sized> Reader<S> {
    /// Of a source that tells `ready` when there is more.
    pub fn new(source: Box<S>, ready: Arc<Notify>) -> Self {
        Self {
            ready,
            reached: None,
            source,
        }
    }

    /// What the source has next; waits for it.
    pub async fn next(&mut self, max_records: usize) -> Result<Pulled, LogError> {
        loop {
            let pulled = self.source.pull(max_records)?;
            self.reached = pulled.reached.or(self.reached);
            if pulled.batch.is_some() || pulled.reached.is_some() {
                return Ok(pulled);
            }
            let ready = tokio::time::timeout(LONG, self.ready.notified());
            ready.await.expect("a reader is woken when there is more");
        }
    }

    /// Reads until the source says that it has reached `end` or more.
    pub async fn until(&mut self, end: Offset) -> Vec<Row> {
        let mut rows = Vec::new();
        while self.reached.is_none_or(|reached| reached < end) {
            let pulled = self.next(100).await.expect("the partition can be read");
            rows.extend(rows_of(&pulled));
        }
        rows
    }

    /// Reads `count` records.
    pub async fn take(&mut self, count: usize) -> Vec<Row> {
        let mut rows = Vec::new();
        while rows.len() < count {
            let pulled = self.next(count - rows.len()).await;
            rows.extend(rows_of(&pulled.expect("the partition can be read")));
        }
        rows
    }

    /// Why the partition cannot be read.
    pub async fn failure(&mut self) -> LogError {
        loop {
            if let Err(error) = self.next(100).await {
                return error;
            }
        }
    }

    /// Goes on elsewhere.
    pub fn seek(&mut self, to: i64) {
        self.reached = None;
        let sought = self.source.seek(Offset(to));
        sought.expect("a seek is taken");
    }
}

/// The records that were handed out.
pub fn rows_of(pulled: &Pulled) -> Vec<Row> {
    let Some(batch) = &pulled.batch else {
        return Vec::new();
    };
    assert!(!batch.is_empty(), "no batch without records");
    let row = |index| {
        let record = batch.get(index);
        Row {
            offset: record.offset,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            timestamp: record.timestamp,
            headers: batch.headers(index),
        }
    };
    (0..batch.len()).map(row).collect()
}
