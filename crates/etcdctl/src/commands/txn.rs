//! `etcdctl txn`: compares and operations from standard input, as one transaction.
//!
//! Three sections, each ended by an empty line: what to compare, what to do if all of it holds, what to do if
//! not.

use std::io::{BufRead, stdin};

use bytes::Bytes;
use proto::etcdserverpb::request_op::Request;
use proto::etcdserverpb::{RequestOp, TxnRequest};

use super::{compare, del, get, put, words};
use crate::cli::{Action, Call, Command, Flag, Group, Values, find, usage};
use crate::failure::{Failure, INVALID_INPUT};
use crate::print::Answer;
use crate::session::Session;
use crate::text::lossy;

pub(super) const COMMAND: Command = Command::new(
    "txn [options]",
    "Txn processes all the requests in one transaction",
    Action::Run(|call| Box::pin(run(call))),
)
.long(
    "Txn reads multiple etcd requests from standard input and applies them as a single atomic transaction.

A transaction consists of three components:
1) a list of conditions,
2) a list of requests to apply if all the conditions are true,
3) a list of requests to apply if any condition is false.

Example interactive stdin usage:

---
etcdctl txn -i
# compares:
mod(\"key1\") > \"0\"

# success requests (get, put, delete):
put key1 \"overwrote-key1\"

# failure requests (get, put, delete):
put key1 \"created-key1\"
put key2 \"some extra key\"
---

Refer to https://github.com/etcd-io/etcd/blob/main/etcdctl/README.md#txn-options.",
)
.group(Group::KeyValue)
.flags(&[Flag::bool("interactive", "Input transaction in interactive mode").short('i')]);

/// The commands that an operation may be.
const OPERATIONS: Command =
    Command::new("", "", Action::Parent(&[&put::COMMAND, &get::COMMAND, &del::COMMAND]));

async fn run(mut call: Call) -> Result<(), Failure> {
    if !call.args.is_empty() {
        return Err(Failure::bad_args("txn command does not accept argument"));
    }
    let session = Session::new(&mut call.flags)?;
    let prompt = |text: &str| {
        if call.flags.bool("interactive") {
            println!("{text}");
        }
    };
    let mut request = TxnRequest::default();
    prompt("compares:");
    while let Some(line) = read_line()? {
        request.compare.push(compare::parse(&line)?);
    }
    prompt("success requests (get, put, del):");
    while let Some(line) = read_line()? {
        request.success.push(operation(&line).await?);
    }
    prompt("failure requests (get, put, del):");
    while let Some(line) = read_line()? {
        request.failure.push(operation(&line).await?);
    }
    let response = session.patient_client()?.txn(request).await?;
    session.print(&Answer::Txn(&response))
}

/// Reads a line of a section; `None` is the empty line that ends it.
fn read_line() -> Result<Option<Vec<u8>>, Failure> {
    let mut line = Vec::new();
    let read = stdin().lock().read_until(b'\n', &mut line);
    read.map_err(|error| Failure::new(INVALID_INPUT, error.to_string()))?;
    if !line.ends_with(b"\n") {
        return Err(Failure::new(INVALID_INPUT, "EOF"));
    }
    let line = line.trim_ascii();
    Ok((!line.is_empty()).then(|| line.to_vec()))
}

/// Reads an operation: one of three commands, with its flags.
async fn operation(line: &[u8]) -> Result<RequestOp, Failure> {
    let invalid = |what: &str| Failure::new(INVALID_INPUT, format!("invalid txn {what}: {}", lossy(line)));
    let words = words::split(line)?;
    if words.len() < 2 {
        return Err(invalid("compare request"));
    }
    let found = find(&OPERATIONS, words);
    let [_, command] = found.path[..] else { return Err(invalid("request")) };
    let mut flags = Values::defaults(&found.path);
    let Ok(read) = flags.read(found.args) else {
        eprintln!("{}", usage(&found.path));
        return Err(invalid("request"));
    };
    let request = match command.name() {
        "put" => Request::RequestPut(put::request(&flags, &read.args, Bytes::new())?),
        "get" => Request::RequestRange(get::request(&flags, &read.args)?),
        _ => Request::RequestDeleteRange(del::request(&flags, &read.args).await?),
    };
    Ok(RequestOp { request: Some(request) })
}
