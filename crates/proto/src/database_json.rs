//! JSON values of etcd's database besides the members: the raft configuration and a downgrade.

use serde_json::Value;

use crate::raftpb::ConfState;

/// Writes a configuration as Go does: empty lists are left out.
pub fn encode_conf_state(conf_state: &ConfState) -> String {
    let lists = [
        ("voters", &conf_state.voters),
        ("learners", &conf_state.learners),
        ("voters_outgoing", &conf_state.voters_outgoing),
        ("learners_next", &conf_state.learners_next),
    ];
    let mut json = String::from("{");
    for (name, ids) in lists.into_iter().filter(|(_, ids)| !ids.is_empty()) {
        let ids: Vec<_> = ids.iter().map(u64::to_string).collect();
        json.push_str(&format!(r#""{name}":[{}],"#, ids.join(",")));
    }
    json.push_str(&format!(r#""auto_leave":{}}}"#, conf_state.auto_leave));
    json
}

/// Reads a configuration; `None` if it is not a JSON object with lists of numbers.
pub fn decode_conf_state(json: &[u8]) -> Option<ConfState> {
    let object: Value = serde_json::from_slice(json).ok()?;
    object.as_object()?;
    let ids = |name: &str| match object.get(name) {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(list) => list.as_array()?.iter().map(Value::as_u64).collect(),
    };
    Some(ConfState {
        voters: ids("voters")?,
        learners: ids("learners")?,
        voters_outgoing: ids("voters_outgoing")?,
        learners_next: ids("learners_next")?,
        auto_leave: object.get("auto_leave").and_then(Value::as_bool).unwrap_or_default(),
    })
}

/// The version that a downgrade under way leads to, empty without one; `None` if this is no downgrade.
pub fn decode_downgrade_target(json: &[u8]) -> Option<String> {
    let object: Value = serde_json::from_slice(json).ok()?;
    let is_enabled = object.as_object()?.get("enabled").and_then(Value::as_bool).unwrap_or_default();
    let target = object.get("target-version").and_then(Value::as_str).unwrap_or_default();
    Some(if is_enabled { target.to_owned() } else { String::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_configuration_it_writes() {
        let conf_state = ConfState {
            voters: vec![1, u64::MAX],
            learners: vec![2],
            voters_outgoing: vec![3],
            learners_next: vec![4],
            auto_leave: true,
        };
        for conf_state in [conf_state, ConfState::default()] {
            assert_eq!(decode_conf_state(encode_conf_state(&conf_state).as_bytes()), Some(conf_state));
        }
    }

    #[test]
    fn writes_the_configuration_go_writes() {
        let conf_state = ConfState { voters: vec![7, 9], ..ConfState::default() };
        assert_eq!(encode_conf_state(&conf_state), r#"{"voters":[7,9],"auto_leave":false}"#);
    }

    #[test]
    fn anything_else_is_no_configuration() {
        for json in ["", "[]", r#"{"voters":7}"#, r#"{"voters":["7"]}"#, r#"{"voters":[-1]}"#] {
            assert_eq!(decode_conf_state(json.as_bytes()), None, "{json}");
        }
    }

    #[test]
    fn only_an_enabled_downgrade_has_a_target() {
        let target = |json: &str| decode_downgrade_target(json.as_bytes());
        assert_eq!(target(r#"{"target-version":"3.6.0","enabled":true}"#).as_deref(), Some("3.6.0"));
        assert_eq!(target(r#"{"target-version":"3.6.0","enabled":false}"#).as_deref(), Some(""));
        assert_eq!(target("[]"), None);
    }
}
