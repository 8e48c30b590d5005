//! A history of a store that can be computed again: what is done at each position follows from a seed.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::Bound;
use std::process::{Child, Command, Stdio};

use tanist_actors::port::{Changes, KeyRange, Order, Page, Store, StoreError};

/// Under this key each batch writes its number, as a shard writes its position.
const POSITION: &[u8] = b"\0";

/// A seed to begin with: the one in `TANIST_SEED`, else any.
pub(super) fn any_seed() -> u64 {
    let given = std::env::var("TANIST_SEED").ok();
    given.map_or_else(
        || RandomState::new().hash_one(0),
        |seed| seed.parse().expect("TANIST_SEED is a number"),
    )
}

/// SplitMix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

#[derive(Clone, Copy)]
pub(super) struct Workload {
    pub(super) seed: u64,
    /// How many different keys are written.
    pub(super) keys: u64,
    /// Values have up to this length, and cannot be compressed.
    pub(super) value_bytes: u64,
}

impl Workload {
    /// The changes that lead from `position` to the next.
    pub(super) fn changes(&self, position: u64) -> Changes {
        let mut random = Random(self.seed ^ position.wrapping_mul(0xd134_2543_de82_ef95));
        let writes = if random.below(500) == 0 { 2_000 } else { 40 };
        let mut changes = Changes::default();
        for _ in 0..1 + random.below(writes) {
            let key = format!("{:05}", random.below(self.keys));
            if random.below(4) == 0 {
                changes.delete(b"table", key.as_bytes());
            } else {
                let length = random.below(self.value_bytes + 1);
                let value: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
                changes.put(b"table", key.as_bytes(), &value);
            }
        }
        changes.put(POSITION, &[], &(position + 1).to_le_bytes());
        changes
    }
}

/// Puts `changes` into `store`, in the way of commits or, of some, in that of restores.
pub(super) fn put(store: &dyn Store, changes: &Changes) -> Result<(), StoreError> {
    match changes.len() % 16 {
        0 => store.fill(changes),
        _ => store.apply(changes),
    }
}

/// The position that `store` has reached.
pub(super) fn position(store: &dyn Store) -> u64 {
    let bytes = store.get(POSITION).unwrap();
    bytes.map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()))
}

/// What a store of a [`Workload`] holds at a position.
#[derive(Default)]
pub(super) struct Model {
    position: u64,
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Model {
    pub(super) fn replay(&mut self, workload: &Workload, to: u64) {
        assert!(
            self.position <= to,
            "went back from {} to {to}",
            self.position
        );
        for position in self.position..to {
            for (key, value) in workload.changes(position).iter() {
                match value {
                    Some(value) => self.entries.insert(key.to_vec(), value.to_vec()),
                    None => self.entries.remove(key),
                };
            }
        }
        self.position = to;
    }

    /// That `store` holds this and nothing else.
    pub(super) fn check(&self, store: &dyn Store) {
        let everything = KeyRange {
            from: Bound::Unbounded,
            to: Bound::Unbounded,
        };
        let found = store
            .page(&everything, Order::Ascending, usize::MAX)
            .unwrap();
        let expected: Page = self.entries.clone().into_iter().collect();
        let mut pairs = found.iter().zip(&expected);
        let at = pairs.position(|(found, expected)| found != expected);
        assert!(
            found == expected,
            "at position {} the store holds {} entries of {}, and differs first at {at:?}",
            self.position,
            found.len(),
            expected.len()
        );
    }
}

/// What tells a test that it is to play the child of itself.
pub(super) const CHILD: &str = "TANIST_STORE_CHILD";

/// Lets `command`, the first words of which may be a wrapper, run the test `name` of this binary in a process of its own,
/// which finds `argument` in [`CHILD`].
pub(super) fn child(mut command: Command, name: &str, argument: &str) -> Child {
    command
        .args(["--exact", "--nocapture", "--test-threads=1"])
        .arg(format!("store::tests::{name}"))
        .env(CHILD, argument)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the test binary can run itself")
}
