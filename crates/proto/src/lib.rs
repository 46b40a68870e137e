//! The messages of the project: those of etcd's client API, of the raft log and of files.
//!
//! There is one module for each protobuf package, generated from `proto/` by `cargo run -p xtask --
//! gen-proto` and committed. `bytes` fields are [`bytes::Bytes`], so that a decoded request shares the buffer
//! that it was received in. Messages of `raftpb`, `walpb` and `snappb` are declared in proto2 but generated
//! with implicit presence: zero and absent are one value.

pub mod database_json;
pub mod member_json;
pub mod v2_store_json;
pub mod wire;

/// One remote procedure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    /// Its name within the service.
    pub name: &'static str,
    /// Its HTTP/2 path: `/package.Service/Name`.
    pub path: &'static str,
    /// Whether the client sends a stream of messages.
    pub client_streaming: bool,
    /// Whether the server answers with a stream of messages.
    pub server_streaming: bool,
}

/// One gRPC service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Service {
    /// Its full name: `package.Service`.
    pub name: &'static str,
    /// Its methods, in the order of the `.proto` source.
    pub methods: &'static [Method],
}

macro_rules! packages {
    ($($module:ident $file:literal $what:literal,)*) => {$(
        #[doc = $what]
        #[expect(missing_docs, reason = "generated; the API is documented by etcd")]
        pub mod $module {
            include!(concat!("gen/", $file));
        }
    )*};
}

packages! {
    etcdserverpb "etcdserverpb.rs" "The client API, and what a log entry carries.",
    mvccpb "mvccpb.rs" "Keys as stored, and the events watchers see.",
    authpb "authpb.rs" "Users, roles and permissions as stored.",
    membershippb "membershippb.rs" "Requests that change what the cluster knows of its members.",
    leasepb "leasepb.rs" "Leases as stored.",
    raftpb "raftpb.rs" "Consensus: entries, messages, configuration.",
    checkpointpb "checkpointpb.rs" "The body of a checkpoint file.",
    walpb "walpb.rs" "Records of the write-ahead log.",
    snappb "snappb.rs" "The envelope of a `.snap` file.",
    v3lockpb "v3lockpb.rs" "The lock service.",
    v3electionpb "v3electionpb.rs" "The election service.",
    health "grpc_health_v1.rs" "The standard gRPC health service.",
}
