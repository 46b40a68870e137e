//! Help and usage texts, made from the tables.

use super::command::{Action, Command, Group};
use super::flag::Flag;
use super::values::HELP;

const GROUPS: [(Group, &str); 5] = [
    (Group::KeyValue, "Key-value commands"),
    (Group::Maintenance, "Cluster maintenance commands"),
    (Group::Concurrency, "Concurrency commands"),
    (Group::Authentication, "Authentication commands"),
    (Group::Utility, "Utility commands"),
];

/// The least width of the column of names.
const NAMES_WIDTH: usize = 11;

/// The help of the last command of `path`.
pub(crate) fn help(path: &[&'static Command]) -> String {
    let command = path.last().expect("a path begins with the root");
    let about = if command.long.is_empty() { command.short } else { command.long };
    let root = path[0].name();
    format!(
        "{}\n\n{}Use \"{root} options\" for a list of global command-line options (applies to all commands).\n",
        about.trim_end(),
        usage(path)
    )
}

/// The usage of the last command of `path`.
pub(crate) fn usage(path: &[&'static Command]) -> String {
    let (command, above) = path.split_last().expect("a path begins with the root");
    let names: Vec<_> = path.iter().map(|command| command.name()).collect();
    let full_name = names.join(" ");
    let mut text = "Usage:\n".to_owned();
    if matches!(command.action, Action::Parent(_)) {
        text += &format!("  {full_name} [command]\n");
    } else {
        text += &format!("  {} [flags]\n", [&names[..above.len()], &[command.usage]].concat().join(" "));
    }
    if !command.examples.is_empty() {
        text += &format!("\nExamples:\n{}", command.examples);
    }
    text += &commands(command.children());
    // The flags of the root are left out everywhere: `options` lists them.
    if let Some(above) = above.split_first().map(|(_, above)| above) {
        let mut own: Vec<_> = command.flags.iter().chain(command.shared_flags).map(Row::from).collect();
        own.push(Row { right: format!("help for {}", command.name()), ..Row::from(&HELP) });
        text += &format!("\nFlags:\n{}", table(own));
        let inherited: Vec<_> = above.iter().flat_map(|command| command.shared_flags).collect();
        if !inherited.is_empty() {
            text += &format!("\nGlobal Flags:\n{}", flag_table(inherited));
        }
    }
    if !command.children().is_empty() {
        text += &format!("\nUse \"{full_name} [command] --help\" for more information about a command.\n");
    }
    text
}

/// The commands, sorted by name under the headings of their groups.
fn commands(commands: &[&'static Command]) -> String {
    let mut sorted = commands.to_vec();
    sorted.sort_by_key(|command| command.name());
    let width = sorted.iter().map(|command| command.name().len()).max().unwrap_or(0).max(NAMES_WIDTH);
    let headings = GROUPS.into_iter().chain([(Group::None, "Available Commands:")]);
    let mut text = String::new();
    for (group, heading) in headings {
        let of_group: Vec<_> = sorted.iter().filter(|command| command.group == group).collect();
        if !of_group.is_empty() {
            text += &format!("\n{heading}\n");
        }
        for command in of_group {
            text += &format!("  {:width$} {}\n", command.name(), command.short);
        }
    }
    text
}

/// The flags, sorted by name, with their descriptions.
pub(crate) fn flag_table<'a>(flags: impl IntoIterator<Item = &'a Flag>) -> String {
    table(flags.into_iter().map(Row::from).collect())
}

/// A line about a flag.
struct Row {
    name: &'static str,
    left: String,
    right: String,
}

impl From<&Flag> for Row {
    fn from(flag: &Flag) -> Self {
        let short = flag.short.map_or("    ".to_owned(), |letter| format!("-{letter}, "));
        let left = format!("  {short}--{} {}", flag.name, flag.type_name()).trim_end().to_owned();
        let right = match flag.shown_default() {
            Some(default) => format!("{} (default {default})", flag.help),
            None => flag.help.to_owned(),
        };
        Row { name: flag.name, left, right }
    }
}

fn table(mut rows: Vec<Row>) -> String {
    rows.sort_by_key(|row| row.name);
    let width = rows.iter().map(|row| row.left.len()).max().unwrap_or(0);
    rows.iter().map(|Row { left, right, .. }| format!("{left:width$}   {right}\n")).collect()
}
