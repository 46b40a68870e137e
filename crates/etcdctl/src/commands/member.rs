//! `etcdctl member`: the members of the cluster.

use bytes::Bytes;
use proto::etcdserverpb::{
    MemberAddRequest, MemberListRequest, MemberPromoteRequest, MemberRemoveRequest, MemberUpdateRequest,
};

use crate::cli::{Action, Call, Command, Flag, Group, Values};
use crate::failure::{BAD_FEATURE, Failure};
use crate::print::Answer;
use crate::session::Session;
use crate::text::{lossy, parse_member_id};

pub(super) const COMMAND: Command = Command::new(
    "member <subcommand>",
    "Membership related commands. Use `etcdctl member --help` to see subcommands",
    Action::Parent(&[&ADD, &REMOVE, &UPDATE, &LIST, &PROMOTE]),
)
.long("Membership related commands")
.group(Group::Maintenance);

const ADD: Command = Command::new(
    "add <memberName> [options]",
    "Adds a member into the cluster",
    Action::Run(|call| Box::pin(add(call))),
)
.flags(&[
    Flag::text("peer-urls", "", "comma separated peer URLs for the new member."),
    Flag::bool("learner", "indicates if the new member is raft learner"),
]);
const REMOVE: Command = Command::new(
    "remove <memberID>",
    "Removes a member from the cluster",
    Action::Run(|call| Box::pin(remove(call))),
);
const UPDATE: Command = Command::new(
    "update <memberID> [options]",
    "Updates a member in the cluster",
    Action::Run(|call| Box::pin(update(call))),
)
.flags(&[Flag::text("peer-urls", "", "comma separated peer URLs for the updated member.")]);
const LIST: Command = Command::new(
    "list",
    "Lists all members in the cluster",
    Action::Run(|call| Box::pin(list(call))),
)
.long(
    "When --write-out is set to simple, this command prints out comma-separated member lists for each endpoint.
The items in the lists are ID, Status, Name, Peer Addrs, Client Addrs, Is Learner.
",
)
.flags(&[Flag::text("consistency", "l", "Linearizable(l) or Serializable(s)")]);
const PROMOTE: Command = Command::new(
    "promote <memberID>",
    "Promotes a non-voting member in the cluster",
    Action::Run(|call| Box::pin(promote(call))),
)
.long("Promotes a non-voting learner member to a voting one in the cluster.\n");

async fn add(mut call: Call) -> Result<(), Failure> {
    let name = match &call.args[..] {
        [] => return Err(Failure::bad_args("member name not provided")),
        [name] => lossy(name),
        args => return Err(Failure::bad_args(too_many(args))),
    };
    let peer_urls = peer_urls(&call.flags)?;
    let session = Session::new(&mut call.flags)?;
    let request = MemberAddRequest { peer_ur_ls: split(&peer_urls), is_learner: call.flags.bool("learner") };
    let response = session.client()?.member_add(request).await?;
    session.print(&Answer::MemberAdd { response: &response, name: &name, peer_urls: &peer_urls })
}

async fn remove(mut call: Call) -> Result<(), Failure> {
    let id = member_id(&call.args)?;
    let session = Session::new(&mut call.flags)?;
    let response = session.client()?.member_remove(MemberRemoveRequest { id }).await?;
    session.print(&Answer::MemberRemove(id, &response))
}

async fn update(mut call: Call) -> Result<(), Failure> {
    let id = member_id(&call.args)?;
    let peer_ur_ls = split(&peer_urls(&call.flags)?);
    let session = Session::new(&mut call.flags)?;
    let response = session.client()?.member_update(MemberUpdateRequest { id, peer_ur_ls }).await?;
    session.print(&Answer::MemberUpdate(id, &response))
}

async fn list(mut call: Call) -> Result<(), Failure> {
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

async fn promote(mut call: Call) -> Result<(), Failure> {
    let id = member_id(&call.args)?;
    let session = Session::new(&mut call.flags)?;
    let response = session.client()?.member_promote(MemberPromoteRequest { id }).await?;
    session.print(&Answer::MemberPromote(id, &response))
}

/// The only argument, as the id of a member.
fn member_id(args: &[Bytes]) -> Result<u64, Failure> {
    let [id] = args else { return Err(Failure::bad_args("member ID is not provided")) };
    parse_member_id(&lossy(id))
        .map_err(|why| Failure::bad_args(format!("bad member ID arg ({why}), expecting ID in Hex")))
}

fn peer_urls(flags: &Values) -> Result<String, Failure> {
    match flags.text("peer-urls") {
        "" => Err(Failure::bad_args("member peer urls not provided")),
        urls => Ok(urls.to_owned()),
    }
}

fn split(urls: &str) -> Vec<String> {
    urls.split(',').map(str::to_owned).collect()
}

/// A URL among the arguments was probably meant for the flag.
fn too_many(args: &[Bytes]) -> String {
    let args = args.iter().map(lossy);
    let urls = args.filter(|arg| arg.to_lowercase().starts_with("http"));
    urls.fold("too many arguments".to_owned(), |text, url| text + ", did you mean --peer-urls=" + &url)
}
