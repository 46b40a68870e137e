//! A command line and an environment read by the rules of Go's `flag` package, as users of etcd know them.
//!
//! Takes a table of flags, yields the text of each flag and whether it was given. `-x` and `--x` are the same;
//! a value follows `=` or stands alone, except that a boolean takes it only after `=`. An environment variable
//! `ETCD_X_Y` stands for the flag `x-y`. The last of several values wins.
//! What a value means beyond its kind is not known here.

use std::collections::BTreeMap;

use crate::config::value::{Kind, Value};
use crate::config::{Error, StartupMessage};

/// The beginning of the environment variables that stand for flags.
const ENV_PREFIX: &str = "ETCD_";

/// Images and scripts set it to tell a version, which has nothing to do with the flag `version`.
const NO_FLAG: &str = "ETCD_VERSION";

/// Names the file that stands for all flags.
const FILE_FLAG: &str = "config-file";

/// One flag of a program.
#[derive(Debug)]
pub(crate) struct Flag {
    /// Name without dashes.
    pub(crate) name: &'static str,
    /// What its values look like.
    pub(crate) kind: Kind,
    /// The text of the value when the flag is not given.
    pub(crate) default: &'static str,
    /// What this version makes of it.
    pub(crate) support: Support,
}

/// What a program makes of a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Support {
    /// It does what this help text says.
    Works(&'static str),
    /// It may have any value, which changes nothing, for this reason.
    NoEffect(&'static str),
    /// It is to come; until then it may only have its default value.
    NotYet,
    /// The same for a member without data. One that has data does not need it, and may have any value.
    NotYetForNew,
    /// It has not meant anything for years.
    Ignored,
}

/// Flags with their values.
#[derive(Debug)]
pub(crate) struct Flags {
    table: &'static [Flag],
    given: BTreeMap<&'static str, Value>,
    startup_messages: Vec<StartupMessage>,
}

/// Whether the command line asks for something other than running the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Run,
    Help,
    Version,
}

impl Flags {
    /// Reads the arguments that follow the program's name. The environment is left for [`Flags::read_env`],
    /// since help and version are answered before it is looked at.
    pub(crate) fn read_args(
        table: &'static [Flag],
        args: impl IntoIterator<Item = String>,
    ) -> Result<(Flags, Request), Error> {
        let mut flags = Flags { table, given: BTreeMap::new(), startup_messages: Vec::new() };
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let Some(body) = arg.strip_prefix('-').filter(|body| !body.is_empty()) else {
                return Err(Error::Invalid(format!("{arg:?} is not a valid flag")));
            };
            let body = body.strip_prefix('-').unwrap_or(body);
            if body.is_empty() {
                break;
            }
            if flags.read_arg(&arg, body, &mut args)? == Request::Help {
                return Ok((flags, Request::Help));
            }
        }
        if let Some(rest) = args.next() {
            return Err(Error::Invalid(format!("{rest:?} is not a valid flag")));
        }
        let is_version = flags.given.get("version") == Some(&Value::Bool(true));
        Ok((flags, if is_version { Request::Version } else { Request::Run }))
    }

    /// Adds what environment variables set. A variable and an argument for one flag are an error, so that
    /// neither is ignored unnoticed.
    pub(crate) fn read_env(&mut self, env: impl IntoIterator<Item = (String, String)>) -> Result<(), Error> {
        let mut env: BTreeMap<String, String> =
            env.into_iter().filter(|(name, _)| name.starts_with(ENV_PREFIX)).collect();
        let variables = self.table.iter().map(|flag| (flag, variable_name(flag.name)));
        for (flag, name) in variables.filter(|(_, name)| name != NO_FLAG) {
            let Some(value) = env.remove(&name) else { continue };
            if self.given.contains_key(flag.name) {
                return Err(Error::Shadowed { variable: name });
            }
            if value.is_empty() {
                continue;
            }
            let parsed = flag.kind.parse(&value);
            let parsed = parsed
                .map_err(|reason| Error::Invalid(format!("invalid value {value:?} for {name}: {reason}")))?;
            self.given.insert(flag.name, parsed);
            self.startup_messages.push(StartupMessage::VariableUsed { name, value });
        }
        let rest = env.into_iter().map(|(name, value)| match name == NO_FLAG {
            true => StartupMessage::VariableReserved { name, value },
            false => StartupMessage::VariableUnknown { name, value },
        });
        self.startup_messages.extend(rest);
        Ok(())
    }

    /// The file that is to be read instead of all other flags: the argument, or else the variable.
    pub(crate) fn file(&self, env: &[(String, String)]) -> Option<String> {
        let argument = self.value(FILE_FLAG).into_text();
        let variable = || env.iter().find(|(name, _)| *name == variable_name(FILE_FLAG));
        let file =
            if argument.is_empty() { variable().map(|(_, file)| file.clone()) } else { Some(argument) };
        file.filter(|file| !file.is_empty())
    }

    /// Flags with these values, read from the file at `path`.
    pub(crate) fn from_file(
        table: &'static [Flag],
        given: BTreeMap<&'static str, Value>,
        path: String,
    ) -> Flags {
        Flags { table, given, startup_messages: vec![StartupMessage::FileLoaded { path }] }
    }

    /// The first flag with this support that was given something else than its default.
    pub(crate) fn first_changed(&self, support: Support) -> Option<&'static str> {
        self.changed().find(|flag| flag.support == support).map(|flag| flag.name)
    }

    /// The flags that were given something else than their default and change nothing, with the reason.
    pub(crate) fn without_effect(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.changed().filter_map(|flag| match flag.support {
            Support::NoEffect(why) => Some((flag.name, why)),
            _ => None,
        })
    }

    fn changed(&self) -> impl Iterator<Item = &'static Flag> {
        let flags = self.given.iter().map(|(&name, value)| {
            let flag = self.flag(name).expect("only flags of the table are given");
            (flag, value)
        });
        flags.filter(|(flag, value)| **value != flag.default_value()).map(|(flag, _)| flag)
    }

    /// Whether the values come from a file.
    pub(crate) fn is_from_file(&self) -> bool {
        matches!(self.startup_messages[..], [StartupMessage::FileLoaded { .. }])
    }

    /// Whether the flag was given, by argument, environment or file.
    pub(crate) fn is_given(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// The value of a flag. Panics if the table has no such flag.
    pub(crate) fn value(&self, name: &str) -> Value {
        let default = || self.flag(name).expect("a flag of the table").default_value();
        self.given.get(name).cloned().unwrap_or_else(default)
    }

    /// What the log should tell about where the values come from.
    pub(crate) fn into_startup_messages(self) -> Vec<StartupMessage> {
        self.startup_messages
    }

    fn read_arg(
        &mut self,
        arg: &str,
        body: &str,
        rest: &mut impl Iterator<Item = String>,
    ) -> Result<Request, Error> {
        if body.starts_with(['-', '=']) {
            return Err(Error::Usage(format!("bad flag syntax: {arg}")));
        }
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (body, None),
        };
        let Some(flag) = self.flag(name) else {
            return match name {
                "help" | "h" => Ok(Request::Help),
                _ => Err(Error::Usage(format!("flag provided but not defined: -{name}"))),
            };
        };
        let takes_next = !flag.kind.is_boolean();
        let value = match value {
            Some(value) => value,
            None if takes_next => {
                rest.next().ok_or_else(|| Error::Usage(format!("flag needs an argument: -{name}")))?
            }
            None => "true".to_owned(),
        };
        let value = flag.kind.parse(&value).map_err(|reason| {
            Error::Usage(match flag.kind {
                Kind::Bool => format!("invalid boolean value {value:?} for -{name}: {reason}"),
                _ => format!("invalid value {value:?} for flag -{name}: {reason}"),
            })
        })?;
        self.given.insert(flag.name, value);
        Ok(Request::Run)
    }

    fn flag(&self, name: &str) -> Option<&'static Flag> {
        self.table.iter().find(|flag| flag.name == name)
    }
}

impl Flag {
    fn default_value(&self) -> Value {
        self.kind.parse(self.default).expect("the defaults of the table are well-formed")
    }
}

fn variable_name(flag: &str) -> String {
    format!("{ENV_PREFIX}{}", flag.to_ascii_uppercase().replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    static TABLE: &[Flag] = &[
        Flag { name: "size", kind: Kind::Uint, default: "1", support: Support::Works("a number") },
        Flag { name: "on", kind: Kind::Bool, default: "false", support: Support::Works("a switch") },
        Flag { name: "later", kind: Kind::Duration, default: "1m0s", support: Support::NotYet },
        Flag { name: "idle", kind: Kind::Uint, default: "5", support: Support::NoEffect("nothing to tune") },
        Flag { name: "version", kind: Kind::Bool, default: "false", support: Support::Works("print it") },
        Flag { name: FILE_FLAG, kind: Kind::Text, default: "", support: Support::Works("a file") },
    ];

    fn read(line: &str) -> Result<(Flags, Request), Error> {
        Flags::read_args(TABLE, line.split_whitespace().map(str::to_owned))
    }

    fn env(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn one_and_two_dashes_are_the_same() {
        for line in ["-size 7", "--size=7", "--size 0x7", "-size=2 -size=7", "--size=7 --"] {
            assert_eq!(read(line).unwrap().0.value("size"), Value::Int(7), "{line}");
        }
    }

    #[test]
    fn boolean_takes_a_value_only_after_equals() {
        assert_eq!(read("--on").unwrap().0.value("on"), Value::Bool(true));
        assert_eq!(read("--on=F").unwrap().0.value("on"), Value::Bool(false));
        let error = read("--on false").unwrap_err();
        assert_eq!(error, Error::Invalid("\"false\" is not a valid flag".to_owned()));
    }

    #[test]
    fn errors_have_the_texts_of_go() {
        for (line, text) in [
            ("--nope", "flag provided but not defined: -nope"),
            ("--size", "flag needs an argument: -size"),
            ("--size x", "invalid value \"x\" for flag -size: parse error"),
            ("--on=x", "invalid boolean value \"x\" for -on: parse error"),
            ("---x", "bad flag syntax: ---x"),
            ("--=x", "bad flag syntax: --=x"),
        ] {
            assert_eq!(read(line).unwrap_err(), Error::Usage(text.to_owned()), "{line}");
        }
    }

    #[test]
    fn help_and_version_are_requests() {
        assert_eq!(read("-h").unwrap().1, Request::Help);
        assert_eq!(read("--size 3 --help --nope").unwrap().1, Request::Help);
        assert_eq!(read("--version").unwrap().1, Request::Version);
    }

    #[test]
    fn environment_fills_what_arguments_leave() {
        let (mut flags, _) = read("--on").unwrap();
        let result = flags.read_env([env("ETCD_SIZE", "9"), env("ETCD_NOPE", "1"), env("HOME", "/")]);
        assert_eq!(result, Ok(()));
        assert_eq!(flags.value("size"), Value::Int(9));
        assert!(flags.is_given("size"));
        assert_eq!(flags.into_startup_messages().len(), 2);
    }

    #[test]
    fn shadowed_variable_is_an_error_even_if_empty() {
        let (mut flags, _) = read("--size 1").unwrap();
        let error = flags.read_env([env("ETCD_SIZE", "")]).unwrap_err();
        assert_eq!(error, Error::Shadowed { variable: "ETCD_SIZE".to_owned() });
    }

    #[test]
    fn bad_variable_is_named() {
        let (mut flags, _) = read("").unwrap();
        let error = flags.read_env([env("ETCD_SIZE", "-1")]).unwrap_err();
        assert_eq!(error.to_string(), "invalid value \"-1\" for ETCD_SIZE: parse error");
    }

    #[test]
    fn unsupported_flag_may_ask_for_its_default() {
        let unsupported = |line| read(line).unwrap().0.first_changed(Support::NotYet);
        assert_eq!(unsupported("--later 60s"), None);
        assert_eq!(unsupported("--later 61s"), Some("later"));
    }

    #[test]
    fn flag_without_effect_is_named_with_the_reason() {
        let named = |line: &str| read(line).unwrap().0.without_effect().collect::<Vec<_>>();
        assert_eq!(named("--idle 5"), []);
        assert_eq!(named("--idle 6"), [("idle", "nothing to tune")]);
    }

    #[test]
    fn file_is_named_by_argument_or_variable() {
        let file = |line: &str, env: &[(String, String)]| read(line).unwrap().0.file(env);
        let variable = [env("ETCD_CONFIG_FILE", "/b")];
        assert_eq!(file("--config-file /a", &variable), Some("/a".to_owned()));
        assert_eq!(file("", &variable), Some("/b".to_owned()));
        assert_eq!(file("", &[]), None);
    }
}
