//! Telling watchers what changes.
//!
//! ```text
//!  writer: publish(changes) ──▶ ring of recent changes ◀── reads from its cursor ── WatchStream
//!              │                                                                      ▲ (one a connection stream)
//!              └──▶ interest: which watchers? ──▶ ready list of their stream ─ signal ┘
//!                                                  revision log ◀── a cursor older than the ring
//! ```
//!
//! A watcher is a cursor: the next revision it has to look at. The hub keeps the encoded events of recent
//! revisions in one ring shared by all; a watcher that has fallen behind the ring reads the revision log
//! instead. So a slow reader costs a few words of memory, never delays the writer and never misses anything
//! except history that is compacted before it is read; then it is told that.
//!
//! Invariants: a watcher sees each matching change once, in revision order, all events of a revision
//! together; a change is published only after readers can see it.

use bytes::Bytes;
use disk::RecordMeta;

use proto::wire::{message_field_len, put_int, put_message_head};

mod hub;
mod interest;
mod marks;
mod ring;
mod stream;

pub use self::hub::{Signal, WatchHub};
pub use self::stream::{Created, Progress, Watch, WatchDelivery, WatchRefusal, WatchStream};

/// One change of one key, in the form that watchers get.
#[derive(Debug, Clone)]
pub struct Event {
    /// The key that changed: a part of `encoded`.
    pub key: Bytes,
    /// `mvccpb.Event` bytes, without `prev_kv`.
    pub encoded: Bytes,
    /// What kind of change.
    pub kind: EventKind,
    /// The key as it was before (`mvccpb.KeyValue` bytes), if the watcher asked for that and it is still
    /// there.
    pub prev: Option<Bytes>,
}

/// What kind of change an [`Event`] tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// A put that made the key.
    Create,
    /// A put over an existing key.
    Update,
    /// A delete.
    Delete,
}

/// Fields of `mvccpb.Event` and `mvccpb.KeyValue` in front of their values.
const EVENT_TYPE: u8 = 0x08;
const EVENT_KV: u8 = 0x12;
const KV_MOD_REVISION: u8 = 0x18;

impl Event {
    /// The event of a record. A stored tombstone holds the key alone; its event also names the revision of
    /// the deletion.
    pub(crate) fn new(key: &[u8], meta: &RecordMeta, stored: &[u8]) -> Event {
        let mut mod_revision = Vec::new();
        let mut encoded = Vec::with_capacity(message_field_len(stored.len()) + 16);
        if meta.tombstone {
            put_int(&mut encoded, EVENT_TYPE, 1);
            put_int(&mut mod_revision, KV_MOD_REVISION, meta.revision.main);
        }
        put_message_head(&mut encoded, EVENT_KV, stored.len() + mod_revision.len());
        let key_end = encoded.len() + message_field_len(key.len());
        encoded.extend_from_slice(stored);
        encoded.extend_from_slice(&mod_revision);
        let encoded = Bytes::from(encoded);
        // A slice of the event's own memory: `key` may share a buffer with the whole request, which it would
        // keep alive.
        let told_key = encoded.slice(key_end - key.len()..key_end);
        assert_eq!(told_key, key, "a stored key stands in front");
        let kind = match meta.tombstone {
            true => EventKind::Delete,
            false if meta.create_revision == meta.revision.main => EventKind::Create,
            false => EventKind::Update,
        };
        Event { key: told_key, encoded, kind, prev: None }
    }
}

/// All changes of one main revision.
#[derive(Debug)]
pub(crate) struct Change {
    /// The main revision.
    pub revision: i64,
    /// Its events, each at the place that its sub revision says; empty if there was no watcher when it was
    /// made.
    pub events: Vec<Event>,
    /// Bytes of memory it takes, about.
    size: usize,
}

impl Change {
    pub(crate) fn new(revision: i64, events: Vec<Event>) -> Change {
        let event_size = |event: &Event| size_of::<Event>() + event.encoded.len();
        let size = size_of::<Change>() + events.iter().map(event_size).sum::<usize>();
        Change { revision, events, size }
    }

    /// Bytes of memory it takes, about.
    fn size(&self) -> usize {
        self.size
    }
}

#[cfg(test)]
mod many_watchers_tests;
#[cfg(test)]
mod tests;
