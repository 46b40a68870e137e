//! What becomes of connections, without a socket.

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, sleep};

use super::*;

/// Answers with the host that the request names.
struct HostName;

impl Routes for HostName {
    async fn answer(&self, request: &HttpRequest<'_>) -> Answer {
        Answer::text(StatusCode::OK, request.host.to_owned())
    }
}

/// Runs `client` against a server, until either ends; returns what the client came to.
async fn with_server<T>(client: impl AsyncFnOnce(DuplexStream) -> T) -> (T, Option<io::Result<()>>) {
    let (near, far) = duplex(1 << 16);
    let routes = Rc::new(HostName);
    let mut serving = pin!(serve(far, &routes, Port::Client, std::future::pending()));
    let mut ended = None;
    let outcome = {
        let mut client = pin!(client(near));
        loop {
            tokio::select! {
                outcome = &mut client => break outcome,
                result = &mut serving, if ended.is_none() => ended = Some(result),
            }
        }
    };
    (outcome, ended)
}

/// The first line and the body of the answer to a request whose connection closes.
async fn ask(request: &str) -> (String, String) {
    let answer = with_server(async |mut client| {
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    });
    let answer = answer.await.0;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("\r\nContent-Type: text/plain; charset=utf-8\r\n"), "{head}");
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[tokio::test]
async fn host_is_that_of_the_uri_or_of_the_one_header() {
    for (request, host) in [
        ("GET /x HTTP/1.1\r\nHost: a:1\r\nConnection: close\r\n\r\n", "a:1"),
        ("GET http://evil:1/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "evil:1"),
        ("GET /x HTTP/1.1\r\nHost: \r\nConnection: close\r\n\r\n", ""),
        ("GET /x HTTP/1.0\r\n\r\n", ""),
    ] {
        let (status, body) = ask(request).await;
        assert!(status.ends_with(" 200 OK"), "{status}");
        assert_eq!(body, host, "{request}");
    }
}

#[test]
fn percent_signs_stand_before_two_digits() {
    assert_eq!(decoded("/%68ealth/%C3%A9").unwrap(), "/health/\u{e9}");
    assert_eq!(decoded("/health").unwrap(), "/health");
    assert_eq!(decoded("/%ff").unwrap(), "/\u{fffd}");
    for text in ["/%", "/%6", "/%6x", "/%%41"] {
        assert_eq!(decoded(text), None, "{text}");
    }
}

#[tokio::test]
async fn bad_host_is_refused_as_by_go() {
    for (request, reason) in [
        ("GET /x HTTP/1.1\r\n\r\n", "Bad Request: missing required Host header"),
        ("GET http://a/x HTTP/1.1\r\n\r\n", "Bad Request: missing required Host header"),
        ("GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", "Bad Request"),
        ("GET /x HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "Bad Request"),
        ("GET /x HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", "Bad Request"),
        ("GET /x HTTP/1.1\r\nHost: a b\r\n\r\n", "Bad Request: malformed Host header"),
        ("GET /x HTTP/1.1\r\nHost: a/b\r\n\r\n", "Bad Request: malformed Host header"),
    ] {
        let (status, body) = ask(request).await;
        assert_eq!(status.split_once(' ').unwrap().1, format!("400 {reason}"));
        assert_eq!(body, format!("400 {reason}"));
    }
}

#[tokio::test(start_paused = true)]
async fn idle_connection_stays_open() {
    let request = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
    let (_, ended) = with_server(async |mut client| {
        for _ in 0..2 {
            client.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\na") {
                assert_ne!(client.read_buf(&mut answer).await.unwrap(), 0);
            }
            sleep(100 * HEAD_TIME_MAX).await;
        }
    })
    .await;
    assert!(ended.is_none(), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn head_that_takes_too_long_ends_the_connection() {
    let started_at = Instant::now();
    let (sent, ended) = with_server(async |mut client| {
        client.write_all(b"GET /x HTTP/1.1\r\n").await.unwrap();
        for sent in 0.. {
            sleep(Duration::from_secs(1)).await;
            if client.write_all(b"a: b\r\n").await.is_err() {
                return sent;
            }
        }
        unreachable!("the server gives up before");
    })
    .await;
    assert_eq!(ended.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert!(started_at.elapsed() < HEAD_TIME_MAX + Duration::from_secs(2), "{sent}");
}
