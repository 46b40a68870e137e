//! Clients at work, and the history that they leave.
//!
//! Writers and readers share few keys, so that they meet. Each asks one thing at a time and goes from member to
//! member. Lease owners and watchers have files of their own.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::etcdserverpb::request_op::Request as Op;
use proto::etcdserverpb::response_op::Response;
use proto::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RangeResponse, RequestOp, TxnRequest, TxnResponse,
};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::PATIENCE;
use super::history::{Change, History, Kept, Outcome, Read, Write};
use super::lease_owner;
use super::session::Session;
use crate::client::{Client, Failure};
use crate::ledger;

const WRITERS: usize = 4;
const READERS: usize = 3;
const LEASE_OWNERS: usize = 2;
/// Keys that all writers share.
const KEYS: usize = 60;
/// Keys of a range and of a transaction, at most.
const RANGE_KEYS_MAX: usize = 5;
const TXN_KEYS_MAX: usize = 4;

/// What all clients share.
pub(super) struct Books {
    history: Mutex<History>,
    last_stamp: AtomicU64,
    progress: Notify,
}

impl Books {
    /// Empty books.
    pub(super) fn new() -> Arc<Books> {
        Arc::new(Books { history: Mutex::default(), last_stamp: AtomicU64::new(0), progress: Notify::new() })
    }

    /// A stamp that no write has.
    pub(super) fn new_stamp(&self) -> u64 {
        self.last_stamp.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Notes something; an answer lets those go on who wait for progress.
    pub(super) fn note(&self, is_answer: bool, note: impl FnOnce(&mut History)) {
        let mut history = self.history.lock().unwrap();
        note(&mut history);
        if is_answer {
            history.n_acknowledged += 1;
            self.progress.notify_waiters();
        }
    }

    /// Notes a write and what became of it.
    pub(super) fn note_write(&self, write: Write) {
        let is_answer = matches!(write.outcome, Outcome::Done { .. });
        self.note(is_answer, |history| history.writes.push(write));
    }

    /// All that was noted since the last call.
    pub(super) fn take(&self) -> History {
        std::mem::take(&mut self.history.lock().unwrap())
    }

    fn n_acknowledged(&self) -> u64 {
        self.history.lock().unwrap().n_acknowledged
    }

    /// Waits until `n` more writes are acknowledged.
    pub(super) async fn wait_for_acknowledged(&self, n: u64) {
        let enough = self.n_acknowledged() + n;
        let growing = async {
            loop {
                let noted = self.progress.notified();
                if self.n_acknowledged() >= enough {
                    return;
                }
                noted.await;
            }
        };
        timeout(PATIENCE, growing).await.expect("writes are acknowledged");
    }

    /// The same, but for no longer than `limit`.
    pub(super) async fn wait_a_while(&self, n: u64, limit: Duration) {
        // Without a majority nothing is acknowledged.
        let _ = timeout(limit, self.wait_for_acknowledged(n)).await;
    }
}

/// Clients at work.
pub(super) struct Load {
    stop: watch::Sender<bool>,
    clients: JoinSet<()>,
}

impl Load {
    /// Starts clients.
    pub(super) fn start(books: &Arc<Books>, endpoints: &watch::Sender<Vec<SocketAddr>>, seed: u64) -> Load {
        let (stop, stopping) = watch::channel(false);
        let mut clients = JoinSet::new();
        let seeds = seed..;
        let mut sessions = seeds.map(|seed| Session::new(endpoints.subscribe(), seed));
        let mut session = || sessions.next().expect("there are enough seeds");
        for _ in 0..WRITERS {
            clients.spawn(Hand::new(session(), Arc::clone(books), stopping.clone()).write());
        }
        for _ in 0..READERS {
            clients.spawn(Hand::new(session(), Arc::clone(books), stopping.clone()).read());
        }
        for _ in 0..LEASE_OWNERS {
            clients.spawn(lease_owner::run(session(), Arc::clone(books), stopping.clone()));
        }
        Load { stop, clients }
    }

    /// Waits until each client has ended its last call.
    pub(super) async fn stop(self) {
        self.stop.send_replace(true);
        self.clients.join_all().await;
    }
}

/// One writer or reader.
struct Hand {
    session: Session,
    books: Arc<Books>,
    stopping: watch::Receiver<bool>,
    /// The revision of keys as this client knows them: they may be older than the store.
    known: HashMap<Bytes, i64>,
}

impl Hand {
    fn new(session: Session, books: Arc<Books>, stopping: watch::Receiver<bool>) -> Hand {
        Hand { session, books, stopping, known: HashMap::new() }
    }

    async fn write(mut self) {
        while !*self.stopping.borrow() {
            let write = self.choose();
            self.send(write).await;
        }
    }

    /// A put, or a transaction that asks for its first key to be as it is known.
    fn choose(&mut self) -> Write {
        let n_keys = if self.session.random.bool() { 1 } else { self.session.random.usize(2..=TXN_KEYS_MAX) };
        let first = self.session.random.usize(..KEYS);
        let mut changes: Vec<_> = (0..n_keys)
            .map(|i| {
                let is_deleted = i > 0 && self.session.random.bool();
                let stamp = (!is_deleted).then(|| self.books.new_stamp());
                Change { key: key(first + i * 7), stamp }
            })
            .collect();
        if n_keys > 1 && self.session.random.bool() {
            // The delete may come first, too.
            changes.rotate_left(1);
        }
        let demanded = (n_keys > 1).then(|| self.known.get(&changes[0].key).copied().unwrap_or(0));
        Write { asked: Instant::now(), changes, demanded, outcome: Outcome::InDoubt }
    }

    async fn send(&mut self, mut write: Write) {
        write.asked = Instant::now();
        let result = self.session.call(async |client| send(client, &write).await).await;
        write.outcome = match result {
            Ok(outcome) => outcome,
            Err(failure) if is_refused(&failure) => Outcome::Refused,
            Err(_) => Outcome::InDoubt,
        };
        match &write.outcome {
            Outcome::Done { revision, .. } => {
                let known =
                    write.changes.iter().map(|it| (it.key.clone(), it.stamp.map_or(0, |_| *revision)));
                self.known.extend(known);
            }
            Outcome::Unmet { found, .. } => {
                let revision = found.map_or(0, |kept| kept.revision);
                self.known.insert(write.changes[0].key.clone(), revision);
            }
            Outcome::Refused | Outcome::InDoubt => {}
        }
        self.books.note_write(write);
    }

    async fn read(mut self) {
        while !*self.stopping.borrow() {
            let first = self.session.random.usize(..KEYS);
            let n_keys = self.session.random.usize(1..=RANGE_KEYS_MAX);
            let is_linearizable = self.session.random.bool();
            let (start, end) = (key(first), key_name(first + n_keys));
            let request = RangeRequest {
                key: start.clone(),
                range_end: end.clone(),
                serializable: !is_linearizable,
                ..RangeRequest::default()
            };
            let asked = Instant::now();
            let Ok(answer) = self.session.call(async |client| client.range(&request).await).await else {
                continue;
            };
            let answered = Instant::now();
            let revision = answer.header.as_ref().unwrap().revision;
            let found = answer.kvs.iter().map(|kv| (kv.key.clone(), kept(kv))).collect();
            let read = Read { asked, answered, is_linearizable, start, end, revision, found };
            self.books.note(false, |history| history.reads.push(read));
        }
    }
}

/// The key with this number, modulo their number.
fn key(number: usize) -> Bytes {
    key_name(number % KEYS)
}

fn key_name(number: usize) -> Bytes {
    format!("/shared/{number:03}").into()
}

fn kept(kv: &proto::mvccpb::KeyValue) -> Kept {
    Kept { revision: kv.mod_revision, stamp: ledger::stamp(&kv.value) }
}

/// Answers that exclude that a write was carried out.
pub(super) fn is_refused(failure: &Failure) -> bool {
    let Failure::Refused(_, text) = failure else { return false };
    ["too many requests", "requested lease not found", "rpc not supported for learner"]
        .iter()
        .any(|refusal| text.contains(refusal))
}

/// Sends a write as the simplest request that carries it.
async fn send(client: &Client, write: &Write) -> Result<Outcome, Failure> {
    if let (None, [change]) = (write.demanded, &write.changes[..]) {
        let answer = client.put(&put(change)).await?;
        return Ok(Outcome::Done { answered: Instant::now(), revision: answer.header.unwrap().revision });
    }
    let answer = client.txn(&txn(write)).await?;
    let (answered, revision) = (Instant::now(), answer.header.as_ref().unwrap().revision);
    Ok(match answer.succeeded {
        true => Outcome::Done { answered, revision },
        false => Outcome::Unmet { answered, revision, found: found(&answer) },
    })
}

/// What a transaction whose condition was not met has found.
fn found(answer: &TxnResponse) -> Option<Kept> {
    match answer.responses.first().and_then(|response| response.response.as_ref()) {
        Some(Response::ResponseRange(RangeResponse { kvs, .. })) => kvs.first().map(kept),
        other => panic!("asked for a range, got {other:?}"),
    }
}

fn put(change: &Change) -> PutRequest {
    let stamp = change.stamp.expect("it is a put");
    PutRequest { key: change.key.clone(), value: ledger::value(stamp), ..PutRequest::default() }
}

fn txn(write: &Write) -> TxnRequest {
    let key = &write.changes[0].key;
    let compare = Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Mod.into(),
        key: key.clone(),
        target_union: Some(TargetUnion::ModRevision(write.demanded.expect("a transaction has a condition"))),
        ..Compare::default()
    };
    let op = |request| RequestOp { request: Some(request) };
    let success = write.changes.iter().map(|change| match change.stamp {
        Some(_) => op(Op::RequestPut(put(change))),
        None => op(Op::RequestDeleteRange(DeleteRangeRequest {
            key: change.key.clone(),
            ..DeleteRangeRequest::default()
        })),
    });
    let look = op(Op::RequestRange(RangeRequest { key: key.clone(), ..RangeRequest::default() }));
    TxnRequest { compare: vec![compare], success: success.collect(), failure: vec![look] }
}
