//! Downgrading the cluster: the version it must have before members of the version before may join.
//!
//! Once a downgrade is enabled the leader lowers the cluster version; this ends when it is cancelled.

use proto::etcdserverpb::downgrade_request::DowngradeAction;
use proto::etcdserverpb::{DowngradeRequest, DowngradeResponse};
use proto::membershippb::DowngradeInfoSetRequest;
use store::Request;

use super::encode::Encoded;
use super::{Api, Error};

impl Api {
    /// Says whether the cluster may be downgraded to a version, begins it, or ends it. To end what was not begun is
    /// no error.
    pub(crate) async fn downgrade(&self, request: DowngradeRequest) -> Result<Encoded, Error> {
        let cluster_version = match DowngradeAction::try_from(request.action) {
            Ok(DowngradeAction::Validate) => self.check_downgrade(minor_of(&request.version)?).await?,
            Ok(DowngradeAction::Enable) => {
                let (major, minor) = minor_of(&request.version)?;
                let cluster_version = self.check_downgrade((major, minor)).await?;
                self.set_downgrade(true, format!("{major}.{minor}.0")).await?;
                cluster_version
            }
            Ok(DowngradeAction::Cancel) => {
                let cluster_version = self.published.control().cluster_version().to_owned();
                // As in etcd, this succeeds whatever becomes of it.
                let _ = self.cancel_downgrade().await;
                cluster_version
            }
            Err(_) => return Err(Error::UnknownMethod),
        };
        let version = minor_of(&cluster_version).map(|(major, minor)| format!("{major}.{minor}"));
        let header = Some(self.response_header_now());
        Ok(Encoded::message(&DowngradeResponse { header, version: version.unwrap_or_default() }))
    }

    /// A cluster can go one minor version down, once at a time. Returns its version.
    async fn check_downgrade(&self, target: (u64, u64)) -> Result<String, Error> {
        let cluster_version = self.published.control().cluster_version().to_owned();
        if cluster_version.is_empty() {
            return Err(Error::ClusterVersionUnknown);
        }
        self.wait_readable().await?;
        let control = self.published.control();
        let (major, minor) = minor_of(control.cluster_version())?;
        if minor.checked_sub(1).map(|before| (major, before)) != Some(target) {
            return Err(Error::DowngradeTarget);
        }
        if control.downgrade_target().is_some() {
            return Err(Error::DowngradeUnderWay);
        }
        Ok(cluster_version)
    }

    /// Ends a downgrade, if there is one.
    pub(super) async fn cancel_downgrade(&self) -> Result<(), Error> {
        self.wait_readable().await?;
        if self.published.control().downgrade_target().is_some() {
            self.set_downgrade(false, String::new()).await?;
        }
        Ok(())
    }

    async fn set_downgrade(&self, enabled: bool, ver: String) -> Result<(), Error> {
        self.propose(Request::SetDowngrade(DowngradeInfoSetRequest { enabled, ver })).await.map(drop)
    }
}

/// Major and minor of a version such as `3.6`, `3.6.1` or `3.6.0-rc.1`.
fn minor_of(version: &str) -> Result<(u64, u64), Error> {
    let (core, label) = version.split_once(['-', '+']).unwrap_or((version, ""));
    let is_label = |c: char| c.is_ascii_alphanumeric() || ".-+".contains(c);
    let numbers: Result<Vec<u64>, _> = core.split('.').map(str::parse).collect();
    match numbers.as_deref() {
        Ok(&[major, minor] | &[major, minor, _]) if label.chars().all(is_label) => Ok((major, minor)),
        _ => Err(Error::DowngradeFormat),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_two_or_three_numbers_and_perhaps_a_label() {
        for version in ["3.6", "3.6.0", "3.6.12", "3.6.0-rc.1", "3.6.0+git"] {
            assert_eq!(minor_of(version), Ok((3, 6)), "{version}");
        }
        for version in ["", "x", "3", "3.", "3.6.0.0", "v3.6", "-3.6", "3.6.0-\u{e9}"] {
            assert_eq!(minor_of(version), Err(Error::DowngradeFormat), "{version}");
        }
    }
}
