//! How much memory reads of many keys may take, and how they queue for it.
//!
//! Two budgets, since a read has two phases. While it *walks* the store it does not depend on its client: walks of all connections share [`WALKS_MAX`] bytes, first come, first served, and each gives its part back soon. While its
//! *answer* waits for the client it may take for ever: that counts for its connection alone, which may hold
//! [`ANSWERS_MAX`] bytes of long answers. A read reserves for its answer first, so a connection that does not read
//! never holds what others wait for.
//!
//! A call that waits here gives up its place when its client or its time is gone.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// Bytes that all walks of the store hold together, about.
const WALKS_MAX: usize = 256 << 20;

/// Bytes that long answers of a connection hold, about; a longer one takes all of that.
const ANSWERS_MAX: usize = 16 << 20;

/// What a permit of the semaphores stands for, in bytes.
const UNIT: usize = 4 << 10;

static WALKS: Semaphore = Semaphore::const_new(WALKS_MAX / UNIT);

/// What one connection may hold.
#[derive(Debug)]
pub(crate) struct ReadShare {
    answers: Arc<Semaphore>,
    /// One at a time of what walks all of a table: so a connection that asks for many holds the memory of
    /// one, and is one among those that wait for a worker.
    listings: Semaphore,
    /// One at a time of the chunks of RangeStreams: else many would find room and be made together.
    chunks: Semaphore,
}

/// The part of a connection's share that a long answer takes; given back when dropped.
#[derive(Debug)]
pub(crate) struct Reservation(OwnedSemaphorePermit);

impl Default for ReadShare {
    fn default() -> ReadShare {
        let answers = Arc::new(Semaphore::new(ANSWERS_MAX / UNIT));
        ReadShare { answers, listings: Semaphore::new(1), chunks: Semaphore::new(1) }
    }
}

impl ReadShare {
    /// Reserves memory for an answer of `len` bytes if there is some now.
    pub(crate) fn try_reserve(&self, len: usize) -> Option<Reservation> {
        Arc::clone(&self.answers).try_acquire_many_owned(units(len, ANSWERS_MAX)).ok().map(Reservation)
    }

    /// Reserves memory for an answer of `len` bytes, when earlier ones of the connection have left some.
    pub(crate) async fn reserve(&self, len: usize) -> Option<Reservation> {
        // The semaphore is never closed, so there is a reservation in the end.
        Arc::clone(&self.answers).acquire_many_owned(units(len, ANSWERS_MAX)).await.ok().map(Reservation)
    }

    /// Waits until the connection has no other hash computed or long list made. The next one waits for as
    /// long as the permit lives.
    pub(crate) async fn begin_listing(&self) -> Option<SemaphorePermit<'_>> {
        self.listings.acquire().await.ok()
    }

    /// Waits until the connection has no other chunk of a RangeStream made. The next one waits for as long
    /// as the permit lives.
    pub(crate) async fn begin_chunk(&self) -> Option<SemaphorePermit<'_>> {
        self.chunks.acquire().await.ok()
    }
}

impl Reservation {
    /// Gives back what is not needed for an answer of `len` bytes.
    pub(crate) fn shrink(&mut self, len: usize) {
        let spare = self.0.num_permits().saturating_sub(units(len, ANSWERS_MAX) as usize);
        drop(self.0.split(spare));
    }

    /// The same bytes, which hold the reservation until the last part of them is sent.
    pub(crate) fn hold_with(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Reserved { bytes, _reservation: self })
    }
}

/// Bytes with what was reserved for them.
struct Reserved {
    bytes: Bytes,
    _reservation: Reservation,
}

impl AsRef<[u8]> for Reserved {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Begins a walk that holds `len` bytes if no other waits and there is room.
pub(crate) fn try_begin_walk(len: usize) -> Option<SemaphorePermit<'static>> {
    WALKS.try_acquire_many(units(len, WALKS_MAX)).ok()
}

/// Waits until a walk that holds `len` bytes may begin; it ends when the permit is dropped.
pub(crate) async fn begin_walk(len: usize) -> Option<SemaphorePermit<'static>> {
    WALKS.acquire_many(units(len, WALKS_MAX)).await.ok()
}

/// Permits for so many bytes; no more than there are.
fn units(len: usize, max: usize) -> u32 {
    (len.min(max).div_ceil(UNIT)) as u32
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn is_pending(future: impl Future) -> bool {
        pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    #[test]
    fn answers_of_a_connection_wait_for_each_other_beyond_its_share() {
        let (share, other) = (ReadShare::default(), ReadShare::default());
        let mut held: Vec<_> = std::iter::from_fn(|| share.try_reserve(5 << 20)).collect();
        assert_eq!(held.len(), 3);
        let mut waiting = pin!(share.reserve(5 << 20));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        assert!(share.try_reserve(1).is_none(), "nobody overtakes the one that waits");
        assert!(other.try_reserve(ANSWERS_MAX).is_some(), "another connection has a share of its own");
        held.pop();
        assert!(waiting.as_mut().poll(&mut cx).is_ready());
    }

    #[test]
    fn an_answer_longer_than_the_share_takes_all_of_it() {
        let share = ReadShare::default();
        let mut reservation = share.try_reserve(usize::MAX).unwrap();
        assert!(share.try_reserve(1).is_none());
        reservation.shrink(ANSWERS_MAX / 2);
        assert!(share.try_reserve(ANSWERS_MAX / 2).is_some());
    }

    #[test]
    fn memory_counts_until_the_last_part_of_it_is_dropped() {
        let share = ReadShare::default();
        let mut bytes = share.try_reserve(ANSWERS_MAX).unwrap().hold_with(Bytes::from(vec![7; 100]));
        drop(bytes.split_to(99));
        assert!(is_pending(share.reserve(1)), "one byte keeps all");
        drop(bytes);
        assert!(!is_pending(share.reserve(1)));
    }

    #[test]
    fn a_connection_makes_one_listing_at_a_time() {
        let (share, other) = (ReadShare::default(), ReadShare::default());
        let mut first = pin!(share.begin_listing());
        let mut cx = Context::from_waker(Waker::noop());
        let permit = first.as_mut().poll(&mut cx);
        assert!(permit.is_ready() && is_pending(share.begin_listing()) && !is_pending(other.begin_listing()));
        drop(permit);
        assert!(!is_pending(share.begin_listing()));
    }

    #[test]
    fn walks_wait_for_each_other_and_those_that_give_up_do_not_count() {
        let held = try_begin_walk(WALKS_MAX).unwrap();
        assert!(try_begin_walk(1).is_none());
        assert!(is_pending(begin_walk(WALKS_MAX)), "and is dropped");
        drop(held);
        assert!(!is_pending(begin_walk(usize::MAX)), "the longest walk takes all");
    }

    #[test]
    fn who_gives_up_waiting_leaves_the_place_to_the_next() {
        let share = ReadShare::default();
        let held = share.try_reserve(ANSWERS_MAX);
        assert!(is_pending(share.reserve(ANSWERS_MAX)), "and is dropped");
        drop(held);
        assert!(share.try_reserve(ANSWERS_MAX).is_some());
    }
}
