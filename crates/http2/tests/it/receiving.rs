//! Requests: their states, their content and its windows (RFC 9113, §5 and §8).

use bytes::Buf;
use http2::limits::{CONNECTION_WINDOW, STREAM_WINDOW};
use http2::{Code, Event};

use crate::wire::*;

const FRAME: [u8; 16_384] = [0; 16_384];

#[test]
fn request_arrives_with_its_content() {
    let mut wire = Wire::open();
    wire.request(1);
    wire.frame(DATA, PADDED, 1, b"\x03abc\0\0\0");
    wire.frame(DATA, END_STREAM, 1, b"def");
    let events = wire.events().unwrap();
    let Event::Request { id: 1, head, is_end: false } = &events[0] else { panic!("{events:?}") };
    assert_eq!((&head.method[..], &head.path[..]), (&b"POST"[..], &b"/x"[..]));
    assert!(matches!(&events[2], Event::Data { is_end: true, .. }));
    assert_eq!(content(events), b"abcdef");
}

#[test]
fn any_split_of_the_bytes_means_the_same() {
    let mut whole = Wire::open();
    whole.frame(HEADERS, 0, 1, &REQUEST[..3]);
    whole.frame(CONTINUATION, END_HEADERS, 1, &REQUEST[3..]);
    whole.frame(DATA, END_STREAM, 1, b"content");
    let expected = format!("{:?}", whole.events().unwrap());
    let bytes = [
        &[0, 0, 3, HEADERS, 0, 0, 0, 0, 1][..],
        &REQUEST[..3],
        &[0, 0, 3, CONTINUATION, END_HEADERS, 0, 0, 0, 1],
        &REQUEST[3..],
        &[0, 0, 7, DATA, END_STREAM, 0, 0, 0, 1],
        b"content",
    ]
    .concat();
    for step in 1..bytes.len() {
        let mut wire = Wire::open();
        let mut events = Vec::new();
        for part in bytes.chunks(step) {
            wire.write(part);
            events.extend(wire.events().unwrap());
        }
        assert_eq!(format!("{events:?}"), expected, "in steps of {step}");
    }
}

#[test]
fn trailers_end_a_request() {
    let mut wire = Wire::open();
    wire.request(1);
    wire.frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x00\x01a\x01b");
    let events = wire.events().unwrap();
    assert!(matches!(&events[1], Event::Data { data, is_end: true, .. } if data.is_empty()));
}

#[test]
fn trailers_that_do_not_end_or_are_malformed_reset() {
    for (flags, block) in [(END_HEADERS, &b"\x00\x01a\x01b"[..]), (END_HEADERS | END_STREAM, b"\x84")] {
        let mut wire = Wire::open();
        wire.request(1);
        wire.frame(HEADERS, flags, 1, block);
        wire.assert_reset(1, Code::ProtocolError);
    }
}

#[test]
fn malformed_request_is_reset_and_nobody_sees_it() {
    let mut wire = Wire::open();
    // No path; then an upper-case name; then content-length with nothing behind it.
    wire.frame(HEADERS, END_HEADERS, 1, b"\x83\x86");
    assert!(wire.events().unwrap().is_empty());
    wire.assert_reset(1, Code::ProtocolError);
    wire.frame(HEADERS, END_HEADERS, 3, &[REQUEST, b"\x00\x01A\x01b"].concat());
    wire.assert_reset(3, Code::ProtocolError);
    wire.frame(HEADERS, END_HEADERS | END_STREAM, 5, &[REQUEST, b"\x0f\x0d\x011"].concat());
    wire.assert_reset(5, Code::ProtocolError);
}

#[test]
fn content_shorter_or_longer_than_announced_resets() {
    for (part, flags) in [(&b"ab"[..], 0), (b"", END_STREAM)] {
        let mut wire = Wire::open();
        wire.frame(HEADERS, END_HEADERS, 1, &[REQUEST, b"\x0f\x0d\x011"].concat());
        wire.frame(DATA, flags, 1, part);
        wire.assert_reset(1, Code::ProtocolError);
    }
}

#[test]
fn numbers_of_streams_only_grow() {
    let mut wire = Wire::open();
    wire.request(5);
    wire.request(3);
    wire.assert_broken(Code::ProtocolError);
}

#[test]
fn nothing_follows_the_end_of_a_request() {
    for (kind, payload) in [(DATA, &b"x"[..]), (HEADERS, REQUEST)] {
        let mut wire = Wire::open();
        wire.frame(HEADERS, END_HEADERS | END_STREAM, 1, REQUEST);
        wire.frame(kind, END_HEADERS | END_STREAM, 1, payload);
        wire.assert_reset(1, Code::StreamClosed);
    }
}

#[test]
fn stream_that_a_client_reset_is_closed() {
    let mut wire = Wire::open();
    wire.request(1);
    wire.frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes());
    assert!(is_gone(&wire.events().unwrap()));
    wire.frame(DATA, 0, 1, b"x");
    wire.assert_reset(1, Code::StreamClosed);
    wire.request(3);
    wire.frame(RST_STREAM, 0, 3, &8_u32.to_be_bytes());
    wire.request(3);
    wire.assert_broken(Code::StreamClosed);
}

#[test]
fn frames_that_cross_our_reset_are_ignored() {
    let mut wire = Wire::open();
    wire.request(1);
    wire.events().unwrap();
    wire.connection.reset(1, Code::Cancel);
    wire.frames();
    wire.frame(DATA, 0, 1, b"x");
    wire.frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x00\x01a\x01b");
    wire.frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]);
    wire.frame(RST_STREAM, 0, 1, &[0; 4]);
    assert!(wire.events().unwrap().is_empty());
    assert_eq!(wire.frames(), []);
}

#[test]
fn streams_over_the_limit_are_refused() {
    let mut wire = Wire::open();
    for stream in (1..=201).step_by(2) {
        wire.request(stream);
    }
    assert_eq!(wire.events().unwrap().len(), 100);
    wire.frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes());
    wire.request(203);
    assert_eq!(wire.events().unwrap().len(), 2);
    let resets = wire.frames_of(RST_STREAM);
    assert_eq!(resets.len(), 1);
    assert_eq!((resets[0].stream, resets[0].payload.clone().get_u32()), (201, Code::RefusedStream as u32));
}

#[test]
fn window_of_a_stream_is_enforced_and_given_back() {
    let mut wire = Wire::open();
    wire.request(1);
    for _ in 0..STREAM_WINDOW as usize / FRAME.len() {
        wire.frame(DATA, 0, 1, &FRAME);
    }
    assert_eq!(content(wire.events().unwrap()).len(), STREAM_WINDOW as usize);
    wire.connection.release(1, STREAM_WINDOW as usize / 2 - 1);
    assert_eq!(wire.frames(), []);
    wire.connection.release(1, 1);
    let frames = wire.frames();
    assert_eq!(frames.len(), 1);
    assert_eq!((frames[0].kind, frames[0].stream), (WINDOW_UPDATE, 1));
    assert_eq!(frames[0].payload.clone().get_u32(), STREAM_WINDOW / 2);
    for _ in 0..STREAM_WINDOW as usize / 2 / FRAME.len() {
        wire.frame(DATA, 0, 1, &FRAME);
    }
    wire.events().unwrap();
    wire.frame(DATA, 0, 1, b"x");
    wire.assert_reset(1, Code::FlowControlError);
}

#[test]
fn window_of_the_connection_is_enforced() {
    let mut wire = Wire::open();
    let frames_per_stream = STREAM_WINDOW as usize / FRAME.len();
    let streams = CONNECTION_WINDOW / STREAM_WINDOW;
    for stream in 0..streams {
        wire.request(2 * stream + 1);
        for _ in 0..frames_per_stream {
            wire.frame(DATA, 0, 2 * stream + 1, &FRAME);
        }
    }
    wire.request(2 * streams + 1);
    wire.frame(DATA, 0, 2 * streams + 1, b"x");
    wire.assert_broken(Code::FlowControlError);
}

#[test]
fn streams_that_end_give_back_what_they_held() {
    let mut wire = Wire::open();
    for stream in (1..200).step_by(2) {
        wire.request(stream);
        for _ in 0..8 {
            wire.frame(DATA, 0, stream, &FRAME);
        }
        // Padding counts, and so does DATA on a stream that is gone.
        wire.frame(DATA, PADDED, stream, &[&[255], &[0; 300][..]].concat());
        wire.frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
        wire.frame(DATA, 0, stream, &FRAME);
        wire.events().unwrap();
    }
    let granted: u32 = wire
        .frames_of(WINDOW_UPDATE)
        .into_iter()
        .filter(|frame| frame.stream == 0)
        .map(|mut frame| frame.payload.get_u32())
        .sum();
    assert!(granted > 100 * 9 * FRAME.len() as u32 - CONNECTION_WINDOW);
}
