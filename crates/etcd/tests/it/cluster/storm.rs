//! Faults under load, round after round, and the proof that clients saw one store all the time.
//!
//! A round strikes a cluster with some faults while clients work. Then everything is mended, and
//!
//! - each member takes a write and answers a linearizable read: there is progress once faults stop;
//! - keys of leases that nobody renews any more vanish;
//! - the history passes [`super::checks`];
//! - HashKV is equal on all members at the same revision.
//!
//! The seed fixes which faults strike. When they strike is up to the machine.

use std::env;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use proto::etcdserverpb::{CompactionRequest, HashKvRequest, HashKvResponse, RangeRequest};
use tokio::time::timeout;

use super::checks::{LEASED, Verdict};
use super::faults::Fault;
use super::history::{Change, Outcome, Write};
use super::load::{Books, Load};
use super::session::Session;
use super::watcher::Watcher;
use super::{ANSWER_LIMIT, Cluster, eventually};
use crate::client::{Client, Failure};
use crate::{ledger, setting};

const SEED: u64 = 12;
const WATCHERS: usize = 3;
/// Members are small enough that snapshots are sent now and then.
const FLAGS: [&str; 4] = ["--snapshot-count", "500", "--snapshot-catchup-entries", "100"];
/// The end of the range of all leased keys.
const LEASED_END: &[u8] = b"/leased0";

/// A cluster and everything that is known of it.
struct Storm {
    cluster: Cluster,
    books: Arc<Books>,
    watchers: Vec<Watcher>,
    verdict: Verdict,
    random: Rng,
}

impl Storm {
    async fn begin(n_members: usize, seed: u64) -> Storm {
        let cluster = Cluster::start_with(n_members, &FLAGS).await;
        let watcher =
            |number| Watcher::start(Session::new(cluster.endpoints.subscribe(), seed + number as u64));
        let watchers = (0..WATCHERS).map(watcher).collect();
        let random = Rng::with_seed(seed);
        Storm { cluster, books: Books::new(), watchers, verdict: Verdict::new(), random }
    }

    /// Strikes with each of `faults` while clients work, and checks what they have seen.
    async fn round(&mut self, faults: &[Fault]) {
        let load = Load::start(&self.books, &self.cluster.endpoints, self.random.u64(..) / 2);
        for fault in faults {
            let start = Instant::now();
            fault.strike(&mut self.cluster, &self.books, &mut self.random).await;
            println!("{fault:?}: {:.1?}", start.elapsed());
        }
        load.stop().await;
        self.prove_progress().await;
        let revision = self.settle().await;
        let mut told = Vec::new();
        for watcher in &mut self.watchers {
            told.push(watcher.take(revision).await);
        }
        if let Err(violation) = self.verdict.check(self.books.take(), told) {
            panic!("after {faults:?}: {violation}");
        }
        self.compare_hashes(revision).await;
    }

    /// Each member takes a write and answers a linearizable read.
    async fn prove_progress(&self) {
        for place in self.cluster.running() {
            let client = self.cluster.client(place).await;
            eventually("each member takes a write", async || {
                let stamp = self.books.new_stamp();
                let change = Change { key: "/progress".into(), stamp: Some(stamp) };
                let asked = Instant::now();
                let outcome = timeout(ANSWER_LIMIT, put(&client, &change)).await.ok().and_then(Result::ok);
                let is_done = outcome.is_some().then_some(());
                let outcome = outcome.unwrap_or(Outcome::InDoubt);
                self.books.note_write(Write { asked, changes: vec![change], demanded: None, outcome });
                is_done
            })
            .await;
            eventually("each member answers a read", async || leased(&client).await).await;
        }
    }

    /// Waits until no lease is left; the revision of the store then.
    async fn settle(&self) -> i64 {
        let client = self.cluster.client(self.cluster.leader().await).await;
        eventually("leases end", async || {
            let (count, revision) = leased(&client).await?;
            (count == 0).then_some(revision)
        })
        .await
    }

    /// All members have the same content; sometimes its history is compacted then.
    async fn compare_hashes(&mut self, revision: i64) {
        let mut hashes = Vec::new();
        for place in self.cluster.running() {
            let client = self.cluster.client(place).await;
            let request = HashKvRequest { revision };
            let hash = eventually("each member has the revision", async || {
                client.call("/etcdserverpb.Maintenance/HashKV", &request).await.ok()
            });
            let hash: HashKvResponse = hash.await;
            hashes.push((hash.hash, hash.compact_revision, hash.hash_revision));
        }
        assert!(hashes.iter().all(|hash| *hash == hashes[0]), "members differ at {revision}: {hashes:?}");
        let client = self.cluster.client(self.cluster.leader().await).await;
        let request = CompactionRequest { revision, physical: true };
        // Compaction must not come in the middle of a comparison, hence here.
        if self.random.bool() {
            eventually("history is compacted", async || match client.compact(&request).await {
                Ok(_) => Some(()),
                Err(Failure::Refused(_, text)) if text.contains("has been compacted") => Some(()),
                Err(_) => None,
            })
            .await;
        }
    }

    fn report(&self, start: Instant) {
        let Verdict { n_writes, n_reads, n_surprises, n_promises, timeline, .. } = &self.verdict;
        println!(
            "{n_writes} writes ({n_surprises} in doubt were carried out), {n_reads} reads and {n_promises} promises of leases checked, revision {}, {:.0?}",
            timeline.last,
            start.elapsed()
        );
    }
}

async fn put(client: &Client, change: &Change) -> Result<Outcome, Failure> {
    let value = ledger::value(change.stamp.expect("it is a put"));
    let request = proto::etcdserverpb::PutRequest { key: change.key.clone(), value, ..Default::default() };
    let answer = client.put(&request).await?;
    Ok(Outcome::Done { answered: Instant::now(), revision: answer.header.unwrap().revision })
}

/// How many leased keys there are, and at which revision.
async fn leased(client: &Client) -> Option<(i64, i64)> {
    let request = RangeRequest {
        key: LEASED.into(),
        range_end: LEASED_END.into(),
        count_only: true,
        ..RangeRequest::default()
    };
    let answer = timeout(ANSWER_LIMIT, client.range(&request)).await.ok()?.ok()?;
    Some((answer.count, answer.header?.revision))
}

/// Strikes with every fault once, in an order that the seed gives, and goes on for as long as is asked for.
async fn storm(n_members: usize, faults_in_a_round: usize) {
    let start = Instant::now();
    let limit = Duration::from_secs(setting("CLUSTER_SECONDS", 0) as u64);
    let seed = setting("CLUSTER_SEED", SEED as usize) as u64;
    let mut storm = Storm::begin(n_members, seed).await;
    let mut n_rounds = 0;
    loop {
        let mut faults = Fault::ALL;
        storm.random.shuffle(&mut faults);
        for faults in faults.chunks(faults_in_a_round) {
            storm.round(faults).await;
            n_rounds += 1;
            storm.report(start);
        }
        if start.elapsed() >= limit {
            break;
        }
    }
    println!("{n_rounds} rounds on {n_members} members");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_are_one_store_through_all_faults() {
    storm(3, Fault::ALL.len()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_members_are_one_store_through_all_faults() {
    if env::var_os("CLUSTER_SECONDS").is_none() {
        // The short form has three members: five need more of a machine than tests should take.
        return;
    }
    storm(5, 8).await;
}
