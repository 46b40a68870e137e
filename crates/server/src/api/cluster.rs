//! Who belongs to the cluster.
//!
//! Members cannot be added, removed or changed yet; what is wrong with a request, and what a lone member
//! would refuse anyway, is said as etcd says it.

use proto::etcdserverpb::{
    MemberAddRequest, MemberListRequest, MemberListResponse, MemberPromoteRequest, MemberRemoveRequest,
    MemberUpdateRequest,
};

use super::encode::Encoded;
use super::{Api, Error};
use crate::config::Url;

const UNCHANGEABLE: Error = Error::Unsupported("changing the members is not supported by this version yet");

impl Api {
    /// The members by ascending id: as of now for a linearizable request, else as far as this member knows.
    /// The header has no revision, as in etcd.
    pub(crate) async fn member_list(&self, request: MemberListRequest) -> Result<Encoded, Error> {
        if request.linearizable {
            self.wait_readable().await?;
        }
        let members = self.published.control().members().cloned().collect();
        Ok(Encoded::message(&MemberListResponse { header: Some(self.response_header(0)), members }))
    }

    /// Refuses to add a member.
    pub(crate) fn member_add(&self, request: &MemberAddRequest) -> Result<Encoded, Error> {
        let urls = &request.peer_ur_ls;
        if urls.is_empty() || urls.iter().any(|url| Url::parse(url).is_err()) {
            return Err(Error::MemberUrls);
        }
        let control = self.published.control();
        let is_used = control.members().any(|member| member.peer_ur_ls.iter().any(|url| urls.contains(url)));
        Err(if is_used { Error::MemberUrlUsed } else { UNCHANGEABLE })
    }

    /// Refuses to remove a member: the last one cannot be.
    pub(crate) fn member_remove(&self, request: MemberRemoveRequest) -> Result<Encoded, Error> {
        self.check_member(request.id)?;
        Err(Error::TooFewMembers)
    }

    /// Refuses to change a member.
    pub(crate) fn member_update(&self, request: &MemberUpdateRequest) -> Result<Encoded, Error> {
        self.check_member(request.id)?;
        Err(UNCHANGEABLE)
    }

    /// Refuses to promote a member: none is a learner.
    pub(crate) fn member_promote(&self, request: MemberPromoteRequest) -> Result<Encoded, Error> {
        self.check_member(request.id)?;
        Err(Error::NotLearner)
    }

    fn check_member(&self, id: u64) -> Result<(), Error> {
        self.published.control().member(id).map(drop).ok_or(Error::MemberNotFound)
    }
}
