//! How events of a cluster read in a golden script.

use std::fmt::Write;

use proto::raftpb::{ConfState, Entry, EntryType, Message, MessageType, SnapshotMetadata};
use raft::{Persist, Progress, ProgressState, Status};

use crate::changes;

pub(crate) fn message(message: &Message) -> String {
    let r#type = message.r#type().as_str_name();
    let mut line = format!("{} -> {}: {type} term={}", message.from, message.to, message.term);
    let numbers = [
        ("index", message.index),
        ("log_term", message.log_term),
        ("commit", message.commit),
        ("hint", message.reject_hint),
    ];
    let carries_log = matches!(
        message.r#type(),
        MessageType::MsgApp | MessageType::MsgVote | MessageType::MsgPreVote | MessageType::MsgAppResp
    );
    for (name, number) in numbers {
        if number > 0 || (carries_log && name == "index") {
            write!(line, " {name}={number}").unwrap();
        }
    }
    if message.reject {
        line.push_str(" reject");
    }
    if !message.context.is_empty() {
        write!(line, " context={:?}", message.context).unwrap();
    }
    if !message.entries.is_empty() {
        write!(line, " {}", entries(&message.entries)).unwrap();
    }
    if let Some(snapshot) = &message.snapshot {
        write!(line, " {}", snapshot_metadata(snapshot.metadata.as_ref().unwrap())).unwrap();
    }
    line
}

pub(crate) fn persist(id: u64, persist: &Persist) -> String {
    let mut line = format!("{id} writes #{}:", persist.seq);
    if let Some(snapshot) = &persist.snapshot {
        write!(line, " {}", snapshot_metadata(snapshot)).unwrap();
    }
    if let Some(state) = persist.hard_state {
        write!(line, " term={} vote={} commit={}", state.term, state.vote, state.commit).unwrap();
    }
    if !persist.entries.is_empty() {
        write!(line, " {}", entries(&persist.entries)).unwrap();
    }
    if !persist.must_sync {
        line.push_str(" (no sync)");
    }
    line
}

pub(crate) fn entries(entries: &[Entry]) -> String {
    let each: Vec<String> = entries.iter().map(entry).collect();
    format!("[{}]", each.join(", "))
}

pub(crate) fn configuration(id: u64, state: &ConfState) -> String {
    format!("{id} has {}", members(state))
}

fn members(state: &ConfState) -> String {
    let mut line = format!("voters {:?}", state.voters);
    if !state.voters_outgoing.is_empty() {
        write!(line, " outgoing {:?}", state.voters_outgoing).unwrap();
    }
    write!(line, " learners {:?}", state.learners).unwrap();
    if !state.learners_next.is_empty() {
        write!(line, " next {:?}", state.learners_next).unwrap();
    }
    if state.auto_leave {
        line.push_str(" auto-leave");
    }
    line
}

fn snapshot_metadata(snapshot: &SnapshotMetadata) -> String {
    let conf_state = snapshot.conf_state.as_ref().unwrap();
    format!("snapshot {}/{} of {}", snapshot.term, snapshot.index, members(conf_state))
}

pub(crate) fn status(status: &Status) -> String {
    let transfer = match status.transferee {
        0 => String::new(),
        id => format!(" transferee={id}"),
    };
    format!(
        "{}: {:?} term={} vote={} leader={} commit={} applied={} durable={} log={}..{}{transfer}",
        status.id,
        status.role,
        status.term,
        status.vote,
        status.leader,
        status.commit,
        status.applied,
        status.durable,
        status.first_index,
        status.last_index,
    )
}

pub(crate) fn progress(member: &Progress) -> String {
    let state = match member.state {
        ProgressState::Probe => "probe",
        ProgressState::Replicate => "replicate",
        ProgressState::Snapshot if member.pending_snapshot == 0 => "needs snapshot",
        ProgressState::Snapshot => "is sent snapshot",
    };
    let learner = if member.is_learner() { " learner" } else { "" };
    format!("  {}: {state} matched={} next={}{learner}", member.id, member.matched, member.next)
}

/// `term/index`, with the data unless empty.
fn entry(entry: &Entry) -> String {
    let data = match entry.r#type() {
        EntryType::EntryNormal if entry.data.is_empty() => String::new(),
        EntryType::EntryNormal => format!(" {}", String::from_utf8_lossy(&entry.data)),
        _ => format!(" {}", changes::text(entry)),
    };
    format!("{}/{}{data}", entry.term, entry.index)
}
