//! The write-ahead log on the real disk: appending, and what a sync adds.

use std::sync::Arc;

use disk::wal::{Metadata, Wal};
use disk::{Disk, RealDisk};
use proto::raftpb::{Entry, HardState};
use store::{Command, Request};

use crate::codec;
use crate::runner::Runner;

/// Entries of a batch, as a loaded server has them.
const BATCH: u32 = 100;

pub(crate) fn run(runner: &Runner) {
    let mut log = Log::new();
    runner.run("wal: append an entry of 256 B, in batches of 100", BATCH, || log.append(BATCH));
    let mut log = Log::new();
    runner.run("wal: append and sync one entry", 1, || {
        log.append(1);
        log.wal.sync().unwrap();
    });
    let mut log = Log::new();
    runner.run("wal: append and sync, an entry of 100", BATCH, || {
        log.append(BATCH);
        log.wal.sync().unwrap();
    });
}

struct Log {
    wal: Wal,
    next: u64,
    data: bytes::Bytes,
    _dir: tempfile::TempDir,
}

impl Log {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let metadata = Metadata { member_id: 1, cluster_id: 1 };
        let wal = Wal::create(disk, &dir.path().join("wal"), metadata).unwrap();
        let data = Command { id: 7, request: Request::Put(codec::put(1)) }.encode();
        Self { wal, next: 1, data, _dir: dir }
    }

    /// Appends `count` entries, and keeps a file ready as the server's jobs do.
    fn append(&mut self, count: u32) {
        let last = self.next + u64::from(count);
        let entry = |index| Entry { term: 1, index, data: self.data.clone(), ..Entry::default() };
        let entries: Vec<Entry> = (self.next..last).map(entry).collect();
        let state = HardState { term: 1, vote: 1, commit: last - 1 };
        self.wal.append(&entries, Some(&state)).unwrap();
        self.next = last;
        if self.wal.needs_next() {
            let prepared = self.wal.next_file().run().unwrap();
            self.wal.adopt(prepared);
        }
        // What is behind the newest entries is of no use here, and would fill the disk.
        if last.is_multiple_of(10_000) {
            self.wal.release(last - 1).unwrap();
        }
    }
}
