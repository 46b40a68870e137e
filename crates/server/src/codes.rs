//! The one table that gives errors their gRPC codes.

use store::Refusal;

use crate::api::{AuthRefusal, Error};
use crate::grpc::{Code, Status};

/// The status of an error, with its text. Those that come as `Unknown` do so in etcd too, some by an
/// accident that its clients know.
pub(crate) fn status(error: &Error) -> Status {
    let code = match error {
        Error::Refused(refusal) => refusal_code(*refusal),
        Error::RequestTooLarge
        | Error::ClientVersion
        | Error::DowngradeFormat
        | Error::DowngradeTarget
        | Error::MemberUrls => Code::InvalidArgument,
        Error::NotForLearner
        | Error::BadTransferee
        | Error::NotLeader
        | Error::DowngradeUnderWay
        | Error::ClusterVersionUnknown => Code::FailedPrecondition,
        Error::TooManyRequests | Error::TransferTimedOut | Error::UnknownMethod | Error::TooFewMembers => {
            Code::Unknown
        }
        Error::LeaderChanged
        | Error::TimedOut
        | Error::TimedOutInElection
        | Error::TimedOutUnconnected
        | Error::Unhealthy
        | Error::Stopped
        | Error::NoLeader => Code::Unavailable,
        Error::SortedStream | Error::FilteredStream | Error::Unsupported(_) => Code::Unimplemented,
        Error::UnknownService => Code::NotFound,
        Error::Auth(refusal) => auth_code(*refusal),
        Error::AnswerTooLong(_) => Code::ResourceExhausted,
        Error::Damaged => Code::DataLoss,
    };
    Status::new(code, error.text())
}

fn refusal_code(refusal: Refusal) -> Code {
    match refusal {
        Refusal::EmptyKey
        | Refusal::KeyNotFound
        | Refusal::ValueProvided
        | Refusal::LeaseProvided
        | Refusal::TooManyOps
        | Refusal::DuplicateKey
        | Refusal::InvalidSortOption => Code::InvalidArgument,
        Refusal::Compacted | Refusal::FutureRevision | Refusal::LeaseTtlTooLarge => Code::OutOfRange,
        Refusal::NoSpace => Code::ResourceExhausted,
        Refusal::Replaced => Code::Unavailable,
        Refusal::Corrupt => Code::DataLoss,
        Refusal::LeaseNotFound | Refusal::MemberNotFound => Code::NotFound,
        Refusal::LeaseExists
        | Refusal::MemberExists
        | Refusal::PeerUrlExists
        | Refusal::NotLearner
        | Refusal::LearnerNotReady
        | Refusal::TooManyLearners => Code::FailedPrecondition,
    }
}

fn auth_code(refusal: AuthRefusal) -> Code {
    match refusal {
        AuthRefusal::NotEnabled
        | AuthRefusal::RootUserMissing
        | AuthRefusal::UserNotFound
        | AuthRefusal::RoleNotFound => Code::FailedPrecondition,
        AuthRefusal::UserNameEmpty
        | AuthRefusal::RoleNameEmpty
        | AuthRefusal::PermissionMissing
        | AuthRefusal::PermissionInvalid => Code::InvalidArgument,
        AuthRefusal::PasswordTooLong => Code::Unknown,
    }
}
