//! A lock for long work that is done in steps. After some steps the holder gives it to the threads that wait
//! for it.
//!
//! The standard lock is not fair: a thread that unlocks it and locks it again at once mostly gets it, even
//! if others wait. Here a thread that has to wait holds a second lock, `queue`, until it has got the first
//! one. The thread that does long work also takes `queue` before it locks again, and so waits until that
//! other thread has had its turn.
//!
//! The lock knows its longest hold: counted in steps in unit tests, and timed once it was given a clock.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{
    Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError,
};
use std::time::Duration;

#[cfg(test)]
use crate::work;

/// A reader-writer lock whose writer can let others have it between steps.
#[derive(Debug, Default)]
pub(crate) struct SteppedLock<T> {
    value: RwLock<T>,
    queue: Mutex<()>,
    longest: Longest,
}

/// The longest hold so far.
#[derive(Debug, Default)]
struct Longest {
    /// Tells the time since some fixed moment.
    clock: OnceLock<fn() -> Duration>,
    nanoseconds: AtomicU64,
    #[cfg(test)]
    steps: AtomicU64,
}

/// Measures one hold.
#[derive(Debug)]
struct Hold<'a> {
    longest: &'a Longest,
    /// `None` as long as there is no clock.
    since: Option<Duration>,
    #[cfg(test)]
    steps_before: u64,
}

/// The lock held together with other readers.
#[derive(Debug)]
pub(crate) struct ReadHold<'a, T> {
    // Fields are dropped in this order: the hold is measured when it is over.
    guard: RwLockReadGuard<'a, T>,
    _hold: Hold<'a>,
}

/// The lock held alone.
#[derive(Debug)]
pub(crate) struct WriteHold<'a, T> {
    guard: RwLockWriteGuard<'a, T>,
    _hold: Hold<'a>,
}

/// Long work with the value of a lock, which is held between calls until enough steps have been taken.
pub(crate) struct SteppedWriter<'a, T> {
    lock: &'a SteppedLock<T>,
    held: Option<WriteHold<'a, T>>,
    steps_per_hold: usize,
    steps_left: usize,
    /// Called each time that the lock was given up because enough steps were taken.
    pause: &'a mut dyn FnMut(),
}

impl<T> std::fmt::Debug for SteppedWriter<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SteppedWriter").field("steps_left", &self.steps_left).finish_non_exhaustive()
    }
}

impl<T> SteppedWriter<'_, T> {
    /// The value. Waits for the lock if it is not held; others may have changed the value since the last
    /// call.
    pub(crate) fn get(&mut self) -> &mut T {
        let lock = self.lock;
        if self.held.is_none() && self.steps_left == 0 {
            self.held = Some(lock.write_in_turn());
            self.steps_left = self.steps_per_hold;
        }
        self.held.get_or_insert_with(|| lock.write())
    }

    /// Steps that may still be taken in this hold, at least one.
    pub(crate) fn steps_left(&self) -> usize {
        if self.steps_left == 0 { self.steps_per_hold } else { self.steps_left }
    }

    /// Notes that steps were taken. After enough of them the lock is given up, and the next call of
    /// [`SteppedWriter::get`] waits for it behind those who wait already.
    pub(crate) fn spend(&mut self, steps: usize) {
        if self.steps_left > 0 {
            self.steps_left = self.steps_left.saturating_sub(steps);
        }
        if self.steps_left == 0 && self.held.take().is_some() {
            (self.pause)();
        }
    }

    /// Gives the lock up before something that may take long.
    pub(crate) fn release(&mut self) {
        self.held = None;
        if self.steps_left > 0 {
            self.steps_left = self.steps_per_hold;
        }
    }
}

// A panic of a thread that holds one of these locks ends the process (release builds abort), so poison says
// nothing.
impl<T> SteppedLock<T> {
    pub(crate) fn new(value: T) -> Self {
        SteppedLock { value: RwLock::new(value), queue: Mutex::default(), longest: Longest::default() }
    }

    pub(crate) fn into_inner(self) -> T {
        self.value.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the lock, to read.
    pub(crate) fn read(&self) -> ReadHold<'_, T> {
        let guard = match self.value.try_read() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                let _turn = self.queue_up();
                self.value.read().unwrap_or_else(PoisonError::into_inner)
            }
        };
        ReadHold { guard, _hold: self.longest.begin() }
    }

    /// Waits for the lock, to read and write.
    pub(crate) fn write(&self) -> WriteHold<'_, T> {
        match self.value.try_write() {
            Ok(guard) => WriteHold { guard, _hold: self.longest.begin() },
            Err(TryLockError::Poisoned(poisoned)) => {
                WriteHold { guard: poisoned.into_inner(), _hold: self.longest.begin() }
            }
            Err(TryLockError::WouldBlock) => self.write_in_turn(),
        }
    }

    /// Begins long work that holds the lock for about `steps_per_hold` steps at a time, and calls `pause` in
    /// between.
    pub(crate) fn write_in_steps<'a>(
        &'a self,
        steps_per_hold: usize,
        pause: &'a mut dyn FnMut(),
    ) -> SteppedWriter<'a, T> {
        SteppedWriter { lock: self, held: None, steps_per_hold, steps_left: steps_per_hold, pause }
    }

    /// Has holds timed from now on by `clock`, which tells the time since some fixed moment.
    pub(crate) fn time_holds(&self, clock: fn() -> Duration) {
        self.longest.clock.get_or_init(|| clock);
    }

    /// The longest hold since the last call; zero without a clock.
    pub(crate) fn take_longest(&self) -> Duration {
        Duration::from_nanos(self.longest.nanoseconds.swap(0, Ordering::Relaxed))
    }

    /// Steps of the longest hold since the last call.
    #[cfg(test)]
    pub(crate) fn take_longest_steps(&self) -> u64 {
        self.longest.steps.swap(0, Ordering::Relaxed)
    }

    fn write_in_turn(&self) -> WriteHold<'_, T> {
        let _turn = self.queue_up();
        let guard = self.value.write().unwrap_or_else(PoisonError::into_inner);
        WriteHold { guard, _hold: self.longest.begin() }
    }

    fn queue_up(&self) -> MutexGuard<'_, ()> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Longest {
    fn begin(&self) -> Hold<'_> {
        Hold {
            longest: self,
            since: self.clock.get().map(|clock| clock()),
            #[cfg(test)]
            steps_before: work::steps(),
        }
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        if let (Some(since), Some(clock)) = (self.since, self.longest.clock.get()) {
            let nanoseconds = u64::try_from(clock().saturating_sub(since).as_nanos()).unwrap_or(u64::MAX);
            self.longest.nanoseconds.fetch_max(nanoseconds, Ordering::Relaxed);
        }
        #[cfg(test)]
        self.longest.steps.fetch_max(work::steps() - self.steps_before, Ordering::Relaxed);
    }
}

impl<T> Deref for ReadHold<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> Deref for WriteHold<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for WriteHold<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn whoever_waits_gets_the_lock_when_it_is_passed_on() {
        let lock = SteppedLock::new(0);
        let mut pauses = 0;
        let mut pause = || pauses += 1;
        std::thread::scope(|scope| {
            let mut held = lock.write_in_steps(1, &mut pause);
            *held.get() = 1;
            let (send, seen) = mpsc::channel();
            let lock = &lock;
            scope.spawn(move || {
                let turn = lock.queue_up();
                send.send(None).unwrap();
                let value = *lock.value.read().unwrap();
                drop(turn);
                send.send(Some(value)).unwrap();
            });
            assert_eq!(seen.recv().unwrap(), None, "the reader holds the queue");
            held.spend(1);
            *held.get() = 2;
            drop(held);
            assert_eq!(seen.recv().unwrap(), Some(1));
        });
        assert_eq!(pauses, 1);
    }

    #[test]
    fn the_longest_hold_is_known_in_steps_and_time() {
        let lock = SteppedLock::new(());
        drop(lock.read());
        assert_eq!(lock.take_longest(), Duration::ZERO);
        lock.time_holds(|| Duration::from_nanos(work::steps()));
        for steps in [3, 7, 5] {
            let held = lock.write();
            work::count(steps);
            drop(held);
        }
        assert_eq!((lock.take_longest_steps(), lock.take_longest()), (7, Duration::from_nanos(7)));
        assert_eq!((lock.take_longest_steps(), lock.take_longest()), (0, Duration::ZERO));
    }
}
