//! A small gRPC client on one connection, which sees a broken connection as an outcome.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::client::{Builder, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request};
use prost::Message;
use proto::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse,
    RangeRequest, RangeResponse, TxnRequest, TxnResponse,
};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a call waits for its answer before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);
/// Windows that no answer of a test fills.
const WINDOW: u32 = 64 << 20;
/// The window of HTTP/2 that is always there.
const NARROW_WINDOW: u32 = 65_535;

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The server refused it: gRPC code and message.
    Refused(u32, String),
    /// The connection broke: the call may or may not have taken effect.
    Lost,
}

impl From<h2::Error> for Failure {
    fn from(_: h2::Error) -> Self {
        Failure::Lost
    }
}

/// One connection; its clones share it.
#[derive(Clone)]
pub(crate) struct Client {
    send: SendRequest<Bytes>,
}

impl Client {
    /// Connects to a server that is ready.
    pub(crate) async fn connect(address: SocketAddr) -> Client {
        Client::connect_with(address, WINDOW).await
    }

    /// The same with the window that HTTP/2 begins with: a long answer waits for its reader.
    pub(crate) async fn connect_narrow(address: SocketAddr) -> Client {
        Client::connect_with(address, NARROW_WINDOW).await
    }

    async fn connect_with(address: SocketAddr, window: u32) -> Client {
        Client::try_connect(address, window).await.unwrap()
    }

    /// Connects to a server that may be down.
    pub(crate) async fn connect_if_up(address: SocketAddr) -> Result<Client, Failure> {
        Client::try_connect(address, WINDOW).await
    }

    async fn try_connect(address: SocketAddr, window: u32) -> Result<Client, Failure> {
        let socket = TcpStream::connect(address).await.map_err(|_| Failure::Lost)?;
        socket.set_nodelay(true).map_err(|_| Failure::Lost)?;
        let mut builder = Builder::new();
        builder.initial_window_size(window).initial_connection_window_size(window);
        let (send, connection) = builder.handshake(socket).await?;
        tokio::spawn(connection);
        Ok(Client { send })
    }

    pub(crate) async fn put(&self, request: &PutRequest) -> Result<PutResponse, Failure> {
        self.call("/etcdserverpb.KV/Put", request).await
    }

    pub(crate) async fn range(&self, request: &RangeRequest) -> Result<RangeResponse, Failure> {
        self.call("/etcdserverpb.KV/Range", request).await
    }

    pub(crate) async fn delete_range(
        &self,
        request: &DeleteRangeRequest,
    ) -> Result<DeleteRangeResponse, Failure> {
        self.call("/etcdserverpb.KV/DeleteRange", request).await
    }

    pub(crate) async fn txn(&self, request: &TxnRequest) -> Result<TxnResponse, Failure> {
        self.call("/etcdserverpb.KV/Txn", request).await
    }

    pub(crate) async fn compact(&self, request: &CompactionRequest) -> Result<CompactionResponse, Failure> {
        self.call("/etcdserverpb.KV/Compact", request).await
    }

    /// One message, one answer, decoded.
    pub(crate) async fn call<R: Message + Default>(
        &self,
        path: &str,
        request: &impl Message,
    ) -> Result<R, Failure> {
        let answer = self.unary(path, &request.encode_to_vec()).await?;
        Ok(R::decode(answer).expect("the server answers in protobuf"))
    }

    /// One encoded message, one answer.
    pub(crate) async fn unary(&self, path: &str, message: &[u8]) -> Result<Bytes, Failure> {
        let mut stream = self.open(path).await?;
        stream.send(message, true)?;
        let answer = stream.next().await?;
        match stream.next().await? {
            None => Ok(answer.expect("a call that ends well has an answer")),
            Some(_) => panic!("{path} answered twice"),
        }
    }

    /// Begins a call.
    pub(crate) async fn open(&self, path: &str) -> Result<Stream, Failure> {
        self.open_with(path, &[]).await
    }

    /// Begins a call with metadata.
    pub(crate) async fn open_with(&self, path: &str, metadata: &[(&str, &[u8])]) -> Result<Stream, Failure> {
        let mut send = self.send.clone().ready().await?;
        let request = Request::post(format!("http://test{path}")).header("content-type", "application/grpc");
        let request = metadata.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let (response, requests) = send.send_request(request.body(()).unwrap(), false)?;
        Ok(Stream { requests, response: Some(response), answers: None, buffer: BytesMut::new() })
    }
}

/// A call that is under way. Dropping it cancels it.
pub(crate) struct Stream {
    requests: SendStream<Bytes>,
    response: Option<h2::client::ResponseFuture>,
    answers: Option<RecvStream>,
    buffer: BytesMut,
}

impl Stream {
    /// Tells the server that nothing more comes.
    pub(crate) fn end(&mut self) -> Result<(), Failure> {
        Ok(self.requests.send_data(Bytes::new(), true)?)
    }

    /// Sends a message.
    pub(crate) fn send(&mut self, message: &[u8], is_last: bool) -> Result<(), Failure> {
        self.send_part(message, message.len(), is_last)
    }

    /// Sends the beginning of a message that is announced as `len` bytes long.
    pub(crate) fn send_part(&mut self, part: &[u8], len: usize, is_last: bool) -> Result<(), Failure> {
        let mut frame = BytesMut::with_capacity(5 + part.len());
        frame.put_u8(0);
        frame.put_u32(u32::try_from(len).unwrap());
        frame.extend_from_slice(part);
        Ok(self.requests.send_data(frame.freeze(), is_last)?)
    }

    /// Waits until an answer begins, and takes nothing of it.
    pub(crate) async fn wait_for_head(&mut self) -> Result<(), Failure> {
        let response = self.response.take().expect("nothing was waited for");
        self.answers =
            Some(timeout(PATIENCE, response).await.expect("an answer begins in time")?.into_body());
        Ok(())
    }

    /// The next answer; nothing if the call has ended well.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        timeout(PATIENCE, self.receive()).await.expect("an answer comes in time")
    }

    /// Like [`Stream::next`], but waits however long it takes.
    pub(crate) async fn receive(&mut self) -> Result<Option<Bytes>, Failure> {
        if let Some(response) = &mut self.response {
            let (head, answers) = response.await?.into_parts();
            self.response = None;
            check_status(&head.headers)?;
            self.answers = Some(answers);
            if head.headers.contains_key("grpc-status") {
                // All there is: a call that ends well without an answer.
                return Ok(None);
            }
        }
        let answers = self.answers.as_mut().expect("the head has come");
        loop {
            if let Some(message) = take_message(&mut self.buffer) {
                return Ok(Some(message));
            }
            match answers.data().await {
                Some(chunk) => {
                    let chunk = chunk?;
                    answers.flow_control().release_capacity(chunk.len())?;
                    self.buffer.extend_from_slice(&chunk);
                }
                None => {
                    let trailers = answers.trailers().await?.ok_or(Failure::Lost)?;
                    return check_status(&trailers).map(|()| None);
                }
            }
        }
    }
}

/// Headers without a status are those of a call that goes on.
fn check_status(headers: &HeaderMap) -> Result<(), Failure> {
    let text = |name: &str| headers.get(name).map_or("0", |value| value.to_str().unwrap());
    match text("grpc-status") {
        "0" => Ok(()),
        code => Err(Failure::Refused(code.parse().unwrap(), text("grpc-message").to_owned())),
    }
}

fn take_message(buffer: &mut BytesMut) -> Option<Bytes> {
    let len = u32::from_be_bytes(*buffer.get(1..)?.first_chunk()?) as usize;
    if buffer.len() < 5 + len {
        return None;
    }
    buffer.advance(5);
    Some(buffer.split_to(len).freeze())
}
