//! Bytes read from a socket and not yet understood.
//!
//! Reads go into memory that all connections of a thread share: frames found there are handed on as slices
//! of it, and an idle connection holds nothing. Only the beginning of a frame that is not whole yet is kept
//! apart, and what a connection has read and had no time to handle.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Memory set aside for reads, in bytes.
const BUFFER_LEN: usize = 64 << 10;

/// With less room than this, a read gets new memory.
const READ_LEN_MIN: usize = 16 << 10;

thread_local! {
    static SHARED: RefCell<BytesMut> = RefCell::default();
}

/// What a connection has read.
#[derive(Debug, Default)]
pub(super) struct Input {
    /// Read last, and not yet handled.
    unhandled: Bytes,
    /// The beginning of a frame.
    rest: BytesMut,
}

impl Input {
    /// Whether all frames that have been read are handled.
    pub(super) fn is_handled(&self) -> bool {
        self.unhandled.is_empty()
    }

    /// Reads once, when all that was read before is handled. `UnexpectedEof` when the client has closed.
    pub(super) fn poll_read(
        &mut self,
        io: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.unhandled = ready!(if self.rest.is_empty() {
            SHARED.with_borrow_mut(|shared| poll_read(shared, io, cx))
        } else {
            poll_read(&mut self.rest, io, cx)
        })?;
        Poll::Ready(Ok(()))
    }

    /// The bytes to be handled. The caller takes off the front what it has handled.
    pub(super) fn unhandled(&mut self) -> &mut Bytes {
        &mut self.unhandled
    }

    /// Keeps what is left, which is no whole frame, for the next read.
    pub(super) fn wait_for_more(&mut self) {
        // A copy: the memory of the read is other connections' as well.
        self.rest = BytesMut::from(&self.unhandled[..]);
        self.unhandled = Bytes::new();
    }
}

fn poll_read(
    buffer: &mut BytesMut,
    io: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
) -> Poll<io::Result<Bytes>> {
    if buffer.capacity() - buffer.len() < READ_LEN_MIN {
        buffer.reserve(BUFFER_LEN);
    }
    match ready!(pin!(io.read_buf(buffer)).poll(cx))? {
        0 => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
        _ => Poll::Ready(Ok(buffer.split().freeze())),
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn read(input: &mut Input, mut bytes: &[u8]) -> Poll<io::Result<()>> {
        input.poll_read(&mut bytes, &mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn what_was_left_comes_before_what_is_read() {
        let mut input = Input::default();
        for (read_now, handled, left) in [("ab", "a", "b"), ("cd", "bcd", ""), ("e", "e", "")] {
            assert!(matches!(read(&mut input, read_now.as_bytes()), Poll::Ready(Ok(()))));
            assert_eq!(input.unhandled().split_to(handled.len()), handled);
            assert_eq!(input.unhandled(), left);
            input.wait_for_more();
            assert!(input.is_handled());
        }
    }

    #[test]
    fn end_of_stream_is_an_error() {
        let Poll::Ready(Err(error)) = read(&mut Input::default(), b"") else { panic!() };
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
