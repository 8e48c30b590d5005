//! [`Chance`]: what a seed decides.

use std::sync::{Mutex, PoisonError};

/// A row of numbers that its seed decides (SplitMix64).
#[derive(Debug)]
pub(super) struct Chance {
    state: Mutex<u64>,
}

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            state: Mutex::new(seed),
        }
    }

    /// The next number, from 0 up to `bound` exclusive.
    pub(super) fn below(&self, bound: u64) -> u64 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_the_row_and_its_numbers_are_spread() {
        let row = |seed| {
            let chance = Chance::new(seed);
            (0..300).map(|_| chance.below(3)).collect::<Vec<_>>()
        };
        assert_eq!(row(7), row(7));
        assert_ne!(row(7), row(8));
        for number in 0..3 {
            let count = row(7).iter().filter(|drawn| **drawn == number).count();
            assert!((60..140).contains(&count), "{number} came {count} times");
        }
    }
}
