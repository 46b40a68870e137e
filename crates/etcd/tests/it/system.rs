//! What the system does to the process: signals, and a low limit of open files.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;

use proto::etcdserverpb::PutRequest;
use rustix::process::{Pid, Signal, kill_process};

use crate::client::Client;
use crate::server::{Server, start_limited_in_vain};

/// Leaves some dozens of connections beside the files that are kept for the disk.
const FEW_FILES: u32 = 220;

const REQUEST: &[u8] = b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A connection that has asked for something.
fn asking(address: SocketAddr) -> TcpStream {
    let mut connection = TcpStream::connect(address).unwrap();
    connection.write_all(REQUEST).unwrap();
    connection
}

fn is_answered(connection: &mut TcpStream) -> bool {
    let mut status = [0; 15];
    connection.read_exact(&mut status).unwrap();
    status == *b"HTTP/1.1 200 OK"
}

#[tokio::test]
async fn connections_wait_before_the_disk_runs_out_of_files() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_limited(dir.path(), FEW_FILES);
    let warning = server.start_log().lines().find(|line| line.contains("max-connections")).unwrap();
    let warning: serde_json::Value = serde_json::from_str(warning).unwrap();
    let connections_max = warning["max-connections"].as_u64().unwrap();
    assert!((10..u64::from(FEW_FILES) - 150).contains(&connections_max), "{connections_max}");

    let client = Client::connect(server.address).await;
    let mut served: Vec<_> = (1..connections_max).map(|_| asking(server.address)).collect();
    assert!(served.iter_mut().all(is_answered));
    let mut waiting = asking(server.address);
    // More than two files of the write-ahead log.
    let put = PutRequest { key: "k".into(), value: vec![b'v'; 1 << 20].into(), ..PutRequest::default() };
    for _ in 0..40 {
        client.put(&put).await.unwrap();
    }
    waiting.set_nonblocking(true).unwrap();
    assert_eq!(waiting.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    waiting.set_nonblocking(false).unwrap();
    drop(served.pop());
    assert!(is_answered(&mut waiting));
}

#[test]
fn limit_that_leaves_no_connection_is_refused_with_its_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let refusal = start_limited_in_vain(dir.path(), 128);
    assert_eq!(refusal.code, 1);
    let expected = "the limit of open files is too low: 128, of which 150 are kept for the disk";
    assert!(refusal.log.contains(expected), "{}", refusal.log);
}

#[tokio::test]
async fn signals_that_go_passes_over_do_not_end_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let pid = Pid::from_raw(server.pid().cast_signed()).unwrap();
    let client = Client::connect(server.address).await;
    let put = PutRequest { key: "k".into(), ..PutRequest::default() };
    for signal in [Signal::USR1, Signal::USR2, Signal::ALARM, Signal::XFSZ, Signal::PROF, Signal::PIPE] {
        kill_process(pid, signal).unwrap();
        client.put(&put).await.unwrap();
    }
    drop(client);
}

#[test]
fn hangup_ends_the_process_as_it_ends_etcd() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    assert_eq!(server.end_by(Signal::HUP).signal(), Some(1));
}
