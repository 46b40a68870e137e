//! What the answer of a peer means to the member that has asked.

use std::fmt;

use crate::handshake::Identity;
use crate::refusal::Refusal;
use crate::version::MinorVersion;

/// Why a peer gives no stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamFailure {
    /// This member was removed from the cluster: it must end.
    Removed,
    /// The peer does not know this member, or not yet.
    NotFound {
        /// The peer.
        peer_id: u64,
        /// This member.
        own_id: u64,
    },
    /// The peer's version does not go together with this one's.
    IncompatibleVersion,
    /// The peer belongs to another cluster.
    ClusterIdMismatch,
    /// The peer is of a version that has no such stream.
    UnsupportedStream,
    /// Another refusal of what the head says.
    Precondition(String),
    /// A status that etcd does not answer with.
    Status(u16),
}

impl fmt::Display for StreamFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamFailure::Removed => f.write_str(REMOVED),
            StreamFailure::NotFound { peer_id, own_id } => {
                write!(f, "peer {peer_id:x} failed to find local node {own_id:x}")
            }
            StreamFailure::IncompatibleVersion => f.write_str(Refusal::IncompatibleVersion.text()),
            StreamFailure::ClusterIdMismatch => f.write_str(Refusal::ClusterIdMismatch.text()),
            StreamFailure::UnsupportedStream => f.write_str("unsupported stream type"),
            StreamFailure::Precondition(body) => {
                write!(f, "unhandled error {body:?} when precondition failed")
            }
            StreamFailure::Status(status) => write!(f, "unhandled http status {status}"),
        }
    }
}

/// Why a peer does not take a message or a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PostFailure {
    /// This member was removed from the cluster: it must end.
    Removed,
    /// The peer's version does not go together with this one's.
    IncompatibleVersion,
    /// The peer belongs to another cluster.
    ClusterIdMismatch,
    /// Another refusal of what the head says.
    Precondition(String),
    /// Another status.
    Status(u16),
}

impl fmt::Display for PostFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PostFailure::Removed => f.write_str(REMOVED),
            PostFailure::IncompatibleVersion => f.write_str(Refusal::IncompatibleVersion.text()),
            PostFailure::ClusterIdMismatch => f.write_str(Refusal::ClusterIdMismatch.text()),
            PostFailure::Precondition(body) => write!(f, "unhandled error {body:?} when precondition failed"),
            PostFailure::Status(status) => write!(f, "unexpected http status {status} while posting"),
        }
    }
}

const REMOVED: &str = "the member has been permanently removed from the cluster";

/// Whether an answer opens the stream that was asked of `peer_id`. `version` is the header of that name; `body`
/// is needed only with status 412.
pub fn check_stream_reply(
    identity: &Identity,
    peer_id: u64,
    status: u16,
    version: Option<&str>,
    body: &[u8],
) -> Result<(), StreamFailure> {
    let version = version.map_or(Some(MinorVersion::UNNAMED), MinorVersion::parse);
    // A version that cannot be read supports nothing.
    let has_streams =
        version.is_some_and(|version| version >= identity.minor_version() || version.has_streams());
    if !has_streams {
        return Err(StreamFailure::UnsupportedStream);
    }
    match status {
        200 => Ok(()),
        404 => Err(StreamFailure::NotFound { peer_id, own_id: identity.id }),
        410 => Err(StreamFailure::Removed),
        412 => Err(match Precondition::of(body) {
            Precondition::IncompatibleVersion => StreamFailure::IncompatibleVersion,
            Precondition::ClusterIdMismatch => StreamFailure::ClusterIdMismatch,
            Precondition::Other(text) => StreamFailure::Precondition(text),
        }),
        status => Err(StreamFailure::Status(status)),
    }
}

/// Whether an answer means that a message, or a state, was taken.
pub fn check_post_reply(status: u16, body: &[u8]) -> Result<(), PostFailure> {
    match status {
        204 => Ok(()),
        403 => Err(PostFailure::Removed),
        412 => Err(match Precondition::of(body) {
            Precondition::IncompatibleVersion => PostFailure::IncompatibleVersion,
            Precondition::ClusterIdMismatch => PostFailure::ClusterIdMismatch,
            Precondition::Other(text) => PostFailure::Precondition(text),
        }),
        status => Err(PostFailure::Status(status)),
    }
}

/// What a body of an answer with status 412 says.
enum Precondition {
    IncompatibleVersion,
    ClusterIdMismatch,
    Other(String),
}

impl Precondition {
    fn of(body: &[u8]) -> Precondition {
        let text = String::from_utf8_lossy(body);
        match text.strip_suffix('\n').unwrap_or(&text) {
            text if text == Refusal::IncompatibleVersion.text() => Precondition::IncompatibleVersion,
            text if text == Refusal::ClusterIdMismatch.text() => Precondition::ClusterIdMismatch,
            text => Precondition::Other(text.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream_reply(status: u16, version: Option<&str>, body: &str) -> Result<(), StreamFailure> {
        let identity = Identity { id: 0xa, cluster_id: 1, version: "3.7.1", peer_urls: String::new() };
        check_stream_reply(&identity, 0xb, status, version, body.as_bytes())
    }

    #[test]
    fn only_the_answers_of_etcd_to_a_removed_member_end_it() {
        assert_eq!(stream_reply(410, Some("3.7.1"), ""), Err(StreamFailure::Removed));
        assert_eq!(check_post_reply(403, b""), Err(PostFailure::Removed));
        assert_eq!(stream_reply(403, Some("3.7.1"), ""), Err(StreamFailure::Status(403)));
        assert_eq!(check_post_reply(410, b""), Err(PostFailure::Status(410)));
    }

    #[test]
    fn refusals_are_read_as_they_are_written() {
        let body = |refusal: Refusal| format!("{}\n", refusal.text());
        let stream = |refusal: Refusal| stream_reply(refusal.status(), Some("3.7.1"), &body(refusal));
        let post = |refusal: Refusal| check_post_reply(refusal.status(), body(refusal).as_bytes());
        assert_eq!(stream(Refusal::IncompatibleVersion), Err(StreamFailure::IncompatibleVersion));
        assert_eq!(stream(Refusal::ClusterIdMismatch), Err(StreamFailure::ClusterIdMismatch));
        let text = "to field mismatch".to_owned();
        assert_eq!(stream(Refusal::ToMismatch), Err(StreamFailure::Precondition(text.clone())));
        let not_found = StreamFailure::NotFound { peer_id: 0xb, own_id: 0xa };
        assert_eq!(not_found.to_string(), "peer b failed to find local node a");
        assert_eq!(stream(Refusal::SenderNotFound), Err(not_found));
        assert_eq!(post(Refusal::IncompatibleVersion), Err(PostFailure::IncompatibleVersion));
        assert_eq!(post(Refusal::ClusterIdMismatch), Err(PostFailure::ClusterIdMismatch));
        assert_eq!(post(Refusal::ToMismatch), Err(PostFailure::Precondition(text)));
        assert_eq!(check_post_reply(204, b""), Ok(()));
    }

    #[test]
    fn a_peer_must_be_known_to_have_streams_or_be_newer() {
        for version in ["3.7.0", "3.4.0", "2.1.0", "3.8.0", "4.0.0"] {
            assert_eq!(stream_reply(200, Some(version), ""), Ok(()), "{version}");
        }
        for version in [None, Some("2.0.0"), Some("2.4.0"), Some("garbage")] {
            assert_eq!(stream_reply(200, version, ""), Err(StreamFailure::UnsupportedStream), "{version:?}");
        }
    }
}
