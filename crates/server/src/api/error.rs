//! Why a request is answered with an error.

use std::borrow::Cow;

use node::Unserved;
use store::Refusal;

use super::AuthRefusal;
use crate::grpc::TooLong;

/// An error as a client sees it, before a transport words it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Error {
    /// The store refuses it.
    Refused(Refusal),
    /// The request is longer than allowed.
    RequestTooLarge,
    /// The answer is longer than a message may be.
    AnswerTooLong(TooLong),
    /// Too many requests are under way on this member.
    TooManyRequests,
    /// The leader changed meanwhile.
    LeaderChanged,
    /// No answer within the time a request may take; it may still take effect.
    TimedOut,
    /// The same, and an election shortly after the request is the likely reason.
    TimedOutInElection,
    /// The same, and this member was not connected to those that it needs for as long as the request waited.
    TimedOutUnconnected,
    /// The member is stopping; the request may still take effect.
    Stopped,
    /// No leader is known, and the request needs one.
    NoLeader,
    /// An action in no enumeration.
    UnknownMethod,
    /// The client says in no UTF-8 which version of the API it speaks.
    ClientVersion,
    /// A range is asked for in chunks and in an order of its own.
    SortedStream,
    /// A range is asked for in chunks and bounded by revisions.
    FilteredStream,
    /// The health of something that is not known here.
    UnknownService,
    /// Leadership cannot go to who is no voter.
    BadTransferee,
    /// A learner does not serve it.
    NotForLearner,
    /// Leadership was not handed over in time.
    TransferTimedOut,
    /// Only the leader can hand leadership on.
    NotLeader,
    /// The version to downgrade to is no version.
    DowngradeFormat,
    /// The cluster cannot be downgraded to that version.
    DowngradeTarget,
    /// The cluster is being downgraded.
    DowngradeUnderWay,
    /// The cluster version is not decided.
    ClusterVersionUnknown,
    /// This member is not connected to enough others.
    Unhealthy,
    /// URLs that no member can be reached at.
    MemberUrls,
    /// Too few members would be left to decide anything.
    TooFewMembers,
    /// It is about users, roles or permissions, of which there are none.
    Auth(AuthRefusal),
    /// This version cannot do it; the sentence says so.
    Unsupported(&'static str),
    /// The disk holds damaged data: the member is about to stop.
    Damaged,
}

impl Error {
    /// etcd's wording.
    pub(crate) fn text(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Error::Refused(refusal) => refusal.text(),
            Error::RequestTooLarge => "etcdserver: request is too large",
            Error::AnswerTooLong(error) => return Cow::Owned(error.to_string()),
            Error::TooManyRequests => "etcdserver: too many requests",
            Error::LeaderChanged => "etcdserver: leader changed",
            Error::TimedOut => "etcdserver: request timed out",
            Error::TimedOutInElection => {
                "etcdserver: request timed out, possibly due to previous leader failure"
            }
            Error::TimedOutUnconnected => "etcdserver: request timed out, possibly due to connection lost",
            Error::Stopped => "etcdserver: server stopped",
            Error::NoLeader => "etcdserver: no leader",
            Error::UnknownMethod => "etcdserver: unknown method",
            Error::ClientVersion => "etcdserver: invalid client api version",
            Error::SortedStream => "RangeStream does not support custom sort orders",
            Error::FilteredStream => "RangeStream does not support revision filters",
            Error::UnknownService => "unknown service",
            Error::BadTransferee => "etcdserver: bad leader transferee",
            Error::NotForLearner => "etcdserver: rpc not supported for learner",
            Error::TransferTimedOut => "etcdserver: request timed out, leader transfer took too long",
            Error::NotLeader => "etcdserver: not leader",
            Error::DowngradeFormat => "etcdserver: wrong downgrade target version format",
            Error::DowngradeTarget => "etcdserver: invalid downgrade target version",
            Error::DowngradeUnderWay => "etcdserver: cluster has a downgrade job in progress",
            Error::ClusterVersionUnknown => "etcdserver: cluster version not found during downgrade",
            Error::MemberUrls => "etcdserver: given member URLs are invalid",
            Error::TooFewMembers => "etcdserver: re-configuration failed due to not enough started members",
            Error::Unhealthy => "etcdserver: unhealthy cluster",
            Error::Auth(refusal) => refusal.text(),
            Error::Unsupported(sentence) => sentence,
            Error::Damaged => "etcdserver: corrupt cluster",
        })
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Error::Refused(refusal)
    }
}

impl From<TooLong> for Error {
    fn from(error: TooLong) -> Self {
        Error::AnswerTooLong(error)
    }
}

impl From<Unserved> for Error {
    fn from(unserved: Unserved) -> Self {
        match unserved {
            Unserved::TooManyRequests => Error::TooManyRequests,
            Unserved::LeaderChanged => Error::LeaderChanged,
            Unserved::TimedOut => Error::TimedOut,
            Unserved::TimedOutInElection => Error::TimedOutInElection,
            Unserved::BadTransferee => Error::BadTransferee,
            Unserved::NotLeader => Error::NoLeader,
            Unserved::Stopped => Error::Stopped,
        }
    }
}
