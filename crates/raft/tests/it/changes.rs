//! Configuration changes in words: `add 4`, `learner 4`, `remove 4`; several of them, and `leave`, as V2.

use bytes::Bytes;
use prost::Message as _;
use proto::raftpb::{
    ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, Entry, EntryType,
};

const VERBS: [(&str, ConfChangeType); 3] = [
    ("add", ConfChangeType::ConfChangeAddNode),
    ("learner", ConfChangeType::ConfChangeAddLearnerNode),
    ("remove", ConfChangeType::ConfChangeRemoveNode),
];

const TRANSITIONS: [(&str, ConfChangeTransition); 3] = [
    ("auto", ConfChangeTransition::Auto),
    ("implicit", ConfChangeTransition::JointImplicit),
    ("explicit", ConfChangeTransition::JointExplicit),
];

/// A change of one member, encoded.
pub(crate) fn encode(verb: &str, node_id: u64) -> Bytes {
    let ConfChangeSingle { r#type, node_id } = single(verb, node_id);
    ConfChange { r#type, node_id, ..ConfChange::default() }.encode_to_vec().into()
}

/// A change in V2 form, encoded: a transition, and pairs of verb and id. `leave` stands for `auto` without
/// pairs.
pub(crate) fn encode_v2(words: &[&str]) -> Bytes {
    let name = if words[0] == "leave" { "auto" } else { words[0] };
    let (_, transition) = TRANSITIONS.into_iter().find(|(known, _)| *known == name).unwrap();
    let changes = words[1..].chunks(2).map(|pair| single(pair[0], pair[1].parse().unwrap()));
    ConfChangeV2 { transition: transition as i32, changes: changes.collect(), ..ConfChangeV2::default() }
        .encode_to_vec()
        .into()
}

/// What a committed entry changes.
pub(crate) fn decode(entry: &Entry) -> ConfChangeV2 {
    match entry.r#type() {
        EntryType::EntryConfChange => raft::single_change(&ConfChange::decode(entry.data.clone()).unwrap()),
        _ => ConfChangeV2::decode(entry.data.clone()).unwrap(),
    }
}

/// The words for the change in `entry`.
pub(crate) fn text(entry: &Entry) -> String {
    let change = decode(entry);
    let singles: Vec<String> = change.changes.iter().map(single_text).collect();
    if entry.r#type() == EntryType::EntryConfChange {
        return format!("conf({})", singles.join(", "));
    }
    let (transition, _) = TRANSITIONS.into_iter().find(|(_, known)| *known == change.transition()).unwrap();
    if singles.is_empty() {
        "conf(leave)".to_owned()
    } else {
        format!("conf({transition} {})", singles.join(", "))
    }
}

fn single(verb: &str, node_id: u64) -> ConfChangeSingle {
    let (_, r#type) = VERBS.into_iter().find(|(known, _)| *known == verb).unwrap();
    ConfChangeSingle { r#type: r#type as i32, node_id }
}

fn single_text(change: &ConfChangeSingle) -> String {
    let verb = VERBS.into_iter().find(|(_, known)| *known == change.r#type());
    format!("{} {}", verb.map_or("update", |(verb, _)| verb), change.node_id)
}
