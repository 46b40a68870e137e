//! Leases that are renewed: each worker holds one and renews it over a stream of its own, as clients do.

use prost::Message;
use proto::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
};
use tokio::task::JoinSet;

use crate::client::{Call, Connection};
use crate::error::Error;
use crate::meter::{Meter, Phase};

/// The method that grants a lease.
pub(crate) const GRANT: &str = "/etcdserverpb.Lease/LeaseGrant";
/// The method that opens a stream of renewals.
const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";
/// Time to live of leases that are not to run out during a run, in seconds.
pub(crate) const TTL_S: i64 = 3600;

/// Grants a lease, opens its stream and starts the worker that renews it.
pub(super) async fn spawn(
    connection: &Connection,
    meter: &Meter,
    workers: &mut JoinSet<()>,
) -> Result<(), Error> {
    let LeaseGrantResponse { id, .. } =
        connection.call(GRANT, LeaseGrantRequest { ttl: TTL_S, id: 0 }).await?;
    let call = connection.stream(connection.head(KEEP_ALIVE))?;
    workers.spawn(Holder { id, call }.run(meter.clone()));
    Ok(())
}

/// One lease and the stream that keeps it.
struct Holder {
    id: i64,
    call: Call,
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
        self.call.send(&LeaseKeepAliveRequest { id: self.id });
        let answer = self.call.next().await?.ok_or_else(|| Error::Answer("the stream ended".to_owned()))?;
        match LeaseKeepAliveResponse::decode(answer)?.ttl {
            0 => Err(Error::Answer("the lease is gone".to_owned())),
            _ => Ok(()),
        }
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
