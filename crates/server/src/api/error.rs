//! Why a request is answered with an error.

use std::borrow::Cow;

use node::Unserved;
use store::Refusal;

/// An error as a client sees it, before a transport words it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Error {
    /// The store refuses it.
    Refused(Refusal),
    /// The request is longer than allowed.
    RequestTooLarge,
    /// Too many requests are under way on this member.
    TooManyRequests,
    /// The leader changed meanwhile.
    LeaderChanged,
    /// No answer within the time a request may take; it may still take effect.
    TimedOut,
    /// The member is stopping; the request may still take effect.
    Stopped,
    /// No leader is known, and the client asked for one.
    NoLeader,
    /// The disk holds damaged data: the member is about to stop.
    Damaged,
}

impl Error {
    /// etcd's wording.
    pub(crate) fn text(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Error::Refused(refusal) => refusal.text(),
            Error::RequestTooLarge => "etcdserver: request is too large",
            Error::TooManyRequests => "etcdserver: too many requests",
            Error::LeaderChanged => "etcdserver: leader changed",
            Error::TimedOut => "etcdserver: request timed out",
            Error::Stopped => "etcdserver: server stopped",
            Error::NoLeader => "etcdserver: no leader",
            Error::Damaged => "etcdserver: corrupt cluster",
        })
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Error::Refused(refusal)
    }
}

impl From<Unserved> for Error {
    fn from(unserved: Unserved) -> Self {
        match unserved {
            Unserved::TooManyRequests => Error::TooManyRequests,
            Unserved::LeaderChanged => Error::LeaderChanged,
            Unserved::Stopped => Error::Stopped,
        }
    }
}
