//! [`Record`]: what an agent is given.

use std::cell::OnceCell;
use std::fmt;
use std::ops::Deref;
use std::rc::Rc;

use tanist_cluster::{Millis, Offset, Partition};

use crate::mailbox::Item;

/// Headers of a record: names and values, in order; a name may come more than once, as in Kafka.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, Option<Vec<u8>>)>);

impl Headers {
    /// No headers. Costs nothing.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a header behind the others.
    pub fn push(&mut self, name: impl Into<String>, value: Option<Vec<u8>>) {
        self.0.push((name.into(), value));
    }

    /// The same headers and this one.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.push(name, Some(value.into()));
        self
    }

    /// The value of the last header of this name, as Kafka's `lastHeader`.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0
            .iter()
            .rev()
            .find(|(own, _)| own == name)
            .and_then(|(_, value)| value.as_deref())
    }

    /// All headers, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_deref()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes of all names and values.
    pub fn size_bytes(&self) -> usize {
        let sizes = self.iter();
        sizes
            .map(|(name, value)| name.len() + value.map_or(0, <[u8]>::len))
            .sum()
    }
}

/// The [`Headers`] of a record that was read. They are parsed when they are first looked at: few handlers do, and it
/// would be a tenth of what a small record costs.
#[derive(Clone)]
pub struct RecordHeaders {
    item: Item,
    parsed: OnceCell<Headers>,
}

impl RecordHeaders {
    pub(crate) fn new(item: &Item) -> Self {
        Self {
            item: item.clone(),
            parsed: OnceCell::new(),
        }
    }
}

impl Deref for RecordHeaders {
    type Target = Headers;

    fn deref(&self) -> &Headers {
        self.parsed.get_or_init(|| self.item.headers())
    }
}

impl From<RecordHeaders> for Headers {
    fn from(headers: RecordHeaders) -> Self {
        let RecordHeaders { item, parsed } = headers;
        parsed.into_inner().unwrap_or_else(|| item.headers())
    }
}

impl fmt::Debug for RecordHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// A record of a topic, decoded.
///
/// Holds on to what it was fetched with, some hundred records: what is to be kept for long is its key and value.
#[derive(Clone, Debug)]
pub struct Record<K, V> {
    /// The key.
    pub key: K,
    /// The value.
    pub value: V,
    /// The headers.
    pub headers: RecordHeaders,
    /// The record's timestamp, ms since the epoch: its event time, unless the topic says otherwise.
    pub timestamp: Millis,
    /// The topic that it was read from.
    pub topic: Rc<str>,
    /// The partition that it was read from.
    pub partition: Partition,
    /// Where it stands in that partition.
    pub offset: Offset,
}

impl<K, V> Record<K, V> {
    /// The same record with another key and value.
    pub fn with<K2, V2>(self, key: K2, value: V2) -> Record<K2, V2> {
        Record {
            key,
            value,
            headers: self.headers,
            timestamp: self.timestamp,
            topic: self.topic,
            partition: self.partition,
            offset: self.offset,
        }
    }
}
