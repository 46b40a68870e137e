//! Leases: grant, revoke, keep alive, time to live, list.
//!
//! What is replicated goes through the log; what only the leader's clock knows is asked of the node, but for
//! a renewal, which mostly needs no more than that clock. Long lists come from the node page by page, so
//! that other requests are handled in between.

use std::collections::HashSet;

use node::{Answer, Input, LeaseAnswer, LeaseQuery, LeaseState};
use prost::Message;
use proto::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseLeasesResponse, LeaseRevokeRequest,
    LeaseRevokeResponse, LeaseStatus, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use store::{Outcome, Request};

use super::encode::Encoded;
use super::{Api, Error};
use crate::grpc::Batch;
use crate::read_budget::ReadShare;

/// Leases, or keys of a lease, that a list may have without being counted as a long one.
const LISTED_AT_ONCE: usize = 1000;

impl Api {
    /// Grants a lease, under an id of its own unless the client has chosen one. Answered when it is durable.
    pub(crate) async fn lease_grant(&self, mut request: LeaseGrantRequest) -> Result<Encoded, Error> {
        if request.id == 0 {
            // Request ids are unique, hence so are these; and never negative, for clients that print them.
            request.id = (self.published.next_request_id() & i64::MAX.cast_unsigned()).cast_signed();
        }
        let (id, request) = (request.id, Request::LeaseGrant(request));
        self.check_quota(&request).await?;
        match self.propose(request).await? {
            Outcome::LeaseGrant(granted) => Ok(Encoded::message(&LeaseGrantResponse {
                header: Some(self.response_header(granted.revision)),
                id,
                ttl: granted.ttl_s,
                error: String::new(),
            })),
            other => unreachable!("a grant came to {other:?}"),
        }
    }

    /// Ends a lease; its keys are gone with the answer.
    pub(crate) async fn lease_revoke(&self, request: LeaseRevokeRequest) -> Result<Encoded, Error> {
        match self.propose(Request::LeaseRevoke(request)).await? {
            Outcome::LeaseRevoke { revision } => {
                Ok(Encoded::message(&LeaseRevokeResponse { header: Some(self.response_header(revision)) }))
            }
            other => unreachable!("a revocation came to {other:?}"),
        }
    }

    /// Renews a lease once, and adds the answer to `batch`. The time to live answered is 0 if there is no
    /// such lease.
    pub(crate) async fn lease_keep_alive(
        &self,
        request: LeaseKeepAliveRequest,
        batch: &mut Batch,
    ) -> Result<(), Error> {
        // etcd takes the header before it renews, so its revision may be older than the renewal.
        let header = self.header(self.view.revision());
        let id = request.id;
        let ttl = match self.node.renew_lease(id) {
            Some(ttl) => ttl,
            None => match self.ask_lease(LeaseQuery::Renew { id }).await? {
                LeaseAnswer::Renewed(ttl) => ttl,
                other => unreachable!("a renewal came to {other:?}"),
            },
        };
        if ttl > 0 {
            self.metrics.leases.renewed.inc();
        }
        batch.add(|out| header.put_keep_alive(out, id, ttl))?;
        Ok(())
    }

    /// What is left of a lease, and its keys if asked for. The time to live is -1 if there is no such lease.
    pub(crate) async fn lease_time_to_live(
        &self,
        request: LeaseTimeToLiveRequest,
        share: &ReadShare,
    ) -> Result<Encoded, Error> {
        let id = request.id;
        let state = match self.ask_lease(LeaseQuery::State { id }).await? {
            LeaseAnswer::State(state) => state,
            other => unreachable!("a question about a lease came to {other:?}"),
        };
        let (mut keys, mut listing) = (Vec::new(), None);
        if request.keys && state.is_some() {
            let mut after = None;
            loop {
                let page = match self.ask_lease(LeaseQuery::Keys { id, after }).await? {
                    LeaseAnswer::Keys(page) => page,
                    other => unreachable!("a question for keys came to {other:?}"),
                };
                after = page.last().cloned();
                if after.is_none() {
                    break;
                }
                keys.extend(page.iter().map(|key| key.to_vec().into()));
                if keys.len() > LISTED_AT_ONCE && listing.is_none() {
                    listing = share.begin_listing().await;
                }
            }
        }
        let unknown = LeaseState { granted_ttl_s: 0, remaining_ttl_s: -1 };
        let LeaseState { granted_ttl_s, remaining_ttl_s } = state.unwrap_or(unknown);
        let header = Some(self.response_header_now());
        let response =
            LeaseTimeToLiveResponse { header, id, ttl: remaining_ttl_s, granted_ttl: granted_ttl_s, keys };
        Ok(Encoded::message(&response))
    }

    /// All leases, those first that run out first.
    pub(crate) async fn lease_leases(&self, share: &ReadShare) -> Result<Encoded, Error> {
        let mut leases = LeaseLeasesResponse::default();
        // A lease that is renewed meanwhile comes again in a later page.
        let mut listed = HashSet::new();
        let mut chunks = Vec::new();
        let (mut after, mut listing) = (None, None);
        loop {
            let page = match self.ask_lease(LeaseQuery::List { after }).await? {
                LeaseAnswer::List(page) => page,
                other => unreachable!("a question for leases came to {other:?}"),
            };
            after = page.last().copied();
            if after.is_none() {
                break;
            }
            leases.leases.clear();
            leases.leases.extend(
                page.iter()
                    .map(|place| place.id())
                    .filter(|id| listed.insert(*id))
                    .map(|id| LeaseStatus { id }),
            );
            chunks.push(leases.encode_to_vec().into());
            if listed.len() > LISTED_AT_ONCE && listing.is_none() {
                listing = share.begin_listing().await;
            }
        }
        let header = Some(self.response_header_now());
        chunks.insert(0, LeaseLeasesResponse { header, leases: Vec::new() }.encode_to_vec().into());
        Ok(Encoded { chunks })
    }

    async fn ask_lease(&self, query: LeaseQuery) -> Result<LeaseAnswer, Error> {
        match self.ask(|ticket| Input::Lease(query, ticket)).await? {
            Answer::Lease(answer) => Ok(answer),
            Answer::Unserved(unserved) => Err(unserved.into()),
            other => unreachable!("a question about leases came to {other:?}"),
        }
    }
}
