//! The listening sockets of the client port, and what becomes of each connection.
//!
//! Sockets are bound once, before anything else starts, so that a taken port is a plain error at start. One task
//! accepts for each socket and deals connections out to the workers; an [`Endpoint`] there finds out what the
//! client speaks. The number of connections is limited by the open-files limit, as in etcd.
//!
//! Not here: TLS and Unix sockets.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use rustix::process::{Resource, getrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

use crate::config::{Scheme, Url};
use crate::gather::Gather;
use crate::grpc;
use crate::http::{self, Routes};
use crate::sniff::{Protocol, sniff};
use crate::worker::{Serve, Stop, Workers};

/// Open files kept for everything that is not a client connection.
const RESERVED_FILES: u64 = 150;

/// After this long without traffic, and then as often, TCP asks whether the client is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Pause after a failed accept, which is mostly a lack of files that only time mends.
const ACCEPT_RETRY: Duration = Duration::from_millis(200);

/// Why a URL cannot be listened on.
#[derive(Debug)]
pub enum BindError {
    /// TLS and Unix sockets are to come.
    Unsupported(Url),
    /// The system refused; a taken port is `AddrInUse`.
    Refused(Url, io::Error),
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindError::Unsupported(url) => write!(f, "{url}: listening is not supported by this version yet"),
            BindError::Refused(url, error) => match error.kind() {
                io::ErrorKind::AddrInUse => {
                    write!(f, "listen tcp {}: bind: address already in use", url.address)
                }
                _ => write!(f, "listen tcp {}: {error}", url.address),
            },
        }
    }
}

impl std::error::Error for BindError {}

/// A connection that no worker has seen yet. Holds its place in the connection limit until it is dropped.
#[derive(Debug)]
pub struct Accepted {
    socket: TcpStream,
    peer: SocketAddr,
    place: OwnedSemaphorePermit,
}

/// Bound sockets that accept nobody yet.
#[derive(Debug)]
pub struct Listeners {
    sockets: Vec<TcpListener>,
    places: Arc<Semaphore>,
}

impl Listeners {
    /// Binds all URLs, or none.
    pub fn bind(urls: &[Url]) -> Result<Listeners, BindError> {
        let sockets = urls.iter().map(bind).collect::<Result<Vec<_>, _>>()?;
        Ok(Listeners { sockets, places: Arc::new(Semaphore::new(connections_max())) })
    }

    /// The addresses in use, in the order of the URLs: tells the port where a URL asked for port 0.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let bound = self.sockets.iter().map(TcpListener::local_addr);
        bound.map(|addr| addr.expect("a bound socket has an address")).collect()
    }

    /// Accepts connections and hands them to `workers`. Never returns; dropping the future closes the sockets.
    ///
    /// The error is the runtime's refusal of a socket, before anything is accepted.
    pub async fn run(self, workers: &Workers) -> io::Result<()> {
        let mut sockets = Vec::new();
        for socket in self.sockets {
            sockets.push(tokio::net::TcpListener::from_std(socket)?);
        }
        let accepting = sockets.iter().map(|socket| Box::pin(accept(socket, &self.places, workers)));
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
        let Accepted { socket, peer, place: _place } = connection;
        if let Err(error) = self.serve_socket(socket, peer, stop).await {
            tracing::debug!(%peer, %error, "connection broken");
        }
    }
}

impl<S: grpc::Service, R: Routes> Endpoint<S, R> {
    async fn serve_socket(&self, socket: TcpStream, peer: SocketAddr, stop: Stop) -> io::Result<()> {
        let socket = tokio::net::TcpStream::from_std(socket)?;
        let stopping = stop.clone().stopping();
        let (protocol, io) = tokio::select! {
            sniffed = sniff(socket) => sniffed?,
            () = stopping => return Ok(()),
        };
        let io = Gather::new(io);
        match protocol {
            Protocol::Http2 => {
                grpc::serve(io, peer, Rc::clone(&self.grpc), self.limits, stop.stopping()).await
            }
            Protocol::Http1 => http::serve(io, &self.http, stop.stopping()).await,
        }
    }
}

fn bind(url: &Url) -> Result<TcpListener, BindError> {
    if url.scheme != Scheme::Http {
        return Err(BindError::Unsupported(url.clone()));
    }
    let refused = |error| BindError::Refused(url.clone(), error);
    let addr = url.socket_addr().ok_or_else(|| refused(io::ErrorKind::InvalidInput.into()))?;
    let socket = TcpListener::bind(addr).map_err(refused)?;
    socket.set_nonblocking(true).map_err(refused)?;
    Ok(socket)
}

/// How many connections the open-files limit leaves room for.
fn connections_max() -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let free = usize::try_from(files.saturating_sub(RESERVED_FILES)).unwrap_or(usize::MAX);
    free.clamp(1, Semaphore::MAX_PERMITS)
}

async fn accept(socket: &tokio::net::TcpListener, places: &Arc<Semaphore>, workers: &Workers) {
    loop {
        let place = Arc::clone(places).acquire_owned().await.expect("the semaphore is never closed");
        match socket.accept().await {
            Ok((socket, peer)) => match prepare(socket) {
                Ok(socket) => workers.hand_over(Accepted { socket, peer, place }),
                Err(error) => tracing::debug!(%peer, %error, "connection lost before it was served"),
            },
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// Sets the socket's options and takes it off the accepting thread.
fn prepare(socket: tokio::net::TcpStream) -> io::Result<TcpStream> {
    let socket = socket.into_std()?;
    socket.set_nodelay(true)?;
    sockopt::set_socket_keepalive(&socket, true)?;
    sockopt::set_tcp_keepidle(&socket, KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(&socket, KEEPALIVE)?;
    Ok(socket)
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
            let Accepted { socket, place, .. } = connection;
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
        let mut listeners = Listeners::bind(&[Url::parse("http://127.0.0.1:0").unwrap()]).unwrap();
        listeners.places = Arc::new(Semaphore::new(2));
        let addr = listeners.addresses()[0];
        let visits = async {
            let visits = (0..10).map(|_| async move {
                let mut socket = tokio::net::TcpStream::connect(addr).await.unwrap();
                socket.read_exact(&mut [0; 7]).await.unwrap();
            });
            let mut open = tokio::task::JoinSet::new();
            visits.for_each(|visit| drop(open.spawn(visit)));
            open.join_all().await;
        };
        tokio::select! {
            result = listeners.run(&workers) => panic!("accepting ended: {result:?}"),
            () = visits => {}
        }
        workers.stop(Duration::ZERO);
        assert_eq!(n_most.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn some_connections_are_always_possible() {
        assert!(connections_max() >= 1);
    }
}
