//! [`Scan`]: a table's entries in the order of their keys: what the store holds, and over it what it does not know yet.

use std::collections::VecDeque;
use std::hash::Hash;
use std::ops::Bound;
use std::rc::Rc;

use super::TableError;
use super::handle::TableShard;
use crate::port::{KeyRange, Order};

/// How many entries are read from the store at a time.
const PAGE: usize = 256;

/// Entries of a table in the order of their keys; see [`super::Table::range`]. Shows the table as it was when the scan
/// began, as long as the handler does not wait in between. An error ends it.
pub struct Scan<K, V> {
    shard: Rc<TableShard<K, V>>,
    order: Order,
    /// What is left to be read from the store; `None` when it has been read to the end.
    rest: Option<KeyRange>,
    page: VecDeque<(Vec<u8>, Vec<u8>)>,
    /// Values that the store does not know yet, deletions as `None`, sorted in the order of the scan.
    unstored: VecDeque<(Vec<u8>, Option<V>)>,
}

impl<K, V> Scan<K, V>
where
    K: Hash + Eq + Clone + 'static,
    V: Clone + 'static,
{
    pub(super) fn new(
        shard: Rc<TableShard<K, V>>,
        range: KeyRange,
        order: Order,
    ) -> Result<Self, TableError> {
        let mut unstored = Vec::new();
        {
            let cells = shard.cells.borrow();
            for id in cells.unstored() {
                let cell = cells.cell(id);
                let key = shard.store_key(&cell.key)?;
                if !range.contains(&key) {
                    continue;
                }
                if cells.is_anothers(id, shard.scope()) {
                    return Err(TableError::Busy(shard.name()));
                }
                unstored.push((key, cell.value.clone()));
            }
        }
        unstored.sort_by(|(a, _), (b, _)| match order {
            Order::Ascending => a.cmp(b),
            Order::Descending => b.cmp(a),
        });
        Ok(Self {
            shard,
            order,
            rest: Some(range),
            page: VecDeque::new(),
            unstored: unstored.into(),
        })
    }

    fn fill(&mut self) -> Result<(), TableError> {
        let Some(range) = self.rest.take_if(|_| self.page.is_empty()) else {
            return Ok(());
        };
        self.page = self.shard.store().page(&range, self.order, PAGE)?.into();
        if let (PAGE, Some((last, _))) = (self.page.len(), self.page.back()) {
            let last = Bound::Excluded(last.clone());
            self.rest = Some(match self.order {
                Order::Ascending => KeyRange {
                    from: last,
                    ..range
                },
                Order::Descending => KeyRange { to: last, ..range },
            });
        }
        Ok(())
    }

    fn next_entry(&mut self) -> Result<Option<(K, V)>, TableError> {
        loop {
            self.fill()?;
            let stored_first = match (self.page.front(), self.unstored.front()) {
                (None, None) => return Ok(None),
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (Some((stored, _)), Some((unstored, _))) if stored == unstored => {
                    self.page.pop_front();
                    continue;
                }
                (Some((stored, _)), Some((unstored, _))) => {
                    (stored < unstored) == (self.order == Order::Ascending)
                }
            };
            if stored_first {
                let Some((key, value)) = self.page.pop_front() else {
                    continue;
                };
                return Ok(Some((
                    self.shard.decode_key(&key)?,
                    self.shard.decode_value(&key, &value)?,
                )));
            }
            if let Some((key, Some(value))) = self.unstored.pop_front() {
                return Ok(Some((self.shard.decode_key(&key)?, value)));
            }
        }
    }
}

impl<K, V> Iterator for Scan<K, V>
where
    K: Hash + Eq + Clone + 'static,
    V: Clone + 'static,
{
    type Item = Result<(K, V), TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.next_entry();
        if entry.is_err() {
            self.rest = None;
            self.page.clear();
            self.unstored.clear();
        }
        entry.transpose()
    }
}
