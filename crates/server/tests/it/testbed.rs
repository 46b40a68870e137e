//! A server on loopback whose service does what the path of a call asks for.

use std::future::pending;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::http::StatusCode;
use bytes::Bytes;
use server::config::Url;
use server::grpc::{Body, Call, Code, Gone, Head, Keepalive, Limits, Service, Status};
use server::http::{Answer, HttpRequest, Routes};
use server::listen::{Endpoint, Listeners, Reuse, Traffic};
use server::worker::Workers;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

/// Longest request message of the testbed.
pub(crate) const MESSAGE_LEN_MAX: usize = 100_000;

/// Length of each message of `/t/Flood`.
pub(crate) const FLOOD_LEN: usize = 16 << 10;

/// How long a test waits for anything before it fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a test sees and steers of the service.
pub(crate) struct Testbed {
    pub(crate) addr: SocketAddr,
    /// How calls ended that a client cannot see the end of.
    pub(crate) endings: UnboundedReceiver<Gone>,
    /// Told for each call of `/t/Gate` and `/t/Hang` that has begun.
    pub(crate) waiting: Arc<Notify>,
    /// Opens `/t/Gate` for one call.
    pub(crate) gate: Arc<Notify>,
    /// Messages that `/t/Flood` has sent.
    pub(crate) n_sent: Arc<AtomicUsize>,
}

/// Runs `test` against a server, whose workers are left running.
pub(crate) async fn with_server<T>(test: impl AsyncFnOnce(Testbed) -> T) -> (Workers, T) {
    let (sender, endings) = unbounded_channel();
    let service =
        Obedient { endings: sender, waiting: Arc::default(), gate: Arc::default(), n_sent: Arc::default() };
    let (waiting, gate) = (Arc::clone(&service.waiting), Arc::clone(&service.gate));
    let n_sent = Arc::clone(&service.n_sent);
    let keepalive = Keepalive {
        min_interval: Duration::from_secs(5),
        ping_after: Duration::from_secs(7200),
        ping_timeout: Duration::from_secs(20),
    };
    let limits = Limits { message_len_max: MESSAGE_LEN_MAX, concurrent_streams_max: 100, keepalive };
    let workers = Workers::start(2, move |_| {
        let service = Rc::new(service.clone());
        Endpoint { grpc: Rc::clone(&service), http: service, limits }
    });
    let workers = workers.unwrap();
    let url = Url::parse("http://127.0.0.1:0").unwrap();
    let listeners = Listeners::bind(&[(url, Traffic::GrpcAndHttp)], Reuse::default()).unwrap();
    let addr = listeners.addresses().next().unwrap().0.parse().unwrap();
    let testbed = Testbed { addr, endings, waiting, gate, n_sent };
    let outcome = tokio::select! {
        stopped = listeners.run(&workers, watch::channel(true).1) => panic!("accepting ended: {stopped:?}"),
        outcome = timeout(PATIENCE, test(testbed)) => outcome.expect("the test ends in time"),
    };
    (workers, outcome)
}

/// The service and the routes of one worker.
#[derive(Clone)]
struct Obedient {
    endings: UnboundedSender<Gone>,
    waiting: Arc<Notify>,
    gate: Arc<Notify>,
    n_sent: Arc<AtomicUsize>,
}

impl Service for Obedient {
    type Route = String;

    fn route(&self, head: &Head) -> String {
        String::from_utf8(head.path.to_vec()).unwrap()
    }

    async fn call(self: &Rc<Self>, route: Rc<String>, mut call: Call) {
        match route.as_str() {
            "/t/Echo" => echo(call).await,
            "/t/Pieces" => echo_in_pieces(call).await,
            "/t/Stream" => stream(call).await,
            "/t/TooLong" => reply_too_long(call),
            "/t/Flood" => self.flood(call).await,
            "/t/Gate" => self.wait_at_gate(call).await,
            "/t/Hang" => self.hang(call).await,
            "/t/Watch" => self.watch(call).await,
            path => {
                let status = Status::unimplemented(format!("100% unknown: {path}"));
                let _ = call.reply(Err(status));
            }
        }
    }
}

impl Obedient {
    async fn wait_at_gate(&self, mut call: Call) {
        let message = call.unary().await;
        self.waiting.notify_one();
        self.gate.notified().await;
        let _ = call.reply(message.and_then(|message| Ok(Body::from_chunks([message])?)));
    }

    /// Never has an answer.
    async fn hang(&self, mut call: Call) {
        self.waiting.notify_one();
        let gone = call.bound(pin!(pending::<()>())).await.unwrap_err();
        if gone == Gone::Client {
            let _ = self.endings.send(gone);
        }
        let _ = call.reply(Err(gone.into()));
    }

    /// Sends until the client is gone.
    async fn flood(&self, mut call: Call) {
        let (_requests, responses) = call.split();
        let message = Body::from_chunks([Bytes::from(vec![b'x'; FLOOD_LEN])]).unwrap();
        while responses.send(message.clone()).await.is_ok() {
            self.n_sent.fetch_add(1, Ordering::SeqCst);
        }
        let _ = self.endings.send(responses.gone().await);
    }

    /// Waits for the client to go, as a watch without events does.
    async fn watch(&self, mut call: Call) {
        let (_requests, responses) = call.split();
        responses.send(Body::from_chunks([]).unwrap()).await.unwrap();
        let _ = self.endings.send(responses.gone().await);
    }
}

async fn echo(mut call: Call) {
    let message = call.unary().await;
    let _ = call.reply(message.and_then(|message| Ok(Body::from_chunks([message])?)));
}

/// Answers with 4.4 GB, which are one piece of memory many times.
fn reply_too_long(mut call: Call) {
    let megabyte = Bytes::from(vec![b'x'; 1 << 20]);
    let answer = Body::from_chunks(vec![megabyte; 4400]);
    let _ = call.reply(answer.map_err(Status::from));
}

/// Echoes in pieces of three bytes; fails where one is `bad`.
async fn echo_in_pieces(mut call: Call) {
    let message = call.unary().await.unwrap();
    let mut pieces = message.chunks(3).map(Bytes::copy_from_slice);
    let next = || match pieces.next() {
        Some(piece) if piece == "bad" => Err(Status::internal("a bad piece")),
        piece => Ok(piece),
    };
    let _ = call.reply_in_pieces(message.len(), next).await;
}

/// Echoes each message until the client half-closes, then refuses an empty last one.
async fn stream(mut call: Call) {
    let (requests, responses) = call.split();
    let outcome = async {
        while let Some(message) = requests.next().await? {
            if message.is_empty() {
                return Err(Status::new(Code::OutOfRange, "an empty message"));
            }
            responses.send(Body::from_chunks([message])?).await?;
        }
        Ok(())
    };
    let outcome = outcome.await;
    responses.finish(outcome);
}

impl Routes for Obedient {
    async fn answer(&self, request: &HttpRequest<'_>) -> Answer {
        let HttpRequest { method, path, query, port, .. } = request;
        match *path {
            "/asked" => Answer::text(StatusCode::OK, format!("{method} {path} {query} {port:?}")),
            _ => Answer::error(StatusCode::NOT_FOUND, "no such path"),
        }
    }
}
