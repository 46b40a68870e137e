//! Receives the state of a peer: into a file, and then to the node.

use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use ::peer::{DecodeError, Refusal, SnapshotHead};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use prost::Message as _;
use proto::raftpb::Message;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tracing::{info, warn};

use super::client::io_error;
use super::context::Context;
use super::peer::Peer;
use super::snapshot_file::SnapshotFile;
use super::snapshot_sender::index_of;
use crate::metrics::PeerMetrics;

/// Pieces of a state that may wait to be written.
const PIECES_MAX: usize = 4;

/// Why a state was not taken: the status and the text of the answer.
pub(super) enum Failure {
    Refused(Refusal),
    Status(StatusCode, String),
}

/// Takes the body of a POST. `peer_of` finds its sender.
pub(super) async fn receive(
    context: &Context,
    mut body: Incoming,
    peer_of: impl Fn(u64) -> Option<Rc<Peer>>,
) -> Result<(), Failure> {
    let Some(_place) = context.snapshot_place() else {
        let text = "too many snapshots are being received".to_owned();
        return Err(Failure::Status(StatusCode::SERVICE_UNAVAILABLE, text));
    };
    let start = Instant::now();
    let (message, first) = read_head(&mut body).await.map_err(|error| {
        warn!("local-member-id" = context.own_id_text(), error, "failed to decode Raft message");
        Failure::Status(StatusCode::BAD_REQUEST, error)
    })?;
    let sender = peer_of(message.from);
    let metrics = sender.as_ref().map(|peer| &peer.metrics);
    context.count_received(metrics, message.encoded_len() as u64);
    let Some(snapshots) = metrics.map(|metrics| &metrics.snapshots_received) else {
        return save_and_step(context, message, first, body, None).await;
    };
    snapshots.in_flight.inc();
    let result = save_and_step(context, message, first, body, metrics).await;
    snapshots.in_flight.dec();
    match &result {
        Ok(()) => {
            snapshots.successes.inc();
            snapshots.times.observe(start.elapsed().as_secs_f64());
        }
        Err(_) => snapshots.failures.inc(),
    }
    result
}

async fn save_and_step(
    context: &Context,
    message: Message,
    first: Bytes,
    body: Incoming,
    sender: Option<&PeerMetrics>,
) -> Result<(), Failure> {
    let is_removed = context.local.is_removed(message.from);
    context.identity.check_message(&message, is_removed).map_err(Failure::Refused)?;
    let (own, from, index) = (context.own_id_text(), format!("{:x}", message.from), index_of(&message));
    info!(
        "local-member-id" = own,
        "remote-snapshot-sender-id" = from,
        "incoming-snapshot-index" = index,
        "receiving database snapshot"
    );
    let file = match save(context, index, first, body).await {
        Ok((len, file)) => {
            context.count_received(sender, len);
            info!(
                "local-member-id" = own,
                "remote-snapshot-sender-id" = from,
                "incoming-snapshot-index" = index,
                "incoming-snapshot-size-bytes" = len,
                "received and saved database snapshot"
            );
            file
        }
        Err(error) => {
            warn!(
                "local-member-id" = own,
                "remote-snapshot-sender-id" = from,
                "incoming-snapshot-index" = index,
                %error,
                "failed to save incoming database snapshot"
            );
            let text = format!("failed to save KV snapshot ({error})");
            return Err(Failure::Status(StatusCode::INTERNAL_SERVER_ERROR, text));
        }
    };
    // Without an answer the member is stopping.
    let installed =
        context.local.install(message, file).await.unwrap_or_else(|_| Err("raft: stopped".into()));
    installed.map_err(|error| {
        warn!(
            "local-member-id" = own,
            "remote-snapshot-sender-id" = from,
            "incoming-snapshot-index" = index,
            error,
            "failed to process incoming database snapshot"
        );
        Failure::Status(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("failed to process raft message ({error})"),
        )
    })
}

/// Reads the message before the state, and the first bytes behind it.
async fn read_head(body: &mut Incoming) -> Result<(Message, Bytes), String> {
    let failed = |error: &dyn std::fmt::Display| format!("failed to decode raft message ({error})");
    let mut head = SnapshotHead::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| failed(&error))?;
        let Ok(data) = frame.into_data() else { continue };
        match head.extend(&data) {
            Ok(Some(parts)) => return Ok(parts),
            Ok(None) => {}
            Err(DecodeError::NoSnapshot) => return Err(DecodeError::NoSnapshot.to_string()),
            Err(error) => return Err(failed(&error)),
        }
    }
    Err(failed(&"unexpected EOF"))
}

/// Writes the state to its file; its length and path are the result. A body that breaks off leaves no file.
async fn save(context: &Context, index: u64, first: Bytes, mut body: Incoming) -> io::Result<(u64, PathBuf)> {
    let dir = context.local.snapshot_dir();
    let (pieces, mut arriving) = mpsc::channel::<Option<Bytes>>(PIECES_MAX);
    let writing = spawn_blocking(move || -> io::Result<PathBuf> {
        let mut file = SnapshotFile::create(&dir?, index)?;
        while let Some(piece) = arriving.blocking_recv() {
            match piece {
                Some(piece) => file.write(&piece)?,
                None => return file.finish(),
            }
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    });
    let mut len = first.len() as u64;
    // If the writer has failed nobody takes pieces any more, and its error is the result.
    let mut is_taken = pieces.send(Some(first)).await.is_ok();
    while is_taken && let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(io_error)?.into_data() else { continue };
        len += data.len() as u64;
        is_taken = pieces.send(Some(data)).await.is_ok();
    }
    let _ = pieces.send(None).await;
    let file = writing.await.map_err(io::Error::other)??;
    Ok((len, file))
}
