//! Workloads that take their course once, in place of repeating an operation for a measured time.
//!
//! They run on the coordinator's own thread: the load is small, or its pace is up to the server.

mod bare;
mod catch_up;
mod compaction;
mod failover;
mod idle;
mod idle_server;
mod key_count;
mod lease_expiry;
mod overwrite;
mod restart;
mod side_load;

use crate::cluster::Cluster;
use crate::error::Error;
use crate::report::Report;
use crate::settings::{Settings, Workload};

/// Carries out the experiment that `settings` names.
///
/// # Errors
/// If the server cannot be reached or refuses what the experiment depends on, or there is no [`Cluster`] whose
/// members can be stopped and started where that is the experiment.
pub(crate) async fn run(settings: &Settings, cluster: Option<&mut Cluster>) -> Result<Report, Error> {
    match (settings.workload, cluster) {
        (Workload::WatchCatchUp, _) => catch_up::run(settings).await,
        (Workload::LeaseExpiry, _) => lease_expiry::run(settings).await,
        (Workload::Compaction, _) => compaction::run(settings).await,
        (Workload::Keys, _) => key_count::run(settings).await,
        (Workload::IdleConnections, _) => idle::connections(settings).await,
        (Workload::IdleWatchers, _) => idle::watchers(settings).await,
        (Workload::IdleServer, _) => idle_server::run(settings).await,
        (Workload::BareSync, _) => bare::sync(settings).await,
        (Workload::BareEcho, _) => bare::echo(settings).await,
        (Workload::Overwrite, Some(cluster)) => overwrite::run(settings, cluster.first()).await,
        (Workload::Restart, Some(cluster)) => restart::run(settings, cluster.first()).await,
        (Workload::ClusterFailover, Some(cluster)) => failover::run(settings, cluster).await,
        (workload, _) => {
            Err(Error::Usage(format!("{} needs a server that `bench compare` has started", workload.name())))
        }
    }
}
