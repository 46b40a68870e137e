//! What goes into a node and what comes out.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use proto::raftpb::Message;
use store::{Command, Kind, Outcome, Refusal, Request, Signal};

use crate::error::Unserved;
use crate::job::{Finished, Job};
use crate::lessor::{LeaseAnswer, LeaseQuery};
use crate::log_writer::{LogReport, LogTask};

/// A command on its way into the log. Made on the thread that took the request, so that the node's thread need
/// not encode.
#[derive(Debug, Clone)]
pub struct Proposal {
    pub(crate) id: u64,
    pub(crate) data: Bytes,
    pub(crate) takes_space: bool,
    /// The lease that it revokes, if it does.
    pub(crate) revokes: Option<i64>,
}

impl Proposal {
    /// Encodes `request` under an `id` that no other proposal of the cluster has or had.
    pub fn new(id: u64, request: Request) -> Proposal {
        Proposal::of(&Command { id, request }, Command::encode)
    }

    /// The same, in memory as [`Command::encode_in`] takes it.
    pub fn new_in(shared: &mut BytesMut, id: u64, request: Request) -> Proposal {
        Proposal::of(&Command { id, request }, |command| command.encode_in(shared))
    }

    fn of(command: &Command, encode: impl FnOnce(&Command) -> Bytes) -> Proposal {
        let request = &command.request;
        let revokes = if let Request::LeaseRevoke(revoke) = request { Some(revoke.id) } else { None };
        Proposal { id: command.id, data: encode(command), takes_space: store::cost(request) > 0, revokes }
    }

    /// Bytes of the log entry.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether the log entry has no bytes; it always has some.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }
}

/// Something that happened. `W` is what the caller gets back with the answer.
#[derive(Debug)]
pub enum Input<W> {
    /// A heartbeat interval has passed.
    Tick,
    /// A client wants something changed.
    Propose(Proposal, W),
    /// A client wants to read what is committed by now.
    ReadIndex(W),
    /// Somebody wants the space of dead records back now rather than when it is worth the work. Nothing is answered.
    Defragment,
    /// A client wants something of leases that only the leader knows.
    Lease(LeaseQuery, W),
    /// The log writer has carried out its tasks.
    Logged(LogReport),
    /// A job has ended.
    Finished(Finished),
}

/// The answer to an input that carried a `W`.
#[derive(Debug)]
pub enum Answer {
    /// The command was applied, or refused by the store.
    Applied(Result<Outcome, Refusal>),
    /// Whatever was committed when the read was asked for can be read now.
    Readable,
    /// To an [`Input::Lease`].
    Lease(LeaseAnswer),
    /// The request is not served.
    Unserved(Unserved),
}

/// What is to be done. The fields are independent of each other; within one, order matters.
#[derive(Debug)]
pub struct Output<W> {
    /// For the [`crate::LogWriter`].
    pub log: Vec<LogTask>,
    /// For other members.
    pub messages: Vec<Message>,
    /// For those who asked.
    pub answers: Vec<(W, Answer)>,
    /// Watch streams that have news.
    pub signals: Vec<Arc<dyn Signal>>,
    /// To be run elsewhere; each comes back as [`Input::Finished`].
    pub jobs: Vec<Job>,
    /// Commands that the last call applied, and whether each was carried out.
    pub applied: Vec<(Kind, bool)>,
    /// For the operator.
    pub notes: Vec<Note>,
    /// Whether the node has more to do by itself: call it again soon, with or without inputs.
    pub is_busy: bool,
}

impl<W> Default for Output<W> {
    fn default() -> Self {
        Output {
            log: Vec::new(),
            messages: Vec::new(),
            answers: Vec::new(),
            signals: Vec::new(),
            jobs: Vec::new(),
            applied: Vec::new(),
            notes: Vec::new(),
            is_busy: false,
        }
    }
}

/// Something an operator wants to know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A leader of a term is known, or lost (0).
    Leader {
        /// Its id.
        id: u64,
        /// The term.
        term: u64,
    },
    /// This member's name and URLs are known to the cluster: it can serve clients.
    Published,
    /// The cluster version is decided.
    ClusterVersion(String),
    /// A checkpoint is durable.
    Checkpoint {
        /// The last entry it contains.
        index: u64,
    },
    /// A compaction has begun to do its work.
    Compacting,
    /// A compaction has finished.
    Compacted {
        /// Its revision.
        revision: i64,
    },
    /// A lease was granted.
    LeaseGranted {
        /// For so many seconds.
        ttl_s: i64,
    },
    /// A lease was revoked.
    LeaseRevoked {
        /// Whether its time had passed.
        has_expired: bool,
    },
    /// The disk has no room for more writes, or has room again.
    Space {
        /// Whether there is room.
        is_left: bool,
    },
}
