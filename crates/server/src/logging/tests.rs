//! What becomes of events, through the whole log.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::queue::QUEUE_LEN_MAX;
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
    let mut log = Log::new(LogFormat::Json);
    log.add(Pipe { entered, leave, written: Arc::clone(&written) }).unwrap();
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
    assert!(lines[0]["caller"].as_str().unwrap().starts_with("server/logging/tests.rs:"));
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
fn list_of_texts_is_a_list() {
    let (log, reader) = log();
    record(
        &log,
        LevelFilter::INFO,
        || tracing::info!(urls = ?["http://a:1", "b"], odd = ?[Some(1)], "lists"),
    );
    let lines = reader.read(&log);
    assert_eq!(lines[0]["urls"], serde_json::json!(["http://a:1", "b"]));
    assert_eq!(lines[0]["odd"], "[Some(1)]");
}

#[test]
fn fatal_event_is_logged_whatever_the_level() {
    let (log, reader) = log();
    record(&log, LevelFilter::OFF, || {
        tracing::error!("not this");
        tracing::error!(target: FATAL, "this");
    });
    let lines = reader.read(&log);
    assert_eq!((lines.len(), &lines[0]["level"]), (1, &"fatal".into()));
}

#[test]
fn stuck_output_does_not_hold_up_another() {
    let (mut log, stuck) = log();
    let (_, written) = (stuck.entered, stuck.written);
    let free = Arc::new(Mutex::new(Vec::new()));
    let (entered, _) = channel();
    let leave = channel().1;
    log.add(Pipe { entered, leave, written: Arc::clone(&free) }).unwrap();
    record(&log, LevelFilter::INFO, || tracing::info!("to both"));
    assert!(!log.flush(Duration::ZERO));
    assert!(log.queues[1].flush(LIMIT));
    assert!(!free.lock().unwrap().is_empty());
    assert!(written.lock().unwrap().is_empty());
}
