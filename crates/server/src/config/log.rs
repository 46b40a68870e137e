//! The settings of logging.

use serde_json::Value as Json;
use tracing::level_filters::LevelFilter;

use super::error::Error;
use super::file::kind_name;
use crate::flags::Flags;

/// The outputs of logging and the format of lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// At least one output.
    pub outputs: Vec<LogOutput>,
    /// Least severe level.
    pub level: LevelFilter,
    /// The format of lines.
    pub format: LogFormat,
    /// When the one file among the outputs is rotated.
    pub rotation: Option<Rotation>,
}

/// A destination of lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogOutput {
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
    /// A file, which is appended to.
    File(String),
}

/// The format of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object for each line.
    Json,
    /// Columns separated by tabs, for people.
    Console,
}

/// When a log file is rotated, and how long old files are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes that a file may hold.
    pub bytes_max: u64,
    /// Days that old files are kept; 0 means for ever.
    pub age_days_max: u64,
    /// Old files that are kept; 0 means all.
    pub backups_max: usize,
    /// Whether old files are named after local time instead of UTC.
    pub is_local_time: bool,
    /// Whether old files are compressed.
    pub is_compressed: bool,
}

/// Megabytes of a file when the rotation does not say.
const MEGABYTES_MAX: u64 = 100;

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig {
            outputs: vec![LogOutput::Stderr],
            level: LevelFilter::INFO,
            format: LogFormat::Json,
            rotation: None,
        }
    }
}

impl LogConfig {
    /// Reads the flags of the log, in etcd's order and with its texts.
    pub(super) fn from_flags(flags: &Flags) -> Result<LogConfig, Error> {
        match &*flags.value("logger").into_text() {
            "zap" => {}
            "capnslog" => return Err(Error::Invalid("--logger=capnslog is removed in v3.5".to_owned())),
            other => return Err(Error::Invalid(format!("unknown logger option {other:?}"))),
        }
        let outputs = outputs(flags.value("log-outputs").into_words())?;
        let rotation = match flags.value("enable-log-rotation").is_true() {
            true => Some(rotation(&outputs, &flags.value("log-rotation-config-json").into_text())?),
            false => None,
        };
        let level = level(&flags.value("log-level").into_text())?;
        let format = match &*flags.value("log-format").into_text() {
            "json" => LogFormat::Json,
            "console" => LogFormat::Console,
            other => {
                let text = format!("unknown log format: {other}, supported values json, console");
                return Err(Error::Invalid(text));
            }
        };
        Ok(LogConfig { outputs, level, format, rotation })
    }
}

fn outputs(words: Vec<String>) -> Result<Vec<LogOutput>, Error> {
    if words.len() > 1 && words.iter().any(|word| word == "default") {
        return Err(Error::Invalid("multi logoutput for \"default\" is not supported yet".to_owned()));
    }
    if words.iter().any(|word| word == "systemd/journal") {
        return Err(Error::Invalid(
            "--log-outputs=systemd/journal is not supported by this version yet".to_owned(),
        ));
    }
    // Lines to /dev/null need no thread. Then etcd discards everything too.
    let outputs = words.into_iter().map(|word| match &*word {
        "default" | "stderr" => LogOutput::Stderr,
        "stdout" => LogOutput::Stdout,
        _ => LogOutput::File(word),
    });
    let outputs: Vec<_> = outputs.collect();
    Ok(if outputs.is_empty() { vec![LogOutput::Stderr] } else { outputs })
}

/// The levels above `error` are Go's ways to end a process; nothing of ours is logged at them.
fn level(text: &str) -> Result<LevelFilter, Error> {
    match text {
        "debug" => Ok(LevelFilter::DEBUG),
        "info" => Ok(LevelFilter::INFO),
        "warn" => Ok(LevelFilter::WARN),
        "error" => Ok(LevelFilter::ERROR),
        "dpanic" | "panic" | "fatal" => Ok(LevelFilter::OFF),
        _ => Err(Error::Usage(format!("panic: unrecognized level: {text:?}"))),
    }
}

fn rotation(outputs: &[LogOutput], json: &str) -> Result<Rotation, Error> {
    let n_files = outputs.iter().filter(|output| matches!(output, LogOutput::File(_))).count();
    if n_files > 1 || (n_files == 0 && outputs.len() == 1) {
        return Err(Error::Invalid(
            "--log-outputs requires a single file path when --log-rotate-config-json is defined".to_owned(),
        ));
    }
    let json: Json = serde_json::from_str(json).map_err(|error| {
        let reason =
            if error.is_eof() { "unexpected end of JSON input".to_owned() } else { error.to_string() };
        Error::Invalid(format!("improperly formatted log rotation config: {reason}"))
    })?;
    if !json.is_object() {
        return Err(mistyped(&json, "value of type embed.logRotationConfig"));
    }
    let number = |key: &str| match &json[key] {
        Json::Null => Ok(0),
        value => value.as_u64().ok_or_else(|| {
            mistyped(value, &format!("struct field logRotationConfig.Logger.{key} of type int"))
        }),
    };
    let flag = |key: &str| match &json[key] {
        Json::Null => Ok(false),
        value => value.as_bool().ok_or_else(|| {
            mistyped(value, &format!("struct field logRotationConfig.Logger.{key} of type bool"))
        }),
    };
    let megabytes = match number("maxsize")? {
        0 => MEGABYTES_MAX,
        megabytes => megabytes,
    };
    Ok(Rotation {
        bytes_max: megabytes.saturating_mul(1 << 20),
        age_days_max: number("maxage")?,
        backups_max: usize::try_from(number("maxbackups")?).unwrap_or(usize::MAX),
        is_local_time: flag("localtime")?,
        is_compressed: flag("compress")?,
    })
}

fn mistyped(value: &Json, place: &str) -> Error {
    let kind = kind_name(value);
    Error::Invalid(format!("invalid log rotation config: json: cannot unmarshal {kind} into Go {place}"))
}
