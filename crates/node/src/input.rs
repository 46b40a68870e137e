//! What goes into a node, and the answers to it.

use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use proto::raftpb::Message;
use store::{Command, Export, MemberChange, Outcome, Refusal, Request};

use crate::error::Unserved;
use crate::job::Finished;
use crate::machine::lessor::{LeaseAnswer, LeaseQuery};
use crate::wal_writer::WalReport;

/// A command on its way into the raft log. The thread that took the request makes it, so that the node's
/// thread need not encode.
#[derive(Debug, Clone)]
pub struct Proposal {
    pub(crate) id: u64,
    pub(crate) data: Bytes,
    pub(crate) takes_space: bool,
    /// Whether it may write more than its own bytes, depending on what the store holds.
    pub(crate) writes_more: bool,
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

    /// Reads the entry of a proposal that another member forwards; `None` if it cannot be read.
    pub(crate) fn decode(data: Bytes) -> Option<Proposal> {
        let command = Command::decode(data.clone()).ok()?;
        Some(Proposal::of(&command, |_| data))
    }

    fn of(command: &Command, encode: impl FnOnce(&Command) -> Bytes) -> Proposal {
        let request = &command.request;
        let revokes = if let Request::LeaseRevoke(revoke) = request { Some(revoke.id) } else { None };
        Proposal {
            id: command.id,
            data: encode(command),
            takes_space: store::cost(request) > 0,
            writes_more: store::writes_more_than_given(request),
            revokes,
        }
    }

    /// Bytes of the entry.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether the entry has no bytes. It always has some.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }
}

/// Something that happened. `W` is what the caller gets back with the answer.
#[derive(Debug)]
pub enum Input<W> {
    /// A heartbeat interval has passed.
    Tick,
    /// The member need not wait as long for a leader as it has to: this many ticks count as passed. A leader is not
    /// concerned.
    AdvanceElection {
        /// The ticks; all but one of an election timeout at most.
        ticks: u32,
    },
    /// A client wants something changed.
    Propose(Proposal, W),
    /// A client wants to read what is committed by now.
    ReadIndex(W),
    /// An operator wants the space of dead records back now, even if it is not worth the work. Answered when
    /// that is done, or when there is no progress: then it goes on later.
    Defragment(W),
    /// Somebody wants the whole state as a file.
    Export(W),
    /// A client wants something of leases that only the leader knows.
    Lease(LeaseQuery, W),
    /// A client wants the members of the cluster changed.
    ChangeMembers {
        /// Names the proposal; unique over the life of the cluster.
        id: u64,
        /// The change.
        change: MemberChange,
        /// Who waits for it.
        waiter: W,
    },
    /// Somebody wants another member to lead. Answered with [`Answer::Transferred`] when it does.
    TransferLeader {
        /// The member that is to lead.
        to: u64,
        /// Who waits for it.
        waiter: W,
    },
    /// Of what version the members are. Only a leader needs it.
    MemberVersions {
        /// The lowest, such as `3.7.0`.
        lowest: String,
    },
    /// Another member has sent this.
    Message(Box<Message>),
    /// The leader has sent this message, of type MsgSnap, and the whole state that it announces, which lies in a file.
    /// [`crate::Note::Snapshot`] tells when it has ended. The file is removed.
    Snapshot {
        /// The message.
        message: Box<Message>,
        /// The state, as etcd's database.
        file: PathBuf,
    },
    /// A message to this member was lost.
    Unreachable(u64),
    /// Sending a state to a member, which a message of type MsgSnap has asked for, has ended.
    SnapshotReported {
        /// The member.
        id: u64,
        /// Whether it has all of it.
        is_ok: bool,
    },
    /// The WAL's writer has carried out its tasks.
    WalWritten(WalReport),
    /// A job has ended.
    Finished(Finished),
}

/// The answer to an input that carried a `W`.
#[derive(Debug)]
pub enum Answer {
    /// The command was applied, or refused by the store.
    Applied(Result<Outcome, Refusal>),
    /// Everything that was committed when the read was asked for can be read now.
    Readable,
    /// To an [`Input::Defragment`]: it is done.
    Defragmented,
    /// To an [`Input::TransferLeader`]: the other member leads.
    Transferred,
    /// To an [`Input::Export`]: the state as of now, to be written by the caller.
    Export(Box<Export>),
    /// To an [`Input::Lease`].
    Lease(LeaseAnswer),
    /// The request is not served.
    Unserved(Unserved),
}
