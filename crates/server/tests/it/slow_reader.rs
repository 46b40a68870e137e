//! A client that reads late, and grants room meanwhile, on a pipe whose every byte is counted.

use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http2::frame::{self, HEAD_LEN, Head, PREFACE, put_number};
use http2::hpack;
use http2::limits::OUTPUT_LEN_MAX;
use server::grpc::{Body, Call, Keepalive, Limits, Service, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::task::{LocalSet, spawn_local, yield_now};
use tokio::time::timeout;

/// What the pipe to the client holds, in bytes: more than a connection gathers for a client.
const PIPE_LEN: usize = 4 * OUTPUT_LEN_MAX;
/// What the client takes at first: the pipe full, and the output full behind it.
const WINDOW: usize = PIPE_LEN + OUTPUT_LEN_MAX + (64 << 10);
/// Length of each answer, in bytes: more than that.
const ANSWER_LEN: usize = 2 * WINDOW;

/// Answers each call at length.
struct Verbose;

impl Service for Verbose {
    type Route = ();

    fn route(&self, _: &http2::Head) {}

    async fn call(self: &Rc<Self>, _: Rc<()>, mut call: Call) {
        let answer = Body::from_chunks([Bytes::from(vec![b'x'; ANSWER_LEN])]);
        call.reply(answer.map_err(Into::into)).unwrap();
    }
}

/// A greeting that grants `WINDOW` bytes, and a call.
fn request() -> Vec<u8> {
    let mut bytes = PREFACE.to_vec();
    Head { len: 6, kind: frame::SETTINGS, flags: 0, stream: 0 }.put(&mut bytes);
    bytes.extend_from_slice(b"\0\x04\x7f\xff\xff\xff");
    put_number(frame::WINDOW_UPDATE, 0, (WINDOW - 65_535) as u32, &mut bytes);
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/t/Say"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ];
    let mut block = Vec::new();
    hpack::encode(fields.map(|(name, value)| (name, value.as_bytes())), &mut block);
    Head { len: block.len(), kind: frame::HEADERS, flags: frame::END_HEADERS, stream: 1 }.put(&mut bytes);
    bytes.extend_from_slice(&block);
    Head { len: 5, kind: frame::DATA, flags: frame::END_STREAM, stream: 1 }.put(&mut bytes);
    bytes.extend_from_slice(&[0; 5]);
    bytes
}

/// Lets the server do all that it can.
async fn let_it_work() {
    for _ in 0..100 {
        yield_now().await;
    }
}

#[tokio::test]
async fn room_granted_while_the_output_was_full_is_used() {
    let keepalive = Keepalive {
        min_interval: Duration::ZERO,
        ping_after: Duration::from_secs(7200),
        ping_timeout: Duration::from_secs(20),
    };
    let limits = Limits { message_len_max: 1000, concurrent_streams_max: 1, keepalive };
    let (mut client, io) = duplex(PIPE_LEN);
    let work = async {
        let peer = ([127, 0, 0, 1], 1).into();
        let serving = spawn_local(serve(io, peer, Rc::new(Verbose), limits, pending()));
        client.write_all(&request()).await.unwrap();
        let_it_work().await;
        let mut grant = Vec::new();
        put_number(frame::WINDOW_UPDATE, 0, ANSWER_LEN as u32, &mut grant);
        client.write_all(&grant).await.unwrap();
        let_it_work().await;
        let (mut received, mut piece) = (0, vec![0; PIPE_LEN]);
        while received < ANSWER_LEN + HEAD_LEN {
            let read = client.read(&mut piece).await.unwrap();
            assert!(read > 0, "the server has closed");
            received += read;
            let_it_work().await;
        }
        drop(client);
        // Either end is good once the client is gone.
        drop(serving.await.unwrap());
    };
    let tasks = LocalSet::new();
    timeout(Duration::from_secs(20), tasks.run_until(work)).await.expect("the answer comes whole");
}
