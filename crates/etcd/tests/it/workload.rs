//! Puts, deletes, transactions and ranges from several connections at once, and the proof that nothing of them
//! is lost.
//!
//! Each writer has its own keys and one write under way, so that it knows what its next write meets. Everything
//! random comes from a seed.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fastrand::Rng;
use proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::etcdserverpb::request_op::Request as Op;
use proto::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::client::{Client, Failure};
use crate::ledger::{self, Change, Kept, Ledger, PREFIX, PREFIX_END, Write};
use crate::watcher::Watcher;

/// Writers, and connections for them.
const WRITERS: usize = 8;
const READERS: usize = 2;
/// Keys that one transaction writes at first. It may have a megabyte and a half.
const FILL_KEYS: usize = 25;
/// Keys in a page when all are read back.
const PAGE_KEYS: i64 = 5000;
/// How long a server may make no progress at all before the test fails. No limit on a whole test: that would depend on
/// the machine's speed.
const PATIENCE: Duration = Duration::from_secs(120);
/// etcd's words for a full store.
const NO_SPACE: &str = "etcdserver: mvcc: database space exceeded";

/// The clients of a server through all its lives.
pub(crate) struct Workload {
    ledger: Arc<Mutex<Ledger>>,
    watcher: Option<Watcher>,
    random: Rng,
}

impl Workload {
    /// Clients of a new store who will use `n_keys` keys.
    pub(crate) fn new(n_keys: usize, seed: u64) -> Workload {
        Workload::with(Ledger::new(n_keys), seed)
    }

    /// Clients of a new store who fill a small disk by few writes, to `n_keys` keys.
    pub(crate) fn with_long_values(n_keys: usize, seed: u64) -> Workload {
        Workload::with(Ledger::new(n_keys).with_long_values(), seed)
    }

    fn with(ledger: Ledger, seed: u64) -> Workload {
        let ledger = Arc::new(Mutex::new(ledger));
        Workload { ledger, watcher: Some(Watcher::new()), random: Rng::with_seed(seed) }
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap()
    }

    /// Puts every key once.
    pub(crate) async fn fill(&self, address: SocketAddr) {
        let mut writers = JoinSet::new();
        let n_keys = self.ledger().n_keys();
        for writer in 0..WRITERS {
            let ledger = Arc::clone(&self.ledger);
            let client = Client::connect(address).await;
            writers.spawn(async move {
                for start in (writer * FILL_KEYS..n_keys).step_by(WRITERS * FILL_KEYS) {
                    fill_part(&client, &ledger, start..n_keys.min(start + FILL_KEYS)).await;
                }
            });
        }
        writers.join_all().await;
    }

    /// Starts writers, readers and the watch.
    pub(crate) async fn start(&mut self, address: SocketAddr) -> Running {
        let progress = Arc::new(Notify::new());
        let mut tasks = JoinSet::new();
        for number in 0..WRITERS + READERS {
            let hand = Hand {
                client: Client::connect(address).await,
                ledger: Arc::clone(&self.ledger),
                random: Rng::with_seed(self.random.u64(..)),
                progress: Arc::clone(&progress),
            };
            if number < WRITERS {
                tasks.spawn(hand.write(number))
            } else {
                tasks.spawn(hand.read())
            };
        }
        let client = Client::connect(address).await;
        let mut watcher = self.watcher.take().expect("the last run was ended");
        let watch = tokio::spawn(async move {
            // Ends with the connection.
            let _ = watcher.follow(&client, i64::MAX).await;
            watcher
        });
        Running { ledger: Arc::clone(&self.ledger), tasks, watch, progress }
    }

    /// Waits for the end of a run whose server has ended.
    pub(crate) async fn end(&mut self, running: Running) {
        running.tasks.join_all().await;
        self.watcher = Some(running.watch.await.unwrap());
    }

    /// Reads everything back: the watch has seen every acknowledged write, and each key is as the last of them
    /// left it.
    pub(crate) async fn verify(&mut self, address: SocketAddr) {
        let client = Client::connect(address).await;
        let head = RangeRequest { key: PREFIX.into(), ..RangeRequest::default() };
        let revision = client.range(&head).await.unwrap().header.unwrap().revision;
        let watcher = self.watcher.as_mut().expect("the last run was ended");
        let seen = timeout(PATIENCE, watcher.follow(&client, revision)).await;
        seen.expect("the watch catches up").unwrap();
        let history = watcher.take_history();
        self.ledger().settle(history);
        assert_eq!(self.ledger().revision, revision, "the store has no revision that the watch has not seen");
        self.read_back(&client, revision).await;
    }

    /// Forgets the history that was verified. On a full disk the server may need to release old files before it
    /// takes even that.
    pub(crate) async fn compact(&self, address: SocketAddr) {
        let client = Client::connect(address).await;
        let request = CompactionRequest { revision: self.ledger().revision, physical: false };
        let compacted = async {
            while let Err(failure) = client.compact(&request).await {
                assert_eq!(failure, Failure::Refused(8, NO_SPACE.to_owned()));
            }
        };
        timeout(PATIENCE, compacted).await.expect("the compaction is taken");
    }

    async fn read_back(&self, client: &Client, revision: i64) {
        let mut n_read = 0;
        let mut request = RangeRequest {
            key: PREFIX.into(),
            range_end: PREFIX_END.into(),
            revision,
            limit: PAGE_KEYS,
            ..RangeRequest::default()
        };
        loop {
            let page = client.range(&request).await.unwrap();
            for kv in &page.kvs {
                let found = Kept { revision: kv.mod_revision, stamp: ledger::stamp(&kv.value) };
                assert_eq!(Some(found), self.ledger().kept(ledger::key_number(&kv.key)), "{:?}", kv.key);
            }
            n_read += page.kvs.len();
            let Some(last) = page.kvs.last().filter(|_| page.more) else { break };
            request.key = [&last.key[..], b"\0"].concat().into();
        }
        assert_eq!(n_read, self.ledger().n_existing(), "keys are left");
    }
}

async fn fill_part(client: &Client, ledger: &Mutex<Ledger>, keys: Range<usize>) {
    let write: Write = keys.map(|key| ledger.lock().unwrap().new_value(key)).collect();
    let revision = send(client, &write, 0).await.unwrap();
    ledger.lock().unwrap().acknowledge(revision, write);
}

/// Clients at work.
pub(crate) struct Running {
    ledger: Arc<Mutex<Ledger>>,
    tasks: JoinSet<()>,
    watch: tokio::task::JoinHandle<Watcher>,
    progress: Arc<Notify>,
}

impl Running {
    /// Waits until `n` more writes are acknowledged, for as long as any are.
    pub(crate) async fn wait_for_acknowledged(&self, n: u64) {
        let enough = self.ledger.lock().unwrap().n_acknowledged + n;
        self.wait_until(|ledger| ledger.n_acknowledged, |ledger| ledger.n_acknowledged >= enough).await;
    }

    /// Waits until `n` more writes are refused, for as long as writes are answered.
    pub(crate) async fn wait_for_refused(&self, n: u64) {
        let enough = self.ledger.lock().unwrap().n_refused + n;
        let answered = |ledger: &Ledger| ledger.n_acknowledged + ledger.n_refused;
        self.wait_until(answered, |ledger| ledger.n_refused >= enough).await;
    }

    /// Waits for as long as `progress` grows.
    async fn wait_until(&self, progress: impl Fn(&Ledger) -> u64, is_reached: impl Fn(&Ledger) -> bool) {
        while !is_reached(&self.ledger.lock().unwrap()) {
            let before = progress(&self.ledger.lock().unwrap());
            let grows = async {
                while progress(&self.ledger.lock().unwrap()) == before {
                    self.progress.notified().await;
                }
            };
            timeout(PATIENCE, grows).await.expect("the server makes progress");
        }
    }
}

/// One writer or reader.
struct Hand {
    client: Client,
    ledger: Arc<Mutex<Ledger>>,
    random: Rng,
    progress: Arc<Notify>,
}

impl Hand {
    /// Writes until the connection is lost.
    async fn write(mut self, writer: usize) {
        loop {
            let (write, before) = self.choose(writer);
            match send(&self.client, &write, before).await {
                Ok(revision) => self.ledger.lock().unwrap().acknowledge(revision, write),
                Err(Failure::Refused(8, text)) if text == NO_SPACE => {
                    self.ledger.lock().unwrap().n_refused += 1;
                }
                Err(Failure::Refused(code, text)) => panic!("a write was refused: {code} {text}"),
                Err(Failure::Lost) => return self.ledger.lock().unwrap().doubt(write),
            }
            self.progress.notify_one();
        }
    }

    /// A write of one key or of some, and the revision of its first key before. Only keys that exist are
    /// deleted.
    fn choose(&mut self, writer: usize) -> (Write, i64) {
        let mut ledger = self.ledger.lock().unwrap();
        let n_changes = if self.random.usize(..4) == 0 { 2 + self.random.usize(..4) } else { 1 };
        let mut write = Write::new();
        for _ in 0..n_changes {
            let key = writer + WRITERS * self.random.usize(..ledger.n_keys() / WRITERS);
            if write.iter().all(|change| change.key != key) {
                let is_deleted = ledger.kept(key).is_some() && self.random.usize(..4) == 0;
                write.push(if is_deleted { Change { key, stamp: None } } else { ledger.new_value(key) });
            }
        }
        let before = ledger.kept(write[0].key).map_or(0, |kept| kept.revision);
        (write, before)
    }

    /// Reads until the connection is lost: never older than what was acknowledged before.
    async fn read(mut self) {
        loop {
            let (floor, n_keys) = {
                let ledger = self.ledger.lock().unwrap();
                (ledger.revision, ledger.n_keys())
            };
            let request = RangeRequest {
                key: ledger::key_name(self.random.usize(..n_keys)),
                range_end: PREFIX_END.into(),
                limit: 1 + self.random.usize(..20) as i64,
                ..RangeRequest::default()
            };
            let Ok(answer) = self.client.range(&request).await else { return };
            assert!(answer.header.unwrap().revision >= floor, "a read sees what was acknowledged before it");
            assert!(answer.kvs.is_sorted_by(|a, b| a.key < b.key), "keys ascend");
            for kv in &answer.kvs {
                ledger::stamp(&kv.value);
            }
        }
    }
}

/// Sends a write as the simplest request that carries it; gives its revision. A transaction asks for its first
/// key to be as of revision `before`.
async fn send(client: &Client, write: &[Change], before: i64) -> Result<i64, Failure> {
    let header = match write {
        [Change { key, stamp: Some(stamp) }] => client.put(&put(*key, *stamp)).await?.header,
        [Change { key, stamp: None }] => {
            let answer = client.delete_range(&delete(*key)).await?;
            assert_eq!(answer.deleted, 1, "key {key} was there");
            answer.header
        }
        changes => {
            let answer = client.txn(&txn(changes, before)).await?;
            assert!(answer.succeeded, "the first key of {changes:?} was as of {before}");
            answer.header
        }
    };
    Ok(header.unwrap().revision)
}

fn put(key: usize, stamp: u64) -> PutRequest {
    PutRequest { key: ledger::key_name(key), value: ledger::value(stamp), ..PutRequest::default() }
}

fn delete(key: usize) -> DeleteRangeRequest {
    DeleteRangeRequest { key: ledger::key_name(key), ..DeleteRangeRequest::default() }
}

fn txn(changes: &[Change], before: i64) -> TxnRequest {
    let compare = Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Mod.into(),
        key: ledger::key_name(changes[0].key),
        target_union: Some(TargetUnion::ModRevision(before)),
        ..Compare::default()
    };
    let op = |change: &Change| RequestOp {
        request: Some(match change.stamp {
            Some(stamp) => Op::RequestPut(put(change.key, stamp)),
            None => Op::RequestDeleteRange(delete(change.key)),
        }),
    };
    TxnRequest { compare: vec![compare], success: changes.iter().map(op).collect(), failure: Vec::new() }
}
