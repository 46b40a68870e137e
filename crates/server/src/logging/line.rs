//! The format of lines: zap's JSON and console encodings, which tools and people know from etcd.

use std::fmt;

use jiff::Timestamp;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Level, Metadata};

use super::FATAL;
use crate::config::LogFormat;

/// The message of an event, and the rest of its fields as JSON keys and values.
#[derive(Default)]
pub(super) struct Fields {
    pub(super) message: String,
    rest: Vec<(String, String)>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: impl fmt::Display) {
        self.rest.push((json(field.name()), value.to_string()));
    }
}

impl Visit for Fields {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, Value::from(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.add(field, json(value));
        }
    }

    /// A list of texts is written as a list: its debug form is JSON except for the spaces.
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        match text.starts_with('[').then(|| serde_json::from_str::<Value>(&text)) {
            Some(Ok(list)) => self.add(field, list),
            _ => self.record_str(field, &text),
        }
    }
}

/// The line of an event, with its line feed.
pub(super) fn of_event(metadata: &Metadata<'_>, fields: &Fields, format: LogFormat) -> String {
    let level = match *metadata.level() {
        _ if metadata.target() == FATAL => FATAL,
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG | Level::TRACE => "debug",
    };
    let caller = caller(metadata.file().unwrap_or_default(), metadata.line().unwrap_or_default());
    encode(level, &caller, fields, format)
}

/// The line that says how many lines an output has lost.
pub(super) fn of_dropped(n_dropped: u64, format: LogFormat) -> String {
    let rest = vec![(json("count"), n_dropped.to_string())];
    let fields = Fields { message: "log lines were dropped".to_owned(), rest };
    encode("warn", &caller(file!(), line!()), &fields, format)
}

fn encode(level: &str, caller: &str, fields: &Fields, format: LogFormat) -> String {
    let time = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ");
    let Fields { message, rest } = fields;
    match format {
        LogFormat::Json => {
            let rest: String = rest.iter().map(|(key, value)| format!(",{key}:{value}")).collect();
            let (caller, message) = (json(caller), json(message));
            format!(
                "{{\"level\":\"{level}\",\"ts\":\"{time}\",\"caller\":{caller},\"msg\":{message}{rest}}}\n"
            )
        }
        LogFormat::Console if rest.is_empty() => format!("{time}\t{level}\t{caller}\t{message}\n"),
        LogFormat::Console => {
            let rest: Vec<String> = rest.iter().map(|(key, value)| format!("{key}: {value}")).collect();
            format!("{time}\t{level}\t{caller}\t{message}\t{{{}}}\n", rest.join(", "))
        }
    }
}

/// `crate/file.rs:line`, as short as etcd's.
fn caller(file: &str, line: u32) -> String {
    let file = file.rsplit_once("crates/").map_or(file, |(_, file)| file);
    format!("{}:{line}", file.replacen("src/", "", 1))
}

fn json(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caller_is_short() {
        assert_eq!(caller("crates/server/src/grpc/call.rs", 3), "server/grpc/call.rs:3");
        assert_eq!(caller("/x/crates/etcd/src/main.rs", 9), "etcd/main.rs:9");
    }

    #[test]
    fn console_has_columns() {
        let rest = vec![(json("name"), json("a")), (json("count"), "3".to_owned())];
        let fields = Fields { message: "closed".to_owned(), rest };
        let line = encode("info", "etcd/main.rs:1", &fields, LogFormat::Console);
        let (time, rest) = line.split_once('\t').unwrap();
        assert_eq!(time.len(), "2006-01-02T15:04:05.000000Z".len());
        assert_eq!(rest, "info\tetcd/main.rs:1\tclosed\t{\"name\": \"a\", \"count\": 3}\n");
    }
}
