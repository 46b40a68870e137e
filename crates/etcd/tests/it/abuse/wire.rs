//! HTTP/2 by hand, for clients that no library lets one be.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a client sends first.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
/// An error code.
const CANCEL: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// The beginning of a connection.
pub(super) fn hello() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
}

/// The same of a client to whom nothing may be sent.
pub(super) fn hello_without_window() -> Vec<u8> {
    // SETTINGS_INITIAL_WINDOW_SIZE
    [PREFACE, &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])].concat()
}

/// The headers of a gRPC call.
pub(super) fn call(stream: u32, path: &str) -> Vec<u8> {
    // Indexes of HPACK's static table: POST, http, the name `:path`; then a field without index.
    let mut block = vec![0x83, 0x86, 0x04];
    block.extend(text(path));
    block.push(0);
    block.extend([text("content-type"), text("application/grpc")].concat());
    frame(HEADERS, END_HEADERS, stream, &block)
}

/// A whole call with one message.
pub(super) fn unary(stream: u32, path: &str, message: &[u8]) -> Vec<u8> {
    [call(stream, path), self::message(stream, message)].concat()
}

/// The one message of a call.
pub(super) fn message(stream: u32, message: &[u8]) -> Vec<u8> {
    let len = u32::try_from(message.len()).unwrap();
    frame(DATA, END_STREAM, stream, &[&[0], &len.to_be_bytes()[..], message].concat())
}

/// Calls that are refused for a content type of 4 KB, which is sent once: the others refer to it.
pub(super) fn refused_calls(n: u32) -> Vec<u8> {
    // POST http /x; then a field that is added to the table, `content-type` with a value of 3,968 bytes.
    let first = [&b"\x83\x86\x04\x02/x\x5f\x7f\x81\x1e"[..], &[b'x'; 3968]].concat();
    let again = b"\x83\x86\x04\x02/x\xbe";
    let flags = END_HEADERS | END_STREAM;
    let others = (1..n).flat_map(|at| frame(HEADERS, flags, 2 * at + 1, again));
    frame(HEADERS, flags, 1, &first).into_iter().chain(others).collect()
}

/// Content of a call.
pub(super) fn data(stream: u32, content: &[u8]) -> Vec<u8> {
    frame(DATA, 0, stream, content)
}

/// A frame of a kind that nobody knows, of `len` bytes.
pub(super) fn unknown_frame(len: usize) -> Vec<u8> {
    frame(0x77, 0, 0, &vec![0; len])
}

/// Gives a call up.
pub(super) fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &[0, 0, 0, CANCEL])
}

/// Sends bytes over a new connection.
pub(super) async fn send(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.unwrap();
    // A server that has heard enough may close before the end.
    let _ = socket.write_all(bytes).await;
    socket
}

/// Sends bytes over a new connection and reads meanwhile, for as long as `wants_more` of the bytes read so
/// far; returns how many those are.
pub(super) async fn exchange(address: SocketAddr, bytes: &[u8], wants_more: impl Fn(usize) -> bool) -> usize {
    let (mut read_half, mut write_half) = TcpStream::connect(address).await.unwrap().into_split();
    let reading = async {
        let (mut received, mut buffer) = (0, vec![0; 64 << 10]);
        while wants_more(received) {
            let len = read_half.read(&mut buffer).await.unwrap();
            assert!(len > 0, "the server has closed after {received} bytes");
            received += len;
        }
        received
    };
    let (sent, received) = tokio::join!(write_half.write_all(bytes), reading);
    sent.unwrap();
    received
}

/// All that the server has to say until it closes.
pub(super) async fn read_to_the_end(mut socket: TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    // A server that closes without having read everything resets the connection.
    let _ = socket.read_to_end(&mut answer).await;
    answer
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A string of HPACK, shorter than its length in one byte can say.
fn text(text: &str) -> Vec<u8> {
    assert!(text.len() < 127, "{text}");
    [&[text.len() as u8], text.as_bytes()].concat()
}
