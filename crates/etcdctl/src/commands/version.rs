//! `etcdctl version`: the version of etcd whose command line this is.

use crate::cli::{Action, Command, Group};

pub(super) const COMMAND: Command = Command::new(
    "version",
    "Prints the version of etcdctl",
    Action::Run(|_| {
        println!("etcdctl version: 3.7.1\nAPI version: 3.7");
        Box::pin(std::future::ready(Ok(())))
    }),
)
.group(Group::Utility);
