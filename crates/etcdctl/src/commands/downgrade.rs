//! `etcdctl downgrade`: prepares the members for the minor version before.

use bytes::Bytes;
use proto::etcdserverpb::DowngradeRequest;
use proto::etcdserverpb::downgrade_request::DowngradeAction;

use crate::cli::{Action, Call, Command, Group, Values};
use crate::failure::Failure;
use crate::print::Answer;
use crate::session::Session;
use crate::text::lossy;

pub(super) const COMMAND: Command = Command::new(
    "downgrade <TARGET_VERSION>",
    "Downgrade related commands. Use `etcdctl downgrade --help` to see subcommands",
    Action::Parent(&[&VALIDATE, &ENABLE, &CANCEL]),
)
.long("Downgrade related commands")
.group(Group::Maintenance);

const VALIDATE: Command = Command::new(
    "validate <TARGET_VERSION>",
    "Validate downgrade capability before starting downgrade",
    Action::Run(|call| Box::pin(validate(call))),
);
const ENABLE: Command = Command::new(
    "enable <TARGET_VERSION>",
    "Start a downgrade action to cluster",
    Action::Run(|call| Box::pin(enable(call))),
);
const CANCEL: Command = Command::new(
    "cancel",
    "Cancel the ongoing downgrade action to cluster",
    Action::Run(|call| Box::pin(cancel(call))),
);

async fn validate(mut call: Call) -> Result<(), Failure> {
    let version = target(&call.args)?;
    ask(&mut call.flags, "validate", DowngradeAction::Validate, version).await
}

async fn enable(mut call: Call) -> Result<(), Failure> {
    let version = target(&call.args)?;
    ask(&mut call.flags, "enable", DowngradeAction::Enable, version).await
}

/// Arguments are ignored, as etcd's does.
async fn cancel(mut call: Call) -> Result<(), Failure> {
    ask(&mut call.flags, "cancel", DowngradeAction::Cancel, String::new()).await
}

async fn ask(
    flags: &mut Values,
    name: &'static str,
    action: DowngradeAction,
    version: String,
) -> Result<(), Failure> {
    let session = Session::new(flags)?;
    let request = DowngradeRequest { action: action.into(), version };
    let response = session.client()?.downgrade(request).await?;
    session.print(&Answer::Downgrade(name, &response))
}

fn target(args: &[Bytes]) -> Result<String, Failure> {
    match args {
        [] => Err(Failure::bad_args("TARGET_VERSION not provided")),
        [version] if version.is_empty() => Err(Failure::bad_args("target version not provided")),
        [version] => Ok(lossy(version)),
        _ => Err(Failure::bad_args("too many arguments")),
    }
}
