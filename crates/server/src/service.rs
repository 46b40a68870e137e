//! From a gRPC call to the handler it names.
//!
//! Knows paths, decodes requests, turns errors into codes. Everything else is in `api`, which knows nothing of
//! gRPC.

use std::collections::HashMap;
use std::future::Future;
use std::rc::Rc;

use bytes::Bytes;
use prost::Message;
use proto::Service as Table;
use proto::etcdserverpb::{StatusRequest, WatchRequest};
use store::Refusal;
use tokio::sync::watch;

use crate::api::{Api, Encoded, Error, WatchSession};
use crate::grpc::{Body, Call, Code, Requests, Responses, Service, Status};
use crate::metrics::{MethodMetrics, Metrics};

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

/// The calls of one worker thread.
#[derive(Debug)]
pub(crate) struct Calls {
    api: Rc<Api>,
    /// By path.
    metrics: HashMap<&'static str, MethodMetrics>,
    stopping: watch::Receiver<bool>,
}

impl Calls {
    pub(crate) fn new(api: Rc<Api>, metrics: &Metrics, stopping: watch::Receiver<bool>) -> Calls {
        let methods = SERVICES.iter().flat_map(|service| service.methods.iter().map(move |m| (*service, m)));
        let metrics = methods.map(|(service, m)| (m.path, metrics.method(service, m))).collect();
        Calls { api, metrics, stopping }
    }

    /// Finds the handler. Paths are checked against the tables of `proto` by a test.
    async fn dispatch(&self, call: Call) -> Code {
        let api = &self.api;
        match call.path() {
            "/etcdserverpb.KV/Range" => unary(call, async |r| api.range(&r).await).await,
            "/etcdserverpb.KV/Put" => unary(call, async |r| api.put(r).await).await,
            "/etcdserverpb.KV/DeleteRange" => unary(call, async |r| api.delete_range(r).await).await,
            "/etcdserverpb.KV/Txn" => unary(call, async |r| api.txn(r).await).await,
            "/etcdserverpb.KV/Compact" => unary(call, async |r| api.compact(r).await).await,
            "/etcdserverpb.Cluster/MemberList" => unary(call, async |r| api.member_list(r).await).await,
            "/etcdserverpb.Watch/Watch" => self.watch(call).await,
            "/etcdserverpb.Maintenance/Status" => {
                unary(call, async |_: StatusRequest| Ok(api.status())).await
            }
            "/etcdserverpb.Maintenance/HashKV" => unary(call, async |r| api.hash_kv(r).await).await,
            path => {
                let status = unserved(path);
                let code = status.code;
                call.reply(Err(status));
                code
            }
        }
    }

    /// Serves a stream of watches until the client goes or the server stops. That the client has nothing more to
    /// say does not end it.
    async fn watch(&self, call: Call) -> Code {
        let (mut requests, mut responses) = call.split();
        let mut session = self.api.watch();
        let mut stopping = self.stopping.clone();
        let outcome = tokio::select! {
            outcome = exchange(&mut session, &mut requests, &mut responses) => outcome,
            _ = stopping.wait_for(|is_stopping| *is_stopping) => Err(status(&Error::Stopped)),
        };
        let code = outcome.as_ref().map_or_else(|status| status.code, |()| Code::Ok);
        responses.finish(outcome);
        code
    }
}

impl Service for Calls {
    async fn call(self: &Rc<Self>, call: Call) {
        let metrics = self.metrics.get(call.path());
        if let Some(metrics) = metrics {
            metrics.started.inc();
        }
        let needs_leader = call.metadata().get("hasleader").is_some_and(|value| value == "true");
        let code = if needs_leader && !self.api.has_leader() {
            call.reply(Err(status(&Error::NoLeader)));
            Code::Unavailable
        } else {
            self.dispatch(call).await
        };
        if let Some(metrics) = metrics {
            metrics.handled(code);
        }
    }
}

/// Takes one request, answers once.
async fn unary<R, F>(mut call: Call, handler: impl FnOnce(R) -> F) -> Code
where
    R: Message + Default,
    F: Future<Output = Result<Encoded, Error>>,
{
    let answer = match call.unary().await {
        Ok(bytes) => match R::decode(bytes) {
            Ok(request) => call.bound(async { handler(request).await.map_err(|e| status(&e)) }).await,
            Err(error) => Err(undecodable(&error)),
        },
        Err(status) => Err(status),
    };
    let code = answer.as_ref().map_or_else(|status| status.code, |_| Code::Ok);
    call.reply(answer.map(|encoded| Body::from_chunks(&encoded.chunks)));
    code
}

async fn exchange(
    session: &mut WatchSession<'_>,
    requests: &mut Requests,
    responses: &mut Responses,
) -> Result<(), Status> {
    let mut is_half_closed = false;
    loop {
        // One response at a time, and requests in between: a cancel must not wait behind a long history.
        if let Some(response) = session.next().await.map_err(|e| status(&e))? {
            responses.send(Body::from_chunks(&response.chunks)).await.map_err(Status::from)?;
            tokio::select! {
                biased;
                request = requests.next(), if !is_half_closed => is_half_closed = take_request(session, request?)?,
                () = std::future::ready(()) => {}
            }
            continue;
        }
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
    let request = WatchRequest::decode(bytes).map_err(|error| undecodable(&error))?;
    session.request(request);
    Ok(false)
}

fn undecodable(error: &prost::DecodeError) -> Status {
    Status::internal(format!("grpc: error unmarshalling request: {error}"))
}

/// What is said of a method without code: nothing pretends.
fn unserved(path: &str) -> Status {
    let (service, method) = path.strip_prefix('/').and_then(|p| p.split_once('/')).unwrap_or((path, ""));
    Status::unimplemented(match SERVICES.iter().find(|s| s.name == service) {
        Some(table) if table.methods.iter().any(|m| m.name == method) => {
            format!("{service}/{method} is not supported by this version yet")
        }
        Some(_) => format!("unknown method {method} for service {service}"),
        None => format!("unknown service {service}"),
    })
}

/// The one table that gives errors their gRPC codes. Two of etcd's arrive as Unknown, by an accident that its
/// clients know.
fn status(error: &Error) -> Status {
    let code = match error {
        Error::Refused(refusal) => match refusal {
            Refusal::EmptyKey
            | Refusal::KeyNotFound
            | Refusal::ValueProvided
            | Refusal::LeaseProvided
            | Refusal::TooManyOps
            | Refusal::DuplicateKey
            | Refusal::InvalidSortOption => Code::InvalidArgument,
            Refusal::Compacted | Refusal::FutureRevision => Code::OutOfRange,
            Refusal::NoSpace => Code::ResourceExhausted,
            Refusal::LeaseNotFound => Code::NotFound,
        },
        Error::RequestTooLarge => Code::InvalidArgument,
        Error::TooManyRequests => Code::Unknown,
        Error::LeaderChanged | Error::TimedOut | Error::Stopped | Error::NoLeader => Code::Unavailable,
        Error::Damaged => Code::DataLoss,
    };
    Status::new(code, error.text())
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
