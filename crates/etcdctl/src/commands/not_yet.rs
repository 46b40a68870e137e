//! Commands of etcd that this version does not support yet. They are known by name, so that the help is
//! complete and a script gets a clear error.

use crate::cli::{Action, Command, Group};

const fn not_yet(name: &'static str, short: &'static str, group: Group) -> Command {
    Command::new(name, short, Action::NotYet).group(group)
}

pub(super) const MAKE_MIRROR: Command =
    not_yet("make-mirror", "Makes a mirror at the destination etcd cluster", Group::Utility);
pub(super) const LOCK: Command = not_yet("lock", "Acquires a named lock", Group::Concurrency);
pub(super) const ELECT: Command =
    not_yet("elect", "Observes and participates in leader election", Group::Concurrency);
pub(super) const AUTH: Command = not_yet(
    "auth",
    "Enable or disable authentication. Use `etcdctl auth --help` to see subcommands",
    Group::Authentication,
);
pub(super) const USER: Command = not_yet(
    "user",
    "User related commands. Use `etcdctl user --help` to see subcommands",
    Group::Authentication,
);
pub(super) const ROLE: Command = not_yet(
    "role",
    "Role related commands. Use `etcdctl role --help` to see subcommands",
    Group::Authentication,
);
pub(super) const COMPLETION: Command = not_yet("completion", "Generate completion script", Group::Utility);
