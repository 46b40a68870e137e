//! Answers: frames in one piece, windows, turns, and the end of a stream.

use bytes::{Buf, Bytes};
use http2::limits::{OUTPUT_LEN_MAX, QUEUED_LEN_MAX};
use http2::{Code, Payload, hpack};

use crate::wire::*;

const HEAD: &[u8] = &[0x88];

fn payload(chunks: &[Bytes]) -> Payload<'_> {
    Payload { head: b"", chunks }
}

/// Opens stream 1 to its end.
fn asked() -> Wire {
    let mut wire = Wire::open();
    wire.frame(HEADERS, END_HEADERS | END_STREAM, 1, REQUEST);
    wire.events().unwrap();
    wire
}

/// Opens streams 1 and 3 to their end; their windows are no limit.
fn both_asked() -> Wire {
    let mut wire = Wire::open();
    wire.setting(4, 1 << 20);
    for stream in [1, 3] {
        wire.frame(HEADERS, END_HEADERS | END_STREAM, stream, REQUEST);
    }
    wire.events().unwrap();
    wire
}

fn kinds(frames: &[Frame]) -> Vec<(u8, u8)> {
    frames.iter().map(|frame| (frame.kind, frame.flags)).collect()
}

fn data(frames: &[Frame]) -> Vec<u8> {
    frames.iter().filter(|frame| frame.kind == DATA).flat_map(|frame| frame.payload.clone()).collect()
}

#[test]
fn whole_answer_is_three_frames() {
    let mut wire = asked();
    let chunks = [Bytes::from_static(b"cd"), Bytes::from(vec![1; 8000])];
    wire.connection.respond(1, HEAD, Payload { head: b"ab", chunks: &chunks }, b"\x00\x01a\x01b");
    let frames = wire.frames();
    assert_eq!(kinds(&frames), [(HEADERS, END_HEADERS), (DATA, 0), (HEADERS, END_HEADERS | END_STREAM)]);
    assert_eq!(data(&frames), [b"abcd", &[1; 8000][..]].concat());
    assert!(wire.connection.owner(1).is_none());
}

#[test]
fn answer_before_the_end_of_the_request_tells_the_client_to_stop() {
    let mut wire = Wire::open();
    wire.request(1);
    wire.events().unwrap();
    wire.connection.send_end(1, HEAD);
    let frames = wire.frames();
    assert_eq!(kinds(&frames), [(HEADERS, END_HEADERS | END_STREAM), (RST_STREAM, 0)]);
    assert_eq!(frames[1].payload.clone().get_u32(), Code::NoError as u32);
    // What the client had sent meanwhile is no error.
    wire.frame(DATA, END_STREAM, 1, b"late");
    assert!(wire.events().unwrap().is_empty());
    assert_eq!(wire.frames(), []);
}

#[test]
fn content_waits_for_the_window_of_the_stream() {
    let mut wire = Wire::open();
    wire.setting(4, 10);
    wire.frame(HEADERS, END_HEADERS | END_STREAM, 1, REQUEST);
    wire.events().unwrap();
    wire.connection.respond(1, HEAD, payload(&[Bytes::from(vec![1; 25])]), HEAD);
    assert_eq!(data(&wire.frames()).len(), 10);
    wire.frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 5]);
    wire.events().unwrap();
    assert_eq!(data(&wire.frames()).len(), 5);
    // A lowered window goes below zero.
    wire.setting(4, 2);
    wire.frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 8]);
    wire.events().unwrap();
    assert_eq!(data(&wire.frames()).len(), 0);
    wire.setting(4, 100);
    wire.events().unwrap();
    let frames = wire.frames();
    assert_eq!(kinds(&frames)[1..], [(DATA, 0), (HEADERS, END_HEADERS | END_STREAM)]);
    assert_eq!(data(&frames).len(), 10);
}

#[test]
fn content_waits_for_the_window_of_the_connection() {
    let mut wire = both_asked();
    for stream in [1, 3] {
        wire.connection.respond(stream, HEAD, payload(&[Bytes::from(vec![1; 60_000])]), HEAD);
    }
    assert_eq!(data(&wire.frames()).len(), 65_535);
    wire.frame(WINDOW_UPDATE, 0, 0, &1_000_000_u32.to_be_bytes());
    wire.events().unwrap();
    assert_eq!(data(&wire.frames()).len(), 120_000 - 65_535);
}

#[test]
fn streams_in_line_take_turns() {
    let mut wire = both_asked();
    for stream in [1, 3] {
        wire.connection.send_headers(stream, HEAD);
        assert!(!wire.connection.send_data(stream, payload(&[Bytes::from(vec![1; 30_000])])));
    }
    let turns: Vec<_> = wire.frames_of(DATA).iter().map(|frame| frame.stream).collect();
    assert_eq!(turns, [1, 3, 1, 3]);
}

#[test]
fn owner_learns_when_everything_is_sent() {
    let mut wire = Wire::open();
    wire.setting(4, 10);
    wire.request(1);
    wire.events().unwrap();
    wire.connection.send_headers(1, HEAD);
    assert!(wire.connection.send_data(1, payload(&[Bytes::from_static(b"four")])));
    assert!(!wire.connection.send_data(1, payload(&[Bytes::from_static(b"and seven")])));
    let mut n_sent = 0;
    wire.connection.fill_output(|()| n_sent += 1);
    assert_eq!(n_sent, 0);
    wire.frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 5]);
    wire.events().unwrap();
    wire.connection.fill_output(|()| n_sent += 1);
    assert_eq!(n_sent, 1);
}

#[test]
fn frames_are_as_long_as_the_client_takes() {
    for (frame_len_max, lens) in [(16_384, vec![16_384, 16_384, 7232]), (20_000, vec![20_000, 20_000])] {
        let mut wire = Wire::open();
        wire.setting(5, frame_len_max);
        wire.frame(HEADERS, END_HEADERS | END_STREAM, 1, REQUEST);
        wire.events().unwrap();
        wire.frames();
        wire.connection.respond(1, HEAD, payload(&[Bytes::from(vec![1; 40_000])]), HEAD);
        assert_eq!(wire.frames_of(DATA).iter().map(|frame| frame.payload.len()).collect::<Vec<_>>(), lens);
    }
}

#[test]
fn long_header_block_is_continued() {
    let mut wire = asked();
    let block = vec![0x88; 40_000];
    wire.connection.send_end(1, &block);
    let frames = wire.frames();
    assert_eq!(kinds(&frames), [(HEADERS, END_STREAM), (CONTINUATION, 0), (CONTINUATION, END_HEADERS)]);
    assert_eq!(frames.iter().map(|frame| frame.payload.len()).sum::<usize>(), block.len());
}

#[test]
fn lowered_header_table_is_acknowledged_once() {
    let mut wire = Wire::open();
    wire.setting(1, 0);
    for stream in [1, 3] {
        wire.frame(HEADERS, END_HEADERS | END_STREAM, stream, REQUEST);
    }
    wire.events().unwrap();
    wire.frames();
    wire.connection.send_end(1, HEAD);
    wire.connection.send_end(3, HEAD);
    let blocks: Vec<_> = wire.frames().into_iter().map(|frame| frame.payload).collect();
    assert_eq!(blocks, [&[hpack::NO_TABLE, 0x88][..], HEAD]);
}

#[test]
fn reset_stream_takes_its_queue_along() {
    let mut wire = Wire::open();
    wire.setting(4, 0);
    wire.frame(HEADERS, END_HEADERS | END_STREAM, 1, REQUEST);
    wire.events().unwrap();
    wire.connection.respond(1, HEAD, payload(&[Bytes::from(vec![1; QUEUED_LEN_MAX])]), HEAD);
    assert!(wire.connection.is_congested());
    wire.frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes());
    assert!(is_gone(&wire.events().unwrap()));
    assert!(!wire.connection.is_congested());
    wire.setting(4, 100);
    wire.events().unwrap();
    assert_eq!(wire.frames_of(DATA), []);
}

#[test]
fn tiny_answers_that_wait_count_for_what_they_hold() {
    let mut wire = Wire::open_for(u32::MAX);
    wire.setting(4, 0);
    let mut n_waiting = 0;
    while !wire.connection.is_congested() {
        let id = 2 * n_waiting + 1;
        wire.frame(HEADERS, END_HEADERS | END_STREAM, id, REQUEST);
        wire.events().unwrap();
        wire.connection.respond(id, HEAD, payload(&[Bytes::from_static(b"x")]), HEAD);
        wire.frames();
        n_waiting += 1;
    }
    assert!((n_waiting as usize) < QUEUED_LEN_MAX / 1024, "{n_waiting} streams");
    // Each that is taken makes room.
    wire.frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes());
    wire.events().unwrap();
    assert_eq!(data(&wire.frames()), b"x");
    assert!(!wire.connection.is_congested());
}

#[test]
fn output_for_a_client_that_does_not_read_is_bounded() {
    let mut wire = Wire::open();
    wire.setting(4, 0x7fff_ffff);
    wire.frame(WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes());
    wire.frame(HEADERS, END_HEADERS | END_STREAM, 1, REQUEST);
    wire.events().unwrap();
    wire.connection.respond(1, HEAD, payload(&[Bytes::from(vec![1; 8 << 20])]), HEAD);
    wire.connection.fill_output(|()| {});
    assert!(!wire.connection.wants_input());
    let len = wire.connection.output().len();
    assert!((OUTPUT_LEN_MAX..OUTPUT_LEN_MAX + 20_000).contains(&len), "{len}");
    while !wire.frames().is_empty() {}
    assert!(wire.connection.wants_input());
    assert!(wire.connection.owner(1).is_none(), "all is sent");
}

#[test]
fn calls_on_streams_that_are_gone_do_nothing() {
    let mut wire = Wire::open();
    for stream in [1, 2] {
        wire.connection.send_headers(stream, HEAD);
        assert!(wire.connection.send_data(stream, payload(&[Bytes::from_static(b"x")])));
        wire.connection.respond(stream, HEAD, payload(&[]), HEAD);
        wire.connection.send_end(stream, HEAD);
        wire.connection.reset(stream, Code::Cancel);
        wire.connection.release(stream, 5);
    }
    assert_eq!(wire.frames(), []);
}
