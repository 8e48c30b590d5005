//! [`Cells`]: the decoded values of a table shard: what is being written, what is in flight, and a cache of the rest.
//!
//! A cell is *dirty* when it holds a write that no commit contains yet, and *sealed* while the commit that contains its
//! write is in flight. Both keep it here: the store does not know the value yet. All other cells are cache.

use std::cell::Cell;
use std::hash::{BuildHasher, Hash};
use std::rc::Rc;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::scope::{Scope, Ticket};

/// Index of a cell.
pub(super) type CellId = u32;

/// How much memory the cells of a worker may take; shared by all its tables.
#[derive(Debug)]
pub struct CacheBudget {
    limit_bytes: usize,
    used_bytes: Cell<usize>,
}

impl CacheBudget {
    /// A budget of `limit_bytes`. Writes that no commit contains yet may exceed it: what bounds them is `commit_bytes`.
    pub fn new(limit_bytes: usize) -> Rc<Self> {
        Rc::new(Self {
            limit_bytes,
            used_bytes: Cell::new(0),
        })
    }

    /// What is used.
    pub fn used_bytes(&self) -> usize {
        self.used_bytes.get()
    }

    fn take(&self, bytes: usize) {
        self.used_bytes.set(self.used_bytes.get() + bytes);
    }

    fn give_back(&self, bytes: usize) {
        self.used_bytes
            .set(self.used_bytes.get().saturating_sub(bytes));
    }

    fn is_exceeded(&self) -> bool {
        self.used_bytes.get() > self.limit_bytes
    }
}

pub(super) struct CellState<K, V> {
    pub(super) key: K,
    /// `None`: known to be absent, or deleted.
    pub(super) value: Option<V>,
    /// The last record that touched it.
    owner: Ticket,
    /// What it is taken to cost, heap included: from the encoded sizes.
    bytes: u32,
    /// The owner wrote to it: the way back is in `undo`.
    written: bool,
    pub(super) dirty: bool,
    pub(super) sealed: bool,
    used_lately: bool,
}

// One line of a processor's cache for the usual case, a string and two numbers: that it is fetched is a third of what a
// look-up costs.
const _: () = assert!(size_of::<Option<CellState<String, (u64, u64)>>>() == 64);

struct Undo<V> {
    cell: CellId,
    ticket: Ticket,
    before: Option<V>,
    was_dirty: bool,
}

/// See the module.
pub(super) struct Cells<K, V> {
    index: HashTable<CellId>,
    cells: Vec<Option<CellState<K, V>>>,
    free: Vec<CellId>,
    dirty: Vec<CellId>,
    sealed: Vec<CellId>,
    undo: Vec<Undo<V>>,
    hand: usize,
    hasher: FixedState,
    budget: Rc<CacheBudget>,
}

/// Cells looked at for eviction whenever one is added: more than one, so that the cache shrinks to its budget again.
const EVICTION_STEPS: usize = 16;

/// Fixed cost of a cell beside its encoded key and value: the cell, its place in the index, allocator overhead.
const fn cell_bytes<K, V>() -> usize {
    size_of::<Option<CellState<K, V>>>() + 16
}

impl<K: Hash + Eq, V: Clone> Cells<K, V> {
    pub(super) fn new(budget: Rc<CacheBudget>) -> Self {
        Self {
            index: HashTable::new(),
            cells: Vec::new(),
            free: Vec::new(),
            dirty: Vec::new(),
            sealed: Vec::new(),
            undo: Vec::new(),
            hand: 0,
            // Fixed: the order of cells must not differ between two runs of one seed. Keys come from the app's own
            // topics; who can write there can do worse than collide.
            hasher: FixedState::with_seed(0),
            budget,
        }
    }

    pub(super) fn find<Q>(&self, key: &Q) -> Option<CellId>
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.hasher.hash_one(key);
        self.index
            .find(hash, |id| self.cell(*id).key.borrow() == key)
            .copied()
    }

    pub(super) fn cell(&self, id: CellId) -> &CellState<K, V> {
        self.cells[id as usize]
            .as_ref()
            .expect("the index names living cells only")
    }

    fn cell_mut(&mut self, id: CellId) -> &mut CellState<K, V> {
        self.cells[id as usize]
            .as_mut()
            .expect("the index names living cells only")
    }

    /// Adds what the store holds under `key`, which has no cell yet.
    pub(super) fn insert(
        &mut self,
        key: K,
        value: Option<V>,
        encoded_bytes: usize,
        scope: &Scope,
    ) -> CellId {
        self.evict(scope);
        let hash = self.hasher.hash_one(&key);
        let bytes = cell_bytes::<K, V>() + encoded_bytes;
        self.budget.take(bytes);
        let state = CellState {
            key,
            value,
            owner: Ticket::NOBODY,
            bytes: bytes as u32,
            written: false,
            dirty: false,
            sealed: false,
            used_lately: true,
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.cells[id as usize] = Some(state);
                id
            }
            None => {
                self.cells.push(Some(state));
                (self.cells.len() - 1) as CellId
            }
        };
        let Self {
            index,
            cells,
            hasher,
            ..
        } = self;
        index.insert_unique(hash, id, |id| {
            let cell = cells[*id as usize].as_ref();
            cell.map_or(0, |cell| hasher.hash_one(&cell.key))
        });
        id
    }

    /// Makes the cell the current record's until that is finished; false if it is another's.
    pub(super) fn touch(&mut self, id: CellId, scope: &Scope) -> bool {
        let cell = self.cell_mut(id);
        if scope.conflicts_with(cell.owner) {
            return false;
        }
        if cell.owner != scope.current() {
            cell.owner = scope.current();
            cell.written = false;
        }
        cell.used_lately = true;
        true
    }

    /// The value of a touched cell, to be changed. True in the answer: the cell has become dirty by this.
    pub(super) fn write(&mut self, id: CellId, scope: &Scope) -> (&mut Option<V>, bool) {
        let ticket = scope.current();
        let Self {
            cells, undo, dirty, ..
        } = self;
        let cell = cells[id as usize]
            .as_mut()
            .expect("the index names living cells only");
        if !cell.written {
            cell.written = true;
            undo.push(Undo {
                cell: id,
                ticket,
                before: cell.value.clone(),
                was_dirty: cell.dirty,
            });
        }
        let newly_dirty = !cell.dirty;
        if newly_dirty {
            cell.dirty = true;
            dirty.push(id);
        }
        (&mut cell.value, newly_dirty)
    }

    /// The record of `ticket` is finished: what it wrote stays.
    pub(super) fn keep(&mut self, ticket: Ticket) {
        match self.undo.as_slice() {
            [] => {}
            [only] if only.ticket == ticket => self.undo.clear(),
            _ => self.undo.retain(|undo| undo.ticket != ticket),
        }
    }

    /// The record of `ticket` failed: what it wrote goes.
    pub(super) fn undo(&mut self, ticket: Ticket) {
        let (gone, kept) = std::mem::take(&mut self.undo)
            .into_iter()
            .partition(|undo| undo.ticket == ticket);
        self.undo = kept;
        let gone: Vec<Undo<V>> = gone;
        for undo in gone.into_iter().rev() {
            let cell = self.cell_mut(undo.cell);
            cell.value = undo.before;
            cell.dirty = undo.was_dirty;
            cell.written = false;
        }
        let Self { dirty, cells, .. } = self;
        dirty.retain(|id| cells[*id as usize].as_ref().is_some_and(|cell| cell.dirty));
    }

    /// Hands every finished write to `write` and marks its cell as in flight. Unfinished ones stay dirty; what they
    /// overwrote and no commit contains yet is handed over in their place.
    pub(super) fn seal<E>(
        &mut self,
        scope: &Scope,
        mut write: impl FnMut(&K, Option<&V>) -> Result<usize, E>,
    ) -> Result<(), E> {
        debug_assert!(self.sealed.is_empty(), "one commit in flight at a time");
        let mut still_dirty = Vec::new();
        for id in std::mem::take(&mut self.dirty) {
            let cell = self.cell(id);
            let unfinished = cell.written && scope.is_open(cell.owner);
            let Self {
                cells,
                undo,
                budget,
                sealed,
                ..
            } = self;
            let cell = cells[id as usize]
                .as_mut()
                .expect("a dirty cell is not evicted");
            if unfinished {
                still_dirty.push(id);
                let way_back = undo.iter_mut().find(|undo| undo.cell == id);
                let Some(way_back) = way_back.filter(|undo| undo.was_dirty) else {
                    continue;
                };
                write(&cell.key, way_back.before.as_ref())?;
                way_back.was_dirty = false;
            } else {
                let bytes = cell_bytes::<K, V>() + write(&cell.key, cell.value.as_ref())?;
                budget.give_back(cell.bytes as usize);
                budget.take(bytes);
                cell.bytes = bytes as u32;
                cell.dirty = false;
            }
            cell.sealed = true;
            sealed.push(id);
        }
        self.dirty = still_dirty;
        Ok(())
    }

    /// The commit in flight is in the store: its cells are cache now.
    pub(super) fn committed(&mut self) {
        for id in std::mem::take(&mut self.sealed) {
            self.cell_mut(id).sealed = false;
        }
    }

    /// Keys and values that the store does not know yet, in no order.
    pub(super) fn unstored(&self) -> impl Iterator<Item = CellId> {
        let also_sealed = |id: &&CellId| !self.cell(**id).sealed;
        self.sealed
            .iter()
            .chain(self.dirty.iter().filter(also_sealed))
            .copied()
    }

    /// True if an unfinished record other than the current one has touched the cell.
    pub(super) fn is_anothers(&self, id: CellId, scope: &Scope) -> bool {
        scope.conflicts_with(self.cell(id).owner)
    }

    pub(super) fn has_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Second chance: a cell that was not used since the hand came by last is dropped.
    fn evict(&mut self, scope: &Scope) {
        for _ in 0..EVICTION_STEPS.min(self.cells.len()) {
            if !self.budget.is_exceeded() {
                return;
            }
            self.hand = (self.hand + 1) % self.cells.len();
            let Some(cell) = &mut self.cells[self.hand] else {
                continue;
            };
            if cell.dirty || cell.sealed || scope.is_open(cell.owner) {
                continue;
            }
            if std::mem::take(&mut cell.used_lately) {
                continue;
            }
            let (bytes, id) = (cell.bytes, self.hand as CellId);
            let hash = self.hasher.hash_one(&cell.key);
            if let Ok(entry) = self.index.find_entry(hash, |other| *other == id) {
                entry.remove();
            }
            self.cells[self.hand] = None;
            self.free.push(id);
            self.budget.give_back(bytes as usize);
        }
    }
}

impl<K, V> Drop for Cells<K, V> {
    fn drop(&mut self) {
        let bytes: usize = self
            .cells
            .iter()
            .flatten()
            .map(|cell| cell.bytes as usize)
            .sum();
        self.budget.give_back(bytes);
    }
}
