//! The client's side of an HTTP/2 connection (RFC 9113) as a state machine without sockets.
//!
//! Bytes that have come go in by [`Wire::receive`]; messages and ends of calls come out by [`Wire::poll_next`],
//! which is woken for them; bytes to be written gather in [`Wire::output`]. How the bytes are cut makes no
//! difference. Flow control holds in both directions: what the server's windows have no room for waits, and a
//! call whose answers nobody takes stops being sent more. A server that limits the streams of a connection
//! refuses calls beyond that; nothing is held back here.

use std::collections::BTreeMap;
use std::task::{Context, Poll};

use bytes::Bytes;
use http2::flow::{ReceiveWindow, SendWindow, WINDOW_DEFAULT, WINDOW_MAX};
use http2::frame::{self, HEAD_LEN, PREFACE, put_number, put_ping};
use http2::hpack::TABLE_LEN_MAX;
use http2::{Code, StreamId};
use prost::Message;

use super::headers::{Answers, Head, Requests};
use super::stream::{self, Stream};
use crate::error::Error;

/// What all calls of a connection may receive together, in bytes.
const WINDOW: u32 = 64 << 20;
/// Longest frame either side sends, in bytes: the default of the protocol.
const FRAME_LEN_MAX: usize = 1 << 14;
/// Longest header block, in bytes.
const BLOCK_LEN_MAX: usize = 1 << 20;

/// Settings by their numbers (RFC 9113, §6.5.2).
const HEADER_TABLE_SIZE: u16 = 1;
const ENABLE_PUSH: u16 = 2;
const INITIAL_WINDOW_SIZE: u16 = 4;

/// The state of a connection.
pub(super) struct Wire {
    output: Vec<u8>,
    /// Bytes at the start of `output` that are written.
    written: usize,
    requests: Requests,
    answers: Answers,
    streams: BTreeMap<StreamId, Stream>,
    next_id: StreamId,
    /// What the server takes of all calls together, and of a new one.
    send_window: SendWindow,
    stream_send_window: u32,
    receive_window: ReceiveWindow,
    /// A header block whose end is missing: of which call, whether it ends the answer, and what there is.
    block: Option<(StreamId, bool, Vec<u8>)>,
    /// Why no more calls can be made.
    closed: Option<String>,
}

impl Wire {
    /// A connection that is about to say hello to `authority`.
    pub(super) fn new(authority: &str) -> Self {
        let mut output = PREFACE.to_vec();
        put_settings(&[(ENABLE_PUSH, 0), (INITIAL_WINDOW_SIZE, stream::WINDOW)], &mut output);
        put_number(frame::WINDOW_UPDATE, 0, WINDOW - WINDOW_DEFAULT, &mut output);
        Self {
            output,
            written: 0,
            requests: Requests::new(authority),
            answers: Answers::default(),
            streams: BTreeMap::new(),
            next_id: 1,
            send_window: SendWindow::new(WINDOW_DEFAULT),
            stream_send_window: WINDOW_DEFAULT,
            receive_window: ReceiveWindow::new(WINDOW),
            block: None,
            closed: None,
        }
    }

    /// The head of calls to `path`.
    pub(super) fn head(&mut self, path: &str) -> Head {
        self.requests.head(path)
    }

    /// Starts a call.
    pub(super) fn open(&mut self, head: Head) -> Result<StreamId, Error> {
        if let Some(reason) = &self.closed {
            return Err(Error::Http2(reason.clone()));
        }
        let id = self.next_id;
        self.next_id += 2;
        if self.next_id > WINDOW_MAX {
            self.closed = Some("all of its stream numbers are used up".to_owned());
        }
        let start = self.output.len();
        put_head(frame::HEADERS, frame::END_HEADERS, id, 0, &mut self.output);
        self.requests.put(head, &mut self.output);
        let len = self.output.len() - start - HEAD_LEN;
        self.output[start..start + 3].copy_from_slice(&(len as u32).to_be_bytes()[1..]);
        self.streams.insert(id, Stream::new(SendWindow::new(self.stream_send_window)));
        Ok(id)
    }

    /// Sends a message of the call as far as the server's windows have room.
    pub(super) fn send(&mut self, id: StreamId, message: &impl Message) {
        self.stream(id).send(message);
        self.flush(id);
    }

    /// Ends the call's request.
    pub(super) fn finish(&mut self, id: StreamId) {
        self.stream(id).finish();
        self.flush(id);
    }

    /// The next message of the call's answer, then its end.
    pub(super) fn poll_next(
        &mut self,
        id: StreamId,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, Error>> {
        let next = self.stream(id).poll_next(cx);
        if let Poll::Ready(Ok(Some(_))) = next {
            self.grant(id);
        }
        next
    }

    /// Forgets the call, after cancelling it unless both sides have ended it.
    pub(super) fn close(&mut self, id: StreamId) {
        let stream = self.streams.remove(&id).expect(OPEN);
        if !stream.is_over() {
            put_number(frame::RST_STREAM, id, Code::Cancel as u32, &mut self.output);
        }
    }

    /// Bytes to be written.
    pub(super) fn output(&self) -> &[u8] {
        &self.output[self.written..]
    }

    /// Notes that so many of them are written.
    pub(super) fn written(&mut self, len: usize) {
        self.written += len;
        if self.written == self.output.len() {
            self.output.clear();
            self.written = 0;
        }
    }

    /// Takes in the whole frames that `input` begins with and returns their length; the rest is to come again,
    /// with more behind it.
    ///
    /// # Errors
    /// If the server breaks the protocol: in what way. The connection is of no more use.
    pub(super) fn receive(&mut self, input: &[u8]) -> Result<usize, String> {
        let mut taken = 0;
        while let Some(head) = frame::Head::read(&input[taken..]) {
            if head.len > FRAME_LEN_MAX {
                return Err(broken("a frame longer than allowed"));
            }
            let start = taken + HEAD_LEN;
            let Some(payload) = input.get(start..start + head.len) else { break };
            self.frame(head, payload)?;
            taken = start + head.len;
        }
        Ok(taken)
    }

    /// Ends all calls, and those to come, because of `reason`.
    pub(super) fn fail(&mut self, reason: &str) {
        for stream in self.streams.values_mut() {
            stream.break_off(Error::Http2(reason.to_owned()));
        }
        self.closed = Some(reason.to_owned());
    }

    fn stream(&mut self, id: StreamId) -> &mut Stream {
        self.streams.get_mut(&id).expect(OPEN)
    }

    /// Sends what waits of a call, as far as there is room.
    fn flush(&mut self, id: StreamId) {
        let stream = self.streams.get_mut(&id).expect(OPEN);
        while let Some((data, is_last)) = stream.take_unsent(FRAME_LEN_MAX.min(self.send_window.room())) {
            self.send_window.take(data.len());
            let flags = if is_last { frame::END_STREAM } else { 0 };
            put_head(frame::DATA, flags, id, data.len(), &mut self.output);
            self.output.extend_from_slice(&data);
        }
    }

    fn flush_all(&mut self) {
        let ids: Vec<StreamId> = self.streams.keys().copied().collect();
        ids.into_iter().for_each(|id| self.flush(id));
    }

    fn frame(&mut self, head: frame::Head, payload: &[u8]) -> Result<(), String> {
        let continues = self.block.as_ref().map(|(id, ..)| *id);
        if continues != (head.kind == frame::CONTINUATION).then_some(head.stream) {
            return Err(broken("a header block interrupted, or continued without a start"));
        }
        match head.kind {
            frame::DATA => self.data(head, payload),
            frame::HEADERS => {
                let (start, end) = head.content(payload).map_err(|error| broken(error.reason))?;
                self.block = Some((head.stream, head.has(frame::END_STREAM), Vec::new()));
                self.block(&payload[start..end], head.has(frame::END_HEADERS))
            }
            frame::CONTINUATION => self.block(payload, head.has(frame::END_HEADERS)),
            frame::RST_STREAM => {
                let text = format!("the server reset the call with code {}", number(payload)?);
                if let Some(stream) = self.streams.get_mut(&head.stream) {
                    stream.break_off(Error::Http2(text));
                }
                Ok(())
            }
            frame::SETTINGS if head.has(frame::ACK) => Ok(()),
            frame::SETTINGS => self.settings(payload),
            frame::PING => self.ping(head, payload),
            frame::GOAWAY => self.goaway(payload),
            frame::WINDOW_UPDATE => self.window_update(head.stream, number(payload)?),
            frame::PUSH_PROMISE => Err(broken("a push that was not allowed")),
            _ => Ok(()),
        }
    }

    fn data(&mut self, head: frame::Head, payload: &[u8]) -> Result<(), String> {
        let (start, end) = head.content(payload).map_err(|error| broken(error.reason))?;
        let excess = || broken("more data than the window allows");
        self.receive_window.take(head.len as u32).map_err(|_| excess())?;
        if let Some(grant) = self.receive_window.release(head.len as u32) {
            put_number(frame::WINDOW_UPDATE, 0, grant, &mut self.output);
        }
        // What comes for a call that was cancelled is not missed.
        let Some(stream) = self.streams.get_mut(&head.stream) else { return Ok(()) };
        if !stream.receive(&payload[start..end], head.len as u32) {
            return Err(excess());
        }
        if head.has(frame::END_STREAM) {
            stream.end(Err(Error::Answer("an end without a status".to_owned())));
        } else {
            self.grant(head.stream);
        }
        Ok(())
    }

    /// Lets the server send more of an answer.
    fn grant(&mut self, id: StreamId) {
        if let Some(grant) = self.stream(id).grant() {
            put_number(frame::WINDOW_UPDATE, id, grant, &mut self.output);
        }
    }

    /// Takes in a part of a header block, and the block once it is complete.
    fn block(&mut self, part: &[u8], is_whole: bool) -> Result<(), String> {
        let (id, is_end, mut block) = self.block.take().expect("a frame of the block is being read");
        if block.len() + part.len() > BLOCK_LEN_MAX {
            return Err(broken("a header block longer than allowed"));
        }
        if !is_whole {
            block.extend_from_slice(part);
            self.block = Some((id, is_end, block));
            return Ok(());
        }
        let whole = if block.is_empty() {
            part
        } else {
            block.extend_from_slice(part);
            &block
        };
        match self.answers.read(whole, is_end) {
            Err(Error::Http2(reason)) => return Err(reason),
            Ok(()) if !is_end => {}
            result => {
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.end(result);
                }
            }
        }
        Ok(())
    }

    fn settings(&mut self, payload: &[u8]) -> Result<(), String> {
        let settings = payload.chunks(6).map(|setting| setting.first_chunk::<6>());
        for setting in settings {
            let &[a, b, value @ ..] = setting.ok_or_else(|| broken(SHORT))?;
            match (u16::from_be_bytes([a, b]), u32::from_be_bytes(value)) {
                (HEADER_TABLE_SIZE, len) if (len as usize) < TABLE_LEN_MAX => {
                    return Err(broken("a smaller table of headers than the default is not supported here"));
                }
                (INITIAL_WINDOW_SIZE, len) => self.resize_streams(len)?,
                _ => {}
            }
        }
        put_head(frame::SETTINGS, frame::ACK, 0, 0, &mut self.output);
        self.flush_all();
        Ok(())
    }

    fn resize_streams(&mut self, len: u32) -> Result<(), String> {
        let change = i64::from(len) - i64::from(self.stream_send_window);
        self.stream_send_window = len;
        let grown = self.streams.values_mut().try_for_each(|stream| stream.send_window.grow(change));
        grown.map_err(|_| broken(TOO_LARGE))
    }

    fn ping(&mut self, head: frame::Head, payload: &[u8]) -> Result<(), String> {
        let data = payload.try_into().map_err(|_| broken(SHORT))?;
        if !head.has(frame::ACK) {
            put_ping(frame::ACK, data, &mut self.output);
        }
        Ok(())
    }

    /// Ends the calls that the server has not looked at, and all that would come.
    fn goaway(&mut self, payload: &[u8]) -> Result<(), String> {
        let (&[a, b, c, d, code @ ..], text) =
            payload.split_first_chunk::<8>().ok_or_else(|| broken(SHORT))?;
        let (last, code) = (u32::from_be_bytes([a, b, c, d]) & WINDOW_MAX, u32::from_be_bytes(code));
        let reason = format!("the server goes away with code {code}: {}", String::from_utf8_lossy(text));
        for (_, stream) in self.streams.range_mut(last.saturating_add(1)..) {
            stream.break_off(Error::Http2(reason.clone()));
        }
        self.closed = Some(reason);
        Ok(())
    }

    fn window_update(&mut self, id: StreamId, by: u32) -> Result<(), String> {
        let by = i64::from(by & WINDOW_MAX);
        if id == 0 {
            self.send_window.grow(by).map_err(|_| broken(TOO_LARGE))?;
            self.flush_all();
        } else if let Some(stream) = self.streams.get_mut(&id) {
            stream.send_window.grow(by).map_err(|_| broken(TOO_LARGE))?;
            self.flush(id);
        }
        Ok(())
    }
}

/// Why a call is known: its handle closes it last.
const OPEN: &str = "a call is in the table until its handle closes it";
const SHORT: &str = "a frame of a wrong length";
const TOO_LARGE: &str = "a window larger than allowed";

fn broken(what: &str) -> String {
    format!("the server sent {what}")
}

fn number(payload: &[u8]) -> Result<u32, String> {
    payload.try_into().map(u32::from_be_bytes).map_err(|_| broken(SHORT))
}

fn put_head(kind: u8, flags: u8, stream: StreamId, len: usize, output: &mut Vec<u8>) {
    frame::Head { len, kind, flags, stream }.put(output);
}

fn put_settings(settings: &[(u16, u32)], output: &mut Vec<u8>) {
    put_head(frame::SETTINGS, 0, 0, settings.len() * 6, output);
    for (id, value) in settings {
        output.extend_from_slice(&id.to_be_bytes());
        output.extend_from_slice(&value.to_be_bytes());
    }
}

#[cfg(test)]
mod tests;
