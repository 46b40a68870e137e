//! The values of a command's flags, as given on the command line, in the environment or not at all.

use std::time::Duration;

use bytes::Bytes;

use super::command::Command;
use super::flag::{Flag, Kind, Value};
use crate::text::{lossy, quote};

/// The flag that each command has.
pub(crate) const HELP: Flag = Flag::bool("help", "").short('h');

/// All flags that a command knows, each with its value.
#[derive(Debug)]
pub(crate) struct Values(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    flag: &'static Flag,
    value: Value,
    is_changed: bool,
    /// It belongs to a parent command.
    is_inherited: bool,
}

/// The arguments that are no flags.
#[derive(Debug)]
pub(crate) struct Positional {
    pub(crate) args: Vec<Bytes>,
    /// How many of them stood before `--`, if that was there.
    pub(crate) dash: Option<usize>,
}

/// Why flags could not be read.
#[derive(Debug)]
pub(crate) enum Invalid {
    /// They could be read, but ask for help only.
    Help,
    Flag(String),
}

impl Values {
    /// The flags of the last command of `path`, none of them given.
    pub(crate) fn defaults(path: &[&'static Command]) -> Self {
        let (command, above) = path.split_last().expect("a path begins with the root");
        let own = command.flags.iter().chain(command.shared_flags).map(|flag| (flag, false));
        let inherited = above.iter().flat_map(|command| command.shared_flags).map(|flag| (flag, true));
        let entry = |(flag, is_inherited): (&'static Flag, bool)| {
            let value = flag.parse(flag.default).expect("the table is right");
            Entry { flag, value, is_changed: false, is_inherited }
        };
        Values(own.chain(inherited).map(entry).collect())
    }

    /// Takes the flags out of `args`.
    pub(crate) fn read(&mut self, args: Vec<Bytes>) -> Result<Positional, Invalid> {
        let mut positional = Positional { args: Vec::new(), dash: None };
        let mut wants_help = false;
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            match &arg[..] {
                b"--" => {
                    positional.dash = Some(positional.args.len());
                    positional.args.extend(args.by_ref());
                }
                [b'-', b'-', name @ ..] => wants_help |= self.read_long(&lossy(name), &mut args)?,
                [b'-', letters @ ..] if !letters.is_empty() => {
                    wants_help |= self.read_short(&lossy(letters), &mut args)?;
                }
                _ => positional.args.push(arg),
            }
        }
        if wants_help { Err(Invalid::Help) } else { Ok(positional) }
    }

    /// Reads `--name=value`, or `--name` and the value from `more`; returns whether it was the flag for help.
    fn read_long(&mut self, text: &str, more: &mut impl Iterator<Item = Bytes>) -> Result<bool, Invalid> {
        if text.starts_with(['-', '=']) {
            return Err(Invalid::Flag(format!("bad flag syntax: --{text}")));
        }
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        let Some(entry) = self.0.iter_mut().find(|entry| entry.flag.name == name) else {
            if name == HELP.name {
                return Ok(true);
            }
            return Err(Invalid::Flag(format!("unknown flag: --{name}")));
        };
        let value = value.or_else(|| entry.value_or_next(more));
        let value = value.ok_or_else(|| Invalid::Flag(format!("flag needs an argument: --{name}")))?;
        entry.give(&value).map(|()| false)
    }

    /// Reads letters of flags; the value of the last may follow at once, after `=`, or come from `more`.
    fn read_short(&mut self, letters: &str, more: &mut impl Iterator<Item = Bytes>) -> Result<bool, Invalid> {
        let mut rest = letters.chars();
        while let Some(letter) = rest.next() {
            let shown = format!("{} in -{letter}{}", quote_letter(letter), rest.as_str());
            let Some(entry) = self.0.iter_mut().find(|entry| entry.flag.short == Some(letter)) else {
                if Some(letter) == HELP.short {
                    return Ok(true);
                }
                return Err(Invalid::Flag(format!("unknown shorthand flag: {shown}")));
            };
            let value = match rest.as_str() {
                text if text.len() > 1 && text.starts_with('=') => Some(text[1..].to_owned()),
                _ if entry.flag.kind == Kind::Bool => {
                    entry.give("true")?;
                    continue;
                }
                "" => entry.value_or_next(more),
                text => Some(text.to_owned()),
            };
            let value = value.ok_or_else(|| Invalid::Flag(format!("flag needs an argument: {shown}")))?;
            entry.give(&value)?;
            break;
        }
        Ok(false)
    }

    /// Sets the flag `name` to `text` from the environment. A value that cannot be parsed changes nothing.
    pub(crate) fn take_from_env(&mut self, name: &str, text: &str) {
        if let Some(entry) = self.0.iter_mut().find(|entry| entry.flag.name == name) {
            // etcd's client ignores such values too.
            let _ = entry.give(text);
        }
    }

    /// The names of the flags that may come from the environment, and whether each was given already.
    pub(crate) fn inherited(&self) -> impl Iterator<Item = (&'static str, bool)> {
        let inherited = self.0.iter().filter(|entry| entry.is_inherited);
        inherited.map(|entry| (entry.flag.name, entry.is_changed))
    }

    pub(crate) fn is_changed(&self, name: &str) -> bool {
        self.entry(name).is_changed
    }

    /// Whether the flag has another value than its default.
    pub(crate) fn is_given(&self, name: &str) -> bool {
        match &self.entry(name).value {
            Value::Text(text) => text != self.entry(name).flag.default,
            Value::Bool(value) => value.to_string() != self.entry(name).flag.default,
            Value::Int(_) | Value::Duration(_) | Value::List(_) => self.is_changed(name),
        }
    }

    pub(crate) fn bool(&self, name: &str) -> bool {
        matches!(self.entry(name).value, Value::Bool(true))
    }

    pub(crate) fn int(&self, name: &str) -> i64 {
        let Value::Int(value) = self.entry(name).value else { unreachable!("--{name} is a number") };
        value
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        let Value::Text(value) = &self.entry(name).value else { unreachable!("--{name} is a text") };
        value
    }

    pub(crate) fn duration(&self, name: &str) -> Duration {
        let Value::Duration(value) = self.entry(name).value else { unreachable!("--{name} is a time") };
        value
    }

    pub(crate) fn list(&self, name: &str) -> &[String] {
        let Value::List(value) = &self.entry(name).value else { unreachable!("--{name} is a list") };
        value
    }

    fn entry(&self, name: &str) -> &Entry {
        let mut entries = self.0.iter();
        entries.find(|entry| entry.flag.name == name).expect("a command asks for flags it declares")
    }
}

impl Entry {
    /// The value of a flag without `=`: true for a switch, otherwise the next word.
    fn value_or_next(&self, more: &mut impl Iterator<Item = Bytes>) -> Option<String> {
        if self.flag.kind == Kind::Bool { Some("true".to_owned()) } else { more.next().map(lossy) }
    }

    fn give(&mut self, text: &str) -> Result<(), Invalid> {
        let value = self.flag.parse(text).map_err(|why| {
            let name = match self.flag.short {
                Some(letter) => format!("-{letter}, --{}", self.flag.name),
                None => format!("--{}", self.flag.name),
            };
            Invalid::Flag(format!("invalid argument {} for {} flag: {why}", quote(text), quote(name)))
        })?;
        match (&mut self.value, value) {
            (Value::List(all), Value::List(more)) if self.is_changed => all.extend(more),
            (own, value) => *own = value,
        }
        self.is_changed = true;
        Ok(())
    }
}

fn quote_letter(letter: char) -> String {
    format!("'{letter}'")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::ROOT;

    /// Reads a line as flags and arguments of `get`.
    fn read(line: &str) -> (Values, Result<Positional, Invalid>) {
        let get = ROOT.children()[0];
        let mut values = Values::defaults(&[&ROOT, get]);
        let args = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        let positional = values.read(args);
        (values, positional)
    }

    fn refusal(line: &str) -> String {
        match read(line).1 {
            Err(Invalid::Flag(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_and_arguments_may_be_mixed() {
        let (values, positional) = read("a --limit 3 b -wjson --prefix --rev=0x10 - -- --hex");
        let positional = positional.unwrap();
        assert_eq!(positional.args, ["a", "b", "-", "--hex"]);
        assert_eq!(positional.dash, Some(3));
        assert_eq!((values.int("limit"), values.int("rev"), values.text("write-out")), (3, 16, "json"));
        assert!(values.bool("prefix") && !values.bool("hex"));
    }

    #[test]
    fn the_last_of_several_counts_but_lists_grow() {
        let (values, _) = read("-w json -w=fields --hex=true --hex=f --endpoints a,b --endpoints c");
        assert_eq!((values.text("write-out"), values.bool("hex")), ("fields", false));
        assert_eq!(values.list("endpoints"), ["a", "b", "c"]);
    }

    #[test]
    fn help_is_given_when_the_flags_are_right() {
        assert!(matches!(read("-h a").1, Err(Invalid::Help)));
        assert_eq!(refusal("-h --foo"), "unknown flag: --foo");
    }

    #[test]
    fn what_is_wrong_is_said_as_etcd_says_it() {
        assert_eq!(refusal("--limit"), "flag needs an argument: --limit");
        assert_eq!(refusal("-w"), "flag needs an argument: 'w' in -w");
        assert_eq!(refusal("-zw"), "unknown shorthand flag: 'z' in -zw");
        assert_eq!(refusal("---x"), "bad flag syntax: ---x");
        let number =
            r#"invalid argument "x" for "--limit" flag: strconv.ParseInt: parsing "x": invalid syntax"#;
        assert_eq!(refusal("--limit=x"), number);
    }
}
