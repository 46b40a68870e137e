//! The watchers of one client stream, which are served one after the other.
//!
//! Owned by the task that writes to the client's socket. [`WatchStream::advance`] is called only when the
//! client can take more, so a client that does not read costs memory for its cursors alone. Each call does a
//! bounded amount of work.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use disk::Revision;

use super::hub::{CatchingUp, Joined, Ready, StreamKey, WatchHub, WatcherKey};
use super::marks::Marks;
use super::{Change, Event, EventKind};
use crate::Error;
use crate::key_range::KeyRange;
use crate::mvcc::ReadView;
use crate::work;

/// Main revisions with events that one answer out of the log may hold, as in etcd.
const CATCH_UP_REVISIONS: usize = 1000;
/// Bytes of events after which such an answer ends with the revision it is at, so that no reader holds much.
const CATCH_UP_BYTES: usize = 1 << 20;
/// Changes looked at in one step of catching up.
const CATCH_UP_CHANGES: usize = 10_000;
/// Looks into the ring that may find no event in one step.
const EMPTY_LOOKS_MAX: usize = 16;
/// Watchers for which an empty queue keeps its memory.
const QUEUE_KEPT_MAX: usize = 256;
/// Entries of watches that have ended which the queue may hold in any case.
const ENDED_ENTRIES_MAX: usize = 64;

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

/// Something to be sent to the client.
#[derive(Debug, Clone, Copy)]
pub enum WatchDelivery<'a> {
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
    /// History that the watcher still needed has been compacted: it gets no more events.
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
    /// Something to be sent to the client.
    Deliver(WatchDelivery<'a>),
    /// Nothing yet, but there is more to look at: call again after letting others run.
    Working,
    /// Nothing until the signal comes.
    Idle,
}

/// One watcher. There may be hundreds of thousands, so it holds only what is its own and always needed.
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
    /// `None` once it has been sent everything, and follows what is published from then on. A compaction
    /// does not cut off a watcher that follows, as long as the ring holds what it has yet to look at.
    catching_up: Option<CatchingUp>,
}

/// The watchers of one client stream.
#[derive(Debug)]
pub struct WatchStream {
    hub: Arc<WatchHub>,
    key: StreamKey,
    view: ReadView,
    /// `None`: cut off by a compaction; the id stays taken until the client cancels it.
    watchers: BTreeMap<i64, Option<Box<Watcher>>>,
    /// How many of them are cut off.
    n_cut_off: usize,
    /// Start revision and id of those watchers whose start revision was still to come when they were
    /// created.
    future_starts: BTreeSet<(i64, i64)>,
    next_id: i64,
    /// Watchers with something to look at: what is marked, up to `seen`. Entries of watches that have ended
    /// may be among them.
    queue: VecDeque<Ready>,
    /// How many entries of watches that have ended the queue may hold.
    n_ended: usize,
    /// Revision published when the queue was last filled.
    seen: i64,
    /// Changes out of the ring, for one watcher after the other; empty while there is nothing to look at.
    recent: Vec<Arc<Change>>,
    /// Events of a watcher that are not just those of a recent change.
    collected: Vec<Event>,
}

/// The result of a look.
enum Look {
    /// A watcher is to be sent these events, with this revision in the header.
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
        WatchStream {
            hub,
            key,
            view,
            watchers: BTreeMap::new(),
            n_cut_off: 0,
            future_starts: BTreeSet::new(),
            next_id: 0,
            queue: VecDeque::new(),
            n_ended: 0,
            seen: 0,
            recent: Vec::new(),
            collected: Vec::new(),
        }
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
        let is_late = start_revision != 0 && disk::seeded_bug!("watch-resumes-one-late");
        let next = if start_revision == 0 { revision + 1 } else { start_revision + i64::from(is_late) };
        let has_history = next <= revision;
        if has_history {
            self.queue.push_back(Ready { key, watch_id: id, marks: Marks::all(next, revision) });
            self.seen = self.seen.max(revision);
        }
        if start_revision > revision {
            self.future_starts.insert((start_revision, id));
        }
        let catching_up = has_history.then(|| CatchingUp::new(&self.hub));
        let watcher = Watcher { range, start_revision, no_put, no_delete, prev_kv, key, next, catching_up };
        self.watchers.insert(id, Some(Box::new(watcher)));
        Ok(Created { id, revision })
    }

    /// Ends a watch. Returns the revision of the store, or `None` if there is no such watch.
    pub fn cancel(&mut self, id: i64) -> Option<i64> {
        match self.watchers.remove(&id)? {
            Some(watcher) => self.end(id, &watcher),
            None => self.n_cut_off -= 1,
        }
        Some(self.hub.ring().revision())
    }

    /// The revision up to which every watcher of the stream has been sent everything: the answer to a
    /// progress request. `None` if a watcher is cut off or has not begun. Call it when
    /// [`WatchStream::advance`] was idle.
    pub fn progress(&self) -> Option<i64> {
        let is_begun_by_seen = |start_revision| has_begun(start_revision, self.seen);
        let have_all_begun =
            self.future_starts.last().is_none_or(|&(last_start, _)| is_begun_by_seen(last_start));
        let is_due = !self.watchers.is_empty() && self.queue.is_empty();
        (is_due && self.n_cut_off == 0 && have_all_begun).then_some(self.seen)
    }

    /// The same for one watch, likewise when [`WatchStream::advance`] was idle.
    pub fn told(&self, id: i64) -> Option<i64> {
        let watcher = self.watchers.get(&id)?.as_ref()?;
        (self.queue.is_empty() && has_begun(watcher.start_revision, self.seen)).then_some(self.seen)
    }

    /// The next thing to be sent to the client, found by a bounded amount of work.
    pub fn advance(&mut self) -> Result<Progress<'_>, Error> {
        for _ in 0..EMPTY_LOOKS_MAX {
            match self.look()? {
                None => {}
                Some(Look::Other(progress)) => return Ok(progress),
                Some(Look::Found { watch_id, revision, events }) => {
                    let events = match events {
                        Found::Recent(place) => &self.recent[place].events,
                        Found::Collected => &self.collected,
                    };
                    return Ok(Progress::Deliver(WatchDelivery::Events { watch_id, revision, events }));
                }
            }
        }
        Ok(Progress::Working)
    }

    /// Looks for events of the watcher at the front of the queue; `None` if what it looked at does not
    /// concern it.
    fn look(&mut self) -> Result<Option<Look>, Error> {
        work::count(1);
        if self.queue.is_empty() {
            self.queue.shrink_to(QUEUE_KEPT_MAX);
            self.n_ended = 0;
            self.seen = self.hub.take_ready(self.key, &mut self.queue);
        }
        let Some(&Ready { key, watch_id, marks }) = self.queue.front() else {
            self.recent = Vec::new();
            self.collected = Vec::new();
            return Ok(Some(Look::Other(Progress::Idle)));
        };
        let watcher = match self.watchers.get_mut(&watch_id) {
            Some(Some(watcher)) if watcher.key == key => watcher,
            _ => {
                self.queue.pop_front();
                return Ok(None);
            }
        };
        let mut look = None;
        if let Some(next) = marks.next(watcher.next) {
            watcher.next = next;
            let is_in_ring = cover(&mut self.recent, &self.hub, &marks, next);
            if is_in_ring && watcher.catching_up.is_none() {
                let found = watcher.follow(&marks, &self.recent, &mut self.collected, &self.view)?;
                look = found.map(|(revision, events)| Look::Found { watch_id, revision, events });
            } else {
                let (compact_revision, generation) = (self.view.compact_revision(), self.view.generation());
                if next < compact_revision {
                    return Ok(Some(self.cut_off(watch_id, compact_revision)));
                }
                watcher.catching_up.get_or_insert_with(|| CatchingUp::new(&self.hub));
                let has_found = if is_in_ring {
                    watcher.catch_up_in_ring(
                        &marks,
                        &self.hub,
                        &mut self.recent,
                        &mut self.collected,
                        &self.view,
                    )?
                } else {
                    watcher.catch_up(marks.last(), &mut self.collected, &self.view)?
                };
                // A snapshot may have replaced the store meanwhile, by one that lacks what was looked for.
                let compact_revision = self.view.compact_revision();
                if self.view.generation() != generation && next < compact_revision {
                    return Ok(Some(self.cut_off(watch_id, compact_revision)));
                }
                let revision = self.seen.max(marks.last());
                let found = Look::Found { watch_id, revision, events: Found::Collected };
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
            self.n_cut_off += 1;
            self.end(watch_id, &watcher);
        }
        Look::Other(Progress::Deliver(WatchDelivery::Compacted { watch_id, compact_revision }))
    }

    /// Forgets a watcher. Its entry in the queue is passed over later; entries of watches that have ended
    /// are removed when they are most of the queue, so that each costs a bounded number of steps.
    fn end(&mut self, watch_id: i64, watcher: &Watcher) {
        self.hub.remove_watcher(watcher.key, &watcher.range);
        self.future_starts.remove(&(watcher.start_revision, watch_id));
        self.n_ended += 1;
        if self.n_ended > ENDED_ENTRIES_MAX + self.queue.len() / 2 {
            work::count(self.queue.len());
            let watchers = &self.watchers;
            self.queue.retain(|queued| {
                matches!(watchers.get(&queued.watch_id), Some(Some(watcher)) if watcher.key == queued.key)
            });
            self.n_ended = 0;
        }
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

/// Sees to it that `recent` holds the change of main revision `next`, the first one marked. False if the
/// ring has forgotten it.
fn cover(recent: &mut Vec<Arc<Change>>, hub: &WatchHub, marks: &Marks, next: i64) -> bool {
    place_of(recent, next).is_some() || hub.ring().pick(marks, next, recent)
}

fn place_of(recent: &[Arc<Change>], revision: i64) -> Option<usize> {
    recent.binary_search_by_key(&revision, |change| change.revision).ok()
}

/// Whether a watcher of this start revision has begun by `revision`.
fn has_begun(start_revision: i64, revision: i64) -> bool {
    start_revision <= revision || disk::seeded_bug!("progress-before-beginning")
}

/// How much one step of catching up has done.
#[derive(Debug, Default)]
struct CaughtUp {
    changes: usize,
    /// Main revisions with events that concern the watcher.
    revisions: usize,
    bytes: usize,
}

impl CaughtUp {
    fn is_enough(&self) -> bool {
        self.changes >= CATCH_UP_CHANGES
            || self.revisions >= CATCH_UP_REVISIONS
            || self.bytes >= CATCH_UP_BYTES
    }
}

impl Watcher {
    fn wants(&self, key: &[u8], is_delete: bool) -> bool {
        let is_filtered = if is_delete { self.no_delete } else { self.no_put };
        !is_filtered && self.range.contains(key)
    }

    /// The key as it was before a change of main revision `revision`, if the watcher asked for it.
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
            // No change has this revision.
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

    /// Looks into the ring for the next revisions that concern this watcher, as [`Watcher::catch_up`] does
    /// into the log. True if events were collected.
    fn catch_up_in_ring(
        &mut self,
        marks: &Marks,
        hub: &WatchHub,
        recent: &mut Vec<Arc<Change>>,
        collected: &mut Vec<Event>,
        view: &ReadView,
    ) -> Result<bool, Error> {
        collected.clear();
        let compacted = view.compact_revision();
        let mut caught_up = CaughtUp::default();
        while !caught_up.is_enough()
            && let Some(next) = marks.next(self.next)
            && cover(recent, hub, marks, next)
        {
            let Some(first) = place_of(recent, next) else {
                // No change has this revision.
                self.next = next + 1;
                continue;
            };
            for change in &recent[first..] {
                if caught_up.is_enough() || marks.next(self.next) != Some(change.revision) {
                    break;
                }
                self.next = change.revision + 1;
                caught_up.changes += change.events.len();
                self.collect_kept(change, compacted, collected, &mut caught_up, view)?;
            }
        }
        Ok(!collected.is_empty())
    }

    /// Collects the events of a change that concern this watcher.
    fn collect_kept(
        &self,
        change: &Change,
        compacted: i64,
        collected: &mut Vec<Event>,
        caught_up: &mut CaughtUp,
        view: &ReadView,
    ) -> Result<(), Error> {
        let n_before = collected.len();
        for (event, sub) in change.events.iter().zip(0..) {
            work::count(1);
            if !self.wants(&event.key, event.kind == EventKind::Delete) {
                continue;
            }
            // A change that a later one of the compacted revision replaced is left out, as when the log is
            // read, which may not hold it any more.
            let main = change.revision;
            if main > compacted || view.holds(&event.key, Revision { main, sub }) {
                let prev = self.prev(event, main, view)?;
                caught_up.bytes += event.encoded.len() + prev.as_ref().map_or(0, Bytes::len);
                collected.push(Event { prev, ..event.clone() });
            }
        }
        caught_up.revisions += usize::from(collected.len() > n_before);
        Ok(())
    }

    /// Looks into the log for the next revisions that concern this watcher, up to `end`. True if events were
    /// collected.
    fn catch_up(&mut self, mut end: i64, collected: &mut Vec<Event>, view: &ReadView) -> Result<bool, Error> {
        collected.clear();
        let mut caught_up = CaughtUp::default();
        let mut last = 0;
        let mut last_told = 0;
        let compacted = view.compact_revision();
        for record in view.scan(Revision { main: self.next, sub: 0 }) {
            let record = record?;
            let main = record.meta.revision.main;
            if main > end {
                break;
            }
            if main != last && caught_up.is_enough() {
                end = last;
                break;
            }
            work::count(1);
            caught_up.changes += 1;
            last = main;
            // At the compacted revision itself the log may hold a change that a later one of the same
            // revision replaced.
            let is_kept = main > compacted || view.holds(record.key(), record.meta.revision);
            if is_kept && self.wants(record.key(), record.meta.tombstone) {
                caught_up.revisions += usize::from(last_told != main);
                let event = Event::new(record.key(), &record.meta, &record.key_value());
                let prev = self.prev(&event, main, view)?;
                caught_up.bytes += event.encoded.len() + prev.as_ref().map_or(0, Bytes::len);
                collected.push(Event { prev, ..event });
                last_told = main;
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
