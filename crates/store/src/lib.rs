//! Apply: the replicated state of a member, and how it is read and watched.
//!
//! ```text
//!   raft log ─▶ Command ─▶ Store::apply ─▶ mvcc (index + revision log) ─▶ Outcome
//!                                      └─▶ watch hub ─▶ WatchStream
//!                                          ReadView  ◀─ any thread
//! ```
//!
//! Everything here is deterministic: the same commands give the same state, the same outcomes and the same
//! hashes on each member. The crate knows nothing of consensus, sockets, threads or time.

mod alarm;
mod apply;
mod buckets;
mod command;
mod control;
mod error;
mod interchange;
mod key_range;
mod kind;
mod lease;
mod membership;
mod mvcc;
mod outcome;
mod quota;
mod stepped_lock;
mod watch;
mod work;

pub use alarm::Alarms;
pub use apply::{Applied, Snapshot, Store};
pub use command::{Command, CommandError, Request};
pub use control::Control;
pub use error::{Error, Refusal};
pub use interchange::{Export, ImportError, Imported, import, import_beside};
pub use key_range::{End, KeyRange};
pub use kind::Kind;
pub use lease::{LeaseTable, LeaseTerm};
pub use membership::MemberChange;
pub use mvcc::{
    CompactionHashJob, Footprint, HashRead, KeyValueHash, Operations, RangeQuery, RangeReading, RangeStream,
    ReadView, ReclaimJob, TxnReading,
};
pub use outcome::{
    ANSWER_LEN_MAX, DeleteOutcome, LeaseGrantOutcome, OpOutcome, Outcome, PutOutcome, RangeOutcome,
    TxnOutcome,
};
pub use quota::{cost, writes_more_than_given};
pub use watch::{
    Created, Event, EventKind, Progress, Signal, Watch, WatchDelivery, WatchHub, WatchRefusal, WatchStream,
};
