//! `etcdctl watch`: prints events as they arrive, or passes them to a program.

mod args;
mod exec;
mod interactive;

use bytes::Bytes;
use client::{Watch, cancellation};
use proto::etcdserverpb::{WatchCreateRequest, WatchResponse};

use super::key_range::{KeyRange, with_prefix};
use crate::cli::{Action, Call, Command, Flag, Group, Values};
use crate::failure::{Failure, INTERRUPTED};
use crate::print::{Answer, Printer, tell_canceled, write_out};
use crate::session::Session;

pub(super) const COMMAND: Command = Command::new(
    "watch [options] [key or prefix] [range_end] [--] [exec-command arg1 arg2 ...]",
    "Watches events stream on keys or prefixes",
    Action::Run(|call| Box::pin(run(call))),
)
.group(Group::KeyValue)
.flags(&[
    Flag::bool("interactive", "Interactive mode").short('i'),
    Flag::bool("prefix", "Watch on a prefix if prefix is set"),
    Flag::int("rev", "Revision to start watching"),
    Flag::bool("prev-kv", "get the previous key-value pair before the event happens"),
    Flag::bool("progress-notify", "get periodic watch progress notification from server"),
]);

async fn run(mut call: Call) -> Result<(), Failure> {
    let named = args::from_environment()?;
    if call.flags.bool("interactive") {
        return interactive::run(&Session::for_watch(&mut call.flags)?, named).await;
    }
    let (keys, program) = args::split(&call.args, call.dash, named)?;
    let session = Session::for_watch(&mut call.flags)?;
    let request = request(&call.flags, &keys).map_err(Failure::bad_args)?;
    let watcher = session.patient_client()?.watcher();
    follow(watcher.watch(request).await, session.printer(), &program).await?;
    Err(Failure::new(INTERRUPTED, "watch is canceled by the server"))
}

/// Makes the request for `keys`: one, or one and the end of the range.
fn request(flags: &Values, keys: &[Bytes]) -> Result<WatchCreateRequest, &'static str> {
    let prefix = flags.bool("prefix");
    let range = match keys {
        [] => return Err(args::BAD_NUMBER),
        [_, _] if prefix => return Err("`range_end` and `--prefix` are mutually exclusive"),
        [key, end] => KeyRange { key: key.clone(), end: end.clone() },
        [key, ..] if prefix => with_prefix(key.clone()),
        [key, ..] => KeyRange { key: key.clone(), end: Bytes::new() },
    };
    Ok(WatchCreateRequest {
        key: range.key,
        range_end: range.end,
        start_revision: flags.int("rev"),
        prev_kv: flags.bool("prev-kv"),
        progress_notify: flags.bool("progress-notify"),
        ..WatchCreateRequest::default()
    })
}

/// Prints responses, and runs `program` for each event, until the server ends the watch.
async fn follow(mut watch: Watch, printer: &Printer, program: &[Bytes]) -> Result<(), Failure> {
    while let Some(response) = watch.next().await {
        let response = response.unwrap_or_else(|error| {
            tell_canceled(&error);
            WatchResponse { canceled: true, cancel_reason: error.to_string(), ..WatchResponse::default() }
        });
        show(&response, printer)?;
        if let Some((program, args)) = program.split_first() {
            exec::run_for_each(&response, program, args).await?;
        }
    }
    Ok(())
}

fn show(response: &WatchResponse, printer: &Printer) -> Result<(), Failure> {
    let revision = response.header.as_ref().map_or(0, |header| header.revision);
    match cancellation(response) {
        Some(error) if response.header.is_some() => tell_canceled(&error),
        None if response.events.is_empty() => {
            write_out(format!("progress notify: {revision}\n").as_bytes())?;
        }
        _ => {}
    }
    printer.print(&Answer::Watch(response))
}
