//! Why a command or a read is refused, the same on each member.

use std::fmt;

/// A deterministic refusal: part of the replicated result, sent to the client as etcd words it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// A request, compare or operation without a key.
    EmptyKey,
    /// `ignore_value` or `ignore_lease` on a key that does not exist; also a transaction operation without a
    /// request.
    KeyNotFound,
    /// `ignore_value` together with a value.
    ValueProvided,
    /// `ignore_lease` together with a lease.
    LeaseProvided,
    /// A transaction with more operations than allowed.
    TooManyOps,
    /// A transaction that changes one key twice.
    DuplicateKey,
    /// A sort order or target outside the enumeration.
    InvalidSortOption,
    /// The revision asked for has been compacted.
    Compacted,
    /// The revision asked for does not exist yet.
    FutureRevision,
    /// The quota or the disk is used up, or an alarm says so of a member.
    NoSpace,
    /// An alarm says that the data of a member is corrupt.
    Corrupt,
    /// The whole store was replaced by a snapshot of the leader meanwhile.
    Replaced,
    /// The lease named does not exist.
    LeaseNotFound,
    /// A lease of that id exists.
    LeaseExists,
    /// A lease is asked for longer than can be.
    LeaseTtlTooLarge,
    /// A member of that id exists.
    MemberExists,
    /// A peer URL is another member's.
    PeerUrlExists,
    /// No member has that id, or one had it and was removed.
    MemberNotFound,
    /// Only a learner can be promoted.
    NotLearner,
    /// The learner lacks too much of the leader's log to be promoted.
    LearnerNotReady,
    /// The cluster has as many learners as it may have.
    TooManyLearners,
}

impl Refusal {
    /// etcd's exact wording: its Go client recognises an error by this text alone.
    pub fn text(self) -> &'static str {
        match self {
            Refusal::EmptyKey => "etcdserver: key is not provided",
            Refusal::KeyNotFound => "etcdserver: key not found",
            Refusal::ValueProvided => "etcdserver: value is provided",
            Refusal::LeaseProvided => "etcdserver: lease is provided",
            Refusal::TooManyOps => "etcdserver: too many operations in txn request",
            Refusal::DuplicateKey => "etcdserver: duplicate key given in txn request",
            Refusal::InvalidSortOption => "etcdserver: invalid sort option",
            Refusal::Compacted => "etcdserver: mvcc: required revision has been compacted",
            Refusal::FutureRevision => "etcdserver: mvcc: required revision is a future revision",
            Refusal::NoSpace => "etcdserver: mvcc: database space exceeded",
            Refusal::Corrupt => "etcdserver: corrupt cluster",
            Refusal::Replaced => "etcdserver: the data was replaced by a snapshot of the leader",
            Refusal::LeaseNotFound => "etcdserver: requested lease not found",
            Refusal::LeaseExists => "etcdserver: lease already exists",
            Refusal::LeaseTtlTooLarge => "etcdserver: too large lease TTL",
            Refusal::MemberExists => "etcdserver: member ID already exist",
            Refusal::PeerUrlExists => "etcdserver: Peer URLs already exists",
            Refusal::MemberNotFound => "etcdserver: member not found",
            Refusal::NotLearner => "etcdserver: can only promote a learner member",
            Refusal::LearnerNotReady => {
                "etcdserver: can only promote a learner member which is in sync with leader"
            }
            Refusal::TooManyLearners => "etcdserver: too many learner members in cluster",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Refusal {}

/// Why an operation of the store did not succeed.
#[derive(Debug)]
pub enum Error {
    /// The request is refused; the store is unchanged and well.
    Refused(Refusal),
    /// The disk failed or holds damaged data: the member must stop with this message.
    Disk(disk::Error),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Error::Refused(refusal)
    }
}

impl From<disk::Error> for Error {
    fn from(error: disk::Error) -> Self {
        Error::Disk(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Refused(refusal) => refusal.fmt(f),
            Error::Disk(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}
