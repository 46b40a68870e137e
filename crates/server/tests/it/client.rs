//! A gRPC client that can also do what no proper client does.

use std::net::SocketAddr;

use bytes::{BufMut, Bytes};
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response, StatusCode};
use tokio::net::TcpStream;

/// A window that no test fills unless it means to.
const WINDOW: u32 = 1 << 20;

/// One connection.
pub(crate) struct Client {
    send: SendRequest<Bytes>,
}

/// A call that is under way.
pub(crate) struct Open {
    pub(crate) request: SendStream<Bytes>,
    response: ResponseFuture,
}

/// All that came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) http: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Prefixes included.
    pub(crate) body: Vec<u8>,
    /// Empty if the status came with the headers.
    pub(crate) trailers: HeaderMap,
}

impl Client {
    pub(crate) async fn connect(addr: SocketAddr) -> Client {
        Client::connect_with_stream_window(addr, WINDOW).await
    }

    pub(crate) async fn connect_with_stream_window(addr: SocketAddr, window: u32) -> Client {
        let socket = TcpStream::connect(addr).await.unwrap();
        let mut builder = Builder::new();
        builder.initial_window_size(window).initial_connection_window_size(WINDOW);
        let (send, connection) = builder.handshake(socket).await.unwrap();
        tokio::spawn(connection);
        Client { send }
    }

    /// Sends headers: POST with gRPC's content type, unless `headers` say otherwise.
    pub(crate) async fn open(&mut self, path: &str, headers: &[(&str, &str)]) -> Result<Open, h2::Error> {
        let mut send = self.send.clone().ready().await?;
        let mut request = Request::post(format!("http://test{path}")).body(()).unwrap();
        request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let (response, request) = send.send_request(request, false)?;
        Ok(Open { request, response })
    }

    /// One message, one answer.
    pub(crate) async fn unary(&mut self, path: &str, headers: &[(&str, &str)], message: &[u8]) -> Answer {
        let mut call = self.open(path, headers).await.unwrap();
        call.request.send_data(frame(0, message), true).unwrap();
        call.answer().await.unwrap()
    }
}

impl Open {
    /// The response headers, and what follows them.
    pub(crate) async fn head(self) -> Result<(SendStream<Bytes>, Response<RecvStream>), h2::Error> {
        Ok((self.request, self.response.await?))
    }

    /// The answer to its end.
    pub(crate) async fn answer(self) -> Result<Answer, h2::Error> {
        let (_request, response) = self.head().await?;
        let (head, mut stream) = response.into_parts();
        let mut body = Vec::new();
        while let Some(chunk) = stream.data().await {
            let chunk = chunk?;
            stream.flow_control().release_capacity(chunk.len())?;
            body.extend_from_slice(&chunk);
        }
        let trailers = stream.trailers().await?.unwrap_or_default();
        Ok(Answer { http: head.status, headers: head.headers, body, trailers })
    }
}

impl Answer {
    /// Code and message, from wherever they stand.
    pub(crate) fn status(&self) -> (&str, &str) {
        let place = if self.trailers.is_empty() { &self.headers } else { &self.trailers };
        let text = |name: &str| place.get(name).map_or("", |value| value.to_str().unwrap());
        (text("grpc-status"), text("grpc-message"))
    }
}

/// A message with its prefix.
pub(crate) fn frame(flag: u8, message: &[u8]) -> Bytes {
    let mut bytes = vec![flag];
    bytes.put_u32(u32::try_from(message.len()).unwrap());
    bytes.extend_from_slice(message);
    Bytes::from(bytes)
}
