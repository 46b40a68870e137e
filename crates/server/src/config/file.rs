//! The configuration file: YAML or JSON, with etcd's keys and types.
//!
//! Each key stands for a flag, so that a file and a command line are checked alike. The case of keys does not
//! matter. Unknown keys are ignored, since files have keys of older releases. `null` leaves the default.
//! Durations are whole nanoseconds, lists of URLs are one text, other lists are lists.
//!
//! YAML is read as version 1.2, plus the words for true and false of version 1.1, which etcd's reader takes.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::time::Duration;

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value as Json};

use super::error::{Error, go_text};
use super::value::{Kind, Value};
use crate::flags::Flag;

/// Flags that a file cannot set.
const NOT_IN_FILE: [&str; 7] = [
    "client-crl-file",
    "config-file",
    "discovery-fallback",
    "peer-crl-file",
    "raft-read-timeout",
    "raft-write-timeout",
    "version",
];

/// Values of flags by name.
pub(crate) type Given = BTreeMap<&'static str, Value>;

/// Reads the file at `path`. Texts of errors are etcd's; those of syntax errors come from our YAML reader.
pub(crate) fn read(table: &'static [Flag], path: &str) -> Result<Given, Error> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let operation = if error.kind() == ErrorKind::IsADirectory { "read" } else { "open" };
        Error::Invalid(format!("{operation} {path}: {}", go_text(&error)))
    })?;
    let mut reader = Reader { table, given: Given::new() };
    match parse(&text)
        .map_err(|error| Error::Invalid(format!("error converting YAML to JSON: yaml: {error}")))?
    {
        Json::Object(keys) => reader.section("", keys)?,
        Json::Null => {}
        other => return Err(mistyped(&other, "value", "embed.configYAML")),
    }
    Ok(reader.given)
}

struct Reader {
    table: &'static [Flag],
    given: Given,
}

impl Reader {
    fn section(&mut self, section: &'static str, keys: Map<String, Json>) -> Result<(), Error> {
        for (key, value) in keys {
            let key = key.to_ascii_lowercase();
            match (section, key.as_str(), value) {
                (_, _, Json::Null) => {}
                ("", name, value) if subsection(name).is_some() => {
                    let (name, go_type) = subsection(name).expect("just asked");
                    match value {
                        Json::Object(keys) => self.section(name, keys)?,
                        other => return Err(mistyped(&other, &format!("configJSON.{name}"), go_type)),
                    }
                }
                (section, key, value) => self.key(section, key, &value)?,
            }
        }
        Ok(())
    }

    fn key(&mut self, section: &'static str, key: &str, value: &Json) -> Result<(), Error> {
        let name = flag_name(section, key);
        let Some(flag) = self.table.iter().find(|flag| flag.name == name) else { return Ok(()) };
        if flag.kind == Kind::Ignored || NOT_IN_FILE.contains(&flag.name) {
            return Ok(());
        }
        let Some(text) = text_of(flag.kind, value) else {
            let (part, go_type) = go_type(flag);
            return Err(mistyped(value, &format!("{part}.{key}"), go_type));
        };
        // As in etcd, an empty text leaves the default of a setting that is not a text.
        if text.is_empty() && !matches!(flag.kind, Kind::Text | Kind::Words) {
            return Ok(());
        }
        let parsed = match flag.kind {
            // etcd's file reader accepts values that the command line refuses; later checks refuse them.
            Kind::OneOf(_) => Value::Text(text),
            Kind::Duration => nanoseconds(&text)
                .ok_or_else(|| mistyped(value, &format!("Config.{key}"), "time.Duration"))?,
            kind => kind.parse(&text).map_err(|error| match kind {
                Kind::Urls | Kind::OptionalUrls | Kind::Origins => {
                    Error::Setup(format!("unexpected error setting up {}: {error}", flag.name))
                }
                _ if value.is_number() => mistyped(value, &format!("Config.{key}"), go_type(flag).1),
                _ => Error::Invalid(error),
            })?,
        };
        self.given.insert(flag.name, parsed);
        Ok(())
    }
}

fn subsection(key: &str) -> Option<(&'static str, &'static str)> {
    [
        ("client-transport-security", "embed.securityConfig"),
        ("peer-transport-security", "embed.securityConfig"),
        ("socket-options", "transport.SocketOpts"),
        ("discovery-config", "v3discovery.DiscoveryConfig"),
    ]
    .into_iter()
    .find(|(name, _)| *name == key)
}

/// The flag that a key of a section stands for.
fn flag_name(section: &str, key: &str) -> String {
    match (section, key) {
        ("client-transport-security", "allowed-hostname") => "client-cert-allowed-hostname".to_owned(),
        ("client-transport-security", key) => key.to_owned(),
        ("peer-transport-security", "allowed-cn" | "allowed-hostname") => format!("peer-cert-{key}"),
        ("peer-transport-security", key) => format!("peer-{key}"),
        ("socket-options", key) => format!("socket-{key}"),
        ("discovery-config", key) => format!("discovery-{key}"),
        (_, key) => key.to_owned(),
    }
}

/// The value as a command line would have it; `None` if it has the wrong type.
fn text_of(kind: Kind, value: &Json) -> Option<String> {
    match (kind, value) {
        (Kind::Bool, Json::String(text)) if matches!(&**text, "yes" | "on") => Some("true".to_owned()),
        (Kind::Bool, Json::String(text)) if matches!(&**text, "no" | "off") => Some("false".to_owned()),
        (Kind::Bool, Json::Bool(_))
        | (Kind::Uint | Kind::Uint32 | Kind::Int | Kind::Duration, Json::Number(_)) => {
            Some(value.to_string())
        }
        (Kind::Words, Json::Array(items)) => {
            let words: Option<Vec<&str>> = items.iter().map(Json::as_str).collect();
            words.map(|words| words.join(","))
        }
        (Kind::Bool | Kind::Uint | Kind::Uint32 | Kind::Int | Kind::Duration | Kind::Words, _) => None,
        (_, Json::String(text)) => Some(text.clone()),
        _ => None,
    }
}

fn nanoseconds(text: &str) -> Option<Value> {
    text.parse().ok().map(|nanos| Value::Duration(Duration::from_nanos(nanos)))
}

/// The part of etcd's settings that a flag belongs to, and its type there: both stand in error texts.
fn go_type(flag: &Flag) -> (&'static str, &'static str) {
    match flag.kind {
        Kind::Urls | Kind::OptionalUrls | Kind::Origins | Kind::FeatureGates => ("configJSON", "string"),
        Kind::Bool => ("Config", "bool"),
        Kind::Uint if matches!(flag.name, "snapshot-count" | "snapshot-catchup-entries") => {
            ("Config", "uint64")
        }
        Kind::Uint => ("Config", "uint"),
        Kind::Uint32 => ("Config", "uint32"),
        Kind::Int if flag.name == "quota-backend-bytes" => ("Config", "int64"),
        Kind::Int => ("Config", "int"),
        Kind::Duration => ("Config", "time.Duration"),
        Kind::Words => ("Config", "[]string"),
        _ => ("Config", "string"),
    }
}

/// What Go calls a kind of JSON value.
pub(super) fn kind_name(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "bool",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }
}

fn mistyped(value: &Json, field: &str, go_type: &str) -> Error {
    let kind = match value {
        // A number of the wrong type is shown where the right type is a number too.
        Json::Number(number) if !matches!(go_type, "string" | "bool" | "[]string") => {
            format!("number {number}")
        }
        other => kind_name(other).to_owned(),
    };
    Error::Invalid(format!(
        "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {kind} into Go struct field \
         configYAML.{field} of type {go_type}"
    ))
}

/// JSON is YAML too.
fn parse(text: &str) -> Result<Json, String> {
    let documents = Yaml::load_from_str(text).map_err(|error| error.to_string())?;
    documents.first().map_or(Ok(Json::Null), into_json)
}

fn into_json(yaml: &Yaml<'_>) -> Result<Json, String> {
    Ok(match yaml {
        Yaml::Value(scalar) => scalar_json(scalar),
        Yaml::Sequence(items) => Json::Array(items.iter().map(into_json).collect::<Result<_, _>>()?),
        Yaml::Mapping(pairs) => {
            let mut keys = Map::new();
            for (key, value) in pairs {
                let key = match into_json(key)? {
                    Json::String(key) => key,
                    other => other.to_string(),
                };
                keys.insert(key, into_json(value)?);
            }
            Json::Object(keys)
        }
        Yaml::Tagged(_, inner) => into_json(inner)?,
        Yaml::Representation(..) | Yaml::Alias(_) | Yaml::BadValue => {
            return Err("a value that cannot be read".to_owned());
        }
    })
}

fn scalar_json(scalar: &Scalar<'_>) -> Json {
    match scalar {
        Scalar::Null => Json::Null,
        Scalar::Boolean(value) => Json::Bool(*value),
        Scalar::Integer(number) => Json::from(*number),
        Scalar::FloatingPoint(number) => Json::from(number.into_inner()),
        Scalar::String(text) => Json::String(text.to_string()),
    }
}
