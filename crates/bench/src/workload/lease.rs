//! Leases that are renewed: each worker holds one and renews it over one stream, as clients' `KeepAlive` does,
//! or each time over a new one, as `KeepAliveOnce`.

use prost::Message;
use proto::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
};
use tokio::task::JoinSet;

use crate::client::{Call, Connection, Head};
use crate::error::Error;
use crate::meter::{Meter, Phase};
use crate::settings::Workload;

/// The method that grants a lease.
pub(crate) const GRANT: &str = "/etcdserverpb.Lease/LeaseGrant";
/// The method that opens a stream of renewals.
const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";
/// Time to live of leases that are not to run out during a run, in seconds.
pub(crate) const TTL_S: i64 = 3600;

/// Grants a lease and starts the worker that renews it as `workload` says.
pub(super) async fn spawn(
    workload: Workload,
    connection: &Connection,
    meter: &Meter,
    workers: &mut JoinSet<()>,
) -> Result<(), Error> {
    let LeaseGrantResponse { id, .. } =
        connection.call(GRANT, LeaseGrantRequest { ttl: TTL_S, id: 0 }).await?;
    let head = connection.head(KEEP_ALIVE);
    let lasting = workload == Workload::LeaseKeepalive;
    let call = lasting.then(|| connection.stream(head)).transpose()?;
    workers.spawn(Holder { id, connection: connection.clone(), head, call }.run(meter.clone()));
    Ok(())
}

/// One lease and how to keep it.
struct Holder {
    id: i64,
    connection: Connection,
    head: Head,
    /// The stream of all renewals, unless each has its own.
    call: Option<Call>,
}

impl Holder {
    async fn run(mut self, mut meter: Meter) {
        meter.reached(Phase::WarmUp).await;
        while let Some(start) = meter.turn().await {
            let result = self.renew().await;
            meter.count(result.as_ref().map(|()| start.elapsed()));
            if result.is_err() {
                break;
            }
        }
    }

    async fn renew(&mut self) -> Result<(), Error> {
        if let Some(call) = &mut self.call {
            return renew_over(call, self.id).await;
        }
        let mut call = self.connection.stream(self.head)?;
        renew_over(&mut call, self.id).await?;
        call.finish();
        Ok(())
    }
}

async fn renew_over(call: &mut Call, id: i64) -> Result<(), Error> {
    call.send(&LeaseKeepAliveRequest { id });
    let answer = call.next().await?.ok_or_else(|| Error::Answer("the stream ended".to_owned()))?;
    match LeaseKeepAliveResponse::decode(answer)?.ttl {
        0 => Err(Error::Answer("the lease is gone".to_owned())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_is_a_method_of_the_service() {
        for path in [GRANT, KEEP_ALIVE] {
            assert!(proto::etcdserverpb::LEASE.methods.iter().any(|method| method.path == path), "{path}");
        }
    }
}
