//! Clients that make work for nothing.

use std::time::Duration;

use http2::limits::{
    CONTINUATIONS_MAX, EMPTY_FRAMES_MAX, HEADER_BLOCK_LEN_MAX, HEADER_LIST_LEN_MAX, OUTPUT_LEN_MAX,
    RAPID_RESETS_MAX, RAPID_RESETS_SPAN, SETTINGS_MAX,
};
use http2::{Code, Payload};

use crate::wire::*;

const SECOND: Duration = Duration::from_secs(1);

/// Handles all that was written, and returns what that cost with the number of frames.
fn cost(wire: &mut Wire) -> (usize, usize) {
    wire.connection.take_cost();
    let n_frames = wire.handle_all();
    (wire.connection.take_cost(), n_frames)
}

#[test]
fn every_frame_costs_whatever_its_kind() {
    let mut wire = Wire::open();
    wire.request(1);
    wire.events().unwrap();
    let mut cost_of = |kind, stream, payload: &[u8]| {
        (0..50).for_each(|_| wire.frame(kind, 0, stream, payload));
        let (cost, n_frames) = cost(&mut wire);
        assert_eq!(n_frames, 50);
        cost / n_frames
    };
    let costs = [
        cost_of(SETTINGS, 0, b""),
        cost_of(WINDOW_UPDATE, 0, &[0, 0, 0, 1]),
        cost_of(WINDOW_UPDATE, 1, &[0, 0, 0, 1]),
        cost_of(PRIORITY, 1, &[0; 5]),
        cost_of(DATA, 1, b""),
        cost_of(DATA, 1, b"x"),
        // A kind that nobody knows.
        cost_of(0x77, 1, b""),
    ];
    assert!(costs.iter().all(|cost| *cost >= 64), "{costs:?}");
}

#[test]
fn header_block_costs_what_comes_out_of_it() {
    let mut wire = Wire::open();
    let field = [b"\x40\x01a\x7f\x81\x1e".as_slice(), &[b'x'; 3968]].concat();
    wire.frame(HEADERS, END_HEADERS, 1, &[REQUEST, &field].concat());
    wire.events().unwrap();
    // Ten references to the long field.
    let block = [REQUEST, &[0xbe; 10]].concat();
    wire.frame(HEADERS, END_HEADERS, 3, &block);
    assert!(cost(&mut wire).0 >= 10 * 3968);
    // The same block again is known, and so are its fields.
    wire.frame(HEADERS, END_HEADERS, 5, &block);
    assert!(cost(&mut wire).0 < 200);
    // Trailers are decoded as well.
    wire.frame(HEADERS, END_HEADERS | END_STREAM, 5, &[0xbe; 10]);
    assert!(cost(&mut wire).0 >= 10 * 3968);
}

#[test]
fn list_that_is_too_long_costs_its_references_and_not_their_length() {
    let mut wire = Wire::open();
    let field = [b"\x40\x01a\x7f\x81\x1e".as_slice(), &[b'x'; 3968]].concat();
    wire.frame(HEADERS, END_HEADERS, 1, &[REQUEST, &field, &[0xbe; 12_000][..]].concat());
    let (cost, _) = cost(&mut wire);
    assert!((12_000 * 32..12_000 * 4000 / 10).contains(&cost), "{cost}");
}

#[test]
fn new_initial_window_costs_as_many_streams_as_there_are() {
    let mut costs = [100_u32, 200].map(|n_streams| {
        let mut wire = Wire::open_for(u32::MAX);
        (0..n_streams).for_each(|n| wire.request(2 * n + 1));
        wire.events().unwrap();
        wire.setting(4, 1);
        cost(&mut wire).0
    });
    costs.sort_unstable();
    assert!(costs[0] >= 100 * 64 && costs[1] <= 2 * costs[0], "{costs:?}");
}

/// Opens a stream and resets it at once.
fn reset(wire: &mut Wire, stream: u32) {
    wire.request(stream);
    wire.frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
}

#[test]
fn thousands_of_calls_cancelled_at_once_are_no_attack() {
    let mut wire = Wire::open();
    for burst in 0..3 {
        (0..3000).for_each(|n| reset(&mut wire, 2 * (3000 * burst + n) + 1));
        wire.now += SECOND;
        wire.events().unwrap();
    }
    wire.assert_alive();
}

#[test]
fn rapid_resets_without_end_break_the_connection() {
    let mut wire = Wire::open();
    // Tens of thousands a second: it is over within half a second.
    for n in 0..RAPID_RESETS_MAX {
        reset(&mut wire, 2 * n + 1);
        wire.now += SECOND / 20_000;
    }
    wire.events().unwrap();
    reset(&mut wire, 2 * RAPID_RESETS_MAX + 1);
    wire.assert_broken(Code::EnhanceYourCalm);
}

#[test]
fn resets_over_a_long_time_are_allowed() {
    let mut wire = Wire::open();
    for stream in (1..5 * RAPID_RESETS_MAX).step_by(2) {
        reset(&mut wire, stream);
        wire.now += RAPID_RESETS_SPAN / (RAPID_RESETS_MAX - 1);
        wire.events().unwrap();
    }
}

#[test]
fn streams_that_have_lived_may_all_be_reset_at_once() {
    let mut wire = Wire::open();
    for round in 0..20 {
        let streams = (0..100).map(|n| 2 * (100 * round + n) + 1);
        streams.clone().for_each(|stream| wire.request(stream));
        wire.events().unwrap();
        wire.now += SECOND;
        streams.for_each(|stream| wire.frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        wire.events().unwrap();
    }
}

#[test]
fn streams_may_be_reset_as_soon_as_they_are_answered() {
    let mut wire = Wire::open();
    for n in 0..2 * RAPID_RESETS_MAX {
        let stream = 2 * n + 1;
        wire.request(stream);
        wire.events().unwrap();
        wire.connection.send_headers(stream, b"\x88");
        assert!(wire.connection.send_data(stream, Payload { head: b"answer", chunks: &[] }));
        wire.frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
        wire.events().unwrap();
        if n % 1000 == 0 {
            wire.frame(WINDOW_UPDATE, 0, 0, &6000_u32.to_be_bytes());
        }
        wire.frames();
    }
}

#[test]
fn streams_reset_before_all_of_their_answer_is_sent_are_counted() {
    let mut wire = Wire::open();
    for stream in (1..2 * RAPID_RESETS_MAX + 2).step_by(2) {
        wire.request(stream);
        wire.events().unwrap();
        wire.connection.send_headers(stream, b"\x88");
        wire.connection.send_data(stream, Payload { head: &[0; 1 << 17], chunks: &[] });
        wire.frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
        wire.frames();
    }
    wire.assert_broken(Code::EnhanceYourCalm);
}

#[test]
fn errors_that_make_us_reset_count_as_resets() {
    let mut wire = Wire::open();
    for n in 0..=RAPID_RESETS_MAX {
        wire.request(2 * n + 1);
        wire.frame(WINDOW_UPDATE, 0, 2 * n + 1, &[0; 4]);
    }
    wire.assert_broken(Code::EnhanceYourCalm);
}

#[test]
fn settings_flood_ends_the_connection() {
    let mut wire = Wire::open();
    (0..SETTINGS_MAX).for_each(|_| wire.frame(SETTINGS, 0, 0, b""));
    wire.assert_broken(Code::EnhanceYourCalm);
}

#[test]
fn empty_data_flood_ends_the_connection() {
    let mut wire = Wire::open();
    wire.request(1);
    (0..EMPTY_FRAMES_MAX).for_each(|_| wire.frame(DATA, PADDED, 1, b"\0"));
    wire.events().unwrap();
    wire.frame(DATA, 0, 1, b"");
    wire.assert_broken(Code::EnhanceYourCalm);
}

#[test]
fn header_block_in_too_many_frames_ends_the_connection() {
    let mut wire = Wire::open();
    wire.frame(HEADERS, 0, 1, REQUEST);
    (0..CONTINUATIONS_MAX).for_each(|_| wire.frame(CONTINUATION, 0, 1, b""));
    wire.events().unwrap();
    wire.frame(CONTINUATION, 0, 1, b"");
    wire.assert_broken(Code::EnhanceYourCalm);
}

#[test]
fn header_block_of_too_many_bytes_ends_the_connection() {
    let mut wire = Wire::open();
    wire.frame(HEADERS, 0, 1, REQUEST);
    (0..=HEADER_BLOCK_LEN_MAX / 16_384).for_each(|_| wire.frame(CONTINUATION, 0, 1, &[0; 16_384]));
    wire.assert_broken(Code::EnhanceYourCalm);
}

#[test]
fn long_header_list_is_answered_with_431() {
    let mut wire = Wire::open();
    // One field in the table, then many times by its index: a short block, a long list.
    let field = [b"\x40\x01a\x7f\x81\x1e".as_slice(), &[b'x'; 4000]].concat();
    let bomb = [REQUEST, &field, &[0xbe; 12_000][..]].concat();
    wire.frame(HEADERS, END_HEADERS, 1, &bomb);
    const { assert!(4000 * 12_000 > HEADER_LIST_LEN_MAX) };
    assert!(wire.events().unwrap().is_empty());
    let frames = wire.frames();
    assert_eq!((frames[0].kind, frames[0].flags), (HEADERS, END_HEADERS | END_STREAM));
    assert_eq!(frames[0].payload, b"\x08\x03431"[..]);
    wire.assert_alive();
    // The table has stayed in step.
    wire.frame(HEADERS, END_HEADERS, 3, &[REQUEST, b"\xbe"].concat());
    assert_eq!(wire.events().unwrap().len(), 1);
}

#[test]
fn pings_too_often_end_the_connection() {
    let mut wire = Wire::open();
    wire.request(1);
    (0..3).for_each(|_| wire.frame(PING, 0, 0, &[0; 8]));
    wire.events().unwrap();
    wire.frame(PING, 0, 0, &[0; 8]);
    let error = wire.events().unwrap_err();
    assert_eq!((error.code, error.reason), (Code::EnhanceYourCalm, "too_many_pings"));
}

#[test]
fn pings_between_answers_are_welcome() {
    let mut wire = Wire::open();
    wire.request(1);
    wire.events().unwrap();
    wire.connection.send_headers(1, &[0x88]);
    for _ in 0..100 {
        wire.frame(PING, 0, 0, &[0; 8]);
        wire.events().unwrap();
        let chunks = [bytes::Bytes::from_static(b"x")];
        wire.connection.send_data(1, Payload { head: b"", chunks: &chunks });
    }
}

#[test]
fn pings_while_a_long_answer_trickles_are_welcome() {
    // A client that measures the line pings for each piece it gets.
    let mut wire = Wire::open();
    wire.frame(HEADERS, END_HEADERS | END_STREAM, 1, REQUEST);
    wire.events().unwrap();
    let chunks = [bytes::Bytes::from(vec![1; 1 << 20])];
    wire.connection.respond(1, &[0x88], Payload { head: b"", chunks: &chunks }, &[0x88]);
    while !wire.frames_of(DATA).is_empty() {
        wire.frame(PING, 0, 0, &[0; 8]);
        wire.frame(PING, 0, 0, &[0; 8]);
        for stream in [0, 1] {
            wire.frame(WINDOW_UPDATE, 0, stream, &20_000_u32.to_be_bytes());
        }
        wire.events().unwrap();
    }
    assert!(wire.connection.owner(1).is_none(), "all is sent");
}

#[test]
fn answers_to_a_client_that_does_not_read_stop_its_input() {
    let mut wire = Wire::open();
    let mut n_requests = 0;
    while wire.connection.wants_input() {
        n_requests += 1;
        wire.frame(HEADERS, END_HEADERS | END_STREAM, 2 * n_requests - 1, REQUEST);
        wire.events().unwrap();
        wire.connection.send_end(2 * n_requests - 1, &[0x88; 100]);
    }
    assert!((wire.connection.output().len() - OUTPUT_LEN_MAX) < 200);
}
