//! What etcd promises, in its plainest form: a map from key to all its changes, never trimmed.
//!
//! Takes commands one after the other, in the order in which the member took them, and returns what etcd
//! answers to each. It is written from etcd's rules alone. It shares only the types of requests and answers
//! with the store, so that the two do not have the same bugs. Nothing here is fast.
//!
//! Invariant: changes of a key ascend by revision; `changes` holds the same changes by revision.

mod alarm;
mod hash;
mod range;
mod txn;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use alarm::takes_space;
use bytes::Bytes;
use prost::Message as _;
use proto::etcdserverpb::{DeleteRangeRequest, LeaseGrantRequest, PutRequest};
use proto::mvccpb::{Event, KeyValue, event::EventType};
use store::{DeleteOutcome, LeaseGrantOutcome, Outcome, PutOutcome, Refusal, Request};

/// Seconds of the shortest and of the longest lease.
const LEASE_TTL_MIN_S: i64 = 2;
const LEASE_TTL_MAX_S: i64 = 9_000_000_000;

/// One change of one key.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) main: i64,
    pub(crate) sub: i64,
    /// The key as it was written; `None` for a tombstone.
    pub(crate) kv: Option<KeyValue>,
}

/// A change as a watcher sees it.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) key: Bytes,
    pub(crate) is_delete: bool,
    pub(crate) is_create: bool,
    /// `mvccpb.Event` bytes without the previous value.
    pub(crate) encoded: Vec<u8>,
}

/// The multi-version map.
#[derive(Debug)]
pub(crate) struct Model {
    keys: BTreeMap<Bytes, Vec<Change>>,
    /// By main revision, in order of sub revision.
    changes: BTreeMap<i64, Vec<Told>>,
    revision: i64,
    compacted: i64,
    /// Every compaction with the one before it.
    compactions: Vec<(i64, i64)>,
    /// Seconds that each lease was granted for.
    leases: BTreeMap<i64, i64>,
    /// The alarms raised, by kind and member.
    alarms: BTreeSet<(i32, u64)>,
    /// Changes made so far by the command being applied.
    sub: i64,
}

impl Model {
    /// The empty map of a new cluster.
    pub(crate) fn new() -> Model {
        Model {
            keys: BTreeMap::new(),
            changes: BTreeMap::new(),
            revision: 1,
            compacted: -1,
            compactions: Vec::new(),
            leases: BTreeMap::new(),
            alarms: BTreeSet::new(),
            sub: 0,
        }
    }

    /// Main revision of the newest change.
    pub(crate) fn revision(&self) -> i64 {
        self.revision
    }

    /// The last compaction; -1 before the first.
    pub(crate) fn compacted(&self) -> i64 {
        self.compacted
    }

    /// Whether history was ever compacted at exactly this revision. A hash computed then may be reported
    /// after a later compaction.
    pub(crate) fn was_compacted_at(&self, revision: i64) -> bool {
        self.compactions.iter().any(|(at, _)| *at == revision)
    }

    /// Carries out a command; returns the answer that it must get.
    pub(crate) fn apply(&mut self, request: &Request) -> Result<Outcome, Refusal> {
        self.admit(request)?;
        self.sub = 0;
        let outcome = match request {
            Request::Put(put) => self.check_put(put).map(|()| Outcome::Put(self.put(put))),
            Request::DeleteRange(delete) => Ok(Outcome::Delete(self.delete(delete))),
            Request::Txn(txn) => self.txn(txn).map(Outcome::Txn),
            Request::Compact(compact) => self.compact(compact.revision),
            Request::LeaseGrant(grant) => self.grant(grant).map(Outcome::LeaseGrant),
            Request::LeaseRevoke(revoke) => self.revoke(revoke.id),
            Request::LeaseCheckpoint(_)
            | Request::SetMemberAttributes(_)
            | Request::SetClusterVersion(_)
            | Request::V2
            | Request::SetDowngrade(_) => Ok(Outcome::Control),
            Request::Alarm(request) => Ok(self.alarm(request)),
        };
        self.revision = self.visible();
        self.sub = 0;
        outcome
    }

    /// The key as of `revision`.
    pub(crate) fn at(&self, key: &[u8], revision: i64) -> Option<&KeyValue> {
        let changes = self.keys.get(key)?;
        changes.iter().rev().find(|change| change.main <= revision)?.kv.as_ref()
    }

    /// The changes from main revision `from` on, by revision.
    pub(crate) fn changes_from(&self, from: i64) -> impl Iterator<Item = (i64, &[Told])> {
        self.changes.range(from..).map(|(main, told)| (*main, &told[..]))
    }

    /// The keys that a request names by `key` and `range_end` and that exist at `revision`, in order.
    fn live(&self, key: &[u8], end: &[u8], revision: i64) -> Vec<&KeyValue> {
        let in_range = self.keys.keys().filter(|k| names(key, end, k));
        in_range.filter_map(|k| self.at(k, revision)).collect()
    }

    /// The revision as seen from inside the command being applied.
    fn visible(&self) -> i64 {
        self.revision + i64::from(self.sub > 0)
    }

    fn check_put(&self, put: &PutRequest) -> Result<(), Refusal> {
        if put.lease != 0 && !self.leases.contains_key(&put.lease) {
            return Err(Refusal::LeaseNotFound);
        }
        let needs_key = put.ignore_value || put.ignore_lease;
        if needs_key && self.at(&put.key, i64::MAX).is_none() {
            return Err(Refusal::KeyNotFound);
        }
        Ok(())
    }

    fn put(&mut self, put: &PutRequest) -> PutOutcome {
        let main = self.revision + 1;
        let old = self.at(&put.key, i64::MAX).cloned();
        let kv = KeyValue {
            key: put.key.clone(),
            create_revision: old.as_ref().map_or(main, |old| old.create_revision),
            mod_revision: main,
            version: old.as_ref().map_or(1, |old| old.version + 1),
            value: match &old {
                Some(old) if put.ignore_value => old.value.clone(),
                _ => put.value.clone(),
            },
            lease: match &old {
                Some(old) if put.ignore_lease => old.lease,
                _ => put.lease,
            },
        };
        self.change(put.key.clone(), Some(kv));
        let prev = old.filter(|_| put.prev_kv).map(|old| old.encode_to_vec().into());
        PutOutcome { revision: main, prev }
    }

    fn delete(&mut self, delete: &DeleteRangeRequest) -> DeleteOutcome {
        let doomed = self.live(&delete.key, &delete.range_end, i64::MAX);
        let doomed: Vec<KeyValue> = doomed.into_iter().cloned().collect();
        for kv in &doomed {
            self.change(kv.key.clone(), None);
        }
        let prev = match delete.prev_kv {
            true => doomed.iter().map(|kv| kv.encode_to_vec().into()).collect(),
            false => Vec::new(),
        };
        DeleteOutcome { revision: self.visible(), deleted: doomed.len() as i64, prev, omitted_len: 0 }
    }

    fn grant(&mut self, grant: &LeaseGrantRequest) -> Result<LeaseGrantOutcome, Refusal> {
        if grant.ttl > LEASE_TTL_MAX_S {
            return Err(Refusal::LeaseTtlTooLarge);
        }
        if self.leases.contains_key(&grant.id) {
            return Err(Refusal::LeaseExists);
        }
        let ttl_s = grant.ttl.max(LEASE_TTL_MIN_S);
        self.leases.insert(grant.id, ttl_s);
        Ok(LeaseGrantOutcome { revision: self.revision, ttl_s })
    }

    fn revoke(&mut self, id: i64) -> Result<Outcome, Refusal> {
        self.leases.remove(&id).ok_or(Refusal::LeaseNotFound)?;
        for key in self.lease_keys(id) {
            self.change(key, None);
        }
        Ok(Outcome::LeaseRevoke { revision: self.visible() })
    }

    /// The leases with the seconds they were granted for.
    pub(crate) fn leases(&self) -> impl Iterator<Item = (i64, i64)> {
        self.leases.iter().map(|(id, ttl_s)| (*id, *ttl_s))
    }

    /// Seconds that a lease was granted for.
    pub(crate) fn lease_ttl_s(&self, id: i64) -> Option<i64> {
        self.leases.get(&id).copied()
    }

    /// Keys that were last put with a lease.
    pub(crate) fn lease_keys(&self, id: i64) -> BTreeSet<Bytes> {
        let all = self.live(b"\0", b"\0", i64::MAX).into_iter();
        all.filter(|kv| kv.lease == id).map(|kv| kv.key.clone()).collect()
    }

    fn compact(&mut self, at: i64) -> Result<Outcome, Refusal> {
        if at <= self.compacted {
            return Err(Refusal::Compacted);
        }
        if at > self.revision {
            return Err(Refusal::FutureRevision);
        }
        self.compactions.push((at, self.compacted));
        self.compacted = at;
        Ok(Outcome::Compact { revision: self.revision })
    }

    fn change(&mut self, key: Bytes, kv: Option<KeyValue>) {
        let (main, sub) = (self.revision + 1, self.sub);
        let told = Told {
            key: key.clone(),
            is_delete: kv.is_none(),
            is_create: kv.as_ref().is_some_and(|kv| kv.create_revision == main),
            encoded: event(&key, main, kv.as_ref()).encode_to_vec(),
        };
        self.changes.entry(main).or_default().push(told);
        self.keys.entry(key).or_default().push(Change { main, sub, kv });
        self.sub += 1;
    }
}

/// Whether a request that names keys by `key` and `range_end` means `candidate`.
pub(crate) fn names(key: &[u8], range_end: &[u8], candidate: &[u8]) -> bool {
    match range_end {
        [] => candidate == key,
        [0] => candidate >= key,
        end => candidate >= key && candidate < end,
    }
}

fn event(key: &Bytes, main: i64, kv: Option<&KeyValue>) -> Event {
    let r#type = if kv.is_some() { EventType::Put } else { EventType::Delete };
    let deleted = || KeyValue { key: key.clone(), mod_revision: main, ..KeyValue::default() };
    Event { r#type: r#type as i32, kv: Some(kv.cloned().unwrap_or_else(deleted)), prev_kv: None }
}

#[cfg(test)]
mod tests {
    use proto::etcdserverpb::CompactionRequest;

    use super::*;

    fn put(key: &'static str) -> Request {
        Request::Put(PutRequest { key: key.into(), value: "v".into(), ..PutRequest::default() })
    }

    fn delete(key: &'static str) -> Request {
        Request::DeleteRange(DeleteRangeRequest { key: key.into(), ..DeleteRangeRequest::default() })
    }

    #[test]
    fn a_key_deleted_and_put_again_begins_anew() {
        let mut model = Model::new();
        for request in [put("a"), put("a"), delete("a"), delete("a"), put("a")] {
            model.apply(&request).unwrap();
        }
        assert_eq!(model.revision(), 5, "the second delete changed nothing");
        let (before, now) = (model.at(b"a", 3).unwrap(), model.at(b"a", 5).unwrap());
        assert_eq!((before.create_revision, before.version), (2, 2));
        assert_eq!((now.create_revision, now.version), (5, 1));
        assert!(model.at(b"a", 4).is_none());
    }

    #[test]
    fn a_compaction_goes_forward_up_to_the_newest_revision() {
        let mut model = Model::new();
        model.apply(&put("a")).unwrap();
        let mut compact =
            |revision| model.apply(&Request::Compact(CompactionRequest { revision, physical: false }));
        assert_eq!(compact(3), Err(Refusal::FutureRevision));
        assert_eq!(compact(2), Ok(Outcome::Compact { revision: 2 }));
        assert_eq!(compact(2), Err(Refusal::Compacted));
    }
}
