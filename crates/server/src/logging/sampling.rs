//! Drops lines that repeat: of each message, the first hundred in a second are logged, then every hundredth.
//!
//! Messages are distinguished by a hash, so two of them may be counted as one. That bounds the memory.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tracing::Level;

/// Lines of one message that are logged in a second. After that, one line in this many is logged.
const LINES_MAX: u64 = 100;

const BUCKETS: usize = 4096;

/// Counts messages.
#[derive(Debug)]
pub(super) struct Sampler {
    buckets: Vec<Mutex<Bucket>>,
}

#[derive(Debug, Default, Clone)]
struct Bucket {
    second: u64,
    count: u64,
}

impl Default for Sampler {
    fn default() -> Self {
        Sampler { buckets: (0..BUCKETS).map(|_| Mutex::default()).collect() }
    }
}

impl Sampler {
    /// Whether to log `message`, `time` after some fixed moment.
    pub(super) fn takes(&self, level: Level, message: &str, time: Duration) -> bool {
        let mut hasher = DefaultHasher::new();
        (level, message).hash(&mut hasher);
        let bucket = &self.buckets[hasher.finish() as usize % BUCKETS];
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        if bucket.second != time.as_secs() {
            *bucket = Bucket { second: time.as_secs(), count: 0 };
        }
        bucket.count += 1;
        bucket.count <= LINES_MAX || bucket.count.is_multiple_of(LINES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_repeats_is_thinned_out_each_second() {
        let sampler = Sampler::default();
        let taken = |message: &str, second| {
            let takes = |_: &u32| sampler.takes(Level::WARN, message, Duration::from_secs(second));
            (0..1000).filter(takes).count()
        };
        assert_eq!(taken("again", 0), 100 + 9);
        assert_eq!(taken("again", 1), 100 + 9);
        assert_eq!(taken("something else", 1), 100 + 9);
    }
}
