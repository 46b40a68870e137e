//! The time that a client has for the head of a request, counted from its first bytes.
//!
//! The clock of hyper also runs between two requests, when there is nothing to wait for.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::HEAD_TIME_MAX;

/// Knows since when the client has been sending a head. Bytes that follow a complete head, those of a body too, count
/// as the beginning of the next one.
#[derive(Debug, Default)]
pub(super) struct HeadTimer {
    deadline: Cell<Option<Instant>>,
    changed: Notify,
}

impl HeadTimer {
    /// The head that was being sent is complete.
    pub(super) fn head_is_complete(&self) {
        self.deadline.set(None);
        self.changed.notify_one();
    }

    fn bytes_came(&self) {
        if self.deadline.get().is_none() {
            self.deadline.set(Some(Instant::now() + HEAD_TIME_MAX));
            self.changed.notify_one();
        }
    }

    /// Resolves when the client has been sending one head for too long.
    pub(super) async fn expired(&self) {
        loop {
            let Some(deadline) = self.deadline.get() else {
                self.changed.notified().await;
                continue;
            };
            tokio::select! {
                () = sleep_until(deadline) => return,
                () = self.changed.notified() => {}
            }
        }
    }
}

/// A byte stream that tells a [`HeadTimer`] of what is read from it.
#[derive(Debug)]
pub(super) struct TimedReads<'a, T> {
    pub(super) io: T,
    pub(super) head_timer: &'a HeadTimer,
}

impl<T: AsyncRead + Unpin> AsyncRead for TimedReads<'_, T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let len_before = buffer.filled().len();
        let result = Pin::new(&mut self.io).poll_read(cx, buffer);
        if buffer.filled().len() > len_before {
            self.head_timer.bytes_came();
        }
        result
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for TimedReads<'_, T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
