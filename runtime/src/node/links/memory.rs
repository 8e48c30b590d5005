//! [`MemoryLinks`]: processes that are all in this one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tanist_actors::port::PortFuture;
use tanist_cluster::admission::Peer;
use tokio::sync::Notify;
use uuid::Uuid;

use super::Links;

/// The processes of a test, by their addresses. Clones share all.
#[derive(Clone, Debug, Default)]
pub struct MemoryProcesses(Arc<Processes>);

#[derive(Debug, Default)]
struct Processes {
    alive: Mutex<BTreeMap<String, Uuid>>,
    changed: Notify,
}

/// The [`Links`] of the process at one address.
#[derive(Clone, Debug)]
pub struct MemoryLinks {
    address: String,
    processes: MemoryProcesses,
}

impl MemoryProcesses {
    /// The links of the process at `address`.
    pub fn links(&self, address: &str) -> MemoryLinks {
        MemoryLinks {
            address: address.to_owned(),
            processes: self.clone(),
        }
    }

    /// The process at `address` is gone.
    pub fn end(&self, address: &str) {
        self.alive().remove(address);
        self.0.changed.notify_waiters();
    }

    fn alive(&self) -> MutexGuard<'_, BTreeMap<String, Uuid>> {
        self.0.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_there(&self, address: &str, incarnation: Uuid) -> bool {
        self.alive().get(address) == Some(&incarnation)
    }
}

impl Links for MemoryLinks {
    fn answer_as(&self, incarnation: Uuid) {
        let address = self.address.clone();
        self.processes.alive().insert(address, incarnation);
        self.processes.0.changed.notify_waiters();
    }

    fn gone<'a>(&'a self, address: &'a str, incarnation: Uuid) -> PortFuture<'a, ()> {
        Box::pin(async move {
            loop {
                let changed = self.processes.0.changed.notified();
                if !self.processes.is_there(address, incarnation) {
                    return;
                }
                changed.await;
            }
        })
    }

    fn ask<'a>(&'a self, address: &'a str, incarnation: Uuid) -> PortFuture<'a, Peer> {
        let there = self.processes.is_there(address, incarnation);
        Box::pin(async move {
            match there {
                true => Peer::Alive,
                false => Peer::Gone,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_process_is_there_until_it_ends_or_another_answers_in_its_place() {
        let processes = MemoryProcesses::default();
        let (one, other) = (processes.links("one"), processes.links("other"));
        let [first, second] = [1, 2].map(Uuid::from_u128);
        one.answer_as(first);
        let asked = |incarnation| other.ask("one", incarnation).now_or_never();
        assert_eq!(asked(first), Some(Peer::Alive));
        let mut gone = other.gone("one", first);
        assert_eq!((&mut gone).now_or_never(), None);
        one.answer_as(second);
        assert_eq!((&mut gone).now_or_never(), Some(()));
        assert_eq!(asked(first), Some(Peer::Gone));
        let mut gone = other.gone("one", second);
        assert_eq!((&mut gone).now_or_never(), None);
        processes.end("one");
        assert_eq!((&mut gone).now_or_never(), Some(()));
    }
}
