//! `etcdctl defrag`: gives space back to the file system, endpoint by endpoint.

use std::time::Instant;

use proto::etcdserverpb::DefragmentRequest;

use super::endpoint;
use crate::cli::{Action, Call, Command, Group};
use crate::failure::Failure;
use crate::session::Session;
use crate::text::format_duration;

pub(super) const COMMAND: Command = Command::new(
    "defrag",
    "Defragments the storage of the etcd members with given endpoints",
    Action::Run(|call| Box::pin(run(call))),
)
.group(Group::Maintenance)
.shared_flags(&[endpoint::CLUSTER]);

async fn run(mut call: Call) -> Result<(), Failure> {
    let session = Session::new(&mut call.flags)?;
    let mut failures = 0;
    for endpoint in endpoint::endpoints(&session, &call.flags).await? {
        let client = session.client_of(&endpoint)?;
        let start = Instant::now();
        let result = client.defragment(DefragmentRequest {}).await;
        let took = format_duration(start.elapsed());
        match result {
            Ok(_) => println!("Finished defragmenting etcd member[{endpoint}]. took {took}"),
            Err(error) => {
                eprintln!("Failed to defragment etcd member[{endpoint}]. took {took}. ({error})");
                failures += 1;
            }
        }
    }
    if failures == 0 { Ok(()) } else { Err(Failure::told()) }
}
