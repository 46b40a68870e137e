//! What an operation costs without any etcd: the floor under the rows at fixed rates.
//!
//! `bare-sync` is one thread that wakes at its time, writes 400 bytes to a file that was filled with zeros, and
//! syncs them, as each put must. `bare-echo` is one thread that reads 400 bytes from a socket and writes 110, as
//! each call must; another thread asks. Both run at the rate of the settings, and what counts is the thread that
//! stands for the server. It keeps to the processors of a server, the one that asks to the generator's.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::process::{self, ThreadReading};
use crate::report::{P50, P99, Report, SERVER_CPU, SWITCHES, WAKE_UPS};
use crate::settings::Settings;
use crate::stats::Tally;

/// About the length of a put with a value of 256 bytes, on the socket and in the write-ahead log.
const REQUEST: [u8; 400] = [b'r'; 400];
/// About the length of its answer.
const ANSWER: [u8; 110] = [b'a'; 110];
/// The length of the file, which is written over and over.
const FILE_BYTES: usize = 16 << 20;

/// Writes and syncs.
pub(super) async fn sync(settings: &Settings) -> Result<Report, Error> {
    let dir = settings.dir.clone().unwrap_or_else(std::env::temp_dir);
    let file = zero_filled(&dir).map_err(|cause| Error::File { path: dir.clone(), cause })?;
    let mut offset = 0;
    let write = move || {
        offset = if offset + REQUEST.len() > FILE_BYTES { 0 } else { offset };
        file.write_all_at(&REQUEST, offset as u64)?;
        offset += REQUEST.len();
        file.sync_data()
    };
    let pace = Pace::of(settings);
    let server = on_server_cores(settings, move || pace.drive(write))?;
    let measured = joined(server).await?.map_err(|cause| Error::File { path: dir, cause })?;
    Ok(measured.server.report(&measured.tally))
}

/// Answers.
pub(super) async fn echo(settings: &Settings) -> Result<Report, Error> {
    let (client, server) = pair().map_err(no_socket)?;
    let pace = Pace::of(settings);
    let warmup = pace.warmup_ops;
    let server = on_server_cores(settings, move || answer(server, warmup))?;
    let client = thread::spawn(move || pace.drive(call(client)));
    let asked = joined(client).await?.map_err(no_socket)?;
    let answered = joined(server).await?.map_err(no_socket)?;
    Ok(answered.report(&asked.tally))
}

/// One call: the request, and its whole answer.
fn call(mut socket: TcpStream) -> impl FnMut() -> io::Result<()> {
    move || {
        socket.write_all(&REQUEST)?;
        socket.read_exact(&mut [0; ANSWER.len()])
    }
}

/// Answers until the other end closes; reads what that took from the operation after the `warmup`th on.
fn answer(mut socket: TcpStream, warmup: u64) -> io::Result<Cost> {
    let (mut request, mut start) = ([0; REQUEST.len()], ThreadReading::now()?);
    for number in 0.. {
        if number == warmup {
            start = ThreadReading::now()?;
        }
        match socket.read_exact(&mut request) {
            Err(end) if end.kind() == io::ErrorKind::UnexpectedEof => break,
            result => result?,
        }
        socket.write_all(&ANSWER)?;
    }
    Ok(Cost { start, end: ThreadReading::now()? })
}

/// When operations start, and how many there are.
#[derive(Clone, Copy)]
struct Pace {
    interval: Duration,
    warmup_ops: u64,
    ops: u64,
}

/// What a paced thread has seen.
struct Measured {
    server: Cost,
    tally: Tally,
}

impl Pace {
    fn of(settings: &Settings) -> Self {
        let rate = settings.rate.unwrap_or(1000.0);
        let ops = |time: Duration| (time.as_secs_f64() * rate).ceil() as u64;
        Self {
            interval: Duration::from_secs_f64(1.0 / rate),
            warmup_ops: ops(settings.warmup),
            ops: ops(settings.duration).max(1),
        }
    }

    /// Carries out the operations, each at its time or, if the one before it has not ended then, right after it.
    fn drive(self, mut operation: impl FnMut() -> io::Result<()>) -> io::Result<Measured> {
        let (mut tally, mut start, first) = (Tally::new(), ThreadReading::now()?, Instant::now());
        for number in 0..self.warmup_ops + self.ops {
            if number == self.warmup_ops {
                start = ThreadReading::now()?;
            }
            let intended = first + self.interval.mul_f64(number as f64);
            thread::sleep(intended.saturating_duration_since(Instant::now()));
            operation()?;
            if number >= self.warmup_ops {
                tally.succeed(intended.elapsed());
            }
        }
        Ok(Measured { server: Cost { start, end: ThreadReading::now()? }, tally })
    }
}

/// What a thread has used between two moments.
struct Cost {
    start: ThreadReading,
    end: ThreadReading,
}

impl Cost {
    fn report(&self, tally: &Tally) -> Report {
        let per_op = |count: f64| count / tally.ops as f64;
        let ms = |latency: Duration| latency.as_secs_f64() * 1e3;
        let cpu = self.end.cpu.saturating_sub(self.start.cpu);
        let switches = self.end.switches.since(self.start.switches);
        let mut report = Report::after(tally);
        report.add(&SERVER_CPU, per_op(cpu.as_secs_f64() * 1e6));
        report.add(&WAKE_UPS, per_op(switches.voluntary as f64));
        report.add(&SWITCHES, per_op(switches.all() as f64));
        report.add(&P50, ms(tally.percentile(50.0)));
        report.add(&P99, ms(tally.percentile(99.0)));
        report
    }
}

/// Starts a thread on the processors that a server would have.
fn on_server_cores<T: Send + 'static>(
    settings: &Settings,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, Error> {
    process::on_cores(&settings.server_cores, || thread::spawn(body))
}

/// What a thread has returned; waits for it without holding up this one.
async fn joined<T: Send + 'static>(thread: JoinHandle<T>) -> Result<T, Error> {
    let result = tokio::task::spawn_blocking(|| thread.join()).await;
    Ok(result.expect("joining does not panic").expect("the thread does not panic"))
}

fn no_socket(cause: io::Error) -> Error {
    Error::System { what: "cannot talk over loopback", cause }
}

/// Two ends of a connection over loopback, the asking end first.
fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    Ok((client, server))
}

/// A file of zeros that are on the disk and goes with its handle, as a write-ahead log has it.
fn zero_filled(dir: &Path) -> io::Result<File> {
    let file = tempfile::tempfile_in(dir)?;
    file.write_all_at(&vec![0; FILE_BYTES], 0)?;
    file.sync_all()?;
    Ok(file)
}
