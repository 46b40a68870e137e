//! A client with leases: it makes one with a key, renews it at any member for a while, and lets it go.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proto::etcdserverpb::{LeaseRevokeRequest, LeaseRevokeResponse, PutRequest};
use tokio::sync::watch;
use tokio::time::timeout;

use super::history::{Change, Lease, Outcome, Write};
use super::load::{Books, is_refused};
use super::requests::{grant, renew};
use super::session::Session;
use crate::ledger;

/// Little more than the shortest that a member grants.
const TTL_S: i64 = 3;
const RENEWALS_MAX: usize = 6;

/// Uses leases until it is told to stop.
pub(super) async fn run(mut session: Session, books: Arc<Books>, mut stopping: watch::Receiver<bool>) {
    while !*stopping.borrow() {
        let asked = Instant::now();
        let Ok(id) = session.call(async |client| grant(client, TTL_S).await).await else { continue };
        let mut lease = begin(&mut session, &books, id).await;
        lease.promises.push((asked, seconds(TTL_S)));
        for _ in 0..session.random.usize(..=RENEWALS_MAX) {
            // A third of its time passes, unless the test ends first.
            let _ = timeout(seconds(TTL_S) / 3, stopping.wait_for(|stop| *stop)).await;
            let asked = Instant::now();
            match session.call(async |client| renew(client, id).await).await {
                Ok(0) => break,
                Ok(ttl_s) => lease.promises.push((asked, seconds(ttl_s))),
                Err(_) => {}
            }
            session.leave();
        }
        if session.random.bool() {
            lease.revocation_asked = Some(Instant::now());
            let request = LeaseRevokeRequest { id };
            let _: Result<LeaseRevokeResponse, _> = session
                .call(async |client| client.call("/etcdserverpb.Lease/LeaseRevoke", &request).await)
                .await;
        }
        books.note(false, |history| history.leases.push(lease));
    }
}

/// Puts a key with the lease.
async fn begin(session: &mut Session, books: &Books, id: i64) -> Lease {
    let stamp = books.new_stamp();
    let key = bytes::Bytes::from(format!("/leased/{stamp:012}"));
    let put =
        PutRequest { key: key.clone(), value: ledger::value(stamp), lease: id, ..PutRequest::default() };
    let asked = Instant::now();
    let outcome = match session.call(async |client| client.put(&put).await).await {
        Ok(answer) => Outcome::Done { answered: Instant::now(), revision: answer.header.unwrap().revision },
        Err(failure) if is_refused(&failure) => Outcome::Refused,
        Err(_) => Outcome::InDoubt,
    };
    let changes = vec![Change { key: key.clone(), stamp: Some(stamp) }];
    books.note_write(Write { asked, changes, demanded: None, outcome });
    Lease { key, promises: Vec::new(), revocation_asked: None }
}

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(seconds.unsigned_abs())
}
