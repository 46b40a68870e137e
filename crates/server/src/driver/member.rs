//! One member on its threads: who runs the node, and who writes the log.
//!
//! The node and the log each have a queue, and a thread that owns it. In general the node's thread handles what is in
//! the inbox, gives what is to be written to the log's thread, and handles its report: while one batch is being
//! synced, the next collects. A *brief* batch is carried out by one thread from end to end: a few commands that touch
//! a few keys each, while nothing else waits, on a disk that syncs quickly. Then waking other threads would cost more
//! than the work, and nobody is kept waiting for long. That thread is a worker, or the node's own.
//!
//! Each rule of order is kept by both ways, since both are the same steps: [`NodeRunner::decide`] and
//! [`NodeRunner::apply`], [`Log::write`], the first two again with the report, [`NodeRunner::deliver`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use node::{Fatal, Input, Node, Note, Output, WalTask};
use tokio::sync::watch;

use super::batch_queue::BatchQueue;
use super::jobs::JobQueues;
use super::log::Log;
use super::mailbox::{Mail, Mailbox, Ticket};
use super::{Message, Observer};

/// Inputs of a brief batch, at most: more are worth a thread of their own, which takes what has collected meanwhile too.
const BRIEF_INPUTS_MAX: usize = 4;

/// What the threads of a member share.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) inbox: Arc<BatchQueue<Message>>,
    pub(super) log: Arc<Log>,
    /// Locked by the thread that has the turn of `inbox`, so never waited for.
    runner: Mutex<NodeRunner>,
}

impl Member {
    pub(super) fn new(inbox: Arc<BatchQueue<Message>>, log: Arc<Log>, runner: NodeRunner) -> Member {
        Member { inbox, log, runner: Mutex::new(runner) }
    }

    /// The body of the node's thread.
    pub(super) fn run_node(&self, tick: Duration) -> Result<(), Fatal> {
        let (mut messages, mut inputs) = (Vec::new(), Vec::new());
        let mut next_tick = self.lock().epoch + tick;
        loop {
            self.inbox.take(&mut messages, Some(next_tick));
            let mut runner = self.lock();
            for message in messages.drain(..) {
                match message {
                    Message::Input(input) => inputs.push(input),
                    Message::Fail(error) => return Err(error),
                    Message::Stop => {
                        runner.stop();
                        return Ok(());
                    }
                }
            }
            let now = Instant::now();
            if now >= next_tick {
                inputs.push(Input::Tick);
                // After a long pause the ticks missed are not made up for: nobody counted on them.
                next_tick = (next_tick + tick).max(now);
            }
            let call = runner.decide(inputs.drain(..))?;
            // The WAL is written while the node applies.
            runner.pass_on_wal_tasks();
            runner.apply(&call)?;
            runner.deliver(None);
            self.inbox.end_own_turn(runner.output.is_busy);
        }
    }

    /// The body of the log's thread.
    pub(super) fn write_log(&self) {
        // An empty batch first: the node learns how much room there is.
        let (mut tasks, queue) = (Vec::new(), &self.log.tasks);
        let mut has_turn = queue.try_take_turn() || queue.take(&mut tasks, None);
        while has_turn {
            match self.log.write(tasks.drain(..)) {
                Ok(report) => self.inbox.push(Message::Input(Input::WalWritten(report))),
                Err(error) => {
                    queue.abandon();
                    return self.inbox.push(Message::Fail(error.into()));
                }
            }
            queue.end_own_turn(false);
            has_turn = queue.take(&mut tasks, None);
        }
    }

    /// Carries out the commands in `inputs`, each of which is brief, on the thread of worker `worker`, if there are few
    /// and nothing else is going on. False, and nothing has happened, if not.
    pub(super) fn run_brief(&self, worker: usize, inputs: &mut Vec<Input<Ticket>>) -> bool {
        // The log first: that its turn is free means that all its reports are in the inbox, or handled.
        if inputs.len() > BRIEF_INPUTS_MAX || !self.log.try_take_quick_turn() {
            return false;
        }
        if !self.inbox.try_take_turn() {
            self.log.tasks.end_turn(false);
            return false;
        }
        let mut runner = self.lock();
        match runner.run_brief(&self.log, worker, inputs) {
            Ok(()) => {
                let is_busy = runner.output.is_busy;
                drop(runner);
                self.log.tasks.end_turn(false);
                self.inbox.end_turn(is_busy);
            }
            Err(error) => {
                drop(runner);
                self.log.tasks.abandon();
                self.inbox.end_turn_with(Message::Fail(error));
            }
        }
        true
    }

    /// Tells the observer how the node has ended.
    pub(super) fn ended(&self, result: &Result<(), Fatal>) {
        self.lock().observer.ended(result);
    }

    fn lock(&self) -> MutexGuard<'_, NodeRunner> {
        self.runner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call of the node under way.
struct Call {
    start: Instant,
    /// Whether nothing but upkeep has called for it.
    is_upkeep: bool,
}

/// The node, and where its effects go.
pub(super) struct NodeRunner {
    node: Node<Ticket>,
    output: Output<Ticket>,
    log: Arc<Log>,
    jobs: JobQueues,
    mailboxes: Vec<Arc<Mailbox>>,
    /// Scratch: answers by worker.
    mail: Vec<Vec<(Ticket, Mail)>>,
    has_leader: watch::Sender<bool>,
    epoch: Instant,
    observer: Box<dyn Observer>,
}

impl NodeRunner {
    pub(super) fn new(
        node: Node<Ticket>,
        log: Arc<Log>,
        jobs: JobQueues,
        mailboxes: Vec<Arc<Mailbox>>,
        has_leader: watch::Sender<bool>,
        epoch: Instant,
        observer: impl Observer,
    ) -> NodeRunner {
        let mail = mailboxes.iter().map(|_| Vec::new()).collect();
        let (output, observer) = (Output::default(), Box::new(observer));
        NodeRunner { node, output, log, jobs, mailboxes, mail, has_leader, epoch, observer }
    }

    /// Has the node take `inputs` and decide; what it wants done adds to the output. An error is final.
    fn decide(&mut self, inputs: impl ExactSizeIterator<Item = Input<Ticket>>) -> Result<Call, Fatal> {
        let call = Call { start: Instant::now(), is_upkeep: self.output.is_busy && inputs.len() == 0 };
        self.node.decide(call.start - self.epoch, inputs, &mut self.output)?;
        Ok(call)
    }

    /// Has the node apply what is committed; the second half of what [`NodeRunner::decide`] has begun.
    fn apply(&mut self, call: &Call) -> Result<(), Fatal> {
        self.node.apply(&mut self.output)?;
        if !self.output.applied.is_empty() {
            self.observer.applied(&self.output.applied, call.start.elapsed());
        } else if call.is_upkeep {
            self.observer.paused(call.start.elapsed());
        }
        Ok(())
    }

    /// Handles `inputs`, writes what comes of them to `log`, whose turn this thread has, and handles the report.
    fn run_brief(&mut self, log: &Log, worker: usize, inputs: &mut Vec<Input<Ticket>>) -> Result<(), Fatal> {
        let n_inputs = inputs.len();
        let call = self.decide(inputs.drain(..))?;
        self.apply(&call)?;
        // What the node does on its own account may take long to apply: that is for its own thread.
        if is_append_of(&self.output.wal, n_inputs) {
            let report = log.write(self.output.wal.drain(..))?;
            let call = self.decide([Input::WalWritten(report)].into_iter())?;
            self.apply(&call)?;
        }
        self.deliver(Some(worker));
        Ok(())
    }

    /// Answers everyone who still waits.
    fn stop(&mut self) {
        self.node.stop(&mut self.output);
        self.deliver(None);
    }

    fn pass_on_wal_tasks(&mut self) {
        if !self.output.wal.is_empty() {
            self.log.tasks.extend(self.output.wal.drain(..));
        }
    }

    /// Hands out all that is to be done. The answers to `worker`, whose thread this is, do not wake it.
    fn deliver(&mut self, worker: Option<usize>) {
        self.pass_on_wal_tasks();
        let Output { answers, signals, jobs, notes, .. } = &mut self.output;
        for (ticket, answer) in answers.drain(..) {
            self.mail[ticket.worker].push((ticket, Mail::Answer(answer)));
        }
        for (mailbox, mail) in self.mailboxes.iter().zip(&mut self.mail) {
            if !mail.is_empty() {
                mailbox.post(mail.drain(..));
            }
        }
        for signal in signals.drain(..) {
            signal.signal();
        }
        // Answers and signals of a batch together wake a worker once.
        for (index, mailbox) in self.mailboxes.iter().enumerate() {
            if Some(index) != worker {
                mailbox.notify();
            }
        }
        for job in jobs.drain(..) {
            self.jobs.push(job);
        }
        for note in notes.drain(..) {
            if let Note::Leader { id, .. } = note {
                self.has_leader.send_replace(id != 0);
            }
            self.observer.note(&note);
        }
    }
}

impl std::fmt::Debug for NodeRunner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeRunner").field("node", &self.node).finish_non_exhaustive()
    }
}

/// Whether `tasks` do nothing but append, no more than `n` entries.
fn is_append_of(tasks: &[WalTask], n: usize) -> bool {
    let entries = tasks.iter().map(|task| match task {
        WalTask::Append(batch) => Some(batch.entries.len()),
        _ => None,
    });
    entries.sum::<Option<usize>>().is_some_and(|entries| (1..=n).contains(&entries))
}

#[cfg(test)]
pub(super) mod tests;
