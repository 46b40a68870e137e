//! A server process of a comparison: a member that is started with a fresh data directory, and gone with it when
//! dropped.

use std::fs::{self, File};
use std::io;
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
/// How long a server may take until it has ended.
const STOP_MAX: Duration = Duration::from_secs(30);
/// Time between two looks at a server that starts or ends.
const POLL: Duration = Duration::from_millis(5);
/// Lines of its log that an error quotes.
const LOG_LINES: usize = 5;
/// What stands in a command for what differs from member to member.
const PLACEHOLDERS: [&str; 5] = ["{name}", "{data}", "{client}", "{peer}", "{cluster}"];
/// What etcd needs to be told to run as a member of a cluster, with room for what the workloads write.
const ETCD_FLAGS: &[&str] = &[
    "--name={name}",
    "--data-dir={data}",
    "--listen-client-urls={client}",
    "--advertise-client-urls={client}",
    "--listen-peer-urls={peer}",
    "--initial-advertise-peer-urls={peer}",
    "--initial-cluster={cluster}",
    "--quota-backend-bytes=8589934592",
    "--log-level=error",
];

/// Who a member is, and where it is reached.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Its name.
    pub(crate) name: String,
    /// Where clients connect, as `host:port`.
    pub(crate) client: String,
    /// Where other members connect, as `host:port`.
    pub(crate) peer: String,
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    args: Vec<String>,
    cores: Vec<usize>,
    endpoint: String,
    dir: TempDir,
}

impl Server {
    /// Starts `command` as the member at `place` of the cluster with the members `all`, on processors `cores`
    /// (none: all).
    ///
    /// `{name}`, `{data}`, `{client}`, `{peer}` and `{cluster}` in its arguments stand for what
    /// `--initial-cluster` and the flags beside it take; the data directory is made under `parent`. A command
    /// without any of them gets etcd's flags.
    pub(crate) fn launch(
        command: &[String],
        place: &Place,
        all: &[Place],
        parent: &Path,
        cores: &[usize],
    ) -> Result<Self, Error> {
        let dir = TempDir::with_prefix_in("bench-", parent).map_err(file_error(parent))?;
        let args = fill_in(command, &dir.path().join("data"), place, all);
        let child = spawn(&args, dir.path(), cores)?;
        Ok(Self { child, args, cores: cores.to_vec(), endpoint: place.client.clone(), dir })
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
        self.restart().await?;
        Ok(start.elapsed())
    }

    /// Starts the process again on its data, once it has ended, and waits until it answers a linearizable read.
    pub(crate) async fn restart(&mut self) -> Result<(), Error> {
        self.child = spawn(&self.args, self.dir.path(), &self.cores)?;
        self.wait_until_ready().await
    }

    /// Sends a signal to the process.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // Errors mean that it has ended by itself.
        let _ = pid.map(|pid| kill_process_group(pid, signal));
    }

    /// Waits until the process has ended.
    pub(crate) async fn ended(&mut self) -> Result<(), Error> {
        let deadline = Instant::now() + STOP_MAX;
        while let Ok(None) = self.child.try_wait() {
            if Instant::now() > deadline {
                return Err(self.failed(&format!("has not ended {STOP_MAX:?} after it was told to")));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Waits until the server answers a linearizable read.
    pub(crate) async fn wait_until_ready(&mut self) -> Result<(), Error> {
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
        self.signal(Signal::KILL);
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

/// Whether `command` can be started as one of several members.
pub(crate) fn takes_cluster(command: &[String]) -> bool {
    has_any(command, &["{cluster}"]) || !has_any(command, &PLACEHOLDERS)
}

fn has_any(command: &[String], placeholders: &[&str]) -> bool {
    command.iter().any(|arg| placeholders.iter().any(|placeholder| arg.contains(placeholder)))
}

/// Replaces the placeholders, after appending etcd's flags to a command that has none.
fn fill_in(command: &[String], data: &Path, place: &Place, all: &[Place]) -> Vec<String> {
    let cluster: Vec<_> =
        all.iter().map(|member| format!("{}=http://{}", member.name, member.peer)).collect();
    let values = [
        place.name.clone(),
        data.to_string_lossy().into_owned(),
        format!("http://{}", place.client),
        format!("http://{}", place.peer),
        cluster.join(","),
    ];
    let flags = if has_any(command, &PLACEHOLDERS) { &[] } else { ETCD_FLAGS };
    let fill = |arg: &str| {
        let pairs = PLACEHOLDERS.iter().zip(&values);
        pairs.fold(arg.to_owned(), |arg, (placeholder, value)| arg.replace(placeholder, value))
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

    fn place(name: &str) -> Place {
        Place { name: name.to_owned(), client: format!("{name}:1"), peer: format!("{name}:2") }
    }

    #[test]
    fn placeholders_are_filled_in() {
        let all = [place("a"), place("b")];
        let command = words("s -d {data} -c {client},{peer} -m {name} {cluster}");
        let args = fill_in(&command, Path::new("/d"), &all[1], &all);
        let filled = "s -d /d -c http://b:1,http://b:2 -m b a=http://a:2,b=http://b:2";
        assert_eq!(args, words(filled));
    }

    #[test]
    fn a_command_without_placeholders_gets_the_flags_of_etcd() {
        let all = [place("a")];
        let args = fill_in(&words("etcd --quota-backend-bytes=1"), Path::new("/d"), &all[0], &all);
        assert_eq!(args[..4], ["etcd", "--quota-backend-bytes=1", "--name=a", "--data-dir=/d"]);
        assert!(args.contains(&"--initial-cluster=a=http://a:2".to_owned()));
    }

    #[tokio::test]
    async fn a_server_that_ends_at_once_is_reported_with_its_last_words() {
        let command = ["sh", "-c", "echo no such cluster {data}; exit 3"].map(str::to_owned);
        let member = place("a");
        let mut server = Server::launch(&command, &member, &[], &std::env::temp_dir(), &[]).unwrap();
        let text = server.wait_until_ready().await.unwrap_err().to_string();
        assert!(text.contains("ended with exit status: 3\n  no such cluster"), "{text}");
    }

    #[tokio::test]
    async fn a_server_that_was_told_to_end_is_waited_for() {
        let command = ["sh", "-c", "exec sleep 1000 # {data}"].map(str::to_owned);
        let mut server = Server::launch(&command, &place("a"), &[], &std::env::temp_dir(), &[]).unwrap();
        assert!(matches!(server.child.try_wait(), Ok(None)));
        server.signal(Signal::TERM);
        server.ended().await.unwrap();
        assert!(matches!(server.child.try_wait(), Ok(Some(_))));
    }

    #[test]
    fn a_server_that_does_not_exist_is_named() {
        let command = words("/no/such/etcd");
        let Err(error) = Server::launch(&command, &place("a"), &[], &std::env::temp_dir(), &[]) else {
            panic!("there is no such file")
        };
        assert!(error.to_string().starts_with("server `/no/such/etcd`: No such file"), "{error}");
    }
}
