//! From a gRPC call to the handler of its method.
//!
//! Decodes requests and counts calls. What is asked for is known by the call's [`Route`]; everything else is
//! in `api`, which knows nothing of gRPC.
//!
//! Each call has a place as large as the largest future here, and futures are moved into it whole: so calls
//! of keys, the most by far, are handled in that place, and all others in an allocation of their own.

use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use proto::etcdserverpb::{
    AuthDisableRequest, AuthEnableRequest, AuthRoleDeleteRequest, AuthRoleGetRequest, AuthRoleListRequest,
    AuthRoleRevokePermissionRequest, AuthStatusRequest, AuthUserDeleteRequest, AuthUserGetRequest,
    AuthUserGrantRoleRequest, AuthUserListRequest, AuthUserRevokeRoleRequest, AuthenticateRequest,
    DefragmentRequest, HashRequest, LeaseLeasesRequest, RangeRequest, SnapshotRequest, StatusRequest,
    TxnRequest, WatchRequest,
};
use proto::health::HealthListRequest;
use tokio::sync::watch;
use tokio::task::spawn_local;
use tracing::warn;

use crate::api::{Api, AuthRefusal, Encoded, Error, RangeAnswer, RangePieces, WatchSession};
use crate::codes::status;
use crate::grpc::{Batch, Body, Call, Code, Gone, Head, Service, Status};
use crate::local_event::LocalEvent;
use crate::metered_call::{MeteredCall, MeteredRequests, MeteredResponses};
use crate::metrics::{ClientVersions, MethodMetrics, Metrics};
use crate::route::{Method, Route, SERVICES};
use crate::time_slice;

/// Bytes of an answer that are compressed before others have their turn.
const COMPRESSED_AT_ONCE: usize = 256 << 10;

/// The calls of one worker thread.
#[derive(Debug)]
pub(crate) struct Calls {
    api: Rc<Api>,
    metrics: Vec<Rc<MethodMetrics>>,
    clients: ClientVersions,
    /// Unary calls that take longer are logged.
    slow_call: Duration,
    stopping: Rc<LocalEvent>,
    leader_lost: Rc<LocalEvent>,
}

impl Calls {
    /// Must be called in a `LocalSet`: looks after the leader from then on, and after `stopping`.
    pub(crate) fn new(
        api: Rc<Api>,
        metrics: &Metrics,
        slow_call: Duration,
        stopping: watch::Receiver<bool>,
    ) -> Calls {
        let leader_lost = Rc::<LocalEvent>::default();
        spawn_local(Rc::clone(&api).watch_leader(Rc::clone(&leader_lost)));
        let methods = SERVICES.iter().flat_map(|service| service.methods.iter().map(move |m| (*service, m)));
        let clients = metrics.requests.clients();
        let metrics = methods.map(|(service, m)| Rc::new(metrics.method(service, m))).collect();
        Calls { api, metrics, clients, slow_call, stopping: LocalEvent::follow(stopping), leader_lost }
    }

    /// Finds the handler.
    async fn dispatch(&self, method: Method, needs_leader: bool, call: &mut MeteredCall<'_>) -> Code {
        let api = &self.api;
        match method {
            Method::Range => self.range(call).await,
            Method::Put => unary(call, |r| api.put(r)).await,
            Method::DeleteRange => unary(call, |r| api.delete_range(r)).await,
            Method::Txn => {
                let share = call.read_share();
                unary_with(call, |bytes| self.decode_txn(bytes), |r| api.txn(r, &share)).await
            }
            other => self.dispatch_other(other, needs_leader, call).await,
        }
    }

    /// The same for all methods but those of keys.
    fn dispatch_other<'a>(
        &'a self,
        method: Method,
        needs_leader: bool,
        call: &'a mut MeteredCall<'_>,
    ) -> Pin<Box<dyn Future<Output = Code> + 'a>> {
        let api = &self.api;
        match method {
            Method::Range | Method::Put | Method::DeleteRange | Method::Txn => {
                unreachable!("{method:?} is handled in place")
            }
            Method::Compact => Box::pin(unary(call, |r| api.compact(r))),
            Method::RangeStream => Box::pin(self.range_stream(call, needs_leader)),
            Method::Watch => Box::pin(self.watch(call, needs_leader)),
            Method::LeaseGrant => Box::pin(unary(call, |r| api.lease_grant(r))),
            Method::LeaseRevoke => Box::pin(unary(call, |r| api.lease_revoke(r))),
            Method::LeaseKeepAlive => Box::pin(self.keep_alive(call, needs_leader)),
            Method::LeaseTimeToLive => Box::pin(async move {
                let share = call.read_share();
                unary(call, |r| api.lease_time_to_live(r, &share)).await
            }),
            Method::LeaseLeases => Box::pin(async move {
                let share = call.read_share();
                unary(call, |LeaseLeasesRequest {}| api.lease_leases(&share)).await
            }),
            Method::MemberList => Box::pin(unary(call, |r| api.member_list(r))),
            Method::MemberAdd => Box::pin(unary(call, async |r| api.member_add(r).await)),
            Method::MemberRemove => Box::pin(unary(call, async |r| api.member_remove(r).await)),
            Method::MemberUpdate => Box::pin(unary(call, async |r| api.member_update(r).await)),
            Method::MemberPromote => Box::pin(unary(call, async |r| api.member_promote(r).await)),
            Method::Alarm => Box::pin(unary(call, |r| api.alarm(r))),
            Method::Status => Box::pin(unary(call, async |StatusRequest {}| Ok(api.status()))),
            Method::Defragment => Box::pin(unary(call, async |DefragmentRequest {}| api.defragment().await)),
            Method::Snapshot => Box::pin(self.snapshot(call, needs_leader)),
            Method::Hash => Box::pin(async move {
                let share = call.read_share();
                unary(call, |HashRequest {}| api.hash(&share)).await
            }),
            Method::HashKv => Box::pin(async move {
                let share = call.read_share();
                unary(call, |r| api.hash_kv(r, &share)).await
            }),
            Method::MoveLeader => Box::pin(unary(call, async |r| api.move_leader(r).await)),
            Method::Downgrade => Box::pin(unary(call, |r| api.downgrade(r))),
            Method::Health => Box::pin(unary(call, async |r| api.health(&r))),
            Method::HealthList => Box::pin(unary(call, async |HealthListRequest {}| Ok(api.health_list()))),
            Method::HealthWatch => Box::pin(self.watch_health(call, needs_leader)),
            other => self.dispatch_auth(other, call),
        }
    }

    /// The same for the methods of users and roles.
    fn dispatch_auth<'a>(
        &'a self,
        method: Method,
        call: &'a mut MeteredCall<'_>,
    ) -> Pin<Box<dyn Future<Output = Code> + 'a>> {
        let api = &self.api;
        match method {
            Method::AuthStatus => Box::pin(unary(call, |AuthStatusRequest {}| api.auth_status())),
            Method::AuthDisable => Box::pin(unary(call, |AuthDisableRequest {}| api.auth_disable())),
            Method::UserList => Box::pin(unary(call, |AuthUserListRequest {}| api.user_list())),
            Method::RoleList => Box::pin(unary(call, |AuthRoleListRequest {}| api.role_list())),
            Method::UserAdd => Box::pin(unary(call, async |r| api.user_add(&r).await)),
            Method::UserChangePassword => Box::pin(unary(call, async |r| api.user_change_password(&r).await)),
            Method::RoleAdd => Box::pin(unary(call, async |r| api.role_add(&r).await)),
            Method::RoleGrantPermission => {
                Box::pin(unary(call, async |r| api.role_grant_permission(&r).await))
            }
            Method::AuthEnable => self.refuse_auth::<AuthEnableRequest>(call, AuthRefusal::RootUserMissing),
            Method::Authenticate => self.refuse_auth::<AuthenticateRequest>(call, AuthRefusal::NotEnabled),
            Method::UserGet => self.refuse_auth::<AuthUserGetRequest>(call, AuthRefusal::UserNotFound),
            Method::UserDelete => self.refuse_auth::<AuthUserDeleteRequest>(call, AuthRefusal::UserNotFound),
            Method::UserGrantRole => {
                self.refuse_auth::<AuthUserGrantRoleRequest>(call, AuthRefusal::UserNotFound)
            }
            Method::UserRevokeRole => {
                self.refuse_auth::<AuthUserRevokeRoleRequest>(call, AuthRefusal::UserNotFound)
            }
            Method::RoleGet => self.refuse_auth::<AuthRoleGetRequest>(call, AuthRefusal::RoleNotFound),
            Method::RoleDelete => self.refuse_auth::<AuthRoleDeleteRequest>(call, AuthRefusal::RoleNotFound),
            Method::RoleRevokePermission => {
                self.refuse_auth::<AuthRoleRevokePermissionRequest>(call, AuthRefusal::RoleNotFound)
            }
            other => unreachable!("{other:?} is not about users and roles"),
        }
    }

    /// Refuses a request about something there is not.
    fn refuse_auth<'a, R: Message + Default + 'a>(
        &'a self,
        call: &'a mut MeteredCall<'_>,
        refusal: AuthRefusal,
    ) -> Pin<Box<dyn Future<Output = Code> + 'a>> {
        Box::pin(unary(call, async move |request: R| self.api.refuse_auth(&request, refusal).await))
    }

    /// Reads a range; a long answer is sent while it is made.
    async fn range(&self, call: &mut MeteredCall<'_>) -> Code {
        let share = call.read_share();
        match ask(call, decode, |r| self.api.range(r, &share)).await {
            Ok(RangeAnswer::Whole(encoded)) => reply(call, Ok(encoded)).await,
            Ok(RangeAnswer::InPieces(pieces)) => Box::pin(send_pieces(call, pieces)).await,
            Err(status) => reply(call, Err(status)).await,
        }
    }

    /// Reads a transaction, unless it has more parts than it may have: decoded, they would take far more
    /// memory than their bytes.
    fn decode_txn(&self, bytes: Bytes) -> Result<TxnRequest, Status> {
        self.api.check_txn_parts(&bytes).map_err(|e| status(&e))?;
        decode(bytes)
    }

    /// Serves a stream of watches until the client goes. That it has nothing more to say does not end it.
    async fn watch(&self, call: &mut MeteredCall<'_>, needs_leader: bool) -> Code {
        let mut session = self.api.watch();
        self.stream(call, needs_leader, async |requests, responses| {
            exchange(&mut session, requests, responses).await
        })
        .await
    }

    /// One answer to each request, in order, until the client has nothing more to say. Those that have come
    /// together are answered together.
    async fn keep_alive(&self, call: &mut MeteredCall<'_>, needs_leader: bool) -> Code {
        self.stream(call, needs_leader, async |requests, responses| {
            while let Some(bytes) = requests.next().await? {
                let mut batch = Batch::default();
                let renewed = self.renew(bytes, requests, &mut batch).await;
                if !batch.is_empty() {
                    responses.send_all(&mut batch).await?;
                }
                renewed?;
            }
            Ok(())
        })
        .await
    }

    /// Renews a lease, and those of the requests that have come with the first one, as far as the answers
    /// have room.
    async fn renew(
        &self,
        first: Bytes,
        requests: &mut MeteredRequests<'_>,
        batch: &mut Batch,
    ) -> Result<(), Status> {
        let mut next = Some(first);
        while let Some(bytes) = next {
            self.api.lease_keep_alive(decode(bytes)?, batch).await.map_err(|e| status(&e))?;
            next = if batch.has_room() { requests.next_at_once()? } else { None };
        }
        Ok(())
    }

    /// Hands out a range; the next chunk is made when the client has taken the one before.
    async fn range_stream(&self, call: &mut MeteredCall<'_>, needs_leader: bool) -> Code {
        let share = call.read_share();
        self.stream(call, needs_leader, async |requests, responses| {
            let request: RangeRequest = only(requests).await?;
            let mut chunks = self.api.range_stream(&request).await.map_err(|e| status(&e))?;
            loop {
                let turn = share.begin_chunk().await;
                responses.room().await?;
                let Some(chunk) = chunks.next().await.map_err(|e| status(&e))? else { return Ok(()) };
                // It is queued before another call is polled, and counts from then on.
                drop(turn);
                responses.send(Body::from_chunks(chunk.chunks)?).await?;
            }
        })
        .await
    }

    /// Sends the whole state; more is written when the client has taken what was.
    async fn snapshot(&self, call: &mut MeteredCall<'_>, needs_leader: bool) -> Code {
        self.stream(call, needs_leader, async |requests, responses| {
            let SnapshotRequest {} = only(requests).await?;
            let mut snapshot = self.api.snapshot().await.map_err(|e| status(&e))?;
            while let Some(messages) = snapshot.next().await.map_err(|e| status(&e))? {
                for message in messages {
                    responses.room().await?;
                    responses.send(Body::from_chunks(message.chunks)?).await?;
                }
            }
            Ok(())
        })
        .await
    }

    /// Tells the health of a service, which does not change while clients are served.
    async fn watch_health(&self, call: &mut MeteredCall<'_>, needs_leader: bool) -> Code {
        self.stream(call, needs_leader, async |requests, responses| {
            let health = self.api.watched_health(&only(requests).await?);
            responses.send(Body::from_chunks(health.chunks)?).await?;
            Err(responses.gone().await.into())
        })
        .await
    }

    /// Serves a stream to its end, which comes early when the server stops and, if the client wants to know,
    /// when the leader is lost.
    async fn stream(
        &self,
        call: &mut MeteredCall<'_>,
        needs_leader: bool,
        serve: impl AsyncFnOnce(&mut MeteredRequests<'_>, &mut MeteredResponses<'_>) -> Result<(), Status>,
    ) -> Code {
        let (mut requests, mut responses) = call.split();
        let outcome = tokio::select! {
            biased;
            outcome = serve(&mut requests, &mut responses) => outcome,
            () = self.stopping.wait() => Err(status(&Error::Stopped)),
            () = self.leader_lost.wait(), if needs_leader => Err(status(&Error::NoLeader)),
        };
        let code = code(&outcome);
        responses.finish(outcome);
        code
    }
}

impl Service for Calls {
    type Route = Route;

    fn route(&self, head: &Head) -> Route {
        Route::read(head, &self.metrics, &self.clients)
    }

    async fn call(self: &Rc<Self>, route: Rc<Route>, call: Call) {
        let started_at = time_slice::now();
        let metrics = route.metrics.as_deref();
        if let (Some(metrics), Some(client_calls)) = (metrics, &route.client_calls) {
            metrics.started.inc();
            client_calls.inc();
        }
        let mut call = MeteredCall { call, metrics };
        let code = match &route.method {
            Ok(method) if self.api.is_learner() && !is_for_learners(*method) => {
                refuse(&mut call, status(&Error::NotForLearner))
            }
            _ if route.needs_leader && !self.api.has_leader() => refuse(&mut call, status(&Error::NoLeader)),
            Ok(method) => self.dispatch(*method, route.needs_leader, &mut call).await,
            Err(status) => refuse(&mut call, status.clone()),
        };
        if let Some(metrics) = metrics {
            let time = time_slice::now() - started_at;
            metrics.handled(code, time);
            if time > self.slow_call && !metrics.is_stream {
                let remote = call.peer();
                warn!("time spent" = ?time, %remote, "response type" = metrics.path, "request stats");
            }
        }
    }
}

/// Whether a learner serves a method. A range is looked at again: it must be serializable.
fn is_for_learners(method: Method) -> bool {
    matches!(method, Method::Range | Method::Status | Method::Snapshot)
}

fn refuse(call: &mut MeteredCall<'_>, status: Status) -> Code {
    code(&call.reply(Err(status)))
}

/// What has become of a unary call that is still being carried out: if its client has stopped waiting, it
/// has timed out, in etcd's words.
fn unfinished(gone: Gone) -> Status {
    match gone {
        Gone::Client => Status::canceled(),
        Gone::Deadline => status(&Error::TimedOut),
    }
}

/// The one request of a call that is answered with a stream.
async fn only<R: Message + Default>(requests: &mut MeteredRequests<'_>) -> Result<R, Status> {
    let missing = "cardinality violation: received no request message from non-client-streaming RPC";
    let bytes = requests.next().await?.ok_or_else(|| Status::internal(missing))?;
    decode(bytes)
}

/// Takes one request, answers once.
fn unary<R, F>(call: &mut MeteredCall<'_>, handler: impl FnOnce(R) -> F) -> impl Future<Output = Code>
where
    R: Message + Default,
    F: Future<Output = Result<Encoded, Error>>,
{
    unary_with(call, decode, handler)
}

/// The same, for a request that is not decoded as it comes.
async fn unary_with<R, F>(
    call: &mut MeteredCall<'_>,
    decode: impl FnOnce(Bytes) -> Result<R, Status>,
    handler: impl FnOnce(R) -> F,
) -> Code
where
    F: Future<Output = Result<Encoded, Error>>,
{
    let answer = ask(call, decode, handler).await;
    reply(call, answer).await
}

/// Has the one request of a call handled, for no longer than the client waits.
async fn ask<R, A, F>(
    call: &mut MeteredCall<'_>,
    decode: impl FnOnce(Bytes) -> Result<R, Status>,
    handler: impl FnOnce(R) -> F,
) -> Result<A, Status>
where
    F: Future<Output = Result<A, Error>>,
{
    let request = call.unary().await.and_then(decode)?;
    let answer = call.bound(pin!(handler(request))).await.map_err(unfinished)?;
    answer.map_err(|error| status(&error))
}

/// Answers a unary call. A long answer is compressed piece by piece, so that others have their turn in
/// between.
async fn reply(call: &mut MeteredCall<'_>, answer: Result<Encoded, Status>) -> Code {
    let answer = answer.and_then(|encoded| Ok(Body::from_chunks(encoded.chunks)?));
    match answer {
        Ok(body) if call.is_compressed() && body.message_len() > COMPRESSED_AT_ONCE => {
            let len = body.message_len();
            let mut pieces = body.into_pieces(COMPRESSED_AT_ONCE);
            code(&Box::pin(call.reply_in_pieces(len, || Ok(pieces.next()))).await)
        }
        answer => code(&call.reply(answer)),
    }
}

async fn send_pieces(call: &mut MeteredCall<'_>, mut pieces: Box<RangePieces<'_>>) -> Code {
    let len = pieces.len();
    code(&call.reply_in_pieces(len, || pieces.next().map_err(|e| status(&e))).await)
}

/// The code that a call ends with.
fn code<T>(outcome: &Result<T, Status>) -> Code {
    outcome.as_ref().map_or_else(|status| status.code, |_| Code::Ok)
}

async fn exchange(
    session: &mut WatchSession<'_>,
    requests: &mut MeteredRequests<'_>,
    responses: &mut MeteredResponses<'_>,
) -> Result<(), Status> {
    let mut is_half_closed = false;
    let mut batch = Batch::default();
    loop {
        // Streams that were opened while there was room may be many, and each is to make an answer.
        responses.room().await?;
        let has_more = session.fill(&mut batch).map_err(|e| status(&e))?;
        let has_answers = !batch.is_empty();
        if has_answers {
            responses.send_all(&mut batch).await?;
        }
        if has_more {
            // One batch at a time, and requests in between: a cancel must not wait behind a long history.
            tokio::select! {
                biased;
                request = requests.next(), if !is_half_closed => is_half_closed = take_request(session, request?)?,
                () = time_slice::wait_for_next(), if !has_answers => {}
                () = std::future::ready(()), if has_answers => {}
            }
            continue;
        }
        // A stream that waits holds no batch.
        batch = Batch::default();
        tokio::select! {
            biased;
            request = requests.next(), if !is_half_closed => is_half_closed = take_request(session, request?)?,
            () = session.news() => {}
            gone = responses.gone() => return Err(gone.into()),
        }
    }
}

/// True if that was the end of the requests.
fn take_request(session: &mut WatchSession<'_>, request: Option<Bytes>) -> Result<bool, Status> {
    let Some(bytes) = request else { return Ok(true) };
    session.request(decode::<WatchRequest>(bytes)?);
    Ok(false)
}

fn decode<R: Message + Default>(bytes: Bytes) -> Result<R, Status> {
    R::decode(bytes).map_err(|e| Status::internal(format!("grpc: error unmarshalling request: {e}")))
}
