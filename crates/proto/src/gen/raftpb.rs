// Made by `cargo run -p xtask -- gen-proto`.
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Entry {
    #[prost(uint64, tag = "2")]
    pub term: u64,
    #[prost(uint64, tag = "3")]
    pub index: u64,
    #[prost(enumeration = "EntryType", tag = "1")]
    pub r#type: i32,
    #[prost(bytes = "bytes", tag = "4")]
    pub data: ::prost::bytes::Bytes,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct SnapshotMetadata {
    #[prost(message, optional, tag = "1")]
    pub conf_state: ::core::option::Option<ConfState>,
    #[prost(uint64, tag = "2")]
    pub index: u64,
    #[prost(uint64, tag = "3")]
    pub term: u64,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Snapshot {
    #[prost(bytes = "bytes", tag = "1")]
    pub data: ::prost::bytes::Bytes,
    #[prost(message, optional, tag = "2")]
    pub metadata: ::core::option::Option<SnapshotMetadata>,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Message {
    #[prost(enumeration = "MessageType", tag = "1")]
    pub r#type: i32,
    #[prost(uint64, tag = "2")]
    pub to: u64,
    #[prost(uint64, tag = "3")]
    pub from: u64,
    #[prost(uint64, tag = "4")]
    pub term: u64,
    #[prost(uint64, tag = "5")]
    pub log_term: u64,
    #[prost(uint64, tag = "6")]
    pub index: u64,
    #[prost(message, repeated, tag = "7")]
    pub entries: ::prost::alloc::vec::Vec<Entry>,
    #[prost(uint64, tag = "8")]
    pub commit: u64,
    #[prost(uint64, tag = "13")]
    pub vote: u64,
    #[prost(message, optional, tag = "9")]
    pub snapshot: ::core::option::Option<Snapshot>,
    #[prost(bool, tag = "10")]
    pub reject: bool,
    #[prost(uint64, tag = "11")]
    pub reject_hint: u64,
    #[prost(bytes = "bytes", tag = "12")]
    pub context: ::prost::bytes::Bytes,
    #[prost(message, repeated, tag = "14")]
    pub responses: ::prost::alloc::vec::Vec<Message>,
}
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct HardState {
    #[prost(uint64, tag = "1")]
    pub term: u64,
    #[prost(uint64, tag = "2")]
    pub vote: u64,
    #[prost(uint64, tag = "3")]
    pub commit: u64,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ConfState {
    #[prost(uint64, repeated, packed = "false", tag = "1")]
    pub voters: ::prost::alloc::vec::Vec<u64>,
    #[prost(uint64, repeated, packed = "false", tag = "2")]
    pub learners: ::prost::alloc::vec::Vec<u64>,
    #[prost(uint64, repeated, packed = "false", tag = "3")]
    pub voters_outgoing: ::prost::alloc::vec::Vec<u64>,
    #[prost(uint64, repeated, packed = "false", tag = "4")]
    pub learners_next: ::prost::alloc::vec::Vec<u64>,
    #[prost(bool, tag = "5")]
    pub auto_leave: bool,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ConfChange {
    #[prost(enumeration = "ConfChangeType", tag = "2")]
    pub r#type: i32,
    #[prost(uint64, tag = "3")]
    pub node_id: u64,
    #[prost(bytes = "bytes", tag = "4")]
    pub context: ::prost::bytes::Bytes,
    #[prost(uint64, tag = "1")]
    pub id: u64,
}
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ConfChangeSingle {
    #[prost(enumeration = "ConfChangeType", tag = "1")]
    pub r#type: i32,
    #[prost(uint64, tag = "2")]
    pub node_id: u64,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct ConfChangeV2 {
    #[prost(enumeration = "ConfChangeTransition", tag = "1")]
    pub transition: i32,
    #[prost(message, repeated, tag = "2")]
    pub changes: ::prost::alloc::vec::Vec<ConfChangeSingle>,
    #[prost(bytes = "bytes", tag = "3")]
    pub context: ::prost::bytes::Bytes,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum EntryType {
    EntryNormal = 0,
    EntryConfChange = 1,
    EntryConfChangeV2 = 2,
}
impl EntryType {
    /// String value of the enum field names used in the ProtoBuf definition.
    ///
    /// The values are not transformed in any way and thus are considered stable
    /// (if the ProtoBuf definition does not change) and safe for programmatic use.
    pub fn as_str_name(&self) -> &'static str {
        match self {
            Self::EntryNormal => "EntryNormal",
            Self::EntryConfChange => "EntryConfChange",
            Self::EntryConfChangeV2 => "EntryConfChangeV2",
        }
    }
    /// Creates an enum from field names used in the ProtoBuf definition.
    pub fn from_str_name(value: &str) -> ::core::option::Option<Self> {
        match value {
            "EntryNormal" => Some(Self::EntryNormal),
            "EntryConfChange" => Some(Self::EntryConfChange),
            "EntryConfChangeV2" => Some(Self::EntryConfChangeV2),
            _ => None,
        }
    }
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum MessageType {
    MsgHup = 0,
    MsgBeat = 1,
    MsgProp = 2,
    MsgApp = 3,
    MsgAppResp = 4,
    MsgVote = 5,
    MsgVoteResp = 6,
    MsgSnap = 7,
    MsgHeartbeat = 8,
    MsgHeartbeatResp = 9,
    MsgUnreachable = 10,
    MsgSnapStatus = 11,
    MsgCheckQuorum = 12,
    MsgTransferLeader = 13,
    MsgTimeoutNow = 14,
    MsgReadIndex = 15,
    MsgReadIndexResp = 16,
    MsgPreVote = 17,
    MsgPreVoteResp = 18,
    MsgStorageAppend = 19,
    MsgStorageAppendResp = 20,
    MsgStorageApply = 21,
    MsgStorageApplyResp = 22,
    MsgForgetLeader = 23,
}
impl MessageType {
    /// String value of the enum field names used in the ProtoBuf definition.
    ///
    /// The values are not transformed in any way and thus are considered stable
    /// (if the ProtoBuf definition does not change) and safe for programmatic use.
    pub fn as_str_name(&self) -> &'static str {
        match self {
            Self::MsgHup => "MsgHup",
            Self::MsgBeat => "MsgBeat",
            Self::MsgProp => "MsgProp",
            Self::MsgApp => "MsgApp",
            Self::MsgAppResp => "MsgAppResp",
            Self::MsgVote => "MsgVote",
            Self::MsgVoteResp => "MsgVoteResp",
            Self::MsgSnap => "MsgSnap",
            Self::MsgHeartbeat => "MsgHeartbeat",
            Self::MsgHeartbeatResp => "MsgHeartbeatResp",
            Self::MsgUnreachable => "MsgUnreachable",
            Self::MsgSnapStatus => "MsgSnapStatus",
            Self::MsgCheckQuorum => "MsgCheckQuorum",
            Self::MsgTransferLeader => "MsgTransferLeader",
            Self::MsgTimeoutNow => "MsgTimeoutNow",
            Self::MsgReadIndex => "MsgReadIndex",
            Self::MsgReadIndexResp => "MsgReadIndexResp",
            Self::MsgPreVote => "MsgPreVote",
            Self::MsgPreVoteResp => "MsgPreVoteResp",
            Self::MsgStorageAppend => "MsgStorageAppend",
            Self::MsgStorageAppendResp => "MsgStorageAppendResp",
            Self::MsgStorageApply => "MsgStorageApply",
            Self::MsgStorageApplyResp => "MsgStorageApplyResp",
            Self::MsgForgetLeader => "MsgForgetLeader",
        }
    }
    /// Creates an enum from field names used in the ProtoBuf definition.
    pub fn from_str_name(value: &str) -> ::core::option::Option<Self> {
        match value {
            "MsgHup" => Some(Self::MsgHup),
            "MsgBeat" => Some(Self::MsgBeat),
            "MsgProp" => Some(Self::MsgProp),
            "MsgApp" => Some(Self::MsgApp),
            "MsgAppResp" => Some(Self::MsgAppResp),
            "MsgVote" => Some(Self::MsgVote),
            "MsgVoteResp" => Some(Self::MsgVoteResp),
            "MsgSnap" => Some(Self::MsgSnap),
            "MsgHeartbeat" => Some(Self::MsgHeartbeat),
            "MsgHeartbeatResp" => Some(Self::MsgHeartbeatResp),
            "MsgUnreachable" => Some(Self::MsgUnreachable),
            "MsgSnapStatus" => Some(Self::MsgSnapStatus),
            "MsgCheckQuorum" => Some(Self::MsgCheckQuorum),
            "MsgTransferLeader" => Some(Self::MsgTransferLeader),
            "MsgTimeoutNow" => Some(Self::MsgTimeoutNow),
            "MsgReadIndex" => Some(Self::MsgReadIndex),
            "MsgReadIndexResp" => Some(Self::MsgReadIndexResp),
            "MsgPreVote" => Some(Self::MsgPreVote),
            "MsgPreVoteResp" => Some(Self::MsgPreVoteResp),
            "MsgStorageAppend" => Some(Self::MsgStorageAppend),
            "MsgStorageAppendResp" => Some(Self::MsgStorageAppendResp),
            "MsgStorageApply" => Some(Self::MsgStorageApply),
            "MsgStorageApplyResp" => Some(Self::MsgStorageApplyResp),
            "MsgForgetLeader" => Some(Self::MsgForgetLeader),
            _ => None,
        }
    }
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum ConfChangeTransition {
    Auto = 0,
    JointImplicit = 1,
    JointExplicit = 2,
}
impl ConfChangeTransition {
    /// String value of the enum field names used in the ProtoBuf definition.
    ///
    /// The values are not transformed in any way and thus are considered stable
    /// (if the ProtoBuf definition does not change) and safe for programmatic use.
    pub fn as_str_name(&self) -> &'static str {
        match self {
            Self::Auto => "ConfChangeTransitionAuto",
            Self::JointImplicit => "ConfChangeTransitionJointImplicit",
            Self::JointExplicit => "ConfChangeTransitionJointExplicit",
        }
    }
    /// Creates an enum from field names used in the ProtoBuf definition.
    pub fn from_str_name(value: &str) -> ::core::option::Option<Self> {
        match value {
            "ConfChangeTransitionAuto" => Some(Self::Auto),
            "ConfChangeTransitionJointImplicit" => Some(Self::JointImplicit),
            "ConfChangeTransitionJointExplicit" => Some(Self::JointExplicit),
            _ => None,
        }
    }
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum ConfChangeType {
    ConfChangeAddNode = 0,
    ConfChangeRemoveNode = 1,
    ConfChangeUpdateNode = 2,
    ConfChangeAddLearnerNode = 3,
}
impl ConfChangeType {
    /// String value of the enum field names used in the ProtoBuf definition.
    ///
    /// The values are not transformed in any way and thus are considered stable
    /// (if the ProtoBuf definition does not change) and safe for programmatic use.
    pub fn as_str_name(&self) -> &'static str {
        match self {
            Self::ConfChangeAddNode => "ConfChangeAddNode",
            Self::ConfChangeRemoveNode => "ConfChangeRemoveNode",
            Self::ConfChangeUpdateNode => "ConfChangeUpdateNode",
            Self::ConfChangeAddLearnerNode => "ConfChangeAddLearnerNode",
        }
    }
    /// Creates an enum from field names used in the ProtoBuf definition.
    pub fn from_str_name(value: &str) -> ::core::option::Option<Self> {
        match value {
            "ConfChangeAddNode" => Some(Self::ConfChangeAddNode),
            "ConfChangeRemoveNode" => Some(Self::ConfChangeRemoveNode),
            "ConfChangeUpdateNode" => Some(Self::ConfChangeUpdateNode),
            "ConfChangeAddLearnerNode" => Some(Self::ConfChangeAddLearnerNode),
            _ => None,
        }
    }
}
