//! The write-ahead log, and what waits to be written to it.
//!
//! Whoever has the turn of its queue may use the writer: as a rule the WAL's own thread, for a brief batch the thread
//! that runs the node. How long syncs take is remembered, since a thread that has something else to do should not
//! wait for a slow one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use node::{WalReport, WalTask, WalWriter};

use super::batch_queue::BatchQueue;
use crate::metrics::Metrics;

/// A sync that takes longer as a rule is worth waking a thread for, in place of waiting for it.
const QUICK_SYNC: Duration = Duration::from_micros(500);

/// The weight of the sync before all others in the time that syncs take as a rule, as a part of one.
const SYNC_TIME_SHARE: u32 = 8;

/// The WAL of a member.
#[derive(Debug)]
pub(super) struct SharedWal {
    pub(super) tasks: BatchQueue<WalTask>,
    /// Locked by the thread that has the turn of `tasks`, so never waited for.
    writer: Mutex<Writer>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct Writer {
    wal_writer: WalWriter,
    /// How long a sync takes as a rule; unknown before the first.
    sync_time: Option<Duration>,
}

impl SharedWal {
    pub(super) fn new(wal_writer: WalWriter, metrics: Arc<Metrics>) -> SharedWal {
        let writer = Mutex::new(Writer { wal_writer, sync_time: None });
        SharedWal { tasks: BatchQueue::default(), writer, metrics }
    }

    /// Takes the turn, if nothing waits to be written and a sync is quick as a rule.
    pub(super) fn try_take_quick_turn(&self) -> bool {
        if !self.tasks.try_take_turn() {
            return false;
        }
        let is_quick = self.lock().sync_time.is_some_and(|time| time <= QUICK_SYNC);
        if !is_quick {
            self.tasks.end_turn(false);
        }
        is_quick
    }

    /// Carries out `tasks` and makes them durable. Only for who has the turn. An error is final: the turn must not be
    /// given to anybody else, but [`BatchQueue::abandon`]ed.
    pub(super) fn write(&self, tasks: impl IntoIterator<Item = WalTask>) -> Result<WalReport, disk::Error> {
        let (mut writer, metrics) = (self.lock(), &self.metrics.disk);
        let start = Instant::now();
        for task in tasks {
            writer.wal_writer.accept(task)?;
        }
        let is_synced = writer.wal_writer.needs_sync();
        let written = Instant::now();
        let report = writer.wal_writer.sync()?;
        metrics.wal_bytes.set(writer.wal_writer.written_bytes().cast_signed());
        if is_synced {
            metrics.wal_write.observe(written - start);
            metrics.wal_fsync.observe(written.elapsed());
            writer.note_sync(start.elapsed());
        }
        Ok(report)
    }

    /// Lets the WAL's thread end when all that it has been given is durable.
    pub(super) fn close(&self) {
        self.tasks.close();
    }

    /// Lets syncs have taken so long until now.
    #[cfg(test)]
    pub(super) fn assume_sync_time(&self, time: Duration) {
        self.lock().sync_time = Some(time);
    }

    fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    fn note_sync(&mut self, time: Duration) {
        self.sync_time = Some(match self.sync_time {
            None => time,
            Some(before) => before - before / SYNC_TIME_SHARE + time / SYNC_TIME_SHARE,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_sync_among_quick_ones_is_forgotten_in_time() {
        let disk: Arc<dyn disk::Disk> = Arc::new(disk::SimDisk::new(1));
        let wal = super::super::member::tests::wal_on(&disk);
        assert!(!wal.try_take_quick_turn(), "nothing is known yet");
        wal.assume_sync_time(Duration::from_micros(80));
        assert!(wal.try_take_quick_turn());
        wal.tasks.end_turn(false);
        wal.lock().note_sync(Duration::from_millis(20));
        assert!(!wal.try_take_quick_turn());
        (0..20).for_each(|_| wal.lock().note_sync(Duration::from_micros(80)));
        assert!(wal.try_take_quick_turn());
    }

    #[test]
    fn nobody_takes_the_turn_before_what_waits_to_be_written() {
        let disk: Arc<dyn disk::Disk> = Arc::new(disk::SimDisk::new(1));
        let wal = super::super::member::tests::wal_on(&disk);
        wal.assume_sync_time(Duration::ZERO);
        wal.tasks.push(WalTask::OfferNext);
        assert!(!wal.try_take_quick_turn());
    }
}
