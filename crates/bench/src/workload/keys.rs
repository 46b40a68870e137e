//! The names of keys, and the order in which a worker touches them.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::settings::KeyOrder;

/// What all keys start with.
const PREFIX: &str = "bench/";

/// The key with number `number`: 16 bytes, so that byte order is the order of the numbers.
pub(super) fn key(number: u64) -> Bytes {
    format!("{PREFIX}{number:010}").into()
}

/// Entry `number` of a permutation of `0..len` in which neighbours lie far apart.
///
/// It steps by a prime, so that no `len` but a multiple of that prime meets a number twice.
pub(super) fn scattered(number: u64, len: u64) -> u64 {
    const STEP: u128 = 2_654_435_761;
    (u128::from(number) * STEP % u128::from(len)) as u64
}

/// The range of keys `0..len`: its first key and the one after its last.
pub(super) fn range(len: u64) -> (Bytes, Bytes) {
    (key(0), key(len))
}

/// Chooses keys for one worker.
pub(super) struct Keys {
    order: KeyOrder,
    len: u64,
    state: u64,
}

impl Keys {
    /// Chooses out of `len` keys; workers with different `seed` choose differently at random.
    pub(super) fn new(order: KeyOrder, len: u64, seed: usize) -> Self {
        Self { order, len, state: seed as u64 }
    }

    /// The next key. Sequential order is shared by all workers through `cursor`.
    pub(super) fn next(&mut self, cursor: &AtomicU64) -> Bytes {
        key(match self.order {
            KeyOrder::Sequential => cursor.fetch_add(1, Ordering::Relaxed) % self.len,
            KeyOrder::Random => self.random() % self.len,
            KeyOrder::One => 0,
        })
    }

    /// SplitMix64 (Steele, Lea & Flood 2014).
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_keys_is_the_order_of_their_numbers() {
        let (start, end) = range(100);
        assert!(start == key(0) && key(9) < key(10) && key(99) < end && end <= key(100));
    }

    #[test]
    fn scattering_meets_each_number_once() {
        for len in [1, 2, 10, 128, 1000] {
            let mut met: Vec<u64> = (0..len).map(|number| scattered(number, len)).collect();
            met.sort_unstable();
            assert!(met.into_iter().eq(0..len), "{len}");
        }
    }

    #[test]
    fn sequential_order_is_shared_and_starts_over() {
        let cursor = AtomicU64::new(0);
        let mut workers = [0, 1].map(|seed| Keys::new(KeyOrder::Sequential, 3, seed));
        let seen: Vec<Bytes> = (0..4).map(|turn| workers[turn % 2].next(&cursor)).collect();
        assert_eq!(seen, [key(0), key(1), key(2), key(0)]);
    }

    #[test]
    fn random_order_differs_by_worker_and_repeats_by_seed() {
        let draw = |seed| {
            let mut keys = Keys::new(KeyOrder::Random, 1_000_000, seed);
            (0..8).map(|_| keys.next(&AtomicU64::new(0))).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
