//! Of which versions the members are, and what follows from it for the version of the cluster.
//!
//! Only the leader asks. Once all members have answered, it tells the node the lowest version; the node proposes the
//! version of the cluster when that should change. While it is not decided and a member does not answer, it is the
//! oldest that there is, as in etcd.

use peer::MinorVersion;
use proto::etcdserverpb::Member;
use tracing::{info, warn};

use node::Input;

use super::Api;
use crate::config::ETCD_VERSION;
use crate::peers::{Question, Versions};

impl Api {
    /// Asks all members for their versions, and tells the node the lowest.
    pub(crate) async fn decide_cluster_version(&self) {
        let lowest = self.member_versions().await.and_then(|versions| versions.into_iter().min());
        let is_undecided = self.published.control().cluster_version().is_empty();
        let lowest = lowest.or(is_undecided.then_some(MinorVersion::MIN_CLUSTER));
        if let Some(MinorVersion { major, minor }) = lowest {
            self.node_client.send(Input::MemberVersions { lowest: format!("{major}.{minor}.0") });
        }
    }

    /// Ends a downgrade once all members run the version that it is for.
    pub(crate) async fn end_downgrade(&self) {
        let Some(target) = self.published.control().downgrade_target().map(str::to_owned) else { return };
        let Some(versions) = self.member_versions().await else { return };
        let Some(target_version) = MinorVersion::parse(&target) else { return };
        if versions.iter().all(|version| *version == target_version) {
            info!("cluster-version" = target, "the cluster has been downgraded");
            if let Err(error) = self.cancel_downgrade().await {
                let error = error.text();
                warn!(%error, "failed to cancel downgrade");
            }
        }
    }

    /// The version of each member; `None` if one does not answer.
    async fn member_versions(&self) -> Option<Vec<MinorVersion>> {
        let members: Vec<Member> = self.published.control().members().cloned().collect();
        let mut versions = vec![own_version()];
        let mut is_complete = true;
        for member in members.iter().filter(|member| member.id != self.settings.member_id) {
            match self.version_of(member.id).await {
                Ok(told) => {
                    warn_of_higher(member.id, &told);
                    versions.push(told.server);
                }
                Err(error) => {
                    let id = format!("{:x}", member.id);
                    warn!("remote-member-id" = id, error, "failed to get version");
                    is_complete = false;
                }
            }
        }
        is_complete.then_some(versions)
    }

    async fn version_of(&self, id: u64) -> Result<Versions, String> {
        let limit = self.settings.request_timeout;
        let reply =
            self.peers.ask(id, Question::version(), limit).await.map_err(|error| error.to_string())?;
        reply.version()
    }
}

/// The version of this server.
pub(crate) fn own_version() -> MinorVersion {
    MinorVersion::parse(ETCD_VERSION).expect("it is a version")
}

fn warn_of_higher(id: u64, told: &Versions) {
    if told.server > own_version() {
        warn!(
            "local-member-version" = ETCD_VERSION,
            "remote-member-id" = format!("{id:x}"),
            "remote-member-version" = told.server_text,
            "leader found higher-versioned member"
        );
    }
}
