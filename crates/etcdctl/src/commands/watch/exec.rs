//! Runs a program for each event.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitStatus;

use bytes::Bytes;
use proto::etcdserverpb::WatchResponse;
use proto::mvccpb::event::EventType;
use tokio::process::Command;

use crate::failure::Failure;
use crate::text::{lossy, quote, quote_list};

/// Runs `program` for each event of `response`, one after another. Its environment describes the event, in
/// quotes. A program that fails ends the command.
pub(super) async fn run_for_each(
    response: &WatchResponse,
    program: &Bytes,
    args: &[Bytes],
) -> Result<(), Failure> {
    let revision = response.header.as_ref().map_or(0, |header| header.revision);
    for event in &response.events {
        let kv = event.kv.clone().unwrap_or_default();
        let kind = if event.r#type == EventType::Put as i32 { "PUT" } else { "DELETE" };
        let result = Command::new(OsStr::from_bytes(program))
            .args(args.iter().map(|arg| OsStr::from_bytes(arg)))
            .env("ETCD_WATCH_REVISION", revision.to_string())
            .env("ETCD_WATCH_EVENT_TYPE", quote(kind))
            .env("ETCD_WATCH_KEY", quote(kv.key))
            .env("ETCD_WATCH_VALUE", quote(kv.value))
            .status()
            .await;
        if let Some(problem) = problem(result, program) {
            let words: Vec<_> = [program].into_iter().chain(args).collect();
            eprintln!("command {} error ({problem})", quote_list(&words));
            return Err(Failure::told());
        }
    }
    Ok(())
}

fn problem(result: io::Result<ExitStatus>, program: &Bytes) -> Option<String> {
    match result {
        Ok(status) if status.success() => None,
        Ok(status) => Some(match status.code() {
            Some(code) => format!("exit status {code}"),
            None => status.to_string(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !program.contains(&b'/') => {
            Some(format!("exec: {}: executable file not found in $PATH", quote(program)))
        }
        Err(error) => Some(format!("fork/exec {}: {}", lossy(program), bare(&error))),
    }
}

/// The system's text of an error as Go prints it: in small letters and without the number.
fn bare(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}
