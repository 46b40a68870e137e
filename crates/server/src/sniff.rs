//! Tells HTTP/2 from HTTP/1 by the first bytes of a connection, which are then read again.
//!
//! Works on any byte stream, so that TLS can come before it. A client that sends nothing or dribbles costs one
//! small buffer, and not for long.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::timeout;

/// What every HTTP/2 client sends first (RFC 9113, §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes read from a connection before its protocol is known.
const SNIFF_LEN_MAX: usize = 512;

/// A client that has not shown its protocol by then is disconnected.
const SNIFF_TIME_MAX: Duration = Duration::from_secs(10);

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// Reads until the protocol is certain. `UnexpectedEof` if the client closes before, `TimedOut` if it takes
/// more than ten seconds.
pub(crate) async fn sniff<T: AsyncRead + Unpin>(io: T) -> io::Result<(Protocol, Replayed<T>)> {
    timeout(SNIFF_TIME_MAX, read_preface(io)).await?
}

/// A byte stream whose first bytes have been read already and are read again.
#[derive(Debug)]
pub(crate) struct Replayed<T> {
    seen: Bytes,
    inner: T,
}

impl<T: AsyncRead + Unpin> AsyncRead for Replayed<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.seen.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, buffer);
        }
        let len = self.seen.len().min(buffer.remaining());
        buffer.put_slice(&self.seen[..len]);
        self.seen.advance(len);
        if self.seen.is_empty() {
            self.seen = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Replayed<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

async fn read_preface<T: AsyncRead + Unpin>(mut io: T) -> io::Result<(Protocol, Replayed<T>)> {
    let mut seen = BytesMut::with_capacity(SNIFF_LEN_MAX);
    loop {
        if (&mut io).take(SNIFF_LEN_MAX as u64).read_buf(&mut seen).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let len = seen.len().min(PREFACE.len());
        let protocol = match seen[..len] == PREFACE[..len] {
            false => Protocol::Http1,
            true if len == PREFACE.len() => Protocol::Http2,
            true => continue,
        };
        return Ok((protocol, Replayed { seen: seen.freeze(), inner: io }));
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    async fn sniff_pieces(pieces: &[&[u8]]) -> io::Result<(Protocol, Vec<u8>)> {
        let (mut client, server) = tokio::io::duplex(1);
        let sent = pieces.concat();
        let client = async move {
            let _ = client.write_all(&sent).await;
        };
        let server = async {
            let (protocol, mut io) = sniff(server).await?;
            let mut replayed = Vec::new();
            io.read_to_end(&mut replayed).await?;
            Ok((protocol, replayed))
        };
        tokio::join!(client, server).1
    }

    #[tokio::test]
    async fn preface_is_http2_and_read_again() {
        let (protocol, replayed) = sniff_pieces(&[PREFACE, b"frames"]).await.unwrap();
        assert_eq!(protocol, Protocol::Http2);
        assert_eq!(replayed, [PREFACE, b"frames"].concat());
    }

    #[tokio::test]
    async fn anything_else_is_http1() {
        for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PRI * HTTP/1.1\r\n", b"\x16\x03\x01"] {
            let (protocol, replayed) = sniff_pieces(&[bytes]).await.unwrap();
            assert_eq!(protocol, Protocol::Http1);
            assert_eq!(replayed, bytes);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn dribbling_client_is_given_up() {
        let (mut client, server) = tokio::io::duplex(64);
        let dribble = async {
            for byte in PREFACE {
                client.write_all(&[*byte]).await.unwrap();
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let started = tokio::time::Instant::now();
        let result = tokio::select! {
            result = sniff(server) => result,
            () = dribble => panic!("the server waited for all of it"),
        };
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(started.elapsed(), SNIFF_TIME_MAX);
    }

    #[tokio::test]
    async fn half_a_preface_is_neither() {
        let error = sniff_pieces(&[&PREFACE[..20]]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
