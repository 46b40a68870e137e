//! How a process starts, refuses to start, and stops.

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use proto::etcdserverpb::{PutRequest, RangeRequest};

use crate::client::Client;
use crate::server::{Server, start_in_vain};

#[test]
fn the_version_is_that_of_the_etcd_it_stands_in_for() {
    let output = Command::new(env!("CARGO_BIN_EXE_etcd")).arg("--version").output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("etcd Version: 3.7.1\n"), "{text}");
}

#[tokio::test]
async fn what_was_written_is_there_after_a_graceful_stop() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let client = Client::connect(server.address).await;
    let put = PutRequest { key: "k".into(), value: "v".into(), ..PutRequest::default() };
    client.put(&put).await.unwrap();
    drop(client);
    assert_eq!(server.terminate().signal(), Some(15), "the process ends by the signal that it got");

    let server = Server::start(dir.path());
    let client = Client::connect(server.address).await;
    let range = RangeRequest { key: "k".into(), ..RangeRequest::default() };
    let answer = client.range(&range).await.unwrap();
    assert_eq!(answer.kvs[0].value, "v");
}

#[test]
fn a_taken_port_is_named_before_anything_is_written() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let refusal = start_in_vain(dir.path(), &address);
    assert_eq!(refusal.code, 1);
    assert!(refusal.log.contains(&address) && refusal.log.contains("in use"), "{}", refusal.log);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_second_process_on_the_same_data_is_told_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let first = Server::start(dir.path());
    let refusal = start_in_vain(dir.path(), "127.0.0.1:0");
    assert_eq!(refusal.code, 1);
    let expected = format!("process {} is using this data directory", first.pid());
    assert!(refusal.log.contains(&expected), "{}", refusal.log);
}

#[test]
fn data_written_by_the_other_etcd_is_refused_and_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let snap = dir.path().join("member/snap");
    fs::create_dir_all(&snap).unwrap();
    fs::write(snap.join("db"), "made by another program").unwrap();
    let refusal = start_in_vain(dir.path(), "127.0.0.1:0");
    assert_eq!(refusal.code, 1);
    assert!(refusal.log.contains("cannot import it yet and has not touched it"), "{}", refusal.log);
    assert_eq!(names(dir.path()), ["member"]);
    assert_eq!(names(&dir.path().join("member")), ["snap"]);
    assert_eq!(names(&snap), ["db"]);
    assert_eq!(fs::read(snap.join("db")).unwrap(), b"made by another program");
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}
