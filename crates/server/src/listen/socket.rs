//! Sockets of both families: TCP and Unix.
//!
//! A Unix socket is a file named by what follows `unix://`, host and path alike. A file left there by an earlier
//! process is replaced, and the file goes with the listener, as in etcd.

use std::fmt;
use std::fs;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

use crate::config::{Scheme, Url, go_text};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// After this long without traffic, and then as often, TCP asks whether the client is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Why a URL cannot be listened on.
#[derive(Debug)]
pub enum BindError {
    /// It asks for TLS, which is to come.
    NoCertificate(Url),
    /// The system refused; a taken port is `AddrInUse`.
    Refused(Url, io::Error),
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindError::NoCertificate(url) => write!(
                f,
                "TLS key/cert (--cert-file, --key-file) must be provided for client url {url} with HTTPS scheme"
            ),
            BindError::Refused(url, error) => {
                let family = if url.scheme == Scheme::Unix { "unix" } else { "tcp" };
                write!(f, "listen {family} {}: bind: {}", url.address, go_text(error))
            }
        }
    }
}

impl std::error::Error for BindError {}

/// Which addresses may be shared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reuse {
    /// With other sockets that ask for it too.
    pub port: bool,
    /// With connections of an earlier process that linger. On Linux listeners always may.
    pub address: bool,
}

/// A bound socket.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// The file of a Unix socket; removed when dropped.
#[derive(Debug)]
pub(crate) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have removed it already.
        let _ = fs::remove_file(&self.0);
    }
}

/// A socket that accepts connections, in the runtime it was made in.
#[derive(Debug)]
pub(crate) enum Incoming {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener, #[expect(dead_code, reason = "dropped with the listener")] SocketFile),
}

/// A connection that belongs to no runtime yet.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Listener {
    pub(crate) fn bind(url: &Url, reuse: Reuse) -> Result<Listener, BindError> {
        let refused = |error| BindError::Refused(url.clone(), error);
        match url.scheme {
            Scheme::Https | Scheme::Unixs => Err(BindError::NoCertificate(url.clone())),
            Scheme::Http => {
                let address = url.socket_addr().ok_or_else(|| refused(io::ErrorKind::InvalidInput.into()))?;
                bind_tcp(address, reuse).map(Listener::Tcp).map_err(refused)
            }
            Scheme::Unix => bind_unix(url.address.clone().into()).map_err(refused),
        }
    }

    /// Address and port, or the path of the file.
    pub(crate) fn address(&self) -> String {
        match self {
            Listener::Tcp(socket) => socket.local_addr().expect("a bound socket has an address").to_string(),
            Listener::Unix(_, file) => file.0.display().to_string(),
        }
    }

    pub(crate) fn into_incoming(self) -> io::Result<Incoming> {
        Ok(match self {
            Listener::Tcp(socket) => Incoming::Tcp(tokio::net::TcpListener::from_std(socket)?),
            Listener::Unix(socket, file) => Incoming::Unix(tokio::net::UnixListener::from_std(socket)?, file),
        })
    }
}

impl Incoming {
    /// Waits for the next connection and takes it off the accepting thread.
    pub(crate) async fn accept(&self) -> io::Result<Stream> {
        match self {
            Incoming::Tcp(socket) => {
                let (stream, peer) = socket.accept().await?;
                // A client of IPv4 at a socket for both families is shown by its own address.
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                // A client that is gone already shows when it is served.
                let stream = stream.into_std()?;
                let _ = prepare(&stream);
                Ok(Stream::Tcp(stream, peer))
            }
            Incoming::Unix(socket, _) => socket.accept().await?.0.into_std().map(Stream::Unix),
        }
    }
}

/// Binds an address. Either of the two that stand for all addresses means both families, as in Go, where the system
/// has both.
fn bind_tcp(address: SocketAddr, reuse: Reuse) -> io::Result<TcpListener> {
    if address.ip().is_unspecified() {
        let all = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), address.port());
        match bind_address(all, reuse) {
            Err(error) if address.is_ipv4() && lacks_ipv6(&error) => {}
            bound => return bound,
        }
    }
    bind_address(address, reuse)
}

fn lacks_ipv6(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

fn bind_address(address: SocketAddr, reuse: Reuse) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, !address.ip().is_unspecified())?;
    }
    if reuse.port {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

fn bind_unix(path: PathBuf) -> io::Result<Listener> {
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = UnixListener::bind(&path)?;
    socket.set_nonblocking(true)?;
    Ok(Listener::Unix(socket, SocketFile(path)))
}

/// Sets what every connection between members, and with clients, has in common.
pub(crate) fn prepare(stream: &impl AsFd) -> io::Result<()> {
    sockopt::set_tcp_nodelay(stream, true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE)?;
    Ok(sockopt::set_tcp_keepintvl(stream, KEEPALIVE)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(url: &str) -> Result<Listener, BindError> {
        Listener::bind(&Url::parse(url).unwrap(), Reuse::default())
    }

    #[test]
    fn unix_socket_replaces_a_leftover_and_goes_with_its_listener() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sock:1");
        let url = format!("unix://{}", path.display());
        fs::write(&path, "left over").unwrap();
        let listener = bind(&url).unwrap();
        assert_eq!(listener.address(), path.display().to_string());
        UnixStream::connect(&path).unwrap();
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn refusals_have_the_texts_of_etcd() {
        let holder = bind("http://127.0.0.1:0").unwrap();
        let address = holder.address();
        let error = bind(&format!("http://{address}")).unwrap_err().to_string();
        assert_eq!(error, format!("listen tcp {address}: bind: address already in use"));
        let error = bind("https://127.0.0.1:0").unwrap_err().to_string();
        assert!(error.starts_with("TLS key/cert (--cert-file, --key-file) must be provided"), "{error}");
        let error = bind("unix:///nonexistent/sock").unwrap_err().to_string();
        assert_eq!(error, "listen unix /nonexistent/sock: bind: no such file or directory");
    }

    #[test]
    fn all_addresses_are_those_of_both_families() {
        for url in ["http://0.0.0.0:0", "http://[::]:0"] {
            let listener = bind(url).unwrap();
            let port = listener.address().parse::<SocketAddr>().unwrap().port();
            for client in ["127.0.0.1", "::1"] {
                let client: std::net::IpAddr = client.parse().unwrap();
                let has_family = TcpListener::bind((client, 0)).is_ok();
                assert_eq!(TcpStream::connect((client, port)).is_ok(), has_family, "{client} at {url}");
            }
        }
        let listener = bind("http://127.0.0.1:0").unwrap();
        assert!(listener.address().starts_with("127.0.0.1:"));
    }

    #[test]
    fn a_port_is_shared_only_by_those_who_both_want_it() {
        let reuse = Reuse { port: true, ..Reuse::default() };
        let url = |address: &str| Url::parse(&format!("http://{address}")).unwrap();
        let first = Listener::bind(&url("127.0.0.1:0"), reuse).unwrap();
        let second = Listener::bind(&url(&first.address()), reuse);
        assert!(second.is_ok());
        assert!(Listener::bind(&url(&first.address()), Reuse::default()).is_err());
    }
}
