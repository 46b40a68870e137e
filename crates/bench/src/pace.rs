//! When operations start: each after the answer before it, or at a fixed rate.
//!
//! At a fixed rate (open loop) an operation has an intended start, and its latency counts from there even
//! when all streams were busy then. A server that stalls is thus charged for everything that should have
//! been asked meanwhile ("coordinated omission", Tene 2013). The runtime's own timer is too coarse at one
//! millisecond, so a thread that sleeps by the kernel's clock releases the operations.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

/// The pace of one generator thread; clones share it.
#[derive(Clone)]
pub(crate) enum Pace {
    /// A stream starts its next operation as soon as its last one has ended.
    Closed,
    /// Operations start at fixed times.
    Open(Arc<Schedule>),
}

/// The intended start of each operation.
pub(crate) struct Schedule {
    start: Instant,
    interval: Duration,
    /// Operations that are due and not yet started.
    due: Semaphore,
    started: AtomicU64,
}

impl Pace {
    /// Starts a schedule of `rate` operations a second; it ends with the last clone of the pace.
    ///
    /// # Errors
    /// If the system refuses another thread.
    pub(crate) fn open(rate: f64) -> io::Result<Self> {
        let schedule = Arc::new(Schedule {
            start: Instant::now(),
            interval: Duration::from_secs_f64(1.0 / rate).max(Duration::from_nanos(1)),
            due: Semaphore::new(0),
            started: AtomicU64::new(0),
        });
        let released = Arc::downgrade(&schedule);
        thread::Builder::new().name("pacer".to_owned()).spawn(move || release(&released))?;
        Ok(Self::Open(schedule))
    }

    /// Waits until the next operation may start and returns when it was meant to.
    pub(crate) async fn next(&self) -> Instant {
        match self {
            Self::Closed => Instant::now(),
            Self::Open(schedule) => schedule.next().await,
        }
    }
}

impl Schedule {
    async fn next(&self) -> Instant {
        self.due.acquire().await.expect("the semaphore is never closed").forget();
        self.intended(self.started.fetch_add(1, Ordering::Relaxed))
    }

    /// When the operation with this number, from zero, is meant to start.
    fn intended(&self, number: u64) -> Instant {
        self.start + self.interval.mul_f64(number as f64)
    }

    /// Makes operations due whose time has come, `released` of them being so already; returns how many
    /// are now, and how long it is until the next.
    fn release_due(&self, released: u64) -> (u64, Duration) {
        let elapsed = self.start.elapsed();
        let due = (elapsed.as_nanos() / self.interval.as_nanos()) as u64 + 1;
        self.due.add_permits(usize::try_from(due - released).expect("both have 64 bits"));
        (due, self.intended(due).saturating_duration_since(self.start + elapsed))
    }
}

/// Makes operations due as time passes, for as long as somebody follows the schedule.
fn release(schedule: &Weak<Schedule>) {
    let mut released = 0;
    while let Some(followed) = schedule.upgrade() {
        let (due, pause) = followed.release_due(released);
        released = due;
        drop(followed);
        thread::sleep(pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn intended_starts_are_evenly_spaced_however_late_they_are_taken() {
        let pace = Pace::open(1000.0).unwrap();
        let mut starts = Vec::new();
        for _ in 0..20 {
            starts.push(pace.next().await);
        }
        assert!(starts.windows(2).all(|pair| pair[1] - pair[0] == Duration::from_millis(1)));
    }

    #[tokio::test]
    async fn nothing_starts_before_its_time() {
        let pace = Pace::open(500.0).unwrap();
        for _ in 0..5 {
            assert!(pace.next().await <= Instant::now());
        }
    }

    #[test]
    fn what_was_missed_is_released_together() {
        let hour = Duration::from_secs(3600);
        let start = Instant::now().checked_sub(hour).unwrap();
        let interval = Duration::from_secs(360);
        let schedule = Schedule { start, interval, due: Semaphore::new(0), started: AtomicU64::new(0) };
        let (due, pause) = schedule.release_due(4);
        assert_eq!((due, schedule.due.available_permits()), (11, 7));
        assert!(pause <= interval);
    }
}
