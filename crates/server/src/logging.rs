//! The log: one JSON line an event on stderr, in the shape of etcd's logger.
//!
//! `level`, `ts`, `caller` and `msg` come first, then the fields of the event. Events are formatted where they
//! happen and written by a thread of their own through a bounded queue: a reader of stderr that is stuck costs
//! lines, which are counted and reported once it moves again, but never holds up the server.
//! Not here: files, rotation, sampling, the console format.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// Bytes of lines that may wait for the writer; what comes then is dropped.
const QUEUE_LEN_MAX: usize = 1 << 20;

/// How long the end of the process waits for the last lines.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(1);

/// Crates below us that talk about every frame: only their warnings are of interest.
const CHATTY: [&str; 3] = ["h2", "hyper", "tokio"];

/// Starts the log of the process on stderr. The last lines are written when the answer is dropped.
///
/// Panics if the process has a log already. The error is the system's refusal of a thread.
pub fn start(level: LevelFilter) -> io::Result<Log> {
    let log = Log::start(io::stderr())?;
    let subscriber = tracing_subscriber::registry().with(log.layer(level));
    tracing::subscriber::set_global_default(subscriber).expect("a process starts one log");
    Ok(log)
}

/// A running log.
#[derive(Debug)]
pub struct Log {
    queue: Arc<Queue>,
}

impl Log {
    /// Starts a thread that writes lines to `sink`.
    pub fn start(sink: impl Write + Send + 'static) -> io::Result<Log> {
        let queue = Arc::new(Queue::default());
        let lines = Arc::clone(&queue);
        thread::Builder::new().name("log".to_owned()).spawn(move || lines.write_to(sink))?;
        Ok(Log { queue })
    }

    /// What feeds events of at least this level to the log.
    pub fn layer<S: Subscriber>(&self, level: LevelFilter) -> impl Layer<S> + use<S> {
        JsonLayer { level, queue: Arc::clone(&self.queue) }
    }

    /// Waits until all lines so far are written, or `limit` has passed; tells which.
    pub fn flush(&self, limit: Duration) -> bool {
        self.queue.flush(limit)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.flush(FLUSH_TIME_MAX);
    }
}

/// Lines on their way to the writer thread.
#[derive(Debug, Default)]
struct Queue {
    state: Mutex<Waiting>,
    /// Something waits to be written.
    filled: Condvar,
    /// Everything is written.
    drained: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: String,
    /// Lines for which there was no room since the last report.
    n_dropped: u64,
    is_writing: bool,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.n_dropped == 0
    }
}

impl Queue {
    fn push(&self, line: &str) {
        let mut waiting = self.lock();
        if waiting.lines.len() + line.len() > QUEUE_LEN_MAX {
            waiting.n_dropped += 1;
        } else {
            waiting.lines.push_str(line);
        }
        drop(waiting);
        self.filled.notify_one();
    }

    fn flush(&self, limit: Duration) -> bool {
        let is_busy = |waiting: &mut Waiting| waiting.is_writing || !waiting.is_empty();
        let waited = self.drained.wait_timeout_while(self.lock(), limit, is_busy);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// The life of the writer thread, which ends with the process.
    fn write_to(&self, mut sink: impl Write) {
        loop {
            let waiting = self.filled.wait_while(self.lock(), |waiting| waiting.is_empty());
            let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner);
            let mut lines = std::mem::take(&mut waiting.lines);
            let n_dropped = std::mem::take(&mut waiting.n_dropped);
            waiting.is_writing = true;
            drop(waiting);

            if n_dropped > 0 {
                lines.push_str(&dropped_line(n_dropped));
            }
            // There is nowhere left to say that the log itself cannot be written.
            let _ = sink.write_all(lines.as_bytes()).and_then(|()| sink.flush());

            self.lock().is_writing = false;
            self.drained.notify_all();
        }
    }

    /// A panic while holding the lock cannot leave a half-written state, so poison is of no interest.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Turns events into lines.
struct JsonLayer {
    level: LevelFilter,
    queue: Arc<Queue>,
}

impl<S: Subscriber> Layer<S> for JsonLayer {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let root = metadata.target().split("::").next().unwrap_or_default();
        let level = if CHATTY.contains(&root) { self.level.min(LevelFilter::WARN) } else { self.level };
        *metadata.level() <= level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let caller = caller(metadata.file().unwrap_or_default(), metadata.line().unwrap_or_default());
        self.queue.push(&line(*metadata.level(), &caller, &fields));
    }
}

/// The fields of an event; each of `rest` is preceded by a comma.
#[derive(Default)]
struct Fields {
    message: String,
    rest: String,
}

impl Fields {
    fn add(&mut self, field: &Field, value: impl fmt::Display) {
        use fmt::Write;
        write!(self.rest, ",{}:{value}", json(field.name())).expect("a String takes any text");
    }
}

impl Visit for Fields {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, serde_json::Value::from(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.add(field, json(value));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

fn line(level: Level, caller: &str, fields: &Fields) -> String {
    let level = match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG | Level::TRACE => "debug",
    };
    let time = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ");
    let Fields { message, rest } = fields;
    format!(
        "{{\"level\":\"{level}\",\"ts\":\"{time}\",\"caller\":{},\"msg\":{}{rest}}}\n",
        json(caller),
        json(message)
    )
}

fn dropped_line(n_dropped: u64) -> String {
    let fields =
        Fields { message: "log lines were dropped".to_owned(), rest: format!(",\"count\":{n_dropped}") };
    line(Level::WARN, &caller(file!(), line!()), &fields)
}

/// `crate/file.rs:line`, as short as etcd's.
fn caller(file: &str, line: u32) -> String {
    let file = file.rsplit_once("crates/").map_or(file, |(_, file)| file);
    format!("{}:{line}", file.replacen("src/", "", 1))
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// A sink that says when it is about to write, and then waits for leave.
    struct Pipe {
        entered: Sender<()>,
        leave: Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.entered.send(());
            // A dropped sender means that the pipe flows freely.
            let _ = self.leave.recv();
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Reader {
        entered: Receiver<()>,
        leave: Sender<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Reader {
        /// Lets everything through and returns the lines.
        fn read(self, log: &Log) -> Vec<serde_json::Value> {
            drop(self.leave);
            assert!(log.flush(LIMIT));
            let written = self.written.lock().unwrap();
            let text = std::str::from_utf8(&written).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        }
    }

    fn log() -> (Log, Reader) {
        let (entered, reader_entered) = channel();
        let (reader_leave, leave) = channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let log = Log::start(Pipe { entered, leave, written: Arc::clone(&written) }).unwrap();
        (log, Reader { entered: reader_entered, leave: reader_leave, written })
    }

    fn record(log: &Log, level: LevelFilter, events: impl FnOnce()) {
        let subscriber = tracing_subscriber::registry().with(log.layer(level));
        tracing::subscriber::with_default(subscriber, events);
    }

    #[test]
    fn line_has_the_shape_of_etcd() {
        let (log, reader) = log();
        record(&log, LevelFilter::INFO, || {
            tracing::warn!(address = "127.0.0.1:1", "member-id" = 7_u64, ok = true, took = ?"x\"y", "quote \"");
            tracing::debug!("too fine");
        });
        let written = Arc::clone(&reader.written);
        let lines = reader.read(&log);
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["level"], "warn");
        assert_eq!(lines[0]["msg"], "quote \"");
        assert_eq!(lines[0]["member-id"], 7);
        assert_eq!(lines[0]["ok"], true);
        assert_eq!(lines[0]["took"], "\"x\\\"y\"");
        assert!(lines[0]["caller"].as_str().unwrap().starts_with("server/logging.rs:"));
        let time = lines[0]["ts"].as_str().unwrap();
        assert_eq!(time.len(), "2006-01-02T15:04:05.000000Z".len());
        assert!(written.lock().unwrap().starts_with(b"{\"level\":\"warn\",\"ts\":\""));
    }

    #[test]
    fn stuck_pipe_costs_lines_and_says_how_many() {
        let (log, reader) = log();
        let filler = "x".repeat(QUEUE_LEN_MAX / 4);
        record(&log, LevelFilter::INFO, || {
            tracing::info!("stuck");
            reader.entered.recv().unwrap();
            for _ in 0..6 {
                tracing::info!(filler, "queued");
            }
        });
        assert!(!log.flush(Duration::ZERO));
        let lines = reader.read(&log);
        assert_eq!(lines.len(), 1 + 3 + 1);
        assert_eq!(lines[4]["msg"], "log lines were dropped");
        assert_eq!(lines[4]["count"], 3);
    }

    #[test]
    fn libraries_are_heard_only_when_they_warn() {
        let (log, reader) = log();
        record(&log, LevelFilter::DEBUG, || {
            tracing::debug!(target: "h2::codec", "frame");
            tracing::warn!(target: "h2::codec", "trouble");
            tracing::debug!(target: "server::listen", "ours");
        });
        let lines = reader.read(&log);
        let texts: Vec<&str> = lines.iter().map(|line| line["msg"].as_str().unwrap()).collect();
        assert_eq!(texts, ["trouble", "ours"]);
    }

    #[test]
    fn caller_is_short() {
        assert_eq!(caller("crates/server/src/grpc/call.rs", 3), "server/grpc/call.rs:3");
        assert_eq!(caller("/x/crates/etcd/src/main.rs", 9), "etcd/main.rs:9");
    }
}
