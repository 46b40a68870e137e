//! The client against a server of a few lines, on loopback.

use bytes::BytesMut;
use h2::server::SendResponse;
use http::{HeaderMap, Response};
use proto::etcdserverpb::{RangeRequest, RangeResponse};
use tokio::net::TcpListener;

use super::*;

/// What the server does with a call after its request has come in.
type Script = fn(SendResponse<Bytes>);

/// Serves each call on one connection by `script`, and returns the endpoint.
async fn serve(script: Script) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, respond))) = connection.accept().await {
            assert_eq!(request.headers()["te"], "trailers");
            assert_eq!(request.headers()["content-type"], "application/grpc");
            script(respond);
        }
    });
    endpoint
}

fn trailers(code: &'static str, message: &'static str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", code.parse().unwrap());
    trailers.insert("grpc-message", message.parse().unwrap());
    trailers
}

fn respond(mut respond: SendResponse<Bytes>, chunks: &[Bytes], code: &'static str) {
    let mut body = respond.send_response(Response::new(()), false).unwrap();
    for chunk in chunks {
        body.send_data(chunk.clone(), false).unwrap();
    }
    body.send_trailers(trailers(code, "said the server")).unwrap();
}

async fn ask(script: Script) -> Result<Bytes, Error> {
    let connection = Connection::open(&serve(script).await).await?;
    connection.unary(connection.head("/etcdserverpb.KV/Range"), &RangeRequest::default()).await
}

/// The message as it stands in a body.
pub(crate) fn framed(message: &impl Message) -> Bytes {
    let mut body = BytesMut::new();
    stream::put_message(message, &mut body);
    body.freeze()
}

fn counted(count: i64) -> Bytes {
    framed(&RangeResponse { count, ..Default::default() })
}

#[tokio::test]
async fn an_answer_may_come_in_any_number_of_frames() {
    let answer = ask(|call| {
        let whole = counted(7);
        let bytes: Vec<Bytes> = whole.chunks(1).map(Bytes::copy_from_slice).collect();
        respond(call, &bytes, "0");
    });
    assert_eq!(RangeResponse::decode(answer.await.unwrap()).unwrap().count, 7);
}

#[tokio::test]
async fn a_status_in_the_trailers_is_the_result() {
    let error = ask(|call| respond(call, &[], "11")).await.unwrap_err();
    assert!(!error.ends_connection());
    assert_eq!(error.to_string(), "the server refused with gRPC code 11: said the server");
}

#[tokio::test]
async fn a_status_in_place_of_headers_is_the_result() {
    let error = ask(|mut call| {
        let mut response = Response::new(());
        *response.headers_mut() = trailers("12", "no such method");
        call.send_response(response, true).unwrap();
    });
    assert!(matches!(error.await, Err(Error::Status { code: 12, .. })));
}

#[tokio::test]
async fn an_http_error_is_not_taken_for_an_answer() {
    let error = ask(|mut call| {
        let response = Response::builder().status(404).body(()).unwrap();
        call.send_response(response, true).unwrap();
    });
    assert_eq!(error.await.unwrap_err().to_string(), "wrong answer: HTTP status 404 in place of gRPC");
}

#[tokio::test]
async fn a_unary_call_takes_exactly_one_message() {
    let none = ask(|call| respond(call, &[], "0")).await.unwrap_err();
    assert!(none.to_string().contains("a status without a message"), "{none}");
    let two = ask(|call| respond(call, &[counted(1), counted(2)], "0")).await.unwrap_err();
    assert!(two.to_string().contains("two messages"), "{two}");
}

#[tokio::test]
async fn a_message_cut_short_is_noticed() {
    let error = ask(|call| respond(call, &[counted(7).slice(..3)], "0")).await.unwrap_err();
    assert_eq!(error.to_string(), "wrong answer: 3 bytes of an unfinished message");
}

#[tokio::test]
async fn a_compressed_message_is_refused() {
    let error = ask(|call| respond(call, &[Bytes::from_static(&[1, 0, 0, 0, 0])], "0")).await.unwrap_err();
    assert!(error.to_string().contains("a compressed message"), "{error}");
}

#[tokio::test]
async fn a_broken_stream_ends_the_connection() {
    let error = ask(|mut call| call.send_reset(h2::Reason::INTERNAL_ERROR)).await.unwrap_err();
    assert!(error.ends_connection());
}

#[tokio::test]
async fn a_connection_that_is_gone_ends_its_calls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connection = Connection::open(&listener.local_addr().unwrap().to_string()).await.unwrap();
    drop(listener.accept().await.unwrap());
    let head = connection.head("/etcdserverpb.KV/Range");
    for _ in 0..2 {
        assert!(connection.unary(head, &RangeRequest::default()).await.unwrap_err().ends_connection());
    }
}

#[tokio::test]
async fn a_stream_yields_its_messages_in_order_and_then_ends() {
    let endpoint = serve(|call| respond(call, &[counted(1), counted(2)], "0")).await;
    let connection = Connection::open(&endpoint).await.unwrap();
    let mut call = connection.stream(connection.head("/etcdserverpb.Watch/Watch")).unwrap();
    call.send(&RangeRequest::default());
    let mut counts = Vec::new();
    while let Some(message) = call.next().await.unwrap() {
        counts.push(RangeResponse::decode(message).unwrap().count);
    }
    assert_eq!(counts, [1, 2]);
}

#[tokio::test]
async fn an_answer_larger_than_a_window_arrives_whole() {
    let endpoint = serve(|call| {
        let kvs = vec![proto::mvccpb::KeyValue { value: vec![7; 1 << 20].into(), ..Default::default() }; 20];
        respond(call, &[framed(&RangeResponse { kvs, ..Default::default() })], "0");
    });
    let connection = Connection::open(&endpoint.await).await.unwrap();
    let head = connection.head("/etcdserverpb.KV/Range");
    let answer = connection.unary(head, &RangeRequest::default()).await.unwrap();
    assert!(answer.len() > 20 << 20);
}
