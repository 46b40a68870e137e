//! Leases: grant, revoke, keep alive, time to live, list.
//!
//! What is replicated goes through the log; what only the leader's clock knows is asked of the node, but for
//! a renewal, which mostly needs no more than that clock. Long lists come from the node page by page, so
//! that other requests are handled in between.

use std::collections::HashSet;

use bytes::Bytes;
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
use crate::peers::{Question, Reply};
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
            Some(ttl) => {
                self.metrics.leases.renewed.inc();
                ttl
            }
            None => {
                let question = || Question::renewal(id);
                let read = |reply: Reply| reply.renewal(id).map(Ok);
                self.by_leader(async || retried(self.renew_here(id).await), question, read).await?
            }
        };
        batch.add(|out| header.put_keep_alive(out, id, ttl))?;
        Ok(())
    }

    /// Renews a lease of which this member is the leader; [`Error::NoLeader`] if it is not. The seconds that the lease
    /// has from now on, 0 if there is no such lease.
    pub(super) async fn renew_here(&self, id: i64) -> Result<i64, Error> {
        let ttl = match self.ask_renewal(id).await? {
            // Another member may have applied its grant, and answered it, while this one has not yet.
            0 if self.wait_applied().await? => self.ask_renewal(id).await?,
            ttl => ttl,
        };
        if ttl > 0 {
            self.metrics.leases.renewed.inc();
        }
        Ok(ttl)
    }

    /// What is left of a lease, and its keys if asked for. The time to live is -1 if there is no such lease.
    pub(crate) async fn lease_time_to_live(
        &self,
        request: LeaseTimeToLiveRequest,
        share: &ReadShare,
    ) -> Result<Encoded, Error> {
        let id = request.id;
        let here = async || retried(self.time_to_live_here(&request, share).await);
        let read = |reply: Reply| reply.time_to_live(id).map(Ok);
        let response = self.by_leader(here, || Question::time_to_live(request), read).await?;
        let unknown = || LeaseTimeToLiveResponse { id, ttl: -1, ..LeaseTimeToLiveResponse::default() };
        let response = response.unwrap_or_else(unknown);
        let header = Some(self.response_header_now());
        Ok(Encoded::message(&LeaseTimeToLiveResponse { header, ..response }))
    }

    /// The same for a lease of which this member is the leader; [`Error::NoLeader`] if it is not. `None` if there is no
    /// such lease. Without a header.
    pub(super) async fn time_to_live_here(
        &self,
        request: &LeaseTimeToLiveRequest,
        share: &ReadShare,
    ) -> Result<Option<LeaseTimeToLiveResponse>, Error> {
        let id = request.id;
        let state = match self.lease_state(id).await? {
            None if self.wait_applied().await? => self.lease_state(id).await?,
            state => state,
        };
        let Some(LeaseState { granted_ttl_s, remaining_ttl_s }) = state else { return Ok(None) };
        let keys = if request.keys { self.lease_keys(id, share).await? } else { Vec::new() };
        Ok(Some(LeaseTimeToLiveResponse {
            id,
            ttl: remaining_ttl_s,
            granted_ttl: granted_ttl_s,
            keys,
            header: None,
        }))
    }

    async fn ask_renewal(&self, id: i64) -> Result<i64, Error> {
        match self.ask_lease(LeaseQuery::Renew { id }).await? {
            LeaseAnswer::Renewed(ttl) => Ok(ttl),
            other => unreachable!("a renewal came to {other:?}"),
        }
    }

    async fn lease_state(&self, id: i64) -> Result<Option<LeaseState>, Error> {
        match self.ask_lease(LeaseQuery::State { id }).await? {
            LeaseAnswer::State(state) => Ok(state),
            other => unreachable!("a question about a lease came to {other:?}"),
        }
    }

    async fn lease_keys(&self, id: i64, share: &ReadShare) -> Result<Vec<Bytes>, Error> {
        let (mut keys, mut listing, mut after) = (Vec::new(), None, None);
        loop {
            let page = match self.ask_lease(LeaseQuery::Keys { id, after }).await? {
                LeaseAnswer::Keys(page) => page,
                other => unreachable!("a question for keys came to {other:?}"),
            };
            after = page.last().cloned();
            if after.is_none() {
                return Ok(keys);
            }
            keys.extend(page.iter().map(|key| Bytes::copy_from_slice(key)));
            if keys.len() > LISTED_AT_ONCE && listing.is_none() {
                listing = share.begin_listing().await;
            }
        }
    }

    /// Waits until what is committed by now is applied. False if it certainly is already.
    async fn wait_applied(&self) -> Result<bool, Error> {
        let is_applied = self.published.reads_at_once();
        self.wait_readable().await?;
        Ok(!is_applied)
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

/// Leadership that moved during a question about a lease is no reason to fail: the new leader can be asked.
fn retried<T>(result: Result<T, Error>) -> Result<T, Error> {
    result.map_err(|error| if error == Error::LeaderChanged { Error::NoLeader } else { error })
}
