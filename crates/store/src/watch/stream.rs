//! The watchers of one client stream, read in turn.
//!
//! Owned by whoever writes the client's socket. [`WatchStream::advance`] is called only when the client can
//! take more, so a reader that does not read costs its cursors and nothing else. Each call does a bounded
//! amount of work.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use disk::Revision;

use super::hub::{CatchingUp, Joined, Ready, StreamKey, WatchHub, WatcherKey};
use super::ring::Stretch;
use super::{Event, EventKind};
use crate::Error;
use crate::key_range::KeyRange;
use crate::mvcc::ReadView;

/// Main revisions with events that one answer out of the log may hold, as in etcd.
const CATCH_UP_REVISIONS: usize = 1000;
/// Bytes of events after which such an answer ends with the revision it is at, so that no reader holds much.
const CATCH_UP_BYTES: usize = 1 << 20;
/// Records looked at in one step of catching up.
const CATCH_UP_RECORDS: usize = 10_000;
/// Watchers that may look into the ring in vain in one step.
const VAIN_LOOKS_MAX: usize = 16;

/// What a client wants to watch.
#[derive(Debug, Clone)]
pub struct Watch {
    /// Chosen by the client, unique on its stream; 0: to be chosen here.
    pub id: i64,
    /// Keys watched.
    pub range: KeyRange,
    /// First main revision of interest; 0: from now on. May lie in the future. Never negative.
    pub start_revision: i64,
    /// Whether puts are left out.
    pub no_put: bool,
    /// Whether deletes are left out.
    pub no_delete: bool,
    /// Whether events carry the key as it was before.
    pub prev_kv: bool,
}

/// A watch begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Created {
    /// Its id on the stream.
    pub id: i64,
    /// Revision of the store when it was registered.
    pub revision: i64,
}

/// Why a watch is not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchRefusal {
    /// The range can hold no key.
    EmptyRange,
    /// The id is in use on this stream.
    DuplicateId,
}

impl WatchRefusal {
    /// etcd's `cancel_reason`.
    pub fn text(self) -> &'static str {
        match self {
            WatchRefusal::EmptyRange => "mvcc: watcher range is empty",
            WatchRefusal::DuplicateId => "mvcc: duplicate watch ID provided on the WatchStream",
        }
    }
}

/// What a stream has to tell.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// Events of a watcher, whole revisions only.
    Events {
        /// The watcher.
        watch_id: i64,
        /// Revision for the answer's header: that of the events, or the newest published if they come out of
        /// the log, even if more are to follow.
        revision: i64,
        /// In revision order; each with the key before it, if asked for and still there (`mvccpb.KeyValue` bytes).
        events: Vec<(Event, Option<Bytes>)>,
    },
    /// History the watcher still needed has been compacted: it is told nothing more.
    Compacted {
        /// The watcher.
        watch_id: i64,
        /// The compaction.
        compact_revision: i64,
    },
}

/// What [`WatchStream::advance`] came to.
#[derive(Debug)]
pub enum Progress {
    /// Something to tell.
    Deliver(Delivery),
    /// Nothing yet, but there is more to look at: call again after letting others run.
    Working,
    /// Nothing until the signal comes.
    Idle,
}

/// One of thousands: what it shares with others or holds only at times stands apart.
#[derive(Debug)]
struct Watcher {
    range: Arc<KeyRange>,
    start_revision: i64,
    no_put: bool,
    no_delete: bool,
    prev_kv: bool,
    key: WatcherKey,
    /// The next main revision to look at.
    next: i64,
    /// Nothing once it has been told everything, and follows what is published from then on. As long as the
    /// ring holds what it has yet to look at, no compaction takes anything from it.
    catching_up: Option<CatchingUp>,
    /// Whether it waits in `queue`.
    is_queued: bool,
}

/// The watchers of one client stream.
#[derive(Debug)]
pub struct WatchStream {
    hub: Arc<WatchHub>,
    key: StreamKey,
    view: ReadView,
    /// None: cut off by a compaction; the id stays taken until the client cancels it.
    watchers: BTreeMap<i64, Option<Box<Watcher>>>,
    next_id: i64,
    /// Watchers with something to look at, up to `seen`.
    queue: VecDeque<i64>,
    /// Revision published when the queue was last filled.
    seen: i64,
    ready: Vec<Ready>,
    /// Out of the ring, for one watcher after the other; nothing while there is nothing to look at.
    recent: Option<Stretch>,
}

impl WatchStream {
    pub(super) fn new(hub: Arc<WatchHub>, key: StreamKey, view: ReadView) -> WatchStream {
        let (watchers, queue, ready) = (BTreeMap::new(), VecDeque::new(), Vec::new());
        WatchStream { hub, key, view, watchers, next_id: 0, queue, seen: 0, ready, recent: None }
    }

    /// Begins a watch.
    pub fn create(&mut self, watch: Watch) -> Result<Created, WatchRefusal> {
        let Watch { mut id, range, start_revision, no_put, no_delete, prev_kv } = watch;
        if range.is_empty() {
            return Err(WatchRefusal::EmptyRange);
        }
        if id == 0 {
            while self.watchers.contains_key(&self.next_id) {
                self.next_id += 1;
            }
            id = self.next_id;
            self.next_id += 1;
        } else if self.watchers.contains_key(&id) {
            return Err(WatchRefusal::DuplicateId);
        }
        let Joined { key, range, revision } = self.hub.add_watcher(self.key, id, range);
        let next = if start_revision == 0 { revision + 1 } else { start_revision };
        let is_queued = next <= revision;
        if is_queued {
            self.queue.push_back(id);
            self.seen = self.seen.max(revision);
        }
        let catching_up = is_queued.then(|| CatchingUp::new(&self.hub));
        let watcher =
            Watcher { range, start_revision, no_put, no_delete, prev_kv, key, next, catching_up, is_queued };
        self.watchers.insert(id, Some(Box::new(watcher)));
        Ok(Created { id, revision })
    }

    /// Ends a watch. Returns the revision of the store, or nothing if there is no such watch.
    pub fn cancel(&mut self, id: i64) -> Option<i64> {
        if let Some(watcher) = self.watchers.remove(&id)? {
            self.hub.remove_watcher(watcher.key, &watcher.range);
            self.queue.retain(|queued| *queued != id);
        }
        Some(self.hub.ring().revision())
    }

    /// The revision up to which every watcher of the stream has been told everything, if they all have: the
    /// answer to a progress request. Call it when [`WatchStream::advance`] was idle.
    pub fn progress(&self) -> Option<i64> {
        let revision = self.seen;
        let is_told = |w: &Option<Box<Watcher>>| w.as_ref().is_some_and(|w| w.is_told(revision));
        (!self.watchers.is_empty() && self.watchers.values().all(is_told)).then_some(revision)
    }

    /// The same for one watch, likewise when nothing is left to tell.
    pub fn told(&self, id: i64) -> Option<i64> {
        let watcher = self.watchers.get(&id)?.as_ref()?;
        watcher.is_told(self.seen).then_some(self.seen)
    }

    /// The next thing to tell the client, after a bounded amount of work.
    pub fn advance(&mut self) -> Result<Progress, Error> {
        for _ in 0..VAIN_LOOKS_MAX {
            if let Some(progress) = self.look()? {
                return Ok(progress);
            }
        }
        Ok(Progress::Working)
    }

    /// Lets the watcher whose turn it is look for something; nothing if there was nothing in the ring for it.
    fn look(&mut self) -> Result<Option<Progress>, Error> {
        if self.queue.is_empty() {
            self.refill();
        }
        let Some(&id) = self.queue.front() else {
            self.recent = None;
            return Ok(Some(Progress::Idle));
        };
        let Some(Some(watcher)) = self.watchers.get_mut(&id) else {
            self.queue.pop_front();
            return Ok(None);
        };
        let found = if watcher.next > self.seen {
            None
        } else if watcher.catching_up.is_none() && cover(&mut self.recent, &self.hub, watcher.next, self.seen)
        {
            let recent = self.recent.as_ref().expect("it covers what is next");
            watcher.follow(recent, &self.view)?
        } else {
            let compact_revision = self.view.compact_revision();
            if watcher.next < compact_revision {
                return Ok(Some(Progress::Deliver(self.cut_off(id, compact_revision))));
            }
            watcher.catching_up.get_or_insert_with(|| CatchingUp::new(&self.hub));
            watcher.catch_up(&self.view, self.seen)?
        };
        let is_costly = watcher.catching_up.is_some();
        if watcher.next > self.seen {
            (watcher.is_queued, watcher.catching_up) = (false, None);
            self.queue.pop_front();
        }
        let told =
            found.map(|Found { revision, events }| Delivery::Events { watch_id: id, revision, events });
        Ok(told.map(Progress::Deliver).or(is_costly.then_some(Progress::Working)))
    }

    /// Queues the watchers that have become ready; one that was up to date need not look at the revisions before.
    fn refill(&mut self) {
        let mut ready = std::mem::take(&mut self.ready);
        self.seen = self.hub.take_ready(self.key, &mut ready);
        for entry in ready.drain(..) {
            if let Some(Some(watcher)) = self.watchers.get_mut(&entry.watch_id) {
                watcher.next = watcher.next.max(entry.revision);
                watcher.is_queued = true;
                self.queue.push_back(entry.watch_id);
            }
        }
        self.ready = ready;
    }

    fn cut_off(&mut self, id: i64, compact_revision: i64) -> Delivery {
        if let Some(Some(watcher)) = self.watchers.insert(id, None) {
            self.hub.remove_watcher(watcher.key, &watcher.range);
        }
        self.queue.retain(|queued| *queued != id);
        Delivery::Compacted { watch_id: id, compact_revision }
    }
}

impl Drop for WatchStream {
    fn drop(&mut self) {
        for watcher in self.watchers.values().flatten() {
            self.hub.remove_watcher(watcher.key, &watcher.range);
        }
        self.hub.remove_stream(self.key);
    }
}

/// Lets `recent` cover main revision `next`, unless the ring has forgotten it: false then.
fn cover(recent: &mut Option<Stretch>, hub: &WatchHub, next: i64, seen: i64) -> bool {
    if !recent.as_ref().is_some_and(|stretch| stretch.covers(next)) {
        *recent = hub.ring().stretch(next, seen);
    }
    recent.is_some()
}

/// What a watcher is to be told, and the revision for the answer's header.
struct Found {
    revision: i64,
    events: Vec<(Event, Option<Bytes>)>,
}

impl Watcher {
    /// Whether it has been told everything up to `seen`, and has begun by then.
    fn is_told(&self, seen: i64) -> bool {
        let has_begun = self.start_revision <= seen || disk::seeded_bug!("progress-before-beginning");
        !self.is_queued && has_begun
    }

    fn wants(&self, key: &[u8], is_delete: bool) -> bool {
        let is_filtered = if is_delete { self.no_delete } else { self.no_put };
        !is_filtered && self.range.contains(key)
    }

    /// The key as it was before an event of main revision `revision`, if that is to be told.
    fn prev(&self, event: &Event, revision: i64, view: &ReadView) -> Result<Option<Bytes>, Error> {
        match event.kind {
            EventKind::Update | EventKind::Delete if self.prev_kv => {
                view.key_at(&event.key, revision - 1 - i64::from(disk::seeded_bug!("prev-kv-too-old")))
            }
            _ => Ok(None),
        }
    }

    /// Looks into a stretch of the ring for the next revision that concerns this watcher.
    fn follow(&mut self, recent: &Stretch, view: &ReadView) -> Result<Option<Found>, Error> {
        for change in recent.since(self.next) {
            self.next = change.revision + 1;
            let mut events = Vec::new();
            for event in &change.events {
                if self.wants(&event.key, event.kind == EventKind::Delete) {
                    events.push((event.clone(), self.prev(event, change.revision, view)?));
                }
            }
            if disk::seeded_bug!("half-a-revision-told") {
                events.truncate(1);
            }
            if !events.is_empty() {
                return Ok(Some(Found { revision: change.revision, events }));
            }
        }
        self.next = recent.to() + 1;
        Ok(None)
    }

    /// Looks into the log for the next revisions that concern this watcher, up to `seen`.
    fn catch_up(&mut self, view: &ReadView, seen: i64) -> Result<Option<Found>, Error> {
        let mut events: Vec<(Event, Option<Bytes>)> = Vec::new();
        let (mut looked_at, mut revisions, mut bytes, mut last, mut told) = (0, 0, 0, 0, 0);
        let mut end = seen;
        let compacted = view.compact_revision();
        for record in view.scan(Revision { main: self.next, sub: 0 }) {
            let record = record?;
            let main = record.meta.revision.main;
            let is_new_revision = main != last;
            if main > seen {
                break;
            }
            let is_enough =
                looked_at >= CATCH_UP_RECORDS || revisions >= CATCH_UP_REVISIONS || bytes >= CATCH_UP_BYTES;
            if is_new_revision && is_enough {
                end = last;
                break;
            }
            (looked_at, last) = (looked_at + 1, main);
            // At the compacted revision itself the log may hold a change that a later one of the same revision
            // replaced.
            let is_kept = main > compacted || view.holds(record.key(), record.meta.revision);
            if is_kept && self.wants(record.key(), record.meta.tombstone) {
                revisions += usize::from(told != main);
                bytes += record.key_value().len();
                let event = Event::new(record.key(), &record.meta, &record.key_value());
                let prev = self.prev(&event, main, view)?;
                events.push((event, prev));
                told = main;
            }
        }
        if self.next < view.compact_revision() {
            // What was read may have holes: the next call cuts the watcher off.
            return Ok(None);
        }
        self.next = end + 1;
        Ok((!events.is_empty()).then_some(Found { revision: seen, events }))
    }
}
