//! Who belongs to the cluster.

use prost::Message;
use proto::etcdserverpb::{MemberListRequest, MemberListResponse};

use super::encode::Encoded;
use super::{Api, Error};

impl Api {
    /// The members by ascending id: as of now for a linearizable request, else as far as this member knows. The
    /// header has no revision, as in etcd.
    pub(crate) async fn member_list(&self, request: MemberListRequest) -> Result<Encoded, Error> {
        if request.linearizable {
            self.wait_readable().await?;
        }
        let members = self.published.control().members().cloned().collect();
        let response = MemberListResponse { header: Some(self.response_header(0)), members };
        Ok(Encoded { chunks: vec![response.encode_to_vec().into()] })
    }
}
