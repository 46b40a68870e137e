//! The membership as etcd's v2 store wrote it, which the message of a snapshot carries: members of etcd 3.6 and before
//! stop if it cannot be read. Those of 3.7 ignore it.

use serde_json::{Map, Value, json};

use crate::etcdserverpb::Member;

/// The version of the layout.
const LAYOUT_VERSION: u32 = 2;

/// Writes members, ids of removed ones, and the cluster version.
pub fn encode<'a>(
    members: impl Iterator<Item = &'a Member>,
    removed: impl Iterator<Item = u64>,
    cluster_version: &str,
) -> String {
    let members = members.map(|member| {
        let path = format!("/0/members/{:x}", member.id);
        let mut children = Map::new();
        let mut raft = json!({ "peerURLs": member.peer_ur_ls });
        if member.is_learner {
            raft["isLearner"] = Value::Bool(true);
        }
        children.insert("raftAttributes".into(), leaf(&format!("{path}/raftAttributes"), &raft.to_string()));
        if !member.client_ur_ls.is_empty() {
            let attributes = json!({ "name": member.name, "clientURLs": member.client_ur_ls });
            children
                .insert("attributes".into(), leaf(&format!("{path}/attributes"), &attributes.to_string()));
        }
        (format!("{:x}", member.id), directory(&path, children))
    });
    let removed = removed.map(|id| (format!("{id:x}"), leaf(&format!("/0/removed_members/{id:x}"), "")));
    let mut tables = Map::new();
    tables.insert("members".into(), directory("/0/members", members.collect()));
    tables.insert("removed_members".into(), directory("/0/removed_members", removed.collect()));
    if !cluster_version.is_empty() {
        tables.insert("version".into(), leaf("/0/version", cluster_version));
    }
    let mut roots = Map::new();
    roots.insert("0".into(), directory("/0", tables));
    roots.insert("1".into(), directory("/1", Map::new()));
    json!({ "Root": directory("/", roots), "CurrentIndex": 0, "CurrentVersion": LAYOUT_VERSION }).to_string()
}

fn directory(path: &str, children: Map<String, Value>) -> Value {
    node(path, "", &Value::Object(children))
}

fn leaf(path: &str, value: &str) -> Value {
    node(path, value, &Value::Null)
}

fn node(path: &str, value: &str, children: &Value) -> Value {
    json!({
        "Path": path,
        "CreatedIndex": 0,
        "ModifiedIndex": 0,
        "ExpireTime": "0001-01-01T00:00:00Z",
        "Value": value,
        "Children": children,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_stand_where_etcd_looks_for_them() {
        let member = Member {
            id: 0xa1,
            name: "a".into(),
            peer_ur_ls: vec!["http://a:2380".into()],
            client_ur_ls: vec!["http://a:2379".into()],
            is_learner: true,
        };
        let unstarted = Member { id: 0xb2, peer_ur_ls: vec!["http://b:2380".into()], ..Member::default() };
        let json = encode([&member, &unstarted].into_iter(), [0xc3].into_iter(), "3.7.0");
        let store: Value = serde_json::from_str(&json).unwrap();
        let at = |pointer: &str| store.pointer(&format!("/Root/Children/0/Children{pointer}")).cloned();
        assert_eq!(at("/version/Value"), Some("3.7.0".into()));
        let raft = r#"{"isLearner":true,"peerURLs":["http://a:2380"]}"#;
        assert_eq!(at("/members/Children/a1/Children/raftAttributes/Value"), Some(raft.into()));
        let attributes = r#"{"clientURLs":["http://a:2379"],"name":"a"}"#;
        assert_eq!(at("/members/Children/a1/Children/attributes/Value"), Some(attributes.into()));
        assert_eq!(at("/members/Children/b2/Children/attributes"), None);
        assert_eq!(at("/removed_members/Children/c3/Children"), Some(Value::Null));
        assert_eq!(store["CurrentVersion"], 2);
    }
}
