//! `etcdctl endpoint`: asks each endpoint separately.

use std::time::Instant;

use client::{Client, Code, Error};
use proto::etcdserverpb::{
    AlarmMember, AlarmType, HashKvRequest, MemberListRequest, RangeRequest, StatusRequest,
};
use tokio::task::JoinSet;

use super::alarm;
use crate::cli::{Action, Call, Command, Flag, Group, Values};
use crate::failure::{ERROR, Failure};
use crate::print::{Answer, Health};
use crate::session::Session;
use crate::text::format_duration;

pub(super) const COMMAND: Command = Command::new(
    "endpoint <subcommand>",
    "Endpoint related commands. Use `etcdctl endpoint --help` to see subcommands",
    Action::Parent(&[&HEALTH, &STATUS, &HASH_KV]),
)
.long("Endpoint related commands")
.group(Group::Maintenance)
.shared_flags(&[CLUSTER]);

/// The flag that asks for all endpoints that the members advertise.
pub(super) const CLUSTER: Flag = Flag::bool("cluster", "use all endpoints from the cluster member list");

const HEALTH: Command = Command::new(
    "health",
    "Checks the healthiness of endpoints specified in `--endpoints` flag",
    Action::Run(|call| Box::pin(health(call))),
);
const STATUS: Command = Command::new(
    "status",
    "Prints out the status of endpoints specified in `--endpoints` flag",
    Action::Run(|call| Box::pin(status(call))),
)
.long(
    "When --write-out is set to simple, this command prints out comma-separated status lists for each endpoint.
The items in the lists are endpoint, ID, version, db size, is leader, is learner, raft term, raft index, \
     raft applied index, errors.
",
);
const HASH_KV: Command = Command::new(
    "hashkv",
    "Prints the KV history hash for each endpoint in --endpoints",
    Action::Run(|call| Box::pin(hash_kv(call))),
)
.flags(&[Flag::int("rev", "maximum revision to hash (default: latest revision)")]);

async fn health(mut call: Call) -> Result<(), Failure> {
    let session = Session::new(&mut call.flags)?;
    let mut checks = JoinSet::new();
    for endpoint in endpoints(&session, &call.flags).await? {
        checks.spawn(check(session.client_of(&endpoint)?, endpoint));
    }
    // In the order in which they answer.
    let mut list = Vec::new();
    while let Some(health) = checks.join_next().await {
        list.push(health.expect("a check does not panic"));
    }
    session.print(&Answer::Health(&list))?;
    if list.iter().all(|health| health.error.is_empty()) {
        Ok(())
    } else {
        Err(Failure::new(ERROR, "unhealthy cluster"))
    }
}

/// An endpoint is healthy if it serves a linearizable read and reports no alarm.
async fn check(client: Client, endpoint: String) -> Health {
    let start = Instant::now();
    let result = client.range(RangeRequest { key: "health".into(), ..RangeRequest::default() }).await;
    let took = format_duration(start.elapsed());
    let error = match result {
        // `permission denied` is an answer of a quorum too.
        Ok(_) | Err(Error::Refused { code: Code::PermissionDenied, .. }) => alarms(&client).await,
        Err(error) => error.to_string(),
    };
    Health { endpoint, is_healthy: error.is_empty(), took, error }
}

async fn alarms(client: &Client) -> String {
    let Ok(response) = alarm::list(client).await else { return "Unable to fetch the alarm list".to_owned() };
    if response.alarms.is_empty() {
        return String::new();
    }
    let name = |alarm: &AlarmMember| match AlarmType::try_from(alarm.alarm) {
        Ok(AlarmType::Nospace) => "NOSPACE ",
        Ok(AlarmType::Corrupt) => "CORRUPT ",
        Ok(AlarmType::None) | Err(_) => "UNKNOWN ",
    };
    format!("Active Alarm(s): {}", response.alarms.iter().map(name).collect::<String>())
}

async fn status(mut call: Call) -> Result<(), Failure> {
    let session = Session::new(&mut call.flags)?;
    let mut list = Vec::new();
    let mut failures = 0;
    for endpoint in endpoints(&session, &call.flags).await? {
        match session.client_of(&endpoint)?.status(StatusRequest {}).await {
            Ok(response) => list.push((endpoint, response)),
            Err(error) => {
                eprintln!("Failed to get the status of endpoint {endpoint} ({error})");
                failures += 1;
            }
        }
    }
    session.print(&Answer::Status(&list))?;
    if failures == 0 { Ok(()) } else { Err(Failure::told()) }
}

async fn hash_kv(mut call: Call) -> Result<(), Failure> {
    let session = Session::new(&mut call.flags)?;
    let revision = call.flags.int("rev");
    let mut list = Vec::new();
    let mut last_error = None;
    for endpoint in endpoints(&session, &call.flags).await? {
        match session.client_of(&endpoint)?.hash_kv(HashKvRequest { revision }).await {
            Ok(response) => list.push((endpoint, response)),
            Err(error) => {
                eprintln!("Failed to get the hash of endpoint {endpoint} ({error})");
                last_error = Some(error);
            }
        }
    }
    session.print(&Answer::HashKv(&list))?;
    last_error.map_or(Ok(()), |error| Err(error.into()))
}

/// The endpoints that are asked separately: those of the flag, or with `--cluster` those of all members.
pub(super) async fn endpoints(session: &Session, flags: &Values) -> Result<Vec<String>, Failure> {
    if !flags.bool("cluster") {
        return Ok(flags.list("endpoints").to_vec());
    }
    let members = session.client()?.member_list(MemberListRequest { linearizable: true }).await;
    let failed = |error| format!("failed to fetch endpoints from etcd cluster member list: {error}");
    let members = members.map_err(|error| Failure::new(ERROR, failed(error)))?.members;
    Ok(members.into_iter().flat_map(|member| member.client_ur_ls).collect())
}
