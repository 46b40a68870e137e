//! Reading a range of keys at one revision.
//!
//! A read goes in chunks: look for keys in the index under its lock, release the lock, read records if they
//! have to be looked into. Records that make the answer just as they are stored are copied when all are
//! found: then the length of the answer is known before. Between chunks a writer may go on: the revision
//! read at is fixed and its records are immutable, so the answer is consistent all the same.
//!
//! etcd's rules (order of filters, what `count` and `more` mean, the quirk of an unordered read by another
//! target than the key) are those of `KV.Range` in 3.7; the golden scripts show them one by one.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use bytes::Bytes;
use disk::Location;
use proto::mvccpb;
use proto::wire::{message_field_len, put_message};

use super::index::{Found, Index};
use super::key_value::{self, KeyValue};
use super::source::{Records, Source};
use crate::outcome::RangeOutcome;

mod query;
mod rows;

pub(super) use self::query::Form;
pub use self::query::RangeQuery;
use self::rows::Rows;

/// Field 2, `kvs`, of a `RangeResponse`.
const KVS: u8 = 0x12;
/// Keys looked at under one hold of the index lock: about 30 µs.
pub(super) const CHUNK_KEYS: usize = 1000;
/// Bytes of records copied in one step, or passed by the last of them: some 50 µs.
pub(super) const CHUNK_BYTES: u64 = 256 << 10;
/// Bytes of a range that is read before its client is known to have room for it.
const READ_AT_ONCE_BYTES: u64 = 64 << 10;

/// A range read under way. `R` is what records are read from.
#[derive(Debug)]
pub(crate) struct RangeRead<R> {
    query: RangeQuery,
    form: Form,
    /// Revision read at.
    at: i64,
    /// Where the next chunk begins: after this key.
    after: Option<Vec<u8>>,
    /// Whether the keys of the range are counted by visiting all of them: the index could not count them at
    /// once.
    is_counting: bool,
    is_collected: bool,
    is_merged: bool,
    /// Keys found so far.
    seen: usize,
    /// Records found by the last look, and not yet taken note of.
    pending: Vec<Location>,
    /// Records to be copied, with what they are read from.
    found: VecDeque<(R, Vec<Location>)>,
    rows: Rows<R>,
    out: Vec<u8>,
    outcome: RangeOutcome,
}

impl<R: Records + Clone> RangeRead<R> {
    /// Begins a read at revision `at` of a store whose newest revision is `current`; counts the range,
    /// unless that takes long.
    pub(crate) fn new(query: RangeQuery, at: i64, current: i64, index: &Index) -> Self {
        let count = index.count_at(&query.range, at);
        let mut read = RangeRead::uncounted(query, at, current);
        match count {
            Some(count) => {
                read.outcome.count = i64::try_from(count).unwrap_or(i64::MAX);
                read.is_collected = read.form == Form::Count || count == 0;
            }
            None => read.is_counting = true,
        }
        read
    }

    /// The same for a query that [`RangeQuery::is_lookup`]: its key is counted when it is found.
    pub(super) fn uncounted(query: RangeQuery, at: i64, current: i64) -> Self {
        let form = query.form();
        RangeRead {
            form,
            at,
            after: None,
            is_counting: false,
            is_collected: false,
            is_merged: form != Form::Rows,
            seen: 0,
            pending: Vec::new(),
            found: VecDeque::new(),
            rows: Rows::new(query.target, query.order),
            out: Vec::new(),
            outcome: RangeOutcome { revision: current, ..RangeOutcome::default() },
            query,
        }
    }

    /// Whether all keys have been found. The index is not needed any more then.
    pub(crate) fn is_collected(&self) -> bool {
        self.is_collected
    }

    /// Whether the answer is known, but for the records that have to be copied.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_collected && self.is_merged
    }

    /// Whether the answer can be given out while keys are still being found.
    pub(super) fn is_in_key_order(&self) -> bool {
        self.form != Form::Rows
    }

    /// Revision read at.
    pub(super) fn revision(&self) -> i64 {
        self.at
    }

    /// What is known of the answer: the keys apart, all once it is complete; `more` only then.
    pub(super) fn outcome(&self) -> &RangeOutcome {
        &self.outcome
    }

    /// Keys that a read in the order of keys gives out in all; `None` as long as they are not counted.
    pub(super) fn keys_wanted(&self) -> Option<usize> {
        match (usize::try_from(self.outcome.count), self.query.limit) {
            _ if self.form == Form::Count => Some(0),
            _ if self.is_counting => None,
            (Ok(count), 0) => Some(count),
            (Ok(count), limit) => Some(count.min(limit)),
            (Err(_), limit) => Some(limit),
        }
    }

    /// Does a bounded piece of work.
    pub(super) fn step(&mut self, source: &mut impl Source<Records = R>) -> Result<(), disk::Error> {
        if self.is_collected {
            self.merge();
            return Ok(());
        }
        source.look(|index, steps| self.collect(index, steps, usize::MAX, CHUNK_BYTES));
        if self.pending.is_empty() { Ok(()) } else { self.fetch(source.records()) }
    }

    /// Looks for more keys in the index, up to `keys_max` of them or `steps` steps, which it takes from
    /// there, or until their records are `bytes_max` long or longer. [`RangeRead::fetch`] must follow before
    /// the next call.
    pub(super) fn collect(&mut self, index: &Index, steps: &mut usize, keys_max: usize, bytes_max: u64) {
        let range = self.query.range.clone();
        if range.is_single() {
            if let Some(found) = index.at(range.start(), self.at) {
                self.outcome.count = 1;
                self.take(range.start(), &found);
            }
            self.is_collected = true;
            return;
        }
        let (keys_needed, seen_before) = (self.query.keys_needed(), self.seen);
        let mut bytes = 0;
        let after = self.after.take();
        self.after = index.range(&range, self.at, after.as_deref(), steps, &mut |key, found| {
            if self.seen < keys_needed {
                self.take(key, &found);
                bytes += if self.form == Form::Keys { 0 } else { found.location.record_len() };
            } else {
                self.seen += 1;
            }
            let is_enough = self.seen >= keys_needed && !self.is_counting;
            let is_chunk = self.seen - seen_before >= keys_max || bytes >= bytes_max;
            if is_enough || is_chunk { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let is_last = self.after.is_none();
        self.is_collected = is_last || (self.seen >= keys_needed && !self.is_counting);
        if is_last && self.is_counting {
            self.outcome.count = i64::try_from(self.seen).unwrap_or(i64::MAX);
            self.is_counting = false;
        }
    }

    /// Notes one key found. Answers at once with what the index knows, unless a key before it has still to
    /// be read.
    fn take(&mut self, key: &[u8], found: &Found) {
        self.seen += 1;
        let limit = self.query.limit;
        if self.form != Form::Rows && limit > 0 && self.seen > limit {
            self.outcome.more = true;
            return;
        }
        if self.form == Form::Keys
            && self.pending.is_empty()
            && let Some((create_revision, version)) = found.generation
        {
            let mod_revision = found.revision.main;
            let kv = KeyValue { key, create_revision, mod_revision, version, ..KeyValue::default() };
            put_key_value(&kv, &mut self.out);
            self.outcome.len += 1;
            return;
        }
        self.pending.push(found.location);
    }

    /// Takes note of the records that the last look has found.
    pub(super) fn fetch(&mut self, records: R) -> Result<(), disk::Error> {
        let places = std::mem::take(&mut self.pending);
        if places.is_empty() {
            return Ok(());
        }
        match self.form {
            Form::Count => {}
            Form::Records => {
                self.outcome.len += places.len();
                let is_short = self.is_collected && self.found.is_empty();
                if is_short && kvs_len(&places) <= READ_AT_ONCE_BYTES {
                    copy(&records, &places, &mut self.out)?;
                } else {
                    self.found.push_back((records, places));
                }
            }
            Form::Keys => {
                for place in places {
                    let kv = key_value::decode(&records.read(place)?);
                    put_key_value(&self.without_value(&kv), &mut self.out);
                    self.outcome.len += 1;
                }
            }
            Form::Rows => {
                let mut keys = Vec::with_capacity(places.len());
                for place in places {
                    let kv = key_value::decode(&records.read(place)?);
                    if self.query.filter.admits(&kv) {
                        let len = self.len_in_answer(&kv, place);
                        keys.push((kv, place, len));
                    }
                }
                self.rows.add_chunk(records, keys);
            }
        }
        Ok(())
    }

    /// Brings some rows into their order.
    pub(super) fn merge(&mut self) {
        if !self.is_merged {
            let limit = self.query.limit;
            self.is_merged = self.rows.merge(CHUNK_KEYS, limit, message_field_len);
            self.outcome.more = limit > 0 && self.rows.len() > limit;
            self.outcome.len = self.rows.n_ordered();
        }
    }

    /// Bytes of the keys found so far and not yet copied, as fields of the answer: of all keys once it is
    /// complete.
    pub(crate) fn kvs_len(&self) -> u64 {
        let copied: u64 = self.found.iter().map(|(_, places)| kvs_len(places)).sum();
        self.out.len() as u64 + copied + self.rows.fields_len()
    }

    /// Whether records have still to be copied.
    pub(super) fn has_uncopied(&self) -> bool {
        !self.found.is_empty() || self.rows.n_ordered() > 0
    }

    /// Whether they are more than one call of [`RangeRead::copy_next`] copies.
    pub(super) fn is_long(&self) -> bool {
        self.found.len() > 1
            || self.found.front().is_some_and(|(_, places)| kvs_len(places) > READ_AT_ONCE_BYTES)
            || self.rows.n_ordered() > CHUNK_KEYS
            || self.rows.fields_len() > CHUNK_BYTES
    }

    /// Appends the next keys to `out`, framed as in [`RangeOutcome::kvs`].
    pub(super) fn copy_next(&mut self, out: &mut Vec<u8>) -> Result<(), disk::Error> {
        out.append(&mut self.out);
        if let Some((records, places)) = self.found.pop_front() {
            return copy(&records, &places, out);
        }
        self.copy_rows(out, CHUNK_KEYS, CHUNK_BYTES)?;
        Ok(())
    }

    /// Appends all keys found so far to `out`: those of one chunk, if it is called after each.
    pub(super) fn copy_all(&mut self, out: &mut Vec<u8>) -> Result<(), disk::Error> {
        out.append(&mut self.out);
        while self.has_uncopied() {
            self.copy_next(out)?;
        }
        Ok(())
    }

    /// Appends rows to `out`, up to `rows_max` of them or until they are `bytes_max` long or longer. Returns
    /// how many.
    pub(super) fn copy_rows(
        &mut self,
        out: &mut Vec<u8>,
        rows_max: usize,
        bytes_max: u64,
    ) -> Result<usize, disk::Error> {
        let len_before = out.len();
        for n in 0..rows_max {
            if (out.len() - len_before) as u64 >= bytes_max {
                return Ok(n);
            }
            let Some((placed, records)) = self.rows.take(message_field_len) else { return Ok(n) };
            let stored = records.read(placed.location)?;
            if self.query.keys_only {
                put_key_value(&self.without_value(&key_value::decode(&stored)), out);
            } else {
                put_message(out, KVS, &stored);
            }
        }
        Ok(rows_max)
    }

    /// The answer, once it is complete. Its keys are left out if they are longer than `len_max`.
    pub(crate) fn finish(mut self, len_max: u64) -> Result<RangeOutcome, disk::Error> {
        assert!(self.is_complete() && self.pending.is_empty(), "a range read is finished only when complete");
        let len = self.kvs_len();
        if len > len_max {
            self.outcome.omitted_len = len;
            return Ok(self.outcome);
        }
        let mut kvs = std::mem::take(&mut self.out);
        if self.has_uncopied() {
            kvs.reserve_exact(usize::try_from(len).unwrap_or(0).saturating_sub(kvs.len()));
        }
        self.copy_all(&mut kvs)?;
        self.outcome.kvs = Bytes::from(kvs);
        Ok(self.outcome)
    }

    /// The form of a key in an answer without values.
    fn without_value<'k>(&self, kv: &'k mvccpb::KeyValue) -> KeyValue<'k> {
        KeyValue {
            key: &kv.key,
            create_revision: kv.create_revision,
            mod_revision: kv.mod_revision,
            version: kv.version,
            value: &[],
            lease: if self.query.tells_leases() { kv.lease } else { 0 },
        }
    }

    /// Length of the `mvccpb.KeyValue` in the answer for a record.
    fn len_in_answer(&self, kv: &mvccpb::KeyValue, place: Location) -> u32 {
        if !self.query.keys_only {
            return place.len;
        }
        // No longer than the record, whose length has 32 bits.
        u32::try_from(self.without_value(kv).encoded_len()).unwrap_or(u32::MAX)
    }
}

/// Appends the records at `places` to an answer.
fn copy(records: &impl Records, places: &[Location], out: &mut Vec<u8>) -> Result<(), disk::Error> {
    out.reserve(usize::try_from(kvs_len(places)).unwrap_or(0));
    records.append_all(places, KVS, out)
}

fn put_key_value(kv: &KeyValue<'_>, out: &mut Vec<u8>) {
    let mut encoded = Vec::with_capacity(kv.encoded_len());
    kv.encode(&mut encoded);
    put_message(out, KVS, &encoded);
}

/// Bytes of an answer that the records at `places` make.
fn kvs_len(places: &[Location]) -> u64 {
    places.iter().map(|at| message_field_len(at.len as usize) as u64).sum()
}
