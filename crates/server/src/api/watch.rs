//! One client's stream of watches.
//!
//! Takes the client's requests, gives back encoded `WatchResponse`s, as many at a time as fit into a batch.
//! Nothing is read ahead: the next batch is looked up when the client has taken the last one, so that a slow
//! client costs its cursors and a batch.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use proto::etcdserverpb::watch_create_request::FilterType;
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{WatchCreateRequest, WatchRequest};
use proto::wire::{message_field_len, put_bytes, put_int, put_message_head, put_uint};
use store::{Event, KeyRange, Progress, Refusal, Watch, WatchDelivery, WatchStream};
use tokio::time::{Instant, sleep_until};

use super::encode::Header;
use super::{Api, Error};
use crate::driver::{Mail, Slot};
use crate::grpc::{Batch, TooLong};

const WATCH_ID: u8 = 0x10;
const CREATED: u8 = 0x18;
const CANCELED: u8 = 0x20;
const COMPACT_REVISION: u8 = 0x28;
const CANCEL_REASON: u8 = 0x32;
const FRAGMENT: u8 = 0x38;
const EVENTS: u8 = 0x5a;
/// Field 3, `prev_kv`, of an event.
const EVENT_PREV_KV: u8 = 0x1a;

/// The watch id of an answer that concerns no watch, or all of them.
const NO_WATCH: i64 = -1;
/// Bytes of a response beside its events, at most about.
const RESPONSE_OVERHEAD: usize = 64;

/// The watches of one client stream.
pub(crate) struct WatchSession<'a> {
    stream: WatchStream,
    slot: Slot,
    answers: Answers<'a>,
    is_progress_asked: bool,
    next_progress: Instant,
}

/// What answers are made with.
struct Answers<'a> {
    api: &'a Api,
    /// Those due before anything else.
    due: VecDeque<Vec<u8>>,
    heading: Heading,
    /// Of the watches for which something was chosen: most watches cost nothing here.
    options: WatchOptions,
    /// Events told and not yet counted.
    n_events: usize,
}

/// What clients chose for their watches, by watch id.
#[derive(Default)]
struct WatchOptions {
    by_id: BTreeMap<i64, Options>,
    /// How many of them want progress notifications.
    n_progress: usize,
}

/// What a client chose for one watch, as far as it concerns the answers.
struct Options {
    fragment: bool,
    progress_notify: bool,
    /// Whether it was told something since the last progress notification.
    had_events: bool,
}

/// How the answers of one revision begin, encoded once for all watchers.
#[derive(Default)]
struct Heading {
    header: Option<Header>,
    /// The header, and behind it what is an answer's own.
    bytes: Vec<u8>,
    header_len: usize,
}

impl Api {
    /// Begins a stream of watches.
    pub(crate) fn watch(&self) -> WatchSession<'_> {
        let slot = self.node_client.open_signal();
        let stream = self.watch_hub.stream(self.view.clone(), Arc::new(slot.signal()));
        let (due, heading, options) = (VecDeque::new(), Heading::default(), WatchOptions::default());
        let answers = Answers { api: self, due, heading, options, n_events: 0 };
        let next_progress = Instant::now() + self.settings.progress_interval;
        WatchSession { stream, slot, answers, is_progress_asked: false, next_progress }
    }
}

impl WatchSession<'_> {
    /// Takes a request of the client.
    pub(crate) fn request(&mut self, request: WatchRequest) {
        match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => self.create(&create),
            Some(RequestUnion::CancelRequest(cancel)) => self.cancel(cancel.watch_id),
            Some(RequestUnion::ProgressRequest(_)) => self.is_progress_asked = true,
            None => {}
        }
    }

    /// Adds the next responses to an empty batch. False if there are no more until [`WatchSession::news`];
    /// else it is to be called again, even if it has found nothing: it does a bounded amount of work.
    pub(crate) fn fill(&mut self, batch: &mut Batch) -> Result<bool, Error> {
        let has_more = self.fill_up(batch);
        self.answers.count_events();
        has_more
    }

    fn fill_up(&mut self, batch: &mut Batch) -> Result<bool, Error> {
        loop {
            while batch.has_room()
                && let Some(answer) = self.answers.due.pop_front()
            {
                batch.add(|out| out.extend_from_slice(&answer))?;
            }
            if !batch.has_room() {
                return Ok(true);
            }
            match self.stream.advance().map_err(|e| self.answers.api.store_error(e))? {
                Progress::Deliver(WatchDelivery::Events { watch_id, revision, events }) => {
                    self.answers.tell(watch_id, revision, events, batch)?;
                }
                Progress::Deliver(WatchDelivery::Compacted { watch_id, compact_revision }) => {
                    self.answers.cut_off(watch_id, compact_revision);
                }
                Progress::Working => return Ok(true),
                Progress::Idle => {
                    self.answer_progress();
                    if self.answers.due.is_empty() {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// Waits until [`WatchSession::fill`] may have something. Safe to drop and call again.
    pub(crate) async fn news(&self) {
        let wants_progress = self.answers.wants_progress();
        tokio::select! {
            mail = self.slot.mail() => debug_assert!(matches!(mail, Mail::Signal)),
            // A timer costs more than most answers, so it is made only if progress is wanted.
            () = async { sleep_until(self.next_progress).await }, if wants_progress => {}
        }
    }

    fn create(&mut self, request: &WatchCreateRequest) {
        // Copies: the request shares the memory of all that came with it, which a watch must not keep for
        // life.
        let key = if request.key.is_empty() { b"\0" } else { &request.key[..] };
        let range = KeyRange::new(Bytes::copy_from_slice(key), Bytes::copy_from_slice(&request.range_end));
        let has_filter = |filter: FilterType| request.filters.contains(&(filter as i32));
        let watch = Watch {
            id: request.watch_id,
            range,
            start_revision: request.start_revision,
            no_put: has_filter(FilterType::Noput),
            no_delete: has_filter(FilterType::Nodelete),
            prev_kv: request.prev_kv,
        };
        if request.start_revision < 0 {
            return self.refuse(Refusal::Compacted.text());
        }
        match self.stream.create(watch) {
            Ok(created) => {
                let (fragment, progress_notify) = (request.fragment, request.progress_notify);
                if progress_notify && !self.answers.wants_progress() {
                    self.next_progress = Instant::now() + self.answers.api.settings.progress_interval;
                }
                if fragment || progress_notify {
                    let options = Options { fragment, progress_notify, had_events: false };
                    self.answers.options.insert(created.id, options);
                }
                let mut out = self.answers.start(created.revision, created.id);
                put_uint(&mut out, CREATED, 1);
                self.answers.due.push_back(out);
            }
            Err(refusal) => self.refuse(refusal.text()),
        }
    }

    /// A refused watch is created and cancelled in one answer; the stream lives on.
    fn refuse(&mut self, reason: &str) {
        let mut out = self.answers.start(self.answers.api.view.revision(), NO_WATCH);
        put_uint(&mut out, CREATED, 1);
        put_uint(&mut out, CANCELED, 1);
        put_bytes(&mut out, CANCEL_REASON, reason.as_bytes());
        self.answers.due.push_back(out);
    }

    /// Cancelling what does not exist is not answered.
    fn cancel(&mut self, watch_id: i64) {
        if let Some(revision) = self.stream.cancel(watch_id) {
            self.answers.options.remove(watch_id);
            let mut out = self.answers.start(revision, watch_id);
            put_uint(&mut out, CANCELED, 1);
            self.answers.due.push_back(out);
        }
    }

    /// All events up to the revision of a progress answer have been sent before it.
    fn answer_progress(&mut self) {
        if std::mem::take(&mut self.is_progress_asked)
            && let Some(revision) = self.stream.progress()
        {
            let out = self.answers.start(revision, NO_WATCH);
            self.answers.due.push_back(out);
        }
        if self.answers.wants_progress() && Instant::now() >= self.next_progress {
            self.next_progress = Instant::now() + self.answers.api.settings.progress_interval;
            self.answers.notify_progress(&self.stream);
        }
    }
}

impl Answers<'_> {
    /// Answers with events: in one response, or in several if the watch asked for fragments and they are
    /// long. The error ends the stream, as in etcd.
    fn tell(
        &mut self,
        watch_id: i64,
        revision: i64,
        events: &[Event],
        batch: &mut Batch,
    ) -> Result<(), TooLong> {
        let options = self.options.by_id.get_mut(&watch_id);
        let is_fragmented = options.is_some_and(|options| {
            options.had_events = true;
            options.fragment
        });
        self.n_events += events.len();
        let len_max = if is_fragmented { self.api.fragment_len_max() } else { usize::MAX };
        let mut rest = events;
        loop {
            let (part, left) = rest.split_at(fitting(rest, len_max));
            let heading = self.heading.of(self.api.header(revision), watch_id);
            put_uint(heading, FRAGMENT, (!left.is_empty()).into());
            batch.begin(heading.len() + part.iter().map(event_field_len).sum::<usize>())?;
            batch.buffer().extend_from_slice(heading);
            for event in part {
                put_event(batch, event);
            }
            if left.is_empty() {
                return Ok(());
            }
            rest = left;
        }
    }

    fn count_events(&mut self) {
        if self.n_events > 0 {
            self.api.metrics.events.inc_by(std::mem::take(&mut self.n_events) as u64);
        }
    }

    /// As in etcd, the header of this answer has no revision.
    fn cut_off(&mut self, watch_id: i64, compact_revision: i64) {
        self.options.remove(watch_id);
        let mut out = self.start(0, watch_id);
        put_uint(&mut out, CANCELED, 1);
        put_int(&mut out, COMPACT_REVISION, compact_revision);
        self.due.push_back(out);
    }

    fn wants_progress(&self) -> bool {
        self.options.n_progress > 0
    }

    fn notify_progress(&mut self, stream: &WatchStream) {
        let due = self.options.by_id.iter().filter(|(_, o)| o.progress_notify && !o.had_events);
        let due: Vec<_> = due.filter_map(|(id, _)| Some((*id, stream.told(*id)?))).collect();
        for options in self.options.by_id.values_mut() {
            options.had_events = false;
        }
        for (watch_id, revision) in due {
            let out = self.start(revision, watch_id);
            self.due.push_back(out);
        }
    }

    /// A response with its header and watch id.
    fn start(&self, revision: i64, watch_id: i64) -> Vec<u8> {
        let mut out = Vec::with_capacity(RESPONSE_OVERHEAD);
        self.api.header(revision).put(&mut out);
        put_int(&mut out, WATCH_ID, watch_id);
        out
    }
}

impl WatchOptions {
    fn insert(&mut self, watch_id: i64, options: Options) {
        self.n_progress += usize::from(options.progress_notify);
        if let Some(former) = self.by_id.insert(watch_id, options) {
            self.n_progress -= usize::from(former.progress_notify);
        }
    }

    fn remove(&mut self, watch_id: i64) {
        if let Some(options) = self.by_id.remove(&watch_id) {
            self.n_progress -= usize::from(options.progress_notify);
        }
    }
}

impl Heading {
    /// Header and watch id of an answer, where the rest of its beginning may be appended.
    fn of(&mut self, header: Header, watch_id: i64) -> &mut Vec<u8> {
        if self.header != Some(header) {
            self.bytes.clear();
            header.put(&mut self.bytes);
            (self.header, self.header_len) = (Some(header), self.bytes.len());
        }
        self.bytes.truncate(self.header_len);
        put_int(&mut self.bytes, WATCH_ID, watch_id);
        &mut self.bytes
    }
}

impl Api {
    /// From this length on a response is sent in fragments: the longest message that a client of default
    /// settings takes.
    fn fragment_len_max(&self) -> usize {
        self.settings.max_request_bytes + (512 << 10)
    }
}

/// How many of `events`, at least one, make a response shorter than `len_max`.
fn fitting(events: &[Event], len_max: usize) -> usize {
    let mut len = RESPONSE_OVERHEAD;
    let fits = |event: &&Event| {
        len += event_field_len(event);
        len < len_max
    };
    events.iter().take_while(fits).count().max(1).min(events.len())
}

fn event_field_len(event: &Event) -> usize {
    message_field_len(event_len(event))
}

fn event_len(event: &Event) -> usize {
    event.encoded.len() + event.prev.as_ref().map_or(0, |prev| message_field_len(prev.len()))
}

fn put_event(batch: &mut Batch, event: &Event) {
    put_message_head(batch.buffer(), EVENTS, event_len(event));
    batch.push(&event.encoded);
    if let Some(prev) = &event.prev {
        put_message_head(batch.buffer(), EVENT_PREV_KV, prev.len());
        batch.push(prev);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_wanted_as_long_as_a_watch_wants_it() {
        let mut options = WatchOptions::default();
        let chosen = |progress_notify| Options { fragment: true, progress_notify, had_events: false };
        options.insert(1, chosen(false));
        assert_eq!(options.n_progress, 0);
        options.insert(2, chosen(true));
        options.insert(3, chosen(true));
        // An id that is used again.
        options.insert(3, chosen(true));
        assert_eq!(options.n_progress, 2);
        [1, 2, 2].into_iter().for_each(|id| options.remove(id));
        assert_eq!(options.n_progress, 1);
        options.remove(3);
        assert!(options.n_progress == 0 && options.by_id.is_empty());
    }
}
