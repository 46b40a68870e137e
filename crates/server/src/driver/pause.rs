//! What the node's thread does in the pauses of a long command.
//!
//! A command may take a second to apply. Messages of peers, reports of the WAL and ticks do not wait for it: they are
//! taken from the inbox in each pause, and what consensus decides about them is carried out at once. Everything else is
//! put aside for the next batch, in its order.

use std::time::{Duration, Instant};

use node::{Input, Meanwhile, Output};

use super::Message;
use super::batch_queue::BatchQueue;
use super::mailbox::Ticket;
use super::member::{Effects, peer_bytes};
use crate::peers::Backlog;

/// The ticks of a node.
#[derive(Debug)]
pub(super) struct Ticks {
    interval: Duration,
    pub(super) next: Instant,
}

impl Ticks {
    pub(super) fn new(interval: Duration, start: Instant) -> Ticks {
        Ticks { interval, next: start + interval }
    }

    /// Whether one is due. After a long time the ticks missed are not made up for: nobody counted on them.
    pub(super) fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let is_due = now >= self.next;
        if is_due {
            self.next = (self.next + self.interval).max(now);
        }
        is_due
    }
}

/// What is at hand in a pause. The thread has the turn of the inbox.
pub(super) struct Pause<'a> {
    pub(super) inbox: &'a BatchQueue<Message>,
    pub(super) backlog: &'a Backlog,
    pub(super) ticks: &'a mut Ticks,
    /// What waits for the next batch.
    pub(super) postponed: &'a mut Vec<Message>,
    /// Scratch.
    pub(super) arrived: Vec<Message>,
    pub(super) output: Output<Ticket>,
}

impl Pause<'_> {
    /// Handles what has collected since the last pause.
    pub(super) fn handle(&mut self, effects: &Effects, meanwhile: &mut Meanwhile<'_, Ticket>) {
        self.inbox.take_more(&mut self.arrived);
        if self.ticks.is_due() {
            self.arrived.push(Message::Input(Input::Tick));
        }
        if self.arrived.is_empty() {
            return;
        }
        let n_bytes = peer_bytes(&self.arrived);
        let n_postponed = self.postponed.len();
        for message in self.arrived.drain(..) {
            let left = match message {
                Message::Input(input) => meanwhile.take(input, &mut self.output).map(Message::Input),
                other => Some(other),
            };
            self.postponed.extend(left);
        }
        self.backlog.shrink(n_bytes - peer_bytes(&self.postponed[n_postponed..]));
        meanwhile.decide(&mut self.output);
        effects.urge(&mut self.output);
        effects.answer(&mut self.output);
    }
}
