//! A flag, as data, and its values.

use std::time::Duration;

use crate::text::{parse_bool, parse_duration, parse_int};

/// A flag of the table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Flag {
    pub(crate) name: &'static str,
    /// The letter that stands for it, if any.
    pub(crate) short: Option<char>,
    pub(crate) kind: Kind,
    /// Its value when it is not given, as it would be given.
    pub(crate) default: &'static str,
    pub(crate) help: &'static str,
}

/// The type of a flag's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Int,
    Text,
    Duration,
    /// A list with commas. A second value is added to the first.
    List,
}

/// The value of a flag, of its kind.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Bool(bool),
    Int(i64),
    Text(String),
    Duration(Duration),
    List(Vec<String>),
}

impl Flag {
    pub(crate) const fn bool(name: &'static str, help: &'static str) -> Self {
        Flag::new(name, Kind::Bool, "false", help)
    }

    pub(crate) const fn int(name: &'static str, help: &'static str) -> Self {
        Flag::new(name, Kind::Int, "0", help)
    }

    pub(crate) const fn text(name: &'static str, default: &'static str, help: &'static str) -> Self {
        Flag::new(name, Kind::Text, default, help)
    }

    pub(crate) const fn duration(name: &'static str, default: &'static str, help: &'static str) -> Self {
        Flag::new(name, Kind::Duration, default, help)
    }

    pub(crate) const fn list(name: &'static str, default: &'static str, help: &'static str) -> Self {
        Flag::new(name, Kind::List, default, help)
    }

    const fn new(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Self {
        Flag { name, short: None, kind, default, help }
    }

    pub(crate) const fn short(mut self, letter: char) -> Self {
        self.short = Some(letter);
        self
    }

    pub(crate) const fn on_by_default(mut self) -> Self {
        self.default = "true";
        self
    }

    /// Parses `text`; the error says why it is no value.
    pub(crate) fn parse(&self, text: &str) -> Result<Value, String> {
        match self.kind {
            Kind::Bool => parse_bool(text).map(Value::Bool),
            Kind::Int => parse_int(text, 0).map(Value::Int),
            Kind::Text => Ok(Value::Text(text.to_owned())),
            Kind::Duration => parse_duration(text).map(Value::Duration),
            Kind::List if text.is_empty() => Ok(Value::List(Vec::new())),
            Kind::List => Ok(Value::List(text.split(',').map(str::to_owned).collect())),
        }
    }

    /// The word for its type in the help.
    pub(crate) fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::Bool => "",
            Kind::Int => "int",
            Kind::Text => "string",
            Kind::Duration => "duration",
            Kind::List => "strings",
        }
    }

    /// Its default as the help shows it; `None` for the zero value of its type.
    pub(crate) fn shown_default(&self) -> Option<String> {
        match self.default {
            "" | "0" if self.kind != Kind::Text => None,
            "" | "false" => None,
            default => Some(match self.kind {
                Kind::Text => format!("\"{default}\""),
                Kind::List => format!("[{default}]"),
                Kind::Bool | Kind::Int | Kind::Duration => default.to_owned(),
            }),
        }
    }
}
