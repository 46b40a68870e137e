//! `etcdctl alarm`: lists and clears alarms.

use client::{Client, Error};
use proto::etcdserverpb::alarm_request::AlarmAction;
use proto::etcdserverpb::{AlarmMember, AlarmRequest, AlarmResponse};

use crate::cli::{Action, Call, Command, Group};
use crate::failure::Failure;
use crate::print::Answer;
use crate::session::Session;

pub(super) const COMMAND: Command = Command::new(
    "alarm <subcommand>",
    "Alarm related commands. Use `etcdctl alarm --help` to see subcommands",
    Action::Parent(&[&DISARM, &LIST]),
)
.long("Alarm related commands")
.group(Group::Maintenance);

const DISARM: Command =
    Command::new("disarm", "Disarms all alarms", Action::Run(|call| Box::pin(run_disarm(call))));
const LIST: Command = Command::new("list", "Lists all alarms", Action::Run(|call| Box::pin(run_list(call))));

async fn run_list(mut call: Call) -> Result<(), Failure> {
    if !call.args.is_empty() {
        return Err(Failure::bad_args("alarm list command accepts no arguments"));
    }
    let session = Session::new(&mut call.flags)?;
    session.print(&Answer::Alarms(&list(&session.client()?).await?))
}

async fn run_disarm(mut call: Call) -> Result<(), Failure> {
    if !call.args.is_empty() {
        return Err(Failure::bad_args("alarm disarm command accepts no arguments"));
    }
    let session = Session::new(&mut call.flags)?;
    let client = session.client()?;
    let mut disarmed = AlarmResponse::default();
    for alarm in list(&client).await?.alarms {
        let response = ask(&client, AlarmAction::Deactivate, &alarm).await?;
        disarmed.alarms.extend(response.alarms);
    }
    session.print(&Answer::Alarms(&disarmed))
}

/// All alarms that are raised.
pub(super) async fn list(client: &Client) -> Result<AlarmResponse, Error> {
    ask(client, AlarmAction::Get, &AlarmMember::default()).await
}

async fn ask(client: &Client, action: AlarmAction, about: &AlarmMember) -> Result<AlarmResponse, Error> {
    let AlarmMember { member_id, alarm } = *about;
    client.alarm(AlarmRequest { action: action.into(), member_id, alarm }).await
}
