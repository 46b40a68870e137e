//! Sockets between members: how they are made, and how long a peer may be silent on them.
//!
//! This is the one place where a connection becomes a stream of bytes. Names are looked up again for each
//! connection, so that a member may move.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use crate::config::{Scheme, Url};
use crate::listen::{Stream, prepare};

/// How long one read or write may make no progress, as in etcd.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Both directions of a connection.
trait Socket: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Socket for T {}

/// A connection that ends if the peer is silent for too long.
pub(super) struct PeerSocket {
    socket: Box<dyn Socket>,
    /// Whether reads are timed too. A stream that is only written to has nothing to read.
    are_reads_timed: Rc<Cell<bool>>,
    read: Deadline,
    write: Deadline,
}

impl std::fmt::Debug for PeerSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerSocket").finish_non_exhaustive()
    }
}

impl PeerSocket {
    fn new(socket: impl AsyncRead + AsyncWrite + Unpin + 'static) -> PeerSocket {
        PeerSocket {
            socket: Box::new(socket),
            are_reads_timed: Rc::new(Cell::new(true)),
            read: Deadline::new(),
            write: Deadline::new(),
        }
    }

    /// Connects to the member at `url`, within `limit`.
    pub(super) async fn connect(url: &Url, limit: Duration) -> io::Result<PeerSocket> {
        let connected = timeout(limit, async {
            match url.scheme {
                Scheme::Http => {
                    let stream = TcpStream::connect(&*url.address).await?;
                    prepare(&stream)?;
                    Ok(PeerSocket::new(stream))
                }
                Scheme::Unix => Ok(PeerSocket::new(UnixStream::connect(&url.address).await?)),
                Scheme::Https | Scheme::Unixs => Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    "TLS between members is not supported yet",
                )),
            }
        });
        connected.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// A connection that a peer has made. The result also has its address, as a text.
    pub(super) fn accept(stream: Stream) -> io::Result<(PeerSocket, String)> {
        Ok(match stream {
            Stream::Tcp(stream, peer) => (PeerSocket::new(TcpStream::from_std(stream)?), address_text(peer)),
            Stream::Unix(stream) => (PeerSocket::new(UnixStream::from_std(stream)?), "@".to_owned()),
        })
    }

    /// The switch of the limit for reads.
    pub(super) fn read_timing(&self) -> Rc<Cell<bool>> {
        Rc::clone(&self.are_reads_timed)
    }
}

fn address_text(address: SocketAddr) -> String {
    address.to_string()
}

/// A time limit that counts from the first of several attempts without progress.
struct Deadline {
    sleep: Pin<Box<Sleep>>,
    is_armed: bool,
}

impl Deadline {
    fn new() -> Deadline {
        Deadline { sleep: Box::pin(sleep_until(Instant::now())), is_armed: false }
    }

    /// Looks at the outcome of an attempt: it is an error if there has been no progress for too long.
    fn check<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.is_armed = false;
            return outcome;
        }
        if !self.is_armed {
            self.sleep.as_mut().reset(Instant::now() + SILENCE_MAX);
            self.is_armed = true;
        }
        self.sleep.as_mut().poll(cx).map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, "i/o timeout")))
    }
}

impl AsyncRead for PeerSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.socket).poll_read(cx, buffer);
        if this.are_reads_timed.get() {
            return this.read.check(cx, outcome);
        }
        // What was waited for before does not count when the limit applies again.
        this.read.is_armed = false;
        outcome
    }
}

impl AsyncWrite for PeerSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.socket).poll_write(cx, bytes);
        this.write.check(cx, outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.socket).poll_write_vectored(cx, slices);
        this.write.check(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_is_given_up_after_five_seconds() {
        let (socket, _peer) = duplex(16);
        let mut socket = PeerSocket::new(socket);
        let start = Instant::now();
        let error = socket.read_u8().await.unwrap_err();
        assert_eq!((error.kind(), start.elapsed()), (io::ErrorKind::TimedOut, SILENCE_MAX));
        let error = socket.write_all(&[0; 17]).await.unwrap_err();
        assert_eq!((error.kind(), start.elapsed()), (io::ErrorKind::TimedOut, 2 * SILENCE_MAX));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_only_written_to_waits_for_no_bytes() {
        let (socket, mut peer) = duplex(16);
        let mut socket = PeerSocket::new(socket);
        socket.read_timing().set(false);
        let late = async {
            tokio::time::sleep(10 * SILENCE_MAX).await;
            peer.write_u8(7).await
        };
        let (read, _) = tokio::join!(socket.read_u8(), late);
        assert_eq!(read.unwrap(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn each_byte_gives_a_peer_new_time() {
        let (socket, mut peer) = duplex(16);
        let mut socket = PeerSocket::new(socket);
        let drip = async {
            for byte in 0..4 {
                tokio::time::sleep(SILENCE_MAX - Duration::from_millis(1)).await;
                peer.write_u8(byte).await.unwrap();
            }
        };
        let mut bytes = [0; 4];
        let (read, ()) = tokio::join!(socket.read_exact(&mut bytes), drip);
        assert_eq!((read.unwrap(), bytes), (4, [0, 1, 2, 3]));
    }
}
