//! The bounds of a connection that only time, a crowd or a long input shows.

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
const PRIORITY: u8 = 2;
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
        call.reply(Ok(Body::from_chunks([vec![7; self.len].into()]).unwrap())).unwrap();
        ready(())
    }
}

/// Answers each call in pieces, and counts their bytes and how the calls end.
#[derive(Default)]
struct InPieces {
    made_len: Cell<usize>,
    n_ended: Cell<usize>,
}

/// Length of a piece, and of such an answer.
const PIECE_LEN: usize = 256 << 10;
const PIECES_LEN: usize = 64 << 20;

impl Service for InPieces {
    type Route = ();

    fn route(&self, _: &Head) {}

    async fn call(self: &Rc<Self>, _: Rc<()>, mut call: Call) {
        let piece = bytes::Bytes::from(vec![7; PIECE_LEN]);
        let mut left = PIECES_LEN;
        let next = || {
            left -= PIECE_LEN;
            self.made_len.set(self.made_len.get() + PIECE_LEN);
            Ok((left > 0).then(|| piece.clone()))
        };
        assert!(call.reply_in_pieces(PIECES_LEN, next).await.is_err(), "the client does not take all");
        self.n_ended.set(self.n_ended.get() + 1);
    }
}

/// Lets each call end its time slice over and over, and counts the calls.
#[derive(Default)]
struct Busy {
    n_calls: Cell<usize>,
}

impl Service for Busy {
    type Route = ();

    fn route(&self, _: &Head) {}

    async fn call(self: &Rc<Self>, _: Rc<()>, call: Call) {
        self.n_calls.set(self.n_calls.get() + 1);
        loop {
            time_slice::wait_for_next().await;
            assert!(!call.is_gone());
        }
    }
}

/// Lets each call wait until its client is gone, and counts those that have seen it.
#[derive(Default)]
struct Waiting {
    n_calls: Cell<usize>,
    n_ended: Cell<usize>,
}

impl Service for Waiting {
    type Route = ();

    fn route(&self, _: &Head) {}

    async fn call(self: &Rc<Self>, _: Rc<()>, mut call: Call) {
        self.n_calls.set(self.n_calls.get() + 1);
        let waited = call.bound(pin!(std::future::pending::<()>())).await;
        assert!(waited.is_err());
        self.n_ended.set(self.n_ended.get() + 1);
    }
}

fn answering(len: usize) -> Rc<Answering> {
    Rc::new(Answering { len, n_calls: Cell::new(0) })
}

/// Serves the other end of a client's socket.
fn serving<S: Service>(io: DuplexStream, service: &Rc<S>) -> impl Future<Output = io::Result<()>> + use<S> {
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
async fn long_answers_to_a_client_that_does_not_read_are_not_made() {
    let (mut client, server) = duplex(SOCKET_LEN);
    let service = Rc::<InPieces>::default();
    let n_calls = 8;
    client.write_all(&[hello(), calls(1..=2 * n_calls - 1)].concat()).await.unwrap();
    let mut serving = pin!(serving(server, &service));
    // More turns than all pieces would take.
    for _ in 0..2 * n_calls as usize * PIECES_LEN / PIECE_LEN {
        assert!(have_turn(serving.as_mut()).await);
    }
    let bound = http2::limits::QUEUED_PIECES_LEN_MAX + n_calls as usize * PIECE_LEN;
    let made_len = service.made_len.get();
    assert!((bound / 2..=bound).contains(&made_len), "{made_len} bytes of answers are held");
    // Half of them are given up, which leaves room for the others.
    let resets: Vec<u8> =
        (0..n_calls / 2).flat_map(|n| frame(RST_STREAM, 0, 2 * n + 1, &8_u32.to_be_bytes())).collect();
    client.write_all(&resets).await.unwrap();
    while service.n_ended.get() < n_calls as usize / 2 || service.made_len.get() == made_len {
        assert!(have_turn(serving.as_mut()).await);
    }
    drop(client);
    while have_turn(serving.as_mut()).await {}
    assert_eq!(service.n_ended.get(), n_calls as usize);
}

#[tokio::test]
async fn others_get_their_turn_while_a_client_has_more_to_say() {
    let (mut client, server) = duplex(SOCKET_LEN);
    let service = answering(0);
    let n_calls = 5000;
    client.write_all(&[hello(), calls(1..=2 * n_calls)].concat()).await.unwrap();
    let mut serving = pin!(serving(server, &service));
    let mut n_turns = 0;
    while service.n_calls.get() < n_calls as usize {
        let n_before = service.n_calls.get();
        assert!(have_turn(serving.as_mut()).await);
        let n_served = service.n_calls.get() - n_before;
        assert!(n_served <= 130, "{n_served} calls in a turn");
        n_turns += 1;
    }
    // Besides calls, turns are spent on what is read.
    assert!(n_turns <= 2 * n_calls / 100, "{n_turns} turns");
}

/// Lets a server have one turn; true while it has not ended.
async fn have_turn(serving: Pin<&mut impl Future<Output = io::Result<()>>>) -> bool {
    let mut serving = serving;
    // Tokio wakes whoever has yielded when the test does so too.
    yield_now().await;
    poll_fn(|cx| Poll::Ready(serving.as_mut().poll(cx).is_pending())).await
}

/// Reads what has been written to a client, without waiting.
async fn written(io: &mut DuplexStream) -> Vec<u8> {
    // One read takes all: Tokio lets a task do only so many.
    let mut bytes = Vec::with_capacity(SOCKET_LEN);
    loop {
        let read = poll_fn(|cx| Poll::Ready(pin!(io.read_buf(&mut bytes)).poll(cx))).await;
        match read {
            Poll::Ready(Ok(1..)) => {}
            _ => return bytes,
        }
    }
}

/// How many frames of a kind there are.
fn count(mut frames: &[u8], kind: u8) -> usize {
    let mut n = 0;
    while let [a, b, c, found, rest @ ..] = frames {
        n += usize::from(*found == kind);
        frames = &rest[5 + u32::from_be_bytes([0, *a, *b, *c]) as usize..];
    }
    n
}

/// Calls that are refused for a content type of 4 KB, which is sent once.
fn refused_calls(n: u32) -> Vec<u8> {
    let long = [b"\x83\x86\x04\x02/x\x5f\x7f\x81\x1e".as_slice(), &[b'x'; 3968]].concat();
    let again = b"\x83\x86\x04\x02/x\xbe";
    let others = (1..n).flat_map(|at| frame(HEADERS, 0x5, 2 * at + 1, again));
    frame(HEADERS, 0x5, 1, &long).into_iter().chain(others).collect()
}

#[tokio::test]
async fn refusals_are_short_and_end_a_turn_as_calls_do() {
    let (mut client, server) = duplex(SOCKET_LEN);
    let n_calls = 5000;
    client.write_all(&[hello(), refused_calls(n_calls)].concat()).await.unwrap();
    let service = answering(0);
    let mut serving = pin!(serving(server, &service));
    let (mut n_refused, mut len) = (0, 0);
    while n_refused < n_calls as usize {
        assert!(have_turn(serving.as_mut()).await);
        let bytes = written(&mut client).await;
        let n_now = count(&bytes, HEADERS);
        assert!((1..=130).contains(&n_now), "{n_now} refusals in a turn");
        (n_refused, len) = (n_refused + n_now, len + bytes.len());
    }
    assert!(len < n_calls as usize * 500, "{len} bytes of refusals");
    assert_eq!(service.n_calls.get(), 0);
}

#[tokio::test]
async fn a_client_is_heard_while_its_calls_take_all_time_slices() {
    let (mut client, server) = duplex(SOCKET_LEN);
    let service = Rc::<Busy>::default();
    client.write_all(&[hello(), calls(1..=5)].concat()).await.unwrap();
    let mut serving = pin!(serving(server, &service));
    for n_calls in [3, 4] {
        for _ in 0..20 {
            assert!(have_turn(serving.as_mut()).await);
        }
        assert_eq!(service.n_calls.get(), n_calls);
        client.write_all(&calls(7..=7)).await.unwrap();
    }
}

#[tokio::test]
async fn frames_that_lead_to_nothing_end_a_turn() {
    let (mut client, server) = duplex(SOCKET_LEN);
    let n_frames = 50_000;
    let nothing = (0..n_frames).flat_map(|_| frame(PRIORITY, 0, 1, &[0; 5]));
    let sent: Vec<u8> =
        hello().into_iter().chain(calls(1..=1)).chain(nothing).chain(frame(SETTINGS, 0, 0, &[])).collect();
    client.write_all(&sent).await.unwrap();
    let service = answering(0);
    let mut serving = pin!(serving(server, &service));
    let (mut n_turns, mut n_settings) = (0, 0);
    // Ours, and two acknowledgements.
    while n_settings < 3 {
        assert!(have_turn(serving.as_mut()).await);
        n_turns += 1;
        n_settings += count(&written(&mut client).await, SETTINGS);
    }
    assert!(n_turns >= n_frames * 64 / time_slice::TIME_SLICE, "{n_turns} turns");
}

/// How many turns it takes until so many calls have seen that their client is gone.
async fn turns_to_end(n_calls: u32) -> usize {
    let (mut client, server) = duplex(SOCKET_LEN);
    let service = Rc::<Waiting>::default();
    client.write_all(&[hello(), calls(1..=2 * n_calls - 1)].concat()).await.unwrap();
    let mut serving = pin!(serving(server, &service));
    while service.n_calls.get() < n_calls as usize {
        assert!(have_turn(serving.as_mut()).await);
    }
    drop(client);
    let mut n_turns = 0;
    let mut is_serving = true;
    while is_serving {
        let n_before = service.n_ended.get();
        is_serving = have_turn(serving.as_mut()).await;
        let n_ended = service.n_ended.get() - n_before;
        assert!(n_ended <= 130, "{n_ended} calls in a turn");
        n_turns += 1;
    }
    assert_eq!(service.n_ended.get(), n_calls as usize);
    n_turns
}

#[tokio::test]
async fn calls_of_a_lost_connection_end_in_as_many_turns_as_they_take() {
    let [few, many] = [turns_to_end(2000).await, turns_to_end(4000).await];
    assert!(many <= 2 * few, "{few} turns, then {many}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_broke_the_connection_and_stays_is_left() {
    let (mut client, server) = duplex(SOCKET_LEN);
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nnonsense").await.unwrap();
    let started_at = Instant::now();
    serving(server, &answering(0)).await.unwrap_err();
    assert_eq!(started_at.elapsed(), FAREWELL_TIME_MAX);
}
