//! Where changes meet watchers: the ring, and who wants to know of what.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use super::interest::Interest;
use super::marks::Marks;
use super::ring::Ring;
use super::stream::WatchStream;
use super::{Change, Event};
use crate::key_range::KeyRange;
use crate::mvcc::ReadView;

/// Wakes whoever reads a [`WatchStream`]. Called by the writer's thread: must not block.
pub trait Signal: Debug + Send + Sync {
    /// There may be something to read.
    fn signal(&self);
}

/// The one place changes are published to and watched from.
#[derive(Debug)]
pub struct WatchHub {
    ring: RwLock<Ring>,
    registry: Mutex<Registry>,
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

/// Names a watcher within the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WatcherKey(u32);

/// Names a stream within the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamKey(u32);

/// A watcher that has come to the hub.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) key: WatcherKey,
    /// What it watches, shared with all who watch the same.
    pub(super) range: Arc<KeyRange>,
    /// The revision published so far: the watcher will be marked for every matching change after that.
    pub(super) revision: i64,
}

/// A watcher that has something to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ready {
    pub(super) key: WatcherKey,
    /// The watcher's id on its stream.
    pub(super) watch_id: i64,
    /// What concerns it of the revisions since it was last taken.
    pub(super) marks: Marks,
}

#[derive(Debug, Default)]
struct Registry {
    interest: Interest<u32>,
    watchers: Slots<Watcher>,
    streams: Slots<Stream>,
}

#[derive(Debug)]
struct Watcher {
    watch_id: i64,
    stream: u32,
    /// Its place in the list of its stream, while it is ready.
    ready: Option<u32>,
}

#[derive(Debug)]
struct Stream {
    signal: Arc<dyn Signal>,
    ready: VecDeque<Ready>,
}

/// Values under small reusable numbers, four thousand million at most.
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
        u32::try_from(self.slots.len() - 1).expect("memory ends before the numbers do")
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
            registry: Mutex::default(),
            watchers: AtomicUsize::new(0),
            catching_up: AtomicUsize::new(0),
        }
    }

    /// Opens a stream of watchers that reads history through `view`; `signal` is called when there is something
    /// to read.
    pub fn stream(self: &Arc<Self>, view: ReadView, signal: Arc<dyn Signal>) -> WatchStream {
        let key = self.registry().streams.insert(Stream { signal, ready: VecDeque::new() });
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
        self.registry().streams.len()
    }

    /// The newest main revision published.
    pub(crate) fn revision(&self) -> i64 {
        self.ring().revision()
    }

    /// Publishes what brought the store to `revision`. `with_events` says whether the changes carry their
    /// events. Returns whom to signal.
    pub(crate) fn publish(
        &self,
        revision: i64,
        changes: Vec<Change>,
        with_events: bool,
    ) -> Vec<Arc<dyn Signal>> {
        let mut registry = self.registry();
        let mut woken = Vec::new();
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        if !with_events {
            let first = ring.revision() + 1;
            ring.skip_to(revision);
            drop(ring);
            registry.mark_all(first, revision, &mut woken);
            return woken;
        }
        for change in changes {
            for event in &change.events {
                registry.mark_interested(event, change.revision, &mut woken);
            }
            if !(disk::seeded_bug!("revision-not-in-ring") && change.revision % 8 == 0) {
                ring.push(Arc::new(change));
            }
        }
        woken
    }

    pub(super) fn ring(&self) -> RwLockReadGuard<'_, Ring> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a watcher.
    pub(super) fn add_watcher(&self, stream: StreamKey, watch_id: i64, range: KeyRange) -> Joined {
        let mut registry = self.registry();
        let key = registry.watchers.insert(Watcher { watch_id, stream: stream.0, ready: None });
        let range = registry.interest.add(range, key);
        self.watchers.fetch_add(1, Ordering::Relaxed);
        Joined { key: WatcherKey(key), range, revision: self.ring().revision() }
    }

    pub(super) fn remove_watcher(&self, key: WatcherKey, range: &KeyRange) {
        let mut registry = self.registry();
        registry.interest.remove(range, key.0);
        registry.unmark(key.0);
        registry.watchers.remove(key.0);
        self.watchers.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn remove_stream(&self, stream: StreamKey) {
        self.registry().streams.remove(stream.0);
    }

    /// Lets `ready`, which is empty, be the watchers of a stream that have become ready since the last call. Returns
    /// the revision published so far, within which their events lie.
    pub(super) fn take_ready(&self, stream: StreamKey, ready: &mut VecDeque<Ready>) -> i64 {
        let mut registry = self.registry();
        std::mem::swap(ready, &mut registry.streams.get_mut(stream.0).ready);
        for entry in &*ready {
            registry.watchers.get_mut(entry.key.0).ready = None;
        }
        self.ring().revision()
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    fn mark_interested(&mut self, event: &Event, revision: i64, woken: &mut Vec<Arc<dyn Signal>>) {
        let Registry { interest, watchers, streams } = self;
        interest.matching(&event.key, &mut |watcher| {
            marks(watchers, streams, watcher, revision, woken).add(revision);
        });
    }

    /// Watchers that arrived after the batch of these revisions had begun without events must look into the log.
    fn mark_all(&mut self, first: i64, last: i64, woken: &mut Vec<Arc<dyn Signal>>) {
        let Registry { watchers, streams, .. } = self;
        for watcher in 0..u32::try_from(watchers.slots.len()).expect("each slot has a number") {
            if watchers.slots[watcher as usize].is_some() {
                marks(watchers, streams, watcher, first, woken).add_all(first, last);
            }
        }
    }

    /// Takes a watcher off the list of its stream.
    fn unmark(&mut self, watcher: u32) {
        let state = self.watchers.get_mut(watcher);
        let Some(place) = state.ready.take() else { return };
        let ready = &mut self.streams.get_mut(state.stream).ready;
        ready.remove(place as usize);
        for (moved, place) in ready.iter().zip(0..).skip(place as usize) {
            self.watchers.get_mut(moved.key.0).ready = Some(place);
        }
    }
}

/// The marks of a watcher, who is made ready at `revision` if it is not.
fn marks<'a>(
    watchers: &mut Slots<Watcher>,
    streams: &'a mut Slots<Stream>,
    watcher: u32,
    revision: i64,
    woken: &mut Vec<Arc<dyn Signal>>,
) -> &'a mut Marks {
    let state = watchers.get_mut(watcher);
    let stream = streams.get_mut(state.stream);
    let place = *state.ready.get_or_insert_with(|| {
        if stream.ready.is_empty() {
            woken.push(Arc::clone(&stream.signal));
        }
        let (key, watch_id) = (WatcherKey(watcher), state.watch_id);
        stream.ready.push_back(Ready { key, watch_id, marks: Marks::none(revision) });
        u32::try_from(stream.ready.len() - 1).expect("no more are ready than there are watchers")
    });
    &mut stream.ready[place as usize].marks
}
