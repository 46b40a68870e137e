//! What a client may send on an HTTP/2 connection: any bytes must end in events or in an error, within
//! bounds.

use std::time::{Duration, Instant};

use ::http2::hpack::{self, Decoder};
use ::http2::limits::{HEADER_LIST_LEN_MAX, OUTPUT_LEN_MAX};
use ::http2::{Code, Config, Connection, Event, Payload, Policy};
use bytes::Bytes;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Streams open at once.
const STREAMS_MAX: u32 = 8;

/// A header block. What is decoded must be the same after it was encoded and decoded again.
pub fn hpack(data: &[u8]) {
    let mut fields = Vec::new();
    if Decoder::default().decode(data, HEADER_LIST_LEN_MAX, &mut fields) != Ok(true) {
        return;
    }
    fields.retain(|field| std::str::from_utf8(&field.name).is_ok());
    let pairs = fields.iter().map(|field| {
        let name = std::str::from_utf8(&field.name).expect("the others are left out");
        (name, &field.value[..])
    });
    let (mut block, mut again) = (Vec::new(), Vec::new());
    hpack::encode(pairs, &mut block);
    assert_eq!(Decoder::default().decode(&block, HEADER_LIST_LEN_MAX, &mut again), Ok(true));
    assert_eq!(fields, again);
}

/// What follows the preface. Every second request is answered at once, every fourth is cancelled. The client
/// reads now and then.
pub fn connection(data: &[u8]) {
    let second = Duration::from_secs(1);
    let keepalive = Policy { min_interval: second, ping_after: second, ping_timeout: second };
    let now = Instant::now();
    let mut connection =
        Connection::<()>::new(Config { concurrent_streams_max: STREAMS_MAX, keepalive }, now);
    let mut input = Bytes::from([PREFACE, data].concat());
    let mut n_open = 0_u32;
    while connection.wants_input()
        && let Ok(Some(event)) = connection.next_event(&mut input, now)
    {
        match event {
            Event::Request { id, head, .. } => {
                assert!(!head.method.is_empty());
                n_open += 1;
                assert!(n_open <= STREAMS_MAX);
                n_open -= u32::from(answer(&mut connection, id));
            }
            Event::Data { id, data, .. } => connection.release(id, data.len()),
            Event::StreamGone { owner: () } => n_open = n_open.saturating_sub(1),
            Event::Handled => {}
        }
        connection.fill_output(|()| {});
        assert!(connection.output().len() < 2 * OUTPUT_LEN_MAX);
    }
    let len = connection.output().len();
    connection.output().advance(len);
    assert!(connection.abandon().count() <= STREAMS_MAX as usize);
}

/// True if the stream is over by that.
fn answer(connection: &mut Connection<()>, id: u32) -> bool {
    let chunks = [Bytes::from_static(b"answer")];
    match id % 8 {
        1 => connection.respond(id, &[0x88], Payload { head: b"head", chunks: &chunks }, &[0x88]),
        3 => connection.reset(id, Code::Cancel),
        5 => connection.send_end(id, &[0x88]),
        _ => return false,
    }
    connection.owner(id).is_none()
}

pub(crate) fn hpack_seeds() -> Vec<Vec<u8>> {
    // RFC 7541, C.4: Huffman strings, the dynamic table, a size update before.
    let request = b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff";
    let again = b"\x40\x01a\x01b\xbe\x10\x08password\x06secret";
    vec![request.to_vec(), again.to_vec(), [b"\x3f\xe1\x1f", &request[..], again].concat()]
}

pub(crate) fn connection_seeds() -> Vec<Vec<u8>> {
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let len = u32::try_from(payload.len()).expect("seeds are short").to_be_bytes();
        [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    let settings = frame(4, 0, 0, &[0, 4, 0, 0, 0, 5]);
    let call = |stream: u32| {
        let head = frame(1, 4, stream, b"\x83\x86\x04\x02/x\x40\x01a\x01b");
        [head, frame(0, 1, stream, b"request")].concat()
    };
    let calls = (1..16).step_by(2).flat_map(call).collect();
    let window = frame(8, 0, 0, &[0, 0, 1, 0]);
    let rest = [
        frame(1, 0, 17, b"\x83\x86"),
        frame(9, 4, 17, b"\x04\x02/x"),
        frame(3, 0, 17, &[0, 0, 0, 8]),
        frame(6, 0, 0, b"12345678"),
        frame(7, 0, 0, &[0; 8]),
    ];
    vec![[settings.clone(), calls, window].concat(), [settings, rest.concat()].concat()]
}
