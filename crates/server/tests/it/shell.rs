//! What a well-behaved gRPC client sees.

use std::io::{Read, Write};
use std::sync::atomic::Ordering;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use h2::Reason;
use server::grpc::Gone;

use crate::client::{Client, frame};
use crate::testbed::{FLOOD_LEN, MESSAGE_LEN_MAX, with_server};

#[tokio::test]
async fn unary_call_is_answered() {
    with_server(async |testbed| {
        let mut client = Client::connect(testbed.addr).await;
        let answer = client.unary("/t/Echo", &[], b"hello").await;
        assert_eq!(answer.http, 200);
        assert_eq!(answer.headers["content-type"], "application/grpc");
        assert_eq!(answer.body, frame(0, b"hello"));
        assert_eq!(answer.status(), ("0", ""));
        assert!(!answer.trailers.is_empty());
    })
    .await;
}

#[tokio::test]
async fn many_calls_share_a_connection() {
    with_server(async |testbed| {
        let mut client = Client::connect(testbed.addr).await;
        let mut calls = Vec::new();
        for number in 0..50_u8 {
            let mut call = client.open("/t/Echo", &[]).await.unwrap();
            call.request.send_data(frame(0, &[number]), true).unwrap();
            calls.push((number, call));
        }
        for (number, call) in calls {
            assert_eq!(call.answer().await.unwrap().body, frame(0, &[number]));
        }
    })
    .await;
}

#[tokio::test]
async fn answer_does_not_wait_for_half_close() {
    with_server(async |testbed| {
        let mut client = Client::connect(testbed.addr).await;
        let mut call = client.open("/t/Echo", &[]).await.unwrap();
        let (first, second) = (frame(0, b"in two").slice(..7), frame(0, b"in two").slice(7..));
        call.request.send_data(first, false).unwrap();
        call.request.send_data(second, false).unwrap();
        let answer = call.answer().await.unwrap();
        assert_eq!(answer.body, frame(0, b"in two"));
        assert_eq!(answer.status(), ("0", ""));
    })
    .await;
}

#[tokio::test]
async fn big_message_crosses_many_frames() {
    with_server(async |testbed| {
        let mut client = Client::connect(testbed.addr).await;
        let message = vec![b'x'; MESSAGE_LEN_MAX];
        let answer = client.unary("/t/Echo", &[], &message).await;
        assert_eq!(answer.body, frame(0, &message));
    })
    .await;
}

#[tokio::test]
async fn answer_in_pieces_is_one_message() {
    with_server(async |testbed| {
        let mut client = Client::connect(testbed.addr).await;
        let answer = client.unary("/t/Pieces", &[], b"one two and").await;
        assert_eq!(answer.body, frame(0, b"one two and"));
        assert_eq!(answer.status(), ("0", ""));
    })
    .await;
}

#[tokio::test]
async fn answer_in_pieces_may_fail_between_them() {
    with_server(async |testbed| {
        let mut client = Client::connect(testbed.addr).await;
        let answer = client.unary("/t/Pieces", &[], b"onebad").await;
        assert_eq!(answer.body, frame(0, b"onebad")[..8]);
        assert_eq!(answer.status(), ("13", "a bad piece"));
        assert_eq!(client.unary("/t/Pieces", &[], b"bad").await.status(), ("13", "a bad piece"));
    })
    .await;
}

#[tokio::test]
async fn failure_is_one_headers_frame() {
    with_server(async |testbed| {
        let mut client = Client::connect(testbed.addr).await;
        let answer = client.unary("/t/Nope", &[], b"").await;
        assert_eq!(answer.http, 200);
        assert!(answer.trailers.is_empty());
        assert_eq!(answer.headers["content-type"], "application/grpc");
        assert_eq!(answer.status(), ("12", "100%25 unknown: /t/Nope"));
    })
    .await;
}

#[tokio::test]
async fn stream_carries_both_directions() {
    with_server(async |testbed| {
        let mut client = Client::connect(testbed.addr).await;
        let mut call = client.open("/t/Stream", &[]).await.unwrap();
        call.request.send_data(frame(0, b"one"), false).unwrap();
        let (mut request, response) = call.head().await.unwrap();
        let mut answers = response.into_body();
        assert_eq!(answers.data().await.unwrap().unwrap(), frame(0, b"one"));
        request.send_data(frame(0, b"two"), true).unwrap();
        assert_eq!(answers.data().await.unwrap().unwrap(), frame(0, b"two"));
        assert!(answers.data().await.is_none());
        assert_eq!(answers.trailers().await.unwrap().unwrap()["grpc-status"], "0");
    })
    .await;
}

#[tokio::test]
async fn stream_may_fail_after_messages() {
    with_server(async |testbed| {
        let mut client = Client::connect(testbed.addr).await;
        let mut call = client.open("/t/Stream", &[]).await.unwrap();
        call.request.send_data(frame(0, b"one"), false).unwrap();
        call.request.send_data(frame(0, b""), false).unwrap();
        let answer = call.answer().await.unwrap();
        assert_eq!(answer.body, frame(0, b"one"));
        assert_eq!(answer.status(), ("11", "an empty message"));
    })
    .await;
}

#[tokio::test]
async fn deadline_ends_a_call() {
    with_server(async |testbed| {
        let mut client = Client::connect(testbed.addr).await;
        for path in ["/t/Hang", "/t/Stream"] {
            let call = client.open(path, &[("grpc-timeout", "20m")]).await.unwrap();
            let answer = call.answer().await.unwrap();
            assert_eq!(answer.status(), ("4", "context deadline exceeded"), "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn service_learns_that_the_client_cancelled() {
    with_server(async |mut testbed| {
        let mut client = Client::connect(testbed.addr).await;
        let call = client.open("/t/Watch", &[]).await.unwrap();
        let (mut request, _response) = call.head().await.unwrap();
        request.send_reset(Reason::CANCEL);
        assert_eq!(testbed.endings.recv().await, Some(Gone::Client));

        let longest = [("grpc-timeout", "99999999H")];
        let mut unanswered = client.open("/t/Hang", &longest).await.unwrap();
        testbed.waiting.notified().await;
        unanswered.request.send_reset(Reason::CANCEL);
        assert_eq!(testbed.endings.recv().await, Some(Gone::Client));
    })
    .await;
}

#[tokio::test]
async fn service_learns_that_the_connection_broke() {
    with_server(async |mut testbed| {
        let (mut near, far) = tokio::io::duplex(1 << 16);
        let mut socket = tokio::net::TcpStream::connect(testbed.addr).await.unwrap();
        let relay = tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut socket).await });
        let (mut send, connection) = h2::client::handshake(far).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::post("http://test/t/Watch").header("content-type", "application/grpc");
        let (response, _request) = send.send_request(request.body(()).unwrap(), false).unwrap();
        response.await.unwrap();
        relay.abort();
        assert_eq!(testbed.endings.recv().await, Some(Gone::Client));
    })
    .await;
}

#[tokio::test]
async fn answer_that_is_too_long_is_an_error_of_its_call_alone() {
    with_server(async |testbed| {
        let mut client = Client::connect(testbed.addr).await;
        let text = "grpc: trying to send message larger than max (4613734400 vs. 2147483647)";
        assert_eq!(client.unary("/t/TooLong", &[], b"").await.status(), ("8", text));
        assert_eq!(client.unary("/t/Echo", &[], b"x").await.status(), ("0", ""));
    })
    .await;
}

#[tokio::test]
async fn time_that_is_over_before_it_begins_is_over_at_once() {
    with_server(async |testbed| {
        let mut client = Client::connect(testbed.addr).await;
        let answer = client.unary("/t/Echo", &[("grpc-timeout", "0n")], b"x").await;
        assert_eq!(answer.status(), ("4", "context deadline exceeded"));
        assert!(answer.body.is_empty());
    })
    .await;
}

#[tokio::test]
async fn reader_that_never_reads_stops_the_sender() {
    with_server(async |mut testbed| {
        let window = 4 * u32::try_from(FLOOD_LEN).unwrap();
        let mut client = Client::connect_with_stream_window(testbed.addr, window).await;
        let (request, response) = client.open("/t/Flood", &[]).await.unwrap().head().await.unwrap();
        let mut messages = response.into_body();
        let mut received_len = 0;
        while received_len < window as usize {
            received_len += messages.data().await.unwrap().unwrap().len();
        }
        // The window is used up. Calls beside it go on, and the sender does not.
        for _ in 0..3 {
            assert_eq!(client.unary("/t/Echo", &[], b"x").await.status(), ("0", ""));
        }
        assert_eq!(testbed.n_sent.load(Ordering::SeqCst), 3);
        drop((request, messages));
        assert_eq!(testbed.endings.recv().await, Some(Gone::Client));
    })
    .await;
}

#[tokio::test]
async fn gzip_is_answered_with_gzip() {
    with_server(async |testbed| {
        let mut client = Client::connect(testbed.addr).await;
        for path in ["/t/Echo", "/t/Pieces"] {
            let mut packed = GzEncoder::new(Vec::new(), Compression::default());
            packed.write_all(b"hello hello hello").unwrap();
            let mut call = client.open(path, &[("grpc-encoding", "gzip")]).await.unwrap();
            call.request.send_data(frame(1, &packed.finish().unwrap()), true).unwrap();
            let answer = call.answer().await.unwrap();
            assert_eq!(answer.headers["grpc-encoding"], "gzip");
            assert_eq!(answer.body[0], 1);
            let mut message = String::new();
            GzDecoder::new(&answer.body[5..]).read_to_string(&mut message).unwrap();
            assert_eq!(message, "hello hello hello");
        }
    })
    .await;
}
