//! `etcdctl lease`: grants, revokes, renews and lists leases.

use bytes::Bytes;
use proto::etcdserverpb::{
    LeaseGrantRequest, LeaseLeasesRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest,
};

use crate::cli::{Action, Call, Command, Flag, Group};
use crate::failure::{ERROR, Failure};
use crate::print::{Answer, Format};
use crate::session::Session;
use crate::text::{lossy, parse_int};

pub(super) const COMMAND: Command = Command::new(
    "lease <subcommand>",
    "Lease related commands. Use `etcdctl lease --help` to see subcommands",
    Action::Parent(&[&GRANT, &REVOKE, &TIME_TO_LIVE, &LIST, &KEEP_ALIVE]),
)
.long("Lease related commands")
.group(Group::KeyValue);

const GRANT: Command =
    Command::new("grant <ttl>", "Creates leases", Action::Run(|call| Box::pin(grant(call))));
const REVOKE: Command =
    Command::new("revoke <leaseID>", "Revokes leases", Action::Run(|call| Box::pin(revoke(call))));
const TIME_TO_LIVE: Command = Command::new(
    "timetolive <leaseID> [options]",
    "Get lease information",
    Action::Run(|call| Box::pin(time_to_live(call))),
)
.flags(&[Flag::bool("keys", "Get keys attached to this lease")]);
const LIST: Command =
    Command::new("list", "List all active leases", Action::Run(|call| Box::pin(list(call))));
const KEEP_ALIVE: Command = Command::new(
    "keep-alive [options] <leaseID>",
    "Keeps leases alive (renew)",
    Action::Run(|call| Box::pin(keep_alive(call))),
)
.flags(&[Flag::bool(
    "once",
    "Resets the keep-alive time to its original value and cobrautl.Exits immediately",
)]);

async fn grant(mut call: Call) -> Result<(), Failure> {
    let ttl = only(&call.args, "lease grant command needs TTL argument")?;
    let ttl = parse_int(&lossy(ttl), 10).map_err(|why| Failure::bad_args(format!("bad TTL ({why})")))?;
    let session = Session::new(&mut call.flags)?;
    let response = session.client()?.lease_grant(LeaseGrantRequest { ttl, id: 0 }).await;
    let failed = |error| Failure::new(ERROR, format!("failed to grant lease ({error})"));
    session.print(&Answer::Grant(&response.map_err(failed)?))
}

async fn revoke(mut call: Call) -> Result<(), Failure> {
    let id = lease_id(&call.args, "lease revoke command needs 1 argument")?;
    let session = Session::new(&mut call.flags)?;
    let response = session.client()?.lease_revoke(LeaseRevokeRequest { id }).await;
    let failed = |error| Failure::new(ERROR, format!("failed to revoke lease ({error})"));
    session.print(&Answer::Revoke(id, &response.map_err(failed)?))
}

async fn time_to_live(mut call: Call) -> Result<(), Failure> {
    let missing = "lease timetolive command needs lease ID as argument";
    let text = only(&call.args, missing)?.clone();
    let with_keys = call.flags.bool("keys");
    let session = Session::new(&mut call.flags)?;
    let request = LeaseTimeToLiveRequest { id: parse_id(&text)?, keys: with_keys };
    let response =
        session.patient_client()?.lease_time_to_live(request).await.map_err(Failure::bad_connection)?;
    session.print(&Answer::TimeToLive { response: &response, with_keys })
}

async fn list(mut call: Call) -> Result<(), Failure> {
    let session = Session::new(&mut call.flags)?;
    let leases = session.patient_client()?.lease_leases(LeaseLeasesRequest {}).await;
    session.print(&Answer::Leases(&leases.map_err(Failure::bad_connection)?))
}

async fn keep_alive(mut call: Call) -> Result<(), Failure> {
    let id = lease_id(&call.args, "lease keep-alive command needs lease ID as argument")?;
    let once = call.flags.bool("once");
    let session = Session::new(&mut call.flags)?;
    let client = session.patient_client()?;
    if once {
        let response = client.keep_alive_once(id).await.map_err(Failure::bad_connection)?;
        return session.print(&Answer::KeepAlive(&response));
    }
    let mut keep_alive = client.keep_alive(id);
    while let Some(response) = keep_alive.next().await {
        session.print(&Answer::KeepAlive(&response))?;
    }
    if session.printer().format() == Format::Simple {
        println!("lease {id:016x} expired or revoked.");
    }
    Ok(())
}

fn only<'a>(args: &'a [Bytes], missing: &str) -> Result<&'a Bytes, Failure> {
    match args {
        [arg] => Ok(arg),
        _ => Err(Failure::bad_args(missing)),
    }
}

fn lease_id(args: &[Bytes], missing: &str) -> Result<i64, Failure> {
    parse_id(only(args, missing)?)
}

fn parse_id(text: &Bytes) -> Result<i64, Failure> {
    parse_int(&lossy(text), 16)
        .map_err(|why| Failure::bad_args(format!("bad lease ID arg ({why}), expecting ID in Hex")))
}
