//! The process from outside: what it is told, where it listens, how it ends.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output};

use rustix::process::Signal;

use crate::server::{Server, own_flags};

/// Runs the program to its end, which must come by itself.
fn run(args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_etcd"));
    command.args(args).envs(env.iter().copied()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The answer to a GET at a Unix socket: status line and body. Empty if the server hangs up.
fn get(socket: &Path, path: &str) -> (String, String) {
    let mut stream = UnixStream::connect(socket).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
}

#[test]
fn version_and_help_end_well() {
    let version = run(&["--version"], &[("ETCD_NAME", "not looked at")]);
    assert!(text(&version.stdout).starts_with("etcd Version: 3.7.1\n"));
    assert_eq!(version.status.code(), Some(0));
    let help = run(&["-h"], &[]);
    assert!(text(&help.stderr).starts_with("Usage:") && text(&help.stdout).starts_with("Flags:"));
    assert_eq!(help.status.code(), Some(0));
}

#[test]
fn refusals_go_where_etcd_sends_them() {
    let unknown = run(&["--nope"], &[]);
    assert!(text(&unknown.stderr).starts_with("flag provided but not defined: -nope\nUsage:"));
    assert_eq!(unknown.status.code(), Some(2));

    let line = |output: &Output| -> serde_json::Value { serde_json::from_slice(&output.stderr).unwrap() };
    let shadowed = run(&["--name", "b"], &[("ETCD_NAME", "a")]);
    assert_eq!(line(&shadowed)["level"], "fatal");
    assert_eq!(line(&shadowed)["environment-variable"], "ETCD_NAME");
    assert_eq!(shadowed.status.code(), Some(1));

    let invalid = run(&["--heartbeat-interval=0"], &[]);
    assert_eq!(line(&invalid)["msg"], "failed to verify flags");
    assert_eq!(line(&invalid)["error"], "--heartbeat-interval must be >0 (set to 0ms)");
    assert_eq!(invalid.status.code(), Some(1));

    let start = run(&["--auto-compaction-retention=x"], &[]);
    assert_eq!((&line(&start)["level"], &line(&start)["msg"]), (&"fatal".into(), &"discovery failed".into()));
    assert_eq!(start.status.code(), Some(1));
}

#[test]
fn each_port_serves_what_it_is_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let url = |name: &str| format!("unix://{}", path(name).display());
    let (http, metrics) = (url("http"), url("metrics"));
    let flags =
        ["--listen-client-http-urls", &http, "--listen-metrics-urls", &metrics, "--host-whitelist=localhost"];
    let server = Server::start_with(dir.path(), &flags);
    let ok = "HTTP/1.1 200 OK".to_owned();
    let health = r#"{"health":"true","reason":""}"#.to_owned();
    for socket in ["http", "metrics"] {
        assert_eq!(get(&path(socket), "/health"), (ok.clone(), health.clone()));
        assert_eq!(get(&path(socket), "/readyz/linearizable_read"), (ok.clone(), "ok\n".to_owned()));
        let (status, body) = get(&path(socket), "/readyz?verbose&exclude=non_learner");
        assert_eq!(status, ok);
        assert_eq!(body, "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\nok\n");
        let (_, metrics) = get(&path(socket), "/metrics");
        assert!(metrics.contains("\netcd_server_has_leader 1\n"), "{metrics}");
        assert!(
            metrics.contains("\netcd_server_healthcheck{name=\"linearizable_read\",type=\"readyz\"} 1\n")
        );
    }
    let (_, metrics) = get(&path("http"), "/metrics");
    assert!(metrics.contains("\netcd_network_client_grpc_received_bytes_total 0\n"));
    assert!(get(&path("http"), "/version").1.starts_with(r#"{"etcdserver":"3.7.1""#));
    assert_eq!(get(&path("metrics"), "/version").0, "HTTP/1.1 404 Not Found");
    let (_, vars) = get(&path("http"), "/debug/vars");
    let vars: serde_json::Value = serde_json::from_str(&vars).unwrap();
    assert_eq!(vars["raft.status"]["raftState"], "StateLeader");
    let mut grpc_alone = std::net::TcpStream::connect(server.address).unwrap();
    grpc_alone.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // However it hangs up, it does not answer.
    let _ = grpc_alone.read_to_end(&mut answer);
    assert!(answer.is_empty());
    server.terminate();
    assert!(!path("http").exists(), "the file of a socket goes with it");
}

#[test]
fn a_file_stands_for_all_settings() {
    let dir = tempfile::tempdir().unwrap();
    let (file, socket) = (dir.path().join("etcd.yaml"), dir.path().join("client"));
    let url = format!("http://127.0.0.1:0,unix://{}", socket.display());
    let log = dir.path().join("log");
    let settings = format!(
        "name: filed\ndata-dir: {data}\nwal-dir: {data}/elsewhere\nlisten-client-urls: {url}\n\
         listen-peer-urls: http://127.0.0.1:0\nadvertise-client-urls: {url}\nlog-outputs: [stderr, {log}]\nlog-format: json\n",
        data = dir.path().display(),
        log = log.display(),
    );
    fs::write(&file, settings).unwrap();
    let flags = ["--config-file".to_owned(), file.display().to_string()];
    let server = Server::launch(&flags, &[("ETCD_NAME", "ignored")]);
    assert_eq!(get(&socket, "/health").0, "HTTP/1.1 200 OK");
    assert_eq!(server.stop(Signal::INT).signal(), Some(2), "the process ends by the signal that it got");
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("\"name\":\"filed\"") && !log.contains("\"level\":\"error\""), "{log}");
    let files = fs::read_dir(dir.path().join("elsewhere")).unwrap();
    assert!(files.flatten().any(|file| file.path().extension().is_some_and(|extension| extension == "wal")));
}

#[test]
fn init_is_told_and_history_compacted_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("notify");
    let listener = UnixDatagram::bind(&socket).unwrap();
    let notify = ("NOTIFY_SOCKET", socket.to_str().unwrap());
    let flags = ["--auto-compaction-retention=500ms", "--unsafe-no-fsync"];
    let server = Server::launch(&own_flags(dir.path(), "127.0.0.1:0", &flags), &[notify]);
    let mut message = [0; 16];
    let len = listener.recv(&mut message).unwrap();
    assert_eq!(&message[..len], b"READY=1");
    server.wait_for("starting auto periodic compaction");
    server.wait_for("completed auto periodic compaction");
    assert_eq!(server.terminate().signal(), Some(15));
}
