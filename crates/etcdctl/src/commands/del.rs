//! `etcdctl del`: deletes a key or a range of keys.

use std::time::Duration;

use bytes::Bytes;
use proto::etcdserverpb::DeleteRangeRequest;
use tokio::time::sleep;

use super::key_range;
use crate::cli::{Action, Call, Command, Flag, Group, Values};
use crate::failure::Failure;
use crate::print::Answer;
use crate::session::Session;
use crate::text::quote;

pub(super) const COMMAND: Command = Command::new(
    "del [options] <key> [range_end]",
    "Removes the specified key or range of keys [key, range_end)",
    Action::Run(|call| Box::pin(run(call))),
)
.group(Group::KeyValue)
.flags(&[
    Flag::bool("prefix", "delete keys with matching prefix"),
    Flag::bool("prev-kv", "return deleted key-value pairs"),
    Flag::bool("from-key", "delete keys that are greater than or equal to the given key using byte compare"),
    Flag::bool("range", "delete range of keys"),
]);

/// Time to interrupt the deletion of a range that was probably meant as two keys.
const SECOND_THOUGHTS: Duration = Duration::from_secs(2);

async fn run(mut call: Call) -> Result<(), Failure> {
    let request = request(&call.flags, &call.args).await?;
    let session = Session::new(&mut call.flags)?;
    let response = session.client()?.delete_range(request).await?;
    session.print(&Answer::Delete(&response))
}

/// Makes the request. A range without `--range` comes with a warning and some time to interrupt.
pub(super) async fn request(flags: &Values, args: &[Bytes]) -> Result<DeleteRangeRequest, Failure> {
    if args.is_empty() || args.len() > 2 {
        return Err(Failure::bad_args(
            "del command needs one argument as key and an optional argument as range_end",
        ));
    }
    key_range::check_flags(flags)?;
    let range = key_range::read(flags, args)?;
    if let ([key, end], false) = (args, flags.bool("range")) {
        eprintln!(
            "Warning: Keys between {} and {} will be deleted. Please interrupt the command within next 2 \
             seconds to cancel. You can provide `--range` flag to avoid the delay.",
            quote(key),
            quote(end)
        );
        sleep(SECOND_THOUGHTS).await;
    }
    Ok(DeleteRangeRequest { key: range.key, range_end: range.end, prev_kv: flags.bool("prev-kv") })
}
