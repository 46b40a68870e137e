//! What no correct member would send, as far as a message alone tells. What depends on this member's state
//! is checked where the message is handled.

use proto::raftpb::{Entry, EntryType, Message, MessageType};

use super::{NONE, conf_change, read_index, snapshot};
use crate::Error;

/// Checks what no correct member would send.
pub(super) fn check(message: &Message) -> Result<(), Error> {
    let r#type = MessageType::try_from(message.r#type)
        .map_err(|_| Error::UnexpectedMessage { r#type: message.r#type })?;
    if message.from == NONE {
        return Err(Error::MalformedMessage("a message names its sender"));
    }
    match r#type {
        MessageType::MsgProp if message.entries.is_empty() => {
            Err(Error::MalformedMessage("a forwarded proposal carries entries"))
        }
        MessageType::MsgProp if !message.entries.iter().all(may_be_proposed) => {
            Err(Error::MalformedMessage("an entry is a command or a configuration change"))
        }
        MessageType::MsgReadIndex | MessageType::MsgReadIndexResp if !has_one_context(message) => {
            Err(Error::MalformedMessage("a read request and its answer carry one short context"))
        }
        MessageType::MsgProp | MessageType::MsgReadIndex => Ok(()),
        MessageType::MsgApp => check_append(message),
        MessageType::MsgSnap => snapshot::check(message),
        MessageType::MsgVote | MessageType::MsgPreVote if message.log_term >= message.term => {
            Err(Error::MalformedMessage("a candidate's term is above that of its last entry"))
        }
        MessageType::MsgReadIndexResp
        | MessageType::MsgAppResp
        | MessageType::MsgVote
        | MessageType::MsgVoteResp
        | MessageType::MsgHeartbeat
        | MessageType::MsgHeartbeatResp
        | MessageType::MsgPreVote
        | MessageType::MsgPreVoteResp
        | MessageType::MsgTransferLeader
        | MessageType::MsgTimeoutNow => match message.term {
            0 => Err(Error::MalformedMessage("a message between members carries a term")),
            _ => Ok(()),
        },
        _ => Err(Error::UnexpectedMessage { r#type: message.r#type }),
    }
}

fn has_one_context(message: &Message) -> bool {
    matches!(&message.entries[..], [entry] if entry.data.len() <= read_index::CONTEXT_LEN_MAX)
}

fn may_be_proposed(entry: &Entry) -> bool {
    entry.r#type == EntryType::EntryNormal as i32
        || (crate::log::is_known_type(entry) && conf_change::decode(entry).is_some())
}

fn check_append(message: &Message) -> Result<(), Error> {
    crate::log::check_run(message.index, message.log_term, &message.entries)
        .map_err(|(_, rule)| Error::MalformedMessage(rule))?;
    let last_term = message.entries.last().map_or(message.log_term, |entry| entry.term);
    if message.term == 0 || last_term > message.term {
        return Err(Error::MalformedMessage("no entry is of a later term than its leader"));
    }
    Ok(())
}
