//! What comes out of a node.

use std::sync::Arc;
use std::time::Duration;

use proto::raftpb::Message;
use store::{Kind, Refusal, Signal};

use crate::error::Unserved;
use crate::input::Answer;
use crate::job::Job;
use crate::wal_writer::WalTask;

/// The effects to carry out. The fields are independent of each other; within a field, order matters.
#[derive(Debug)]
pub struct Output<W> {
    /// For the [`crate::WalWriter`].
    pub wal: Vec<WalTask>,
    /// For other members. Those that are left here at the next call are dropped, as a network may drop them.
    pub messages: Vec<Message>,
    /// For the callers of requests.
    pub answers: Vec<(W, Answer)>,
    /// Watch streams that have events.
    pub signals: Vec<Arc<dyn Signal>>,
    /// To be run elsewhere; each comes back as [`crate::Input::Finished`].
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
            wal: Vec::new(),
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

impl<W> Output<W> {
    /// Clears what belongs to the call before.
    pub(crate) fn begin_call(&mut self) {
        self.is_busy = false;
        self.applied.clear();
        self.messages.clear();
    }

    /// Answers that a request is not served.
    pub(crate) fn refuse(&mut self, waiter: W, why: Unserved) {
        self.answers.push((waiter, Answer::Unserved(why)));
    }

    /// Answers that a command is refused for want of space.
    pub(crate) fn refuse_for_space(&mut self, waiter: W) {
        self.answers.push((waiter, Answer::Applied(Err(Refusal::NoSpace))));
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
    /// The disk has not finished a batch of the WAL for so long that this leader hands leadership over.
    DiskStalled {
        /// For how long.
        stalled: Duration,
        /// To this member.
        to: u64,
    },
    /// A state that the leader has sent is in use, or was not taken.
    Snapshot {
        /// The last entry it contains.
        index: u64,
        /// Why it was not taken; `None` if it is in use.
        refusal: Option<String>,
    },
    /// The members have changed.
    Members,
    /// This member was removed from the cluster: it should stop.
    Removed,
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
    /// A defragmentation has given back the records that were dead when it was asked for.
    Defragmented {
        /// Bytes of the data when it began.
        bytes_before: u64,
        /// Bytes at its end.
        bytes_after: u64,
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
