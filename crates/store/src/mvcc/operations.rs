//! How many operations on keys there were, for those who watch over a member.
//!
//! The writer counts in plain numbers under the lock that it holds anyway; readers share two atomics.
//! Nothing is kept over a restart.

use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};

/// Operations since the start, those inside of transactions among them. A command that was refused counts
/// for none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Operations {
    /// Ranges read.
    pub ranges: u64,
    /// Keys put.
    pub puts: u64,
    /// Deletes asked for, whatever they found; and the keys that went with a lease.
    pub deletes: u64,
    /// Transactions of more than one operation.
    pub txns: u64,
    /// Bytes of the keys and values put, as they came in the requests.
    pub put_bytes: u64,
    /// Records that compactions have dropped.
    pub compacted: u64,
}

impl Operations {
    /// Counts the operations so far as a transaction, if they make one.
    pub(super) fn as_txn(self) -> Operations {
        Operations { txns: u64::from(self.ranges + self.puts + self.deletes > 1), ..self }
    }
}

impl AddAssign for Operations {
    fn add_assign(&mut self, more: Operations) {
        self.ranges += more.ranges;
        self.puts += more.puts;
        self.deletes += more.deletes;
        self.txns += more.txns;
        self.put_bytes += more.put_bytes;
        self.compacted += more.compacted;
    }
}

/// Operations that only read, on any thread.
#[derive(Debug, Default)]
pub(super) struct Reads {
    ranges: AtomicU64,
    txns: AtomicU64,
}

impl Reads {
    /// Counts one range.
    pub(super) fn range(&self) {
        self.ranges.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a transaction of `ranges`.
    pub(super) fn txn(&self, ranges: usize) {
        self.ranges.fetch_add(ranges as u64, Ordering::Relaxed);
        self.txns.fetch_add(u64::from(ranges > 1), Ordering::Relaxed);
    }

    /// What was counted.
    pub(super) fn operations(&self) -> Operations {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Operations { ranges: read(&self.ranges), txns: read(&self.txns), ..Operations::default() }
    }
}
