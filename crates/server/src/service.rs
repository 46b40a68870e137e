//! From a gRPC call to the handler it names.
//!
//! Knows paths and the manners that all calls share, and decodes requests. Everything else is in `api`, which
//! knows nothing of gRPC.

use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message;
use proto::Service as Table;
use proto::etcdserverpb::{
    AuthStatusRequest, DefragmentRequest, HashRequest, LeaseLeasesRequest, RangeRequest, StatusRequest,
    TxnRequest, WatchRequest,
};
use proto::health::HealthListRequest;
use tokio::sync::watch;
use tokio::task::spawn_local;
use tracing::warn;

use crate::api::{Api, Encoded, Error, WatchSession};
use crate::codes::status;
use crate::counted::{CountedCall, CountedRequests, CountedResponses};
use crate::grpc::{Batch, Body, Call, Code, Service, Status};
use crate::metrics::{ClientVersions, MethodMetrics, Metrics};

/// Every service a client may find here.
pub(crate) const SERVICES: [&Table; 7] = [
    &proto::etcdserverpb::KV,
    &proto::etcdserverpb::WATCH,
    &proto::etcdserverpb::LEASE,
    &proto::etcdserverpb::CLUSTER,
    &proto::etcdserverpb::AUTH,
    &proto::etcdserverpb::MAINTENANCE,
    &proto::health::HEALTH,
];

/// Services that etcd has besides, of which nothing is here yet.
const ABSENT: [&Table; 2] = [&proto::v3lockpb::LOCK, &proto::v3electionpb::ELECTION];

/// The calls of one worker thread.
#[derive(Debug)]
pub(crate) struct Calls {
    api: Rc<Api>,
    /// By path, those of keys first: they are found at once.
    metrics: Vec<(&'static str, MethodMetrics)>,
    clients: ClientVersions,
    /// Unary calls that take longer are logged.
    slow_call: Duration,
    stopping: watch::Receiver<bool>,
    leader_lost: watch::Receiver<bool>,
}

impl Calls {
    /// Must be called in a `LocalSet`: looks after the leader from then on.
    pub(crate) fn new(
        api: Rc<Api>,
        metrics: &Metrics,
        slow_call: Duration,
        stopping: watch::Receiver<bool>,
    ) -> Calls {
        let (lost, leader_lost) = watch::channel(false);
        spawn_local(Rc::clone(&api).watch_leader(lost));
        let methods = SERVICES.iter().flat_map(|service| service.methods.iter().map(move |m| (*service, m)));
        let clients = metrics.requests.clients();
        let metrics = methods.map(|(service, m)| (m.path, metrics.method(service, m))).collect();
        Calls { api, metrics, clients, slow_call, stopping, leader_lost }
    }

    /// Finds the handler. Paths are checked against the tables of `proto` by a test.
    async fn dispatch(&self, call: CountedCall<'_>) -> Code {
        let api = &self.api;
        match call.path() {
            "/etcdserverpb.KV/Range" => unary(call, async |r| api.range(&r).await).await,
            "/etcdserverpb.KV/Put" => unary(call, async |r| api.put(r).await).await,
            "/etcdserverpb.KV/DeleteRange" => unary(call, async |r| api.delete_range(r).await).await,
            "/etcdserverpb.KV/Txn" => {
                let decode = |bytes| self.decode_txn(bytes);
                unary_with(call, decode, async |r| api.txn(r).await).await
            }
            "/etcdserverpb.KV/Compact" => unary(call, async |r| api.compact(r).await).await,
            "/etcdserverpb.KV/RangeStream" => self.range_stream(call).await,
            "/etcdserverpb.Watch/Watch" => self.watch(call).await,
            "/etcdserverpb.Lease/LeaseGrant" => unary(call, async |r| api.lease_grant(r).await).await,
            "/etcdserverpb.Lease/LeaseRevoke" => unary(call, async |r| api.lease_revoke(r).await).await,
            "/etcdserverpb.Lease/LeaseKeepAlive" => self.keep_alive(call).await,
            "/etcdserverpb.Lease/LeaseTimeToLive" => {
                unary(call, async |r| api.lease_time_to_live(r).await).await
            }
            "/etcdserverpb.Lease/LeaseLeases" => {
                unary(call, async |LeaseLeasesRequest {}| api.lease_leases().await).await
            }
            "/etcdserverpb.Cluster/MemberList" => unary(call, async |r| api.member_list(r).await).await,
            "/etcdserverpb.Cluster/MemberAdd" => unary(call, async |r| api.member_add(&r)).await,
            "/etcdserverpb.Cluster/MemberRemove" => unary(call, async |r| api.member_remove(r)).await,
            "/etcdserverpb.Cluster/MemberUpdate" => unary(call, async |r| api.member_update(&r)).await,
            "/etcdserverpb.Cluster/MemberPromote" => unary(call, async |r| api.member_promote(r)).await,
            "/etcdserverpb.Maintenance/Alarm" => unary(call, async |r| api.alarm(r).await).await,
            "/etcdserverpb.Maintenance/Status" => {
                unary(call, async |StatusRequest {}| Ok(api.status())).await
            }
            "/etcdserverpb.Maintenance/Defragment" => {
                unary(call, async |DefragmentRequest {}| Ok(api.defragment())).await
            }
            "/etcdserverpb.Maintenance/Hash" => unary(call, async |HashRequest {}| api.hash().await).await,
            "/etcdserverpb.Maintenance/HashKV" => unary(call, async |r| api.hash_kv(r).await).await,
            "/etcdserverpb.Maintenance/MoveLeader" => unary(call, async |r| api.move_leader(r)).await,
            "/etcdserverpb.Maintenance/Downgrade" => unary(call, async |r| api.downgrade(r).await).await,
            "/etcdserverpb.Auth/AuthStatus" => {
                unary(call, async |AuthStatusRequest {}| api.auth_status().await).await
            }
            "/grpc.health.v1.Health/Check" => unary(call, async |r| api.health(&r)).await,
            "/grpc.health.v1.Health/List" => {
                unary(call, async |HealthListRequest {}| Ok(api.health_list())).await
            }
            "/grpc.health.v1.Health/Watch" => self.watch_health(call).await,
            path => {
                let status = unserved(path);
                refuse(call, status)
            }
        }
    }

    /// Reads a transaction, unless it has more parts than it may have: decoded, they would take far more memory than
    /// their bytes.
    fn decode_txn(&self, bytes: Bytes) -> Result<TxnRequest, Status> {
        self.api.check_txn_parts(&bytes).map_err(|e| status(&e))?;
        decode(bytes)
    }

    /// Serves a stream of watches until the client goes. That it has nothing more to say does not end it.
    async fn watch(&self, call: CountedCall<'_>) -> Code {
        let mut session = self.api.watch();
        self.stream(call, async |requests, responses| exchange(&mut session, requests, responses).await).await
    }

    /// One answer to each request, in order, until the client has nothing more to say.
    async fn keep_alive(&self, call: CountedCall<'_>) -> Code {
        self.stream(call, async |requests, responses| {
            while let Some(bytes) = requests.next().await? {
                let response = self.api.lease_keep_alive(decode(bytes)?).await.map_err(|e| status(&e))?;
                responses.send(Body::from_chunks(response.chunks)).await?;
            }
            Ok(())
        })
        .await
    }

    /// Hands out a range; the next chunk is made when the client has taken the one before.
    async fn range_stream(&self, call: CountedCall<'_>) -> Code {
        self.stream(call, async |requests, responses| {
            let request: RangeRequest = only(requests).await?;
            let mut chunks = self.api.range_stream(&request).await.map_err(|e| status(&e))?;
            while let Some(chunk) = chunks.next().await.map_err(|e| status(&e))? {
                responses.send(Body::from_chunks(chunk.chunks)).await?;
            }
            Ok(())
        })
        .await
    }

    /// Tells the health of a service, which does not change while clients are served.
    async fn watch_health(&self, call: CountedCall<'_>) -> Code {
        self.stream(call, async |requests, responses| {
            let health = self.api.watched_health(&only(requests).await?);
            responses.send(Body::from_chunks(health.chunks)).await?;
            Err(responses.gone().await.into())
        })
        .await
    }

    /// Serves a stream to its end, which comes early when the server stops and, if the client wants to know, when
    /// the leader is lost.
    async fn stream(
        &self,
        call: CountedCall<'_>,
        serve: impl AsyncFnOnce(&mut CountedRequests<'_>, &mut CountedResponses<'_>) -> Result<(), Status>,
    ) -> Code {
        let needs_leader = needs_leader(&call);
        let (mut requests, mut responses) = call.split();
        let (mut stopping, mut leader_lost) = (self.stopping.clone(), self.leader_lost.clone());
        let outcome = tokio::select! {
            outcome = serve(&mut requests, &mut responses) => outcome,
            _ = stopping.wait_for(|is_stopping| *is_stopping) => Err(status(&Error::Stopped)),
            _ = leader_lost.wait_for(|is_lost| *is_lost), if needs_leader => Err(status(&Error::NoLeader)),
        };
        let code = outcome.as_ref().map_or_else(|status| status.code, |()| Code::Ok);
        responses.finish(outcome);
        code
    }

    /// What is refused whatever is called.
    fn check_manners(&self, call: &CountedCall<'_>) -> Result<(), Error> {
        let version = call.metadata().get("client-api-version");
        if version.is_some_and(|version| str::from_utf8(version).is_err()) {
            return Err(Error::ClientVersion);
        }
        if needs_leader(call) && !self.api.has_leader() { Err(Error::NoLeader) } else { Ok(()) }
    }
}

impl Service for Calls {
    async fn call(self: &Rc<Self>, call: Call) {
        let (started_at, peer) = (Instant::now(), call.peer());
        let metrics = self.metrics.iter().find(|(path, _)| *path == call.path());
        if let Some((_, metrics)) = metrics {
            metrics.started.inc();
            let version =
                call.metadata().get("client-api-version").and_then(|value| str::from_utf8(value).ok());
            self.clients.count(metrics.is_stream, version.unwrap_or("unknown"));
        }
        let call = CountedCall { call, metrics: metrics.map(|(_, metrics)| metrics) };
        let code = match self.check_manners(&call) {
            Ok(()) => self.dispatch(call).await,
            Err(error) => refuse(call, status(&error)),
        };
        if let Some((path, metrics)) = metrics {
            let time = started_at.elapsed();
            metrics.handled(code, time);
            if time > self.slow_call && !metrics.is_stream {
                warn!("time spent" = ?time, remote = %peer, "response type" = path, "request stats");
            }
        }
    }
}

/// Whether the client would rather be refused than wait for a leader.
fn needs_leader(call: &CountedCall<'_>) -> bool {
    call.metadata().get("hasleader").is_some_and(|value| value == "true")
}

fn refuse(call: CountedCall<'_>, status: Status) -> Code {
    let code = status.code;
    call.reply(Err(status));
    code
}

/// A request that is being carried out when its client stops waiting has timed out, in etcd's words.
fn worded_as_timeout(ended: Status) -> Status {
    if ended.code == Code::DeadlineExceeded { status(&Error::TimedOut) } else { ended }
}

/// The one request of a call that is answered with a stream.
async fn only<R: Message + Default>(requests: &mut CountedRequests<'_>) -> Result<R, Status> {
    let missing = "cardinality violation: received no request message from non-client-streaming RPC";
    let bytes = requests.next().await?.ok_or_else(|| Status::internal(missing))?;
    decode(bytes)
}

/// Takes one request, answers once.
async fn unary<R, F>(call: CountedCall<'_>, handler: impl FnOnce(R) -> F) -> Code
where
    R: Message + Default,
    F: Future<Output = Result<Encoded, Error>>,
{
    unary_with(call, decode, handler).await
}

/// The same, for a request that is not decoded as it comes.
async fn unary_with<R, F>(
    mut call: CountedCall<'_>,
    decode: impl FnOnce(Bytes) -> Result<R, Status>,
    handler: impl FnOnce(R) -> F,
) -> Code
where
    F: Future<Output = Result<Encoded, Error>>,
{
    let answer = match call.unary().await {
        Ok(bytes) => match decode(bytes) {
            Ok(request) => {
                let answer = call.bound(async { handler(request).await.map_err(|e| status(&e)) }).await;
                answer.map_err(worded_as_timeout)
            }
            Err(status) => Err(status),
        },
        Err(status) => Err(status),
    };
    let code = answer.as_ref().map_or_else(|status| status.code, |_| Code::Ok);
    call.reply(answer.map(|encoded| Body::from_chunks(encoded.chunks)));
    code
}

async fn exchange(
    session: &mut WatchSession<'_>,
    requests: &mut CountedRequests<'_>,
    responses: &mut CountedResponses<'_>,
) -> Result<(), Status> {
    let mut is_half_closed = false;
    let mut batch = Batch::default();
    loop {
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
                () = tokio::task::yield_now(), if !has_answers => {}
                () = std::future::ready(()), if has_answers => {}
            }
            continue;
        }
        // Whoever waits holds nothing.
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

/// What is said of a method without code: nothing pretends.
fn unserved(path: &str) -> Status {
    let (service, method) = path.strip_prefix('/').and_then(|p| p.split_once('/')).unwrap_or((path, ""));
    Status::unimplemented(match SERVICES.iter().chain(&ABSENT).find(|s| s.name == service) {
        Some(table) if table.methods.iter().any(|m| m.name == method) => {
            format!("{service}/{method} is not supported by this version yet")
        }
        Some(_) => format!("unknown method {method} for service {service}"),
        None => format!("unknown service {service}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_served_is_in_the_tables() {
        let (source, _tests) = include_str!("service.rs").split_once("#[cfg(test)]").unwrap();
        let served =
            source.split("\"/").skip(1).filter_map(|rest| rest.split_once("\" =>")).map(|(path, _)| path);
        let known: Vec<_> = SERVICES.iter().flat_map(|s| s.methods).map(|m| &m.path[1..]).collect();
        let mut count = 0;
        for path in served {
            assert!(known.contains(&path), "{path} is no method of etcd");
            count += 1;
        }
        assert!(count >= 8, "the test no longer finds the paths: {count}");
    }

    #[test]
    fn a_method_without_code_says_so() {
        let text = |path: &str| unserved(path).message.into_owned();
        assert_eq!(
            text("/etcdserverpb.Auth/RoleAdd"),
            "etcdserverpb.Auth/RoleAdd is not supported by this version yet"
        );
        assert_eq!(text("/etcdserverpb.KV/Nope"), "unknown method Nope for service etcdserverpb.KV");
        assert_eq!(text("/nope.KV/Put"), "unknown service nope.KV");
    }
}
