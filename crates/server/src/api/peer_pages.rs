//! The pages of the peer port that need the store: what other members, of ours or of etcd, ask this one.
//!
//! Statuses and texts are etcd's. The request itself is already checked for its path and method.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use ::peer::Route;
use bytes::Bytes;
use http::StatusCode;
use prost::Message;
use proto::etcdserverpb::{
    LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseTimeToLiveResponse, ResponseHeader,
};
use proto::leasepb::{LeaseInternalRequest, LeaseInternalResponse};
use serde_json::Value;
use store::Refusal;
use tokio::time::timeout;
use tracing::warn;

use super::{Api, Error};
use crate::http::Answer;
use crate::peers::Pages;
use crate::peers::page::{
    APPLY_TIMED_OUT, COMPACTED, FUTURE_REVISION, LEARNER_NOT_READY, LEASE_NOT_FOUND, MEMBER_NOT_FOUND,
    NOT_LEARNER, NOT_PRIMARY, PROTOBUF,
};
use crate::read_budget::ReadShare;

/// How long a question about a lease may wait for what is committed to be applied, as in etcd.
const LEASE_TIME_MAX: Duration = Duration::from_secs(1);

impl Pages for Api {
    fn answer(self: Rc<Self>, route: Route, body: Bytes) -> Pin<Box<dyn Future<Output = Answer>>> {
        Box::pin(async move {
            match route {
                Route::LeaseKeepAlive => self.renewal_page(body).await,
                Route::LeaseTimeToLive => self.time_to_live_page(body).await,
                Route::HashKv => self.hash_page(&body).await,
                Route::Promote(id) => self.promotion_page(&id).await,
                Route::DowngradeEnabled => self.downgrade_page().await,
                _ => error(StatusCode::NOT_FOUND, "404 page not found"),
            }
        })
    }
}

impl Api {
    async fn renewal_page(&self, body: Bytes) -> Answer {
        let Ok(LeaseKeepAliveRequest { id }) = LeaseKeepAliveRequest::decode(body) else {
            return error(StatusCode::BAD_REQUEST, "error unmarshalling request");
        };
        match timeout(LEASE_TIME_MAX, self.renew_here(id)).await {
            Ok(Ok(0)) => error(StatusCode::NOT_FOUND, LEASE_NOT_FOUND),
            Ok(Ok(ttl)) => protobuf(&LeaseKeepAliveResponse { header: None, id, ttl }),
            Ok(Err(Error::NoLeader | Error::LeaderChanged)) => error(StatusCode::BAD_REQUEST, NOT_PRIMARY),
            Ok(Err(Error::TimedOut)) | Err(_) => error(StatusCode::REQUEST_TIMEOUT, APPLY_TIMED_OUT),
            Ok(Err(other)) => error(StatusCode::BAD_REQUEST, &other.text()),
        }
    }

    async fn time_to_live_page(&self, body: Bytes) -> Answer {
        let request = LeaseInternalRequest::decode(body).ok();
        let Some(request) = request.and_then(|request| request.lease_time_to_live_request) else {
            return error(StatusCode::BAD_REQUEST, "error unmarshalling request");
        };
        let share = ReadShare::default();
        match timeout(LEASE_TIME_MAX, self.time_to_live_here(&request, &share)).await {
            Ok(Ok(None)) => error(StatusCode::NOT_FOUND, LEASE_NOT_FOUND),
            Ok(Ok(Some(response))) => {
                let header = Some(ResponseHeader::default());
                let response = LeaseTimeToLiveResponse { header, ..response };
                protobuf(&LeaseInternalResponse { lease_time_to_live_response: Some(response) })
            }
            Ok(Err(Error::TimedOut)) | Err(_) => error(StatusCode::REQUEST_TIMEOUT, APPLY_TIMED_OUT),
            Ok(Err(_)) => error(StatusCode::INTERNAL_SERVER_ERROR, NOT_PRIMARY),
        }
    }

    async fn hash_page(&self, body: &[u8]) -> Answer {
        let Some(revision) = asked_revision(body) else {
            return error(StatusCode::BAD_REQUEST, "error unmarshalling request");
        };
        match self.key_value_hash(revision).await {
            Ok(hash) => {
                let fields = [
                    ("hash", i64::from(hash.hash)),
                    ("compact_revision", hash.compact_revision),
                    ("hash_revision", hash.revision),
                ];
                Answer::json(hash_json(self.revision(), fields))
            }
            Err(failure) => {
                let text = match &failure {
                    Error::Refused(Refusal::Compacted) => COMPACTED.into(),
                    Error::Refused(Refusal::FutureRevision) => FUTURE_REVISION.into(),
                    other => other.text(),
                };
                warn!("requested-revision" = revision, error = %text, "failed to get hashKV");
                error(StatusCode::BAD_REQUEST, &text)
            }
        }
    }

    async fn promotion_page(&self, id: &str) -> Answer {
        let Ok(number) = id.parse::<u64>() else {
            return error(StatusCode::NOT_FOUND, &format!("member {id} not found in cluster"));
        };
        match self.promote_here(number).await {
            Ok(members) => {
                let members: Vec<String> = members.iter().map(proto::member_json::encode).collect();
                Answer::json(format!("[{}]\n", members.join(",")))
            }
            Err(failure) => {
                let text = failure.text();
                warn!("member-id" = format!("{number:x}"), error = %text, "failed to promote a member");
                refused_promotion(&failure)
            }
        }
    }

    async fn downgrade_page(&self) -> Answer {
        match self.wait_read_index().await {
            Ok(()) => {
                let is_enabled = self.published.control().downgrade_target().is_some();
                Answer::new(StatusCode::OK, "text/plain", is_enabled.to_string())
            }
            Err(failure) => {
                let text = format!("failed linearized read: {}", failure.text());
                error(StatusCode::INTERNAL_SERVER_ERROR, &text)
            }
        }
    }
}

fn error(status: StatusCode, text: &str) -> Answer {
    Answer::error(status, format!("{text}\n"))
}

fn protobuf(message: &impl Message) -> Answer {
    Answer::new(StatusCode::OK, PROTOBUF, message.encode_to_vec())
}

fn refused_promotion(failure: &Error) -> Answer {
    match failure {
        Error::Refused(Refusal::MemberNotFound) => error(StatusCode::NOT_FOUND, MEMBER_NOT_FOUND),
        Error::Refused(Refusal::NotLearner) => error(StatusCode::PRECONDITION_FAILED, NOT_LEARNER),
        Error::Refused(Refusal::LearnerNotReady) => error(StatusCode::PRECONDITION_FAILED, LEARNER_NOT_READY),
        _ => {
            let text = r#"{"message":"Internal Server Error"}"#;
            Answer::new(StatusCode::INTERNAL_SERVER_ERROR, "application/json", text)
        }
    }
}

/// The revision in a request for a hash: the newest if it names none; `None` if it is not JSON.
fn asked_revision(body: &[u8]) -> Option<i64> {
    match serde_json::from_slice(body).ok()? {
        Value::Object(request) => request.get("revision").map_or(Some(0), Value::as_i64),
        Value::Null => Some(0),
        _ => None,
    }
}

/// A hash as Go writes it: fields that are zero are left out.
fn hash_json(revision: i64, fields: [(&str, i64); 3]) -> String {
    let header = if revision == 0 { String::new() } else { format!(r#""revision":{revision}"#) };
    let fields = fields.iter().filter(|(_, value)| *value != 0);
    let fields: String = fields.map(|(name, value)| format!(r#","{name}":{value}"#)).collect();
    format!(r#"{{"header":{{{header}}}{fields}}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_written_as_go_writes_it() {
        let fields = [("hash", 7), ("compact_revision", -1), ("hash_revision", 3)];
        let json = r#"{"header":{"revision":4},"hash":7,"compact_revision":-1,"hash_revision":3}"#;
        assert_eq!(hash_json(4, fields), json);
        assert_eq!(
            hash_json(0, [("hash", 0), ("compact_revision", 0), ("hash_revision", 0)]),
            r#"{"header":{}}"#
        );
    }

    #[test]
    fn a_request_for_a_hash_may_leave_out_the_revision() {
        assert_eq!(asked_revision(b"{}"), Some(0));
        assert_eq!(asked_revision(br#"{"revision":9223372036854775807}"#), Some(i64::MAX));
        for garbage in [&b""[..], b"x", b"7", br#"{"revision":"7"}"#, br#"{"revision":1e99}"#] {
            assert_eq!(asked_revision(garbage), None, "{garbage:?}");
        }
    }

    #[test]
    fn refusals_of_a_promotion_have_statuses_of_their_own() {
        let status = |refusal| refused_promotion(&Error::Refused(refusal)).status;
        assert_eq!(status(Refusal::MemberNotFound), StatusCode::NOT_FOUND);
        assert_eq!(status(Refusal::NotLearner), StatusCode::PRECONDITION_FAILED);
        assert_eq!(refused_promotion(&Error::NoLeader).status, StatusCode::INTERNAL_SERVER_ERROR);
    }
}
