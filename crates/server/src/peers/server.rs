//! The peer port: accepts connections of peers and answers their requests.

use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ::peer::{Refusal, Route, Sender, StreamKind, check_sender, check_stream, decode_message, header_names};
use bytes::BytesMut;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proto::raftpb::MessageType;
use tokio::sync::Semaphore;
use tokio::task::spawn_local;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::body::PeerBody;
use super::page::CLUSTER_ID_MISMATCH;
use super::prober;
use super::snapshot_receiver::{self, Failure};
use super::socket::PeerSocket;
use super::stream_writer::StreamWriter;
use super::transport::Transport;
use crate::config::ETCD_VERSION;
use crate::http::Answer;
use crate::listen;

/// Connections to one peer port at a time. A member has four or five of each peer. Idle ones are closed soon.
const CONNECTIONS_MAX: usize = 256;

/// Longest head of a request, in bytes.
const HEAD_LEN_MAX: usize = 64 << 10;

/// Longest body of a request for a page, in bytes, as in etcd.
const PAGE_BODY_LEN_MAX: usize = 64 << 10;

/// Pause after a failed accept, which is mostly a lack of files that only time mends.
const ACCEPT_RETRY: Duration = Duration::from_millis(200);

/// Accepts the peers of one socket. Never ends by itself.
pub(super) async fn accept(transport: Rc<Transport>, socket: listen::Incoming, address: String) {
    info!(address, "serving peer traffic");
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
        match socket.accept().await.and_then(PeerSocket::accept) {
            Ok((socket, peer)) => {
                let transport = Rc::clone(&transport);
                spawn_local(async move {
                    serve(transport, socket, peer).await;
                    drop(place);
                });
            }
            Err(error) => {
                warn!(%error, "failed to accept a connection of a peer");
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// Serves one connection to its end.
async fn serve(transport: Rc<Transport>, socket: PeerSocket, peer: String) {
    let read_timing = socket.read_timing();
    let service = service_fn(|request| {
        let (transport, read_timing) = (Rc::clone(&transport), Rc::clone(&read_timing));
        async move { Ok::<_, Infallible>(answer(&transport, request, &read_timing).await) }
    });
    let served = http1::Builder::new()
        .max_buf_size(HEAD_LEN_MAX)
        .title_case_headers(true)
        .serve_connection(TokioIo::new(socket), service)
        .await;
    if let Err(error) = served {
        debug!(%error, "remote-addr" = peer, "connection of a peer broken");
    }
}

async fn answer(
    transport: &Rc<Transport>,
    request: Request<Incoming>,
    read_timing: &Rc<Cell<bool>>,
) -> Response<PeerBody> {
    let (head, body) = request.into_parts();
    let route = Route::of(head.uri.path());
    let Some(method) = route.method() else {
        return plain(Answer::error(StatusCode::NOT_FOUND, "404 page not found\n"));
    };
    if head.method != method {
        let answer = Answer::error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
        return plain(answer.with(header::ALLOW, method));
    }
    let mut response = match route {
        Route::Stream { kind, from } => stream(transport, &head, (kind, from), read_timing),
        Route::Pipeline => pipeline(transport, &head, body).await,
        Route::Snapshot => snapshot(transport, &head, body).await,
        Route::Probing => plain(Answer::json(prober::answer())),
        Route::Members => plain(members(transport)),
        Route::Version => return plain(version(transport)),
        route => {
            // The answer may take longer than a peer may be silent.
            read_timing.set(false);
            let answer = page(transport, route, &head, body).await;
            read_timing.set(true);
            plain(answer)
        }
    };
    let cluster_id = transport.context.identity.cluster_id_text();
    let cluster_id = HeaderValue::from_str(&cluster_id).expect("hexadecimal digits are visible ASCII");
    response.headers_mut().insert(HeaderName::from_static(header_names::CLUSTER_ID), cluster_id);
    response
}

fn plain(answer: Answer) -> Response<PeerBody> {
    let mut response = Response::new(PeerBody::whole(answer.body));
    *response.status_mut() = answer.status;
    response.headers_mut().extend(answer.headers);
    response
}

fn refused(refusal: Refusal) -> Response<PeerBody> {
    let status = StatusCode::from_u16(refusal.status()).expect("refusals have statuses of HTTP");
    plain(match refusal.is_json() {
        true => Answer::new(status, "application/json", refusal.text()),
        false => Answer::error(status, format!("{}\n", refusal.text())),
    })
}

fn header_of<'a>(head: &'a Parts, name: &str) -> Option<&'a str> {
    head.headers.get(name).map(|value| value.to_str().unwrap_or_default())
}

/// Checks who asks, and notes where the sender can be reached.
fn checked_sender(transport: &Transport, head: &Parts) -> Result<Sender, Refusal> {
    let identity = &transport.context.identity;
    let sender = check_sender(identity, |name| header_of(head, name)).inspect_err(|refusal| {
        warn!(
            "local-member-id" = transport.context.own_id_text(),
            "local-member-cluster-id" = identity.cluster_id_text(),
            "remote-peer-server-name" = header_of(head, header_names::FROM),
            "remote-peer-server-version" = header_of(head, header_names::VERSION),
            "remote-peer-cluster-id" = header_of(head, header_names::CLUSTER_ID),
            error = refusal.text(),
            "refused a request of a peer"
        );
    })?;
    if let Some(id) = sender.id {
        transport.add_remote(id, &sender.peer_urls);
    }
    Ok(sender)
}

fn stream(
    transport: &Rc<Transport>,
    head: &Parts,
    path: (Option<StreamKind>, Option<u64>),
    read_timing: &Rc<Cell<bool>>,
) -> Response<PeerBody> {
    let local = &transport.context.local;
    let checked = checked_sender(transport, head).and_then(|_| {
        let is_known = |id| transport.peer(id).is_some();
        let to = header_of(head, header_names::TO);
        check_stream(&transport.context.identity, path, to, |id| local.is_removed(id), is_known)
    });
    let mut response = match checked {
        Ok((kind, from)) => {
            let Some(peer) = transport.peer(from) else { return refused(Refusal::SenderNotFound) };
            let writer = StreamWriter::attach(peer, kind, Rc::clone(read_timing));
            Response::new(PeerBody::Stream(Box::new(writer)))
        }
        Err(refusal) => {
            debug!(error = refusal.text(), "refused a stream to a peer");
            refused(refusal)
        }
    };
    let version = HeaderValue::from_static(ETCD_VERSION);
    response.headers_mut().insert(HeaderName::from_static(header_names::VERSION), version);
    response
}

/// A page that the store answers.
async fn page(transport: &Transport, route: Route, head: &Parts, mut body: Incoming) -> Answer {
    let cluster_id = header_of(head, header_names::CLUSTER_ID).unwrap_or_default();
    let is_foreign = !cluster_id.is_empty() && cluster_id != transport.context.identity.cluster_id_text();
    if route == Route::HashKv && is_foreign {
        return Answer::error(StatusCode::PRECONDITION_FAILED, format!("{CLUSTER_ID_MISMATCH}\n"));
    }
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Answer::error(StatusCode::BAD_REQUEST, "error reading body\n");
        };
        if let Ok(data) = frame.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() > PAGE_BODY_LEN_MAX {
            return Answer::error(StatusCode::PAYLOAD_TOO_LARGE, "request body too large\n");
        }
    }
    Rc::clone(&transport.context.pages).answer(route, bytes.freeze()).await
}

async fn pipeline(transport: &Transport, head: &Parts, body: Incoming) -> Response<PeerBody> {
    match take_message(transport, head, body).await {
        Ok(()) => plain_status(StatusCode::NO_CONTENT),
        Err(refusal) => refused(refusal),
    }
}

async fn take_message(transport: &Transport, head: &Parts, mut body: Incoming) -> Result<(), Refusal> {
    let sender = checked_sender(transport, head)?;
    let context = &transport.context;
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::UnreadableMessage)?;
        if let Ok(data) = frame.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() as u64 > context.message_len_max {
            return Err(Refusal::UnreadableMessage);
        }
    }
    let peer = sender.id.and_then(|id| transport.peer(id));
    let metrics = peer.as_ref().map(|peer| &peer.metrics);
    let message = decode_message(bytes.freeze()).map_err(|_| {
        if let Some(metrics) = metrics {
            metrics.received_failures.inc();
        }
        Refusal::MalformedMessage
    })?;
    context.identity.check_message(&message, context.local.is_removed(message.from))?;
    if message.r#type == MessageType::MsgSnap as i32 {
        // A snapshot without its state would destroy this member's own.
        return Err(Refusal::MalformedMessage);
    }
    context.receive(&mut vec![message], metrics);
    context.local.backlog().room(StreamKind::Message).await;
    Ok(())
}

async fn snapshot(transport: &Transport, head: &Parts, body: Incoming) -> Response<PeerBody> {
    if let Err(refusal) = checked_sender(transport, head) {
        return refused(refusal);
    }
    match snapshot_receiver::receive(&transport.context, body, |id| transport.peer(id)).await {
        Ok(()) => plain_status(StatusCode::NO_CONTENT),
        Err(Failure::Refused(refusal)) => refused(refusal),
        Err(Failure::Status(status, text)) => plain(Answer::error(status, format!("{text}\n"))),
    }
}

fn plain_status(status: StatusCode) -> Response<PeerBody> {
    let mut response = Response::new(PeerBody::Whole(None));
    *response.status_mut() = status;
    response
}

fn members(transport: &Transport) -> Answer {
    let members = transport.context.local.members();
    let members: Vec<String> = members.iter().map(proto::member_json::encode).collect();
    Answer::json(format!("[{}]\n", members.join(",")))
}

fn version(transport: &Transport) -> Answer {
    let cluster = transport.context.local.cluster_version();
    let or_unset = |unset: &str| if cluster.is_empty() { unset.to_owned() } else { cluster.clone() };
    let (cluster, storage) = (or_unset("not_decided"), or_unset("unknown"));
    Answer::json(format!(
        r#"{{"etcdserver":"{ETCD_VERSION}","etcdcluster":"{cluster}","storage":"{storage}"}}"#
    ))
}
