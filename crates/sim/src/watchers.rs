//! Clients that watch, over all restarts, and the events that they must get.
//!
//! Each client has one stream with a few watches. For each watch it knows the revision to resume from. When
//! the member dies its streams end. The client then opens another stream and asks for everything after the
//! last revision that it has seen.
//!
//! Checks of each delivery: it begins exactly where the last one ended. Its revisions are whole and in order.
//! No event comes twice, and none is missing that the filters admit. Previous values are right. Checks of a
//! silent stream: no event is left to deliver. The progress report says so for each watch that has begun; the
//! client resumes from there. Check of a watch that a compaction cancels: it had missed something.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use store::{Event, EventKind, Progress, Watch, WatchDelivery, WatchStream};

use crate::member::{Member, NoWaker};
use crate::model::{Model, Told};
use crate::random::Random;
use crate::workload::{self, Horizon};

/// Clients, and watches of a client at most.
const CLIENTS: usize = 4;
const WATCHES_MAX: usize = 4;

/// All clients that watch.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    clients: Vec<Client>,
    /// Events delivered so far.
    pub(crate) events: u64,
}

/// One client that watches.
#[derive(Debug, Default)]
pub(crate) struct Client {
    stream: Option<WatchStream>,
    watches: BTreeMap<i64, Watched>,
}

/// A watch as its client knows it. It resumes from `start_revision`: all events before were delivered.
#[derive(Debug)]
struct Watched {
    watch: Watch,
    /// The first revision asked for on this stream; 0 means the next one.
    begins_at: i64,
    /// Up to this revision no event is due: the stream was silent.
    silent_to: i64,
}

impl Watchers {
    pub(crate) fn new() -> Watchers {
        Watchers { clients: (0..CLIENTS).map(|_| Client::default()).collect(), events: 0 }
    }

    /// The member has died.
    pub(crate) fn disconnect(&mut self) {
        self.clients.iter_mut().for_each(Client::disconnect);
    }

    /// The member serves again: every client resumes where it stopped.
    pub(crate) fn resume(&mut self, member: &Member) -> Result<(), String> {
        self.clients.iter_mut().try_for_each(|client| client.resume(member))
    }

    /// One client does something: begins or ends a watch, or reads from its stream.
    pub(crate) fn turn(
        &mut self,
        random: &mut Random,
        member: &Member,
        model: &Model,
    ) -> Result<String, String> {
        let client = &mut self.clients[random.index(CLIENTS)];
        let (line, events) = client.turn(random, member, model)?;
        self.events += events;
        Ok(line)
    }

    /// Every client reads until its stream is silent.
    pub(crate) fn drain(&mut self, model: &Model) -> Result<(), String> {
        for client in &mut self.clients {
            self.events += client.drain(model)?;
        }
        Ok(())
    }
}

const IDLE: &str = "watch: silent";

impl Client {
    /// The member has died, or the client leaves it.
    pub(crate) fn disconnect(&mut self) {
        self.stream = None;
    }

    /// Opens a stream on `member` and resumes every watch where it stopped.
    pub(crate) fn resume(&mut self, member: &Member) -> Result<(), String> {
        let before = std::mem::take(&mut self.watches);
        for watched in before.into_values() {
            self.create(member, watched.watch)?;
        }
        Ok(())
    }

    /// Begins or ends a watch, or reads from the stream; returns a description and the number of events.
    pub(crate) fn turn(
        &mut self,
        random: &mut Random,
        member: &Member,
        model: &Model,
    ) -> Result<(String, u64), String> {
        match random.below(12) {
            0 | 1 if self.watches.len() < WATCHES_MAX => {
                let horizon = Horizon::of(model);
                self.create(member, workload::watch(random, horizon)).map(|line| (line, 0))
            }
            2 if !self.watches.is_empty() && random.percent(30) => self.cancel(random).map(|line| (line, 0)),
            _ => self.advance(model),
        }
    }

    /// Reads until the stream is silent; returns the number of events.
    pub(crate) fn drain(&mut self, model: &Model) -> Result<u64, String> {
        // Each delivery tells of a revision or cuts a watch off, and looking at the rest takes a few turns
        // more.
        let turns_max = 100 + 20 * model.revision().unsigned_abs();
        let mut events = 0;
        for _ in 0..turns_max {
            let (line, told) = self.advance(model)?;
            events += told;
            if line == IDLE {
                return Ok(events);
            }
        }
        Err(format!("a stream is not silent after {turns_max} turns"))
    }

    fn create(&mut self, member: &Member, mut watch: Watch) -> Result<String, String> {
        let stream = self
            .stream
            .get_or_insert_with(|| member.watch_hub.stream(member.view.clone(), Arc::new(NoWaker)));
        watch.id = 0;
        let created = match stream.create(watch.clone()) {
            Ok(created) => created,
            Err(refusal) if watch.range.is_empty() => return Ok(format!("watch: {}", refusal.text())),
            Err(refusal) => return Err(format!("{watch:?} is refused: {}", refusal.text())),
        };
        let begins_at = watch.start_revision;
        if begins_at == 0 {
            watch.start_revision = created.revision + 1;
        }
        let line = format!("watch {} of {:?} from {}", created.id, watch.range, watch.start_revision);
        self.watches.insert(created.id, Watched { watch, begins_at, silent_to: 0 });
        Ok(line)
    }

    fn cancel(&mut self, random: &mut Random) -> Result<String, String> {
        let (Some(stream), Some(&id)) =
            (&mut self.stream, self.watches.keys().nth(random.index(self.watches.len())))
        else {
            return Ok(IDLE.into());
        };
        self.watches.remove(&id);
        stream.cancel(id).map_or(Err(format!("watch {id} is not there to be cancelled")), |revision| {
            Ok(format!("watch {id} cancelled at {revision}"))
        })
    }

    /// Reads once; returns a description and the number of events.
    fn advance(&mut self, model: &Model) -> Result<(String, u64), String> {
        let Some(stream) = &mut self.stream else { return Ok((IDLE.into(), 0)) };
        match stream.advance().map_err(|error| format!("a watch cannot be read: {error}"))? {
            Progress::Working => Ok(("watch: working".into(), 0)),
            Progress::Idle => {
                let (progress, told) = (stream.progress(), |id| stream.told(id));
                let mut has_all_begun = !self.watches.is_empty();
                for (id, watched) in &mut self.watches {
                    let has_begun = watched.check_silence(told(*id), model);
                    has_all_begun &= has_begun.map_err(|e| format!("watch {id}: {e}"))?;
                }
                let expected = has_all_begun.then_some(model.revision());
                if progress != expected {
                    return Err(format!("the progress of a silent stream is {progress:?}, not {expected:?}"));
                }
                Ok((IDLE.into(), 0))
            }
            Progress::Deliver(WatchDelivery::Events { watch_id, revision, events }) => {
                let Some(watched) = self.watches.get_mut(&watch_id) else {
                    return Err(format!("watch {watch_id} is told of revision {revision} but was cancelled"));
                };
                watched.check_events(events, model).map_err(|e| format!("watch {watch_id}: {e}"))?;
                let n = events.len() as u64;
                Ok((format!("watch {watch_id}: {n} events up to revision {revision}"), n))
            }
            Progress::Deliver(WatchDelivery::Compacted { watch_id, compact_revision }) => {
                let watched = self.watches.remove(&watch_id);
                let Some(Watched { watch, .. }) = watched else {
                    return Err(format!("watch {watch_id} is cut off but was cancelled"));
                };
                if compact_revision != model.compacted() || watch.start_revision >= compact_revision {
                    return Err(format!("{watch:?} is cut off at {compact_revision} without need"));
                }
                stream.cancel(watch_id);
                Ok((format!("watch {watch_id}: compacted at {compact_revision}"), 0))
            }
        }
    }
}

impl Watched {
    /// Checks that no event is left, and that `progress` says so if the watch has begun. Returns whether it
    /// has begun. The client then resumes after `progress`.
    fn check_silence(&mut self, progress: Option<i64>, model: &Model) -> Result<bool, String> {
        // A compaction may leave no event of its own revision.
        let is_due = |main: i64, told: &[Told]| {
            let left = if model.was_compacted_at(main) { survivors(told) } else { told.iter().collect() };
            !self.wanted(&left).is_empty()
        };
        let revision = model.revision();
        if let Some((main, _)) = model.changes_from(self.due_from()).find(|(main, told)| is_due(*main, told))
        {
            return Err(format!("silent though revision {main} is due, the store being at {revision}"));
        }
        let has_begun = self.begins_at <= revision;
        if progress != has_begun.then_some(revision) {
            return Err(format!("progress {progress:?}, the store being at {revision}"));
        }
        self.silent_to = revision;
        self.watch.start_revision =
            self.watch.start_revision.max(progress.map_or(0, |revision| revision + 1));
        Ok(has_begun)
    }

    /// The first revision of which an event may be due.
    fn due_from(&self) -> i64 {
        self.watch.start_revision.max(self.silent_to + 1)
    }

    /// Checks that the events are those of the next revisions, each revision whole.
    fn check_events(&mut self, events: &[Event], model: &Model) -> Result<(), String> {
        let mut rest = events;
        let mut due = model.changes_from(self.due_from());
        let mut next = self.watch.start_revision;
        while !rest.is_empty() {
            let Some((main, told)) = due.next() else {
                return Err(format!("told {} events too many: {:?}", rest.len(), rest[0]));
            };
            let all = self.wanted(&told.iter().collect::<Vec<_>>());
            let kept = self.wanted(&survivors(told));
            let taken = if begins_with(rest, &all) {
                all
            } else if model.was_compacted_at(main) && begins_with(rest, &kept) {
                kept
            } else {
                return Err(format!("revision {main} has events {all:?}, but told are {rest:?}"));
            };
            let (of_this, others) = rest.split_at(taken.len());
            for (event, told) in of_this.iter().zip(&taken) {
                self.check_prev(event.prev.as_ref(), told, main, model)?;
            }
            (rest, next) = (others, main + 1);
        }
        self.watch.start_revision = next;
        Ok(())
    }

    fn check_prev(&self, prev: Option<&Bytes>, told: &Told, main: i64, model: &Model) -> Result<(), String> {
        let is_wanted = self.watch.prev_kv && !told.is_create && main > model.compacted();
        let before = is_wanted.then(|| model.at(&told.key, main - 1)).flatten();
        let before = before.map(|kv| Bytes::from(kv.encode_to_vec()));
        if prev == before.as_ref() {
            return Ok(());
        }
        Err(format!("{:?} was {before:?} before revision {main}, but told is {prev:?}", told.key))
    }

    fn wanted<'a>(&self, told: &[&'a Told]) -> Vec<&'a Told> {
        told.iter().copied().filter(|t| self.wants(t)).collect()
    }

    fn wants(&self, told: &Told) -> bool {
        let is_filtered = if told.is_delete { self.watch.no_delete } else { self.watch.no_put };
        !is_filtered && self.watch.range.contains(&told.key)
    }
}

/// What a compaction at their revision leaves of these changes: the last of each key.
fn survivors(told: &[Told]) -> Vec<&Told> {
    let is_last = |i: usize| told[i + 1..].iter().all(|later| later.key != told[i].key);
    told.iter().enumerate().filter(|(i, _)| is_last(*i)).map(|(_, t)| t).collect()
}

fn begins_with(events: &[Event], told: &[&Told]) -> bool {
    let is_equal = |event: &Event, told: &Told| {
        let kind = match (told.is_delete, told.is_create) {
            (true, _) => EventKind::Delete,
            (false, true) => EventKind::Create,
            (false, false) => EventKind::Update,
        };
        event.key == told.key && event.kind == kind && event.encoded == told.encoded
    };
    events.len() >= told.len() && events.iter().zip(told).all(|(event, told)| is_equal(event, told))
}

#[cfg(test)]
mod tests {
    use store::KeyRange;

    use super::*;

    fn model() -> Model {
        let mut model = Model::new();
        for key in ["a", "b", "a"] {
            let put = proto::etcdserverpb::PutRequest { key: key.into(), ..Default::default() };
            model.apply(&store::Request::Put(put)).unwrap();
        }
        model
    }

    /// A watch of a single key from the beginning on.
    fn watched(key: &'static str) -> Watched {
        let watch = Watch {
            id: 0,
            range: KeyRange::new(key.into(), Bytes::new()),
            start_revision: 1,
            no_put: false,
            no_delete: false,
            prev_kv: false,
        };
        Watched { watch, begins_at: 1, silent_to: 0 }
    }

    /// The event of the put of revision `main`.
    fn event(model: &Model, main: i64) -> Event {
        let (_, told) = model.changes_from(main).next().unwrap();
        let kind = if told[0].is_create { EventKind::Create } else { EventKind::Update };
        Event { key: told[0].key.clone(), encoded: told[0].encoded.clone().into(), kind, prev: None }
    }

    #[test]
    fn silence_is_wrong_while_something_is_due() {
        let model = model();
        assert!(watched("a").check_silence(Some(4), &model).is_err());
        assert!(watched("c").check_silence(Some(4), &model).is_ok());
        assert!(watched("c").check_silence(Some(3), &model).is_err(), "progress is of everything");
        let future = Watched { begins_at: 5, ..watched("c") };
        assert!({ future }.check_silence(Some(4), &model).is_err(), "no progress before the beginning");
    }

    #[test]
    fn events_go_on_where_the_last_ones_ended() {
        let model = model();
        let mut watch = watched("a");
        watch.check_events(&[event(&model, 2)], &model).unwrap();
        assert!(watch.check_events(&[event(&model, 2)], &model).is_err(), "told twice");
        watch.check_events(&[event(&model, 4)], &model).unwrap();
        watch.check_silence(Some(4), &model).unwrap();
    }

    #[test]
    fn no_event_is_left_out_and_none_is_of_another_key() {
        let model = model();
        assert!(watched("a").check_events(&[event(&model, 4)], &model).is_err());
        assert!(watched("a").check_events(&[event(&model, 3)], &model).is_err());
    }
}
