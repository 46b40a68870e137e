//! The longest single step of a member: for so long it takes nothing else.
//!
//! Runs only when asked for by name, `cargo bench -p bench -- pause`, since a million of anything takes its time.

use std::sync::Arc;
use std::time::Duration;

use disk::{Disk, RealDisk};
use proto::etcdserverpb::{DeleteRangeRequest, LeaseGrantRequest, PutRequest};
use store::Request;

use crate::member::Member;
use crate::runner::Runner;

const MANY: i64 = 1_000_000;
/// Commands proposed together, as a loaded server has them.
const BATCH: usize = 1000;
/// Longer than the benchmark takes; all leases end together, whenever they were granted.
const TTL_S: i64 = 1000;

pub(crate) fn run(runner: &Runner) {
    if !runner.is_named("pause") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let mut member = Member::start(&disk, dir.path());
    let lease = |id| LeaseGrantRequest { id, ttl: TTL_S };
    step(&mut member, "grant", (1..=MANY).map(|id| Request::LeaseGrant(lease(id))));
    step(&mut member, "put with a lease each", (1..=MANY).map(|id| Request::Put(put(id, id))));
    member.checkpoint();
    drop(member);

    let mut member = Member::start(&disk, dir.path());
    print(&member, "start with 1,000,000 leases");
    member.now += Duration::from_secs(2 * TTL_S as u64);
    step(&mut member, "1,000,000 leases with a key each end", []);
    assert_eq!(member.node.leases().iter().count(), 0);
    step(&mut member, "put", (1..=MANY).map(|id| Request::Put(put(id, 0))));
    let all = DeleteRangeRequest { key: "k".into(), range_end: "l".into(), prev_kv: false };
    step(&mut member, "delete of 1,000,000 keys", [Request::DeleteRange(all)]);
}

fn put(id: i64, lease: i64) -> PutRequest {
    PutRequest { key: format!("k{id:09}").into(), value: "v".into(), lease, ..PutRequest::default() }
}

/// Carries out requests in batches, to the end of what comes of them.
fn step(member: &mut Member, name: &str, requests: impl IntoIterator<Item = Request>) {
    member.longest_step = Duration::ZERO;
    let mut requests = requests.into_iter();
    loop {
        let batch: Vec<Request> = requests.by_ref().take(BATCH).collect();
        let is_last = batch.len() < BATCH;
        member.apply(batch);
        if is_last {
            break;
        }
    }
    print(member, name);
}

fn print(member: &Member, name: &str) {
    let name = format!("pause: {name}");
    println!("{name:<52} {:>12.1} ms", member.longest_step.as_secs_f64() * 1e3);
}
