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
use super::marks::Marks;
use super::{Change, Event, EventKind};
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
/// Watchers for which an empty queue keeps its memory.
const QUEUE_KEPT_MAX: usize = 256;

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
#[derive(Debug, Clone, Copy)]
pub enum Delivery<'a> {
    /// Events of a watcher, whole revisions only.
    Events {
        /// The watcher.
        watch_id: i64,
        /// Revision for the answer's header: that of the events, or the newest published if they come out of
        /// the log, even if more are to follow.
        revision: i64,
        /// In revision order.
        events: &'a [Event],
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
pub enum Progress<'a> {
    /// Something to tell.
    Deliver(Delivery<'a>),
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
    /// Watchers with something to look at: what is marked, up to `seen`.
    queue: VecDeque<Ready>,
    /// Revision published when the queue was last filled.
    seen: i64,
    /// Out of the ring, for one watcher after the other; nothing while there is nothing to look at.
    recent: Vec<Arc<Change>>,
    /// Events of a watcher that are not just those of a recent change.
    collected: Vec<Event>,
}

/// What a look has come to.
enum Look {
    /// A watcher is to be told these events, under this revision.
    Found {
        watch_id: i64,
        revision: i64,
        events: Found,
    },
    Other(Progress<'static>),
}

/// Where the events for a watcher are.
enum Found {
    /// All those of the recent change at this place.
    Recent(usize),
    /// Those collected.
    Collected,
}

impl WatchStream {
    pub(super) fn new(hub: Arc<WatchHub>, key: StreamKey, view: ReadView) -> WatchStream {
        let (watchers, queue) = (BTreeMap::new(), VecDeque::new());
        let (recent, collected) = (Vec::new(), Vec::new());
        WatchStream { hub, key, view, watchers, next_id: 0, queue, seen: 0, recent, collected }
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
        let has_history = next <= revision;
        if has_history {
            self.queue.push_back(Ready { key, watch_id: id, marks: Marks::all(next, revision) });
            self.seen = self.seen.max(revision);
        }
        let catching_up = has_history.then(|| CatchingUp::new(&self.hub));
        let watcher = Watcher { range, start_revision, no_put, no_delete, prev_kv, key, next, catching_up };
        self.watchers.insert(id, Some(Box::new(watcher)));
        Ok(Created { id, revision })
    }

    /// Ends a watch. Returns the revision of the store, or nothing if there is no such watch.
    pub fn cancel(&mut self, id: i64) -> Option<i64> {
        if let Some(watcher) = self.watchers.remove(&id)? {
            self.hub.remove_watcher(watcher.key, &watcher.range);
            self.queue.retain(|queued| queued.watch_id != id);
        }
        Some(self.hub.ring().revision())
    }

    /// The revision up to which every watcher of the stream has been told everything, if they all have: the
    /// answer to a progress request. Call it when [`WatchStream::advance`] was idle.
    pub fn progress(&self) -> Option<i64> {
        let revision = self.seen;
        let has_begun = |w: &Option<Box<Watcher>>| w.as_ref().is_some_and(|w| w.has_begun(revision));
        let is_due = !self.watchers.is_empty() && self.queue.is_empty();
        (is_due && self.watchers.values().all(has_begun)).then_some(revision)
    }

    /// The same for one watch, likewise when nothing is left to tell.
    pub fn told(&self, id: i64) -> Option<i64> {
        let watcher = self.watchers.get(&id)?.as_ref()?;
        let is_queued = self.queue.iter().any(|queued| queued.watch_id == id);
        (!is_queued && watcher.has_begun(self.seen)).then_some(self.seen)
    }

    /// The next thing to tell the client, after a bounded amount of work.
    pub fn advance(&mut self) -> Result<Progress<'_>, Error> {
        for _ in 0..VAIN_LOOKS_MAX {
            match self.look()? {
                None => {}
                Some(Look::Other(progress)) => return Ok(progress),
                Some(Look::Found { watch_id, revision, events }) => {
                    let events = match events {
                        Found::Recent(place) => &self.recent[place].events,
                        Found::Collected => &self.collected,
                    };
                    return Ok(Progress::Deliver(Delivery::Events { watch_id, revision, events }));
                }
            }
        }
        Ok(Progress::Working)
    }

    /// Lets the watcher whose turn it is look for something; nothing if the ring has nothing for it.
    fn look(&mut self) -> Result<Option<Look>, Error> {
        if self.queue.is_empty() {
            self.queue.shrink_to(QUEUE_KEPT_MAX);
            self.seen = self.hub.take_ready(self.key, &mut self.queue);
        }
        let Some(&Ready { watch_id, marks, .. }) = self.queue.front() else {
            (self.recent, self.collected) = (Vec::new(), Vec::new());
            return Ok(Some(Look::Other(Progress::Idle)));
        };
        let Some(Some(watcher)) = self.watchers.get_mut(&watch_id) else {
            self.queue.pop_front();
            return Ok(None);
        };
        let mut look = None;
        if let Some(next) = marks.next(watcher.next) {
            watcher.next = next;
            if watcher.catching_up.is_none() && cover(&mut self.recent, &self.hub, &marks, next) {
                let found = watcher.follow(&marks, &self.recent, &mut self.collected, &self.view)?;
                look = found.map(|(revision, events)| Look::Found { watch_id, revision, events });
            } else {
                let compact_revision = self.view.compact_revision();
                if next < compact_revision {
                    return Ok(Some(self.cut_off(watch_id, compact_revision)));
                }
                watcher.catching_up.get_or_insert_with(|| CatchingUp::new(&self.hub));
                let has_found = watcher.catch_up(marks.last(), &mut self.collected, &self.view)?;
                let found = Look::Found { watch_id, revision: self.seen, events: Found::Collected };
                look = Some(if has_found { found } else { Look::Other(Progress::Working) });
            }
        }
        if marks.next(watcher.next).is_none() {
            watcher.catching_up = None;
            self.queue.pop_front();
        }
        Ok(look)
    }

    fn cut_off(&mut self, watch_id: i64, compact_revision: i64) -> Look {
        if let Some(Some(watcher)) = self.watchers.insert(watch_id, None) {
            self.hub.remove_watcher(watcher.key, &watcher.range);
        }
        self.queue.retain(|queued| queued.watch_id != watch_id);
        Look::Other(Progress::Deliver(Delivery::Compacted { watch_id, compact_revision }))
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

/// Lets `recent` hold the change of main revision `next`, the first one marked, unless the ring has forgotten it:
/// false then.
fn cover(recent: &mut Vec<Arc<Change>>, hub: &WatchHub, marks: &Marks, next: i64) -> bool {
    place_of(recent, next).is_some() || hub.ring().pick(marks, next, recent)
}

fn place_of(recent: &[Arc<Change>], revision: i64) -> Option<usize> {
    recent.binary_search_by_key(&revision, |change| change.revision).ok()
}

impl Watcher {
    /// Whether it has begun by `revision`.
    fn has_begun(&self, revision: i64) -> bool {
        self.start_revision <= revision || disk::seeded_bug!("progress-before-beginning")
    }

    fn wants(&self, key: &[u8], is_delete: bool) -> bool {
        let is_filtered = if is_delete { self.no_delete } else { self.no_put };
        !is_filtered && self.range.contains(key)
    }

    /// The key as it was before a change of main revision `revision`, if that is to be told.
    fn prev(&self, event: &Event, revision: i64, view: &ReadView) -> Result<Option<Bytes>, Error> {
        match event.kind {
            EventKind::Update | EventKind::Delete if self.prev_kv => {
                view.key_at(&event.key, revision - 1 - i64::from(disk::seeded_bug!("prev-kv-too-old")))
            }
            _ => Ok(None),
        }
    }

    /// Looks at recent changes for the next marked one that concerns this watcher; returns its revision.
    fn follow(
        &mut self,
        marks: &Marks,
        recent: &[Arc<Change>],
        collected: &mut Vec<Event>,
        view: &ReadView,
    ) -> Result<Option<(i64, Found)>, Error> {
        let Some(first) = place_of(recent, self.next) else {
            // There is no such change.
            self.next += 1;
            return Ok(None);
        };
        for (place, change) in recent.iter().enumerate().skip(first) {
            // What was picked for another watcher may leave out what is marked for this one.
            if marks.next(self.next) != Some(change.revision) {
                break;
            }
            self.next = change.revision + 1;
            let wants = |event: &&Event| self.wants(&event.key, event.kind == EventKind::Delete);
            let n_wanted = change.events.iter().filter(wants).count();
            if n_wanted == 0 {
                continue;
            }
            let is_half_told = disk::seeded_bug!("half-a-revision-told") && n_wanted > 1;
            if n_wanted == change.events.len() && !self.prev_kv && !is_half_told {
                return Ok(Some((change.revision, Found::Recent(place))));
            }
            collected.clear();
            for event in change.events.iter().filter(wants) {
                let prev = self.prev(event, change.revision, view)?;
                collected.push(Event { prev, ..event.clone() });
            }
            collected.truncate(if is_half_told { 1 } else { n_wanted });
            return Ok(Some((change.revision, Found::Collected)));
        }
        Ok(None)
    }

    /// Looks into the log for the next revisions that concern this watcher, up to `end`. True if events were
    /// collected.
    fn catch_up(&mut self, mut end: i64, collected: &mut Vec<Event>, view: &ReadView) -> Result<bool, Error> {
        collected.clear();
        let (mut looked_at, mut revisions, mut bytes, mut last, mut told) = (0, 0, 0, 0, 0);
        let compacted = view.compact_revision();
        for record in view.scan(Revision { main: self.next, sub: 0 }) {
            let record = record?;
            let main = record.meta.revision.main;
            let is_new_revision = main != last;
            if main > end {
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
                collected.push(Event { prev, ..event });
                told = main;
            }
        }
        if self.next < view.compact_revision() {
            // What was read may have holes: the next call cuts the watcher off.
            return Ok(false);
        }
        self.next = end + 1;
        Ok(!collected.is_empty())
    }
}
