//! One HTTP/2 connection: takes calls from it and hands each to the service as a task of its own.
//!
//! The connection task alone reads and writes the socket. Limits on streams, headers, resets and windows are
//! set here; a client that breaks them loses its connection and nothing else.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;

use h2::server::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::spawn_local;

use super::call::Call;
use super::{Limits, Service};

/// Bytes a client may send on one stream before we have read them: most requests in one go.
const STREAM_WINDOW: u32 = 1 << 20;

/// The same for all streams of a connection together.
const CONNECTION_WINDOW: u32 = 4 << 20;

/// Longest request headers in bytes, counted as HPACK does.
const HEADER_LIST_LEN_MAX: u32 = 16 << 10;

/// Streams that the client reset before we looked at them; one more ends the connection (CVE-2023-44487).
const PENDING_RESETS_MAX: usize = 64;

/// Resets that we sent because of errors of the client; one more ends the connection (CVE-2025-8671).
const ERROR_RESETS_MAX: usize = 1024;

/// Serves a connection until the client closes it or, once `stop` resolves, until the calls that are open
/// then have ended: the client is told to go elsewhere (GOAWAY) and no new calls are taken.
///
/// Must run in a `LocalSet`. The error says how the client broke the connection.
pub async fn serve<S: Service>(
    io: impl AsyncRead + AsyncWrite + Unpin,
    peer: SocketAddr,
    service: Rc<S>,
    limits: Limits,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let mut connection = builder(limits).handshake(io).await.map_err(into_io_error)?;
    let mut stop = pin!(stop);
    let mut is_stopping = false;
    while let Some(accepted) = poll_fn(|cx| {
        if !is_stopping && stop.as_mut().poll(cx).is_ready() {
            is_stopping = true;
            connection.graceful_shutdown();
        }
        pin!(connection.accept()).poll(cx)
    })
    .await
    {
        let (request, respond) = accepted.map_err(into_io_error)?;
        if let Some(call) = Call::accept(request, respond, peer, limits.message_len_max) {
            let service = Rc::clone(&service);
            // Polled here at once, each call would be answered by a write of its own. As tasks, all calls that
            // arrived together run before this one is woken, and their answers share a write.
            spawn_local(async move { service.call(call).await });
        }
    }
    Ok(())
}

fn builder(limits: Limits) -> Builder {
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEADER_LIST_LEN_MAX)
        .max_concurrent_streams(limits.concurrent_streams_max)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(Some(ERROR_RESETS_MAX));
    builder
}

fn into_io_error(error: h2::Error) -> io::Error {
    if error.is_io() { error.into_io().expect("just asked") } else { io::Error::other(error) }
}
