//! A socket that gathers small writes and sends them together when it is flushed.
//!
//! The HTTP/2 library writes each DATA frame of 256 bytes or more by itself if it may use vectored writes, and
//! every small one by itself otherwise: one system call a frame. Gathered, the answers of all calls that became
//! ready together are one system call, which halves the server's CPU for small answers.
//! The buffer is bounded: what does not fit is written through.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes gathered at most before they are written without waiting for a flush.
const BUFFER_LEN_MAX: usize = 64 << 10;

/// An empty buffer keeps at most this much memory, so that idle connections stay cheap.
const IDLE_CAPACITY_MAX: usize = 16 << 10;

/// An IO object with a write buffer before it. Reads pass through.
#[derive(Debug)]
pub(crate) struct Gather<T> {
    inner: T,
    buffer: Vec<u8>,
    /// How much of the front of `buffer` is written.
    written_len: usize,
}

impl<T: AsyncWrite + Unpin> Gather<T> {
    /// Wraps an IO object.
    pub(crate) fn new(inner: T) -> Gather<T> {
        Gather { inner, buffer: Vec::new(), written_len: 0 }
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written_len < self.buffer.len() {
            let unwritten = &self.buffer[self.written_len..];
            match ready!(Pin::new(&mut self.inner).poll_write(cx, unwritten))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                len => self.written_len += len,
            }
        }
        self.written_len = 0;
        self.buffer.clear();
        self.buffer.shrink_to(IDLE_CAPACITY_MAX);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Gather<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.buffer.len() + bytes.len() > BUFFER_LEN_MAX {
            ready!(self.poll_drain(cx))?;
            if bytes.len() > BUFFER_LEN_MAX {
                return Pin::new(&mut self.inner).poll_write(cx, bytes);
            }
        }
        self.buffer.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    /// Gathering replaces vectored writes; with both, the library would still write frame by frame.
    fn is_write_vectored(&self) -> bool {
        false
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Gather<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    /// Records each write; takes at most `room` bytes in all.
    struct Recorder {
        writes: Vec<usize>,
        room: usize,
    }

    impl AsyncWrite for Recorder {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let len = bytes.len().min(self.room);
            if len == 0 {
                return Poll::Pending;
            }
            self.room -= len;
            self.writes.push(len);
            Poll::Ready(Ok(len))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn gather(room: usize) -> Gather<Recorder> {
        Gather::new(Recorder { writes: Vec::new(), room })
    }

    fn write(io: &mut Gather<Recorder>, len: usize) -> Poll<io::Result<usize>> {
        Pin::new(io).poll_write(&mut Context::from_waker(Waker::noop()), &vec![1; len])
    }

    fn flush(io: &mut Gather<Recorder>) -> Poll<io::Result<()>> {
        Pin::new(io).poll_flush(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn small_writes_become_one() {
        let mut io = gather(usize::MAX);
        for _ in 0..3 {
            assert!(matches!(write(&mut io, 100), Poll::Ready(Ok(100))));
        }
        assert!(io.inner.writes.is_empty());
        assert!(flush(&mut io).is_ready());
        assert_eq!(io.inner.writes, [300]);
    }

    #[test]
    fn full_buffer_is_written_before_it_grows() {
        let mut io = gather(usize::MAX);
        let _ = write(&mut io, BUFFER_LEN_MAX);
        let _ = write(&mut io, 1);
        assert_eq!(io.inner.writes, [BUFFER_LEN_MAX]);
    }

    #[test]
    fn huge_write_passes_through() {
        let mut io = gather(usize::MAX);
        let _ = write(&mut io, BUFFER_LEN_MAX + 1);
        assert_eq!(io.inner.writes, [BUFFER_LEN_MAX + 1]);
    }

    #[test]
    fn stuck_socket_holds_the_writer() {
        let mut io = gather(10);
        let _ = write(&mut io, BUFFER_LEN_MAX);
        assert!(write(&mut io, 1).is_pending());
        assert!(flush(&mut io).is_pending());
        io.inner.room = BUFFER_LEN_MAX;
        assert!(flush(&mut io).is_ready());
        assert_eq!(io.inner.writes, [10, BUFFER_LEN_MAX - 10]);
        assert!(io.buffer.capacity() <= IDLE_CAPACITY_MAX);
    }

    #[tokio::test]
    async fn shutdown_writes_what_is_left() {
        let (near, mut far) = duplex(64);
        let mut io = Gather::new(near);
        io.write_all(b"last words").await.unwrap();
        io.shutdown().await.unwrap();
        let mut heard = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut far, &mut heard).await.unwrap();
        assert_eq!(heard, "last words");
    }
}
