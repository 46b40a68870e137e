//! Requests of etcd's v2 store in the raft log. Members of etcd 3.5 and before tell their name, their client URLs and the
//! cluster version in this form.
//!
//! Such an entry is the message `etcdserverpb.Request` alone, or in field 2 of an `InternalRaftRequest`. Unlike the
//! latter it begins with an id in field 1. Everything but members and version is about a store that does not exist
//! here.

use prost::Message;
use proto::member_json;
use proto::membershippb::{Attributes, ClusterMemberAttrSetRequest, ClusterVersionSetRequest};

use super::{Command, Request};

/// The fields of `etcdserverpb.Request` that are looked at.
#[derive(Clone, PartialEq, Message)]
pub(super) struct V2Request {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    #[prost(string, tag = "2")]
    pub(super) method: String,
    #[prost(string, tag = "3")]
    pub(super) path: String,
    #[prost(string, tag = "4")]
    pub(super) value: String,
}

/// The first byte of an entry that is such a message alone: the tag of the id.
pub(super) const FIRST_BYTE: u8 = 0x08;

impl V2Request {
    pub(super) fn into_command(self) -> Command {
        let request = self.member_attributes().or_else(|| self.cluster_version());
        Command { id: self.id, request: request.unwrap_or(Request::V2) }
    }

    fn member_attributes(&self) -> Option<Request> {
        let id = self.path.strip_prefix("/0/members/")?.strip_suffix("/attributes")?;
        let member_id = u64::from_str_radix(id, 16).ok()?;
        let (name, client_urls) = member_json::decode_attributes(self.value.as_bytes())?;
        let member_attributes = Some(Attributes { name, client_urls });
        let request = ClusterMemberAttrSetRequest { member_id, member_attributes };
        (self.method == "PUT").then_some(Request::SetMemberAttributes(request))
    }

    fn cluster_version(&self) -> Option<Request> {
        let is_version = self.method == "PUT" && self.path == "/0/version";
        is_version.then(|| Request::SetClusterVersion(ClusterVersionSetRequest { ver: self.value.clone() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(method: &str, path: &str, value: &str) -> Command {
        let request = V2Request { id: 5, method: method.into(), path: path.into(), value: value.into() };
        let alone = Command::decode(request.encode_to_vec().into()).unwrap();
        let mut embedded = vec![0x12, request.encoded_len() as u8];
        embedded.extend(request.encode_to_vec());
        assert_eq!(Command::decode(embedded.into()).unwrap().request, alone.request);
        alone
    }

    #[test]
    fn members_and_version_are_understood() {
        let attributes = r#"{"name":"m1","clientURLs":["http://a:1"]}"#;
        let command = decode("PUT", "/0/members/8e9e05c52164694d/attributes", attributes);
        let member_attributes =
            Some(Attributes { name: "m1".into(), client_urls: vec!["http://a:1".into()] });
        let request = ClusterMemberAttrSetRequest { member_id: 0x8e9e_05c5_2164_694d, member_attributes };
        assert_eq!(command, Command { id: 5, request: Request::SetMemberAttributes(request) });
        let version = Request::SetClusterVersion(ClusterVersionSetRequest { ver: "3.5.0".into() });
        assert_eq!(decode("PUT", "/0/version", "3.5.0").request, version);
    }

    #[test]
    fn everything_else_does_nothing() {
        for (method, path) in [
            ("SYNC", ""),
            ("PUT", "/1/key"),
            ("PUT", "/0/members/x/attributes"),
            ("DELETE", "/0/version"),
            ("PUT", "/0/members/1/attributes"),
        ] {
            assert_eq!(decode(method, path, "no json").request, Request::V2);
        }
    }
}
