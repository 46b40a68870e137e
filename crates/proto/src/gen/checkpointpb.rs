// Made by `cargo run -p xtask -- gen-proto`.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Checkpoint {
    #[prost(uint64, tag = "1")]
    pub applied_index: u64,
    #[prost(uint64, tag = "2")]
    pub applied_term: u64,
    #[prost(message, optional, tag = "3")]
    pub conf_state: ::core::option::Option<super::raftpb::ConfState>,
    #[prost(int64, tag = "4")]
    pub revision: i64,
    #[prost(int64, tag = "5")]
    pub compact_revision: i64,
    #[prost(message, repeated, tag = "6")]
    pub segments: ::prost::alloc::vec::Vec<Segment>,
    #[prost(message, repeated, tag = "10")]
    pub members: ::prost::alloc::vec::Vec<super::etcdserverpb::Member>,
    #[prost(uint64, repeated, tag = "11")]
    pub removed_members: ::prost::alloc::vec::Vec<u64>,
    #[prost(string, tag = "12")]
    pub cluster_version: ::prost::alloc::string::String,
    #[prost(message, repeated, tag = "13")]
    pub alarms: ::prost::alloc::vec::Vec<super::etcdserverpb::AlarmMember>,
    #[prost(message, repeated, tag = "14")]
    pub leases: ::prost::alloc::vec::Vec<super::leasepb::Lease>,
    #[prost(string, tag = "15")]
    pub downgrade_target: ::prost::alloc::string::String,
}
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Segment {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(int64, tag = "2")]
    pub first_revision: i64,
    #[prost(uint64, tag = "3")]
    pub length: u64,
    #[prost(bool, tag = "4")]
    pub sealed: bool,
}
