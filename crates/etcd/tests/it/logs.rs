//! The log from outside: files that are put aside, a pipe that nobody reads, requests that took too long.

use std::fs;

use proto::etcdserverpb::{PutRequest, RangeRequest};

use crate::client::Client;
use crate::server::Server;

/// What has every read logged, with its key.
const LOG_READS: &str = "--warning-apply-duration=1ns";

/// Reads a key of so many letters.
async fn read_key(client: &Client, len: usize) {
    let range = RangeRequest { key: "k".repeat(len).into(), ..RangeRequest::default() };
    assert!(client.range(&range).await.unwrap().kvs.is_empty());
}

#[tokio::test]
async fn commands_and_reads_that_take_longer_than_expected_are_logged() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &[LOG_READS]);
    let client = Client::connect(server.address).await;
    client.put(&PutRequest { key: "k".into(), ..PutRequest::default() }).await.unwrap();
    let line = server.wait_for(r#""request":"Put""#);
    assert_eq!(line["msg"], "apply request took too long");
    assert_eq!((&line["level"], &line["expected-duration"]), (&"warn".into(), &"1ns".into()));
    read_key(&client, 3).await;
    let line = server.wait_for("kkk");
    assert_eq!(
        (&line["msg"], &line["prefix"]),
        (&"apply request took too long".into(), &"read-only range ".into())
    );
}

#[tokio::test]
async fn a_pipe_that_nobody_reads_costs_lines_and_nothing_else() {
    const READS: usize = 60;
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start_with(dir.path(), &[LOG_READS, "--log-outputs=stderr,stdout"]);
    let client = Client::connect(server.address).await;
    // Three times what the queue, the pipe and the writer between them hold.
    for _ in 0..READS {
        read_key(&client, 100 << 10).await;
    }
    let stdout = server.stdout();
    let mut read = 0;
    let dropped = loop {
        let line = stdout.next().expect("what was dropped is told");
        if line.contains("log lines were dropped") {
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            break line["count"].as_u64().unwrap() as usize;
        }
        read += usize::from(line.contains("kkk"));
    };
    assert!(dropped > 0 && read + dropped >= READS, "{read} lines read, {dropped} dropped");
    read_key(&client, 10).await;
    loop {
        let line = stdout.next().expect("the log goes on");
        assert!(!line.contains("dropped"), "told once");
        if line.contains(r#"key:\"kkkkkkkkkk\""#) {
            break;
        }
    }
}

#[test]
fn a_log_file_that_is_full_is_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    let logs = dir.path().join("logs");
    fs::create_dir(&logs).unwrap();
    let file = logs.join("etcd.log");
    let earlier = "of an earlier process\n".repeat((1 << 20) / 22);
    fs::write(&file, &earlier).unwrap();
    let outputs = format!("--log-outputs=stderr,{}", file.display());
    let rotation = r#"--log-rotation-config-json={"maxsize": 1}"#;
    let flags = [&outputs, "--enable-log-rotation", rotation];
    Server::start_with(&dir.path().join("data"), &flags).terminate();

    let log = fs::read_to_string(&file).unwrap();
    assert!(log.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{log}");
    assert!(log.contains("closed etcd server"), "{log}");
    let old = fs::read_dir(&logs).unwrap().map(|entry| entry.unwrap().path()).find(|path| *path != file);
    assert_eq!(fs::read_to_string(old.unwrap()).unwrap(), earlier);
}
