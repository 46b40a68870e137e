//! Logging: one line for each event, as JSON or in columns, in the format of etcd's logger.
//!
//! ```text
//! event ─▶ level? ─▶ sampling ─▶ line ─▶ a queue and a writer thread for each output
//! ```
//!
//! Events are formatted on the thread where they happen. An output that is stuck loses lines, which are
//! counted and reported once it works again. It blocks neither the server nor another output. An event whose
//! target is [`FATAL`] says why the process ends: its level reads `fatal`.

mod line;
mod queue;
mod rotation;
mod sampling;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::level_filters::LevelFilter;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use self::line::Fields;
use self::queue::Queue;
use self::rotation::RotatingFile;
use self::sampling::Sampler;
use crate::config::{LogConfig, LogFormat, LogOutput, go_text};

/// The target of an event that ends the process.
pub(crate) const FATAL: &str = "fatal";

/// How long the process waits for the last lines before it ends.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(1);

/// Crates that log every frame: only their warnings are logged.
const CHATTY: [&str; 3] = ["h2", "hyper", "tokio"];

/// Starts the logging of the process. The last lines are written when the result is dropped.
///
/// Panics if logging was started before. The error names the file that the system refuses, in etcd's words.
pub(crate) fn start(config: &LogConfig) -> Result<Log, String> {
    let mut log = Log::new(config.format);
    for output in &config.outputs {
        let sink = open(output, config).map_err(|error| refused(output, &error))?;
        log.add(sink).map_err(|error| format!("start the writer of {output:?}: {error}"))?;
    }
    let subscriber = tracing_subscriber::registry().with(log.layer(config.level));
    tracing::subscriber::set_global_default(subscriber).expect("a process starts one log");
    Ok(log)
}

fn open(output: &LogOutput, config: &LogConfig) -> io::Result<Box<dyn Write + Send>> {
    Ok(match (output, config.rotation) {
        (LogOutput::Stderr, _) => Box::new(io::stderr()),
        (LogOutput::Stdout, _) => Box::new(io::stdout()),
        (LogOutput::File(path), Some(rotation)) => Box::new(RotatingFile::open(path.into(), rotation)?),
        (LogOutput::File(path), None) => {
            Box::new(OpenOptions::new().append(true).create(true).mode(0o644).open(path)?)
        }
    })
}

fn refused(output: &LogOutput, error: &io::Error) -> String {
    let LogOutput::File(path) = output else { return format!("open {output:?}: {error}") };
    format!("open sink {path:?}: open {path}: {}", go_text(error))
}

/// Running logging: its outputs and their threads.
#[derive(Debug)]
pub(crate) struct Log {
    format: LogFormat,
    queues: Vec<Arc<Queue>>,
}

impl Log {
    /// Logging without outputs.
    fn new(format: LogFormat) -> Log {
        Log { format, queues: Vec::new() }
    }

    /// Starts a thread that writes lines to `sink`.
    fn add(&mut self, sink: impl Write + Send + 'static) -> io::Result<()> {
        self.queues.push(Queue::start(sink, self.format)?);
        Ok(())
    }

    /// The subscriber that passes on events of at least this level.
    fn layer<S: Subscriber>(&self, level: LevelFilter) -> impl Layer<S> + use<S> {
        Lines {
            level,
            format: self.format,
            sampler: Sampler::default(),
            started_at: Instant::now(),
            queues: self.queues.clone(),
        }
    }

    /// Waits until all lines so far are written, or `limit` has passed. True if all are written.
    fn flush(&self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        let is_stuck = |queue: &&Arc<Queue>| !queue.flush(until.saturating_duration_since(Instant::now()));
        // Every output is flushed, also after one that is stuck.
        self.queues.iter().filter(is_stuck).count() == 0
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.flush(FLUSH_TIME_MAX);
    }
}

/// Turns events into lines.
struct Lines {
    level: LevelFilter,
    format: LogFormat,
    sampler: Sampler,
    started_at: Instant,
    queues: Vec<Arc<Queue>>,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let root = metadata.target().split("::").next().unwrap_or_default();
        let level = if CHATTY.contains(&root) { self.level.min(LevelFilter::WARN) } else { self.level };
        *metadata.level() <= level || root == FATAL
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        if !self.sampler.takes(*metadata.level(), &fields.message, self.started_at.elapsed()) {
            return;
        }
        let line = line::of_event(metadata, &fields, self.format);
        self.queues.iter().for_each(|queue| queue.push(&line));
    }
}

#[cfg(test)]
mod tests;
