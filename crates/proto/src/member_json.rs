//! A member as JSON: in the context of a raft configuration change, and in what members tell each other about
//! the membership.
//!
//! `{"id":1,"peerURLs":["http://…"],"isLearner":true,"name":"…","clientURLs":["http://…"]}`; empty fields are
//! left out, except `id` and `peerURLs`.

use serde_json::{Value, json};

use crate::etcdserverpb::Member;

/// Writes a member, its fields in Go's order: a hash goes over these bytes.
pub fn encode(member: &Member) -> String {
    let mut json = format!(r#"{{"id":{},"peerURLs":{}"#, member.id, json!(member.peer_ur_ls));
    if member.is_learner {
        json.push_str(r#","isLearner":true"#);
    }
    if !member.name.is_empty() {
        json.push_str(&format!(r#","name":{}"#, json!(member.name)));
    }
    if !member.client_ur_ls.is_empty() {
        json.push_str(&format!(r#","clientURLs":{}"#, json!(member.client_ur_ls)));
    }
    json.push('}');
    json
}

/// Reads name and client URLs from the JSON object that etcd keeps of them; `None` if it is none.
pub fn decode_attributes(json: &[u8]) -> Option<(String, Vec<String>)> {
    let object: Value = serde_json::from_slice(json).ok()?;
    let name = object.as_object()?.get("name").and_then(Value::as_str).unwrap_or_default();
    let urls = object.get("clientURLs").and_then(Value::as_array).into_iter().flatten();
    Some((name.to_owned(), urls.filter_map(Value::as_str).map(str::to_owned).collect()))
}

/// Reads a member; `None` if it is not a JSON object with a numeric `id`.
pub fn decode(json: &[u8]) -> Option<Member> {
    let object: Value = serde_json::from_slice(json).ok()?;
    let urls = |name: &str| {
        let values = object.get(name).and_then(Value::as_array).into_iter().flatten();
        values.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    Some(Member {
        id: object.get("id")?.as_u64()?,
        name: object.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
        peer_ur_ls: urls("peerURLs"),
        client_ur_ls: urls("clientURLs"),
        is_learner: object.get("isLearner").and_then(Value::as_bool).unwrap_or_default(),
    })
}

/// What the context of a configuration change says.
#[derive(Debug, Clone, PartialEq)]
pub struct Context {
    /// The member.
    pub member: Member,
    /// Whether it is a learner that becomes a voter. Then only its id counts.
    pub is_promote: bool,
}

/// Reads the context of a configuration change; `None` if it is not a JSON object with a numeric `id`.
pub fn decode_context(json: &[u8]) -> Option<Context> {
    let object: Value = serde_json::from_slice(json).ok()?;
    let is_promote = object.get("isPromote").and_then(Value::as_bool).unwrap_or_default();
    Some(Context { member: decode(json)?, is_promote })
}

/// Writes the context of the change by which the learner `id` becomes a voter.
pub fn encode_promotion(id: u64) -> String {
    format!(r#"{{"id":{id},"peerURLs":null,"isPromote":true}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let member = Member {
            id: u64::MAX,
            name: "a\"<b>".into(),
            peer_ur_ls: vec!["http://127.0.0.1:2380".into()],
            client_ur_ls: vec!["http://127.0.0.1:2379".into()],
            is_learner: true,
        };
        assert_eq!(decode(encode(&member).as_bytes()), Some(member));
    }

    #[test]
    fn writes_the_fields_go_writes() {
        let member =
            Member { id: 7, peer_ur_ls: vec!["http://a:1".into()], name: "n".into(), ..Member::default() };
        assert_eq!(encode(&member), r#"{"id":7,"peerURLs":["http://a:1"],"name":"n"}"#);
    }

    #[test]
    fn null_urls_are_none() {
        assert_eq!(decode(br#"{"id":5,"peerURLs":null}"#), Some(Member { id: 5, ..Member::default() }));
    }

    #[test]
    fn a_promotion_names_the_learner_alone() {
        let context = decode_context(encode_promotion(7).as_bytes());
        let member = Member { id: 7, ..Member::default() };
        assert_eq!(context, Some(Context { member, is_promote: true }));
        assert!(!decode_context(br#"{"id":7,"peerURLs":[]}"#).unwrap().is_promote);
    }

    #[test]
    fn anything_else_is_no_member() {
        for json in ["", "[]", "{}", r#"{"id":"7"}"#, r#"{"id":-1}"#] {
            assert_eq!(decode(json.as_bytes()), None, "{json}");
        }
    }
}
