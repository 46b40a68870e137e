//! The results of a run.

use std::any::Any;
use std::ops::AddAssign;

/// Counts of one run, or of many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Commands that were sent.
    pub commands: u64,
    /// Commands of which the answer was compared.
    pub answered: u64,
    /// Reads and hashes compared.
    pub reads: u64,
    /// Watch events compared.
    pub events: u64,
    /// Times the member was killed.
    pub kills: u64,
    /// Times it was started again.
    pub restarts: u64,
    /// Times it stopped by itself, because a sync had failed.
    pub fatal_stops: u64,
    /// Times it could not start before a full disk had room again.
    pub late_starts: u64,
    /// Commands refused for want of space.
    pub refused: u64,
    /// Commands refused because of an alarm.
    pub alarmed: u64,
    /// Requests that took too long.
    pub timed_out: u64,
    /// Checkpoints that became durable.
    pub checkpoints: u64,
    /// Compactions that finished.
    pub compactions: u64,
    /// Requests to defragment that were carried out.
    pub defragmentations: u64,
    /// Effects on the disk.
    pub effects: u64,
    /// A hash of the whole trace.
    pub trace: u64,
}

impl AddAssign for Report {
    fn add_assign(&mut self, other: Report) {
        self.commands += other.commands;
        self.answered += other.answered;
        self.reads += other.reads;
        self.events += other.events;
        self.kills += other.kills;
        self.restarts += other.restarts;
        self.fatal_stops += other.fatal_stops;
        self.late_starts += other.late_starts;
        self.refused += other.refused;
        self.alarmed += other.alarmed;
        self.timed_out += other.timed_out;
        self.checkpoints += other.checkpoints;
        self.compactions += other.compactions;
        self.defragmentations += other.defragmentations;
        self.effects += other.effects;
        self.trace ^= other.trace;
    }
}

/// What went wrong in a run.
#[derive(Debug, Clone)]
pub struct Failure {
    /// A sentence that says what went wrong.
    pub what: String,
    /// The last lines of the trace, oldest first.
    pub trace: Vec<String>,
}

/// What a panic says.
pub fn panic_text(panic: &(dyn Any + Send)) -> String {
    let message = panic.downcast_ref::<String>().map(String::as_str);
    let message = message.or(panic.downcast_ref::<&str>().copied()).unwrap_or("without a message");
    format!("panic: {message}")
}
