//! The calls: one method each, named as in etcd's API.
//!
//! Bounds, defaults and refusals are the server's; see its API. A call that reads may be sent more than once.

use proto::etcdserverpb::{
    AlarmRequest, AlarmResponse, CompactionRequest, CompactionResponse, DefragmentRequest,
    DefragmentResponse, DeleteRangeRequest, DeleteRangeResponse, DowngradeRequest, DowngradeResponse,
    HashKvRequest, HashKvResponse, LeaseGrantRequest, LeaseGrantResponse, LeaseLeasesRequest,
    LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse, LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse, MemberListRequest, MemberListResponse, MemberPromoteRequest,
    MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse, MoveLeaderRequest, MoveLeaderResponse,
    PutRequest, PutResponse, RangeRequest, RangeResponse, StatusRequest, StatusResponse, TxnRequest,
    TxnResponse,
};

use crate::client::{Client, Effect};
use crate::error::Error;

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident($request:ty) -> $response:ty, $effect:ident $path:literal;)*) => {
        impl Client {$(
            $(#[$doc])*
            pub async fn $name(&self, request: $request) -> Result<$response, Error> {
                self.unary($path, Effect::$effect, request).await
            }
        )*}
    };
}

calls! {
    /// Reads a key or a range of keys.
    range(RangeRequest) -> RangeResponse, Reads "/etcdserverpb.KV/Range";
    /// Stores a key. It is durable on a quorum when the call returns.
    put(PutRequest) -> PutResponse, Writes "/etcdserverpb.KV/Put";
    /// Deletes a key or a range of keys, as one revision.
    delete_range(DeleteRangeRequest) -> DeleteRangeResponse, Writes "/etcdserverpb.KV/DeleteRange";
    /// Compares, then carries out one of two lists of operations, all or nothing.
    txn(TxnRequest) -> TxnResponse, Writes "/etcdserverpb.KV/Txn";
    /// Removes the history below a revision.
    compact(CompactionRequest) -> CompactionResponse, Writes "/etcdserverpb.KV/Compact";
    /// Grants a lease.
    lease_grant(LeaseGrantRequest) -> LeaseGrantResponse, Writes "/etcdserverpb.Lease/LeaseGrant";
    /// Ends a lease and deletes its keys as one revision.
    lease_revoke(LeaseRevokeRequest) -> LeaseRevokeResponse, Writes "/etcdserverpb.Lease/LeaseRevoke";
    /// Reads the remaining time to live of a lease; −1 s if the lease does not exist.
    lease_time_to_live(LeaseTimeToLiveRequest) -> LeaseTimeToLiveResponse,
        Reads "/etcdserverpb.Lease/LeaseTimeToLive";
    /// Lists all leases.
    lease_leases(LeaseLeasesRequest) -> LeaseLeasesResponse, Reads "/etcdserverpb.Lease/LeaseLeases";
    /// Lists, raises or lowers alarms.
    alarm(AlarmRequest) -> AlarmResponse, Writes "/etcdserverpb.Maintenance/Alarm";
    /// Reads the status of the member.
    status(StatusRequest) -> StatusResponse, Reads "/etcdserverpb.Maintenance/Status";
    /// Returns unused space to the file system.
    defragment(DefragmentRequest) -> DefragmentResponse, Writes "/etcdserverpb.Maintenance/Defragment";
    /// Hashes the history of all keys up to a revision.
    hash_kv(HashKvRequest) -> HashKvResponse, Reads "/etcdserverpb.Maintenance/HashKV";
    /// Lists the members of the cluster.
    member_list(MemberListRequest) -> MemberListResponse, Reads "/etcdserverpb.Cluster/MemberList";
    /// Removes a member, which then stops.
    member_remove(MemberRemoveRequest) -> MemberRemoveResponse, Writes "/etcdserverpb.Cluster/MemberRemove";
    /// Lets a learner vote.
    member_promote(MemberPromoteRequest) -> MemberPromoteResponse,
        Writes "/etcdserverpb.Cluster/MemberPromote";
    /// Hands leadership to another member; only the leader does it.
    move_leader(MoveLeaderRequest) -> MoveLeaderResponse, Writes "/etcdserverpb.Maintenance/MoveLeader";
    /// Checks, begins or ends the downgrade of the cluster to the minor version before.
    downgrade(DowngradeRequest) -> DowngradeResponse, Writes "/etcdserverpb.Maintenance/Downgrade";
}
