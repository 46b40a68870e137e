//! A server process of a comparison: started on free loopback ports with a fresh data directory, and gone
//! with both when dropped.

use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use proto::etcdserverpb::{RangeRequest, RangeResponse};
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::client::Connection;
use crate::error::Error;
use crate::process;
use crate::workload::unary;

/// How long a server may take until it answers.
const START_MAX: Duration = Duration::from_secs(60);
/// Time between two tries to reach a server that starts.
const POLL: Duration = Duration::from_millis(5);
/// Lines of its log that an error quotes.
const LOG_LINES: usize = 5;
/// What etcd needs to be told to run as the only member of a cluster, with room for what the workloads write.
const ETCD_FLAGS: &[&str] = &[
    "--name=bench",
    "--data-dir={data}",
    "--listen-client-urls={client}",
    "--advertise-client-urls={client}",
    "--listen-peer-urls={peer}",
    "--initial-advertise-peer-urls={peer}",
    "--initial-cluster=bench={peer}",
    "--quota-backend-bytes=8589934592",
    "--log-level=error",
];

/// A running server.
pub(crate) struct Server {
    child: Child,
    args: Vec<String>,
    cores: Vec<usize>,
    endpoint: String,
    dir: TempDir,
}

impl Server {
    /// Starts `command` on processors `cores` (none: all) and waits until it answers a linearizable read.
    ///
    /// `{data}`, `{client}` and `{peer}` in its arguments stand for the data directory, made under
    /// `parent`, and for the two URLs; a command without any of them gets etcd's flags.
    pub(crate) async fn start(command: &[String], parent: &Path, cores: &[usize]) -> Result<Self, Error> {
        let dir = TempDir::with_prefix_in("bench-", parent).map_err(file_error(parent))?;
        let [client, peer] = free_endpoints()?;
        let args = fill_in(command, &dir.path().join("data"), &client, &peer);
        let child = spawn(&args, dir.path(), cores)?;
        let mut server = Self { child, args, cores: cores.to_vec(), endpoint: client, dir };
        server.wait_until_ready().await?;
        Ok(server)
    }

    /// Where clients connect, as `host:port`.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Bytes that its files take on the disk.
    pub(crate) fn disk_bytes(&self) -> Result<u64, Error> {
        process::disk_bytes(self.dir.path()).map_err(file_error(self.dir.path()))
    }

    /// What the device under its data has written, see [`process::written_bytes`].
    pub(crate) fn written_bytes(&self) -> Result<Option<u64>, Error> {
        process::written_bytes(self.dir.path()).map_err(file_error(self.dir.path()))
    }

    /// Kills the process without warning, starts it again on its data, and returns how long it took from there
    /// until it answered a linearizable read.
    pub(crate) async fn crash_and_restart(&mut self) -> Result<Duration, Error> {
        self.kill();
        let start = Instant::now();
        self.child = spawn(&self.args, self.dir.path(), &self.cores)?;
        self.wait_until_ready().await?;
        Ok(start.elapsed())
    }

    async fn wait_until_ready(&mut self) -> Result<(), Error> {
        let deadline = Instant::now() + START_MAX;
        while let Err(error) = read_before(deadline, &self.endpoint).await {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(self.failed(&format!("ended with {status}")));
            }
            if Instant::now() > deadline {
                return Err(self.failed(&format!("not ready after {START_MAX:?}: {error}")));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// The error that says what the server was and what it wrote last.
    fn failed(&self, what: &str) -> Error {
        let log = fs::read_to_string(log_path(self.dir.path())).unwrap_or_default();
        let mut detail = what.to_owned();
        let lines: Vec<&str> = log.lines().rev().take(LOG_LINES).collect();
        for line in lines.iter().rev() {
            detail += "\n  ";
            detail += line;
        }
        Error::Server { command: self.args.join(" "), detail }
    }

    /// Kills the process and whatever it has started, and waits until it is gone.
    fn kill(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // Errors mean that it has ended by itself; then waiting returns at once.
        let _ = pid.map(|pid| kill_process_group(pid, Signal::KILL));
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(args: &[String], dir: &Path, cores: &[usize]) -> Result<Child, Error> {
    let log = File::options().create(true).append(true).open(log_path(dir)).map_err(file_error(dir))?;
    let err = log.try_clone().map_err(file_error(dir))?;
    let mut command = Command::new(&args[0]);
    command.args(&args[1..]).stdin(Stdio::null()).stdout(log).stderr(err);
    // Ctrl-C in a terminal goes to the whole group: the server is to be stopped by its owner.
    command.process_group(0);
    process::on_cores(cores, || command.spawn())?
        .map_err(|cause| Error::Server { command: args[0].clone(), detail: cause.to_string() })
}

/// Two loopback addresses that nothing listens on: held together first, so that they differ.
fn free_endpoints() -> Result<[String; 2], Error> {
    let held = || {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        Ok((listener.local_addr()?.to_string(), listener))
    };
    let no_port = |cause: io::Error| Error::System { what: "cannot find a free port", cause };
    let (client, _client_held) = held().map_err(no_port)?;
    let (peer, _peer_held) = held().map_err(no_port)?;
    Ok([client, peer])
}

/// Replaces the placeholders, after appending etcd's flags to a command that has none.
fn fill_in(command: &[String], data: &Path, client: &str, peer: &str) -> Vec<String> {
    let names = ["{data}", "{client}", "{peer}"];
    let complete = command.iter().any(|arg| names.iter().any(|name| arg.contains(name)));
    let flags = if complete { &[] } else { ETCD_FLAGS };
    let fill = |arg: &str| {
        arg.replace("{data}", &data.to_string_lossy())
            .replace("{client}", &format!("http://{client}"))
            .replace("{peer}", &format!("http://{peer}"))
    };
    command.iter().map(String::as_str).chain(flags.iter().copied()).map(fill).collect()
}

/// One linearizable read of a key that need not exist: it succeeds once there is a leader.
async fn read_before(deadline: Instant, endpoint: &str) -> Result<(), Error> {
    let read = async {
        let connection = Connection::open(endpoint).await?;
        let range = RangeRequest { key: "ready".into(), ..Default::default() };
        connection.call::<RangeResponse>(unary::RANGE, range).await.map(drop)
    };
    let in_time = tokio::time::timeout_at(deadline.into(), read).await;
    in_time.unwrap_or_else(|_| Err(Error::Answer("none came".to_owned())))
}

fn log_path(dir: &Path) -> PathBuf {
    dir.join("server.log")
}

fn file_error(path: &Path) -> impl Fn(io::Error) -> Error {
    move |cause| Error::File { path: path.to_owned(), cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn placeholders_are_filled_in() {
        let args = fill_in(&words("s -d {data} -c {client},{peer}"), Path::new("/d"), "h:1", "h:2");
        assert_eq!(args, ["s", "-d", "/d", "-c", "http://h:1,http://h:2"]);
    }

    #[test]
    fn a_command_without_placeholders_gets_the_flags_of_etcd() {
        let args = fill_in(&words("etcd --quota-backend-bytes=1"), Path::new("/d"), "h:1", "h:2");
        assert_eq!(args[..4], ["etcd", "--quota-backend-bytes=1", "--name=bench", "--data-dir=/d"]);
        assert!(args.contains(&"--initial-cluster=bench=http://h:2".to_owned()));
    }

    #[test]
    fn the_two_endpoints_differ() {
        let [client, peer] = free_endpoints().unwrap();
        assert_ne!(client, peer);
    }

    #[tokio::test]
    async fn a_server_that_ends_at_once_is_reported_with_its_last_words() {
        let command = ["sh", "-c", "echo no such cluster {data}; exit 3"].map(str::to_owned);
        let Err(error) = Server::start(&command, &std::env::temp_dir(), &[]).await else {
            panic!("it has ended")
        };
        let text = error.to_string();
        assert!(text.contains("ended with exit status: 3\n  no such cluster"), "{text}");
    }

    #[tokio::test]
    async fn a_server_that_does_not_exist_is_named() {
        let Err(error) = Server::start(&words("/no/such/etcd"), &std::env::temp_dir(), &[]).await else {
            panic!("there is no such file")
        };
        assert!(error.to_string().starts_with("server `/no/such/etcd`: No such file"), "{error}");
    }
}
