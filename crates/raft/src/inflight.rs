//! The messages with entries that a member has not acknowledged yet.

use std::collections::VecDeque;

/// How much may be unacknowledged. A message is sent while both numbers are below their limits, so one
/// message may pass the limit of bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InflightLimit {
    pub(crate) messages: usize,
    pub(crate) bytes: u64,
}

/// What is on its way to one member, oldest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inflight {
    /// The last index of each message, and the bytes of its entries.
    messages: VecDeque<(u64, u64)>,
    bytes: u64,
}

impl Inflight {
    pub(crate) fn is_full(&self, limit: InflightLimit) -> bool {
        self.messages.len() >= limit.messages || self.bytes >= limit.bytes
    }

    /// Notes a message with entries up to `last`, which is above that of earlier ones.
    pub(crate) fn add(&mut self, last: u64, bytes: u64) {
        self.messages.push_back((last, bytes));
        self.bytes += bytes;
    }

    /// Forgets the messages whose entries are all at or below `index`.
    pub(crate) fn acknowledged(&mut self, index: u64) {
        while let Some((_, bytes)) = self.messages.pop_front_if(|(last, _)| *last <= index) {
            self.bytes -= bytes;
        }
    }

    pub(crate) fn clear(&mut self) {
        self.messages.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_limit_alone_closes_the_pipeline_and_acknowledgements_open_it() {
        let limit = InflightLimit { messages: 3, bytes: 100 };
        let mut inflight = Inflight::default();
        inflight.add(4, 60);
        inflight.add(6, 39);
        assert!(!inflight.is_full(limit));
        inflight.add(7, 1);
        assert!(inflight.is_full(limit), "three messages and 100 bytes");
        inflight.acknowledged(5);
        assert!(!inflight.is_full(limit), "the first message is acknowledged");
        inflight.add(8, 60);
        assert!(inflight.is_full(InflightLimit { messages: 9, ..limit }), "100 bytes");
        assert!(inflight.is_full(InflightLimit { bytes: u64::MAX, ..limit }), "three messages");
        inflight.acknowledged(8);
        assert_eq!((inflight.messages.len(), inflight.bytes), (0, 0));
    }
}
