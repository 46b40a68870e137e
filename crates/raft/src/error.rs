//! What the consensus core refuses.
//!
//! A violated invariant is no variant here: it panics, since a member that has lost what it acknowledged
//! must not go on.

use std::fmt;

/// Why a call was refused. Nothing has changed when a call returns one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The configuration cannot work; the text names the field and its rule.
    InvalidConfig(&'static str),
    /// The configuration that was read back from disk contradicts itself; the text names the broken rule.
    InvalidConfState(&'static str),
    /// What was read back from disk contradicts itself at `index`; the text names the rule.
    InvalidLog {
        /// Index of the first entry that breaks the rule.
        index: u64,
        /// The rule.
        expected: &'static str,
    },
    /// No leader is known, or this leader is no longer a voter, is about to hand over, or has as many
    /// uncommitted bytes as it may: the proposal went nowhere and may be retried.
    ProposalDropped,
    /// An earlier configuration change is not applied yet; retry after it is.
    ConfChangePending,
    /// The configuration change may not be proposed; the text names the broken rule.
    InvalidConfChange(&'static str),
    /// No leader is known that could hand over.
    NoLeader,
    /// Leadership cannot go to this member: it is no voter.
    InvalidTransferee {
        /// The member.
        id: u64,
    },
    /// The message is addressed to another member.
    Misaddressed {
        /// The addressee it names.
        to: u64,
    },
    /// The message is of a type that members do not send each other, or that this core does not take.
    UnexpectedMessage {
        /// Its number in `raftpb.MessageType`.
        r#type: i32,
    },
    /// The message cannot come from a correct member; the text names the broken rule.
    MalformedMessage(&'static str),
    /// Another member claims to lead a term of which this member knows the leader, itself perhaps.
    TwoLeaders {
        /// The term.
        term: u64,
        /// The other member.
        other: u64,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::InvalidConfig(rule) => write!(f, "invalid raft configuration: {rule}"),
            Error::InvalidConfState(rule) => write!(f, "invalid raft configuration state: {rule}"),
            Error::InvalidLog { index, expected } => {
                write!(f, "invalid raft log at index {index}: {expected}")
            }
            Error::ProposalDropped => write!(f, "raft proposal dropped"),
            Error::ConfChangePending => write!(f, "an earlier configuration change is not applied yet"),
            Error::InvalidConfChange(rule) => write!(f, "invalid configuration change: {rule}"),
            Error::NoLeader => write!(f, "no raft leader is known"),
            Error::InvalidTransferee { id } => write!(f, "member {id:x} has no vote and cannot lead"),
            Error::Misaddressed { to } => write!(f, "raft message is addressed to member {to:x}"),
            Error::UnexpectedMessage { r#type } => write!(f, "unexpected raft message type {type}"),
            Error::MalformedMessage(rule) => write!(f, "malformed raft message: {rule}"),
            Error::TwoLeaders { term, other } => {
                write!(f, "member {other:x} also claims to lead term {term}")
            }
        }
    }
}

impl std::error::Error for Error {}
