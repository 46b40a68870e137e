//! `etcdctl options`: the flags that any command takes.

use crate::cli::{Action, Command, Group, flag_table};
use crate::session::GLOBAL_FLAGS;

pub(super) const COMMAND: Command = Command::new(
    "options",
    "Show the global command-line flags",
    Action::Run(|_| {
        print!("The following options can be passed to any command:\n\n{}", flag_table(&GLOBAL_FLAGS));
        Box::pin(std::future::ready(Ok(())))
    }),
)
.group(Group::Utility);
