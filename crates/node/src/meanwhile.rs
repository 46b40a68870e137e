//! What goes on while a long command is applied: consensus.
//!
//! A delete of a million keys takes a second. Heartbeats, votes, appends, reports of the WAL and read indexes do
//! not wait for it: the machine pauses now and then, and the driver hands them over. Everything that needs the
//! machine waits: proposals of clients, leases, jobs.

use proto::raftpb::{Entry, MessageType};
use raft::Role;

use crate::consensus::Consensus;
use crate::input::{Answer, Input};
use crate::output::Output;
use crate::waiters::Waiters;

/// Consensus, while the machine is busy.
#[derive(Debug)]
pub struct Meanwhile<'a, W> {
    consensus: &'a mut Consensus<W>,
    waiters: &'a mut Waiters<W>,
    /// The last index applied before the long command.
    applied_index: u64,
    /// What was committed meanwhile, to be applied later.
    committed: Vec<Entry>,
}

impl<'a, W> Meanwhile<'a, W> {
    pub(crate) fn new(
        consensus: &'a mut Consensus<W>,
        waiters: &'a mut Waiters<W>,
        applied_index: u64,
    ) -> Meanwhile<'a, W> {
        Meanwhile { consensus, waiters, applied_index, committed: Vec::new() }
    }

    pub(crate) fn into_committed(self) -> Vec<Entry> {
        self.committed
    }

    /// Takes an input if it is one for consensus alone. Others come back: they wait for the next call of
    /// [`crate::Node::decide`].
    ///
    /// A tick that is taken counts for consensus. Deadlines of requests are looked at with the next one that is not
    /// taken.
    pub fn take(&mut self, input: Input<W>, output: &mut Output<W>) -> Option<Input<W>> {
        match input {
            Input::Tick => self.consensus.tick(output),
            Input::WalWritten(report) => self.consensus.wal_written(report, output),
            Input::Unreachable(member) => self.consensus.report_unreachable(member),
            Input::SnapshotReported { id, is_ok } => self.consensus.report_snapshot(id, is_ok),
            // What another member proposes is weighed by the machine.
            Input::Message(message)
                if message.r#type() != MessageType::MsgProp
                    || self.consensus.status().role != Role::Leader =>
            {
                self.consensus.step(*message);
            }
            other => return Some(other),
        }
        None
    }

    /// Adds what consensus has decided to `output`: WAL tasks and messages, which should be carried out at once, and
    /// answers to reads of what is applied.
    pub fn decide(&mut self, output: &mut Output<W>) {
        while let Some(committed) = self.consensus.decide(self.waiters, output) {
            self.committed.extend(committed);
        }
        let readable = |waiter| output.answers.push((waiter, Answer::Readable));
        self.waiters.take_readable(self.applied_index, readable);
    }
}
