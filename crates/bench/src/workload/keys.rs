//! The names of keys, and the order in which a worker touches them.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::settings::KeyOrder;

/// What all keys start with.
const PREFIX: &str = "bench/";

/// Bytes of each key.
pub(crate) const LEN: usize = 16;

/// The key with number `number`: 16 bytes, so that byte order is the order of the numbers.
pub(crate) fn key(number: u64) -> Bytes {
    format!("{PREFIX}{number:010}").into()
}

/// Entry `number` of a permutation of `0..len` in which neighbours lie far apart.
///
/// It steps by a prime, so that no `len` but a multiple of that prime meets a number twice.
pub(crate) fn scattered(number: u64, len: u64) -> u64 {
    const STEP: u128 = 2_654_435_761;
    (u128::from(number) * STEP % u128::from(len)) as u64
}

/// The keys with these numbers, as the first key and the one after the last.
pub(crate) fn range(numbers: Range<u64>) -> (Bytes, Bytes) {
    (key(numbers.start), key(numbers.end))
}

/// Chooses keys for one worker.
pub(crate) struct Keys {
    order: KeyOrder,
    len: u64,
    random: Random,
}

impl Keys {
    /// Chooses out of `len` keys; workers with different `seed` choose differently at random.
    pub(crate) fn new(order: KeyOrder, len: u64, seed: usize) -> Self {
        Self { order, len, random: Random::new(seed) }
    }

    /// The number of the next key. Sequential order is shared by all workers through `cursor`.
    pub(crate) fn next(&mut self, cursor: &AtomicU64) -> u64 {
        match self.order {
            KeyOrder::Sequential => cursor.fetch_add(1, Ordering::Relaxed) % self.len,
            KeyOrder::Random => self.random.below(self.len),
            KeyOrder::One => 0,
        }
    }
}

/// Random numbers, the same in each run.
pub(crate) struct Random(fastrand::Rng);

impl Random {
    /// A sequence of its own for each `seed`.
    pub(crate) fn new(seed: usize) -> Self {
        Self(fastrand::Rng::with_seed(seed as u64))
    }

    /// A number under `end`, which must not be zero.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0.u64(..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_keys_is_the_order_of_their_numbers() {
        let (start, end) = range(0..100);
        assert_eq!(start.len(), LEN);
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
        let seen: Vec<u64> = (0..4).map(|turn| workers[turn % 2].next(&cursor)).collect();
        assert_eq!(seen, [0, 1, 2, 0]);
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
