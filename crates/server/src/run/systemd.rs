//! Tells systemd, or whoever plays its part, that the server is ready.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use tracing::{error, info};

/// Names the socket that waits for the message.
const SOCKET_VARIABLE: &str = "NOTIFY_SOCKET";

const READY: &[u8] = b"READY=1";

/// Sends the message to the socket that the environment names, if it names one.
pub(super) fn notify_ready() {
    info!("notifying init daemon");
    match std::env::var_os(SOCKET_VARIABLE).map_or(Ok(()), |name| send(&name)) {
        Ok(()) => info!("successfully notified init daemon"),
        Err(error) => error!(%error, "failed to notify systemd for readiness"),
    }
}

fn send(name: &OsString) -> io::Result<()> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    UnixDatagram::unbound()?.send_to_addr(READY, &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_arrives_at_a_path_and_at_an_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let abstract_name = format!("etcd-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        for (socket, name) in [
            (UnixDatagram::bind(&path).unwrap(), path.into_os_string()),
            (UnixDatagram::bind_addr(&address).unwrap(), format!("@{abstract_name}").into()),
        ] {
            send(&name).unwrap();
            let mut message = [0; 16];
            let len = socket.recv(&mut message).unwrap();
            assert_eq!(&message[..len], READY);
        }
    }
}
