//! Finds the command that a command line names.

use bytes::Bytes;

use super::command::Command;
use super::flag::{Flag, Kind};

/// A word within this many edits of a command's name counts as a typing error.
const EDITS_MAX: usize = 2;

/// The command, and the words that are left for it.
#[derive(Debug)]
pub(crate) struct Found {
    /// The commands from the root down to it.
    pub(crate) path: Vec<&'static Command>,
    /// All words but the names of commands.
    pub(crate) args: Vec<Bytes>,
    /// A word in the place of a subcommand's name that names none.
    pub(crate) stray: Option<Bytes>,
}

impl Found {
    /// The command itself.
    pub(crate) fn command(&self) -> &'static Command {
        self.path.last().expect("a path begins with the root")
    }
}

/// Follows the words down from `root`.
pub(crate) fn find(root: &'static Command, mut args: Vec<Bytes>) -> Found {
    let mut path = vec![root];
    loop {
        let Some(at) = first_word(&args, &path) else { return Found { path, args, stray: None } };
        let parent = path.last().expect("a path begins with the root");
        let Some(child) = child(parent, &args[at]) else {
            let stray = (!parent.children().is_empty()).then(|| args[at].clone());
            return Found { path, args, stray };
        };
        args.remove(at);
        path.push(child);
    }
}

/// The position of the first word that is neither a flag nor the value of one. An unknown flag is assumed to
/// have a value, since it may belong to a subcommand.
fn first_word(args: &[Bytes], path: &[&Command]) -> Option<usize> {
    let mut at = 0;
    while at < args.len() {
        match &args[at][..] {
            b"--" => return None,
            [b'-', b'-', name @ ..] if !name.contains(&b'=') => {
                at += usize::from(takes_value(path, |flag| flag.name.as_bytes() == name));
            }
            [b'-', letter] => {
                let letter = char::from(*letter);
                at += usize::from(takes_value(path, |flag| flag.short == Some(letter)));
            }
            [] | [b'-', ..] => {}
            _ => return Some(at),
        }
        at += 1;
    }
    None
}

fn takes_value(path: &[&Command], is_meant: impl Fn(&Flag) -> bool) -> bool {
    let own = path.last().expect("a path begins with the root").flags;
    let mut known = own.iter().chain(path.iter().flat_map(|command| command.shared_flags));
    let is_switch = |flag: &Flag| flag.kind == Kind::Bool;
    !known.any(|flag| is_meant(flag) && is_switch(flag)) && !is_meant(&super::values::HELP)
}

/// The command of that name, or the only one whose name begins with it.
fn child(parent: &Command, word: &[u8]) -> Option<&'static Command> {
    let children = parent.children();
    let exact = children.iter().find(|child| child.name().as_bytes() == word);
    let mut longer = children.iter().filter(|child| child.name().as_bytes().starts_with(word));
    let only = longer.next().filter(|_| longer.next().is_none());
    exact.or(only).copied()
}

/// The names of commands below `parent` that may have been meant by `word`.
pub(crate) fn similar(parent: &Command, word: &str) -> Vec<&'static str> {
    let word = word.to_lowercase();
    let is_similar = |name: &&str| name.starts_with(&word) || edits(name, &word) <= EDITS_MAX;
    parent.children().iter().map(|child| child.name()).filter(is_similar).collect()
}

/// How many letters must be added, dropped or replaced to make one word of the other.
fn edits(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, from) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::ROOT;

    fn found(line: &str) -> (String, String) {
        let found =
            find(&ROOT, line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect());
        let names: Vec<_> = found.path.iter().map(|command| command.name()).collect();
        let args: Vec<_> = found.args.iter().map(|arg| String::from_utf8_lossy(arg)).collect();
        (names.join(" "), args.join(" "))
    }

    #[test]
    fn flags_may_stand_before_the_command() {
        assert_eq!(found("-w json mem li --hex"), ("etcdctl member list".into(), "-w json --hex".into()));
        assert_eq!(found("--consistency s get k"), ("etcdctl get".into(), "--consistency s k".into()));
        assert_eq!(found("--hex get k"), ("etcdctl get".into(), "--hex k".into()));
    }

    #[test]
    fn a_name_may_be_cut_short_while_it_is_the_only_one() {
        assert_eq!(found("compact 3").0, "etcdctl compaction");
        assert_eq!(found("l").0, "etcdctl");
    }

    #[test]
    fn nothing_is_looked_for_behind_two_dashes() {
        assert_eq!(found("-- get k"), ("etcdctl".into(), "-- get k".into()));
    }

    #[test]
    fn a_slip_of_the_hand_is_recognised() {
        assert_eq!(similar(&ROOT, "putt"), ["put", "auth"]);
        assert_eq!(similar(&ROOT, "l"), ["del", "lease", "lock"]);
        assert_eq!(similar(&ROOT, "e"), ["get", "del", "endpoint", "elect"]);
    }
}
