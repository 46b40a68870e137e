//! Sends the state of this member to a peer that has fallen too far behind.
//!
//! A thread for blocking work reads the state, piece by piece, as fast as the peer takes it. Nothing else waits
//! for that: neither heartbeats nor appends share its connection.

use std::io::{self, Read};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ::peer::{Route, SnapshotHead, check_post_reply};
use bytes::Bytes;
use proto::raftpb::Message;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::OutgoingSnapshot;
use super::body::PeerBody;
use super::client::{Connection, PeerRequest, read_answer};
use super::peer::Peer;
use super::pipeline::note_failure;

/// Bytes that are read from the state at a time, and how many such pieces may wait.
const PIECE_BYTES: usize = 256 << 10;
const PIECES_MAX: usize = 4;

/// How long a peer may take to install a state after its last byte.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(600);

/// Sends the state that `message` announces, and tells raft how that has ended.
pub(super) async fn run(peer: Rc<Peer>, message: Message) {
    let (to, start) = (message.to, Instant::now());
    let metrics = &peer.metrics.snapshots_sent;
    metrics.in_flight.inc();
    let result = send(&peer, message).await;
    metrics.in_flight.dec();
    peer.is_sending_snapshot.set(false);
    match result {
        Ok(bytes) => {
            peer.activate();
            peer.context.local.report_snapshot(to, true);
            peer.count_sent(usize::try_from(bytes).unwrap_or(usize::MAX));
            metrics.successes.inc();
            metrics.times.observe(start.elapsed().as_secs_f64());
            info!("remote-peer-id" = peer.id_text(), bytes, "sent database snapshot");
        }
        Err(error) => {
            warn!("remote-peer-id" = peer.id_text(), %error, "failed to send database snapshot");
            peer.context.local.report_unreachable(to);
            peer.context.local.report_snapshot(to, false);
            peer.count_failure();
            metrics.failures.inc();
        }
    }
}

/// Sends a state; the result is its length in bytes.
async fn send(peer: &Peer, message: Message) -> io::Result<u64> {
    let local = Arc::clone(&peer.context.local);
    let opened = spawn_blocking(move || local.open_snapshot(message)).await;
    let snapshot = opened.map_err(io::Error::other)??;
    let len = snapshot.len;
    info!(
        "snapshot-index" = index_of(&snapshot.message),
        "remote-peer-id" = peer.id_text(),
        bytes = len,
        "sending database snapshot"
    );
    let url = peer.urls.pick();
    let result = post(peer, &url, snapshot).await;
    if let Err(error) = &result {
        peer.urls.failed(&url);
        peer.deactivate(&format!("failed to post {} on sendMsgSnap ({error})", peer.id_text()));
    }
    result.map(|()| len)
}

async fn post(peer: &Peer, url: &crate::config::Url, snapshot: OutgoingSnapshot) -> io::Result<()> {
    let mut connection = Connection::open(url, peer.context.dial_limit).await?;
    // The answer comes after the last byte, which may take long.
    connection.wait_long();
    let (pieces, body) = mpsc::channel(PIECES_MAX);
    let (done, is_done) = tokio::sync::oneshot::channel();
    spawn_blocking(move || {
        read_pieces(snapshot, &pieces);
        // Nobody waits any more if the peer has refused the state.
        let _ = done.send(());
    });
    let request = PeerRequest::post(Route::SNAPSHOT, "application/octet-stream", PeerBody::Pieces(body));
    let mut answer = std::pin::pin!(connection.request(&peer.context.identity, request));
    // The time counts from when everything is read; until then each write has its own limit.
    let response = tokio::select! {
        response = &mut answer => response,
        _ = is_done => timeout(ANSWER_TIME_MAX, answer).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
    };
    let (head, body) = response?.into_parts();
    let text = timeout(ANSWER_TIME_MAX, read_answer(body)).await;
    let text = text.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    check_post_reply(head.status.as_u16(), &text).map_err(|failure| {
        note_failure(peer, &failure);
        io::Error::other(failure.to_string())
    })
}

/// Reads the state to its end, or until nobody takes it any more. An error breaks the body off.
fn read_pieces(mut snapshot: OutgoingSnapshot, pieces: &mpsc::Sender<io::Result<Bytes>>) {
    let head = SnapshotHead::encode(&snapshot.message);
    let mut is_wanted = pieces.blocking_send(Ok(head)).is_ok();
    let mut n_left = snapshot.len;
    while is_wanted && n_left > 0 {
        let piece_len = n_left.min(PIECE_BYTES as u64);
        let mut piece = vec![0; piece_len as usize];
        let read = snapshot.reader.read_exact(&mut piece);
        n_left -= piece_len;
        is_wanted = read.is_ok();
        is_wanted &= pieces.blocking_send(read.map(|()| piece.into())).is_ok();
    }
}

pub(super) fn index_of(message: &Message) -> u64 {
    let metadata = message.snapshot.as_ref().and_then(|snapshot| snapshot.metadata.as_ref());
    metadata.map_or(0, |metadata| metadata.index)
}
