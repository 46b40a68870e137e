//! One member on its threads: who runs the node, and who writes the WAL.
//!
//! The node and the WAL each have a queue, and a thread that owns it. In general the node's thread handles what is in
//! the inbox, gives what is to be written to the WAL's thread, and handles its report: while one batch is being
//! synced, the next collects. A *brief* batch is carried out from end to end by the worker that sends it: a few
//! commands that touch a few keys each, while nothing else waits, on a disk that syncs quickly. Then waking other
//! threads would cost more than the work, and the worker's other connections are not kept waiting for long.
//!
//! Both ways keep the same order: the node decides, the WAL is written and synced, and only the report of that lets the
//! node apply and answer.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use node::{Fatal, Input, Meanwhile, Node, Note, Output, WalTask, snapshot_index};
use proto::raftpb::{Message as RaftMessage, MessageType};
use tokio::sync::{oneshot, watch};

use super::batch_queue::BatchQueue;
use super::jobs::JobQueues;
use super::mailbox::{Mail, Mailbox, Ticket};
use super::pause::{Pause, Ticks};
use super::wal::SharedWal;
use super::{Message, Observer};
use crate::peers::{Backlog, Installed, Outbox, backlog_bytes};

/// Inputs of a brief batch, at most: more are worth a thread of their own, which takes what has collected meanwhile too.
const BRIEF_INPUTS_MAX: usize = 4;

/// Bytes of brief messages, at most.
const BRIEF_BYTES_MAX: usize = 32 << 10;

/// What the threads of a member share.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) inbox: Arc<BatchQueue<Message>>,
    pub(super) wal: Arc<SharedWal>,
    backlog: Arc<Backlog>,
    /// Locked by the thread that has the turn of `inbox`, so never waited for.
    runner: Mutex<NodeRunner>,
}

impl Member {
    pub(super) fn new(
        inbox: Arc<BatchQueue<Message>>,
        wal: Arc<SharedWal>,
        backlog: Arc<Backlog>,
        runner: NodeRunner,
    ) -> Member {
        Member { inbox, wal, backlog, runner: Mutex::new(runner) }
    }

    /// The body of the node's thread.
    pub(super) fn run_node(&self, tick: Duration) -> Result<(), Fatal> {
        let (mut arrived, mut inputs) = (Vec::new(), Vec::new());
        let mut ticks = Ticks::new(tick, self.lock().epoch);
        // What came in the pauses of a long command, and is not for consensus alone.
        let mut postponed = Vec::new();
        loop {
            self.inbox.take(&mut arrived, Some(ticks.next));
            let mut runner = self.lock();
            self.backlog.shrink(peer_bytes(&postponed) + peer_bytes(&arrived));
            for message in postponed.drain(..).chain(arrived.drain(..)) {
                match message {
                    Message::Input(input) => inputs.push(input),
                    Message::Fail(error) => return Err(error),
                    Message::Snapshot { message, file, done } => {
                        inputs.push(runner.begin_snapshot(message, file, done));
                    }
                    Message::Export(answer) => {
                        // Nobody waits any more if the peers' thread has ended.
                        let _ = answer.send(runner.node.export().map(Box::new));
                    }
                    Message::Removed => runner.observer.note(&Note::Removed),
                    Message::Stop => {
                        runner.stop();
                        return Ok(());
                    }
                }
            }
            if ticks.is_due() {
                inputs.push(Input::Tick);
            }
            let mut pause = Pause {
                inbox: &self.inbox,
                backlog: &self.backlog,
                ticks: &mut ticks,
                postponed: &mut postponed,
                arrived: std::mem::take(&mut arrived),
                output: Output::default(),
            };
            runner.run(inputs.drain(..), &mut |effects, meanwhile| pause.handle(effects, meanwhile))?;
            arrived = pause.arrived;
            let is_busy = runner.output.is_busy || !postponed.is_empty();
            drop(runner);
            self.inbox.end_own_turn(is_busy);
        }
    }

    /// The body of the WAL's thread.
    pub(super) fn write_wal(&self) {
        // An empty batch first: the node learns how much room there is.
        let (mut tasks, queue) = (Vec::new(), &self.wal.tasks);
        let mut has_turn = queue.try_take_turn() || queue.take(&mut tasks, None);
        while has_turn {
            match self.wal.write(tasks.drain(..)) {
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
        inputs.len() <= BRIEF_INPUTS_MAX
            && self.take_turns(|runner| {
                runner.run_brief(worker, inputs)?;
                Ok(runner.output.is_busy)
            })
    }

    /// Takes a leader's appends and heartbeats on the peers' thread, if they are brief and nothing else is going on:
    /// entries are written and acknowledged at once, and the node's thread applies later what is committed. False, and
    /// `messages` is as it was, if not.
    pub(super) fn run_brief_appends(&self, messages: &mut Vec<RaftMessage>) -> bool {
        are_brief_appends(messages)
            && self.take_turns(|runner| {
                runner.run_brief_appends(messages)?;
                Ok(true)
            })
    }

    /// Has `run` work with the node and the WAL on this thread. It says whether the node's thread is to go on at once.
    /// False, and nothing has happened, if a thread has one of them or if something waits for it.
    fn take_turns(&self, run: impl FnOnce(&mut NodeRunner) -> Result<bool, Fatal>) -> bool {
        // The WAL first: that its turn is free means that all its reports are in the inbox, or handled.
        if !self.wal.try_take_quick_turn() {
            return false;
        }
        if !self.inbox.try_take_turn() {
            self.wal.tasks.end_turn(false);
            return false;
        }
        let mut runner = self.lock();
        let result = run(&mut runner);
        drop(runner);
        match result {
            Ok(is_busy) => {
                self.wal.tasks.end_turn(false);
                self.inbox.end_turn(is_busy);
            }
            Err(error) => {
                self.wal.tasks.abandon();
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

/// Where the effects of the node go.
#[derive(Debug)]
pub(super) struct Effects {
    pub(super) wal: Arc<SharedWal>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) jobs: JobQueues,
    pub(super) mailboxes: Vec<Arc<Mailbox>>,
}

impl Effects {
    /// Hands on what must not wait for anything to be applied: what is to be written and what is to be sent.
    pub(super) fn urge(&self, output: &mut Output<Ticket>) {
        if !output.wal.is_empty() {
            self.wal.tasks.extend(output.wal.drain(..));
        }
        self.outbox.send(&mut output.messages);
    }

    /// Hands on answers and jobs while the node is still at work.
    pub(super) fn answer(&self, output: &mut Output<Ticket>) {
        for (ticket, answer) in output.answers.drain(..) {
            let mailbox = &self.mailboxes[ticket.worker];
            mailbox.post([(ticket, Mail::Answer(answer))]);
            mailbox.notify();
        }
        output.jobs.drain(..).for_each(|job| self.jobs.push(job));
    }
}

/// The node, and where its effects go.
pub(super) struct NodeRunner {
    node: Node<Ticket>,
    output: Output<Ticket>,
    effects: Effects,
    /// Scratch: answers by worker.
    mail: Vec<Vec<(Ticket, Mail)>>,
    has_leader: watch::Sender<bool>,
    /// Whom to tell what becomes of a state that a peer has sent, by its index.
    snapshots: Vec<(u64, oneshot::Sender<Installed>)>,
    epoch: Instant,
    observer: Box<dyn Observer>,
}

impl NodeRunner {
    pub(super) fn new(
        node: Node<Ticket>,
        effects: Effects,
        has_leader: watch::Sender<bool>,
        epoch: Instant,
        observer: impl Observer,
    ) -> NodeRunner {
        let mail = effects.mailboxes.iter().map(|_| Vec::new()).collect();
        let (output, observer) = (Output::default(), Box::new(observer));
        let snapshots = Vec::new();
        NodeRunner { node, output, effects, mail, has_leader, snapshots, epoch, observer }
    }

    /// Has the node take `inputs`, and does all that comes of them. Calls `pause` now and then while a long command is
    /// applied. An error is final.
    fn run(
        &mut self,
        inputs: impl ExactSizeIterator<Item = Input<Ticket>>,
        pause: &mut dyn FnMut(&Effects, &mut Meanwhile<'_, Ticket>),
    ) -> Result<(), Fatal> {
        let is_upkeep = self.output.is_busy && inputs.len() == 0;
        let now = Instant::now();
        self.node.decide(now - self.epoch, inputs, &mut self.output)?;
        // The WAL is written, and peers are told, while the node applies.
        self.effects.urge(&mut self.output);
        let effects = &self.effects;
        self.node.apply(&mut self.output, &mut |meanwhile| pause(effects, meanwhile))?;
        self.observe(now, is_upkeep);
        self.deliver(None);
        Ok(())
    }

    /// The same for brief `inputs` of `worker`, on its thread, which has the turn of the WAL and writes what comes of
    /// them to it.
    fn run_brief(&mut self, worker: usize, inputs: &mut Vec<Input<Ticket>>) -> Result<(), Fatal> {
        let n_inputs = inputs.len();
        self.handle(inputs.drain(..))?;
        // Peers write while this thread does.
        self.effects.outbox.send(&mut self.output.messages);
        // What the node proposes on its own account may take long to apply: that is for its own thread.
        if is_append_of(&self.output.wal, n_inputs) {
            let report = self.effects.wal.write(self.output.wal.drain(..))?;
            self.handle([Input::WalWritten(report)])?;
        }
        self.deliver(Some(worker));
        Ok(())
    }

    /// Takes brief appends on the peers' thread, which has the turn of the WAL. What is committed by them is left to the
    /// node's thread: it may take long to apply.
    fn run_brief_appends(&mut self, messages: &mut Vec<RaftMessage>) -> Result<(), Fatal> {
        let n_entries = messages.iter().map(|message| message.entries.len()).sum();
        let inputs = messages.drain(..).map(|message| Input::Message(Box::new(message)));
        self.node.decide(self.epoch.elapsed(), inputs, &mut self.output)?;
        if is_append_of(&self.output.wal, n_entries) {
            self.effects.outbox.send(&mut self.output.messages);
            let report = self.effects.wal.write(self.output.wal.drain(..))?;
            self.node.decide(self.epoch.elapsed(), [Input::WalWritten(report)], &mut self.output)?;
        }
        self.effects.urge(&mut self.output);
        Ok(())
    }

    fn handle(&mut self, inputs: impl IntoIterator<Item = Input<Ticket>>) -> Result<(), Fatal> {
        let now = Instant::now();
        self.node.handle(now - self.epoch, inputs, &mut self.output)?;
        self.observe(now, false);
        Ok(())
    }

    /// Remembers whom to tell what becomes of a state that a peer has sent.
    fn begin_snapshot(
        &mut self,
        message: Box<RaftMessage>,
        file: PathBuf,
        done: oneshot::Sender<Installed>,
    ) -> Input<Ticket> {
        self.snapshots.push((snapshot_index(&message), done));
        Input::Snapshot { message, file }
    }

    /// Tells what the node has done since `start`.
    fn observe(&mut self, start: Instant, is_upkeep: bool) {
        if !self.output.applied.is_empty() {
            self.observer.applied(&self.output.applied, start.elapsed());
        } else if is_upkeep {
            self.observer.paused(start.elapsed());
        }
    }

    /// Answers everyone who still waits.
    fn stop(&mut self) {
        self.node.stop(&mut self.output);
        self.deliver(None);
    }

    /// Hands out all that is to be done. The answers to `worker`, whose thread this is, do not wake it.
    fn deliver(&mut self, worker: Option<usize>) {
        self.effects.urge(&mut self.output);
        let Output { answers, signals, jobs, notes, .. } = &mut self.output;
        for (ticket, answer) in answers.drain(..) {
            self.mail[ticket.worker].push((ticket, Mail::Answer(answer)));
        }
        for (mailbox, mail) in self.effects.mailboxes.iter().zip(&mut self.mail) {
            if !mail.is_empty() {
                mailbox.post(mail.drain(..));
            }
        }
        for signal in signals.drain(..) {
            signal.signal();
        }
        // Answers and signals of a batch together wake a worker once.
        for (index, mailbox) in self.effects.mailboxes.iter().enumerate() {
            if Some(index) != worker {
                mailbox.notify();
            }
        }
        for job in jobs.drain(..) {
            self.effects.jobs.push(job);
        }
        for note in notes.drain(..) {
            match &note {
                Note::Leader { id, .. } => {
                    self.has_leader.send_replace(*id != 0);
                }
                Note::Snapshot { index, refusal } => {
                    let result = refusal.clone().map_or(Ok(()), Err);
                    for (_, done) in self.snapshots.extract_if(.., |(of, _)| of == index) {
                        let _ = done.send(result.clone());
                    }
                }
                _ => {}
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

/// Whether these are few messages of a leader with little in them, which a thread carries out in no time.
fn are_brief_appends(messages: &[RaftMessage]) -> bool {
    let is_of_leader =
        |message: &RaftMessage| matches!(message.r#type(), MessageType::MsgApp | MessageType::MsgHeartbeat);
    let n_entries: usize = messages.iter().map(|message| message.entries.len()).sum();
    let n_bytes: usize = messages.iter().map(backlog_bytes).sum();
    messages.len() <= BRIEF_INPUTS_MAX
        && messages.iter().all(is_of_leader)
        && (1..=BRIEF_INPUTS_MAX).contains(&n_entries)
        && n_bytes <= BRIEF_BYTES_MAX
}

/// What the backlog counts of `messages`.
pub(super) fn peer_bytes(messages: &[Message]) -> usize {
    let bytes = messages.iter().map(|message| match message {
        Message::Input(Input::Message(message)) => backlog_bytes(message),
        _ => 0,
    });
    bytes.sum()
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
