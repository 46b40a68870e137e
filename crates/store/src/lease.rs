//! The lease table: which leases exist, for how long they were granted, and which keys are attached to them.
//!
//! Part of the replicated state: it changes by applied commands alone, the same on each member. Time does
//! not pass here. The leader knows when a lease has run out, and then proposes to revoke it as any client
//! does.
//!
//! ```text
//!   grant, checkpoint ─▶ terms  4096 maps by lease, each shared with a checkpoint until it changes
//!   put, delete ───────▶ keys   lease → its keys        the other way round of
//!                        owners key → its lease         each other
//! ```
//!
//! Invariants: a key is attached to one lease at most; attached keys exist, and so do their leases. Keys are
//! not in the checkpoint: the newest record of each key names its lease.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use proto::checkpointpb::Checkpoint;
use proto::etcdserverpb::LeaseGrantRequest;
use proto::leasepb;

use crate::{Refusal, work};

/// Parts of the table that a checkpoint shares one by one. With a million leases, the first change of a part
/// after a checkpoint copies some 250 of them.
const SHARDS: usize = 4096;
/// Seconds of the longest lease.
pub(crate) const TTL_MAX_S: i64 = 9_000_000_000;

/// How long a lease lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTerm {
    /// Seconds it lives after each renewal.
    pub granted_ttl_s: i64,
    /// Seconds that were left when its leader last wrote them down; 0 if it has not since the last renewal.
    pub remaining_ttl_s: i64,
}

type Shard = Arc<BTreeMap<i64, LeaseTerm>>;

/// All leases.
#[derive(Debug)]
pub struct LeaseTable {
    ttl_min_s: i64,
    terms: Vec<Shard>,
    /// Only leases with keys are listed.
    keys: BTreeMap<i64, BTreeSet<Arc<[u8]>>>,
    owners: BTreeMap<Arc<[u8]>, i64>,
}

impl LeaseTable {
    /// The leases of a checkpoint, without keys. No lease is granted for less than `ttl_min_s` seconds.
    pub(crate) fn restore(checkpoint: Option<&Checkpoint>, ttl_min_s: i64) -> LeaseTable {
        let mut shards = vec![BTreeMap::new(); SHARDS];
        for lease in checkpoint.into_iter().flat_map(|c| &c.leases) {
            let term = LeaseTerm { granted_ttl_s: lease.ttl, remaining_ttl_s: lease.remaining_ttl };
            shards[shard_of(lease.id)].insert(lease.id, term);
        }
        let terms = shards.into_iter().map(Arc::new).collect();
        LeaseTable { ttl_min_s, terms, keys: BTreeMap::new(), owners: BTreeMap::new() }
    }

    /// What is known of a lease.
    pub fn term(&self, id: i64) -> Option<LeaseTerm> {
        self.terms[shard_of(id)].get(&id).copied()
    }

    /// Every lease, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (i64, LeaseTerm)> {
        self.terms.iter().flat_map(|shard| shard.iter().map(|(id, term)| (*id, *term)))
    }

    /// Up to `len_max` leases in the order of [`LeaseTable::iter`], those after the lease `after` if it is given.
    pub fn page(&self, after: Option<i64>, len_max: usize) -> Vec<i64> {
        let first_shard = after.map_or(0, shard_of);
        let ids = self.terms.iter().enumerate().skip(first_shard).flat_map(|(shard, terms)| {
            let after = after.filter(|_| shard == first_shard).map_or(Bound::Unbounded, Bound::Excluded);
            terms.range((after, Bound::Unbounded)).map(|(id, _)| *id)
        });
        ids.take(len_max).collect()
    }

    /// Up to `len_max` keys of a lease in key order, those after the key `after` if it is given.
    pub fn keys(&self, id: i64, after: Option<&[u8]>, len_max: usize) -> Vec<Arc<[u8]>> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let keys = self.keys.get(&id).into_iter();
        keys.flat_map(|keys| keys.range::<[u8], _>((after, Bound::Unbounded)))
            .take(len_max)
            .cloned()
            .collect()
    }

    /// Visits the keys of a lease in key order.
    pub(crate) fn visit_keys(&self, id: i64, visit: &mut dyn FnMut(&[u8])) {
        self.keys.get(&id).into_iter().flatten().for_each(|key| visit(key));
    }

    /// Adds a lease; returns the seconds it is granted for. etcd checks the length before the id.
    pub(crate) fn grant(&mut self, request: &LeaseGrantRequest) -> Result<i64, Refusal> {
        if request.id == 0 {
            // 0 means no lease; the proposer has chosen another id.
            return Err(Refusal::LeaseNotFound);
        }
        if request.ttl > TTL_MAX_S {
            return Err(Refusal::LeaseTtlTooLarge);
        }
        if self.term(request.id).is_some() {
            return Err(Refusal::LeaseExists);
        }
        let granted_ttl_s = request.ttl.max(self.ttl_min_s);
        self.shard_mut(request.id).insert(request.id, LeaseTerm { granted_ttl_s, remaining_ttl_s: 0 });
        Ok(granted_ttl_s)
    }

    /// Removes a lease; returns its keys, in order, which are attached to no lease then.
    pub(crate) fn revoke(&mut self, id: i64) -> Result<BTreeSet<Arc<[u8]>>, Refusal> {
        self.shard_mut(id).remove(&id).ok_or(Refusal::LeaseNotFound)?;
        let keys = self.keys.remove(&id).unwrap_or_default();
        for key in &keys {
            work::count(1);
            self.owners.remove(key);
        }
        Ok(keys)
    }

    /// Notes how much of its time a lease has left; without effect if it does not exist.
    pub(crate) fn set_remaining(&mut self, id: i64, remaining_ttl_s: i64) {
        if self.term(id).is_some()
            && let Some(term) = self.shard_mut(id).get_mut(&id)
        {
            term.remaining_ttl_s = remaining_ttl_s;
        }
    }

    /// Attaches a key to a lease, or to none (0), and detaches it from the one it was attached to.
    pub(crate) fn attach(&mut self, key: &[u8], id: i64) {
        work::count(1);
        let owner = if self.owners.is_empty() { 0 } else { self.owners.get(key).copied().unwrap_or(0) };
        if owner == id {
            return;
        }
        if owner != 0 && !disk::seeded_bug!("lease-keeps-detached-key") {
            self.detach(key, owner);
        }
        // A data directory made by another program may name a lease that does not exist.
        if self.term(id).is_some() {
            let key = Arc::<[u8]>::from(key);
            self.keys.entry(id).or_default().insert(Arc::clone(&key));
            self.owners.insert(key, id);
        }
    }

    fn detach(&mut self, key: &[u8], owner: i64) {
        self.owners.remove(key);
        if let Some(keys) = self.keys.get_mut(&owner) {
            keys.remove(key);
            if keys.is_empty() {
                self.keys.remove(&owner);
            }
        }
    }

    /// The leases as they are now, to be written down elsewhere. Takes a few microseconds, however many they
    /// are.
    pub(crate) fn snapshot(&self) -> LeaseSnapshot {
        LeaseSnapshot { terms: self.terms.clone() }
    }

    fn shard_mut(&mut self, id: i64) -> &mut BTreeMap<i64, LeaseTerm> {
        Arc::make_mut(&mut self.terms[shard_of(id)])
    }
}

/// Spreads ids whatever the distance between them (Knuth's multiplicative hash). Sixteen that follow each
/// other stay together: they are granted, and mostly end, one after the other, and so find their part in the
/// processor's cache.
fn shard_of(id: i64) -> usize {
    let run = id.cast_unsigned() >> 4;
    (run.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - SHARDS.ilog2())) as usize
}

/// The leases as they were when the snapshot was taken.
#[derive(Debug)]
pub(crate) struct LeaseSnapshot {
    terms: Vec<Shard>,
}

impl LeaseSnapshot {
    /// The same as stored.
    pub(crate) fn messages(&self) -> Vec<leasepb::Lease> {
        let leases = self.terms.iter().flat_map(|shard| shard.iter());
        leases
            .map(|(id, term)| leasepb::Lease {
                id: *id,
                ttl: term.granted_ttl_s,
                remaining_ttl: term.remaining_ttl_s,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> LeaseTable {
        LeaseTable::restore(None, 2)
    }

    fn grant(table: &mut LeaseTable, id: i64, ttl: i64) -> Result<i64, Refusal> {
        table.grant(&LeaseGrantRequest { id, ttl })
    }

    fn keys(table: &LeaseTable, id: i64) -> Vec<Arc<[u8]>> {
        table.keys(id, None, usize::MAX)
    }

    #[test]
    fn a_ttl_is_neither_too_short_nor_too_long() {
        let mut table = table();
        assert_eq!([-1, 0, 2, 3].map(|ttl| grant(&mut table, ttl + 9, ttl)), [Ok(2), Ok(2), Ok(2), Ok(3)]);
        assert_eq!(grant(&mut table, 1, TTL_MAX_S), Ok(TTL_MAX_S));
        assert_eq!(grant(&mut table, 1, TTL_MAX_S + 1), Err(Refusal::LeaseTtlTooLarge), "before the id");
        assert_eq!(grant(&mut table, 1, 5), Err(Refusal::LeaseExists));
        assert_eq!(grant(&mut table, 0, 5), Err(Refusal::LeaseNotFound));
    }

    #[test]
    fn a_key_is_attached_to_the_last_lease_it_was_put_with() {
        let mut table = table();
        for id in [1, 2] {
            grant(&mut table, id, 5).unwrap();
        }
        table.attach(b"a", 1);
        table.attach(b"b", 1);
        table.attach(b"a", 2);
        assert_eq!((keys(&table, 1), keys(&table, 2)), (vec![(*b"b").into()], vec![(*b"a").into()]));
        table.attach(b"b", 0);
        assert!(table.revoke(1).unwrap().is_empty());
        assert_eq!(table.revoke(2).unwrap().len(), 1);
        assert!(table.owners.is_empty() && table.keys.is_empty());
        assert_eq!(table.revoke(2), Err(Refusal::LeaseNotFound));
    }

    #[test]
    fn keys_come_in_pages() {
        let mut table = table();
        grant(&mut table, 1, 5).unwrap();
        for key in ["a", "b", "c"] {
            table.attach(key.as_bytes(), 1);
        }
        assert_eq!(table.keys(1, None, 2), [(*b"a").into(), (*b"b").into()]);
        assert_eq!(table.keys(1, Some(b"b"), 2), [(*b"c").into()]);
        assert!(table.keys(1, Some(b"c"), 2).is_empty() && table.keys(2, None, 2).is_empty());
    }

    #[test]
    fn leases_come_in_pages_in_the_order_of_all() {
        let mut table = table();
        for id in -500..500 {
            grant(&mut table, 7 * id + 1, 5).unwrap();
        }
        let all: Vec<i64> = table.iter().map(|(id, _)| id).collect();
        let mut listed = table.page(None, 7);
        while listed.len() < all.len() {
            let page = table.page(listed.last().copied(), 7);
            assert!((1..=7).contains(&page.len()));
            listed.extend(page);
        }
        assert_eq!(listed, all);
        assert!(table.page(listed.last().copied(), 7).is_empty());
    }

    #[test]
    fn a_snapshot_does_not_see_what_comes_after() {
        let mut table = table();
        for id in -500..500 {
            let _ = grant(&mut table, id, 5);
        }
        table.set_remaining(7, 3);
        let snapshot = table.snapshot();
        table.revoke(7).unwrap();
        grant(&mut table, 1000, 5).unwrap();
        let checkpoint = Checkpoint { leases: snapshot.messages(), ..Checkpoint::default() };
        let restored = LeaseTable::restore(Some(&checkpoint), 2);
        assert_eq!(restored.iter().count(), 999);
        assert_eq!(restored.term(7), Some(LeaseTerm { granted_ttl_s: 5, remaining_ttl_s: 3 }));
        assert_eq!(restored.term(1000), None);
    }

    #[test]
    fn ids_spread_over_the_shards() {
        for step in [1, 1 << 16, 1 << 40] {
            let used: BTreeSet<_> = (0..100_000).map(|i| shard_of(i * step)).collect();
            assert!(used.len() > SHARDS / 2, "{} of {SHARDS} for steps of {step}", used.len());
        }
    }
}
