//! `etcdctl move-leader`: hands leadership to another member.

use client::{Client, Error};
use proto::etcdserverpb::{MoveLeaderRequest, StatusRequest};

use crate::cli::{Action, Call, Command, Group};
use crate::failure::Failure;
use crate::print::Answer;
use crate::session::Session;
use crate::text::{lossy, parse_member_id};

pub(super) const COMMAND: Command = Command::new(
    "move-leader <transferee-member-id>",
    "Transfers leadership to another etcd cluster member.",
    Action::Run(|call| Box::pin(run(call))),
)
.group(Group::Maintenance);

async fn run(mut call: Call) -> Result<(), Failure> {
    let [target] = &call.args[..] else {
        return Err(Failure::bad_args("move-leader command needs 1 argument"));
    };
    let target = parse_member_id(&lossy(target)).map_err(Failure::bad_args)?;
    let session = Session::new(&mut call.flags)?;
    // All calls share the time for the command.
    match tokio::time::timeout(session.command_timeout(), move_leader(&session, target)).await {
        Ok(result) => result,
        Err(_) => Err(Error::DeadlineExceeded.into()),
    }
}

async fn move_leader(session: &Session, target: u64) -> Result<(), Failure> {
    let Some((leader, id)) = leader(session).await? else {
        let endpoints = session.endpoints().join(" ");
        return Err(Failure::bad_args(format!("no leader endpoint given at [{endpoints}]")));
    };
    let response = leader.move_leader(MoveLeaderRequest { target_id: target }).await?;
    session.print(&Answer::MoveLeader { from: id, to: target, response: &response })
}

/// A client of the first endpoint that is the leader, and the id of that member.
async fn leader(session: &Session) -> Result<Option<(Client, u64)>, Failure> {
    for endpoint in session.endpoints() {
        let client = session.client_of(endpoint)?;
        let status = client.status(StatusRequest {}).await?;
        if status.header.is_some_and(|header| header.member_id == status.leader) {
            return Ok(Some((client, status.leader)));
        }
    }
    Ok(None)
}
