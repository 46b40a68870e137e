//! A range too long for one chunk: found first, copied later, whatever happens to the store in between.

use prost::Message;
use proto::etcdserverpb::{CompactionRequest, PutRequest, RangeRequest, RangeResponse};
use store::{RangeQuery, RangeReading, Request};

use crate::rig::Rig;

const KEYS: usize = 2500;

fn put_all(rig: &mut Rig, value: &'static str) {
    let put = |i| PutRequest { key: format!("{i:04}").into(), value: value.into(), ..PutRequest::default() };
    let puts: Vec<Request> = (0..KEYS).map(|i| Request::Put(put(i))).collect();
    assert!(rig.apply_all(&puts).iter().all(Result::is_ok));
}

/// All keys, found and not yet copied.
fn found(rig: &Rig) -> RangeReading {
    let request = RangeRequest { key: "0".into(), range_end: "9".into(), ..RangeRequest::default() };
    let mut reading = rig.store.view().range(RangeQuery::new(&request).unwrap()).unwrap();
    assert!(!reading.step().unwrap());
    while !reading.step().unwrap() {}
    assert!(reading.is_long());
    reading
}

#[test]
fn pieces_are_the_whole_in_the_length_foretold() {
    let mut rig = Rig::new(1);
    put_all(&mut rig, "v");
    let mut reading = found(&rig);
    let (len, mut pieces) = (reading.kvs_len(), vec![Vec::new()]);
    assert_eq!((reading.outcome().len, reading.outcome().count), (KEYS, KEYS as i64));
    while reading.copy_next(pieces.last_mut().unwrap()).unwrap() {
        pieces.push(Vec::new());
    }
    assert_eq!((pieces.len(), reading.kvs_len(), reading.is_long()), (3, 0, false));
    let outcome = found(&rig).finish().unwrap();
    assert_eq!((pieces.concat().len() as u64, pieces.concat()), (len, outcome.kvs.to_vec()));
}

#[test]
fn keys_found_are_readable_when_their_history_is_compacted_and_reclaimed() {
    let mut rig = Rig::new(1);
    put_all(&mut rig, "old");
    let reading = found(&rig);
    put_all(&mut rig, "new");
    let revision = rig.store.view().revision();
    rig.apply(Request::Compact(CompactionRequest { revision, physical: true })).unwrap();
    rig.checkpoint();
    rig.trim();
    let kvs = RangeResponse::decode(reading.finish().unwrap().kvs).unwrap().kvs;
    assert_eq!(kvs.len(), KEYS);
    assert!(kvs.iter().all(|kv| kv.value == "old"));
}
