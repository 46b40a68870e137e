//! A command, as data.

use std::pin::Pin;

use bytes::Bytes;

use super::flag::Flag;
use super::values::Values;
use crate::failure::Failure;

/// A command of the table: its name, its flags and its function.
#[derive(Debug)]
pub(crate) struct Command {
    /// Its usage, which begins with its name.
    pub(crate) usage: &'static str,
    /// One line for the list of commands.
    pub(crate) short: &'static str,
    /// Its long help text; empty if that is the one line.
    pub(crate) long: &'static str,
    /// Examples, indented; empty if there are none.
    pub(crate) examples: &'static str,
    pub(crate) group: Group,
    /// Flags of this command only.
    pub(crate) flags: &'static [Flag],
    /// Flags of this command and of all below it.
    pub(crate) shared_flags: &'static [Flag],
    pub(crate) action: Action,
}

/// The function of a command.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Action {
    /// It has no function, only subcommands.
    Parent(&'static [&'static Command]),
    Run(Run),
    /// It prints the help of another command.
    Help,
    /// etcd's `etcdctl` has it; this version does not yet.
    NotYet,
}

/// A command's function. It returns when everything is printed.
pub(crate) type Run = fn(Call) -> Pin<Box<dyn Future<Output = Result<(), Failure>>>>;

/// The heading under which the help lists a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    KeyValue,
    Maintenance,
    Concurrency,
    Authentication,
    Utility,
    /// It is listed below its parent command.
    None,
}

/// The input of a command.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) flags: Values,
    pub(crate) args: Vec<Bytes>,
    /// How many of the arguments stood before `--`, if that was there.
    pub(crate) dash: Option<usize>,
}

impl Command {
    /// A command without flags or a long help text, in no group.
    pub(crate) const fn new(usage: &'static str, short: &'static str, action: Action) -> Self {
        Command {
            usage,
            short,
            long: "",
            examples: "",
            group: Group::None,
            flags: &[],
            shared_flags: &[],
            action,
        }
    }

    pub(crate) const fn long(mut self, text: &'static str) -> Self {
        self.long = text;
        self
    }

    pub(crate) const fn examples(mut self, text: &'static str) -> Self {
        self.examples = text;
        self
    }

    pub(crate) const fn group(mut self, group: Group) -> Self {
        self.group = group;
        self
    }

    pub(crate) const fn flags(mut self, flags: &'static [Flag]) -> Self {
        self.flags = flags;
        self
    }

    pub(crate) const fn shared_flags(mut self, flags: &'static [Flag]) -> Self {
        self.shared_flags = flags;
        self
    }

    /// Its name.
    pub(crate) fn name(&self) -> &'static str {
        self.usage.split(' ').next().unwrap_or_default()
    }

    /// Its subcommands.
    pub(crate) fn children(&self) -> &'static [&'static Command] {
        match self.action {
            Action::Parent(children) => children,
            Action::Run(_) | Action::Help | Action::NotYet => &[],
        }
    }
}
