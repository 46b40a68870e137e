//! The mailbox of a worker: how other threads reach its tasks.
//!
//! Waking another thread costs a system call. So mail is posted first, to as many tasks as there are answers and
//! signals, and then the worker is notified once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use node::Answer;
use tokio::sync::Notify;

/// What a task may find.
#[derive(Debug)]
pub(crate) enum Mail {
    /// The node's answer.
    Answer(Answer),
    /// There is news for a watch stream.
    Signal,
    /// Nothing came in time.
    TimedOut,
}

/// Addresses one waiting task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// Which mailbox.
    pub(super) worker: usize,
    pub(super) slot: usize,
    /// Tells apart the tasks that use a slot one after the other.
    pub(super) generation: u32,
}

/// The mailbox of one worker.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    mail: Mutex<Vec<(Ticket, Mail)>>,
    arrived: Notify,
}

impl Mailbox {
    /// Posts mail, which lies there until the worker is notified. Any thread.
    pub(super) fn post(&self, mail: impl IntoIterator<Item = (Ticket, Mail)>) {
        self.lock().extend(mail);
    }

    /// Wakes the worker if there is mail.
    pub(super) fn notify(&self) {
        if !self.lock().is_empty() {
            self.notify_always();
        }
    }

    /// Wakes the worker.
    pub(super) fn notify_always(&self) {
        self.arrived.notify_one();
    }

    /// Waits until the worker is notified.
    pub(super) async fn notified(&self) {
        self.arrived.notified().await;
    }

    /// Moves all mail into `mail`, which must be empty.
    pub(super) fn take(&self, mail: &mut Vec<(Ticket, Mail)>) {
        std::mem::swap(&mut *self.lock(), mail);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Ticket, Mail)>> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Addresses the task that serves a watch stream; who signals many notifies their workers once.
#[derive(Debug)]
pub(crate) struct StreamSignal {
    pub(super) ticket: Ticket,
    pub(super) mailbox: Arc<Mailbox>,
}

impl store::Signal for StreamSignal {
    fn signal(&self) {
        self.mailbox.post([(self.ticket, Mail::Signal)]);
    }
}
