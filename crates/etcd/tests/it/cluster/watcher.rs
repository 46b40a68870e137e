//! A watch over all keys that goes on at another member when one fails, or now and then.
//!
//! It asserts that each revision comes once, in order, whole in one answer, and none is left out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prost::Message;
use proto::etcdserverpb::WatchResponse;
use proto::mvccpb::Event;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::PATIENCE;
use super::history::{Change, Revisions, Seen};
use super::requests;
use super::session::Session;
use crate::client::Failure;
use crate::watcher::in_order;

/// A member that says nothing for so long is left for another one.
const SILENCE_MAX: Duration = Duration::from_secs(2);
/// Answers that a watcher takes at one member, at most.
const ANSWERS_MAX: usize = 300;
/// From the first key to the end of all.
const ALL_KEYS: (&str, &str) = ("\0", "\0");

/// A watcher at work.
pub(super) struct Watcher {
    told: watch::Receiver<Told>,
    taker: Arc<watch::Sender<Told>>,
    task: JoinHandle<()>,
}

/// What a watcher was told and nobody has taken.
struct Told {
    next: i64,
    revisions: Revisions,
}

impl Watcher {
    /// Watches a new store.
    pub(super) fn start(session: Session) -> Watcher {
        let (sender, told) = watch::channel(Told { next: 2, revisions: Revisions::new() });
        let taker = Arc::new(sender);
        let task = tokio::spawn(follow(session, Arc::clone(&taker)));
        Watcher { told, taker, task }
    }

    /// Waits until the watcher was told of `revision`; takes all up to it.
    pub(super) async fn take(&mut self, revision: i64) -> Revisions {
        let told = timeout(PATIENCE, self.told.wait_for(|told| told.next > revision)).await;
        drop(told.expect("the watch catches up").expect("the watcher is at work"));
        let mut taken = Revisions::new();
        self.taker.send_modify(|told| {
            let later = told.revisions.split_off(&(revision + 1));
            taken = std::mem::replace(&mut told.revisions, later);
        });
        taken
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(mut session: Session, told: Arc<watch::Sender<Told>>) {
    loop {
        // However it ends, the watch goes on elsewhere.
        let _ = follow_at_one(&mut session, &told).await;
        session.leave();
    }
}

/// Watches at one member until it fails, is silent, or has told enough.
async fn follow_at_one(session: &mut Session, told: &watch::Sender<Told>) -> Result<(), Failure> {
    let client = timeout(SILENCE_MAX, session.connection()).await.map_err(|_| Failure::Lost)??;
    let mut stream = client.open("/etcdserverpb.Watch/Watch").await?;
    let next = told.borrow().next;
    stream.send(&requests::watch(ALL_KEYS.0, ALL_KEYS.1, next), false)?;
    for _ in 0..session.random.usize(1..=ANSWERS_MAX) {
        let answer = timeout(SILENCE_MAX, stream.receive()).await.map_err(|_| Failure::Lost)??;
        let answer = WatchResponse::decode(answer.ok_or(Failure::Lost)?).unwrap();
        assert_eq!(answer.compact_revision, 0, "nothing is compacted that was not told: {answer:?}");
        if answer.canceled {
            return Err(Failure::Lost);
        }
        told.send_if_modified(|told| {
            told.take(&answer.events);
            !answer.events.is_empty()
        });
    }
    Ok(())
}

impl Told {
    fn take(&mut self, events: &[Event]) {
        let at = Instant::now();
        for (kv, stamp) in in_order(&mut self.next, events) {
            let new = || Seen { changes: Vec::new(), at };
            let seen = self.revisions.entry(kv.mod_revision).or_insert_with(new);
            seen.changes.push(Change { key: kv.key.clone(), stamp });
        }
    }
}
