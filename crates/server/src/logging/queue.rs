//! The queue of lines for one output, and the thread that writes them.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::line;
use crate::config::LogFormat;

/// Bytes of lines that may wait for the writer. Further lines are dropped.
pub(super) const QUEUE_LEN_MAX: usize = 1 << 20;

/// A bounded queue of lines.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<Waiting>,
    /// Signalled when lines wait to be written.
    filled: Condvar,
    /// Signalled when all lines are written.
    drained: Condvar,
    format: LogFormat,
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
    /// Starts a thread that writes lines to `sink`; it ends with the process.
    pub(super) fn start(sink: impl Write + Send + 'static, format: LogFormat) -> io::Result<Arc<Queue>> {
        let (filled, drained) = (Condvar::new(), Condvar::new());
        let queue = Arc::new(Queue { state: Mutex::default(), filled, drained, format });
        let lines = Arc::clone(&queue);
        thread::Builder::new().name("log".to_owned()).spawn(move || lines.write_to(sink))?;
        Ok(queue)
    }

    /// Adds a line, or drops and counts it if there is no room.
    pub(super) fn push(&self, line: &str) {
        let mut waiting = self.lock();
        if waiting.lines.len() + line.len() > QUEUE_LEN_MAX {
            waiting.n_dropped += 1;
        } else {
            waiting.lines.push_str(line);
        }
        drop(waiting);
        self.filled.notify_one();
    }

    /// Waits until all lines are written, or `limit` has passed. True if all are written.
    pub(super) fn flush(&self, limit: Duration) -> bool {
        let is_busy = |waiting: &mut Waiting| waiting.is_writing || !waiting.is_empty();
        let waited = self.drained.wait_timeout_while(self.lock(), limit, is_busy);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn write_to(&self, mut sink: impl Write) {
        loop {
            let waiting = self.filled.wait_while(self.lock(), |waiting| waiting.is_empty());
            let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner);
            let mut lines = std::mem::take(&mut waiting.lines);
            let n_dropped = std::mem::take(&mut waiting.n_dropped);
            waiting.is_writing = true;
            drop(waiting);

            if n_dropped > 0 {
                lines.push_str(&line::of_dropped(n_dropped, self.format));
            }
            // There is no place to report that a line of logging cannot be written.
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
