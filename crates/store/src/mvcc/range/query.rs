//! What a range request asks for, checked.

use proto::etcdserverpb::RangeRequest;
use proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use proto::mvccpb;

use crate::Refusal;
use crate::key_range::KeyRange;

/// A checked `RangeRequest`.
#[derive(Debug, Clone)]
pub struct RangeQuery {
    pub(super) range: KeyRange,
    /// As asked for; 0 and below mean the current one.
    revision: i64,
    /// 0: all.
    pub(super) limit: usize,
    pub(super) order: SortOrder,
    pub(super) target: SortTarget,
    pub(super) keys_only: bool,
    count_only: bool,
    pub(super) filter: Filter,
}

/// How the keys found become the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::mvcc) enum Form {
    /// They are only counted.
    Count,
    /// Their records, as stored, in the order of keys.
    Records,
    /// Themselves without values, in the order of keys: the index mostly knows enough.
    Keys,
    /// Each record is looked into, to leave it out or to find its place in the order.
    Rows,
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

    /// Whether an order is asked for that is not the order of keys. A sort target alone asks for none.
    pub fn is_sorted(&self) -> bool {
        self.order == SortOrder::Descend
            || (self.order == SortOrder::Ascend && self.target != SortTarget::Key)
    }

    /// Whether keys are left out by the revisions of their making or their last change.
    pub fn is_filtered(&self) -> bool {
        !self.filter.is_off()
    }

    /// How the keys found become the answer.
    pub(in crate::mvcc) fn form(&self) -> Form {
        let is_in_key_order = self.target == SortTarget::Key && self.order != SortOrder::Descend;
        match self.keys_only {
            _ if self.count_only => Form::Count,
            _ if !is_in_key_order || self.is_filtered() => Form::Rows,
            true => Form::Keys,
            false => Form::Records,
        }
    }

    /// Whether it asks for one key itself, and not only whether it is there.
    pub(in crate::mvcc) fn is_lookup(&self) -> bool {
        self.range.is_single() && !self.count_only
    }

    /// The revision to read at, when `current` is the newest and `compacted` the last one compacted.
    pub(in crate::mvcc) fn resolve(&self, current: i64, compacted: i64) -> Result<i64, Refusal> {
        match self.revision {
            r if r <= 0 => Ok(current),
            r if r > current => Err(Refusal::FutureRevision),
            r if r < compacted => Err(Refusal::Compacted),
            r => Ok(r),
        }
    }

    /// How many keys must be found before the answer is known, its count aside; one more than the limit
    /// tells `more`.
    ///
    /// As in etcd, the limit applies before the sorting if there is a sort target and no order.
    pub(super) fn keys_needed(&self) -> usize {
        if self.count_only {
            return 0;
        }
        let needs_all = self.limit == 0 || self.is_filtered() || self.is_sorted();
        if needs_all { usize::MAX } else { self.limit.saturating_add(1) }
    }

    /// Whether keys without values have their leases in the answer. etcd 3.7 takes such keys from its index,
    /// which knows no leases, unless values are sorted by.
    pub(super) fn tells_leases(&self) -> bool {
        !self.keys_only || self.target == SortTarget::Value
    }
}

/// Bounds on revisions; 0 is no bound.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filter {
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

    pub(super) fn admits(&self, kv: &mvccpb::KeyValue) -> bool {
        let within = |value, min, max| (min == 0 || value >= min) && (max == 0 || value <= max);
        within(kv.mod_revision, self.min_mod, self.max_mod)
            && within(kv.create_revision, self.min_create, self.max_create)
    }
}
