//! Frames on their way to the client.
//!
//! A stream whose content does not fit the windows queues it. Streams that have content queued and room in
//! their own window form a queue too, and send one frame each in turn.

use std::collections::VecDeque;

use crate::StreamId;
use crate::flow::{SendWindow, WINDOW_DEFAULT};
use crate::frame::{self, Head};
use crate::hpack;
use crate::limits::{FRAME_COST, OUTPUT_LEN_MAX};
use crate::output::Output;
use crate::settings::PeerSettings;
use crate::stream::{Payload, Stream};
use crate::streams::Streams;

/// The sending half of a connection.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) output: Output,
    /// What the client grants to all streams together.
    pub(super) window: SendWindow,
    pub(super) peer: PeerSettings,
    /// Streams with content queued and room in their window; some may have ended since.
    ready: VecDeque<StreamId>,
    /// Memory of what all streams have queued, in bytes.
    pub(super) held: usize,
    /// Whether the client knows that its header table stays empty.
    has_disowned_table: bool,
    /// Whether HEADERS or DATA have been written since this was last taken.
    pub(super) has_sent: bool,
    /// Work done for frames and not yet reported by `Connection::take_cost`.
    pub(super) cost: usize,
}

impl Default for Sending {
    fn default() -> Self {
        Sending {
            output: Output::default(),
            window: SendWindow::new(WINDOW_DEFAULT),
            peer: PeerSettings::default(),
            ready: VecDeque::new(),
            held: 0,
            has_disowned_table: false,
            has_sent: false,
            cost: 0,
        }
    }
}

impl Sending {
    /// Appends a header block, in as many frames as it takes. `flags` may be `END_STREAM`.
    pub(super) fn headers(&mut self, id: StreamId, block: &[u8], flags: u8) {
        self.has_sent = true;
        let frame_len_max = self.peer.frame_len_max as usize;
        let needs_notice = self.peer.has_lowered_table && !self.has_disowned_table;
        if !needs_notice && block.len() <= frame_len_max {
            let flags = flags | frame::END_HEADERS;
            let out = self.output.buffer();
            Head { len: block.len(), kind: frame::HEADERS, flags, stream: id }.put(out);
            return out.extend_from_slice(block);
        }
        let notice: &[u8] = if needs_notice { &[hpack::NO_TABLE] } else { &[] };
        self.has_disowned_table |= needs_notice;
        self.long_headers(id, &[notice, block].concat(), flags);
    }

    fn long_headers(&mut self, id: StreamId, block: &[u8], flags: u8) {
        let mut parts = block.chunks(self.peer.frame_len_max as usize).peekable();
        let (mut kind, mut flags) = (frame::HEADERS, flags);
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                flags |= frame::END_HEADERS;
            }
            let out = self.output.buffer();
            Head { len: part.len(), kind, flags, stream: id }.put(out);
            out.extend_from_slice(part);
            (kind, flags) = (frame::CONTINUATION, 0);
        }
    }

    /// Appends content, or queues it if it does not fit at once. True if nothing is queued.
    pub(super) fn data<T>(&mut self, id: StreamId, stream: &mut Stream<T>, payload: Payload<'_>) -> bool {
        let len = payload.len();
        let room = self.window.room().min(stream.send_window.room()).min(self.peer.frame_len_max as usize);
        if len <= room
            && stream.queued_len == 0
            && self.ready.is_empty()
            && self.output.len() < OUTPUT_LEN_MAX
        {
            self.window.take(len);
            stream.send_window.take(len);
            self.data_head(id, len);
            self.output.buffer().extend_from_slice(payload.head);
            payload.chunks.iter().for_each(|chunk| self.output.push(chunk));
            return true;
        }
        self.held -= stream.held();
        stream.enqueue(payload);
        self.held += stream.held();
        self.make_ready(id, stream);
        false
    }

    /// Puts a stream at the end of the queue of those that can send, if it can.
    pub(super) fn make_ready<T>(&mut self, id: StreamId, stream: &mut Stream<T>) {
        if !stream.is_ready && stream.queued_len > 0 && stream.send_window.room() > 0 {
            stream.is_ready = true;
            self.ready.push_back(id);
        }
    }

    /// Lets streams send until one has nothing queued any more, and returns that one. `None` if the window
    /// of the connection or the output is full, or no stream can send.
    pub(super) fn send_ready<T>(&mut self, streams: &mut Streams<T>) -> Option<StreamId> {
        while self.output.len() < OUTPUT_LEN_MAX && self.window.room() > 0 {
            let id = self.ready.pop_front()?;
            // The stream may have ended since it was queued.
            let Some(stream) = streams.get_mut(id) else { continue };
            stream.is_ready = false;
            self.queued_data(id, stream);
            if stream.queued_len == 0 {
                return Some(id);
            }
            self.make_ready(id, stream);
        }
        None
    }

    /// Sends one frame of what a stream has queued.
    fn queued_data<T>(&mut self, id: StreamId, stream: &mut Stream<T>) {
        let room = self.window.room().min(stream.send_window.room()).min(self.peer.frame_len_max as usize);
        let mut len = room.min(stream.queued_len);
        if len == 0 {
            return;
        }
        self.window.take(len);
        stream.send_window.take(len);
        self.held -= stream.held();
        self.data_head(id, len);
        while len > 0
            && let Some(piece) = stream.dequeue(len)
        {
            len -= piece.len();
            self.output.push(&piece);
        }
        self.held += stream.held();
    }

    fn data_head(&mut self, id: StreamId, len: usize) {
        self.has_sent = true;
        self.cost += FRAME_COST;
        Head { len, kind: frame::DATA, flags: 0, stream: id }.put(self.output.buffer());
    }
}
