//! The listening sockets of a server, and what becomes of each connection.
//!
//! Sockets are bound once, before anything else starts, so that a taken port is a plain error at start. One task
//! accepts for each socket and deals connections out to the workers; an [`Endpoint`] there finds out what the
//! client speaks. The number of connections is limited by the open-files limit, as in etcd.
//!
//! Not here: TLS.

pub(crate) mod open_files;
mod socket;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::sleep;

pub use self::socket::{BindError, Reuse};
pub(crate) use self::socket::{Incoming, Listener, Stream, prepare};
use crate::config::Url;
use crate::grpc;
use crate::http::{self, Port, Routes};
use crate::sniff::{Protocol, sniff};
use crate::worker::{Serve, Stop, Workers};

/// Pause after a failed accept, which is mostly a lack of files that only time mends.
const ACCEPT_RETRY: Duration = Duration::from_millis(200);

/// What stands for the address of a client of a Unix socket, which has none.
const NO_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// What is spoken on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// Everything.
    GrpcAndHttp,
    /// gRPC alone: whoever speaks HTTP/1 is disconnected.
    Grpc,
    /// HTTP alone: gRPC clients are disconnected.
    Http,
    /// HTTP for monitoring, which is served before the member takes clients.
    Metrics,
}

impl Traffic {
    /// The name in etcd's log.
    pub fn name(self) -> &'static str {
        match self {
            Traffic::GrpcAndHttp => "grpc+http",
            Traffic::Grpc => "grpc",
            Traffic::Http => "http",
            Traffic::Metrics => "metrics",
        }
    }

    /// The port that HTTP requests come in at, if it takes any.
    fn http_port(self) -> Option<Port> {
        match self {
            Traffic::Grpc => None,
            Traffic::GrpcAndHttp | Traffic::Http => Some(Port::Client),
            Traffic::Metrics => Some(Port::Metrics),
        }
    }

    fn takes_grpc(self) -> bool {
        matches!(self, Traffic::GrpcAndHttp | Traffic::Grpc)
    }
}

/// A connection that no worker has seen yet. Holds its place in the connection limit until it is dropped.
#[derive(Debug)]
pub struct Accepted {
    stream: Stream,
    traffic: Traffic,
    place: OwnedSemaphorePermit,
}

/// Bound sockets that accept nobody yet.
#[derive(Debug)]
pub struct Listeners {
    sockets: Vec<(Listener, Traffic)>,
    /// How many connections may be open at once, if not as many as the limit of open files leaves.
    connections_max: Option<usize>,
}

impl Listeners {
    /// Binds all URLs, or none.
    pub fn bind(urls: &[(Url, Traffic)], reuse: Reuse) -> Result<Listeners, BindError> {
        let bound = urls.iter().map(|(url, traffic)| Ok((Listener::bind(url, reuse)?, *traffic)));
        let sockets = bound.collect::<Result<Vec<_>, _>>()?;
        Ok(Listeners { sockets, connections_max: None })
    }

    /// The addresses in use, in the order of the URLs: tells the port where a URL asked for port 0.
    pub fn addresses(&self) -> impl Iterator<Item = (String, Traffic)> {
        self.sockets.iter().map(|(socket, traffic)| (socket.address(), *traffic))
    }

    /// Accepts connections and hands them to `workers`, those for monitoring at once and the others when `open`
    /// says so. Everything else that holds files must have started: what is left of the limit of open files bounds
    /// the connections. Further ones wait in the system's queue until others are closed. Never returns; dropping the
    /// future closes the sockets.
    ///
    /// The error is the runtime's refusal of a socket, before anything is accepted.
    pub async fn run(self, workers: &Workers, open: watch::Receiver<bool>) -> io::Result<()> {
        let places = Arc::new(Semaphore::new(self.connections_max.unwrap_or_else(connections_max)));
        let mut sockets = Vec::new();
        for (socket, traffic) in self.sockets {
            sockets.push((socket.into_incoming()?, traffic));
        }
        let accepting = sockets.iter().map(|(socket, traffic)| {
            let mut open = open.clone();
            let places = &places;
            Box::pin(async move {
                // Whoever opens the doors lives as long as they do.
                let is_open = *traffic == Traffic::Metrics || open.wait_for(|is_open| *is_open).await.is_ok();
                if is_open {
                    accept(socket, *traffic, places, workers).await;
                }
            })
        });
        let mut accepting: Vec<_> = accepting.collect();
        std::future::poll_fn(|cx| {
            for task in &mut accepting {
                let _: std::task::Poll<()> = task.as_mut().poll(cx);
            }
            std::task::Poll::Pending
        })
        .await
    }
}

/// What serves the connections of one worker: calls go to `grpc`, everything else to `http`.
#[derive(Debug)]
pub struct Endpoint<S, R> {
    /// The receiver of gRPC calls.
    pub grpc: Rc<S>,
    /// The receiver of HTTP/1.1 requests.
    pub http: Rc<R>,
    /// Limits for each gRPC connection.
    pub limits: grpc::Limits,
}

impl<S: grpc::Service, R: Routes> Serve for Endpoint<S, R> {
    async fn serve(self: &Rc<Self>, connection: Accepted, stop: Stop) {
        let Accepted { stream, traffic, place: _place } = connection;
        let outcome = match stream {
            Stream::Tcp(stream, peer) => match tokio::net::TcpStream::from_std(stream) {
                Ok(stream) => self.serve_stream(stream, peer, traffic, stop).await,
                Err(error) => Err(error),
            },
            Stream::Unix(stream) => match tokio::net::UnixStream::from_std(stream) {
                Ok(stream) => self.serve_stream(stream, NO_ADDRESS, traffic, stop).await,
                Err(error) => Err(error),
            },
        };
        if let Err(error) = outcome {
            tracing::debug!(%error, "connection broken");
        }
    }
}

impl<S: grpc::Service, R: Routes> Endpoint<S, R> {
    async fn serve_stream(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        peer: SocketAddr,
        traffic: Traffic,
        stop: Stop,
    ) -> io::Result<()> {
        let stopping = stop.clone().stopping();
        let (protocol, io) = tokio::select! {
            sniffed = sniff(stream) => sniffed?,
            () = stopping => return Ok(()),
        };
        match (protocol, traffic.http_port()) {
            (Protocol::Http2, _) if traffic.takes_grpc() => {
                grpc::serve(io, peer, Rc::clone(&self.grpc), self.limits, stop.stopping()).await
            }
            (Protocol::Http1, Some(port)) => http::serve(io, &self.http, port, stop.stopping()).await,
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

fn connections_max() -> usize {
    let connections = usize::try_from(open_files::connections_max()).unwrap_or(usize::MAX);
    connections.min(Semaphore::MAX_PERMITS)
}

async fn accept(socket: &Incoming, traffic: Traffic, places: &Arc<Semaphore>, workers: &Workers) {
    loop {
        let place = Arc::clone(places).acquire_owned().await.expect("the semaphore is never closed");
        match socket.accept().await {
            Ok(stream) => workers.hand_over(Accepted { stream, traffic, place }),
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Greets, then waits for the client to leave; counts the most guests at one time.
    struct Inn {
        n_guests: Arc<AtomicUsize>,
        n_most: Arc<AtomicUsize>,
    }

    impl Serve for Inn {
        async fn serve(self: &Rc<Self>, connection: Accepted, _: Stop) {
            let n = self.n_guests.fetch_add(1, Ordering::SeqCst) + 1;
            self.n_most.fetch_max(n, Ordering::SeqCst);
            let Accepted { stream: Stream::Tcp(socket, _), place, .. } = connection else {
                panic!("no such socket was bound")
            };
            let mut socket = tokio::net::TcpStream::from_std(socket).unwrap();
            socket.write_all(b"welcome").await.unwrap();
            let _ = socket.read(&mut [0]).await;
            self.n_guests.fetch_sub(1, Ordering::SeqCst);
            drop(place);
        }
    }

    #[tokio::test]
    async fn connections_over_the_limit_wait_for_a_place() {
        let n_most = Arc::new(AtomicUsize::new(0));
        let (n_guests, most) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&n_most));
        let inn = move |_| Inn { n_guests: Arc::clone(&n_guests), n_most: Arc::clone(&most) };
        let workers = Workers::start(2, inn).unwrap();
        let url = Url::parse("http://127.0.0.1:0").unwrap();
        let mut listeners = Listeners::bind(&[(url, Traffic::Http)], Reuse::default()).unwrap();
        listeners.connections_max = Some(2);
        let addr: SocketAddr = listeners.addresses().next().unwrap().0.parse().unwrap();
        let visits = async {
            let visits = (0..10).map(|_| async move {
                let mut socket = tokio::net::TcpStream::connect(&addr).await.unwrap();
                socket.read_exact(&mut [0; 7]).await.unwrap();
            });
            let mut open = tokio::task::JoinSet::new();
            visits.for_each(|visit| drop(open.spawn(visit)));
            open.join_all().await;
        };
        tokio::select! {
            result = listeners.run(&workers, watch::channel(true).1) => panic!("accepting ended: {result:?}"),
            () = visits => {}
        }
        workers.stop(Duration::ZERO);
        assert_eq!(n_most.load(Ordering::SeqCst), 2);
    }
}
