//! A client made of bytes: it can say anything, and sees every frame that comes back.

use std::io::IoSlice;
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http2::{Code, Config, Connection, Error, Event, Policy, StreamId};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 0x1;
pub(crate) const ACK: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;
pub(crate) const PADDED: u8 = 0x8;

/// POST http /x
pub(crate) const REQUEST: &[u8] = b"\x83\x86\x04\x02/x";

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame that the server sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: StreamId,
    pub(crate) payload: Bytes,
}

/// A server's connection with the bytes in flight to it.
pub(crate) struct Wire {
    pub(crate) connection: Connection<()>,
    pub(crate) now: Instant,
    input: BytesMut,
}

impl Wire {
    /// A connection past the exchange of settings.
    pub(crate) fn open() -> Wire {
        Wire::open_for(100)
    }

    /// The same with room for so many streams.
    pub(crate) fn open_for(concurrent_streams_max: u32) -> Wire {
        let mut wire = Wire::unopened_for(concurrent_streams_max);
        wire.write(PREFACE);
        wire.frame(SETTINGS, 0, 0, b"");
        wire.events().unwrap();
        wire.frames();
        wire
    }

    /// A connection that has received nothing.
    pub(crate) fn unopened() -> Wire {
        Wire::unopened_for(100)
    }

    fn unopened_for(concurrent_streams_max: u32) -> Wire {
        let keepalive = Policy {
            min_interval: Duration::from_secs(5),
            ping_after: Duration::from_secs(7200),
            ping_timeout: Duration::from_secs(20),
        };
        let now = Instant::now();
        let connection = Connection::new(Config { concurrent_streams_max, keepalive }, now);
        Wire { connection, now, input: BytesMut::new() }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    pub(crate) fn frame(&mut self, kind: u8, flags: u8, stream: StreamId, payload: &[u8]) {
        self.input.put_uint(payload.len() as u64, 3);
        self.input.put_u8(kind);
        self.input.put_u8(flags);
        self.input.put_u32(stream);
        self.input.extend_from_slice(payload);
    }

    /// Opens a stream that goes on with DATA.
    pub(crate) fn request(&mut self, stream: StreamId) {
        self.frame(HEADERS, END_HEADERS, stream, REQUEST);
    }

    pub(crate) fn setting(&mut self, name: u16, value: u32) {
        self.frame(SETTINGS, 0, 0, &[&name.to_be_bytes()[..], &value.to_be_bytes()].concat());
    }

    /// Lets the server look at what was written.
    pub(crate) fn events(&mut self) -> Result<Vec<Event<()>>, Error> {
        let mut events = Vec::new();
        let mut input = std::mem::take(&mut self.input).freeze();
        while let Some(event) = self.connection.next_event(&mut input, self.now)? {
            if !matches!(event, Event::Handled) {
                events.push(event);
            }
        }
        self.input = BytesMut::from(&input[..]);
        Ok(events)
    }

    /// The same, but counts the frames.
    pub(crate) fn handle_all(&mut self) -> usize {
        let mut input = std::mem::take(&mut self.input).freeze();
        let mut n_frames = 0;
        while self.connection.next_event(&mut input, self.now).unwrap().is_some() {
            n_frames += 1;
        }
        n_frames
    }

    /// Takes what the server has written since the last time.
    pub(crate) fn frames(&mut self) -> Vec<Frame> {
        self.connection.fill_output(|()| {});
        let mut bytes = self.bytes();
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            let len = bytes.get_uint(3) as usize;
            let (kind, flags, stream) = (bytes.get_u8(), bytes.get_u8(), bytes.get_u32());
            frames.push(Frame { kind, flags, stream, payload: bytes.split_to(len) });
        }
        frames
    }

    /// The same of one kind only.
    pub(crate) fn frames_of(&mut self, kind: u8) -> Vec<Frame> {
        self.frames().into_iter().filter(|frame| frame.kind == kind).collect()
    }

    fn bytes(&mut self) -> Bytes {
        let mut bytes = BytesMut::new();
        let output = self.connection.output();
        while !output.is_empty() {
            let mut slices = [IoSlice::new(&[]); 4];
            let n = output.slices(&mut slices);
            let before = bytes.len();
            slices[..n].iter().for_each(|slice| bytes.extend_from_slice(slice));
            output.advance(bytes.len() - before);
        }
        bytes.freeze()
    }

    /// What was written must break the connection, which a GOAWAY says last.
    #[track_caller]
    pub(crate) fn assert_broken(&mut self, code: Code) {
        let error = self.events().expect_err("the connection should be broken");
        assert_eq!(error.code, code, "{error}");
        let last = self.frames().pop().unwrap();
        assert_eq!((last.kind, last.payload.slice(4..8).get_u32()), (GOAWAY, code as u32));
        assert_eq!(last.payload[8..], *error.reason.as_bytes());
    }

    /// What was written must reset the stream and harm nothing else.
    #[track_caller]
    pub(crate) fn assert_reset(&mut self, stream: StreamId, code: Code) {
        self.events().unwrap();
        let resets: Vec<_> = self
            .frames_of(RST_STREAM)
            .into_iter()
            .map(|mut frame| (frame.stream, frame.payload.get_u32()))
            .collect();
        assert_eq!(resets, [(stream, code as u32)]);
        self.assert_alive();
    }

    #[track_caller]
    pub(crate) fn assert_alive(&mut self) {
        self.frame(SETTINGS, 0, 0, b"");
        self.events().unwrap();
        let acks = self.frames_of(SETTINGS);
        assert!(acks.iter().any(|frame| frame.flags == ACK));
    }
}

/// The content of all DATA among the events.
pub(crate) fn content(events: Vec<Event<()>>) -> Vec<u8> {
    let chunks = events.into_iter().filter_map(|event| match event {
        Event::Data { data, .. } => Some(data),
        _ => None,
    });
    chunks.flatten().collect()
}

/// Whether a stream was taken away.
pub(crate) fn is_gone(events: &[Event<()>]) -> bool {
    events.iter().any(|event| matches!(event, Event::StreamGone { .. }))
}
