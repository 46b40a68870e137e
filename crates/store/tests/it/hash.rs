//! Hashing while the store changes.

use proto::etcdserverpb::{CompactionRequest, PutRequest};
use store::Request;

use crate::rig::Rig;

fn put(key: usize, value: &str) -> Request {
    let key = format!("key-{key:03}").into();
    Request::Put(PutRequest { key, value: value.to_owned().into(), ..PutRequest::default() })
}

/// 200 keys in several segments, most of whose records a compaction has made superfluous.
fn overwritten() -> Rig {
    let mut rig = Rig::new(1);
    for value in ["1", "2", "3"] {
        (0..200).for_each(|key| drop(rig.apply(put(key, &value.repeat(100)))));
    }
    rig.apply(Request::Compact(CompactionRequest { revision: 601, physical: false })).unwrap();
    rig
}

#[test]
fn a_rewrite_takes_no_record_from_a_hash_under_way() {
    let mut rig = overwritten();
    let expected = rig.store.view().hash_now(0).unwrap();
    let mut hash = rig.store.view().hash(0).unwrap();
    assert!(!hash.step().unwrap(), "what is to be hashed is collected, and nothing read yet");
    rig.checkpoint();
    rig.trim();
    rig.checkpoint();
    while !hash.step().unwrap() {}
    assert_eq!(hash.finish().1, expected);
}
