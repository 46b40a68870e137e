//! Which member opened a connection, as the system's tables of sockets and files tell.
//!
//! A request need not name its sender (a probe does not), but the process behind a socket is always known.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

/// Columns of a row of `/proc/net/tcp`: the near end, the far end, and the number of the socket.
const NEAR: usize = 1;
const FAR: usize = 2;
const SOCKET: usize = 9;

/// Whether process `pid` holds the end `near` of the connection to `far`. Both are on this machine.
pub(super) fn holds(pid: u32, near: SocketAddr, far: SocketAddr) -> bool {
    let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let Some(socket) = socket_of(&table, near, far) else { return false };
    let name = format!("socket:[{socket}]");
    // The process may be ending: then it holds nothing any more.
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == &*name))
}

/// The number of the socket of the connection from `near` to `far`.
fn socket_of(table: &str, near: SocketAddr, far: SocketAddr) -> Option<&str> {
    table.lines().skip(1).find_map(|row| {
        let columns: Vec<_> = row.split_ascii_whitespace().collect();
        let ends = [columns.get(NEAR)?, columns.get(FAR)?].map(|text| address(text));
        (ends == [Some(near), Some(far)]).then_some(*columns.get(SOCKET)?)
    })
}

/// `0100007F:1F90` is 127.0.0.1:8080: the address in the order of bytes of the machine, the port as a number.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let ip = u32::from_str_radix(ip, 16).ok()?;
    let ip = Ipv4Addr::from(ip.to_ne_bytes());
    Some(SocketAddrV4::new(ip, u16::from_str_radix(port, 16).ok()?).into())
}

#[test]
fn the_process_behind_a_connection_is_found() {
    use std::net::{TcpListener, TcpStream};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let far = listener.local_addr().unwrap();
    let connection = TcpStream::connect(far).unwrap();
    let near = connection.local_addr().unwrap();
    assert!(holds(std::process::id(), near, far));
    assert!(!holds(std::process::id(), near, near), "there is no such connection");
    // The parent runs this process and has none of its sockets.
    assert!(!holds(std::os::unix::process::parent_id(), near, far));
}
