//! The connection: what its owner calls. Frames received are in `receive`, frames sent in `send`.

mod receive;
mod send;

use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;

use self::receive::Receiving;
use self::send::Sending;
use crate::error::{Code, Error};
use crate::head::Head;
use crate::keepalive::{Due, Keepalive, Policy};
use crate::limits::{
    CONNECTION_WINDOW, HEADER_LIST_LEN_MAX, OUTPUT_LEN_MAX, QUEUED_LEN_MAX, QUEUED_PIECES_LEN_MAX,
    STREAM_WINDOW,
};
use crate::output::Output;
use crate::shutdown::Shutdown;
use crate::stream::Payload;
use crate::streams::{Ended, Streams};
use crate::{StreamId, frame, settings};

/// What the owner of a connection decides.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Streams open at the same time; more are refused and may be retried. `u32::MAX` is no limit.
    pub concurrent_streams_max: u32,
    /// Pings, in both directions.
    pub keepalive: Policy,
}

/// What a client did.
#[derive(Debug)]
pub enum Event<T> {
    /// It opened a stream. `is_end` if there will be no DATA.
    Request {
        /// The new stream.
        id: StreamId,
        /// What it asks for.
        head: Rc<Head>,
        /// Whether the client has said everything.
        is_end: bool,
    },
    /// It sent content, to be given back by [`Connection::release`]. Empty only at the end.
    Data {
        /// A stream that is open.
        id: StreamId,
        /// The content, without padding; shares the memory of the input.
        data: Bytes,
        /// Whether the client has said everything.
        is_end: bool,
    },
    /// The stream is no more: reset by the client, or by us for an error of the client.
    StreamGone {
        /// What the owner had put there.
        owner: T,
    },
    /// It sent a frame that is dealt with already, such as a PING.
    Handled,
}

/// A connection with a client. `T` is what the owner keeps of each stream.
#[derive(Debug)]
pub struct Connection<T> {
    config: Config,
    streams: Streams<T>,
    receiving: Receiving,
    sending: Sending,
    keepalive: Keepalive,
    shutdown: Shutdown,
}

impl<T: Default> Connection<T> {
    /// A connection of which nothing has been read, not even the preface. Our settings are in the output.
    pub fn new(config: Config, now: Instant) -> Connection<T> {
        let mut sending = Sending::default();
        let out = sending.output.buffer();
        settings::put(config.concurrent_streams_max, STREAM_WINDOW, HEADER_LIST_LEN_MAX as u32, out);
        let grant = CONNECTION_WINDOW - crate::flow::WINDOW_DEFAULT;
        frame::put_number(frame::WINDOW_UPDATE, 0, grant, out);
        Connection {
            config,
            streams: Streams::default(),
            receiving: Receiving::new(now),
            sending,
            keepalive: Keepalive::new(config.keepalive, now),
            shutdown: Shutdown::default(),
        }
    }

    /// What the owner keeps of a stream; nothing once the stream is gone.
    pub fn owner(&mut self, id: StreamId) -> Option<&mut T> {
        self.streams.get_mut(id).map(|stream| &mut stream.owner)
    }

    /// Gives back the room that `len` bytes of content took.
    pub fn release(&mut self, id: StreamId, len: usize) {
        let len = len as u32;
        let Some(stream) = self.streams.get_mut(id) else { return };
        if let Some(grant) = stream.receive_window.release(len)
            && stream.is_receiving
        {
            frame::put_number(frame::WINDOW_UPDATE, id, grant, self.sending.output.buffer());
        }
        self.release_connection(len);
    }

    /// Sends the header block that begins a response. Nothing happens if the stream is gone, here as below.
    pub fn send_headers(&mut self, id: StreamId, block: &[u8]) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        stream.is_answering = true;
        self.sending.headers(id, block, 0);
    }

    /// Sends content, or queues what the windows do not take. True if all of it is in the output.
    pub fn send_data(&mut self, id: StreamId, payload: Payload<'_>) -> bool {
        let Some(stream) = self.streams.get_mut(id) else { return true };
        self.sending.data(id, stream, payload)
    }

    /// Ends the response with a header block, which waits until what is queued is sent.
    pub fn send_end(&mut self, id: StreamId, block: &[u8]) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        if stream.queued_len > 0 {
            stream.trailers = Some(block.to_vec());
            return;
        }
        self.end(id, block);
    }

    /// A whole response: headers, content, and the header block that ends it.
    pub fn respond(&mut self, id: StreamId, headers: &[u8], payload: Payload<'_>, end: &[u8]) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        self.sending.headers(id, headers, 0);
        if self.sending.data(id, stream, payload) {
            self.end(id, end);
        } else {
            stream.trailers = Some(end.to_vec());
        }
    }

    /// Gives a stream up.
    pub fn reset(&mut self, id: StreamId, code: Code) {
        if self.remove(id, Ended::ByUs).is_some() {
            frame::put_number(frame::RST_STREAM, id, code as u32, self.sending.output.buffer());
        }
    }

    /// Moves queued content to the output as far as windows and the output's limit allow. `on_sent` gets the
    /// owner of each stream that has nothing queued any more and is not ended.
    pub fn fill_output(&mut self, mut on_sent: impl FnMut(&mut T)) {
        while let Some(id) = self.sending.send_ready(&mut self.streams) {
            let Some(stream) = self.streams.get_mut(id) else { continue };
            match stream.trailers.take() {
                Some(block) => self.end(id, &block),
                None => on_sent(&mut stream.owner),
            }
        }
    }

    /// The work done since the last call, by receiving and by sending: as much as copying so many bytes.
    ///
    /// Each frame counts, and header blocks count by the fields that come out of them. Bytes of DATA and of
    /// the output do not: the owner sees them pass.
    pub fn take_cost(&mut self) -> usize {
        self.receiving.take_cost() + std::mem::take(&mut self.sending.cost)
    }

    /// What is to be written.
    pub fn output(&mut self) -> &mut Output {
        &mut self.sending.output
    }

    /// Whether the client has taken enough of the output for its next bytes to be read.
    pub fn wants_input(&self) -> bool {
        self.sending.output.len() < OUTPUT_LEN_MAX
    }

    /// Whether so many answers wait for the client that new requests should wait too.
    pub fn is_congested(&self) -> bool {
        self.sending.held + self.sending.output.len() >= QUEUED_LEN_MAX
    }

    /// Whether so few answers wait for the client that a piece may be added to a long one.
    pub fn has_room_for_piece(&self) -> bool {
        self.sending.held + self.sending.output.len() < QUEUED_PIECES_LEN_MAX
    }

    /// Tells the client to open no more streams. Those that are open, or on their way, are served.
    pub fn shut_down(&mut self, now: Instant) {
        self.shutdown.announce(now, self.sending.output.buffer());
    }

    /// Whether a shutdown is complete but for the output.
    pub fn is_done(&self) -> bool {
        matches!(self.shutdown, Shutdown::Final { .. }) && self.streams.is_empty()
    }

    /// When [`Connection::tick`] is due.
    pub fn deadline(&self) -> Instant {
        let keepalive = self.keepalive.deadline();
        self.shutdown.deadline().map_or(keepalive, |at| at.min(keepalive))
    }

    /// Does what the time asks for. False if the client is gone: it has not answered a ping.
    pub fn tick(&mut self, now: Instant) -> bool {
        self.shutdown.tick(now, self.streams.last(), self.sending.output.buffer());
        match self.keepalive.due(now) {
            Due::Nothing => true,
            Due::Ping => {
                frame::put_ping(0, [0; 8], self.sending.output.buffer());
                true
            }
            Due::Close => false,
        }
    }

    /// Gives up all streams without telling the client, which is gone; returns their owners.
    pub fn abandon(&mut self) -> impl Iterator<Item = T> {
        self.streams.drain().map(|stream| stream.owner)
    }

    fn end(&mut self, id: StreamId, block: &[u8]) {
        self.sending.headers(id, block, frame::END_STREAM);
        let is_receiving = self.streams.get_mut(id).is_some_and(|stream| stream.is_receiving);
        if is_receiving {
            self.reset(id, Code::NoError);
        } else {
            self.remove(id, Ended::ByBoth);
        }
    }

    /// Takes a stream away, with all that it held.
    fn remove(&mut self, id: StreamId, ended: Ended) -> Option<T> {
        let stream = self.streams.remove(id, ended)?;
        self.sending.held -= stream.held();
        self.release_connection(stream.receive_window.held());
        Some(stream.owner)
    }

    fn release_connection(&mut self, len: u32) {
        if let Some(grant) = self.receiving.window.release(len) {
            frame::put_number(frame::WINDOW_UPDATE, 0, grant, self.sending.output.buffer());
        }
    }

    fn break_off(&mut self, error: Error) -> Error {
        let last = self.streams.last();
        frame::put_goaway(last, error.code, error.reason.as_bytes(), self.sending.output.buffer());
        error
    }
}
