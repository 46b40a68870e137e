//! Sends questions to peers, and hands their answers back.
//!
//! The questions to one peer share a few connections, each of which carries one question at a time. A connection
//! that has been idle for long is not used again: the peer is about to close it.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::debug;

use super::body::PeerBody;
use super::client::{Connection, PeerRequest, read_answer_of};
use super::peer::Peer;
use super::question::{Asked, Content, Question, Reply};
use crate::config::Url;

/// Questions to one peer at a time. Others wait for their turn.
const CONNECTIONS_MAX: usize = 16;

/// How long a connection may have been idle to be used again. A peer closes it after 5 s.
const IDLE_MAX: Duration = Duration::from_secs(2);

/// The connections for questions to one peer.
#[derive(Debug)]
pub(super) struct QuestionConnections {
    places: Semaphore,
    idle: RefCell<Vec<(Instant, Url, Connection)>>,
}

impl Default for QuestionConnections {
    fn default() -> Self {
        QuestionConnections { places: Semaphore::new(CONNECTIONS_MAX), idle: RefCell::default() }
    }
}

impl QuestionConnections {
    /// A connection that can be used again, the one used last.
    fn take(&self) -> Option<(Url, Connection)> {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|(since, _, connection)| since.elapsed() < IDLE_MAX && connection.is_open());
        idle.pop().map(|(_, url, connection)| (url, connection))
    }

    fn give_back(&self, url: Url, connection: Connection) {
        self.idle.borrow_mut().push((Instant::now(), url, connection));
    }
}

/// Asks a peer one question, unless nobody waits for the answer any more.
pub(super) async fn run(peer: Rc<Peer>, asked: Asked) {
    let Asked { question, mut done, place, .. } = asked;
    let reply = tokio::select! {
        biased;
        () = done.closed() => return,
        reply = ask(&peer, &question) => reply,
    };
    if let Err(error) = &reply {
        debug!("remote-peer-id" = peer.id_text(), path = question.path, %error, "failed to ask a peer");
    }
    drop(place);
    // The error says that nobody waits.
    let _ = done.send(reply);
}

/// Tries each URL of the peer once, beginning with the one that worked last.
async fn ask(peer: &Peer, question: &Question) -> io::Result<Reply> {
    let connections = &peer.question_connections;
    let _place = connections.places.acquire().await.expect("the semaphore is never closed");
    if let Some((url, connection)) = connections.take()
        && let Ok(reply) = ask_over(peer, url, connection, question).await
    {
        return Ok(reply);
    }
    let mut result = Err(io::ErrorKind::NotConnected.into());
    for _ in 0..peer.urls.len() {
        let url = peer.urls.pick();
        result = match Connection::open(&url, peer.context.dial_limit).await {
            Ok(connection) => ask_over(peer, url.clone(), connection, question).await,
            Err(error) => Err(error),
        };
        if result.is_ok() {
            break;
        }
        peer.urls.failed(&url);
    }
    result
}

async fn ask_over(
    peer: &Peer,
    url: Url,
    mut connection: Connection,
    question: &Question,
) -> io::Result<Reply> {
    // Who asks sets the limit.
    connection.wait_long();
    let answer = connection.request(&peer.context.identity, request(question)).await?;
    let (head, body) = answer.into_parts();
    let body = read_answer_of(body, question.answer_len_max).await?;
    peer.question_connections.give_back(url, connection);
    Ok(Reply { status: head.status.as_u16(), body })
}

/// The request that asks a question.
pub(super) fn request(question: &Question) -> PeerRequest {
    let path = &question.path;
    let body = |bytes: &Bytes| PeerBody::whole(bytes.clone());
    match &question.content {
        Content::Get => PeerRequest::get(path.clone(), None),
        Content::GetJson(json) => PeerRequest::get_with_body(path, "application/json", body(json)),
        Content::Post(content_type, bytes) => PeerRequest::post(path, content_type, body(bytes)),
    }
}
