//! Frames as they are on the wire (RFC 9113, §4 and §6): the head that each has, and padding.

use crate::StreamId;
use crate::error::{Code, Error};

/// Bytes of a frame's head: length, kind, flags, stream.
pub const HEAD_LEN: usize = 9;

/// What every client sends first (RFC 9113, §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A part of a body.
pub const DATA: u8 = 0;
/// The start of a header block.
pub const HEADERS: u8 = 1;
/// Advice that RFC 9113 allows to ignore.
pub const PRIORITY: u8 = 2;
/// The end of a stream before its time.
pub const RST_STREAM: u8 = 3;
/// What the sender allows, or that it has seen what the other does.
pub const SETTINGS: u8 = 4;
/// A request that a server makes in the client's place.
pub const PUSH_PROMISE: u8 = 5;
/// A question whether anybody is there, or the answer.
pub const PING: u8 = 6;
/// The end of the connection.
pub const GOAWAY: u8 = 7;
/// Leave to send more.
pub const WINDOW_UPDATE: u8 = 8;
/// More of a header block.
pub const CONTINUATION: u8 = 9;

/// Of DATA and HEADERS: nothing follows.
pub const END_STREAM: u8 = 0x1;
/// Of SETTINGS and PING: this is the answer.
pub const ACK: u8 = 0x1;
/// Of HEADERS and CONTINUATION: the header block is complete.
pub const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const WITH_PRIORITY: u8 = 0x20;

/// Bytes of the priority fields, which are skipped.
const PRIORITY_LEN: usize = 5;

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes that follow.
    pub len: usize,
    /// [`DATA`] or one of its like.
    pub kind: u8,
    /// [`END_STREAM`] and its like; each kind knows some of them.
    pub flags: u8,
    /// The stream, or 0 for the connection.
    pub stream: StreamId,
}

impl Head {
    /// Reads the head that `bytes` begin with, if it is complete.
    pub fn read(bytes: &[u8]) -> Option<Head> {
        let [a, b, c, kind, flags, stream @ ..] = *bytes.first_chunk::<HEAD_LEN>()?;
        let len = u32::from_be_bytes([0, a, b, c]) as usize;
        let stream = u32::from_be_bytes(stream) & !(1 << 31);
        Some(Head { len, kind, flags, stream })
    }

    /// Appends it.
    pub fn put(self, out: &mut Vec<u8>) {
        let Head { len, kind, flags, stream } = self;
        let [_, a, b, c] = (len as u32).to_be_bytes();
        let [d, e, f, g] = stream.to_be_bytes();
        out.extend_from_slice(&[a, b, c, kind, flags, d, e, f, g]);
    }

    /// Whether `flag` is set.
    pub fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The part of the payload of a DATA or HEADERS frame that is neither padding nor priority: its start
    /// and its end.
    pub fn content(self, payload: &[u8]) -> Result<(usize, usize), Error> {
        let too_short = || Error { code: Code::FrameSizeError, reason: "frame too short for its flags" };
        let (mut start, mut end) = (0, payload.len());
        if self.has(PADDED) {
            let padding = *payload.first().ok_or_else(too_short)?;
            start = 1;
            end = end.checked_sub(padding.into()).ok_or(TOO_MUCH_PADDING)?;
        }
        if self.kind == HEADERS && self.has(WITH_PRIORITY) {
            start += PRIORITY_LEN;
        }
        if start > payload.len() {
            Err(too_short())
        } else if start > end {
            Err(TOO_MUCH_PADDING)
        } else {
            Ok((start, end))
        }
    }
}

const TOO_MUCH_PADDING: Error = Error { code: Code::ProtocolError, reason: "padding longer than the frame" };

/// Appends a frame whose payload is four bytes: RST_STREAM or WINDOW_UPDATE.
pub fn put_number(kind: u8, stream: StreamId, number: u32, out: &mut Vec<u8>) {
    Head { len: 4, kind, flags: 0, stream }.put(out);
    out.extend_from_slice(&number.to_be_bytes());
}

/// Appends a PING.
pub fn put_ping(flags: u8, data: [u8; 8], out: &mut Vec<u8>) {
    Head { len: data.len(), kind: PING, flags, stream: 0 }.put(out);
    out.extend_from_slice(&data);
}

/// Appends a GOAWAY.
pub(crate) fn put_goaway(last: StreamId, code: Code, debug: &[u8], out: &mut Vec<u8>) {
    Head { len: 8 + debug.len(), kind: GOAWAY, flags: 0, stream: 0 }.put(out);
    out.extend_from_slice(&last.to_be_bytes());
    out.extend_from_slice(&(code as u32).to_be_bytes());
    out.extend_from_slice(debug);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_survives_and_the_reserved_bit_is_ignored() {
        let head = Head { len: 0x01_0203, kind: 4, flags: 5, stream: 0x0607_0809 };
        let mut bytes = Vec::new();
        head.put(&mut bytes);
        assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        bytes[5] |= 0x80;
        assert_eq!(Head::read(&bytes), Some(head));
        assert_eq!(Head::read(&bytes[..8]), None);
    }

    #[test]
    fn padding_and_priority_are_cut_off() {
        let content = |kind, flags, payload: &[u8]| {
            Head { len: payload.len(), kind, flags, stream: 1 }.content(payload).ok()
        };
        assert_eq!(content(DATA, 0, b"data"), Some((0, 4)));
        assert_eq!(content(DATA, PADDED, b"\x02data\0\0"), Some((1, 5)));
        assert_eq!(content(HEADERS, PADDED | WITH_PRIORITY, b"\x01.....h\0"), Some((6, 7)));
        assert_eq!(content(DATA, PADDED, b"\x01\0"), Some((1, 1)));
        assert_eq!(content(DATA, PADDED, b"\x02\0"), None);
        assert_eq!(content(DATA, PADDED, b""), None);
        assert_eq!(content(HEADERS, WITH_PRIORITY, b"...."), None);
    }
}
