//! A store as plain as can be: a list of all changes ever made, never trimmed. Everything is answered by
//! walking it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message;
use proto::mvccpb::KeyValue;

use crate::language::{self, Words};

/// One change of one key.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) main: i64,
    pub(crate) sub: i64,
    /// As stored: a tombstone holds the key alone.
    pub(crate) kv: KeyValue,
    pub(crate) is_tombstone: bool,
}

/// All changes, and what has been compacted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    pub(crate) changes: Vec<Change>,
    /// -1 if never.
    pub(crate) compacted: i64,
}

impl Model {
    pub(crate) fn new() -> Model {
        Model { changes: Vec::new(), compacted: -1 }
    }

    pub(crate) fn revision(&self) -> i64 {
        self.changes.last().map_or(1, |change| change.main)
    }

    /// The keys that exist at a main revision.
    pub(crate) fn at(&self, revision: i64) -> BTreeMap<Bytes, KeyValue> {
        let mut keys = BTreeMap::new();
        for change in self.changes.iter().filter(|change| change.main <= revision) {
            if change.is_tombstone {
                keys.remove(&change.kv.key);
            } else {
                keys.insert(change.kv.key.clone(), change.kv.clone());
            }
        }
        keys
    }

    /// Adds a put to the change with main revision `main`, which may have others already.
    pub(crate) fn put(&mut self, main: i64, key: &Bytes, value: &Bytes) {
        let old = self.at(main).remove(key);
        let kv = KeyValue {
            key: key.clone(),
            create_revision: old.as_ref().map_or(main, |old| old.create_revision),
            mod_revision: main,
            version: old.map_or(1, |old| old.version + 1),
            value: value.clone(),
            lease: 0,
        };
        self.push(main, kv, false);
    }

    /// Adds the deletion of a key to the change with main revision `main`; false if there is no such key.
    pub(crate) fn delete(&mut self, main: i64, key: &Bytes) -> bool {
        let exists = self.at(main).contains_key(key);
        if exists {
            self.push(main, KeyValue { key: key.clone(), ..KeyValue::default() }, true);
        }
        exists
    }

    fn push(&mut self, main: i64, kv: KeyValue, is_tombstone: bool) {
        let sub = self.changes.iter().filter(|change| change.main == main).count() as i64;
        self.changes.push(Change { main, sub, kv, is_tombstone });
    }

    /// HashKV at `at` as a store compacted at `compacted` computes it; of a compaction at `at` if
    /// `is_of_compaction`.
    pub(crate) fn hash(&self, at: i64, compacted: i64, is_of_compaction: bool) -> u32 {
        let held: Vec<&Change> =
            self.changes.iter().filter(|change| self.is_retained(change, compacted)).collect();
        let keys: BTreeSet<&Bytes> = held.iter().map(|change| &change.kv.key).collect();
        let keep: BTreeSet<_> =
            keys.into_iter().filter_map(|key| kept(&held, key, at, is_of_compaction)).collect();
        let takes_part = |change: &&Change| {
            change.main <= at
                && (change.main > compacted || keep.is_empty() || keep.contains(&(change.main, change.sub)))
                && !(change.is_tombstone && change.main == compacted)
        };
        hash(held.into_iter().filter(takes_part))
    }

    /// Whether a compaction leaves a change in the store.
    fn is_retained(&self, change: &Change, compacted: i64) -> bool {
        let newest = self.changes.iter().rfind(|c| c.kv.key == change.kv.key && c.main <= compacted);
        let is_newest = newest.is_some_and(|n| (n.main, n.sub) == (change.main, change.sub));
        change.main > compacted || (is_newest && (!change.is_tombstone || change.main == compacted))
    }
}

/// The change of `key` in the keep set: the newest one in the first generation that ends at `at` or later.
fn kept(held: &[&Change], key: &Bytes, at: i64, is_of_compaction: bool) -> Option<(i64, i64)> {
    let history: Vec<_> = held.iter().filter(|change| change.kv.key == *key).collect();
    let mut generations = history.split_inclusive(|change| change.is_tombstone).peekable();
    let generation = loop {
        let generation = generations.next()?;
        if generations.peek().is_none() || generation.last()?.main >= at {
            break generation;
        }
    };
    let newest = generation.iter().rfind(|change| change.main <= at)?;
    let is_kept = !newest.is_tombstone || (is_of_compaction && newest.main == at);
    is_kept.then_some((newest.main, newest.sub))
}

/// The checksum of changes as HashKV feeds them.
fn hash<'a>(changes: impl Iterator<Item = &'a Change>) -> u32 {
    let mut crc = crc32c(!0, b"key");
    for change in changes {
        crc = crc32c(crc, &change.main.to_be_bytes());
        crc = crc32c(crc, b"_");
        crc = crc32c(crc, &change.sub.to_be_bytes());
        if change.is_tombstone {
            crc = crc32c(crc, b"t");
        }
        crc = crc32c(crc, &change.kv.encode_to_vec());
    }
    !crc
}

/// CRC-32C bit by bit, as the polynomial says.
fn crc32c(mut crc: u32, bytes: &[u8]) -> u32 {
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    crc
}

/// The hash of records written as `main.sub:key=value:create:version` or `main.sub:key†`.
pub(crate) fn crc(words: &mut Words) -> String {
    let mut changes = Vec::new();
    while let Some(word) = words.next() {
        let parts: Vec<&str> = word.split(':').collect();
        let (main, sub) = parts[0].split_once('.').unwrap();
        let (main, sub) = (language::number(main), language::number(sub));
        let (kv, is_tombstone) = match parts[1].split_once('=') {
            None => {
                let key = language::bytes(parts[1].trim_end_matches('†'));
                (KeyValue { key, ..KeyValue::default() }, true)
            }
            Some((key, value)) => {
                let (key, value) = (language::bytes(key), language::bytes(value));
                let (create_revision, version) = (language::number(parts[2]), language::number(parts[3]));
                (KeyValue { key, create_revision, mod_revision: main, version, value, lease: 0 }, false)
            }
        };
        changes.push(Change { main, sub, kv, is_tombstone });
    }
    format!("{:08x}", hash(changes.iter()))
}
