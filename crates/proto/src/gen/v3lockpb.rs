// Made by `cargo run -p xtask -- gen-proto`.
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct LockRequest {
    #[prost(bytes = "bytes", tag = "1")]
    pub name: ::prost::bytes::Bytes,
    #[prost(int64, tag = "2")]
    pub lease: i64,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct LockResponse {
    #[prost(message, optional, tag = "1")]
    pub header: ::core::option::Option<super::etcdserverpb::ResponseHeader>,
    #[prost(bytes = "bytes", tag = "2")]
    pub key: ::prost::bytes::Bytes,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct UnlockRequest {
    #[prost(bytes = "bytes", tag = "1")]
    pub key: ::prost::bytes::Bytes,
}
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct UnlockResponse {
    #[prost(message, optional, tag = "1")]
    pub header: ::core::option::Option<super::etcdserverpb::ResponseHeader>,
}
/// The methods of `v3lockpb.Lock`.
pub const LOCK: crate::Service = crate::Service {
    name: "v3lockpb.Lock",
    methods: &[
        crate::Method {
            name: "Lock",
            path: "/v3lockpb.Lock/Lock",
            client_streaming: false,
            server_streaming: false,
        },
        crate::Method {
            name: "Unlock",
            path: "/v3lockpb.Lock/Unlock",
            client_streaming: false,
            server_streaming: false,
        },
    ],
};
