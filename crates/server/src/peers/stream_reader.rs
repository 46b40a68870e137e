//! The reading end of a stream: dials the peer, and gives what it writes to the node.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use ::peer::{AppendDecoder, DecodeError, MessageDecoder, StreamFailure, StreamKind, check_stream_reply};
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use peer::header_names;
use proto::raftpb::Message;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use super::client::{Connection, PeerRequest, io_error, read_answer};
use super::context::Context;
use super::peer::Peer;

/// The shortest and the longest time between two attempts to dial.
const DIAL_INTERVAL_MIN: Duration = Duration::from_millis(100);
const DIAL_INTERVAL_MAX: Duration = Duration::from_secs(1);

/// Keeps a stream of `peer` open. Never ends by itself.
pub(super) async fn run(peer: Rc<Peer>, kind: StreamKind) {
    let mut interval = DIAL_INTERVAL_MIN;
    loop {
        let dialed_at = Instant::now();
        match dial(&peer, kind).await {
            Ok(stream) => {
                interval = DIAL_INTERVAL_MIN;
                peer.activate();
                peer.log_stream("established TCP streaming connection with remote peer", "reader", kind);
                let outcome = read(&peer.context, &peer, kind, stream).await;
                peer.log_stream("lost TCP streaming connection with remote peer", "reader", kind);
                // The end of a stream alone does not say that the peer is gone: dialing it again will.
                if let Err(error) = outcome {
                    peer.deactivate(&failure("read", &peer, kind, &error.to_string()));
                }
            }
            Err(error) => {
                peer.deactivate(&failure("dial", &peer, kind, &error));
                wait_longer(&peer, dialed_at + interval).await;
                interval = (2 * interval).min(DIAL_INTERVAL_MAX);
            }
        }
        sleep_until(dialed_at + DIAL_INTERVAL_MIN).await;
    }
}

/// Waits until `time`, or until the peer shows that it is there.
async fn wait_longer(peer: &Peer, time: Instant) {
    tokio::select! {
        () = sleep_until(time) => {}
        () = peer.seen.notified() => {}
    }
}

fn failure(action: &str, peer: &Peer, kind: StreamKind, reason: &str) -> String {
    format!("failed to {action} {} on {} ({reason})", peer.id_text(), kind.name())
}

/// A stream that a peer has given. The connection ends with it.
struct Stream {
    _connection: Connection,
    body: Incoming,
}

/// Asks a peer for a stream. The error is a text for the operator.
async fn dial(peer: &Peer, kind: StreamKind) -> Result<Stream, String> {
    let url = peer.urls.pick();
    debug!(from = peer.context.own_id_text(), to = peer.id_text(), address = %url, "dial stream reader");
    let result = tokio::time::timeout(2 * peer.context.dial_limit, ask(peer, kind, &url)).await;
    let result = result.unwrap_or_else(|_| Err("i/o timeout".to_owned()));
    if result.is_err() {
        peer.urls.failed(&url);
    }
    result
}

async fn ask(peer: &Peer, kind: StreamKind, url: &crate::config::Url) -> Result<Stream, String> {
    let context = &peer.context;
    let text = |error: io::Error| error.to_string();
    let mut connection = Connection::open(url, context.dial_limit).await.map_err(text)?;
    let request = PeerRequest::get(kind.path(context.identity.id), Some(peer.id));
    let (head, body) = connection.request(&context.identity, request).await.map_err(text)?.into_parts();
    let version = head.headers.get(header_names::VERSION).map(|version| version.to_str().unwrap_or_default());
    let is_open = head.status == StatusCode::OK;
    let (body, refusal) = if is_open {
        (Some(body), Vec::new())
    } else {
        (None, read_answer(body).await.map_err(text)?.to_vec())
    };
    let result = check_stream_reply(&context.identity, peer.id, head.status.as_u16(), version, &refusal);
    match (result, body) {
        (Ok(()), Some(body)) => Ok(Stream { _connection: connection, body }),
        (Ok(()), None) => unreachable!("only status 200 opens a stream"),
        (Err(failure), _) => {
            note_failure(peer, &failure);
            Err(failure.to_string())
        }
    }
}

fn note_failure(peer: &Peer, failure: &StreamFailure) {
    let (own, id) = (peer.context.own_id_text(), peer.id_text());
    match failure {
        StreamFailure::Removed => peer.context.removed(),
        StreamFailure::IncompatibleVersion => warn!(
            "local-member-id" = own,
            "remote-peer-id" = id,
            error = %failure,
            "request sent was ignored by remote peer due to server version incompatibility"
        ),
        StreamFailure::ClusterIdMismatch => warn!(
            "remote-peer-id" = id,
            "local-member-id" = own,
            "local-member-cluster-id" = peer.context.identity.cluster_id_text(),
            error = %failure,
            "request sent was ignored by remote peer due to cluster ID mismatch"
        ),
        _ => {}
    }
}

enum Decoder {
    Append(AppendDecoder),
    Message(MessageDecoder),
}

impl Decoder {
    fn new(kind: StreamKind, from: u64, context: &Context) -> Decoder {
        let (to, limit) = (context.identity.id, context.message_len_max);
        match kind {
            StreamKind::Append => Decoder::Append(AppendDecoder::new(from, to, limit)),
            StreamKind::Message => Decoder::Message(MessageDecoder::new(limit)),
        }
    }

    fn extend(&mut self, bytes: &[u8]) {
        match self {
            Decoder::Append(decoder) => decoder.extend(bytes),
            Decoder::Message(decoder) => decoder.extend(bytes),
        }
    }

    fn next_message(&mut self) -> Result<Option<Message>, DecodeError> {
        match self {
            Decoder::Append(decoder) => decoder.next_message(),
            Decoder::Message(decoder) => decoder.next_message(),
        }
    }
}

/// Reads a stream to its end. All messages of one read go to the node together.
async fn read(context: &Context, peer: &Peer, kind: StreamKind, mut stream: Stream) -> io::Result<()> {
    let mut decoder = Decoder::new(kind, peer.id, context);
    let mut messages = Vec::new();
    while let Some(frame) = stream.body.frame().await {
        let Ok(data) = frame.map_err(io_error)?.into_data() else { continue };
        decoder.extend(&data);
        let decoded = loop {
            match decoder.next_message() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break Ok(()),
                Err(error) => break Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
        };
        context.receive(&mut messages, Some(&peer.metrics));
        decoded.inspect_err(|_| peer.metrics.received_failures.inc())?;
        context.local.backlog().room(kind).await;
    }
    Ok(())
}
