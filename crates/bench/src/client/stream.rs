//! One call as its connection sees it: what is still to be sent, what has come of the answer, how it ended.

use std::task::{Context, Poll, Waker};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http2::flow::{ReceiveWindow, SendWindow};
use prost::Message;

use crate::error::Error;

/// What a call may receive ahead of its reader, in bytes: more than a list of 10,000 keys of 256 B.
pub(super) const WINDOW: u32 = 8 << 20;
/// Room made for a message before it has come, in bytes.
const RESERVE_MAX: usize = 4 << 20;
/// Compression flag and length before each message of a gRPC body.
const PREFIX_LEN: usize = 5;

/// A call under way.
pub(super) struct Stream {
    /// The part of the request that the server's windows have no room for yet.
    unsent: BytesMut,
    sending: Sending,
    /// What the server takes of this call alone.
    pub(super) send_window: SendWindow,
    receive_window: ReceiveWindow,
    /// What has come of the answer and is not taken.
    body: BytesMut,
    end: End,
    reader: Option<Waker>,
}

/// How far the request is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sending {
    Open,
    /// The last byte of `unsent` is the last of all.
    Ending,
    Ended,
}

/// How far the answer is.
enum End {
    Expected,
    Come(Result<(), Error>),
    Told,
}

impl Stream {
    /// A call that may send `send_window` bytes.
    pub(super) fn new(send_window: SendWindow) -> Self {
        Self {
            unsent: BytesMut::new(),
            sending: Sending::Open,
            send_window,
            receive_window: ReceiveWindow::new(WINDOW),
            body: BytesMut::new(),
            end: End::Expected,
            reader: None,
        }
    }

    /// Adds a message to the request.
    pub(super) fn send(&mut self, message: &impl Message) {
        put_message(message, &mut self.unsent);
    }

    /// Ends the request.
    pub(super) fn finish(&mut self) {
        self.sending = Sending::Ending;
    }

    /// Takes up to `len_max` bytes to be sent, and whether they are the last; `None` if there is nothing to
    /// send now.
    pub(super) fn take_unsent(&mut self, len_max: usize) -> Option<(BytesMut, bool)> {
        let len = self.unsent.len().min(len_max).min(self.send_window.room());
        let data = split(&mut self.unsent, len);
        let is_last = self.unsent.is_empty() && self.sending == Sending::Ending;
        if is_last {
            self.sending = Sending::Ended;
        }
        self.send_window.take(data.len());
        (is_last || !data.is_empty()).then_some((data, is_last))
    }

    /// Whether neither side has anything more to say.
    pub(super) fn is_over(&self) -> bool {
        self.sending == Sending::Ended && !matches!(self.end, End::Expected)
    }

    /// Takes in a part of the answer that had `frame_len` bytes with its padding. False if that is more than
    /// allowed.
    pub(super) fn receive(&mut self, data: &[u8], frame_len: u32) -> bool {
        if self.body.is_empty() {
            self.body.reserve(message_len(data).unwrap_or(data.len()).min(RESERVE_MAX));
        }
        self.body.extend_from_slice(data);
        self.wake();
        self.receive_window.take(frame_len).is_ok()
    }

    /// Notes that nothing goes or comes any more because of `error`.
    pub(super) fn break_off(&mut self, error: Error) {
        self.unsent.clear();
        self.sending = Sending::Ended;
        self.end(Err(error));
    }

    /// Notes how the answer ends; the first end counts.
    pub(super) fn end(&mut self, result: Result<(), Error>) {
        if let End::Expected = self.end {
            self.end = End::Come(result);
            self.wake();
        }
    }

    /// The next message of the answer, then its end.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        if let Some(message) = self.split_message().transpose() {
            return Poll::Ready(message.map(Some));
        }
        match std::mem::replace(&mut self.end, End::Told) {
            End::Come(result) if result.is_err() || self.body.is_empty() => {
                Poll::Ready(result.map(|()| None))
            }
            End::Come(_) => {
                let text = format!("{} bytes of an unfinished message", self.body.len());
                Poll::Ready(Err(Error::Answer(text)))
            }
            waiting => {
                self.end = waiting;
                self.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// What the server is to be allowed on top, if it is worth a frame: all that has come, but for whole
    /// messages that nobody has taken.
    pub(super) fn grant(&mut self) -> Option<u32> {
        if message_len(&self.body).is_some_and(|len| len <= self.body.len()) {
            return None;
        }
        self.receive_window.release(self.receive_window.held())
    }

    /// Takes the first whole message.
    fn split_message(&mut self) -> Result<Option<Bytes>, Error> {
        let Some(len) = message_len(&self.body) else { return Ok(None) };
        if self.body[0] != 0 {
            return Err(Error::Answer("a compressed message that nobody asked for".to_owned()));
        }
        if self.body.len() < len {
            return Ok(None);
        }
        let mut message = split(&mut self.body, len);
        message.advance(PREFIX_LEN);
        Ok(Some(message.freeze()))
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

/// Takes the first `len` bytes off `buffer`, which are mostly all of them: then without a count of references.
fn split(buffer: &mut BytesMut, len: usize) -> BytesMut {
    if len == buffer.len() { std::mem::take(buffer) } else { buffer.split_to(len) }
}

/// Appends the encoded message behind its gRPC prefix, as it stands in a body.
pub(super) fn put_message(message: &impl Message, body: &mut BytesMut) {
    let len = message.encoded_len();
    body.reserve(PREFIX_LEN + len);
    body.put_u8(0);
    body.put_u32(u32::try_from(len).expect("requests are far smaller than 4 GiB"));
    message.encode(body).expect("room was made for this length");
}

/// The length of the message that `body` starts with, its prefix included, once that is known.
fn message_len(body: &[u8]) -> Option<usize> {
    let [_, len @ ..] = *body.first_chunk::<PREFIX_LEN>()?;
    Some(PREFIX_LEN + u32::from_be_bytes(len) as usize)
}
