// Made by `cargo run -p xtask -- gen-proto`.
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct CampaignRequest {
    #[prost(bytes = "bytes", tag = "1")]
    pub name: ::prost::bytes::Bytes,
    #[prost(int64, tag = "2")]
    pub lease: i64,
    #[prost(bytes = "bytes", tag = "3")]
    pub value: ::prost::bytes::Bytes,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct CampaignResponse {
    #[prost(message, optional, tag = "1")]
    pub header: ::core::option::Option<super::etcdserverpb::ResponseHeader>,
    #[prost(message, optional, tag = "2")]
    pub leader: ::core::option::Option<LeaderKey>,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct LeaderKey {
    #[prost(bytes = "bytes", tag = "1")]
    pub name: ::prost::bytes::Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub key: ::prost::bytes::Bytes,
    #[prost(int64, tag = "3")]
    pub rev: i64,
    #[prost(int64, tag = "4")]
    pub lease: i64,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct LeaderRequest {
    #[prost(bytes = "bytes", tag = "1")]
    pub name: ::prost::bytes::Bytes,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct LeaderResponse {
    #[prost(message, optional, tag = "1")]
    pub header: ::core::option::Option<super::etcdserverpb::ResponseHeader>,
    #[prost(message, optional, tag = "2")]
    pub kv: ::core::option::Option<super::mvccpb::KeyValue>,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ResignRequest {
    #[prost(message, optional, tag = "1")]
    pub leader: ::core::option::Option<LeaderKey>,
}
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ResignResponse {
    #[prost(message, optional, tag = "1")]
    pub header: ::core::option::Option<super::etcdserverpb::ResponseHeader>,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ProclaimRequest {
    #[prost(message, optional, tag = "1")]
    pub leader: ::core::option::Option<LeaderKey>,
    #[prost(bytes = "bytes", tag = "2")]
    pub value: ::prost::bytes::Bytes,
}
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ProclaimResponse {
    #[prost(message, optional, tag = "1")]
    pub header: ::core::option::Option<super::etcdserverpb::ResponseHeader>,
}
/// The methods of `v3electionpb.Election`.
pub const ELECTION: crate::Service = crate::Service {
    name: "v3electionpb.Election",
    methods: &[
        crate::Method {
            name: "Campaign",
            path: "/v3electionpb.Election/Campaign",
            client_streaming: false,
            server_streaming: false,
        },
        crate::Method {
            name: "Proclaim",
            path: "/v3electionpb.Election/Proclaim",
            client_streaming: false,
            server_streaming: false,
        },
        crate::Method {
            name: "Leader",
            path: "/v3electionpb.Election/Leader",
            client_streaming: false,
            server_streaming: false,
        },
        crate::Method {
            name: "Observe",
            path: "/v3electionpb.Election/Observe",
            client_streaming: false,
            server_streaming: true,
        },
        crate::Method {
            name: "Resign",
            path: "/v3electionpb.Election/Resign",
            client_streaming: false,
            server_streaming: false,
        },
    ],
};
