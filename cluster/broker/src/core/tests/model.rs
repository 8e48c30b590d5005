//! A model that knows every record's fate, beside the core that it is compared with.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// What may happen. Producers and keys are few, so that they meet.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Plain {
        key: u8,
        deletes: bool,
    },
    Write {
        producer: usize,
        key: u8,
        deletes: bool,
        count: u8,
    },
    Repeat {
        producer: usize,
    },
    SendOffset {
        producer: usize,
        offset: i64,
    },
    End {
        producer: usize,
        commits: bool,
    },
    Fence {
        producer: usize,
    },
    Compact,
    DeleteBefore {
        share: u8,
    },
    Pass {
        seconds: i64,
    },
}

pub(super) const PRODUCERS: usize = 3;
const GROUP: &str = "g";

#[derive(Debug, Clone, PartialEq)]
enum Fate {
    Committed,
    Aborted,
    Open(usize),
}

/// A record as the model remembers it.
#[derive(Debug, Clone)]
struct Known {
    key: String,
    value: Option<String>,
    fate: Fate,
}

/// A key and its value, none if it is deleted.
type KeyValue = (String, Option<String>);

/// A producer as the model remembers it.
#[derive(Debug, Default)]
struct Writer {
    producer: Option<Producer>,
    sequence: i32,
    open: bool,
    /// The last batch of this epoch: its sequence, its records, its offset.
    last: Option<(i32, Vec<KeyValue>, i64)>,
    /// The offset that it has sent, and when.
    offset: Option<(u32, i64)>,
}

pub(super) struct Model {
    fixture: Fixture,
    writers: Vec<Writer>,
    known: BTreeMap<i64, Known>,
    /// What the group committed, and when that was written: the later one wins, whichever transaction ends last.
    committed_offset: Option<(u32, i64)>,
    last_stable: i64,
    written: u32,
    compacts: bool,
}

impl Model {
    pub(super) fn new(compacts: bool) -> Self {
        let config = if compacts {
            TopicConfig {
                cleanup: Cleanup {
                    compact: true,
                    delete: true,
                },
                retention: None,
                ..TopicConfig::default()
            }
        } else {
            TopicConfig {
                retention: None,
                ..TopicConfig::default()
            }
        };
        let writers = (0..PRODUCERS).map(|_| Writer::default()).collect();
        let mut fixture = Fixture::new(config);
        // A producer that was forgotten has to begin anew, which is not the matter here.
        fixture.core.settings.producer_expiration = Millis(i64::MAX);
        Self {
            fixture,
            writers,
            known: BTreeMap::new(),
            committed_offset: None,
            last_stable: 0,
            written: 0,
            compacts,
        }
    }

    fn value(&mut self, deletes: bool) -> Option<String> {
        self.written += 1;
        (!deletes).then(|| self.written.to_string())
    }

    fn note(&mut self, base: i64, records: &[KeyValue], fate: &Fate) {
        for (offset, (key, value)) in (base..).zip(records) {
            let known = Known {
                key: key.clone(),
                value: value.clone(),
                fate: fate.clone(),
            };
            assert!(
                self.known.insert(offset, known).is_none(),
                "offset {offset} was given twice"
            );
        }
    }

    fn settle(&mut self, producer: usize, fate: &Fate) {
        for known in self
            .known
            .values_mut()
            .filter(|known| known.fate == Fate::Open(producer))
        {
            known.fate = fate.clone();
        }
        let writer = &mut self.writers[producer];
        writer.open = false;
        let sent = writer.offset.take();
        if *fate == Fate::Committed {
            self.committed_offset = self.committed_offset.max(sent);
        }
    }

    /// The producer with an open transaction: takes over its id and opens one if need be.
    fn opened(&mut self, index: usize) -> Producer {
        let id = index.to_string();
        let producer = match self.writers[index].producer {
            Some(producer) => producer,
            None => {
                let producer = self.fixture.init(&id).unwrap();
                self.writers[index] = Writer {
                    producer: Some(producer),
                    ..Writer::default()
                };
                producer
            }
        };
        self.fixture.join(&id, producer).unwrap();
        self.fixture
            .core
            .add_group(&id, producer, GROUP, self.fixture.now)
            .unwrap();
        self.writers[index].open = true;
        producer
    }

    pub(super) fn take(&mut self, step: &Step) {
        match *step {
            Step::Plain { key, deletes } => {
                let records = vec![(key.to_string(), self.value(deletes))];
                let base = self.fixture.plain(&borrowed(&records)).unwrap();
                self.note(base, &records, &Fate::Committed);
            }
            Step::Write {
                producer,
                key,
                deletes,
                count,
            } => self.write(producer, key, deletes, count),
            Step::Repeat { producer } => {
                let Writer {
                    producer: Some(stamp),
                    last: Some((sequence, records, base)),
                    ..
                } = &self.writers[producer]
                else {
                    return;
                };
                if self.writers[producer].open {
                    let again = self.fixture.write(*stamp, *sequence, &borrowed(records));
                    assert_eq!(again, Ok(*base), "a repeated batch has its first offset");
                }
            }
            Step::SendOffset { producer, offset } => {
                let stamp = self.opened(producer);
                let committed = Committed {
                    offset,
                    ..Committed::default()
                };
                let partition = TopicPartition::new("t", 0);
                let now = self.fixture.now;
                self.fixture
                    .core
                    .commit_offsets_in_transaction(stamp, GROUP, &partition, committed, now)
                    .unwrap();
                self.written += 1;
                self.writers[producer].offset = Some((self.written, offset));
            }
            Step::End { producer, commits } => {
                if let Some(stamp) = self.writers[producer]
                    .producer
                    .filter(|_| self.writers[producer].open)
                {
                    let outcome = if commits {
                        Outcome::Commit
                    } else {
                        Outcome::Abort
                    };
                    self.fixture
                        .end(&producer.to_string(), stamp, outcome)
                        .unwrap();
                    self.settle(
                        producer,
                        if commits {
                            &Fate::Committed
                        } else {
                            &Fate::Aborted
                        },
                    );
                }
            }
            Step::Fence { producer } => self.fence(producer),
            Step::Compact if self.compacts => self.fixture.compact(),
            Step::Compact => {}
            Step::DeleteBefore { share } => {
                let before = self.fixture.bounds().end * i64::from(share) / 100;
                self.fixture
                    .core
                    .delete_records("t", 0, Some(before))
                    .unwrap();
            }
            Step::Pass { seconds } => {
                // The check for time-outs runs at most once a tick: open ones are all overdue after that long.
                self.fixture.pass(seconds * 1_000);
                for producer in 0..PRODUCERS {
                    let now_state = self
                        .fixture
                        .core
                        .describe_transaction(&producer.to_string());
                    let aborted = TransactionState::Complete {
                        outcome: Outcome::Abort,
                    };
                    if self.writers[producer].open
                        && now_state.is_some_and(|(_, state)| state == aborted)
                    {
                        self.settle(producer, &Fate::Aborted);
                        self.writers[producer].producer = None;
                    }
                }
            }
        }
    }

    fn write(&mut self, producer: usize, key: u8, deletes: bool, count: u8) {
        let stamp = self.opened(producer);
        let records: Vec<_> = (0..count)
            .map(|index| {
                (
                    ((key + index) % 4).to_string(),
                    self.value(deletes && index == 0),
                )
            })
            .collect();
        let sequence = self.writers[producer].sequence;
        let base = self
            .fixture
            .write(stamp, sequence, &borrowed(&records))
            .unwrap();
        self.note(base, &records, &Fate::Open(producer));
        let writer = &mut self.writers[producer];
        writer.sequence += i32::from(count);
        writer.last = Some((sequence, records, base));
    }

    fn fence(&mut self, producer: usize) {
        let id = producer.to_string();
        let old = self.writers[producer].producer;
        let was_open = self.writers[producer].open;
        let mut first = self.fixture.init(&id);
        if was_open {
            assert_eq!(first, Err(BrokerError::ConcurrentTransactions));
            self.settle(producer, &Fate::Aborted);
            first = self.fixture.init(&id);
        }
        self.writers[producer] = Writer {
            producer: Some(first.unwrap()),
            ..Writer::default()
        };
        if let Some(old) = old {
            let refused = self.fixture.write(old, 0, &[("a", Some("fenced"))]);
            assert!(refused.is_err_and(BrokerError::is_fenced), "{refused:?}");
            assert_eq!(
                self.fixture.join(&id, old),
                Err(BrokerError::ProducerFenced)
            );
        }
    }

    /// What read_committed has to see without compaction: everything committed below the first open record.
    fn visible(&self, from: i64) -> BTreeMap<i64, &Known> {
        let open = |(_, known): &(&i64, &Known)| matches!(known.fate, Fate::Open(_));
        let stable = self
            .known
            .iter()
            .find(open)
            .map_or(i64::MAX, |(offset, _)| *offset);
        let committed = self
            .known
            .range(from..)
            .filter(|(offset, known)| **offset < stable && known.fate == Fate::Committed);
        committed.map(|(offset, known)| (*offset, known)).collect()
    }

    pub(super) fn check(&mut self) {
        let bounds = self.fixture.bounds();
        assert!(
            bounds.last_stable >= self.last_stable,
            "the last stable offset went back"
        );
        assert!(bounds.start <= bounds.last_stable && bounds.last_stable <= bounds.end);
        self.last_stable = bounds.last_stable;
        let visible = self.visible(bounds.start);
        let read = self
            .fixture
            .core
            .read("t", 0, bounds.start, usize::MAX, Isolation::ReadCommitted)
            .unwrap();
        assert_eq!(read.next_offset.max(bounds.start), read.next_offset);
        let read: Vec<String> = read.records.iter().map(shown).collect();
        let expected: Vec<String> = visible
            .iter()
            .map(|(offset, known)| known_shown(*offset, known))
            .collect();
        if self.compacts {
            let all: BTreeSet<&String> = expected.iter().collect();
            assert!(
                read.iter().all(|record| all.contains(record)),
                "a record was changed or moved: {read:?}"
            );
            assert!(read.is_sorted_by_key(|record| {
                record
                    .split(' ')
                    .next()
                    .and_then(|offset| offset.parse::<i64>().ok())
            }));
        } else {
            assert_eq!(read, expected);
        }
        assert_eq!(
            table(&read),
            table(&expected),
            "compaction changed the last value of a key"
        );
        for offset in bounds.start..=bounds.end {
            assert_eq!(
                self.by_client(offset, bounds),
                after(&read, offset),
                "as a client reads it from {offset}"
            );
        }
        let committed = self
            .fixture
            .core
            .committed_offset(GROUP, &TopicPartition::new("t", 0), false)
            .unwrap();
        assert_eq!(
            committed.map(|committed| committed.offset),
            self.committed_offset.map(|(_, offset)| offset)
        );
    }

    /// Reads raw batches as Kafka's clients do: with the list of aborted transactions, and markers that end them; in
    /// fetches of any size.
    fn by_client(&self, from: i64, bounds: Bounds) -> Vec<String> {
        let mut seen = Vec::new();
        let mut position = from;
        while position < bounds.last_stable {
            let limit = usize::try_from(position % 3).unwrap() * 100;
            let slice = self
                .fixture
                .core
                .slice("t", 0, position, limit, true, Isolation::ReadCommitted)
                .unwrap();
            let mut pending = slice.aborted.clone();
            pending.sort_by_key(|aborted| aborted.first_offset);
            let mut hidden = BTreeSet::new();
            if slice.batches.is_empty() {
                break;
            }
            for bytes in &slice.batches {
                let set = kafka_protocol::records::RecordBatchDecoder::decode(&mut bytes.clone())
                    .unwrap();
                let first = &set.records[0];
                while pending
                    .first()
                    .is_some_and(|aborted| aborted.first_offset <= first.offset)
                {
                    hidden.insert(pending.remove(0).producer_id);
                }
                if first.control {
                    hidden.remove(&first.producer_id);
                } else if !(first.transactional && hidden.contains(&first.producer_id)) {
                    let records = set
                        .records
                        .iter()
                        .filter(|record| record.offset >= position);
                    seen.extend(
                        records
                            .cloned()
                            .map(|record| shown(&LogRecord::from(record))),
                    );
                }
                position = set.records.last().map_or(position, |last| last.offset + 1);
            }
        }
        seen
    }
}

fn borrowed(records: &[KeyValue]) -> Vec<(&str, Option<&str>)> {
    records
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_deref()))
        .collect()
}

fn known_shown(offset: i64, known: &Known) -> String {
    let value = known
        .value
        .as_ref()
        .map_or(String::new(), |value| format!("={value}"));
    format!("{offset} {}{value}", known.key)
}

/// The records from an offset on.
fn after(read: &[String], from: i64) -> Vec<String> {
    let offset = |record: &str| {
        record
            .split(' ')
            .next()
            .and_then(|offset| offset.parse::<i64>().ok())
    };
    read.iter()
        .filter(|record| offset(record) >= Some(from))
        .cloned()
        .collect()
}

/// The last value of every key that has one.
fn table(read: &[String]) -> BTreeMap<String, String> {
    let mut table = BTreeMap::new();
    for record in read {
        let (_, record) = record.split_once(' ').unwrap();
        match record.split_once('=') {
            Some((key, value)) => table.insert(key.to_owned(), value.to_owned()),
            None => table.remove(record),
        };
    }
    table
}
