//! The state machine against frames written by hand.

use http2::hpack;
use proptest::prelude::*;
use proto::etcdserverpb::PutRequest;

use super::super::stream::put_message;
use super::*;

/// A frame from the server.
fn frame(kind: u8, flags: u8, stream: StreamId, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_head(kind, flags, stream, payload.len(), &mut bytes);
    bytes.extend_from_slice(payload);
    bytes
}

fn grant(stream: StreamId, by: u32) -> Vec<u8> {
    frame(frame::WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
}

fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    hpack::encode(fields.iter().map(|(name, value)| (*name, value.as_bytes())), &mut block);
    block
}

/// The frames that begin and end a good answer.
fn good(stream: StreamId) -> [Vec<u8>; 2] {
    let end = frame::END_HEADERS | frame::END_STREAM;
    [
        frame(frame::HEADERS, frame::END_HEADERS, stream, &block(&[(":status", "200")])),
        frame(frame::HEADERS, end, stream, &block(&[("grpc-status", "0")])),
    ]
}

fn message(len: usize) -> PutRequest {
    PutRequest { value: vec![7; len].into(), ..Default::default() }
}

/// A message as it stands in a body.
fn body(len: usize) -> Vec<u8> {
    let mut body = bytes::BytesMut::new();
    put_message(&message(len), &mut body);
    body.to_vec()
}

/// A connection whose greeting is written, and a call on it.
fn opened() -> (Wire, StreamId) {
    let mut wire = Wire::new("localhost:1");
    let head = wire.head("/a.B/C");
    let id = wire.open(head).unwrap();
    wire.written(wire.output().len());
    (wire, id)
}

/// Hands `bytes` over in one piece, which must hold whole frames.
fn receive(wire: &mut Wire, bytes: &[u8]) {
    assert_eq!(wire.receive(bytes).unwrap(), bytes.len());
}

/// What the call's reader is told now.
fn next(wire: &mut Wire, id: StreamId) -> String {
    match wire.poll_next(id, &mut Context::from_waker(std::task::Waker::noop())) {
        Poll::Pending => "wait".to_owned(),
        Poll::Ready(Ok(Some(message))) => format!("{} bytes", message.len()),
        Poll::Ready(Ok(None)) => "end".to_owned(),
        Poll::Ready(Err(error)) => error.to_string(),
    }
}

/// The frames in the output, which counts as written: kind, flags, stream, length.
fn written(wire: &mut Wire) -> Vec<(u8, u8, StreamId, usize)> {
    let (mut rest, mut frames) = (wire.output(), Vec::new());
    while let Some(head) = frame::Head::read(rest) {
        frames.push((head.kind, head.flags, head.stream, head.len));
        rest = &rest[HEAD_LEN + head.len..];
    }
    wire.written(wire.output().len());
    frames
}

/// What a server might say to three calls.
fn conversation() -> Vec<u8> {
    let mut settings = Vec::new();
    put_settings(&[(INITIAL_WINDOW_SIZE, 70_000), (99, 1)], &mut settings);
    let [head, end] = good(1);
    let [other_head, other_end] = good(3);
    let (answer, refused) = (body(300), block(&[("grpc-status", "5"), ("grpc-message", "no")]));
    let padded = [&[3][..], &answer[100..], &[0; 3]].concat();
    let end_stream = frame::END_STREAM;
    let parts = [
        settings,
        head,
        frame(frame::DATA, 0, 1, &answer[..100]),
        frame(frame::PING, 0, 0, b"are you?"),
        other_head,
        frame(frame::DATA, 0x8, 1, &padded),
        end,
        grant(0, 100_000),
        frame(frame::DATA, 0, 3, &[body(5), body(6)].concat()),
        other_end,
        frame(frame::HEADERS, end_stream, 5, &refused[..4]),
        frame(frame::CONTINUATION, 0, 5, &refused[4..7]),
        frame(frame::CONTINUATION, frame::END_HEADERS, 5, &refused[7..]),
        frame(frame::RST_STREAM, 0, 5, &[0; 4]),
        frame(frame::GOAWAY, 0, 0, b"\0\0\0\x05\0\0\0\0bye"),
    ];
    parts.concat()
}

/// Has the conversation with pieces cut at `cuts`; returns what the callers were told, and all that was sent.
fn converse(cuts: &[usize]) -> (Vec<String>, Vec<u8>) {
    let mut wire = Wire::new("localhost:1");
    let head = wire.head("/a.B/C");
    let ids = [0, 1, 2].map(|_| wire.open(head).unwrap());
    for id in ids {
        wire.send(id, &message(40_000));
        wire.finish(id);
    }
    let (bytes, mut start) = (conversation(), 0);
    for end in cuts.iter().copied().chain([bytes.len()]) {
        if start < end {
            start += wire.receive(&bytes[start..end]).unwrap();
        }
    }
    assert_eq!(start, bytes.len());
    let mut told = Vec::new();
    for id in ids {
        loop {
            told.push(next(&mut wire, id));
            if !told.last().unwrap().ends_with("bytes") {
                break;
            }
        }
    }
    (told, wire.output().to_vec())
}

#[test]
fn answers_and_their_ends_reach_their_callers() {
    let (told, _) = converse(&[]);
    let refused = "the server refused with gRPC code 5: no";
    assert_eq!(told, ["303 bytes", "end", "7 bytes", "8 bytes", "end", refused]);
}

proptest! {
    #[test]
    fn how_the_input_is_cut_makes_no_difference(
        mut cuts in prop::collection::vec(0..conversation().len(), 0..30),
    ) {
        cuts.sort_unstable();
        prop_assert_eq!(converse(&cuts), converse(&[]));
    }
}

#[test]
fn a_request_waits_for_room_in_both_windows() {
    let (mut wire, id) = opened();
    wire.send(id, &message(99_991));
    wire.finish(id);
    let data = |len| (frame::DATA, 0, id, len);
    assert_eq!(written(&mut wire), [data(16_384), data(16_384), data(16_384), data(16_383)]);
    receive(&mut wire, &grant(0, 40_000));
    assert_eq!(written(&mut wire), []);
    receive(&mut wire, &grant(id, 30_000));
    assert_eq!(written(&mut wire), [data(16_384), data(13_616)]);
    let mut settings = Vec::new();
    put_settings(&[(INITIAL_WINDOW_SIZE, WINDOW_DEFAULT + 10_000)], &mut settings);
    receive(&mut wire, &settings);
    let ack = (frame::SETTINGS, frame::ACK, 0, 0);
    assert_eq!(written(&mut wire), [ack, (frame::DATA, frame::END_STREAM, id, 4_465)]);
}

#[test]
fn an_answer_that_nobody_takes_is_held_to_its_window() {
    let (mut wire, id) = opened();
    let part = frame(frame::DATA, 0, id, &body(10_000));
    let fits = stream::WINDOW as usize / (part.len() - HEAD_LEN);
    for _ in 0..fits {
        receive(&mut wire, &part);
    }
    let of_call =
        |frames: Vec<(u8, u8, StreamId, usize)>| frames.iter().filter(|frame| frame.2 == id).count();
    assert_eq!(of_call(written(&mut wire)), 0);
    for _ in 0..fits {
        assert_eq!(next(&mut wire, id), "10003 bytes");
    }
    assert_eq!(of_call(written(&mut wire)), 1, "once all is taken");
    for _ in 0..fits {
        receive(&mut wire, &part);
    }
    assert!(wire.receive(&part).is_err());
}

#[test]
fn a_message_larger_than_the_window_is_granted_as_it_comes() {
    let (mut wire, id) = opened();
    let whole = body(2 * stream::WINDOW as usize);
    for part in whole.chunks(FRAME_LEN_MAX) {
        receive(&mut wire, &frame(frame::DATA, 0, id, part));
    }
    assert_eq!(next(&mut wire, id), format!("{} bytes", whole.len() - 5));
}

#[test]
fn only_a_call_under_way_is_cancelled() {
    for (answer, request_ends, frames) in [(false, true, 1), (true, false, 1), (true, true, 0)] {
        let (mut wire, id) = opened();
        if request_ends {
            wire.finish(id);
        }
        if answer {
            receive(&mut wire, &good(id).concat());
        }
        written(&mut wire);
        wire.close(id);
        assert_eq!(written(&mut wire), vec![(frame::RST_STREAM, 0, id, 4); frames]);
        // What was on its way is no error.
        receive(&mut wire, &[frame(frame::DATA, 0, id, b"late"), good(id).concat()].concat());
    }
}

#[test]
fn a_server_that_goes_away_may_finish_what_it_has_begun() {
    let (mut wire, first) = opened();
    let head = wire.head("/a.B/C");
    let second = wire.open(head).unwrap();
    receive(&mut wire, &frame(frame::GOAWAY, 0, 0, b"\0\0\0\x01\0\0\0\0bye"));
    let reason = "the HTTP/2 connection broke: the server goes away with code 0: bye";
    assert_eq!(next(&mut wire, second), reason);
    assert_eq!(wire.open(head).unwrap_err().to_string(), reason);
    receive(&mut wire, &good(first).concat());
    assert_eq!(next(&mut wire, first), "end");
}

#[test]
fn what_breaks_the_protocol_ends_the_connection() {
    let mut small_table = Vec::new();
    put_settings(&[(HEADER_TABLE_SIZE, 0)], &mut small_table);
    let start = frame(frame::HEADERS, 0, 1, &[0x88]);
    for (bytes, why) in [
        (vec![0, 0x40, 1], "a frame longer than allowed"),
        (frame(frame::PUSH_PROMISE, 0, 1, &[]), "a push that was not allowed"),
        (frame(frame::CONTINUATION, 0, 1, &[]), "continued without a start"),
        ([start, frame(frame::DATA, 0, 1, &[])].concat(), "a header block interrupted"),
        (frame(frame::HEADERS, frame::END_HEADERS, 1, &[0x80]), "a corrupt header block"),
        (frame(frame::DATA, 0x8, 1, &[9]), "padding longer than the frame"),
        (frame(frame::PING, 0, 0, b"short"), SHORT),
        (frame(frame::GOAWAY, 0, 0, b"short"), SHORT),
        (frame(frame::SETTINGS, 0, 0, b"short"), SHORT),
        (frame(frame::WINDOW_UPDATE, 0, 0, b"short"), SHORT),
        (grant(0, WINDOW_MAX), TOO_LARGE),
        (grant(1, WINDOW_MAX), TOO_LARGE),
        (small_table, "a smaller table of headers"),
    ] {
        let (mut wire, _) = opened();
        let bytes = [bytes, vec![0; HEAD_LEN]].concat();
        let error = wire.receive(&bytes).unwrap_err();
        assert!(error.starts_with("the server sent ") && error.contains(why), "{error} in place of {why}");
    }
}

#[test]
fn a_lost_connection_ends_each_call_and_those_to_come() {
    let (mut wire, id) = opened();
    receive(&mut wire, &frame(frame::DATA, 0, id, &body(3)));
    wire.fail("gone");
    assert_eq!(next(&mut wire, id), "5 bytes");
    assert_eq!(next(&mut wire, id), "the HTTP/2 connection broke: gone");
    let head = wire.head("/a.B/C");
    assert!(wire.open(head).is_err());
}
