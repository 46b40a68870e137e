//! The process is killed under load, again and again, and nothing that was acknowledged is lost.
//!
//! A killed process loses what it had not handed to the kernel; losing what the kernel had not written is the
//! simulator's part. The long form:
//! `KILL_ROUNDS=50 KILL_KEYS=1000000 cargo test --release -p etcd --test it crash -- --nocapture`.

use std::time::Duration;

use fastrand::Rng;

use crate::server::Server;
use crate::setting;
use crate::workload::Workload;

const SEED: u64 = 20_141_001;

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let (n_rounds, n_keys) = (setting("KILL_ROUNDS", 4), setting("KILL_KEYS", 2000));
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    let mut workload = Workload::new(n_keys, SEED);
    workload.fill(server.address).await;
    println!("{n_keys} keys written");
    let mut random = Rng::with_seed(SEED);
    let mut start_times = Vec::new();
    for round in 0..n_rounds {
        let running = workload.start(server.address).await;
        running.wait_for_acknowledged(100 + random.usize(..2000) as u64).await;
        server.kill();
        workload.end(running).await;
        server = Server::start(dir.path());
        start_times.push(server.start_time);
        workload.verify(server.address).await;
        if round % 2 == 0 {
            workload.compact(server.address).await;
        }
        println!(
            "round {round}: {:?} acknowledged, started in {:?}",
            workload.ledger().n_acknowledged,
            server.start_time
        );
    }
    report(&workload, &mut start_times);
}

fn report(workload: &Workload, start_times: &mut [Duration]) {
    start_times.sort_unstable();
    let ledger = workload.ledger();
    println!(
        "{} writes acknowledged, 0 lost; {} in doubt took effect; {} keys left at revision {}; started in {:?} (median), {:?} (longest)",
        ledger.n_acknowledged,
        ledger.n_surprises,
        ledger.n_existing(),
        ledger.revision,
        start_times[start_times.len() / 2],
        start_times[start_times.len() - 1],
    );
}
