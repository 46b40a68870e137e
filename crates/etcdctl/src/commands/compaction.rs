//! `etcdctl compaction`: drops the history below a revision.

use proto::etcdserverpb::CompactionRequest;

use crate::cli::{Action, Call, Command, Flag, Group};
use crate::failure::{ERROR, Failure};
use crate::session::Session;
use crate::text::{lossy, parse_int};

pub(super) const COMMAND: Command = Command::new(
    "compaction [options] <revision>",
    "Compacts the event history in etcd",
    Action::Run(|call| Box::pin(run(call))),
)
.group(Group::KeyValue)
.flags(&[Flag::bool("physical", "'true' to wait for compaction to physically remove all old revisions")]);

async fn run(mut call: Call) -> Result<(), Failure> {
    let [revision] = &call.args[..] else {
        return Err(Failure::bad_args("compaction command needs 1 argument"));
    };
    let revision = parse_int(&lossy(revision), 10).map_err(|why| Failure::new(ERROR, why))?;
    let session = Session::new(&mut call.flags)?;
    let request = CompactionRequest { revision, physical: call.flags.bool("physical") };
    session.client()?.compact(request).await?;
    println!("compacted revision {revision}");
    Ok(())
}
