//! How the scripts show what the store answers.
//!
//! A key reads `a=1 c2 m3 v2`: value, create revision, mod revision, version; then `l7` if it has a lease.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use proto::etcdserverpb::{AlarmMember, AlarmType, RangeResponse};
use proto::mvccpb::{self, KeyValue};
use store::{
    DeleteOutcome, Error, Event, KeyValueHash, LeaseTable, OpOutcome, Outcome, Progress, PutOutcome,
    RangeOutcome, Refusal, TxnOutcome, WatchDelivery, WatchStream,
};

pub(crate) fn outcome(result: &Result<Outcome, Refusal>, out: &mut Vec<String>) {
    match result {
        Ok(Outcome::Put(o)) => put(o, "", out),
        Ok(Outcome::Delete(o)) => delete(o, "", out),
        Ok(Outcome::Txn(o)) => txn(o, "", out),
        Ok(Outcome::Compact { revision }) => out.push(format!("rev {revision}")),
        Ok(Outcome::Alarms(alarms)) => out.push(alarm_list(alarms)),
        Ok(Outcome::LeaseGrant(o)) => out.push(format!("rev {} granted {} s", o.revision, o.ttl_s)),
        Ok(Outcome::LeaseRevoke { revision }) => out.push(format!("rev {revision} revoked")),
        Ok(Outcome::Members(members)) => out.push(format!("{} members", members.len())),
        Ok(Outcome::Control) => out.push("done".to_owned()),
        Err(refusal) => out.push(format!("refused: {refusal}")),
    }
}

fn put(outcome: &PutOutcome, indent: &str, out: &mut Vec<String>) {
    let prev = outcome.prev.iter().map(|kv| format!(" before {}", stored(kv))).collect::<String>();
    out.push(format!("{indent}rev {}{prev}", outcome.revision));
}

fn delete(outcome: &DeleteOutcome, indent: &str, out: &mut Vec<String>) {
    out.push(format!("{indent}rev {} deleted {}", outcome.revision, outcome.deleted));
    out.extend(outcome.prev.iter().map(|kv| format!("{indent}  before {}", stored(kv))));
}

pub(crate) fn txn(outcome: &TxnOutcome, indent: &str, out: &mut Vec<String>) {
    let verdict = if outcome.succeeded { "succeeded" } else { "failed" };
    out.push(format!("{indent}rev {} {verdict}", outcome.revision));
    let indent = format!("{indent}  ");
    for result in &outcome.results {
        match result {
            OpOutcome::Range(o) => range(o, &indent, out),
            OpOutcome::Put(o) => put(o, &indent, out),
            OpOutcome::Delete(o) => delete(o, &indent, out),
            OpOutcome::Txn(o) => txn(o, &indent, out),
        }
    }
}

pub(crate) fn range(outcome: &RangeOutcome, indent: &str, out: &mut Vec<String>) {
    let more = if outcome.more { " more" } else { "" };
    out.push(format!("{indent}rev {} count {}{more}", outcome.revision, outcome.count));
    let kvs = RangeResponse::decode(outcome.kvs.clone()).unwrap().kvs;
    assert_eq!(kvs.len(), outcome.len);
    out.extend(kvs.iter().map(|kv| format!("{indent}  {}", key_value(kv))));
}

/// The keys of one chunk on a line.
pub(crate) fn chunk(kvs: &Bytes, len: usize, out: &mut Vec<String>) {
    let kvs = RangeResponse::decode(kvs.clone()).unwrap().kvs;
    assert_eq!(kvs.len(), len);
    let keys: Vec<_> = kvs.iter().map(|kv| String::from_utf8_lossy(&kv.key).into_owned()).collect();
    out.push(format!("  {}", keys.join(" ")));
}

fn alarm_list(alarms: &[AlarmMember]) -> String {
    if alarms.is_empty() {
        return "no alarm".to_owned();
    }
    let named = |alarm: &AlarmMember| match AlarmType::try_from(alarm.alarm) {
        Ok(kind) => format!("{} of {:x}", kind.as_str_name(), alarm.member_id),
        Err(_) => format!("{} of {:x}", alarm.alarm, alarm.member_id),
    };
    format!("alarm {}", alarms.iter().map(named).collect::<Vec<_>>().join(", "))
}

/// The keys of a lease.
pub(crate) fn keys(keys: &[Arc<[u8]>]) -> String {
    format!("keys:{}", keys.iter().map(|key| format!(" {}", text(key))).collect::<String>())
}

/// All leases, by id.
pub(crate) fn leases(table: &LeaseTable, out: &mut Vec<String>) {
    for (id, term) in table.iter().collect::<BTreeMap<_, _>>() {
        let left = match term.remaining_ttl_s {
            0 => String::new(),
            remaining => format!(", {remaining} s left"),
        };
        out.push(format!("lease {id} of {} s{left}", term.granted_ttl_s));
    }
}

pub(crate) fn hash(hash: &KeyValueHash) -> String {
    format!("{:08x} of rev {}, compacted {}", hash.hash, hash.revision, hash.compact_revision)
}

/// Prints all a stream has to tell now: every event, or how many of which revisions.
pub(crate) fn deliveries(stream: &mut WatchStream, in_full: bool, out: &mut Vec<String>) {
    loop {
        match stream.advance().unwrap() {
            Progress::Idle => return,
            Progress::Working => {}
            Progress::Deliver(WatchDelivery::Compacted { watch_id, compact_revision }) => {
                out.push(format!("#{watch_id} cut off, compacted {compact_revision}"));
            }
            Progress::Deliver(WatchDelivery::Events { watch_id, revision, events }) if in_full => {
                out.push(format!("#{watch_id} at {revision}"));
                out.extend(events.iter().map(|e| format!("  {}", event(e))));
            }
            Progress::Deliver(WatchDelivery::Events { watch_id, revision, events }) => {
                let revisions: Vec<i64> = events.iter().map(mod_revision).collect();
                let (first, last) = (revisions.first().unwrap(), revisions.last().unwrap());
                out.push(format!("#{watch_id} at {revision}: {} of {first} to {last}", events.len()));
            }
        }
    }
}

fn mod_revision(event: &Event) -> i64 {
    mvccpb::Event::decode(event.encoded.clone()).unwrap().kv.unwrap().mod_revision
}

fn event(event: &Event) -> String {
    let told = mvccpb::Event::decode(event.encoded.clone()).unwrap();
    let kv = told.kv.clone().unwrap();
    assert_eq!(kv.key, event.key);
    let prev = event.prev.as_ref().map(|kv| format!(", before {}", stored(kv))).unwrap_or_default();
    if told.r#type == mvccpb::event::EventType::Delete as i32 {
        let alone = KeyValue { key: kv.key.clone(), mod_revision: kv.mod_revision, ..KeyValue::default() };
        assert_eq!(kv, alone, "a delete tells of key and revision only");
        return format!("del {} m{}{prev}", text(&kv.key), kv.mod_revision);
    }
    format!("put {}{prev}", key_value(&kv))
}

pub(crate) fn refusal<T>(result: Result<T, Error>, out: &mut Vec<String>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(Error::Refused(refusal)) => {
            out.push(format!("refused: {refusal}"));
            None
        }
        Err(Error::Disk(error)) => panic!("{error}"),
    }
}

fn stored(kv: &Bytes) -> String {
    key_value(&KeyValue::decode(kv.clone()).unwrap())
}

fn key_value(kv: &KeyValue) -> String {
    let lease = if kv.lease == 0 { String::new() } else { format!(" l{}", kv.lease) };
    let (create, modified, version) = (kv.create_revision, kv.mod_revision, kv.version);
    format!("{}={} c{create} m{modified} v{version}{lease}", text(&kv.key), text(&kv.value))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\0', "\\0")
}
