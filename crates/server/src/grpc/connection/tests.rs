//! The three bounds of a connection that only time, a crowd or a long input shows.

use std::cell::Cell;
use std::future::ready;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use bytes::BufMut;
use tokio::io::{DuplexStream, duplex};

use super::*;
use crate::grpc::{Body, Head, Keepalive};

/// The numbers of RFC 9113.
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const REFUSED_STREAM: u32 = 7;

/// What a client may send before anybody reads, in bytes.
const SOCKET_LEN: usize = 1 << 20;

/// Answers each call with as many bytes, and counts them.
struct Answering {
    len: usize,
    n_calls: Cell<usize>,
}

impl Service for Answering {
    type Route = ();

    fn route(&self, _: &Head) {}

    fn call(self: &Rc<Self>, _: Rc<()>, mut call: Call) -> impl Future<Output = ()> {
        self.n_calls.set(self.n_calls.get() + 1);
        call.reply(Ok(Body::from_chunks([vec![7; self.len].into()])));
        ready(())
    }
}

fn answering(len: usize) -> Rc<Answering> {
    Rc::new(Answering { len, n_calls: Cell::new(0) })
}

/// Serves the other end of a client's socket.
fn serving(io: DuplexStream, service: &Rc<Answering>) -> impl Future<Output = io::Result<()>> + use<> {
    let hours = Duration::from_secs(7200);
    let keepalive = Keepalive { min_interval: hours, ping_after: hours, ping_timeout: hours };
    let limits = Limits { message_len_max: 100, concurrent_streams_max: u32::MAX, keepalive };
    serve(io, (Ipv4Addr::LOCALHOST, 1).into(), Rc::clone(service), limits, std::future::pending())
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.put_uint(payload.len() as u64, 3);
    bytes.extend([kind, flags]);
    bytes.put_u32(stream);
    bytes.extend_from_slice(payload);
    bytes
}

/// The beginning of a connection whose streams have no window.
fn hello() -> Vec<u8> {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    [&preface[..], &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])].concat()
}

/// Calls by the numbers of their streams.
fn calls(streams: RangeInclusive<u32>) -> Vec<u8> {
    // POST http /x, and the content type.
    let block = b"\x83\x86\x04\x02/x\x0f\x10\x10application/grpc";
    streams.step_by(2).flat_map(|stream| frame(HEADERS, 0x5, stream, block)).collect()
}

/// Reads frames until `is_last`.
async fn read_until(io: &mut DuplexStream, mut is_last: impl FnMut(u8, u32, &[u8]) -> bool) {
    loop {
        let mut head = [0; 9];
        io.read_exact(&mut head).await.unwrap();
        let [a, b, c, kind, _, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        io.read_exact(&mut payload).await.unwrap();
        if is_last(kind, u32::from_be_bytes(stream), &payload) {
            return;
        }
    }
}

#[tokio::test]
async fn calls_wait_behind_unread_answers_and_too_many_are_refused() {
    let (mut client, server) = duplex(SOCKET_LEN);
    let service = answering(http2::limits::QUEUED_LEN_MAX);
    let last_to_wait = 1 + 2 * WAITING_MAX as u32;
    let calling = async {
        client.write_all(&[hello(), calls(1..=1)].concat()).await.unwrap();
        read_until(&mut client, |kind, _, _| kind == HEADERS).await;
        client.write_all(&calls(3..=last_to_wait + 2)).await.unwrap();
        read_until(&mut client, |kind, stream, payload| {
            let is_reset = kind == RST_STREAM;
            assert!(!is_reset || (stream, payload) == (last_to_wait + 2, &REFUSED_STREAM.to_be_bytes()));
            is_reset
        })
        .await;
    };
    tokio::select! {
        outcome = serving(server, &service) => panic!("{outcome:?}"),
        () = calling => {}
    }
    assert_eq!(service.n_calls.get(), 1, "the others wait");
}

#[tokio::test]
async fn others_get_their_turn_while_a_client_has_more_to_say() {
    let (mut client, server) = duplex(SOCKET_LEN);
    let service = answering(0);
    let n_calls = 5000;
    client.write_all(&[hello(), calls(1..=2 * n_calls)].concat()).await.unwrap();
    let mut serving = pin!(serving(server, &service));
    let mut most = 0;
    while service.n_calls.get() < n_calls as usize {
        let n_before = service.n_calls.get();
        let is_serving = poll_fn(|cx| Poll::Ready(serving.as_mut().poll(cx).is_pending())).await;
        let n_served = service.n_calls.get() - n_before;
        assert!(is_serving && n_served > 0, "no turn is idle");
        most = most.max(n_served);
    }
    assert!(most <= 200, "{most} calls in a turn");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_broke_the_connection_and_stays_is_left() {
    let (mut client, server) = duplex(SOCKET_LEN);
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nnonsense").await.unwrap();
    let started_at = Instant::now();
    serving(server, &answering(0)).await.unwrap_err();
    assert_eq!(started_at.elapsed(), FAREWELL_TIME_MAX);
}
