//! [`Hand`]: what a worker's thread is at, for other threads to see: one that a handler blocks cannot say it any more.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tanist_cluster::{Offset, ShardId};

use crate::port::TopicPartition;
use crate::shard::describe;

/// What the lanes of an agent work for: their shard and, unless they only run timers, what progress is kept by.
type Errand = (ShardId, Option<(String, TopicPartition)>);

/// Stands for what has no offset: a timer.
const NO_OFFSET: i64 = -1;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Hand {
    /// Numbered from 1. As many as the worker has ever had agents for its shards.
    errands: Mutex<BTreeMap<Errand, usize>>,
    /// The number of what the thread is at; 0: nothing of anybody's.
    errand: AtomicUsize,
    offset: AtomicI64,
}

/// The hand of a lane's worker, as the lane uses it: for every record, so that this only stores two numbers.
pub(crate) struct Grip {
    hand: Arc<Hand>,
    errand: usize,
}

impl Hand {
    pub(crate) fn grip(hand: &Arc<Self>, errand: Errand) -> Grip {
        let mut errands = hand.errands.lock().unwrap_or_else(PoisonError::into_inner);
        let next = errands.len() + 1;
        let errand = *errands.entry(errand).or_insert(next);
        let hand = hand.clone();
        Grip { hand, errand }
    }

    /// What the thread is at. Certain only of one that stands still.
    pub(crate) fn tell(&self) -> Option<String> {
        let number = self.errand.load(Ordering::Relaxed);
        let offset = self.offset.load(Ordering::Relaxed);
        let errands = self.errands.lock().unwrap_or_else(PoisonError::into_inner);
        let mut errands = errands.iter();
        let ((shard, input), _) = errands.find(|(_, its)| **its == number)?;
        let input = input.as_ref().filter(|_| offset != NO_OFFSET);
        let input = input.map(|(input, partition)| (&**input, partition, Offset(offset)));
        Some(format!("{} of shard {shard}", describe(input)))
    }
}

impl Grip {
    /// The thread goes into user code for the record at `offset`, or for a timer.
    pub(crate) fn hold(&self, offset: Option<Offset>) {
        let offset = offset.map_or(NO_OFFSET, |offset| offset.0);
        self.hand.offset.store(offset, Ordering::Relaxed);
        self.hand.errand.store(self.errand, Ordering::Relaxed);
    }

    /// It has come out of there.
    pub(crate) fn release(&self) {
        self.hand.errand.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tanist_cluster::Partition;

    use super::*;

    #[test]
    fn what_a_thread_is_at_is_told_until_it_has_come_out_of_it() {
        let hand = Arc::new(Hand::default());
        let orders = || {
            let input = TopicPartition::new("orders", Partition(3));
            Some(("count@orders".to_owned(), input))
        };
        let grip = |partition, input| Hand::grip(&hand, (ShardId::new("orders", partition), input));
        let (count, timer) = (grip(3, orders()), grip(4, None));
        assert_eq!(hand.tell(), None);
        for (grip, offset, expected) in [
            (
                &count,
                Some(Offset(7)),
                "agent count at orders[3] offset 7 of shard orders/3",
            ),
            (&count, None, "a timer of shard orders/3"),
            (&timer, None, "a timer of shard orders/4"),
            (
                &grip(3, orders()),
                Some(Offset(0)),
                "agent count at orders[3] offset 0 of shard orders/3",
            ),
        ] {
            grip.hold(offset);
            assert_eq!(hand.tell().as_deref(), Some(expected));
            grip.release();
            assert_eq!(hand.tell(), None);
        }
        assert_eq!(hand.errands.lock().unwrap().len(), 2);
    }
}
