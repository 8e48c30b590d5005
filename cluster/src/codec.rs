//! The control log's records as bytes: keys are text, values JSON, so that Kafka's own tools can show them.

use std::fmt;
use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::control::{Entry, Key, Record};
use crate::ids::{Epoch, Generation, MemberId, Partition};

/// The newest format that this build reads. It is raised for every kind of record that is new and for every change of one that
/// a build of before would not read: so all who read a format agree on what is foreign to it.
pub const FORMAT: u32 = 2;
/// The first format, in which all is written that could be read from the beginning.
pub(crate) const FIRST: u32 = 1;

/// Why a record of the control log, or a heartbeat, cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// A newer build wrote it.
    #[error(
        "there is a record of format {found} at key {key}, this build reads up to {FORMAT}: \
         upgrade this node to the build that the others run"
    )]
    NewerFormat {
        /// The record's key.
        key: String,
        /// Its format.
        found: u32,
    },
    /// Not written by any build of ours: whatever changes what is written raises [`FORMAT`].
    #[error("there is a record at key {key} that no node has written ({cause})")]
    Foreign {
        /// The record's key.
        key: String,
        /// What is wrong with it.
        cause: String,
    },
}

#[derive(Serialize)]
struct Written<'a, T> {
    format: u32,
    record: &'a T,
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

#[derive(Deserialize)]
struct Read<T> {
    record: T,
}

pub(crate) fn to_json<T: Serialize>(record: &T) -> Vec<u8> {
    write(FIRST, record)
}

fn write<T: Serialize>(format: u32, record: &T) -> Vec<u8> {
    let written = Written { format, record };
    serde_json::to_vec(&written).expect("a record has only keys that are text or numbers")
}

pub(crate) fn from_json<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, DecodeError> {
    let foreign = |error: serde_json::Error| DecodeError::Foreign {
        key: key.to_owned(),
        cause: error.to_string(),
    };
    // The format alone first: what comes with a newer one need not look like anything we know.
    let Format { format: found } = serde_json::from_slice(value).map_err(foreign)?;
    if found > FORMAT {
        let key = key.to_owned();
        return Err(DecodeError::NewerFormat { key, found });
    }
    let Read { record } = serde_json::from_slice(value).map_err(foreign)?;
    Ok(record)
}

impl Record {
    /// The format that it is written in; whoever reads only older ones ends when it is there, so ask
    /// [`View::all_read`](crate::view::View::all_read) before.
    #[must_use]
    pub fn format(&self) -> u32 {
        match self {
            Self::Begun(_) => 2,
            _ => FIRST,
        }
    }

    /// The value to be written under [`Record::key`].
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        write(self.format(), self)
    }
}

impl Entry {
    /// Reads a record of the control log; no value is a tombstone.
    ///
    /// A tombstone of a kind of key that this build does not know is `None`: there is nothing to forget.
    ///
    /// # Errors
    /// [`DecodeError::NewerFormat`]: the reader must stop, since a view without it would differ from the views of
    /// others (S9). [`DecodeError::Foreign`]: the reader leaves it out, as all others do.
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<Self>, DecodeError> {
        let text = String::from_utf8_lossy(key);
        let Some(value) = value else {
            return Ok(text.parse().ok().map(Self::Tombstone));
        };
        let record: Record = from_json(&text, value)?;
        if record.key().to_string() != text {
            return Err(DecodeError::Foreign {
                cause: format!("its value belongs to {}", record.key()),
                key: text.into_owned(),
            });
        }
        Ok(Some(Self::Record(record)))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(incarnation) => write!(f, "member/{incarnation}"),
            Self::Armed(member, generation) => write!(f, "armed/{member}/{generation}"),
            Self::Plan(epoch, author) => write!(f, "plan/{epoch}/{author}"),
            Self::Released(epoch, member, shard) => write!(f, "released/{epoch}/{member}/{shard}"),
            Self::Begun(topic, partition) => write!(f, "begun/{topic}/{partition}"),
        }
    }
}

/// A text that is no key of the control log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a key of the control log")]
pub struct NotAKey;

impl FromStr for Key {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        fn number<T: FromStr>(text: &str) -> Result<T, NotAKey> {
            text.parse().map_err(|_| NotAKey)
        }
        let (kind, rest) = text.split_once('/').ok_or(NotAKey)?;
        let mut parts = rest.splitn(if kind == "released" { 3 } else { 2 }, '/');
        let mut next = || parts.next().ok_or(NotAKey);
        match kind {
            "member" => Ok(Self::Member(number(rest)?)),
            "armed" => Ok(Self::Armed(
                MemberId(number(next()?)?),
                Generation(number(next()?)?),
            )),
            "plan" => Ok(Self::Plan(
                Epoch(number(next()?)?),
                MemberId(number(next()?)?),
            )),
            "released" => Ok(Self::Released(
                Epoch(number(next()?)?),
                MemberId(number(next()?)?),
                number(next()?)?,
            )),
            "begun" => Ok(Self::Begun(next()?.into(), Partition(number(next()?)?))),
            _ => Err(NotAKey),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Armed, Begun, Leave, Released};
    use crate::ids::ShardId;
    use crate::testing;

    fn examples() -> Vec<Record> {
        let join = testing::join("n1");
        vec![
            Record::Leave(Leave {
                member: MemberId(3),
                incarnation: join.incarnation,
                reason: "stopped by its operator".into(),
            }),
            Record::Join(join),
            Record::Armed(Armed {
                member: MemberId(3),
                generation: Generation(2),
            }),
            Record::Plan(testing::some_plan()),
            Record::Released(Released {
                epoch: Epoch(7),
                member: MemberId(3),
                shard: ShardId::new("by/account", 12),
            }),
            Record::Begun(Begun {
                topic: "orders".into(),
                partition: Partition(12),
                id: Some("aHkN3".into()),
            }),
        ]
    }

    #[test]
    fn what_is_written_is_read() {
        for record in examples() {
            let key = record.key().to_string();
            let read = Entry::decode(key.as_bytes(), Some(&record.encode())).unwrap();
            assert_eq!(read, Some(Entry::Record(record.clone())), "{key}");
            let tombstone = Entry::decode(key.as_bytes(), None).unwrap();
            assert_eq!(tombstone, Some(Entry::Tombstone(record.key())), "{key}");
        }
    }

    #[test]
    fn a_join_of_before_it_said_so_reads_the_first_format() {
        let old = br#"{"format":1,"record":{"join":{"node":"n1","incarnation":"00000000-0000-0000-0000-000000006e31",
            "workers":2,"topology":{"groups":{}},"build":"0.1.0","weight":100,"joined_at":0}}}"#;
        let key = b"member/00000000-0000-0000-0000-000000006e31";
        let Ok(Some(Entry::Record(Record::Join(join)))) = Entry::decode(key, Some(old)) else {
            panic!("it is a join");
        };
        assert_eq!(
            (join.reads_format, testing::join("n1").reads_format),
            (1, 2)
        );
    }

    #[test]
    fn a_newer_format_asks_for_an_upgrade() {
        let newer = br#"{"format":3,"record":{"decree":{}},"more":[]}"#;
        let error = Entry::decode(b"decree/1", Some(newer)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is a record of format 3 at key decree/1, this build reads up to 2: \
             upgrade this node to the build that the others run"
        );
    }

    #[test]
    fn what_is_not_ours_is_foreign_and_named() {
        let armed = examples().swap_remove(2);
        for (key, value, cause) in [
            ("x", &b"hello"[..], "expected value"),
            (
                "x",
                br#"{"format":1,"record":{"decree":{}}}"#,
                "unknown variant `decree`",
            ),
            (
                "armed/4/2",
                &armed.encode(),
                "its value belongs to armed/3/2",
            ),
        ] {
            let error = Entry::decode(key.as_bytes(), Some(value)).unwrap_err();
            assert!(matches!(error, DecodeError::Foreign { .. }), "{error}");
            let error = error.to_string();
            assert!(error.contains(cause) && error.contains(key), "{error}");
        }
        assert_eq!(Entry::decode(b"decree/1", None).unwrap(), None);
    }
}
