//! The built server as a child process.
//!
//! Each has its data directory from the test and a port from the system. A test waits for lines of its log,
//! never for time to pass. A child that is dropped is killed, so that a failing test leaves nothing behind.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long a test waits for a line of the log, or for the end of a process, before it fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that takes clients.
pub(crate) struct Server {
    process: Process,
    /// Where it takes them.
    pub(crate) address: SocketAddr,
    /// From its start until it was ready.
    pub(crate) start_time: Duration,
    /// What it logged until it was ready.
    start_log: String,
}

impl Server {
    /// Starts a server on `data_dir` and waits until it takes clients.
    pub(crate) fn start(data_dir: &Path) -> Server {
        Server::start_with(data_dir, &[])
    }

    /// Like [`Server::start`], with more flags.
    pub(crate) fn start_with(data_dir: &Path, flags: &[&str]) -> Server {
        Server::launch(&own_flags(data_dir, "127.0.0.1:0", flags), &[])
    }

    /// Starts a server with these flags and variables, which must make it listen on TCP, and waits until it takes
    /// clients.
    pub(crate) fn launch(flags: &[String], env: &[(&str, &str)]) -> Server {
        Server::of_process(Process::spawn(flags, env))
    }

    fn of_process(process: Process) -> Server {
        let started_at = Instant::now();
        let start_log = process.log.up_to("ready to serve client requests");
        let line = start_log.lines().find(|line| line.contains("serving client traffic")).unwrap();
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let address = line["address"].as_str().expect("the line names the address").parse().unwrap();
        Server { process, address, start_time: started_at.elapsed(), start_log }
    }

    /// Starts a server that may have no more than `files` files open.
    pub(crate) fn start_limited(data_dir: &Path, files: u32) -> Server {
        Server::of_process(limited(data_dir, files))
    }

    /// Starts another etcd, the binary `program`, on `data_dir` and waits until it takes clients.
    pub(crate) fn start_other(program: &Path, data_dir: &Path) -> Server {
        let started_at = Instant::now();
        let [client, peer] = free_addresses();
        let peer = format!("http://{peer}");
        let cluster = format!("default={peer}");
        let peer_flags = ["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer];
        let flags = [&peer_flags[..], &["--initial-cluster", &cluster]].concat();
        let process =
            Process::start(Command::new(program), &own_flags(data_dir, &client.to_string(), &flags));
        let start_log = process.log.up_to("serving client traffic");
        Server { process, address: client, start_time: started_at.elapsed(), start_log }
    }

    /// The number of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// What it logged until it was ready.
    pub(crate) fn start_log(&self) -> &str {
        &self.start_log
    }

    /// Waits for a line of the log that contains `text`.
    pub(crate) fn wait_for(&self, text: &str) -> serde_json::Value {
        self.process.log.wait_for(text)
    }

    /// Begins to read standard output. Nobody does before that, and a pipe does not hold much.
    pub(crate) fn stdout(&mut self) -> Log {
        Log::read(self.process.child.stdout.take().expect("it was asked for"))
    }

    /// Ends the process at once, as a crash would: it gets to do nothing more. Returns what it had logged since the
    /// last line that was waited for.
    pub(crate) fn kill(mut self) -> String {
        self.process.child.kill().unwrap();
        self.process.child.wait().unwrap();
        self.process.log.to_the_end()
    }

    /// Asks the process to stop and waits until it has.
    pub(crate) fn terminate(self) -> ExitStatus {
        self.stop(Signal::TERM)
    }

    /// Sends the process a signal that stops it and waits until it has.
    pub(crate) fn stop(mut self, signal: Signal) -> ExitStatus {
        let pid = Pid::from_child(&self.process.child);
        kill_process(pid, signal).unwrap();
        self.process.log.wait_for("closed etcd server");
        self.process.child.wait().unwrap()
    }

    /// Sends the process a signal that ends it at once.
    pub(crate) fn end_by(mut self, signal: Signal) -> ExitStatus {
        kill_process(Pid::from_child(&self.process.child), signal).unwrap();
        self.process.child.wait().unwrap()
    }

    /// Whether the process has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.child.try_wait().unwrap().is_some()
    }
}

/// What a server that refuses to start has to say.
pub(crate) struct Refusal {
    /// Its exit code.
    pub(crate) code: i32,
    /// All it wrote to standard error.
    pub(crate) log: String,
}

/// Starts a server that is expected to refuse `data_dir` or `address`.
pub(crate) fn start_in_vain(data_dir: &Path, address: &str) -> Refusal {
    start_in_vain_with(data_dir, address, &[])
}

/// Like [`start_in_vain`], with more flags.
pub(crate) fn start_in_vain_with(data_dir: &Path, address: &str, flags: &[&str]) -> Refusal {
    Process::spawn(&own_flags(data_dir, address, flags), &[]).refusal()
}

/// Like [`start_in_vain`], for a server that may have no more than `files` files open.
pub(crate) fn start_limited_in_vain(data_dir: &Path, files: u32) -> Refusal {
    limited(data_dir, files).refusal()
}

fn limited(data_dir: &Path, files: u32) -> Process {
    let mut command = Command::new("sh");
    let script = format!("ulimit -n {files} && exec \"$0\" \"$@\"");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_etcd")]);
    Process::start(command, &own_flags(data_dir, "127.0.0.1:0", &[]))
}

/// The flags that a server of a test needs, and `more`.
pub(crate) fn own_flags(data_dir: &Path, address: &str, more: &[&str]) -> Vec<String> {
    let data_dir = data_dir.to_str().unwrap();
    let url = format!("http://{address}");
    let own = [
        ["--data-dir", data_dir],
        ["--listen-client-urls", &url],
        ["--advertise-client-urls", &url],
        // Whoever wants another one says so later.
        ["--listen-peer-urls", "http://127.0.0.1:0"],
    ];
    let own = own.concat();
    own.iter().chain(more).map(|&flag| flag.to_owned()).collect()
}

/// Two addresses that nothing listens on: held together first, so that they differ.
fn free_addresses() -> [SocketAddr; 2] {
    let held = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap())
}

/// A child and its log.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) log: Log,
}

impl Process {
    /// Starts the built server and waits for nothing.
    pub(crate) fn spawn(flags: &[String], env: &[(&str, &str)]) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_etcd"));
        command.envs(env.iter().copied());
        Process::start(command, flags)
    }

    fn start(mut command: Command, flags: &[String]) -> Process {
        command.args(flags).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = Log::read(child.stderr.take().expect("it was asked for"));
        Process { child, log }
    }

    /// The number by which the system knows the process.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// What the process says until it ends, which it must do by itself.
    pub(crate) fn refusal(mut self) -> Refusal {
        let log = self.log.to_the_end();
        let code = self.child.wait().unwrap().code().expect("it was not killed");
        Refusal { code, log }
    }
}

/// The lines of a log, as they come.
pub(crate) struct Log {
    lines: Receiver<String>,
}

impl Log {
    fn read(pipe: impl Read + Send + 'static) -> Log {
        let (sender, lines) = channel();
        thread::spawn(move || {
            let lines = BufReader::new(pipe).lines().map_while(Result::ok);
            // Read to the end even when nobody listens any more: a full pipe is another test.
            lines.for_each(|line| drop(sender.send(line)));
        });
        Log { lines }
    }

    /// The next line.
    pub(crate) fn next(&self) -> Option<String> {
        self.lines.recv_timeout(PATIENCE).ok()
    }

    /// Waits for a line that contains `text`.
    pub(crate) fn wait_for(&self, text: &str) -> serde_json::Value {
        let seen = self.up_to(text);
        serde_json::from_str(seen.lines().last().expect("the line is there")).unwrap()
    }

    /// Waits for a line that contains `text`; returns all lines up to it.
    pub(crate) fn up_to(&self, text: &str) -> String {
        let mut seen = String::new();
        loop {
            let line = self.next().unwrap_or_else(|| panic!("no {text:?} in:\n{seen}"));
            seen.push_str(&line);
            seen.push('\n');
            if line.contains(text) {
                return seen;
            }
        }
    }

    /// All lines until the process ends.
    pub(crate) fn to_the_end(&self) -> String {
        std::iter::from_fn(|| self.next()).flat_map(|line| [line, "\n".to_owned()]).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails if it has ended, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
