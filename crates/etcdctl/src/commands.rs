//! The table of commands. Each command has a file with its name, its flags and its function.

mod alarm;
mod check;
mod compaction;
mod compare;
mod defrag;
mod del;
mod downgrade;
mod endpoint;
mod get;
mod key_range;
mod lease;
mod member;
mod move_leader;
mod not_yet;
mod options;
mod put;
mod snapshot;
mod txn;
mod version;
mod watch;
mod words;

use crate::cli::{Action, Command, Group};
use crate::session::GLOBAL_FLAGS;

/// The program itself. Its commands are in etcd's order; suggestions for a mistyped command come in the same
/// order.
pub(crate) const ROOT: Command = Command::new(
    "etcdctl",
    "A simple command line client for etcd3.",
    Action::Parent(&[
        &get::COMMAND,
        &put::COMMAND,
        &del::COMMAND,
        &txn::COMMAND,
        &compaction::COMMAND,
        &alarm::COMMAND,
        &defrag::COMMAND,
        &endpoint::COMMAND,
        &move_leader::COMMAND,
        &watch::COMMAND,
        &version::COMMAND,
        &lease::COMMAND,
        &member::COMMAND,
        &snapshot::COMMAND,
        &not_yet::MAKE_MIRROR,
        &not_yet::LOCK,
        &not_yet::ELECT,
        &not_yet::AUTH,
        &not_yet::USER,
        &not_yet::ROLE,
        &check::COMMAND,
        &not_yet::COMPLETION,
        &downgrade::COMMAND,
        &options::COMMAND,
        &HELP,
    ]),
)
.shared_flags(&GLOBAL_FLAGS);

const HELP: Command = Command::new("help [command]", "Help about any command", Action::Help)
    .long(
        "Help provides help for any command in the application.\n\
         Simply type etcdctl help [path to command] for full details.",
    )
    .group(Group::Utility);
