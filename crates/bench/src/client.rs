//! A gRPC client that costs little: calls on a connection of its own make, messages as plain bytes.
//!
//! A [`Connection`] has one socket and one task on the runtime that opened it; clones share both. A request
//! goes in as a protobuf message, answers come out as encoded ones, so that a workload decodes only what it
//! looks at. The task reads whatever has come, wakes the callers whose answers are among it, and writes with
//! one system call what they all have sent by then. The protocol itself is in [`wire`]. It does not retry,
//! balance, authenticate or encrypt.

mod headers;
mod stream;
mod wire;

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http2::StreamId;
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

pub(crate) use self::headers::Head;
use self::wire::Wire;
use crate::error::Error;

/// What is read by one system call at most, in bytes: more than the longest frame, so that one always fits.
const READ_LEN_MAX: usize = 64 << 10;

/// One HTTP/2 connection to a server. A clone is another handle on the same connection, which ends with the
/// last of its handles and calls.
#[derive(Clone)]
pub(crate) struct Connection(Arc<Link>);

impl Connection {
    /// Connects to `endpoint` (`host:port`) and leaves a task on this runtime that moves the bytes.
    pub(crate) async fn open(endpoint: &str) -> Result<Self, Error> {
        let unreachable = |cause| Error::Unreachable { endpoint: endpoint.to_owned(), cause };
        let socket = TcpStream::connect(endpoint).await.map_err(unreachable)?;
        socket.set_nodelay(true).map_err(unreachable)?;
        let link = Arc::new(Link(Mutex::new(Shared { wire: Wire::new(endpoint), carrier: None })));
        let carrier =
            Carrier { link: Arc::downgrade(&link), socket, input: vec![0; READ_LEN_MAX], filled: 0 };
        tokio::spawn(carrier.run());
        Ok(Self(link))
    }

    /// Prepares the headers of calls to `path` (`/package.Service/Method`) on this connection.
    pub(crate) fn head(&self, path: &str) -> Head {
        self.0.lock().wire.head(path)
    }

    /// Sends one message and returns the message of the answer.
    pub(crate) async fn unary(&self, head: Head, message: &impl Message) -> Result<Bytes, Error> {
        let mut call = self.start(|wire| {
            let id = wire.open(head)?;
            wire.send(id, message);
            wire.finish(id);
            Ok(id)
        })?;
        let answer = call.next().await?;
        let answer = answer.ok_or_else(|| Error::Answer("a status without a message".to_owned()))?;
        match call.next().await? {
            None => Ok(answer),
            Some(_) => Err(Error::Answer("two messages from a method that answers once".to_owned())),
        }
    }

    /// The same for a call that is made once: prepares its headers and decodes its answer.
    pub(crate) async fn call<A: Message + Default>(
        &self,
        path: &str,
        message: impl Message,
    ) -> Result<A, Error> {
        Ok(A::decode(self.unary(self.head(path), &message).await?)?)
    }

    /// Opens a stream of messages in both directions.
    pub(crate) fn stream(&self, head: Head) -> Result<Call, Error> {
        self.start(|wire| wire.open(head))
    }

    fn start(&self, open: impl FnOnce(&mut Wire) -> Result<StreamId, Error>) -> Result<Call, Error> {
        let id = self.0.lock().sending(open)?;
        Ok(Call { connection: self.clone(), id })
    }
}

/// A call under way; dropping it cancels it unless it has ended.
pub(crate) struct Call {
    connection: Connection,
    id: StreamId,
}

impl Call {
    /// Queues one message; it is never held back, so the caller bounds how many it sends.
    pub(crate) fn send(&self, message: &impl Message) {
        self.connection.0.lock().sending(|wire| wire.send(self.id, message));
    }

    /// Waits for the next message; `None` once the call has ended with status OK. Not to be asked again after
    /// the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        std::future::poll_fn(|cx| self.connection.0.lock().sending(|wire| wire.poll_next(self.id, cx))).await
    }

    /// Tells the server that no more messages come, and waits for no end: what a client does that has what it
    /// wants.
    pub(crate) fn finish(self) {
        self.connection.0.lock().sending(|wire| wire.finish(self.id));
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.connection.0.lock().sending(|wire| wire.close(self.id));
    }
}

/// What the handles of a connection share with its task.
struct Link(Mutex<Shared>);

struct Shared {
    wire: Wire,
    /// Wakes the task, unless somebody has since it last ran.
    carrier: Option<Waker>,
}

impl Link {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // The task then finds nobody left, and ends.
        self.lock().wake_carrier();
    }
}

impl Shared {
    /// Lets `act` change the state, and has the task write what comes of it.
    fn sending<T>(&mut self, act: impl FnOnce(&mut Wire) -> T) -> T {
        let result = act(&mut self.wire);
        if !self.wire.output().is_empty() {
            self.wake_carrier();
        }
        result
    }

    fn wake_carrier(&mut self) {
        if let Some(carrier) = self.carrier.take() {
            carrier.wake();
        }
    }
}

/// The task of a connection: moves bytes between the socket and the state until either end is gone.
struct Carrier {
    link: Weak<Link>,
    socket: TcpStream,
    input: Vec<u8>,
    /// Bytes at the start of `input` that are not yet looked at: less than a frame.
    filled: usize,
}

impl Carrier {
    async fn run(mut self) {
        std::future::poll_fn(|cx| {
            let Some(link) = self.link.upgrade() else { return Poll::Ready(()) };
            let mut shared = link.lock();
            let moved = self.poll_move(&mut shared.wire, cx);
            shared.carrier = Some(cx.waker().clone());
            moved.map(|reason| shared.wire.fail(&reason))
        })
        .await;
    }

    /// Moves what can be moved now; ready with the reason when nothing ever can again.
    fn poll_move(&mut self, wire: &mut Wire, cx: &mut Context<'_>) -> Poll<String> {
        loop {
            if let Poll::Ready(Err(error)) = self.poll_write(wire, cx) {
                return Poll::Ready(error.to_string());
            }
            if let Err(reason) = ready!(self.poll_read(wire, cx)) {
                return Poll::Ready(reason);
            }
        }
    }

    fn poll_write(&mut self, wire: &mut Wire, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !wire.output().is_empty() {
            let written = ready!(Pin::new(&mut self.socket).poll_write(cx, wire.output()))?;
            wire.written(written);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, wire: &mut Wire, cx: &mut Context<'_>) -> Poll<Result<(), String>> {
        let mut room = ReadBuf::new(&mut self.input[self.filled..]);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut room)).map_err(|error| error.to_string())?;
        let read = room.filled().len();
        if read == 0 {
            return Poll::Ready(Err("closed by the server".to_owned()));
        }
        let end = self.filled + read;
        let taken = wire.receive(&self.input[..end])?;
        self.input.copy_within(taken..end, 0);
        self.filled = end - taken;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
pub(crate) mod tests;
