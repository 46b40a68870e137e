//! Bytes read from a socket and not yet understood.
//!
//! Reads go into memory that all connections of a thread share: frames found there are handed on as slices of it,
//! and an idle connection holds nothing. Only the beginning of a frame that is not whole yet is kept apart.

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
    /// The beginning of a frame.
    rest: BytesMut,
}

impl Input {
    /// Reads once, and gives all that is not understood. `UnexpectedEof` when the client has closed.
    pub(super) fn poll_read(
        &mut self,
        io: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Bytes>> {
        if self.rest.is_empty() {
            return SHARED.with_borrow_mut(|shared| poll_read(shared, io, cx));
        }
        poll_read(&mut self.rest, io, cx)
    }

    /// Keeps what is left of the bytes read last.
    pub(super) fn keep(&mut self, left: &[u8]) {
        // Memory that is still shared with messages is left to them.
        self.rest = BytesMut::from(left);
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

    fn read(input: &mut Input, mut bytes: &[u8]) -> Poll<io::Result<Bytes>> {
        input.poll_read(&mut bytes, &mut Context::from_waker(Waker::noop()))
    }

    fn bytes(polled: Poll<io::Result<Bytes>>) -> Bytes {
        match polled {
            Poll::Ready(Ok(bytes)) => bytes,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_kept_comes_before_what_is_read() {
        let mut input = Input::default();
        assert_eq!(bytes(read(&mut input, b"ab")), "ab");
        input.keep(b"b");
        assert_eq!(bytes(read(&mut input, b"cd")), "bcd");
        input.keep(b"");
        assert_eq!(bytes(read(&mut input, b"e")), "e");
    }

    #[test]
    fn end_of_stream_is_an_error() {
        let Poll::Ready(Err(error)) = read(&mut Input::default(), b"") else { panic!() };
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
