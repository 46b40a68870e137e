//! Reading a range of keys at one revision.
//!
//! A read goes in chunks: collect locations from the index under its lock, release the lock, copy the records at once
//! or when all are found. Between chunks a writer may go on: the revision read at is fixed and its records are
//! immutable, so the answer is consistent all the same.
//!
//! etcd's rules (order of filters, what `count` and `more` mean, the quirk of an unordered read by another
//! target than the key) are those of `KV.Range` in 3.7; the golden scripts show them one by one.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use bytes::Bytes;
use disk::Location;
use proto::etcdserverpb::RangeRequest;
use proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use proto::mvccpb;
use proto::wire::{message_field_len, put_message};

use super::index::{Found, Index};
use super::key_value::{self, KeyValue};
use crate::Refusal;
use crate::key_range::KeyRange;
use crate::outcome::RangeOutcome;

/// Field 2, `kvs`, of a `RangeResponse`.
const KVS: u8 = 0x12;
/// Keys looked at under one hold of the index lock: about 30 µs.
pub(super) const CHUNK_KEYS: usize = 1000;
/// Bytes of records copied in one step, or passed by the last of them: some 50 µs.
pub(super) const CHUNK_BYTES: u64 = 256 << 10;

/// Where the bytes of a record come from.
pub(crate) trait Records {
    /// The `mvccpb.KeyValue` bytes of a record.
    fn read(&self, at: Location) -> Result<Bytes, disk::Error>;

    /// The same of many records, in the order of `places`, for bytes that are copied at once.
    fn visit_all(&self, places: &[Location], visit: &mut dyn FnMut(&[u8])) -> Result<(), disk::Error> {
        for &at in places {
            visit(&self.read(at)?);
        }
        Ok(())
    }
}

/// A checked `RangeRequest`.
#[derive(Debug, Clone)]
pub struct RangeQuery {
    range: KeyRange,
    /// As asked for; 0 and below mean the current one.
    revision: i64,
    limit: usize,
    order: SortOrder,
    target: SortTarget,
    keys_only: bool,
    count_only: bool,
    filter: Filter,
}

impl RangeQuery {
    /// Checks what can be checked without the store: a key is given, the sort options exist.
    pub fn new(request: &RangeRequest) -> Result<RangeQuery, Refusal> {
        if request.key.is_empty() {
            return Err(Refusal::EmptyKey);
        }
        Ok(RangeQuery {
            range: KeyRange::new(request.key.clone(), request.range_end.clone()),
            revision: request.revision,
            limit: usize::try_from(request.limit).unwrap_or(0),
            order: SortOrder::try_from(request.sort_order).map_err(|_| Refusal::InvalidSortOption)?,
            target: SortTarget::try_from(request.sort_target).map_err(|_| Refusal::InvalidSortOption)?,
            keys_only: request.keys_only,
            count_only: request.count_only,
            filter: Filter::new(request),
        })
    }

    /// Whether an order is asked for that is not the order of keys.
    pub fn is_sorted(&self) -> bool {
        self.order == SortOrder::Descend
            || (self.order == SortOrder::Ascend && self.target != SortTarget::Key)
    }

    /// Whether keys are left out by the revisions of their making or their last change.
    pub fn is_filtered(&self) -> bool {
        !self.filter.is_off()
    }

    /// Whether it asks for one key itself, and not only whether it is there.
    pub(super) fn is_lookup(&self) -> bool {
        self.range.is_single() && !self.count_only
    }

    /// The revision to read at, when `current` is the newest and `compacted` the last one compacted.
    pub(super) fn resolve(&self, current: i64, compacted: i64) -> Result<i64, Refusal> {
        match self.revision {
            r if r <= 0 => Ok(current),
            r if r > current => Err(Refusal::FutureRevision),
            r if r < compacted => Err(Refusal::Compacted),
            r => Ok(r),
        }
    }

    /// The same query, its keys given out as they are found. Without an order etcd sorts each chunk of a stream by
    /// the target and goes on behind its last key, and so loses keys; here the order of keys counts.
    pub(super) fn streamed(self) -> RangeQuery {
        RangeQuery { target: SortTarget::Key, ..self }
    }

    /// Whether keys are given out as they are found: no sorting, no filter.
    fn is_streamed(&self) -> bool {
        let by_key = self.target == SortTarget::Key && self.order != SortOrder::Descend;
        by_key && self.filter.is_off()
    }

    /// How many keys must be read before the answer is known; one more than the limit tells `more`.
    fn keys_needed(&self) -> usize {
        let all = self.limit == 0
            || !self.filter.is_off()
            || (self.order != SortOrder::None && !self.is_streamed());
        if all { usize::MAX } else { self.limit.saturating_add(1) }
    }

    /// Whether stored keys make the answer just as they are found.
    fn is_copied(&self) -> bool {
        self.is_streamed() && !self.keys_only
    }

    /// Whether the index alone can answer.
    fn is_from_index(&self) -> bool {
        self.keys_only && self.target != SortTarget::Value
    }
}

/// Bounds on revisions; 0 is no bound.
#[derive(Debug, Clone, Copy)]
struct Filter {
    min_mod: i64,
    max_mod: i64,
    min_create: i64,
    max_create: i64,
}

impl Filter {
    fn new(r: &RangeRequest) -> Filter {
        Filter {
            min_mod: r.min_mod_revision,
            max_mod: r.max_mod_revision,
            min_create: r.min_create_revision,
            max_create: r.max_create_revision,
        }
    }

    fn is_off(&self) -> bool {
        [self.min_mod, self.max_mod, self.min_create, self.max_create] == [0; 4]
    }

    fn admits(&self, kv: &mvccpb::KeyValue) -> bool {
        let within = |value, min, max| (min == 0 || value >= min) && (max == 0 || value <= max);
        within(kv.mod_revision, self.min_mod, self.max_mod)
            && within(kv.create_revision, self.min_create, self.max_create)
    }
}

/// A range read under way.
#[derive(Debug)]
pub(crate) struct RangeRead {
    query: RangeQuery,
    /// Revision read at.
    at: i64,
    /// Where the next chunk begins: after this key.
    after: Option<Vec<u8>>,
    is_collected: bool,
    /// Records found in this chunk and not yet copied.
    pending: Vec<Location>,
    seen: usize,
    /// Keys to sort or filter before they are given out; unused for a streamed read.
    unsorted: Vec<(mvccpb::KeyValue, Bytes)>,
    out: Vec<u8>,
    outcome: RangeOutcome,
}

impl RangeRead {
    /// Begins a read at revision `at` of a store whose newest revision is `current`; counts the range.
    pub(crate) fn new(query: RangeQuery, at: i64, current: i64, index: &Index) -> RangeRead {
        let count = index.count_at(&query.range, at) as i64;
        let mut read = RangeRead::uncounted(query, at, current);
        read.outcome.count = count;
        read.is_collected = read.query.count_only || count == 0;
        read
    }

    /// The same for a query that [`RangeQuery::is_lookup`]: its key is counted when it is collected.
    pub(super) fn uncounted(query: RangeQuery, at: i64, current: i64) -> RangeRead {
        RangeRead {
            query,
            at,
            after: None,
            is_collected: false,
            pending: Vec::new(),
            seen: 0,
            unsorted: Vec::new(),
            out: Vec::new(),
            outcome: RangeOutcome { revision: current, ..RangeOutcome::default() },
        }
    }

    /// Whether all keys have been collected.
    pub(crate) fn is_collected(&self) -> bool {
        self.is_collected
    }

    /// Revision read at.
    pub(super) fn revision(&self) -> i64 {
        self.at
    }

    /// What is known of the answer: the keys apart, all once they are collected; `more` only then.
    pub(super) fn outcome(&self) -> &RangeOutcome {
        &self.outcome
    }

    /// Keys that a read of no order and no filter gives out in all.
    pub(super) fn keys_wanted(&self) -> usize {
        match (usize::try_from(self.outcome.count), self.query.limit) {
            _ if self.query.count_only => 0,
            (Ok(count), 0) => count,
            (Ok(count), limit) => count.min(limit),
            (Err(_), _) => unreachable!("the keys counted are in memory"),
        }
    }

    /// The keys given out since they were last taken, framed as in [`RangeOutcome::kvs`].
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Collects up to `max_keys` more keys from the index; [`RangeRead::fetch`] must follow before the next call.
    pub(crate) fn collect(&mut self, index: &Index, max_keys: usize) {
        self.collect_up_to(index, max_keys, u64::MAX);
    }

    /// The same, but stops once the records to be copied are `max_bytes` long or longer.
    pub(super) fn collect_up_to(&mut self, index: &Index, max_keys: usize, max_bytes: u64) {
        let range = self.query.range.clone();
        if range.is_single() {
            if let Some(found) = index.at(range.start(), self.at) {
                self.outcome.count = 1;
                self.take(range.start(), &found);
            }
            self.is_collected = true;
            return;
        }
        let stop_at = self.query.keys_needed().min(self.seen.saturating_add(max_keys));
        let (mut last, mut bytes) = (None, 0);
        let after = self.after.take();
        index.range(&range, self.at, after.as_deref(), &mut |key, found| {
            self.take(key, &found);
            bytes += if self.query.is_from_index() { 0 } else { found.location.record_len() };
            if self.seen < stop_at && bytes < max_bytes {
                return ControlFlow::Continue(());
            }
            last = Some(key.to_vec());
            ControlFlow::Break(())
        });
        self.is_collected = last.is_none() || self.seen >= self.query.keys_needed();
        self.after = last;
    }

    /// Notes one key found; answers at once what the index knows, unless a key before it has still to be read.
    fn take(&mut self, key: &[u8], found: &Found) {
        self.seen += 1;
        if self.query.is_streamed() {
            if self.is_full() {
                self.outcome.more = true;
                return;
            }
            if self.query.is_from_index()
                && self.pending.is_empty()
                && let Some((create_revision, version)) = found.generation
            {
                let kv = KeyValue {
                    key,
                    create_revision,
                    mod_revision: found.revision.main,
                    version,
                    ..KeyValue::default()
                };
                self.push_key_value(&kv);
                return;
            }
            self.outcome.len += 1;
        }
        self.pending.push(found.location);
    }

    /// Takes the chunk collected last, if [`copy`] can do instead of [`RangeRead::fetch`].
    pub(super) fn take_copied(&mut self) -> Option<Vec<Location>> {
        self.query.is_copied().then(|| std::mem::take(&mut self.pending))
    }

    /// Copies the records of the chunk collected last.
    pub(crate) fn fetch(&mut self, records: &impl Records) -> Result<(), disk::Error> {
        if self.query.is_copied() {
            copy(records, &self.pending, &mut self.out)?;
            self.pending.clear();
            return Ok(());
        }
        for location in std::mem::take(&mut self.pending) {
            let stored = records.read(location)?;
            let kv = key_value::decode(&stored);
            if self.query.is_streamed() {
                self.outcome.len -= 1;
                self.push_keys_only(&kv);
            } else if self.query.filter.admits(&kv) {
                self.unsorted.push((kv, stored));
            }
        }
        Ok(())
    }

    /// The answer, once all is collected and fetched.
    pub(crate) fn finish(mut self) -> RangeOutcome {
        assert!(self.is_collected && self.pending.is_empty(), "a range read is finished only when complete");
        if !self.unsorted.is_empty() {
            self.sort();
        }
        self.outcome.kvs = self.out.into();
        self.outcome
    }

    fn is_full(&self) -> bool {
        self.query.limit > 0 && self.outcome.len >= self.query.limit
    }

    fn sort(&mut self) {
        let mut rows = std::mem::take(&mut self.unsorted);
        let target = self.query.target;
        // Stable, so that equal targets keep key order, whichever way is asked for.
        match self.query.order {
            SortOrder::Descend => rows.sort_by(|a, b| compare(target, &b.0, &a.0)),
            SortOrder::None | SortOrder::Ascend => rows.sort_by(|a, b| compare(target, &a.0, &b.0)),
        }
        if self.query.limit > 0 && rows.len() > self.query.limit {
            rows.truncate(self.query.limit);
            self.outcome.more = true;
        }
        for (kv, stored) in rows {
            if self.query.keys_only {
                self.push_keys_only(&kv);
            } else {
                put_message(&mut self.out, KVS, &stored);
                self.outcome.len += 1;
            }
        }
    }

    /// A key without its value. What comes from the index has no lease: etcd 3.7 leaves it out there, and so do
    /// we, wherever we took it from.
    fn push_keys_only(&mut self, kv: &mvccpb::KeyValue) {
        let lease = if self.query.is_from_index() { 0 } else { kv.lease };
        self.push_key_value(&KeyValue {
            key: &kv.key,
            create_revision: kv.create_revision,
            mod_revision: kv.mod_revision,
            version: kv.version,
            value: &[],
            lease,
        });
    }

    fn push_key_value(&mut self, kv: &KeyValue<'_>) {
        let mut encoded = Vec::with_capacity(kv.key.len() + 48);
        kv.encode(&mut encoded);
        put_message(&mut self.out, KVS, &encoded);
        self.outcome.len += 1;
    }
}

/// Appends the stored keys at `places` to `out`, framed as in [`RangeOutcome::kvs`].
pub(super) fn copy(
    records: &impl Records,
    places: &[Location],
    out: &mut Vec<u8>,
) -> Result<(), disk::Error> {
    out.reserve(copied_len(places));
    records.visit_all(places, &mut |stored| put_message(out, KVS, stored))
}

/// Bytes that [`copy`] appends.
pub(super) fn copied_len(places: &[Location]) -> usize {
    places.iter().map(|at| message_field_len(at.len as usize)).sum()
}

fn compare(target: SortTarget, a: &mvccpb::KeyValue, b: &mvccpb::KeyValue) -> Ordering {
    match target {
        SortTarget::Key => a.key.cmp(&b.key),
        SortTarget::Version => a.version.cmp(&b.version),
        SortTarget::Create => a.create_revision.cmp(&b.create_revision),
        SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
        SortTarget::Value => a.value.cmp(&b.value),
    }
}
