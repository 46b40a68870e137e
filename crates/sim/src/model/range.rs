//! The answers to ranges.

use std::cmp::Ordering;

use prost::Message as _;
use proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use proto::etcdserverpb::{RangeRequest, RangeResponse};
use proto::mvccpb::KeyValue;
use store::{RangeOutcome, Refusal};

use super::Model;

impl Model {
    /// The answer to a range outside of any transaction.
    pub(crate) fn range(&self, request: &RangeRequest) -> Result<RangeOutcome, Refusal> {
        if request.revision > self.revision {
            return Err(Refusal::FutureRevision);
        }
        if request.revision > 0 && request.revision < self.compacted {
            return Err(Refusal::Compacted);
        }
        Ok(self.range_at(request, if request.revision > 0 { request.revision } else { self.revision }))
    }

    /// The answer to a range read at `at`, as seen from inside the command being applied.
    pub(super) fn range_at(&self, request: &RangeRequest, at: i64) -> RangeOutcome {
        let mut kvs: Vec<KeyValue> =
            self.live(&request.key, &request.range_end, at).into_iter().cloned().collect();
        let (revision, count) = (self.visible(), kvs.len() as i64);
        if request.count_only {
            return RangeOutcome { revision, count, ..RangeOutcome::default() };
        }
        let limit = if request.limit > 0 { request.limit as usize } else { usize::MAX };
        let is_filtered = has_filter(request);
        kvs.retain(|kv| admits(request, kv));
        let is_by_key = request.sort_target() == SortTarget::Key;
        if request.sort_order() == SortOrder::None && !is_by_key && !is_filtered {
            // etcd fetches one key more than the limit, whatever it is to be sorted by.
            kvs.truncate(limit.saturating_add(1));
        }
        match request.sort_order() {
            SortOrder::Descend => kvs.sort_by(|a, b| order(request, b, a)),
            SortOrder::None | SortOrder::Ascend => kvs.sort_by(|a, b| order(request, a, b)),
        }
        let more = kvs.len() > limit;
        kvs.truncate(limit);
        if request.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value.clear());
            // etcd answers from its index then, unless it has to sort by value; the index knows no leases.
            if request.sort_target() != SortTarget::Value {
                kvs.iter_mut().for_each(|kv| kv.lease = 0);
            }
        }
        let len = kvs.len();
        let kvs = RangeResponse { kvs, ..RangeResponse::default() }.encode_to_vec().into();
        RangeOutcome { revision, kvs, len, more, count, omitted_len: 0 }
    }
}

fn has_filter(r: &RangeRequest) -> bool {
    [r.min_mod_revision, r.max_mod_revision, r.min_create_revision, r.max_create_revision] != [0; 4]
}

fn admits(r: &RangeRequest, kv: &KeyValue) -> bool {
    kv.mod_revision >= r.min_mod_revision
        && kv.create_revision >= r.min_create_revision
        && (r.max_mod_revision == 0 || kv.mod_revision <= r.max_mod_revision)
        && (r.max_create_revision == 0 || kv.create_revision <= r.max_create_revision)
}

fn order(request: &RangeRequest, a: &KeyValue, b: &KeyValue) -> Ordering {
    match request.sort_target() {
        SortTarget::Key => a.key.cmp(&b.key),
        SortTarget::Version => a.version.cmp(&b.version),
        SortTarget::Create => a.create_revision.cmp(&b.create_revision),
        SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
        SortTarget::Value => a.value.cmp(&b.value),
    }
}

#[cfg(test)]
mod tests {
    use proto::etcdserverpb::PutRequest;
    use store::Request;

    use super::*;

    /// Keys a to d with values that sort the other way round.
    fn model() -> Model {
        let mut model = Model::new();
        for (key, value) in [("a", "4"), ("b", "3"), ("c", "2"), ("d", "1")] {
            let put = PutRequest { key: key.into(), value: value.into(), ..PutRequest::default() };
            model.apply(&Request::Put(put)).unwrap();
        }
        model
    }

    fn all() -> RangeRequest {
        RangeRequest { key: "a".into(), range_end: "\0".into(), ..RangeRequest::default() }
    }

    fn keys(outcome: &RangeOutcome) -> Vec<String> {
        let response = RangeResponse::decode(outcome.kvs.clone()).unwrap();
        response.kvs.iter().map(|kv| String::from_utf8(kv.key.to_vec()).unwrap()).collect()
    }

    #[test]
    fn a_limit_leaves_the_count_alone() {
        let outcome = model().range(&RangeRequest { limit: 2, ..all() }).unwrap();
        assert_eq!((keys(&outcome), outcome.more, outcome.count), (vec!["a".into(), "b".into()], true, 4));
    }

    #[test]
    fn without_an_order_only_the_first_keys_are_sorted_by_value() {
        let by_value = RangeRequest { limit: 2, sort_target: SortTarget::Value as i32, ..all() };
        assert_eq!(keys(&model().range(&by_value).unwrap()), ["c", "b"]);
        let ascending = RangeRequest { sort_order: SortOrder::Ascend as i32, ..by_value };
        assert_eq!(keys(&model().range(&ascending).unwrap()), ["d", "c"]);
    }

    #[test]
    fn an_old_revision_is_read_as_it_was() {
        let outcome = model().range(&RangeRequest { revision: 3, ..all() }).unwrap();
        assert_eq!((keys(&outcome), outcome.revision), (vec!["a".into(), "b".into()], 5));
        assert_eq!(model().range(&RangeRequest { revision: 6, ..all() }), Err(Refusal::FutureRevision));
    }
}
