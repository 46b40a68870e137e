//! The threads that carry out what the node decides.
//!
//! ```text
//!   workers ──▶ inbox ──▶ node ──▶ log tasks ──▶ log          writes, syncs
//!      ▲                   ▲ │  └▶ jobs ───────▶ spare files, maintenance
//!      └──── mailboxes ◀───┼─┘                     │
//!                          └──── reports ──────────┘
//! ```
//!
//! Four threads: one owns the node, one the log, and two run jobs, so that making a spare file never waits
//! behind a long rewrite, whose thread has a lower priority than all others. Each takes everything that has
//! collected as one batch. If any of them meets an error, the node's thread ends with it and nothing more is
//! answered.

mod desk;
mod inbox;

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use node::{Fatal, Input, Job, LeaseRenewer, Node, Note, Output, Published, WalTask, WalWriter};
use store::{Kind, ReadView, WatchHub};

pub(crate) use self::desk::{Desk, Mail, Mailbox, Slot, Ticket};

use self::inbox::Inbox;
use crate::background::lower_priority;
use crate::metrics::Metrics;
use crate::time_slice;

/// What the node's thread is told.
#[derive(Debug)]
enum Message {
    Input(Input<Ticket>),
    Fail(Fatal),
    Stop,
}

/// How workers reach the node.
#[derive(Debug, Clone)]
pub(crate) struct NodeHandle {
    inbox: Arc<Inbox<Message>>,
    published: Arc<Published>,
    view: ReadView,
    watch_hub: Arc<WatchHub>,
    lease_renewer: LeaseRenewer,
    /// The moment from which the node counts time.
    epoch: Instant,
}

impl NodeHandle {
    /// Tells the node of some things, together.
    pub(crate) fn send(&self, inputs: impl IntoIterator<Item = Input<Ticket>>) {
        self.inbox.extend(inputs.into_iter().map(Message::Input));
    }

    /// Renews a lease if the node need not be asked for that; the seconds that it has now.
    pub(crate) fn renew_lease(&self, id: i64) -> Option<i64> {
        self.lease_renewer.renew(id, time_slice::now() - self.epoch)
    }

    /// Stops the member: a reader has met damaged data.
    pub(crate) fn fail(&self, error: disk::Error) {
        self.inbox.push(Message::Fail(error.into()));
    }

    pub(crate) fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published)
    }

    pub(crate) fn view(&self) -> ReadView {
        self.view.clone()
    }

    pub(crate) fn watch_hub(&self) -> Arc<WatchHub> {
        Arc::clone(&self.watch_hub)
    }
}

/// Told on the node's thread; must return soon.
pub(crate) trait Observer: Send + 'static {
    /// Something an operator wants to know of.
    fn note(&mut self, note: &Note);
    /// The node has applied these commands, one after the other, in so much time together.
    fn applied(&mut self, commands: &[(Kind, bool)], time: Duration);
    /// Upkeep of the store has kept everything else waiting for so long.
    fn paused(&mut self, time: Duration);
    /// The node has ended: by itself only after an error.
    fn ended(&mut self, result: &Result<(), Fatal>);
}

/// The running threads.
#[derive(Debug)]
pub(crate) struct Driver {
    handle: NodeHandle,
    node: JoinHandle<Result<(), Fatal>>,
}

impl Driver {
    /// Starts the threads. `mailboxes` are those of the workers, by their number.
    pub(crate) fn start(
        node: Node<Ticket>,
        wal_writer: WalWriter,
        mailboxes: Vec<Arc<Mailbox>>,
        tick: Duration,
        metrics: Arc<Metrics>,
        observer: impl Observer,
    ) -> io::Result<Driver> {
        let inbox = Arc::<Inbox<Message>>::default();
        let handle = NodeHandle {
            inbox: Arc::clone(&inbox),
            published: node.published(),
            view: node.view(),
            watch_hub: node.watch_hub(),
            lease_renewer: node.lease_renewer(),
            epoch: Instant::now(),
        };
        let threads = Threads {
            log: start_log(wal_writer, &inbox, Arc::clone(&metrics))?,
            spare_files: start_jobs("spare-files", || (), &inbox, Arc::clone(&metrics))?,
            maintenance: start_jobs("maintenance", lower_priority, &inbox, metrics)?,
        };
        let letters = mailboxes.iter().map(|_| Vec::new()).collect();
        let epoch = handle.epoch;
        let mut run = Run { node, inbox, threads, mailboxes, letters, epoch, tick, observer };
        let node = thread::Builder::new().name("node".into()).spawn(move || {
            let result = run.run();
            run.threads.stop();
            run.observer.ended(&result);
            result
        })?;
        Ok(Driver { handle, node })
    }

    /// How to reach the node.
    pub(crate) fn handle(&self) -> NodeHandle {
        self.handle.clone()
    }

    /// Stops the threads once what is under way is written; whoever still waits is told so.
    pub(crate) fn stop(self) -> Result<(), Fatal> {
        self.handle.inbox.push(Message::Stop);
        self.node.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// A thread and the queue it takes from.
#[derive(Debug)]
struct Thread<T> {
    inbox: Arc<Inbox<T>>,
    thread: Option<JoinHandle<()>>,
}

impl<T> Thread<T> {
    fn stop(&mut self) {
        self.inbox.close();
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
    }
}

#[derive(Debug)]
struct Threads {
    log: Thread<WalTask>,
    spare_files: Thread<Job>,
    maintenance: Thread<Job>,
}

impl Threads {
    fn stop(&mut self) {
        self.log.stop();
        self.spare_files.stop();
        self.maintenance.stop();
    }
}

fn start_log(
    mut writer: WalWriter,
    node: &Arc<Inbox<Message>>,
    metrics: Arc<Metrics>,
) -> io::Result<Thread<WalTask>> {
    let inbox = Arc::<Inbox<WalTask>>::default();
    let (tasks_in, node) = (Arc::clone(&inbox), Arc::clone(node));
    let thread = thread::Builder::new().name("log".into()).spawn(move || {
        // An empty batch first: the node learns how much room there is.
        let mut tasks = Vec::new();
        loop {
            match write_log(&mut writer, &mut tasks, &metrics) {
                Ok(report) => node.push(Message::Input(Input::WalWritten(report))),
                Err(error) => return node.push(Message::Fail(error.into())),
            }
            if !tasks_in.take(&mut tasks, None) {
                return;
            }
        }
    })?;
    Ok(Thread { inbox, thread: Some(thread) })
}

fn write_log(
    writer: &mut WalWriter,
    tasks: &mut Vec<WalTask>,
    metrics: &Metrics,
) -> Result<node::WalReport, disk::Error> {
    let start = Instant::now();
    for task in tasks.drain(..) {
        writer.accept(task)?;
    }
    let is_synced = writer.needs_sync();
    if is_synced {
        metrics.disk.wal_write.observe(start.elapsed());
    }
    let start = Instant::now();
    let report = writer.sync()?;
    metrics.disk.wal_bytes.set(writer.written_bytes().cast_signed());
    if is_synced {
        metrics.disk.wal_fsync.observe(start.elapsed());
    }
    Ok(report)
}

fn start_jobs(
    name: &str,
    prepare: fn(),
    node: &Arc<Inbox<Message>>,
    metrics: Arc<Metrics>,
) -> io::Result<Thread<Job>> {
    let inbox = Arc::<Inbox<Job>>::default();
    let (jobs_in, node) = (Arc::clone(&inbox), Arc::clone(node));
    let thread = thread::Builder::new().name(name.into()).spawn(move || {
        prepare();
        let mut jobs = Vec::new();
        while jobs_in.take(&mut jobs, None) {
            for job in jobs.drain(..) {
                let (is_checkpoint, start) = (matches!(job, Job::Checkpoint(_)), Instant::now());
                let finished = job.run();
                if is_checkpoint {
                    metrics.disk.checkpoint.observe(start.elapsed());
                }
                node.push(Message::Input(Input::Finished(finished)));
            }
        }
    })?;
    Ok(Thread { inbox, thread: Some(thread) })
}

/// What the node's thread owns.
struct Run<O> {
    node: Node<Ticket>,
    inbox: Arc<Inbox<Message>>,
    threads: Threads,
    mailboxes: Vec<Arc<Mailbox>>,
    /// Scratch: answers by worker.
    letters: Vec<Vec<(Ticket, Mail)>>,
    epoch: Instant,
    tick: Duration,
    observer: O,
}

impl<O: Observer> Run<O> {
    fn run(&mut self) -> Result<(), Fatal> {
        let (mut messages, mut inputs, mut output) = (Vec::new(), Vec::new(), Output::default());
        let mut next_tick = self.epoch + self.tick;
        loop {
            let deadline = if output.is_busy { Instant::now() } else { next_tick };
            self.inbox.take(&mut messages, Some(deadline));
            for message in messages.drain(..) {
                match message {
                    Message::Input(input) => inputs.push(input),
                    Message::Fail(error) => return Err(error),
                    Message::Stop => {
                        self.node.stop(&mut output);
                        self.deliver(&mut output);
                        return Ok(());
                    }
                }
            }
            let now = Instant::now();
            if now >= next_tick {
                inputs.push(Input::Tick);
                // After a long pause the ticks missed are not made up for: nobody counted on them.
                next_tick = (next_tick + self.tick).max(now);
            }
            let is_upkeep = output.is_busy && inputs.is_empty();
            self.node.decide(now - self.epoch, inputs.drain(..), &mut output)?;
            // The log is written while the node applies.
            self.write_log(&mut output);
            self.node.apply(&mut output)?;
            if !output.applied.is_empty() {
                self.observer.applied(&output.applied, now.elapsed());
            } else if is_upkeep {
                self.observer.paused(now.elapsed());
            }
            self.deliver(&mut output);
        }
    }

    fn write_log(&mut self, output: &mut Output<Ticket>) {
        if !output.wal.is_empty() {
            self.threads.log.inbox.extend(output.wal.drain(..));
        }
    }

    fn deliver(&mut self, output: &mut Output<Ticket>) {
        self.write_log(output);
        for (ticket, answer) in output.answers.drain(..) {
            self.letters[ticket.worker].push((ticket, Mail::Answer(answer)));
        }
        for (mailbox, letters) in self.mailboxes.iter().zip(&mut self.letters) {
            if !letters.is_empty() {
                mailbox.post(letters.drain(..));
            }
        }
        for signal in output.signals.drain(..) {
            signal.signal();
        }
        // Answers and signals of a batch together wake a worker once.
        self.mailboxes.iter().for_each(|mailbox| mailbox.ring());
        for job in output.jobs.drain(..) {
            let thread = if job.is_urgent() { &self.threads.spare_files } else { &self.threads.maintenance };
            thread.inbox.push(job);
        }
        for note in output.notes.drain(..) {
            self.observer.note(&note);
        }
    }
}
