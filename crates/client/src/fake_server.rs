//! A gRPC server for tests that does what the test says, by h2 instead of our own HTTP/2.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::server::{self, SendResponse};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;

use crate::client::Client;
use crate::config::Config;
use crate::error::Code;

/// Bytes of requests that a client may send on a stream before the server has read some.
const WINDOW: u32 = 16 << 10;

type Incoming = (Request<RecvStream>, SendResponse<Bytes>);

/// A server on a free port of the loopback interface. Dropping it closes the port and all connections.
pub(crate) struct FakeServer {
    incoming: Receiver<Incoming>,
    address: String,
    _task: JoinSet<()>,
}

/// A call, as the server sees it.
pub(crate) struct Call {
    requests: RecvStream,
    responses: SendStream<Bytes>,
    /// What was received and not decoded yet.
    received: BytesMut,
    /// Bytes that the client may not yet send others for.
    unreleased: usize,
}

/// Runs `test` with a server and a client of it, in one thread.
pub(crate) fn with_server(test: impl AsyncFnOnce(FakeServer, Client)) {
    with_servers(async |[server], client| test(server, client).await);
}

/// Runs `test` with several servers and a client of all, in one thread, once the client has connected to each.
pub(crate) fn with_servers<const N: usize>(test: impl AsyncFnOnce([FakeServer; N], Client)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut servers = Vec::new();
        for _ in 0..N {
            servers.push(FakeServer::start().await);
        }
        let endpoints = servers.iter().map(|server| server.address.clone()).collect();
        let client = Client::new(&Config { endpoints, ..Config::default() }).unwrap();
        client.wait_for_all_endpoints().await;
        test(servers.try_into().unwrap_or_else(|_| panic!("there are {N}")), client).await;
    });
}

/// Lets all tasks go on until no input is left that could wake one of them. All of them run in one thread.
pub(crate) async fn settle() {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
}

async fn serve(listener: TcpListener, calls: Sender<Incoming>) {
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let calls = calls.clone();
        connections.spawn(async move {
            let mut connection =
                server::Builder::new().initial_window_size(WINDOW).handshake(socket).await.unwrap();
            while let Some(Ok(call)) = connection.accept().await {
                let _ = calls.send(call).await;
            }
        });
    }
}

impl FakeServer {
    async fn start() -> FakeServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, incoming) = channel(16);
        let mut task = JoinSet::new();
        task.spawn(serve(listener, sender));
        FakeServer { incoming, address, _task: task }
    }

    /// Takes a call and refuses it with etcd's text for a member that knows no leader.
    pub(crate) async fn refuse_without_leader(&mut self) {
        self.accept().await.refuse_with(Code::Unavailable, "etcdserver: no leader");
    }

    /// Takes a call of one request and answers it.
    pub(crate) async fn answer(&mut self, response: &impl Message) {
        let mut call = self.accept().await;
        call.send(response);
        call.end(Code::Ok, "");
    }

    /// Whether no call is waiting, once the client has done what it can do.
    pub(crate) async fn is_idle(&mut self) -> bool {
        settle().await;
        self.incoming.is_empty()
    }

    /// The next call of the client, with the head of its answer sent.
    pub(crate) async fn accept(&mut self) -> Call {
        let (request, mut response) = self.incoming.recv().await.unwrap();
        let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
        let responses = response.send_response(head, false).unwrap();
        Call { requests: request.into_body(), responses, received: BytesMut::new(), unreleased: 0 }
    }
}

impl Call {
    /// The next request; `None` after the last.
    pub(crate) async fn receive<M: Message + Default>(&mut self) -> Option<M> {
        loop {
            if let Some(len) = self.received.get(1..5) {
                let len = u32::from_be_bytes(len.try_into().unwrap()) as usize;
                if self.received.len() >= 5 + len {
                    self.received.advance(5);
                    return Some(M::decode(self.received.split_to(len)).unwrap());
                }
            }
            self.requests.flow_control().release_capacity(self.unreleased).unwrap();
            self.unreleased = 0;
            self.take_data().await?;
        }
    }

    /// Waits until the client may send nothing more, and until its tasks have gone as far as they come.
    pub(crate) async fn stop_reading(&mut self) {
        while self.unreleased < WINDOW as usize {
            self.take_data().await.unwrap();
        }
        settle().await;
    }

    pub(crate) fn send(&mut self, response: &impl Message) {
        let mut frame = BytesMut::new();
        frame.put_u8(0);
        frame.put_u32(u32::try_from(response.encoded_len()).unwrap());
        response.encode(&mut frame).unwrap();
        self.responses.send_data(frame.freeze(), false).unwrap();
    }

    /// Ends the call with an error.
    pub(crate) fn refuse(self, code: Code) {
        self.end(code, "");
    }

    /// Ends the call with an error and its text.
    pub(crate) fn refuse_with(self, code: Code, text: &'static str) {
        self.end(code, text);
    }

    fn end(mut self, code: Code, text: &'static str) {
        let trailers = HeaderMap::from_iter([
            (HeaderName::from_static("grpc-status"), HeaderValue::from(code as i32)),
            (HeaderName::from_static("grpc-message"), HeaderValue::from_static(text)),
        ]);
        self.responses.send_trailers(trailers).unwrap();
    }

    async fn take_data(&mut self) -> Option<()> {
        let data = self.requests.data().await?.unwrap();
        self.unreleased += data.len();
        self.received.extend_from_slice(&data);
        Some(())
    }
}
