//! The pages of a peer port beside raft: how a member asks for them, and what the answers mean.
//!
//! Texts and statuses are etcd's, so that members of etcd can be asked and can ask. What is here comes from a peer
//! and is checked; whether a question is asked again is for the caller to decide.

use ::peer::MinorVersion;
use bytes::Bytes;
use prost::Message;
use proto::etcdserverpb::{
    LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, Member,
};
use proto::leasepb::{LeaseInternalRequest, LeaseInternalResponse};
use serde_json::Value;

use super::question::{Content, Question, Reply};

/// Content type of protobuf messages.
pub(crate) const PROTOBUF: &str = "application/protobuf";

/// The lease of a question does not exist.
pub(crate) const LEASE_NOT_FOUND: &str = "lease not found";
/// A renewal was asked of a member that does not lead.
pub(crate) const NOT_PRIMARY: &str = "not a primary lessor";
/// The leader could not apply what is committed in time.
pub(crate) const APPLY_TIMED_OUT: &str = "waiting for node to catch up its applied index has timed out";
/// The texts that a refused promotion is known by.
pub(crate) const MEMBER_NOT_FOUND: &str = "membership: ID not found";
pub(crate) const NOT_LEARNER: &str = "membership: can only promote a learner member";
pub(crate) const LEARNER_NOT_READY: &str =
    "etcdserver: can only promote a learner member which is in sync with leader";
/// The texts that a refused hash is known by.
pub(crate) const COMPACTED: &str = "mvcc: required revision has been compacted";
pub(crate) const FUTURE_REVISION: &str = "mvcc: required revision is a future revision";
pub(crate) const CLUSTER_ID_MISMATCH: &str = "cluster ID mismatch";

/// Bytes of a short answer.
const SHORT: usize = 64 << 10;

/// Bytes of an answer with the keys of a lease, as in etcd.
const LONG: usize = 100 << 20;

impl Question {
    fn get(path: &str) -> Question {
        Question { path: path.to_owned(), content: Content::Get, answer_len_max: SHORT }
    }

    fn post(path: String, content_type: &'static str, body: Vec<u8>) -> Question {
        Question { path, content: Content::Post(content_type, body.into()), answer_len_max: SHORT }
    }

    /// Of which version the member is.
    pub(crate) fn version() -> Question {
        Question::get("/version")
    }

    /// Whether the cluster is being downgraded.
    pub(crate) fn downgrade_enabled() -> Question {
        Question::get("/downgrade/enabled")
    }

    /// Gives a lease its whole time again.
    pub(crate) fn renewal(id: i64) -> Question {
        Question::post("/leases".to_owned(), PROTOBUF, LeaseKeepAliveRequest { id }.encode_to_vec())
    }

    /// What is left of a lease.
    pub(crate) fn time_to_live(request: LeaseTimeToLiveRequest) -> Question {
        let answer_len_max = if request.keys { LONG } else { SHORT };
        let request = LeaseInternalRequest { lease_time_to_live_request: Some(request) };
        let question = Question::post("/leases/internal".to_owned(), PROTOBUF, request.encode_to_vec());
        Question { answer_len_max, ..question }
    }

    /// Makes a learner a voter.
    pub(crate) fn promotion(id: u64) -> Question {
        Question::post(format!("/members/promote/{id}"), "text/plain", Vec::new())
    }

    /// A hash of the keys at a revision; 0 stands for the newest.
    pub(crate) fn hash(revision: i64) -> Question {
        // Go leaves out a field that is zero.
        let json = if revision == 0 { "{}".to_owned() } else { format!(r#"{{"revision":{revision}}}"#) };
        Question { content: Content::GetJson(Bytes::from(json)), ..Question::get("/members/hashkv") }
    }
}

impl Reply {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim().to_owned()
    }

    /// The version of the member that was asked for it, or what is wrong.
    pub(crate) fn version(&self) -> Result<Versions, String> {
        let invalid = || format!("no versions in {:?}", self.text());
        let versions: Value = serde_json::from_slice(&self.body).map_err(|_| invalid())?;
        let text = |name: &str| versions.get(name).and_then(Value::as_str).map(str::to_owned);
        let server_text = text("etcdserver").ok_or_else(invalid)?;
        let server = MinorVersion::parse(&server_text).ok_or_else(invalid)?;
        let cluster_text = text("etcdcluster").unwrap_or_default();
        Ok(Versions { server, server_text, cluster: MinorVersion::parse(&cluster_text), cluster_text })
    }

    /// Whether the cluster is being downgraded; `None` if the member could not tell.
    pub(crate) fn downgrade_enabled(&self) -> Option<bool> {
        match (self.status, self.text().as_str()) {
            (200, "true") => Some(true),
            (200, "false") => Some(false),
            _ => None,
        }
    }

    /// The seconds that lease `id` has from now on, 0 if there is no such lease; `None` if the member could not renew
    /// it.
    pub(crate) fn renewal(&self, id: i64) -> Option<i64> {
        match self.status {
            404 => Some(0),
            200 => {
                let response = LeaseKeepAliveResponse::decode(self.body.clone()).ok()?;
                (response.id == id).then_some(response.ttl)
            }
            _ => None,
        }
    }

    /// What is left of lease `id`; `Some(None)` if there is no such lease, `None` if the member could not tell.
    pub(crate) fn time_to_live(&self, id: i64) -> Option<Option<LeaseTimeToLiveResponse>> {
        match self.status {
            404 => Some(None),
            200 => {
                let response = LeaseInternalResponse::decode(self.body.clone()).ok()?;
                let response = response.lease_time_to_live_response?;
                (response.id == id).then_some(Some(response))
            }
            _ => None,
        }
    }

    /// What has become of a promotion; `None` if it may succeed when it is tried again.
    pub(crate) fn promotion(&self) -> Option<Promoted> {
        match self.status {
            200 => {
                let members: Vec<Value> = serde_json::from_slice(&self.body).ok()?;
                let member = |value: &Value| proto::member_json::decode(value.to_string().as_bytes());
                members.iter().map(member).collect::<Option<_>>().map(Promoted::Done)
            }
            404 => Some(Promoted::MemberNotFound),
            // Both texts begin alike.
            412 if self.text().contains(LEARNER_NOT_READY) => Some(Promoted::LearnerNotReady),
            412 if self.text().contains(NOT_LEARNER) => Some(Promoted::NotLearner),
            _ => None,
        }
    }

    /// The hash of the keys of a member, or why it has none.
    pub(crate) fn hash(&self) -> Result<PeerHash, String> {
        if self.status != 200 {
            return Err(self.text());
        }
        let json: Value = serde_json::from_slice(&self.body).map_err(|error| error.to_string())?;
        let number = |value: Option<&Value>| value.and_then(Value::as_i64).unwrap_or_default();
        let hash = u32::try_from(number(json.get("hash"))).map_err(|error| error.to_string())?;
        Ok(PeerHash {
            hash,
            revision: number(json.pointer("/header/revision")),
            compact_revision: number(json.get("compact_revision")),
        })
    }
}

/// What a member says of versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) server: MinorVersion,
    pub(crate) server_text: String,
    /// That of its cluster; `None` if it is not decided, or cannot be read.
    pub(crate) cluster: Option<MinorVersion>,
    pub(crate) cluster_text: String,
}

/// What has become of a promotion.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Promoted {
    /// The learner is a voter. All members after that.
    Done(Vec<Member>),
    MemberNotFound,
    NotLearner,
    LearnerNotReady,
}

/// The hash of the keys of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PeerHash {
    pub(crate) hash: u32,
    /// The newest revision of the member.
    pub(crate) revision: i64,
    pub(crate) compact_revision: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: impl Into<Bytes>) -> Reply {
        Reply { status, body: body.into() }
    }

    #[test]
    fn versions_are_read_as_etcd_tells_them() {
        let answer = br#"{"etcdserver":"3.6.7","etcdcluster":"3.6.0","storage":"3.6.0"}"#;
        let versions = reply(200, &answer[..]).version().unwrap();
        assert_eq!(versions.server, MinorVersion { major: 3, minor: 6 });
        assert_eq!(versions.cluster, Some(MinorVersion { major: 3, minor: 6 }));
        let undecided = br#"{"etcdserver":"3.7.1","etcdcluster":"not_decided","storage":"unknown"}"#;
        assert_eq!(reply(200, &undecided[..]).version().unwrap().cluster, None);
        for garbage in [&b""[..], b"404 page not found\n", b"{}", br#"{"etcdserver":"new"}"#] {
            assert!(reply(200, garbage).version().is_err());
        }
    }

    #[test]
    fn a_renewal_is_only_believed_for_the_lease_that_was_asked_for() {
        let response = LeaseKeepAliveResponse { id: 7, ttl: 10, ..LeaseKeepAliveResponse::default() };
        let renewed = reply(200, response.encode_to_vec());
        assert_eq!((renewed.renewal(7), renewed.renewal(8)), (Some(10), None));
        assert_eq!(reply(404, "lease not found\n").renewal(7), Some(0));
        for status in [400, 408, 500] {
            assert_eq!(reply(status, "not a primary lessor\n").renewal(7), None);
        }
        assert_eq!(reply(200, "\u{1}garbage").renewal(7), None);
    }

    #[test]
    fn the_time_of_a_lease_is_only_believed_for_the_lease_that_was_asked_for() {
        let response = LeaseTimeToLiveResponse { id: 7, ttl: 4, ..LeaseTimeToLiveResponse::default() };
        let response = LeaseInternalResponse { lease_time_to_live_response: Some(response) };
        let told = reply(200, response.encode_to_vec());
        assert_eq!(told.time_to_live(7).unwrap().unwrap().ttl, 4);
        assert_eq!(told.time_to_live(8), None);
        assert_eq!(reply(404, "").time_to_live(7), Some(None));
        assert_eq!(reply(500, "").time_to_live(7), None);
        assert_eq!(reply(200, "").time_to_live(7), None);
    }

    #[test]
    fn a_refused_promotion_is_told_from_one_that_may_be_tried_again() {
        let promoted = |status, text: &str| reply(status, format!("{text}\n")).promotion();
        assert_eq!(promoted(404, MEMBER_NOT_FOUND), Some(Promoted::MemberNotFound));
        assert_eq!(promoted(412, NOT_LEARNER), Some(Promoted::NotLearner));
        assert_eq!(promoted(412, LEARNER_NOT_READY), Some(Promoted::LearnerNotReady));
        assert_eq!(promoted(500, r#"{"message":"Internal Server Error"}"#), None);
        assert_eq!(promoted(408, "etcdserver: request timed out"), None);
        let Some(Promoted::Done(members)) = promoted(200, r#"[{"id":5,"peerURLs":["http://a:1"]}]"#) else {
            panic!("it was promoted")
        };
        assert_eq!(members[0].id, 5);
        assert_eq!(promoted(200, "[1]"), None);
    }

    #[test]
    fn a_hash_is_read_as_etcd_tells_it() {
        let answer =
            br#"{"header":{"revision":9},"hash":4294967295,"compact_revision":-1,"hash_revision":8}"#;
        let hash = PeerHash { hash: u32::MAX, revision: 9, compact_revision: -1 };
        assert_eq!(reply(200, &answer[..]).hash(), Ok(hash));
        let answer = reply(400, format!("{COMPACTED}\n"));
        assert_eq!(answer.hash(), Err(COMPACTED.to_owned()));
        assert!(reply(200, r#"{"hash":4294967296}"#).hash().is_err());
        let Content::GetJson(body) = Question::hash(5).content else { panic!("it is a GET") };
        assert_eq!(body, r#"{"revision":5}"#);
    }
}
