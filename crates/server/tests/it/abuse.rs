//! What a broken or hostile client gets, and that other clients are served meanwhile.

use std::net::SocketAddr;

use bytes::BufMut;
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{Client, frame};
use crate::testbed::{MESSAGE_LEN_MAX, with_server};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The numbers of RFC 9113.
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;

/// Sends bytes and returns all that comes back until the server closes.
async fn exchange(addr: SocketAddr, sent: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(addr).await.unwrap();
    socket.write_all(sent).await.unwrap();
    let mut received = Vec::new();
    // A reset instead of an orderly end is as good an answer to garbage.
    let _ = socket.read_to_end(&mut received).await;
    received
}

fn http2_frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.put_u32(stream);
    bytes.extend_from_slice(payload);
    bytes
}

/// The error code of the GOAWAY among these frames.
fn goaway_code(mut frames: &[u8]) -> Option<u32> {
    while let [a, b, c, kind, rest @ ..] = frames {
        let len = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let payload = rest.get(5..5 + len)?;
        if *kind == GOAWAY {
            return Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
        frames = &rest[5 + len..];
    }
    None
}

async fn assert_alive(addr: SocketAddr) {
    let answer = Client::connect(addr).await.unary("/t/Echo", &[], b"alive").await;
    assert_eq!(answer.body, frame(0, b"alive"));
}

#[tokio::test]
async fn garbage_is_a_bad_request() {
    with_server(async |testbed| {
        let answer = exchange(testbed.addr, b"\x16\x03\x01\x02\x00 not a protocol\r\n\r\n").await;
        assert!(answer.starts_with(b"HTTP/1.1 400 "));
        assert_alive(testbed.addr).await;
    })
    .await;
}

#[tokio::test]
async fn garbage_after_the_preface_is_a_protocol_error() {
    with_server(async |testbed| {
        let received = exchange(testbed.addr, &[PREFACE, &[0xff; 100]].concat()).await;
        assert!(goaway_code(&received).is_none_or(|code| code != 0));
        assert_alive(testbed.addr).await;
    })
    .await;
}

#[tokio::test]
async fn stalled_request_holds_up_nobody() {
    with_server(async |testbed| {
        let mut stalled = Vec::new();
        for _ in 0..4 {
            let mut client = Client::connect(testbed.addr).await;
            let mut call = client.open("/t/Echo", &[]).await.unwrap();
            call.request.send_data(frame(0, b"half of it").slice(..8), false).unwrap();
            stalled.push((client, call));
        }
        for _ in 0..4 {
            assert_alive(testbed.addr).await;
        }
        let (mut client, _) = stalled.pop().unwrap();
        assert_eq!(client.unary("/t/Echo", &[], b"beside").await.status(), ("0", ""));
    })
    .await;
}

#[tokio::test]
async fn half_a_message_is_an_error() {
    with_server(async |testbed| {
        let mut client = Client::connect(testbed.addr).await;
        let mut call = client.open("/t/Echo", &[]).await.unwrap();
        call.request.send_data(frame(0, b"half").slice(..7), true).unwrap();
        assert_eq!(call.answer().await.unwrap().status(), ("13", "unexpected EOF"));
    })
    .await;
}

#[tokio::test]
async fn missing_message_is_an_error() {
    with_server(async |testbed| {
        let mut client = Client::connect(testbed.addr).await;
        let mut call = client.open("/t/Echo", &[]).await.unwrap();
        call.request.send_data(bytes::Bytes::new(), true).unwrap();
        let answer = call.answer().await.unwrap();
        assert_eq!(answer.status().0, "13");
        assert!(answer.status().1.contains("received no request message"));
    })
    .await;
}

#[tokio::test]
async fn oversize_message_is_refused_before_it_is_sent() {
    with_server(async |testbed| {
        let mut client = Client::connect(testbed.addr).await;
        let mut call = client.open("/t/Echo", &[]).await.unwrap();
        let too_long = frame(0, &vec![0; MESSAGE_LEN_MAX + 1]).slice(..5);
        call.request.send_data(too_long, false).unwrap();
        let text = "grpc: received message larger than max (100001 vs. 100000)";
        assert_eq!(call.answer().await.unwrap().status(), ("8", text));
    })
    .await;
}

#[tokio::test]
async fn unknown_encoding_is_refused_with_a_hint() {
    with_server(async |testbed| {
        let mut client = Client::connect(testbed.addr).await;
        let answer = client.unary("/t/Echo", &[("grpc-encoding", "snappy")], b"x").await;
        let text = "grpc: Decompressor is not installed for grpc-encoding \"snappy\"";
        assert_eq!(answer.status(), ("12", text));
        assert_eq!(answer.headers["grpc-accept-encoding"], "gzip");
    })
    .await;
}

#[tokio::test]
async fn other_content_type_is_refused() {
    with_server(async |testbed| {
        let mut client = Client::connect(testbed.addr).await;
        let answer = client.unary("/t/Echo", &[("content-type", "text/html")], b"x").await;
        assert_eq!(answer.http, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert_eq!(answer.status(), ("3", "invalid gRPC request content-type \"text/html\""));
    })
    .await;
}

#[tokio::test]
async fn long_headers_are_refused() {
    with_server(async |testbed| {
        let mut client = Client::connect(testbed.addr).await;
        let long = "x".repeat(80 << 10);
        let call = client.open("/t/Echo", &[("token", &long)]).await.unwrap();
        match call.answer().await {
            Ok(answer) => assert_eq!(answer.http, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
            Err(error) => assert!(error.reason().is_some()),
        }
        assert_alive(testbed.addr).await;
    })
    .await;
}

#[tokio::test]
async fn rapid_resets_without_end_break_the_connection() {
    with_server(async |testbed| {
        // A call of `/t/Hang`: names from the static table of HPACK, values as they are.
        let block = b"\x83\x86\x44\x07/t/Hang\x41\x01t\x0f\x10\x10application/grpc";
        let mut sent = PREFACE.to_vec();
        sent.extend(http2_frame(SETTINGS, 0, 0, &[]));
        for stream in (1..21_000).step_by(2) {
            sent.extend(http2_frame(HEADERS, 0x4, stream, block));
            sent.extend(http2_frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        }
        let received = exchange(testbed.addr, &sent).await;
        assert_eq!(goaway_code(&received), Some(ENHANCE_YOUR_CALM));
        assert_alive(testbed.addr).await;
    })
    .await;
}
