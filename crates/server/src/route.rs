//! What the headers of a call ask for: a method, and the manners that all calls share.
//!
//! Read once for calls whose headers are the same, so that a call compares no text.

use std::rc::Rc;

use http2::Head;
use prometheus::IntCounter;
use proto::Service as Table;

use crate::api::Error;
use crate::codes::status;
use crate::grpc::Status;
use crate::metrics::{ClientVersions, MethodMetrics};

/// Every service a client may find here.
pub(crate) const SERVICES: [&Table; 7] = [
    &proto::etcdserverpb::KV,
    &proto::etcdserverpb::WATCH,
    &proto::etcdserverpb::LEASE,
    &proto::etcdserverpb::CLUSTER,
    &proto::etcdserverpb::AUTH,
    &proto::etcdserverpb::MAINTENANCE,
    &proto::health::HEALTH,
];

/// Services that etcd has besides, of which nothing is here yet.
const ABSENT: [&Table; 2] = [&proto::v3lockpb::LOCK, &proto::v3electionpb::ELECTION];

/// A method that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Range,
    Put,
    DeleteRange,
    Txn,
    Compact,
    RangeStream,
    Watch,
    LeaseGrant,
    LeaseRevoke,
    LeaseKeepAlive,
    LeaseTimeToLive,
    LeaseLeases,
    MemberList,
    MemberAdd,
    MemberRemove,
    MemberUpdate,
    MemberPromote,
    Alarm,
    Status,
    Defragment,
    Snapshot,
    Hash,
    HashKv,
    MoveLeader,
    Downgrade,
    AuthStatus,
    AuthEnable,
    AuthDisable,
    Authenticate,
    UserAdd,
    UserGet,
    UserList,
    UserDelete,
    UserChangePassword,
    UserGrantRole,
    UserRevokeRole,
    RoleAdd,
    RoleGet,
    RoleList,
    RoleDelete,
    RoleGrantPermission,
    RoleRevokePermission,
    Health,
    HealthList,
    HealthWatch,
}

/// Where each method is found.
const PATHS: [(&str, Method); 45] = [
    ("/etcdserverpb.KV/Range", Method::Range),
    ("/etcdserverpb.KV/Put", Method::Put),
    ("/etcdserverpb.KV/DeleteRange", Method::DeleteRange),
    ("/etcdserverpb.KV/Txn", Method::Txn),
    ("/etcdserverpb.KV/Compact", Method::Compact),
    ("/etcdserverpb.KV/RangeStream", Method::RangeStream),
    ("/etcdserverpb.Watch/Watch", Method::Watch),
    ("/etcdserverpb.Lease/LeaseGrant", Method::LeaseGrant),
    ("/etcdserverpb.Lease/LeaseRevoke", Method::LeaseRevoke),
    ("/etcdserverpb.Lease/LeaseKeepAlive", Method::LeaseKeepAlive),
    ("/etcdserverpb.Lease/LeaseTimeToLive", Method::LeaseTimeToLive),
    ("/etcdserverpb.Lease/LeaseLeases", Method::LeaseLeases),
    ("/etcdserverpb.Cluster/MemberList", Method::MemberList),
    ("/etcdserverpb.Cluster/MemberAdd", Method::MemberAdd),
    ("/etcdserverpb.Cluster/MemberRemove", Method::MemberRemove),
    ("/etcdserverpb.Cluster/MemberUpdate", Method::MemberUpdate),
    ("/etcdserverpb.Cluster/MemberPromote", Method::MemberPromote),
    ("/etcdserverpb.Maintenance/Alarm", Method::Alarm),
    ("/etcdserverpb.Maintenance/Status", Method::Status),
    ("/etcdserverpb.Maintenance/Defragment", Method::Defragment),
    ("/etcdserverpb.Maintenance/Hash", Method::Hash),
    ("/etcdserverpb.Maintenance/HashKV", Method::HashKv),
    ("/etcdserverpb.Maintenance/Snapshot", Method::Snapshot),
    ("/etcdserverpb.Maintenance/MoveLeader", Method::MoveLeader),
    ("/etcdserverpb.Maintenance/Downgrade", Method::Downgrade),
    ("/etcdserverpb.Auth/AuthStatus", Method::AuthStatus),
    ("/etcdserverpb.Auth/AuthEnable", Method::AuthEnable),
    ("/etcdserverpb.Auth/AuthDisable", Method::AuthDisable),
    ("/etcdserverpb.Auth/Authenticate", Method::Authenticate),
    ("/etcdserverpb.Auth/UserAdd", Method::UserAdd),
    ("/etcdserverpb.Auth/UserGet", Method::UserGet),
    ("/etcdserverpb.Auth/UserList", Method::UserList),
    ("/etcdserverpb.Auth/UserDelete", Method::UserDelete),
    ("/etcdserverpb.Auth/UserChangePassword", Method::UserChangePassword),
    ("/etcdserverpb.Auth/UserGrantRole", Method::UserGrantRole),
    ("/etcdserverpb.Auth/UserRevokeRole", Method::UserRevokeRole),
    ("/etcdserverpb.Auth/RoleAdd", Method::RoleAdd),
    ("/etcdserverpb.Auth/RoleGet", Method::RoleGet),
    ("/etcdserverpb.Auth/RoleList", Method::RoleList),
    ("/etcdserverpb.Auth/RoleDelete", Method::RoleDelete),
    ("/etcdserverpb.Auth/RoleGrantPermission", Method::RoleGrantPermission),
    ("/etcdserverpb.Auth/RoleRevokePermission", Method::RoleRevokePermission),
    ("/grpc.health.v1.Health/Check", Method::Health),
    ("/grpc.health.v1.Health/List", Method::HealthList),
    ("/grpc.health.v1.Health/Watch", Method::HealthWatch),
];

/// What a call asks for.
#[derive(Debug)]
pub(crate) struct Route {
    /// The method, or why the call is refused.
    pub(crate) method: Result<Method, Status>,
    /// Whether the client would rather be refused than wait for a leader.
    pub(crate) needs_leader: bool,
    /// The counters of the method, if there is one of that path, served or not.
    pub(crate) metrics: Option<Rc<MethodMetrics>>,
    /// Counts the calls of clients of the same version, as far as they are counted.
    pub(crate) client_calls: Option<IntCounter>,
}

impl Route {
    /// Reads the headers of a call. `methods` are those of all [`SERVICES`].
    pub(crate) fn read(head: &Head, methods: &[Rc<MethodMetrics>], clients: &ClientVersions) -> Route {
        let path = str::from_utf8(&head.path).unwrap_or_default();
        let version = head.get("client-api-version").map(|version| str::from_utf8(version)).transpose();
        let metrics = methods.iter().find(|metrics| metrics.path == path).cloned();
        let known_version = version.ok().flatten().unwrap_or("unknown");
        let client_calls = metrics.as_ref().map(|m| clients.counter(m.is_stream, known_version));
        let method = match version {
            Ok(_) => find(path).ok_or_else(|| unserved(path)),
            Err(_) => Err(status(&Error::ClientVersion)),
        };
        let needs_leader = version.is_ok() && head.get("hasleader").is_some_and(|value| value == "true");
        Route { method, needs_leader, metrics, client_calls }
    }
}

fn find(path: &str) -> Option<Method> {
    PATHS.iter().find(|(known, _)| *known == path).map(|(_, method)| *method)
}

/// What is said of a method without code: nothing pretends.
fn unserved(path: &str) -> Status {
    let (service, method) = path.strip_prefix('/').and_then(|p| p.split_once('/')).unwrap_or((path, ""));
    Status::unimplemented(match SERVICES.iter().chain(&ABSENT).find(|s| s.name == service) {
        Some(table) if table.methods.iter().any(|m| m.name == method) => {
            format!("{service}/{method} is not supported by this version yet")
        }
        Some(_) => format!("unknown method {method} for service {service}"),
        None => format!("unknown service {service}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_served_is_in_the_tables() {
        let known: Vec<_> = SERVICES.iter().flat_map(|service| service.methods).map(|m| m.path).collect();
        for (path, method) in PATHS {
            assert!(known.contains(&path), "{path} is no method of etcd");
            assert_eq!(find(path), Some(method), "{path} is there once");
        }
    }

    #[test]
    fn a_method_without_code_says_so() {
        let text = |path: &str| unserved(path).message.into_owned();
        assert_eq!(text("/v3lockpb.Lock/Lock"), "v3lockpb.Lock/Lock is not supported by this version yet");
        assert_eq!(text("/etcdserverpb.KV/Nope"), "unknown method Nope for service etcdserverpb.KV");
        assert_eq!(text("/nope.KV/Put"), "unknown service nope.KV");
    }
}
