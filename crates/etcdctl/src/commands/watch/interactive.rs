//! `etcdctl watch -i`: starts a watch for each line of input.

use bytes::Bytes;
use client::Watcher;
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::task::JoinSet;

use super::args;
use crate::cli::{Invalid, Values};
use crate::commands::words;
use crate::failure::{Failure, INVALID_INPUT};
use crate::session::Session;
use crate::text::lossy;

/// Reads `watch` and `progress` lines until there are no more, which counts as an error.
pub(super) async fn run(session: &Session, named: Vec<Bytes>) -> Result<(), Failure> {
    let watcher = session.patient_client()?.watcher();
    let mut input = BufReader::new(stdin());
    let mut followers = JoinSet::new();
    // The future lives across iterations of the loop: part of a line may have been read when a follower ends.
    let mut line = Vec::new();
    loop {
        let read = tokio::select! {
            read = input.read_until(b'\n', &mut line) => read,
            // The end of a follower ends the command only if the follower failed.
            Some(Ok(result)) = followers.join_next() => { result?; continue }
        };
        let unreadable =
            |why: &str| Failure::new(INVALID_INPUT, format!("error reading watch request line: {why}"));
        read.map_err(|error| unreadable(&error.to_string()))?;
        if line.pop_if(|last| *last == b'\n').is_none() {
            return Err(unreadable("EOF"));
        }
        let shown = lossy(&line);
        let words = words::split(&line)?;
        line.clear();
        match words.split_first() {
            None => eprintln!("Invalid command: {shown} (watch and progress supported)"),
            Some((word, [])) if word == "watch" && named.is_empty() => {
                eprintln!("Invalid command {shown} (command type or key is not provided)");
            }
            Some((word, words)) if word == "watch" => {
                watch(session, &watcher, &shown, words, named.clone(), &mut followers).await?;
            }
            Some((word, _)) if word == "progress" => watcher.request_progress().await,
            Some(_) => eprintln!("Invalid command {shown} (only support watch)"),
        }
    }
}

/// Starts the watch that `words` ask for, with flags of its own.
async fn watch(
    session: &Session,
    watcher: &Watcher,
    line: &str,
    words: &[Bytes],
    named: Vec<Bytes>,
    followers: &mut JoinSet<Result<(), Failure>>,
) -> Result<(), Failure> {
    let mut flags = Values::defaults(&[&super::COMMAND]);
    let positional = flags.read(words.to_vec()).map_err(|invalid| match invalid {
        Invalid::Help => Failure::bad_args("pflag: help requested"),
        Invalid::Flag(message) => Failure::bad_args(message),
    })?;
    let (keys, program) = args::split(&positional.args, positional.dash, named)?;
    match super::request(&flags, &keys) {
        Ok(request) => {
            let watch = watcher.watch(request).await;
            let printer = session.printer().clone();
            followers.spawn(async move { super::follow(watch, &printer, &program).await });
        }
        Err(why) => eprintln!("Invalid command {line} ({why})"),
    }
    Ok(())
}
