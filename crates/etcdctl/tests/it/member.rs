//! A server for a test, in a process of its own: this test binary, started again.
//!
//! A server of another make takes its place when `GOLDEN_ETCD` names its binary, to record what it answers.

use std::env::{current_exe, var, var_os};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

/// Tells the process that is to be the server its flags.
const FLAGS: &str = "SERVER_OF_A_TEST";
/// Where the server says that other members reach it; nothing is there. The first bytes of its id, which is a hash
/// of this, are zeros. So the server comes first in a list of members, whatever the ids of others are.
const ADVERTISED_PEER: &str = "127.214.130.3:2380";
/// How long a server may take to be ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that takes clients. Dropping it ends it.
pub(crate) struct Server {
    process: Child,
    /// Where it takes them: `host:port`.
    pub(crate) endpoint: String,
    /// Where it says that it takes other members.
    pub(crate) peer: &'static str,
    flags: Vec<String>,
    _data_dir: TempDir,
}

impl Server {
    pub(crate) fn start() -> Self {
        let data_dir = TempDir::new().unwrap();
        let [endpoint, peer] = free_ports();
        let flags: Vec<_> = [
            "--data-dir",
            data_dir.path().to_str().unwrap(),
            "--listen-client-urls",
            &format!("http://{endpoint}"),
            "--advertise-client-urls",
            &format!("http://{endpoint}"),
            "--listen-peer-urls",
            &format!("http://{peer}"),
            "--initial-advertise-peer-urls",
            &format!("http://{ADVERTISED_PEER}"),
            "--initial-cluster",
            &format!("default=http://{ADVERTISED_PEER}"),
        ]
        .map(str::to_owned)
        .into();
        Server { process: spawn(&flags), endpoint, peer: ADVERTISED_PEER, flags, _data_dir: data_dir }
    }

    /// Ends the server at once and starts it again where it was.
    pub(crate) fn kill_and_restart(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.process = spawn(&self.flags);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts a server and waits until it takes clients.
fn spawn(flags: &[String]) -> Child {
    let mut command = match var_os("GOLDEN_ETCD") {
        Some(other) => {
            let mut command = Command::new(other);
            command.args(flags);
            command
        }
        None => {
            let mut command = Command::new(current_exe().unwrap());
            command.args(["--ignored", "--exact", "member::serve", "--nocapture"]);
            command.env(FLAGS, flags.join("\n"));
            command
        }
    };
    let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until_ready(&mut process);
    process
}

/// Ports that were free a moment ago; the servers' own choice would not be known before they advertise it.
fn free_ports() -> [String; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().to_string())
}

fn wait_until_ready(process: &mut Child) {
    let log = BufReader::new(process.stderr.take().expect("it was asked for"));
    let (sender, ready) = channel();
    thread::spawn(move || {
        // Read to the end even when nobody listens any more: a full pipe would hold the server up.
        for line in log.lines().map_while(Result::ok) {
            if line.contains("ready to serve client requests") {
                let _ = sender.send(());
            }
        }
    });
    ready.recv_timeout(PATIENCE).expect("the server is ready in time");
}

#[test]
#[ignore = "it is the server of the other tests, which start it"]
fn serve() {
    if let Ok(flags) = var(FLAGS) {
        let _ = server::run_with(flags.lines().map(str::to_owned), []);
    }
}
