//! `etcdctl put`: stores a key.

use std::io::{Read, stdin};

use bytes::Bytes;
use proto::etcdserverpb::PutRequest;

use crate::cli::{Action, Call, Command, Flag, Group, Values};
use crate::failure::Failure;
use crate::print::Answer;
use crate::session::Session;
use crate::text::parse_int;

pub(super) const COMMAND: Command = Command::new(
    "put [options] <key> <value> (<value> can also be given from stdin)",
    "Puts the given key into the store",
    Action::Run(|call| Box::pin(run(call))),
)
.long(
    "
Puts the given key into the store.

When <value> begins with '-', <value> is interpreted as a flag.
Insert '--' for workaround:

$ put <key> -- <value>
$ put -- <key> <value>

If <value> isn't given as a command line argument and '--ignore-value' is not specified,
this command tries to read the value from standard input.

If <lease> isn't given as a command line argument and '--ignore-lease' is not specified,
this command tries to read the value from standard input.

For example,
$ cat file | put <key>
will store the content of the file to <key>.
",
)
.group(Group::KeyValue)
.flags(&[
    Flag::text("lease", "0", "lease ID (in hexadecimal) to attach to the key"),
    Flag::bool("prev-kv", "return the previous key-value pair before modification"),
    Flag::bool("ignore-value", "updates the key using its current value"),
    Flag::bool("ignore-lease", "updates the key using its current lease"),
]);

async fn run(mut call: Call) -> Result<(), Failure> {
    let mut piped = Vec::new();
    if call.args.len() == 1 && !call.flags.bool("ignore-value") {
        // Unreadable input counts as empty, which is refused.
        let _ = stdin().read_to_end(&mut piped);
    }
    let request = request(&call.flags, &call.args, piped.into())?;
    let session = Session::new(&mut call.flags)?;
    let response = session.client()?.put(request).await?;
    session.print(&Answer::Put(&response))
}

/// Makes the request; `piped` is the value if the arguments have none.
pub(super) fn request(flags: &Values, args: &[Bytes], piped: Bytes) -> Result<PutRequest, Failure> {
    let ignore_value = flags.bool("ignore-value");
    let needs = "put command needs 1 argument and input from stdin or 2 arguments";
    let key = args.first().ok_or_else(|| Failure::bad_args(needs))?;
    let value = match args.get(1) {
        Some(_) if ignore_value => {
            return Err(Failure::bad_args("put command needs only 1 argument when 'ignore-value' is set"));
        }
        None if !ignore_value && piped.is_empty() => return Err(Failure::bad_args(needs)),
        Some(value) => value.clone(),
        None => piped,
    };
    let lease = parse_int(flags.text("lease"), 16)
        .map_err(|why| Failure::bad_args(format!("bad lease ID ({why}), expecting ID in Hex")))?;
    Ok(PutRequest {
        key: key.clone(),
        value,
        lease,
        prev_kv: flags.bool("prev-kv"),
        ignore_value,
        ignore_lease: flags.bool("ignore-lease"),
    })
}
