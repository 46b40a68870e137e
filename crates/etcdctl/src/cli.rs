//! The command line: finds the command that its words name, reads the flags, and runs the command.
//!
//! Commands and flags are data. Finding, reading and help follow the library of etcd's `etcdctl` (cobra):
//! flags and arguments may be mixed, a command may be abbreviated while it stays unambiguous, and the last of
//! several equal flags counts.

mod command;
mod find;
mod flag;
mod help;
mod values;

use bytes::Bytes;

pub(crate) use command::{Action, Call, Command, Group};
pub(crate) use find::find;
pub(crate) use flag::Flag;
pub(crate) use help::{flag_table, usage};
pub(crate) use values::{Invalid, Values};

use crate::failure::{ERROR, Failure};
use crate::text::{lossy, quote};

/// Runs the command that `args` name, below `root`.
pub(crate) async fn run(root: &'static Command, args: Vec<Bytes>) -> Result<(), Failure> {
    let found = find(root, args);
    let path = &found.path;
    let command = found.command();
    if let ([_], Some(word)) = (path.as_slice(), &found.stray) {
        return Err(unknown_command(root, &lossy(word)));
    }
    if let Action::NotYet = command.action {
        let names: Vec<_> = path.iter().map(|command| command.name()).collect();
        let message = format!("{} is not supported by this version yet", names.join(" "));
        return Err(Failure::new(ERROR, message));
    }
    let mut flags = Values::defaults(path);
    let positional = match flags.read(found.args) {
        Ok(positional) => positional,
        Err(Invalid::Help) => {
            print!("{}", help::help(path));
            return Ok(());
        }
        Err(Invalid::Flag(message)) => {
            return Err(Failure::verbatim(format!("Error: {message}\n{}\n", usage(path))));
        }
    };
    match command.action {
        Action::Run(run) => run(Call { flags, args: positional.args, dash: positional.dash }).await,
        Action::Help => {
            explain(root, positional.args);
            Ok(())
        }
        Action::Parent(_) | Action::NotYet => {
            print!("{}", help::help(path));
            Ok(())
        }
    }
}

/// Prints the help of the command that `words` name.
fn explain(root: &'static Command, words: Vec<Bytes>) {
    let topic = quoted_with_backquotes(&words);
    let found = find(root, words);
    match (found.path.as_slice(), &found.stray) {
        ([_], Some(_)) => eprint!("Unknown help topic [{topic}]\n{}", usage(&found.path)),
        (path, _) => print!("{}", help::help(path)),
    }
}

fn quoted_with_backquotes(words: &[Bytes]) -> String {
    words.iter().map(|word| format!("`{}`", lossy(word))).collect::<Vec<_>>().join(" ")
}

fn unknown_command(root: &Command, word: &str) -> Failure {
    let name = root.name();
    let mut message = format!("Error: unknown command {} for {}\n", quote(word), quote(name));
    let similar = find::similar(root, word);
    if !similar.is_empty() {
        message += &format!("\nDid you mean this?\n\t{}\n\n", similar.join("\n\t"));
    }
    Failure::verbatim(message + &format!("Run '{name} --help' for usage.\n"))
}
