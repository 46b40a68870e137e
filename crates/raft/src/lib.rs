//! Agree: consensus as a pure state machine; no clock, no I/O.
//!
//! The members of a cluster agree on one sequence of entries, the *log*. The algorithm is Raft (Ongaro &
//! Ousterhout 2014, with the extensions of Ongaro's dissertation, 2014); the messages are those of etcd
//! (`raftpb`), so that members of both kinds understand each other.
//!
//! Time is cut into *terms*. In each term at most one member leads: it was voted for by a majority, each
//! voter giving one vote a term and only to a member whose log holds at least what its own does. The leader
//! alone adds entries and sends them to the others. An entry that is durable on a majority is *committed*:
//! every later leader has it, since its majority and that one have a member in common. Committed entries are
//! applied by each member in order, and so all of them go through the same states.
//!
//! ```text
//!                   timeout          majority would vote      majority votes
//!   +----------+ -----------> +--------------+ ------> +-----------+ ------> +--------+
//!   | follower |              | pre-candidate |        | candidate |         | leader |
//!   +----------+ <----------- +--------------+ <------ +-----------+         +--------+
//!        ^          refused                    refused, timeout                   |
//!        +------------------------------------------------------------------------+
//!             a higher term, a leader in this term, or no quorum heard (leaders)
//! ```
//!
//! [`Raft`] is one member as a value. Inputs change it; [`Raft::ready`] hands out what is to be done:
//!
//! ```text
//!   tick ------------+                            +--> soft state   a new term, leader or role
//!   step(message) ---+     +--------------+       +--> persist      batch for the disk --+
//!   propose ---------+---> |     Raft     | ----> +--> messages     to other members     |
//!   read_index ------+     +--------------+ ready +--> committed    entries to apply --+ |
//!   campaign --------+       ^    ^               +--> read states  reads to serve     | |
//!   transfer_leader -+       |    +--- applied_to, apply_conf_change -----------------+ |
//!   report_snapshot -+       +-------- persisted(seq) ----------------------------------+
//! ```
//!
//! Beside that:
//!
//! * A member that needs entries which the leader has compacted gets a *snapshot*: a MsgSnap names the
//!   state, which the caller sends and installs.
//! * The members are changed one at a time by an entry, or several at once through a *joint* configuration,
//!   in which two majorities decide. *Learners* receive entries without a vote.
//! * A read is served once a majority has confirmed that the leader still leads, without an entry. The same
//!   confirmations prove when it led, for the caller's leases.
//! * A leader may hand over to another member at once.
//!
//! What holds at every moment (the tests assert it after each step of a simulated cluster):
//!
//! * Election safety: at most one leader a term.
//! * Log matching: two logs with an entry of the same index and term are equal up to it.
//! * Leader completeness: a leader's log holds every entry committed before its term.
//! * State machine safety: no two members apply different entries at one index.
//! * Durability: an entry is handed out to be applied once it is durable here and on a majority. A message
//!   that promises something durable leaves when it is.
//!
//! Disk writes never block: batches are numbered, several may be in flight, and `persisted` reports them in
//! order. The same inputs give the same outputs; the only randomness, election timeouts, comes from a seed.
//!
//! Other members are trusted to be who they say, and not to be free of faults: a message that no correct
//! member sends is refused and counted, and takes bounded work and memory.

mod config;
mod error;
mod inflight;
mod log;
mod members;
mod outbox;
mod progress;
mod quorum;
mod raft;
mod rng;

pub use self::config::{Config, Restored};
pub use self::error::Error;
pub use self::progress::{Progress, ProgressState};
pub use self::raft::{Persist, Proposed, Raft, ReadState, Ready, Role, SoftState, Status, single_change};
