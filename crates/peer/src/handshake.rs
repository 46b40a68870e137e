//! The heads of requests between members: who asks, of which cluster, with which version.

use proto::raftpb::Message;

use crate::refusal::Refusal;
use crate::route::{StreamKind, parse_id};
use crate::version::MinorVersion;

/// Names of the headers, in lower case.
pub mod header_names {
    /// The sender's id.
    pub const FROM: &str = "x-server-from";
    /// The version of a member.
    pub const VERSION: &str = "x-server-version";
    /// The oldest version of a cluster that the sender can be part of.
    pub const MIN_CLUSTER_VERSION: &str = "x-min-cluster-version";
    /// The id of a cluster.
    pub const CLUSTER_ID: &str = "x-etcd-cluster-id";
    /// The id of the member that a stream is asked of.
    pub const TO: &str = "x-raft-to";
    /// The sender's peer URLs, with commas between.
    pub const PEER_URLS: &str = "x-peerurls";
}

/// Peer URLs of a sender that are looked at. A member has few.
const SENDER_URLS_MAX: usize = 16;

/// The oldest version of a cluster that this member can be part of, as it is written.
const MIN_CLUSTER_VERSION: &str = "3.0.0";

/// Who this member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its id.
    pub id: u64,
    /// The id of its cluster.
    pub cluster_id: u64,
    /// Its version: three numbers with dots.
    pub version: &'static str,
    /// The URLs at which it advertises to be reached by peers, with commas between.
    pub peer_urls: String,
}

impl Identity {
    /// The headers of a request to a peer; `to` only if it asks for a stream.
    pub fn request_headers(&self, to: Option<u64>) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            (header_names::FROM, format!("{:x}", self.id)),
            (header_names::VERSION, self.version.to_owned()),
            (header_names::MIN_CLUSTER_VERSION, MIN_CLUSTER_VERSION.to_owned()),
            (header_names::CLUSTER_ID, self.cluster_id_text()),
            (header_names::PEER_URLS, self.peer_urls.clone()),
        ];
        headers.extend(to.map(|to| (header_names::TO, format!("{to:x}"))));
        headers
    }

    /// The cluster's id as it is written.
    pub fn cluster_id_text(&self) -> String {
        format!("{:x}", self.cluster_id)
    }

    /// This member's own version.
    pub(crate) fn minor_version(&self) -> MinorVersion {
        MinorVersion::parse(self.version).expect("the version of a build has three numbers")
    }

    /// Refuses a message for another member, and one of a member that was removed.
    pub fn check_message(&self, message: &Message, is_removed: bool) -> Result<(), Refusal> {
        if is_removed {
            Err(Refusal::MessageOfRemovedMember)
        } else if message.to != self.id {
            Err(Refusal::MessageToOther)
        } else {
            Ok(())
        }
    }
}

/// The sender of a request, as far as it names itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// Its id.
    pub id: Option<u64>,
    /// Where it can be reached.
    pub peer_urls: Vec<String>,
}

impl Sender {
    fn of<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Sender {
        let urls = header(header_names::PEER_URLS).unwrap_or_default();
        let urls = urls.split(',').filter(|url| !url.is_empty()).take(SENDER_URLS_MAX);
        Sender {
            id: header(header_names::FROM).and_then(parse_id),
            peer_urls: urls.map(str::to_owned).collect(),
        }
    }
}

/// Checks the head of a request of a peer: versions and cluster. `header` finds a header by its name.
pub fn check_sender<'a>(
    identity: &Identity,
    header: impl Fn(&str) -> Option<&'a str>,
) -> Result<Sender, Refusal> {
    let version = |name| header(name).map_or(Some(MinorVersion::UNNAMED), MinorVersion::parse);
    let server = version(header_names::VERSION).ok_or(Refusal::IncompatibleVersion)?;
    let min_cluster = version(header_names::MIN_CLUSTER_VERSION).ok_or(Refusal::IncompatibleVersion)?;
    if server < MinorVersion::MIN_CLUSTER || min_cluster > identity.minor_version() {
        return Err(Refusal::IncompatibleVersion);
    }
    if header(header_names::CLUSTER_ID) != Some(&identity.cluster_id_text()) {
        return Err(Refusal::ClusterIdMismatch);
    }
    Ok(Sender::of(header))
}

/// Checks a request for a stream, whose sender [`check_sender`] has passed. The result is the stream's kind and
/// the member that reads it.
pub fn check_stream(
    identity: &Identity,
    (kind, from): (Option<StreamKind>, Option<u64>),
    to: Option<&str>,
    is_removed: impl Fn(u64) -> bool,
    is_known: impl Fn(u64) -> bool,
) -> Result<(StreamKind, u64), Refusal> {
    let kind = kind.ok_or(Refusal::InvalidPath)?;
    let from = from.ok_or(Refusal::InvalidFrom)?;
    if is_removed(from) {
        return Err(Refusal::RemovedMember);
    }
    if !is_known(from) {
        return Err(Refusal::SenderNotFound);
    }
    if to != Some(&format!("{:x}", identity.id)) {
        return Err(Refusal::ToMismatch);
    }
    Ok((kind, from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            id: 0xa,
            cluster_id: 0xcdf8,
            version: "3.7.1",
            peer_urls: "http://a:2380,http://b:2380".to_owned(),
        }
    }

    /// Looks at headers, of which `changed` stands in for one.
    fn result_of(changed: (&str, Option<&str>)) -> Result<Sender, Refusal> {
        let headers = identity().request_headers(None);
        check_sender(&identity(), |name| {
            if name == changed.0 {
                return changed.1;
            }
            headers.iter().find(|(header, _)| *header == name).map(|(_, value)| value.as_str())
        })
    }

    #[test]
    fn a_member_passes_its_own_check() {
        let peer_urls = vec!["http://a:2380".to_owned(), "http://b:2380".to_owned()];
        assert_eq!(result_of(("", None)), Ok(Sender { id: Some(0xa), peer_urls }));
    }

    #[test]
    fn versions_that_do_not_go_together_are_refused() {
        for (name, value) in [
            (header_names::VERSION, None),
            (header_names::VERSION, Some("2.3.8")),
            (header_names::VERSION, Some("three")),
            (header_names::MIN_CLUSTER_VERSION, Some("3.8.0")),
            (header_names::MIN_CLUSTER_VERSION, Some("")),
        ] {
            assert_eq!(result_of((name, value)), Err(Refusal::IncompatibleVersion), "{name}: {value:?}");
        }
        for (name, value) in [
            (header_names::VERSION, Some("3.4.0")),
            (header_names::VERSION, Some("3.9.0")),
            (header_names::MIN_CLUSTER_VERSION, Some("3.7.9")),
            (header_names::MIN_CLUSTER_VERSION, None),
        ] {
            assert!(result_of((name, value)).is_ok(), "{name}: {value:?}");
        }
    }

    #[test]
    fn another_cluster_is_refused() {
        for id in [None, Some("cdf9"), Some("0cdf8"), Some("CDF8")] {
            assert_eq!(result_of((header_names::CLUSTER_ID, id)), Err(Refusal::ClusterIdMismatch));
        }
    }

    #[test]
    fn a_sender_names_few_urls() {
        let urls = vec!["http://a:1"; 100].join(",");
        let sender = result_of((header_names::PEER_URLS, Some(&urls))).unwrap();
        assert_eq!(sender.peer_urls.len(), SENDER_URLS_MAX);
    }

    #[test]
    fn a_stream_is_checked_in_the_order_of_etcd() {
        let check = |kind, from, to| check_stream(&identity(), (kind, from), to, |id| id == 3, |id| id == 2);
        let append = Some(StreamKind::Append);
        assert_eq!(check(None, None, None), Err(Refusal::InvalidPath));
        assert_eq!(check(append, None, None), Err(Refusal::InvalidFrom));
        assert_eq!(check(append, Some(3), None), Err(Refusal::RemovedMember));
        assert_eq!(check(append, Some(4), None), Err(Refusal::SenderNotFound));
        assert_eq!(check(append, Some(2), None), Err(Refusal::ToMismatch));
        assert_eq!(check(append, Some(2), Some("b")), Err(Refusal::ToMismatch));
        assert_eq!(check(append, Some(2), Some("a")), Ok((StreamKind::Append, 2)));
    }

    #[test]
    fn a_message_must_be_for_this_member_from_one_that_is_not_removed() {
        let message = |to| Message { to, ..Message::default() };
        assert_eq!(identity().check_message(&message(0xa), false), Ok(()));
        assert_eq!(identity().check_message(&message(0xb), false), Err(Refusal::MessageToOther));
        assert_eq!(identity().check_message(&message(0xb), true), Err(Refusal::MessageOfRemovedMember));
    }
}
