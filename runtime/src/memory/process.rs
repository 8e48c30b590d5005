//! [`Process`]: what can happen to a process that lives on the memory ports: it freezes, or dies, wherever it meets the
//! world.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tanist_actors::port::{
    Changes, Clock, KeyRange, LocalPortFuture, Order, Page, Store, StoreError, Stores,
};
use tanist_cluster::{Millis, ShardId};
use tokio::sync::Notify;

/// A process. It passes a point before and after each request to the broker, before and after each write to a store,
/// and after each wait. While it is frozen it stands there. Once it is dead it never gets further, and changes nothing
/// in the world any more, whoever still polls it: so it dies at exactly that point.
#[derive(Debug, Default)]
pub(crate) struct Process {
    fate: Mutex<Fate>,
    thawed: Notify,
    /// Of whoever has to know what becomes of it.
    watcher: AtomicWaker,
}

#[derive(Debug, Default)]
struct Fate {
    is_frozen: bool,
    is_dead: bool,
    /// Points that it has passed.
    passed: u64,
    /// At which it dies, or freezes.
    ends_at: Option<(u64, End)>,
}

/// What can happen at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Dies,
    #[cfg_attr(not(test), expect(dead_code, reason = "for the simulation"))]
    Freezes,
}

impl Process {
    fn fate(&self) -> MutexGuard<'_, Fate> {
        self.fate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This happens when it has passed so many points more.
    #[cfg(test)]
    pub(crate) fn end_after(&self, points: u64, end: End) {
        let mut fate = self.fate();
        fate.ends_at = Some((fate.passed + points, end));
    }

    /// Now, wherever it is.
    pub(crate) fn die(&self) {
        self.fate().is_dead = true;
    }

    pub(crate) fn freeze(&self) {
        self.fate().is_frozen = true;
    }

    pub(crate) fn thaw(&self) {
        let mut fate = self.fate();
        fate.is_frozen = false;
        fate.ends_at = fate.ends_at.filter(|(_, end)| *end == End::Dies);
        drop(fate);
        self.thawed.notify_waiters();
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.fate().is_frozen
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.fate().is_dead
    }

    /// How many points it has passed.
    #[cfg(test)]
    pub(crate) fn passed(&self) -> u64 {
        self.fate().passed
    }

    /// Wakes `waker` when it dies at a point.
    pub(crate) fn watch(&self, waker: &Waker) {
        self.watcher.register(waker);
    }

    /// A point. Done when the process may go on.
    pub(super) async fn pass(&self) {
        self.step();
        loop {
            let thawed = self.thawed.notified();
            let (is_frozen, is_dead) = {
                let fate = self.fate();
                (fate.is_frozen, fate.is_dead)
            };
            match (is_frozen, is_dead) {
                (_, true) => std::future::pending().await,
                (true, false) => thawed.await,
                (false, false) => return,
            }
        }
    }

    /// Counts a point; whether it still lives.
    fn step(&self) -> bool {
        let mut fate = self.fate();
        if fate.is_dead {
            return false;
        }
        fate.passed += 1;
        match fate.ends_at {
            Some((at, End::Dies)) if at == fate.passed => fate.is_dead = true,
            Some((at, End::Freezes)) if at == fate.passed => fate.is_frozen = true,
            _ => return true,
        }
        self.watcher.wake();
        !fate.is_dead
    }
}

/// The stores of a process: what it writes once it is dead does not come to the disk.
pub(crate) struct ProcessStores {
    pub(crate) stores: Arc<dyn Stores>,
    pub(crate) process: Arc<Process>,
}

struct ProcessStore {
    store: Arc<dyn Store>,
    process: Arc<Process>,
}

impl Stores for ProcessStores {
    fn open(&self, shard: &ShardId) -> Result<Arc<dyn Store>, StoreError> {
        let (store, process) = (self.stores.open(shard)?, self.process.clone());
        Ok(Arc::new(ProcessStore { store, process }))
    }

    fn exists(&self, shard: &ShardId) -> bool {
        self.stores.exists(shard)
    }

    fn is_slow(&self) -> bool {
        self.stores.is_slow()
    }
}

impl ProcessStore {
    fn write(
        &self,
        write: impl FnOnce(&dyn Store) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        if self.process.step() {
            write(&*self.store)?;
            self.process.step();
        }
        Ok(())
    }
}

impl Store for ProcessStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.get(key)
    }

    fn page(&self, range: &KeyRange, order: Order, limit: usize) -> Result<Page, StoreError> {
        self.store.page(range, order, limit)
    }

    fn apply(&self, changes: &Changes) -> Result<(), StoreError> {
        self.write(|store| store.apply(changes))
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.write(|store| store.flush())
    }
}

/// The clock of a process.
pub(crate) struct ProcessClock<C> {
    pub(crate) clock: C,
    pub(crate) process: Arc<Process>,
}

impl<C: Clock> Clock for ProcessClock<C> {
    fn now(&self) -> Millis {
        self.clock.now()
    }

    fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    fn sleep(&self, duration: Duration) -> LocalPortFuture<'static, ()> {
        let (sleep, process) = (self.clock.sleep(duration), self.process.clone());
        Box::pin(async move {
            sleep.await;
            process.pass().await;
        })
    }
}
