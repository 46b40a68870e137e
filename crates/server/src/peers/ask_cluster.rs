//! What a member asks others before it is one of them: who the members of their cluster are, and what they hold.

use std::io;
use std::time::Duration;

use ::peer::header_names;
use http::{HeaderMap, StatusCode};
use proto::etcdserverpb::Member;
use serde_json::Value;
use tokio::runtime::Builder;
use tokio::task::LocalSet;
use tokio::time::timeout;

use super::asker;
use super::client::{Connection, PeerRequest, read_answer};
use super::question::{Question, Reply};
use crate::config::Url;
use crate::identity::RunningCluster;

/// Asks the members at `urls` one after the other, each for up to `limit`, and returns the first good answer. Blocks.
/// The error is that of the last one; `failed` is told of each.
pub(crate) fn ask_cluster(
    urls: &[Url],
    limit: Duration,
    mut failed: impl FnMut(&Url, &io::Error),
) -> io::Result<RunningCluster> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let asked = LocalSet::new().block_on(&runtime, async {
        let mut result = Err(io::Error::new(io::ErrorKind::NotFound, "there is no URL to ask"));
        for url in urls {
            result =
                timeout(limit, ask(url, limit)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            match &result {
                Ok(_) => break,
                Err(error) => failed(url, error),
            }
        }
        result
    });
    // A name that is still being looked up is not waited for.
    runtime.shutdown_background();
    asked
}

/// A member and its peer URLs.
pub(crate) type MemberUrls = (u64, Vec<Url>);

/// Asks each of `members` something, each URL for up to `limit` until one answers. Blocks.
pub(crate) fn ask_members(
    members: &[MemberUrls],
    question: &Question,
    limit: Duration,
) -> io::Result<Vec<(u64, Result<Reply, String>)>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let asked = LocalSet::new().block_on(&runtime, async {
        let mut replies = Vec::new();
        for (id, urls) in members {
            let mut reply = Err("there is no URL to ask".to_owned());
            for url in urls {
                let asked = timeout(limit, ask_anonymously(url, question, limit)).await;
                let asked = asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
                reply = asked.map_err(|error| error.to_string());
                if reply.is_ok() {
                    break;
                }
            }
            replies.push((*id, reply));
        }
        replies
    });
    runtime.shutdown_background();
    Ok(asked)
}

async fn ask_anonymously(url: &Url, question: &Question, limit: Duration) -> io::Result<Reply> {
    let mut connection = Connection::open(url, limit).await?;
    connection.wait_long();
    let (head, body) = connection.request_anonymously(asker::request(question)).await?.into_parts();
    Ok(Reply { status: head.status.as_u16(), body: read_answer(body).await? })
}

async fn ask(url: &Url, limit: Duration) -> io::Result<RunningCluster> {
    let mut connection = Connection::open(url, limit).await?;
    let (head, body) =
        connection.request_anonymously(PeerRequest::get("/members".to_owned(), None)).await?.into_parts();
    let body = read_answer(body).await?;
    if head.status != StatusCode::OK {
        return Err(io::Error::other(format!("status {}", head.status.as_u16())));
    }
    described(&head.headers, &body).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn described(headers: &HeaderMap, body: &[u8]) -> Option<RunningCluster> {
    let id = headers.get(header_names::CLUSTER_ID)?.to_str().ok()?;
    let members: Vec<Value> = serde_json::from_slice(body).ok()?;
    let members = members.iter().map(|member| proto::member_json::decode(member.to_string().as_bytes()));
    let mut members: Vec<Member> = members.collect::<Option<_>>()?;
    members.sort_by_key(|member| member.id);
    Some(RunningCluster { id: u64::from_str_radix(id, 16).ok()?, members })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_answer_of_etcd_is_read() {
        // As etcd 3.7.1 answers.
        let body = br#"[{"id":12011014339506574820,"peerURLs":["http://127.0.0.1:23482"],"name":"m2"},
            {"id":5034838443312629236,"peerURLs":["http://127.0.0.1:23483"],"isLearner":true}]"#;
        let mut headers = HeaderMap::new();
        assert_eq!(described(&headers, body), None, "the cluster is not named");
        headers.insert(header_names::CLUSTER_ID, HeaderValue::from_static("397b75935318eb56"));
        let cluster = described(&headers, body).unwrap();
        assert_eq!(cluster.id, 0x397b_7593_5318_eb56);
        let ids: Vec<u64> = cluster.members.iter().map(|member| member.id).collect();
        assert_eq!(ids, [5_034_838_443_312_629_236, 12_011_014_339_506_574_820]);
        assert!(cluster.members[0].is_learner && cluster.members[1].name == "m2");
        for garbage in [&b""[..], b"{}", b"[1]"] {
            assert_eq!(described(&headers, garbage), None);
        }
    }
}
