//! What a member that joins asks the others before it has an identity: of which version their cluster is.

use std::io;
use std::time::Duration;

use http::StatusCode;
use proto::etcdserverpb::Member;
use serde_json::Value;
use tokio::runtime::Builder;
use tokio::task::LocalSet;
use tokio::time::timeout;

use super::client::{Connection, read_answer};
use crate::config::Url;

/// What members say of the version of their cluster.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ClusterVersions {
    /// The version of the cluster, by the id of the member that tells it. It need not be a version.
    pub(crate) told: Vec<(u64, String)>,
    /// Whether the cluster is on its way to the minor version before.
    pub(crate) is_downgrading: bool,
}

/// Asks all `members`, each at its peer URLs and each for up to `limit`. Those that do not answer are left out. Blocks.
pub(crate) fn ask_versions(members: &[Member], limit: Duration) -> io::Result<ClusterVersions> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let versions = LocalSet::new().block_on(&runtime, async {
        let mut versions = ClusterVersions::default();
        let mut is_downgrading = None;
        for member in members {
            if let Some(body) = ask_member(member, "/version", limit).await
                && let Some(version) = cluster_version(&body)
            {
                versions.told.push((member.id, version));
            }
            if is_downgrading.is_none() {
                // The answer comes from a read that all members agree on: the first one is enough.
                is_downgrading =
                    ask_member(member, "/downgrade/enabled", limit).await.map(|body| body == b"true");
            }
        }
        versions.is_downgrading = is_downgrading.unwrap_or_default();
        versions
    });
    runtime.shutdown_background();
    Ok(versions)
}

/// The first good answer of a member.
async fn ask_member(member: &Member, path: &str, limit: Duration) -> Option<Vec<u8>> {
    for url in member.peer_ur_ls.iter().filter_map(|url| Url::parse(url).ok()) {
        if let Ok(Ok(body)) = timeout(limit, ask(&url, path, limit)).await {
            return Some(body);
        }
    }
    None
}

async fn ask(url: &Url, path: &str, limit: Duration) -> io::Result<Vec<u8>> {
    let mut connection = Connection::open(url, limit).await?;
    let (head, body) = connection.get(path).await?.into_parts();
    let body = read_answer(body).await?;
    if head.status == StatusCode::OK { Ok(body.to_vec()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

fn cluster_version(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    Some(answer.get("etcdcluster")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_of_etcd_is_read() {
        // As etcd 3.7.1 answers.
        let body = br#"{"etcdserver":"3.7.1","etcdcluster":"3.7.0","storage":"3.7.0"}"#;
        assert_eq!(cluster_version(body), Some("3.7.0".to_owned()));
        for garbage in [&b""[..], b"[]", b"{\"etcdcluster\":3}", b"{}"] {
            assert_eq!(cluster_version(garbage), None);
        }
    }
}
