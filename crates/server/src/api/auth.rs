//! Who may do what: nobody has to say who they are yet.

use proto::etcdserverpb::AuthStatusResponse;

use super::encode::Encoded;
use super::{Api, Error};

/// The revision of the users and roles of a cluster that never had any.
pub(super) const FIRST_REVISION: u64 = 1;

impl Api {
    /// That authentication is off. Linearizable; unlike in etcd the question takes no place in the log.
    pub(crate) async fn auth_status(&self) -> Result<Encoded, Error> {
        self.wait_readable().await?;
        let header = Some(self.response_header_now());
        let (enabled, auth_revision) = (false, FIRST_REVISION);
        Ok(Encoded::message(&AuthStatusResponse { header, enabled, auth_revision }))
    }
}
