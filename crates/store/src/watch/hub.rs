//! The watch hub: takes published changes, and finds the watchers that each change concerns.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use super::interest::Interest;
use super::marks::Marks;
use super::ring::Ring;
use super::stream::WatchStream;
use super::{Change, Event};
use crate::key_range::KeyRange;
use crate::mvcc::ReadView;
use crate::stepped_lock::{SteppedLock, SteppedWriter};
use crate::work;

/// Events and watchers looked at under one hold of the registry's lock: about 100 µs.
const STEPS_PER_HOLD: usize = 1000;

/// Wakes the reader of a [`WatchStream`]. Called by the writer's thread: must not block.
pub trait Signal: Debug + Send + Sync {
    /// There may be something to read.
    fn signal(&self);
}

/// The one place changes are published to and watched from.
///
/// A change is pushed into the ring first, then marked for each watcher that is interested, which may take
/// several holds of the registry's lock. A watcher that joins in between begins after this change, so it
/// makes no difference whether it is marked for it. The revision counts as published when all watchers have
/// been marked for it.
#[derive(Debug)]
pub struct WatchHub {
    ring: RwLock<Ring>,
    registry: SteppedLock<Registry>,
    watchers: AtomicUsize,
    catching_up: AtomicUsize,
}

/// A watcher that reads history, counted for as long as this lives.
#[derive(Debug)]
pub(super) struct CatchingUp(Arc<WatchHub>);

impl CatchingUp {
    pub(super) fn new(hub: &Arc<WatchHub>) -> CatchingUp {
        hub.catching_up.fetch_add(1, Ordering::Relaxed);
        CatchingUp(Arc::clone(hub))
    }
}

impl Drop for CatchingUp {
    fn drop(&mut self) {
        self.0.catching_up.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Names a watcher within the hub, for good: no other watcher has the same number, now or later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WatcherKey {
    slot: u32,
    number: u64,
}

/// Names a stream within the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamKey(u32);

/// A watcher that was added to the hub.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) key: WatcherKey,
    /// The range it watches, in memory shared by all watchers of the same range.
    pub(super) range: Arc<KeyRange>,
    /// The newest revision in the ring: the watcher will be marked for every matching change after that.
    pub(super) revision: i64,
}

/// A watcher that has something to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ready {
    pub(super) key: WatcherKey,
    /// The watcher's id on its stream.
    pub(super) watch_id: i64,
    /// The revisions that concern it, of those since it was last taken from the ready list.
    pub(super) marks: Marks,
}

#[derive(Debug, Default)]
struct Registry {
    interest: Interest<u32>,
    watchers: Slots<Watcher>,
    streams: Slots<Stream>,
    /// The newest main revision for which every watcher has been marked.
    published: i64,
    /// Number of the next watcher.
    next_number: u64,
}

#[derive(Debug)]
struct Watcher {
    number: u64,
    watch_id: i64,
    stream: u32,
    ready: Option<ReadyPlace>,
}

/// The position of a watcher in the ready list of its stream.
#[derive(Debug, Clone, Copy)]
struct ReadyPlace {
    /// [`Stream::lists_taken`] of when it was put there: the list of another number has been taken
    /// meanwhile.
    list: u64,
    place: usize,
}

#[derive(Debug)]
struct Stream {
    signal: Arc<dyn Signal>,
    /// Watchers with something to read, each once.
    ready: VecDeque<Ready>,
    /// How often the ready list was taken.
    lists_taken: u64,
}

/// A slab: values by small numbers, which are used again. At most 2^32 - 1 values.
///
/// The crate of that name would be the sixth from outside in the deterministic core, which has five.
#[derive(Debug)]
struct Slots<T> {
    slots: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Slots { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    fn insert(&mut self, value: T) -> u32 {
        if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = Some(value);
            return slot;
        }
        self.slots.push(Some(value));
        u32::try_from(self.slots.len() - 1).expect("2^32 values do not fit into memory")
    }

    fn remove(&mut self, slot: u32) {
        self.slots[slot as usize] = None;
        self.free.push(slot);
    }

    fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    fn get_mut(&mut self, slot: u32) -> &mut T {
        self.slots[slot as usize].as_mut().expect("a slot is named only while it is taken")
    }
}

impl WatchHub {
    /// A hub of a store at `revision`.
    pub(crate) fn new(revision: i64) -> WatchHub {
        WatchHub {
            ring: RwLock::new(Ring::new(revision)),
            registry: SteppedLock::new(Registry { published: revision, ..Registry::default() }),
            watchers: AtomicUsize::new(0),
            catching_up: AtomicUsize::new(0),
        }
    }

    /// Opens a stream of watchers that reads history through `view`; `signal` is called when there is
    /// something to read.
    pub fn stream(self: &Arc<Self>, view: ReadView, signal: Arc<dyn Signal>) -> WatchStream {
        let stream = Stream { signal, ready: VecDeque::new(), lists_taken: 0 };
        let key = self.registry.write().streams.insert(stream);
        WatchStream::new(Arc::clone(self), StreamKey(key), view)
    }

    /// Number of watchers now.
    pub fn watchers(&self) -> usize {
        self.watchers.load(Ordering::Relaxed)
    }

    /// Number of watchers that have history to read before they follow what is published.
    pub fn catching_up(&self) -> usize {
        self.catching_up.load(Ordering::Relaxed)
    }

    /// Number of streams now.
    pub fn streams(&self) -> usize {
        self.registry.read().streams.len()
    }

    /// Has holds of the hub's lock timed by `clock`, which tells the time since some fixed moment.
    pub fn time_holds(&self, clock: fn() -> Duration) {
        self.registry.time_holds(clock);
    }

    /// The longest hold of the hub's lock since the last call; zero without a clock.
    pub fn take_longest_hold(&self) -> Duration {
        self.registry.take_longest()
    }

    /// The newest main revision published.
    pub(crate) fn revision(&self) -> i64 {
        self.ring().revision()
    }

    /// Publishes the changes that brought the store to `revision`. `with_events` says whether they hold
    /// their events. Returns the signals of the streams that have something to read. Calls `pause` again and
    /// again if it takes long.
    pub(crate) fn publish(
        &self,
        revision: i64,
        changes: Vec<Change>,
        with_events: bool,
        pause: &mut dyn FnMut(),
    ) -> Vec<Arc<dyn Signal>> {
        let registry = self.registry.write_in_steps(STEPS_PER_HOLD, pause);
        let mut publication = Publication { hub: self, registry, woken: Vec::new() };
        if with_events {
            changes.into_iter().for_each(|change| publication.publish(change));
        } else {
            let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
            let first = ring.revision() + 1;
            let forgotten = ring.skip_to(revision);
            drop(ring);
            drop(forgotten);
            publication.mark_all(first, revision);
        }
        publication.registry.get().published = revision;
        publication.woken
    }

    pub(super) fn ring(&self) -> RwLockReadGuard<'_, Ring> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a watcher.
    pub(super) fn add_watcher(&self, stream: StreamKey, watch_id: i64, range: KeyRange) -> Joined {
        let mut registry = self.registry.write();
        let number = registry.next_number;
        registry.next_number += 1;
        let slot = registry.watchers.insert(Watcher { number, watch_id, stream: stream.0, ready: None });
        let range = registry.interest.add(range, slot);
        self.watchers.fetch_add(1, Ordering::Relaxed);
        Joined { key: WatcherKey { slot, number }, range, revision: self.ring().revision() }
    }

    pub(super) fn remove_watcher(&self, key: WatcherKey, range: &KeyRange) {
        work::count(1);
        let mut registry = self.registry.write();
        registry.interest.remove(range, key.slot);
        registry.unmark(key.slot);
        registry.watchers.remove(key.slot);
        self.watchers.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn remove_stream(&self, stream: StreamKey) {
        self.registry.write().streams.remove(stream.0);
    }

    /// Replaces `ready`, which must be empty, with the watchers of a stream that have become ready since the
    /// last call. Returns a revision up to which all that concerns the stream has been marked.
    pub(super) fn take_ready(&self, stream: StreamKey, ready: &mut VecDeque<Ready>) -> i64 {
        let mut registry = self.registry.write();
        let stream = registry.streams.get_mut(stream.0);
        stream.lists_taken += 1;
        std::mem::swap(ready, &mut stream.ready);
        registry.published
    }

    #[cfg(test)]
    pub(super) fn take_longest_steps(&self) -> u64 {
        self.registry.take_longest_steps()
    }
}

impl Registry {
    /// Removes a watcher from the ready list of its stream. The last watcher of the list moves to its
    /// position.
    fn unmark(&mut self, watcher: u32) {
        let state = self.watchers.get_mut(watcher);
        let stream = self.streams.get_mut(state.stream);
        let Some(ready) = state.ready.take().filter(|ready| ready.list == stream.lists_taken) else { return };
        stream.ready.swap_remove_back(ready.place);
        if let Some(moved) = stream.ready.get(ready.place) {
            self.watchers.get_mut(moved.key.slot).ready = Some(ready);
        }
    }
}

/// A publication under way.
struct Publication<'a> {
    hub: &'a WatchHub,
    registry: SteppedWriter<'a, Registry>,
    woken: Vec<Arc<dyn Signal>>,
}

impl Publication<'_> {
    fn publish(&mut self, change: Change) {
        let change = Arc::new(change);
        if !(disk::seeded_bug!("revision-not-in-ring") && change.revision % 8 == 0) {
            let mut ring = self.hub.ring.write().unwrap_or_else(PoisonError::into_inner);
            let forgotten = ring.push(Arc::clone(&change));
            drop(ring);
            // To free them takes long; the ring is unlocked by now.
            drop(forgotten);
        }
        for event in &change.events {
            self.mark_interested(event, change.revision);
        }
    }

    fn mark_interested(&mut self, event: &Event, revision: i64) {
        let mut last = None;
        loop {
            let mut steps = 1;
            let steps_max = self.registry.steps_left();
            let Registry { interest, watchers, streams, .. } = self.registry.get();
            last = interest.matching(&event.key, last.as_ref(), &mut |watcher| {
                marks(watchers, streams, watcher, revision, &mut self.woken).add(revision);
                steps += 1;
                if steps < steps_max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            work::count(steps);
            self.registry.spend(steps);
            if last.is_none() {
                return;
            }
        }
    }

    /// Marks all watchers for these revisions, whose events were not made: watchers that were added since
    /// then look into the log.
    fn mark_all(&mut self, first: i64, last: i64) {
        for slot in 0.. {
            let Registry { watchers, streams, .. } = self.registry.get();
            let Some(watcher) = watchers.slots.get(slot as usize) else { return };
            if watcher.is_some() {
                marks(watchers, streams, slot, first, &mut self.woken).add_all(first, last);
            }
            work::count(1);
            self.registry.spend(1);
        }
    }
}

/// The marks of a watcher, which is put on the ready list of its stream at `revision` if it is not there.
fn marks<'a>(
    watchers: &mut Slots<Watcher>,
    streams: &'a mut Slots<Stream>,
    watcher: u32,
    revision: i64,
    woken: &mut Vec<Arc<dyn Signal>>,
) -> &'a mut Marks {
    let state = watchers.get_mut(watcher);
    let stream = streams.get_mut(state.stream);
    let place = match state.ready {
        Some(ready) if ready.list == stream.lists_taken => ready.place,
        _ => {
            if stream.ready.is_empty() {
                woken.push(Arc::clone(&stream.signal));
            }
            let place = stream.ready.len();
            let key = WatcherKey { slot: watcher, number: state.number };
            stream.ready.push_back(Ready { key, watch_id: state.watch_id, marks: Marks::none(revision) });
            state.ready = Some(ReadyPlace { list: stream.lists_taken, place });
            place
        }
    };
    &mut stream.ready[place].marks
}
