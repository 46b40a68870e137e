//! `etcdctl member`: the members of the cluster.

use proto::etcdserverpb::MemberListRequest;

use super::not_yet;
use crate::cli::{Action, Call, Command, Flag, Group};
use crate::failure::{BAD_FEATURE, Failure};
use crate::print::Answer;
use crate::session::Session;

pub(super) const COMMAND: Command = Command::new(
    "member <subcommand>",
    "Membership related commands. Use `etcdctl member --help` to see subcommands",
    Action::Parent(&[
        &not_yet::MEMBER_ADD,
        &not_yet::MEMBER_REMOVE,
        &not_yet::MEMBER_UPDATE,
        &LIST,
        &not_yet::MEMBER_PROMOTE,
    ]),
)
.long("Membership related commands")
.group(Group::Maintenance);

const LIST: Command = Command::new(
    "list",
    "Lists all members in the cluster",
    Action::Run(|call| Box::pin(run(call))),
)
.long(
    "When --write-out is set to simple, this command prints out comma-separated member lists for each endpoint.
The items in the lists are ID, Status, Name, Peer Addrs, Client Addrs, Is Learner.
",
)
.flags(&[Flag::text("consistency", "l", "Linearizable(l) or Serializable(s)")]);

async fn run(mut call: Call) -> Result<(), Failure> {
    let linearizable = match call.flags.text("consistency") {
        "l" => true,
        "s" => false,
        // etcd's names the default of another command here.
        _ => return Err(Failure::new(BAD_FEATURE, "unknown consistency flag \"l\"")),
    };
    let session = Session::new(&mut call.flags)?;
    let response = session.client()?.member_list(MemberListRequest { linearizable }).await?;
    session.print(&Answer::Members(&response))
}
