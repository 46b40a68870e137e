//! Refusals of a request of a peer, with etcd's statuses and texts.

/// Why a request of a peer is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The versions of both members do not go together.
    IncompatibleVersion,
    /// The sender belongs to another cluster.
    ClusterIdMismatch,
    /// The request is meant for another member.
    ToMismatch,
    /// No such stream.
    InvalidPath,
    /// The path of a stream names no member.
    InvalidFrom,
    /// This member does not know the sender, or not yet.
    SenderNotFound,
    /// A member that was removed asks for a stream. It ends when it reads that.
    RemovedMember,
    /// A message of a member that was removed. It ends when it reads that.
    MessageOfRemovedMember,
    /// A message for another member. Its sender ends when it reads that.
    MessageToOther,
    /// The body broke off, or is too long.
    UnreadableMessage,
    /// The body is no message.
    MalformedMessage,
}

impl Refusal {
    /// The status of HTTP.
    pub fn status(self) -> u16 {
        match self {
            Refusal::IncompatibleVersion | Refusal::ClusterIdMismatch | Refusal::ToMismatch => 412,
            Refusal::InvalidPath | Refusal::InvalidFrom | Refusal::SenderNotFound => 404,
            Refusal::RemovedMember => 410,
            Refusal::MessageOfRemovedMember | Refusal::MessageToOther => 403,
            Refusal::UnreadableMessage | Refusal::MalformedMessage => 400,
        }
    }

    /// The text; without the line break that follows unless it [`Refusal::is_json`].
    pub fn text(self) -> &'static str {
        match self {
            Refusal::IncompatibleVersion => "incompatible version",
            Refusal::ClusterIdMismatch => "cluster ID mismatch",
            Refusal::ToMismatch => "to field mismatch",
            Refusal::InvalidPath => "invalid path",
            Refusal::InvalidFrom => "invalid from",
            Refusal::SenderNotFound => "error sender not found",
            Refusal::RemovedMember => "removed member",
            Refusal::MessageOfRemovedMember => r#"{"message":"cannot process message from removed member"}"#,
            Refusal::MessageToOther => r#"{"message":"cannot process message to mismatch member"}"#,
            Refusal::UnreadableMessage => "error reading raft message",
            Refusal::MalformedMessage => "error unmarshalling raft message",
        }
    }

    /// Whether the text is JSON.
    pub fn is_json(self) -> bool {
        matches!(self, Refusal::MessageOfRemovedMember | Refusal::MessageToOther)
    }
}
