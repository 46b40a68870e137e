//! Each kind of frame, and what makes it an error (RFC 9113, §4 to §6).

use bytes::Buf;
use http2::Code;

use crate::wire::*;

/// Breaks a fresh connection that has stream 1 open by one frame.
#[track_caller]
fn breaks(kind: u8, flags: u8, stream: u32, payload: &[u8], code: Code) {
    let mut wire = Wire::open();
    wire.request(1);
    wire.frame(kind, flags, stream, payload);
    wire.assert_broken(code);
}

#[test]
fn server_begins_with_settings() {
    let mut wire = Wire::unopened();
    let frames = wire.frames();
    assert_eq!((frames[0].kind, frames[0].flags, frames[0].stream), (SETTINGS, 0, 0));
    assert_eq!((frames[1].kind, frames[1].stream), (WINDOW_UPDATE, 0));
}

#[test]
fn wrong_preface_is_refused() {
    let mut wire = Wire::unopened();
    wire.write(b"GET / HTTP/1.1\r\n");
    wire.assert_broken(Code::ProtocolError);
}

#[test]
fn preface_may_come_byte_by_byte() {
    let mut wire = Wire::unopened();
    for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" {
        wire.write(&[*byte]);
        assert!(wire.events().unwrap().is_empty());
    }
    wire.assert_alive();
}

#[test]
fn settings_come_first() {
    for (kind, flags) in [(PING, 0), (HEADERS, END_HEADERS), (SETTINGS, ACK)] {
        let mut wire = Wire::unopened();
        wire.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        wire.frame(kind, flags, 0, b"");
        wire.assert_broken(Code::ProtocolError);
    }
}

#[test]
fn unknown_frames_and_flags_are_ignored() {
    let mut wire = Wire::open();
    wire.frame(0xab, 0xff, 7, b"whatever");
    wire.frame(PING, 0xfe, 0, &[0; 8]);
    assert!(wire.events().unwrap().is_empty());
    wire.assert_alive();
}

#[test]
fn frame_longer_than_announced_is_an_error() {
    breaks(DATA, 0, 1, &[0; 16_385], Code::FrameSizeError);
    breaks(0xab, 0, 1, &[0; 16_385], Code::FrameSizeError);
}

#[test]
fn settings_are_acknowledged() {
    let mut wire = Wire::open();
    wire.setting(0xfff, 1);
    wire.events().unwrap();
    let frames = wire.frames();
    assert_eq!(frames.len(), 1);
    assert_eq!((frames[0].kind, frames[0].flags, frames[0].payload.len()), (SETTINGS, ACK, 0));
}

#[test]
fn broken_settings_break_the_connection() {
    breaks(SETTINGS, 0, 1, b"", Code::ProtocolError);
    breaks(SETTINGS, 0, 0, b"12345", Code::FrameSizeError);
    breaks(SETTINGS, ACK, 0, b"123456", Code::FrameSizeError);
    breaks(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2], Code::ProtocolError);
    breaks(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0], Code::FlowControlError);
    breaks(SETTINGS, 0, 0, &[0, 5, 0, 0, 0x3f, 0xff], Code::ProtocolError);
}

#[test]
fn ping_is_answered_with_its_bytes() {
    let mut wire = Wire::open();
    wire.frame(PING, 0, 0, b"12345678");
    wire.frame(PING, ACK, 0, b"whatever");
    wire.events().unwrap();
    let frames = wire.frames();
    assert_eq!(frames.len(), 1);
    assert_eq!((frames[0].kind, frames[0].flags, &frames[0].payload[..]), (PING, ACK, &b"12345678"[..]));
    breaks(PING, 0, 1, &[0; 8], Code::ProtocolError);
    breaks(PING, 0, 0, &[0; 7], Code::FrameSizeError);
}

#[test]
fn goaway_of_a_client_ends_nothing() {
    let mut wire = Wire::open();
    wire.request(1);
    wire.frame(GOAWAY, 0, 0, &[0; 8]);
    wire.request(3);
    assert_eq!(wire.events().unwrap().len(), 2);
    wire.assert_alive();
    breaks(GOAWAY, 0, 1, &[0; 8], Code::ProtocolError);
    breaks(GOAWAY, 0, 0, &[0; 7], Code::FrameSizeError);
}

#[test]
fn client_does_not_push() {
    breaks(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2], Code::ProtocolError);
}

#[test]
fn priority_is_ignored_but_checked() {
    let mut wire = Wire::open();
    wire.frame(PRIORITY, 0, 5, &[0; 5]);
    wire.frame(HEADERS, END_HEADERS | END_STREAM | 0x20, 1, &[&[0; 5], REQUEST].concat());
    assert_eq!(wire.events().unwrap().len(), 1);
    breaks(PRIORITY, 0, 0, &[0; 5], Code::ProtocolError);
    breaks(PRIORITY, 0, 3, &[0; 4], Code::FrameSizeError);
    let mut wire = Wire::open();
    wire.request(1);
    wire.frame(PRIORITY, 0, 1, &[0; 4]);
    wire.assert_reset(1, Code::FrameSizeError);
}

#[test]
fn frames_on_idle_streams_are_errors() {
    for stream in [3, 2] {
        breaks(DATA, 0, stream, b"x", Code::ProtocolError);
        breaks(RST_STREAM, 0, stream, &[0; 4], Code::ProtocolError);
        breaks(WINDOW_UPDATE, 0, stream, &[0, 0, 0, 1], Code::ProtocolError);
    }
    breaks(DATA, 0, 0, b"x", Code::ProtocolError);
    breaks(RST_STREAM, 0, 0, &[0; 4], Code::ProtocolError);
    breaks(HEADERS, END_HEADERS, 0, REQUEST, Code::ProtocolError);
    breaks(HEADERS, END_HEADERS, 2, REQUEST, Code::ProtocolError);
}

#[test]
fn broken_lengths_of_stream_frames_break_the_connection() {
    breaks(RST_STREAM, 0, 1, &[0; 3], Code::FrameSizeError);
    breaks(WINDOW_UPDATE, 0, 1, &[0; 5], Code::FrameSizeError);
    breaks(DATA, PADDED, 1, b"", Code::FrameSizeError);
    breaks(DATA, PADDED, 1, b"\x02x", Code::ProtocolError);
    breaks(HEADERS, END_HEADERS | 0x20, 3, b"1234", Code::FrameSizeError);
}

#[test]
fn header_block_is_not_interrupted() {
    for (kind, stream) in [(DATA, 1), (HEADERS, 3), (PING, 0), (CONTINUATION, 3), (0xab, 0), (PRIORITY, 3)] {
        let mut wire = Wire::open();
        wire.frame(HEADERS, 0, 1, REQUEST);
        wire.frame(kind, END_HEADERS, stream, &[0; 8]);
        wire.assert_broken(Code::ProtocolError);
    }
    breaks(CONTINUATION, END_HEADERS, 1, REQUEST, Code::ProtocolError);
}

#[test]
fn corrupt_header_block_breaks_the_connection() {
    breaks(HEADERS, END_HEADERS, 3, &[0x80], Code::CompressionError);
    // Trailers too.
    breaks(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff, 0xff], Code::CompressionError);
}

#[test]
fn window_of_the_connection_has_bounds() {
    breaks(WINDOW_UPDATE, 0, 0, &[0; 4], Code::ProtocolError);
    breaks(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff], Code::FlowControlError);
}

#[test]
fn window_of_a_stream_has_bounds() {
    let mut wire = Wire::open();
    wire.request(1);
    wire.frame(WINDOW_UPDATE, 0, 1, &[0; 4]);
    wire.assert_reset(1, Code::ProtocolError);
    wire.request(3);
    wire.frame(WINDOW_UPDATE, 0, 3, &[0x7f, 0xff, 0xff, 0xff]);
    wire.assert_reset(3, Code::FlowControlError);
    // What comes for a stream that has ended was sent in good faith.
    wire.frame(WINDOW_UPDATE, 0, 3, &[0, 0, 0, 1]);
    wire.frame(RST_STREAM, 0, 3, &[0; 4]);
    wire.events().unwrap();
    wire.assert_alive();
}

#[test]
fn raised_initial_window_may_overflow_a_stream() {
    let mut wire = Wire::open();
    wire.request(1);
    wire.frame(WINDOW_UPDATE, 0, 1, &(0x7fff_ffff_u32 - 65_535).to_be_bytes());
    wire.events().unwrap();
    wire.setting(4, 65_536);
    wire.assert_broken(Code::FlowControlError);
}

#[test]
fn error_tells_the_last_stream() {
    let mut wire = Wire::open();
    wire.request(7);
    wire.frame(PING, 0, 7, &[0; 8]);
    wire.events().unwrap_err();
    assert_eq!(wire.frames_of(GOAWAY)[0].payload.slice(..4).get_u32(), 7);
}
