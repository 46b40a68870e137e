//! HTTP/1.1 on the port of gRPC.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::testbed::with_server;

/// Sends one request head that asks to close the connection; returns status line, content type and body.
async fn request(addr: SocketAddr, line: &str) -> (String, String, String) {
    let mut socket = TcpStream::connect(addr).await.unwrap();
    let head = format!("{line} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let content_type = head.lines().find_map(|line| line.strip_prefix("Content-Type: ")).unwrap_or_default();
    (head.lines().next().unwrap().to_owned(), content_type.to_owned(), body.to_owned())
}

fn text(status: &str, body: &str) -> (String, String, String) {
    (format!("HTTP/1.1 {status}"), "text/plain; charset=utf-8".to_owned(), body.to_owned())
}

#[tokio::test]
async fn request_reaches_the_routes_and_their_answer_the_client() {
    with_server(async |testbed| {
        let answer = request(testbed.addr, "GET /asked?exclude=x").await;
        assert_eq!(answer, text("200 OK", "GET /asked exclude=x Client"));
        let answer = request(testbed.addr, "POST /asked").await;
        assert_eq!(answer, text("200 OK", "POST /asked  Client"));
        assert_eq!(request(testbed.addr, "HEAD /asked").await, text("200 OK", ""));
        assert_eq!(request(testbed.addr, "GET /nope").await, text("404 Not Found", "no such path"));
    })
    .await;
}

#[tokio::test]
async fn long_head_is_431() {
    with_server(async |testbed| {
        let line = format!("GET /asked HTTP/1.1\r\ntoken: {}\r\nx:", "x".repeat(20 << 10));
        let (status, _, _) = request(testbed.addr, &line).await;
        assert_eq!(status, "HTTP/1.1 431 Request Header Fields Too Large");
    })
    .await;
}

#[tokio::test]
async fn connection_serves_one_request_after_another() {
    with_server(async |testbed| {
        let mut socket = TcpStream::connect(testbed.addr).await.unwrap();
        for _ in 0..3 {
            socket.write_all(b"GET /asked HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
            let mut received = Vec::new();
            while !received.ends_with(b"\r\n\r\nGET /asked  Client") {
                assert_ne!(socket.read_buf(&mut received).await.unwrap(), 0);
            }
        }
    })
    .await;
}
