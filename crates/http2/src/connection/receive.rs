//! Frames from the client: each checked, then turned into an event or into a change of state.
//!
//! Three outcomes: nothing to report, an event, or a [`Fault`]. A fault of a stream resets that stream; a
//! fault of the connection ends it with a GOAWAY.

use std::time::Instant;

use bytes::{Buf, Bytes};

use super::{Connection, Event};
use crate::StreamId;
use crate::error::{Code, Error, Fault};
use crate::flow::ReceiveWindow;
use crate::frame::{self, HEAD_LEN, Head, PREFACE};
use crate::heads::{Heads, Section};
use crate::hpack;
use crate::limits::{
    CONNECTION_WINDOW, CONTINUATIONS_MAX, EMPTY_FRAMES_MAX, FRAME_COST, FRAME_LEN_MAX, HEADER_BLOCK_LEN_MAX,
    RAPID_RESETS_MAX, RAPID_RESETS_SPAN, Rate, SECOND, SETTINGS_MAX,
};
use crate::stream::Stream;
use crate::streams::Ended;

/// The receiving half of a connection.
#[derive(Debug)]
pub(super) struct Receiving {
    stage: Stage,
    pub(super) window: ReceiveWindow,
    heads: Heads,
    /// A header block whose end has not come.
    open_block: Option<OpenBlock>,
    resets: Rate,
    settings: Rate,
    empty_frames: Rate,
    /// Work done for frames and not yet reported by [`Connection::take_cost`].
    cost: usize,
}

/// What must come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Preface,
    Settings,
    Frames,
}

#[derive(Debug)]
struct OpenBlock {
    id: StreamId,
    is_end: bool,
    bytes: Vec<u8>,
    continuations: u32,
}

type Outcome<T> = Result<Option<Event<T>>, Fault>;

impl Receiving {
    pub(super) fn new(now: Instant) -> Receiving {
        Receiving {
            stage: Stage::Preface,
            window: ReceiveWindow::new(CONNECTION_WINDOW),
            heads: Heads::default(),
            open_block: None,
            resets: Rate::new(RAPID_RESETS_MAX, RAPID_RESETS_SPAN, now),
            settings: Rate::new(SETTINGS_MAX, SECOND, now),
            empty_frames: Rate::new(EMPTY_FRAMES_MAX, SECOND, now),
            cost: 0,
        }
    }

    /// Returns the work done since the last call, in the unit of [`Connection::take_cost`].
    pub(super) fn take_cost(&mut self) -> usize {
        std::mem::take(&mut self.cost) + self.heads.take_cost()
    }

    /// Takes the preface off the input; false if there is not enough of it to tell.
    fn take_preface(&mut self, input: &mut Bytes) -> Result<bool, Fault> {
        let len = input.len().min(PREFACE.len());
        if input[..len] != PREFACE[..len] {
            return Err(Fault::protocol("no HTTP/2 preface"));
        }
        if len == PREFACE.len() {
            input.advance(len);
            self.stage = Stage::Settings;
        }
        Ok(self.stage != Stage::Preface)
    }

    /// Checks what does not depend on the kind of frame.
    fn check(&self, head: Head) -> Result<(), Fault> {
        if head.len > FRAME_LEN_MAX {
            return Err(Fault::connection(Code::FrameSizeError, "frame longer than MAX_FRAME_SIZE"));
        }
        if self.stage == Stage::Settings && (head.kind != frame::SETTINGS || head.has(frame::ACK)) {
            return Err(Fault::protocol("the first frame is not SETTINGS"));
        }
        let is_expected = match &self.open_block {
            Some(block) => head.kind == frame::CONTINUATION && head.stream == block.id,
            None => head.kind != frame::CONTINUATION,
        };
        if is_expected {
            Ok(())
        } else {
            Err(Fault::protocol("header block interrupted, or continued without a start"))
        }
    }
}

impl<T: Default> Connection<T> {
    /// Handles the next frame of the input; `None` if the input holds no whole frame. The caller then passes
    /// the rest of the input again, with more behind it.
    ///
    /// It handles one frame only, so that the caller can stop between any two frames when
    /// [`Connection::take_cost`] says that a client has had its share of the processor.
    ///
    /// After an error the connection is over: the output, which ends with a GOAWAY, is to be written.
    pub fn next_event(&mut self, input: &mut Bytes, now: Instant) -> Result<Option<Event<T>>, Error> {
        self.keepalive.note_received(now);
        let outcome = match self.next_frame(input) {
            Ok(None) => return Ok(None),
            Ok(Some((head, payload))) => self.take_frame(head, payload, now),
            Err(fault) => Err(fault),
        };
        self.receiving.cost += FRAME_COST;
        let event = match outcome {
            Ok(event) => event,
            Err(Fault::Connection(error)) => return Err(self.break_off(error)),
            Err(Fault::Stream(id, code)) => self.fail_stream(id, code, now)?,
        };
        Ok(Some(event.unwrap_or(Event::Handled)))
    }

    fn next_frame(&mut self, input: &mut Bytes) -> Result<Option<(Head, Bytes)>, Fault> {
        if self.receiving.stage == Stage::Preface && !self.receiving.take_preface(input)? {
            return Ok(None);
        }
        let Some(head) = Head::read(input) else { return Ok(None) };
        self.receiving.check(head)?;
        if input.len() < HEAD_LEN + head.len {
            return Ok(None);
        }
        input.advance(HEAD_LEN);
        Ok(Some((head, input.split_to(head.len))))
    }

    fn take_frame(&mut self, head: Head, payload: Bytes, now: Instant) -> Outcome<T> {
        match head.kind {
            frame::DATA => self.data(head, payload, now),
            frame::HEADERS => self.headers(head, &payload, now),
            frame::CONTINUATION => self.continuation(head, &payload, now),
            frame::RST_STREAM => self.rst_stream(head, &payload, now),
            frame::WINDOW_UPDATE => self.window_update(head, &payload).map(|()| None),
            frame::SETTINGS => self.settings(head, &payload, now).map(|()| None),
            frame::PING => self.ping(head, &payload, now).map(|()| None),
            frame::PRIORITY => self.priority(head).map(|()| None),
            frame::GOAWAY => check_goaway(head).map(|()| None),
            frame::PUSH_PROMISE => Err(Fault::protocol("PUSH_PROMISE from a client")),
            // Unknown kinds are for extensions, which we do not have.
            _ => Ok(None),
        }
    }

    fn data(&mut self, head: Head, mut data: Bytes, now: Instant) -> Outcome<T> {
        let id = self.used_stream(head)?;
        let (start, end) = head.content(&data)?;
        data.truncate(end);
        data.advance(start);
        let whole_len = head.len as u32;
        if self.receiving.window.take(whole_len).is_err() {
            return Err(Fault::connection(Code::FlowControlError, "more DATA than the connection's window"));
        }
        let Some(stream) = self.streams.get_mut(id).filter(|stream| stream.is_receiving) else {
            self.release_connection(whole_len);
            return match self.streams.ending(id) {
                Some(Ended::ByUs) => Ok(None),
                _ => Err(Fault::Stream(id, Code::StreamClosed)),
            };
        };
        if stream.receive_window.take(whole_len).is_err() {
            self.release_connection(whole_len);
            return Err(Fault::Stream(id, Code::FlowControlError));
        }
        let is_end = head.has(frame::END_STREAM);
        stream.receive(data.len(), is_end).map_err(|code| Fault::Stream(id, code))?;
        if data.len() < head.len {
            self.release(id, head.len - data.len());
        }
        if data.is_empty() && !is_end {
            let is_allowed = self.receiving.empty_frames.allows(now);
            return if is_allowed { Ok(None) } else { Err(enhance_your_calm("too many empty DATA frames")) };
        }
        Ok(Some(Event::Data { id, data, is_end }))
    }

    fn headers(&mut self, head: Head, payload: &[u8], now: Instant) -> Outcome<T> {
        if head.stream.is_multiple_of(2) {
            return Err(Fault::protocol("HEADERS on a stream that no client can open"));
        }
        let (start, end) = head.content(payload)?;
        let (id, is_end, block) = (head.stream, head.has(frame::END_STREAM), &payload[start..end]);
        if head.has(frame::END_HEADERS) {
            return self.section(id, is_end, block, now);
        }
        self.receiving.open_block = Some(OpenBlock { id, is_end, bytes: block.to_vec(), continuations: 0 });
        Ok(None)
    }

    fn continuation(&mut self, head: Head, payload: &[u8], now: Instant) -> Outcome<T> {
        let Some(mut block) = self.receiving.open_block.take() else {
            return Err(Fault::protocol("CONTINUATION without a header block"));
        };
        block.continuations += 1;
        block.bytes.extend_from_slice(payload);
        if block.continuations > CONTINUATIONS_MAX || block.bytes.len() > HEADER_BLOCK_LEN_MAX {
            return Err(enhance_your_calm("header block too long"));
        }
        if head.has(frame::END_HEADERS) {
            return self.section(block.id, block.is_end, &block.bytes, now);
        }
        self.receiving.open_block = Some(block);
        Ok(None)
    }

    /// A whole header block: of a new request, or the trailers of one. Whatever becomes of it, it is
    /// decoded, to keep the compression in step.
    fn section(&mut self, id: StreamId, is_end: bool, block: &[u8], now: Instant) -> Outcome<T> {
        let lost = |_: hpack::Corrupt| Fault::connection(Code::CompressionError, "corrupt header block");
        if self.streams.is_idle(id) {
            let section = self.receiving.heads.request(block).map_err(lost)?;
            return self.request(id, is_end, section, now);
        }
        let trailers = self.receiving.heads.trailers(block).map_err(lost)?;
        match self.streams.get_mut(id) {
            Some(stream) if stream.is_receiving => {
                if trailers.is_err() || !is_end {
                    return Err(Fault::Stream(id, Code::ProtocolError));
                }
                stream.receive(0, true).map_err(|code| Fault::Stream(id, code))?;
                Ok(Some(Event::Data { id, data: Bytes::new(), is_end }))
            }
            Some(_) => Err(Fault::Stream(id, Code::StreamClosed)),
            None => match self.streams.ending(id) {
                Some(Ended::ByUs) => Ok(None),
                Some(Ended::ByBoth) => {
                    Err(Fault::connection(Code::StreamClosed, "HEADERS on a closed stream"))
                }
                None => Err(Fault::protocol("HEADERS on a stream passed over")),
            },
        }
    }

    fn request(&mut self, id: StreamId, is_end: bool, section: Section, now: Instant) -> Outcome<T> {
        if self.shutdown.excludes(id) {
            return Ok(None);
        }
        self.streams.use_number(id);
        if self.streams.len() >= self.config.concurrent_streams_max as usize {
            return Err(Fault::Stream(id, Code::RefusedStream));
        }
        let head = match section {
            Section::Request(head) => head,
            Section::Malformed => return Err(Fault::Stream(id, Code::ProtocolError)),
            Section::TooLong => return self.refuse_long_headers(id, is_end),
        };
        let window = self.sending.peer.initial_window;
        let mut stream = Stream::new(T::default(), window, head.content_len, now);
        if is_end {
            stream.receive(0, true).map_err(|code| Fault::Stream(id, code))?;
        }
        self.streams.insert(stream);
        Ok(Some(Event::Request { id, head, is_end }))
    }

    /// Answers with status 431 a request that the owner is not told of.
    fn refuse_long_headers(&mut self, id: StreamId, is_end: bool) -> Outcome<T> {
        let mut block = Vec::new();
        hpack::encode([(":status", &b"431"[..])], &mut block);
        self.sending.headers(id, &block, frame::END_STREAM);
        if is_end {
            self.streams.remember(id, Ended::ByBoth);
        } else {
            self.streams.remember(id, Ended::ByUs);
            frame::put_number(frame::RST_STREAM, id, Code::NoError as u32, self.sending.output.buffer());
        }
        Ok(None)
    }

    fn rst_stream(&mut self, head: Head, payload: &[u8], now: Instant) -> Outcome<T> {
        let id = self.used_stream(head)?;
        number(payload, "RST_STREAM of a wrong length")?;
        let Some(stream) = self.streams.get_mut(id) else { return Ok(None) };
        let is_rapid = now.saturating_duration_since(stream.opened_at) < SECOND && !stream.is_answered();
        if is_rapid && !self.receiving.resets.allows(now) {
            return Err(enhance_your_calm("too many rapid resets"));
        }
        Ok(self.remove(id, Ended::ByBoth).map(|owner| Event::StreamGone { owner }))
    }

    fn window_update(&mut self, head: Head, payload: &[u8]) -> Result<(), Fault> {
        let increment = number(payload, "WINDOW_UPDATE of a wrong length")? & !(1 << 31);
        if head.stream == 0 {
            let is_valid = increment > 0 && self.sending.window.grow(increment.into()).is_ok();
            let code = if increment == 0 { Code::ProtocolError } else { Code::FlowControlError };
            let fault = Fault::connection(code, "WINDOW_UPDATE by nothing or beyond the largest window");
            return if is_valid { Ok(()) } else { Err(fault) };
        }
        let id = self.used_stream(head)?;
        let Some(stream) = self.streams.get_mut(id) else { return Ok(()) };
        if increment == 0 {
            return Err(Fault::Stream(id, Code::ProtocolError));
        }
        let grown = stream.send_window.grow(increment.into());
        grown.map_err(|_| Fault::Stream(id, Code::FlowControlError))?;
        self.sending.make_ready(id, stream);
        Ok(())
    }

    fn settings(&mut self, head: Head, payload: &[u8], now: Instant) -> Result<(), Fault> {
        if head.stream != 0 {
            return Err(Fault::protocol("SETTINGS on a stream"));
        }
        if head.has(frame::ACK) {
            let fault = Fault::connection(Code::FrameSizeError, "acknowledgement with a payload");
            return if payload.is_empty() { Ok(()) } else { Err(fault) };
        }
        if !self.receiving.settings.allows(now) {
            return Err(enhance_your_calm("too many SETTINGS"));
        }
        self.receiving.stage = Stage::Frames;
        let before = self.sending.peer.initial_window;
        self.sending.peer.update(payload)?;
        self.shift_windows(i64::from(self.sending.peer.initial_window) - i64::from(before))?;
        Head { len: 0, kind: frame::SETTINGS, flags: frame::ACK, stream: 0 }
            .put(self.sending.output.buffer());
        Ok(())
    }

    /// A new initial window is a change of all windows that there are.
    fn shift_windows(&mut self, by: i64) -> Result<(), Fault> {
        if by == 0 {
            return Ok(());
        }
        self.receiving.cost += FRAME_COST * self.streams.len();
        let mut is_valid = true;
        let sending = &mut self.sending;
        self.streams.for_each_mut(|id, stream| {
            is_valid &= stream.send_window.grow(by).is_ok();
            sending.make_ready(id, stream);
        });
        let fault = Fault::connection(Code::FlowControlError, "INITIAL_WINDOW_SIZE overflows a window");
        if is_valid { Ok(()) } else { Err(fault) }
    }

    fn ping(&mut self, head: Head, payload: &[u8], now: Instant) -> Result<(), Fault> {
        if head.stream != 0 {
            return Err(Fault::protocol("PING on a stream"));
        }
        let wrong_len = |_| Fault::connection(Code::FrameSizeError, "PING of a wrong length");
        let data: [u8; 8] = payload.try_into().map_err(wrong_len)?;
        let out = self.sending.output.buffer();
        if head.has(frame::ACK) {
            self.shutdown.pong(data, self.streams.last(), out);
            return Ok(());
        }
        frame::put_ping(frame::ACK, data, out);
        if std::mem::take(&mut self.sending.has_sent) {
            self.keepalive.note_sent();
        }
        let has_streams = !self.streams.is_empty();
        // The text is grpc-go's, which clients react to.
        if self.keepalive.allows_ping(has_streams, now) {
            Ok(())
        } else {
            Err(enhance_your_calm("too_many_pings"))
        }
    }

    /// Priorities are ignored, but not broken frames.
    fn priority(&mut self, head: Head) -> Result<(), Fault> {
        match (head.stream, head.len) {
            (0, _) => Err(Fault::protocol("PRIORITY without a stream")),
            (_, 5) => Ok(()),
            (id, _) if self.streams.get_mut(id).is_some() => Err(Fault::Stream(id, Code::FrameSizeError)),
            _ => Err(Fault::connection(Code::FrameSizeError, "PRIORITY of a wrong length")),
        }
    }

    /// The stream of a frame that may come for streams that are, or were, open.
    fn used_stream(&self, head: Head) -> Result<StreamId, Fault> {
        if self.streams.is_idle(head.stream) && !self.shutdown.excludes(head.stream) {
            return Err(Fault::protocol("frame on an idle stream"));
        }
        Ok(head.stream)
    }

    /// Resets a stream for an error of the client.
    fn fail_stream(&mut self, id: StreamId, code: Code, now: Instant) -> Result<Option<Event<T>>, Error> {
        if !self.receiving.resets.allows(now) {
            let error = Error { code: Code::EnhanceYourCalm, reason: "too many stream errors" };
            return Err(self.break_off(error));
        }
        frame::put_number(frame::RST_STREAM, id, code as u32, self.sending.output.buffer());
        let owner = self.remove(id, Ended::ByUs);
        if owner.is_none() {
            self.streams.remember(id, Ended::ByUs);
        }
        Ok(owner.map(|owner| Event::StreamGone { owner }))
    }
}

fn enhance_your_calm(reason: &'static str) -> Fault {
    Fault::connection(Code::EnhanceYourCalm, reason)
}

/// The payload of a frame that is one number.
fn number(payload: &[u8], reason: &'static str) -> Result<u32, Fault> {
    let bytes = payload.try_into().map_err(|_| Fault::connection(Code::FrameSizeError, reason))?;
    Ok(u32::from_be_bytes(bytes))
}

fn check_goaway(head: Head) -> Result<(), Fault> {
    match (head.stream, head.len) {
        (0, 8..) => Ok(()),
        (0, _) => Err(Fault::connection(Code::FrameSizeError, "GOAWAY of a wrong length")),
        _ => Err(Fault::protocol("GOAWAY on a stream")),
    }
}
