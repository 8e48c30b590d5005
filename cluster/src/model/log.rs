//! The control log of the model, and what compaction may make of it.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::control::{Entry, Key, Record};
use crate::garbage;
use crate::ids::Offset;
use crate::view::View;

/// A record on its way, or in the log.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) record: Record,
    hash: u64,
}

/// A record in the log, with the view of whoever has read up to it.
#[derive(Debug)]
pub(super) struct Logged {
    pub(super) sent: Arc<Sent>,
    pub(super) view: Arc<View>,
}

impl Sent {
    pub(super) fn new(record: Record) -> Arc<Self> {
        let mut hasher = DefaultHasher::new();
        record.hash(&mut hasher);
        let hash = hasher.finish();
        Arc::new(Self { record, hash })
    }
}

impl Logged {
    pub(super) fn append(log: &mut Vec<Arc<Self>>, sent: Arc<Sent>) {
        let mut view = log
            .last()
            .map(|it| View::clone(&it.view))
            .unwrap_or_default();
        let entry = Entry::Record(sent.record.clone());
        view.apply(view.read_to(), entry).unwrap();
        let view = Arc::new(view);
        log.push(Arc::new(Self { sent, view }));
    }
}

// States are told apart by hashes in any case, and most of a state is the records of its log.
impl PartialEq for Sent {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl Eq for Sent {}

impl Hash for Sent {
    fn hash<H: Hasher>(&self, to: &mut H) {
        self.hash.hash(to);
    }
}

// The view is a function of the records.
impl PartialEq for Logged {
    fn eq(&self, other: &Self) -> bool {
        self.sent == other.sent
    }
}

impl Eq for Logged {}

impl Hash for Logged {
    fn hash<H: Hasher>(&self, to: &mut H) {
        self.sent.hash(to);
    }
}

/// S9: at any point of the log its garbage is cleared away, and all before it compacted. Whoever starts then has the
/// same view as whoever had read everything, there and after each later record.
pub(super) fn folds_alike(log: &[Arc<Logged>]) -> bool {
    (0..log.len()).all(|horizon| {
        let (old, new) = log.split_at(horizon + 1);
        let read = &old[horizon].view;
        let (mut read, garbage) = (View::clone(read), garbage(read));
        let mut started = View::default();
        for (offset, entry) in compacted(old, &garbage) {
            started.apply(offset, entry).unwrap();
        }
        for key in garbage {
            let tombstone = Entry::Tombstone(key);
            read.apply(read.read_to(), tombstone.clone()).unwrap();
            // Some of the tombstones may be left, but then they change nothing.
            started
                .apply(Offset(read.read_to().0 - 1), tombstone)
                .unwrap();
        }
        let same_so_far = read == started;
        same_so_far
            && new.iter().all(|it| {
                let entry = Entry::Record(it.sent.record.clone());
                read.apply(read.read_to(), entry.clone()).unwrap();
                started.apply(started.read_to(), entry).unwrap();
                read == started
            })
    })
}

/// What is left: the last record of each key that is no garbage.
fn compacted(log: &[Arc<Logged>], garbage: &[Key]) -> Vec<(Offset, Entry)> {
    let mut last: BTreeMap<Key, usize> = BTreeMap::new();
    for (at, it) in log.iter().enumerate() {
        last.insert(it.sent.record.key(), at);
    }
    let left = log.iter().enumerate().filter(|(at, it)| {
        let key = it.sent.record.key();
        last[&key] == *at && !garbage.contains(&key)
    });
    left.map(|(at, it)| (Offset(at as i64), Entry::Record(it.sent.record.clone())))
        .collect()
}
