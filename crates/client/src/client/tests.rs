//! Endpoints that fail one after another, as calls of one request see them.

use proto::etcdserverpb::{PutRequest, PutResponse, RangeRequest, RangeResponse};

use super::*;
use crate::fake_server::{settle, with_server, with_servers};

fn read(client: &Client) -> impl Future<Output = Result<RangeResponse, Error>> {
    client.range(RangeRequest::default())
}

fn write(client: &Client) -> impl Future<Output = Result<PutResponse, Error>> {
    client.put(PutRequest::default())
}

fn counted(count: i64) -> RangeResponse {
    RangeResponse { count, ..RangeResponse::default() }
}

#[test]
fn calls_go_to_the_endpoints_in_turn() {
    with_servers(async |[mut a, mut b, mut c], client| {
        for _ in 0..2 {
            for (server, count) in [(&mut a, 1), (&mut b, 2), (&mut c, 3)] {
                let response = counted(count);
                let (result, ()) = tokio::join!(read(&client), server.answer(&response));
                assert_eq!(result, Ok(response));
            }
        }
    });
}

#[test]
fn a_read_passes_over_a_member_without_leader() {
    with_servers(async |[mut a, mut b, mut c], client| {
        let response = counted(7);
        let members = async {
            a.refuse_without_leader().await;
            b.accept().await.refuse(Code::Unavailable);
            c.answer(&response).await;
        };
        let (result, ()) = tokio::join!(read(&client), members);
        assert_eq!(result.unwrap().count, 7);
    });
}

#[test]
fn a_read_comes_back_to_a_member_that_has_a_leader_again() {
    with_servers(async |[mut a, mut b], client| {
        let response = counted(7);
        let members = async {
            a.refuse_without_leader().await;
            b.refuse_without_leader().await;
            a.answer(&response).await;
        };
        let (result, ()) = tokio::join!(read(&client), members);
        assert_eq!(result.unwrap().count, 7);
    });
}

#[test]
fn a_read_is_not_repeated_for_ever() {
    with_server(async |mut server, client| {
        let member = async {
            for _ in 0..READ_ATTEMPTS_MAX {
                server.refuse_without_leader().await;
            }
        };
        let (result, ()) = tokio::join!(read(&client), member);
        assert_eq!(result.unwrap_err().to_string(), "etcdserver: no leader");
        assert!(server.is_idle().await);
    });
}

#[test]
fn a_write_passes_over_members_without_leader_once_each() {
    with_servers(async |[mut a, mut b], client| {
        let members = async {
            a.refuse_without_leader().await;
            b.answer(&PutResponse::default()).await;
        };
        let (result, ()) = tokio::join!(write(&client), members);
        assert_eq!(result, Ok(PutResponse::default()));

        let members = async {
            a.refuse_without_leader().await;
            b.refuse_without_leader().await;
        };
        let (result, ()) = tokio::join!(write(&client), members);
        assert_eq!(result.unwrap_err().to_string(), "etcdserver: no leader");
        assert!(a.is_idle().await && b.is_idle().await);
    });
}

#[test]
fn a_write_that_may_have_been_carried_out_is_not_repeated() {
    with_servers(async |[mut a, mut b], client| {
        let member = async {
            let text = "etcdserver: request timed out";
            a.accept().await.refuse_with(Code::Unavailable, text);
        };
        let (result, ()) = tokio::join!(write(&client), member);
        assert_eq!(result.unwrap_err().to_string(), "etcdserver: request timed out");
        assert!(b.is_idle().await);

        let member = async {
            drop(b.accept().await);
            // With the server its connections break.
            drop(b);
        };
        let (result, ()) = tokio::join!(write(&client), member);
        assert!(result.unwrap_err().is_unavailable());
        assert!(a.is_idle().await);
    });
}

#[test]
fn a_refusal_is_not_asked_of_other_members() {
    with_servers(async |[mut a, mut b], client| {
        let member = async { a.accept().await.refuse(Code::InvalidArgument) };
        let (result, ()) = tokio::join!(read(&client), member);
        assert!(matches!(result, Err(Error::Refused { code: Code::InvalidArgument, .. })));
        assert!(b.is_idle().await);
    });
}

#[test]
fn writes_go_on_while_endpoints_end_one_after_another() {
    with_servers(async |[a, mut b, mut c], client| {
        let response = PutResponse::default();
        drop(a);
        settle().await;
        for _ in 0..6 {
            let members = async {
                tokio::select! {
                    () = b.answer(&response) => {}
                    () = c.answer(&response) => {}
                }
            };
            let (result, ()) = tokio::join!(write(&client), members);
            assert_eq!(result, Ok(response.clone()));
        }
        drop(b);
        settle().await;
        for _ in 0..6 {
            let (result, ()) = tokio::join!(write(&client), c.answer(&response));
            assert_eq!(result, Ok(response.clone()));
        }
    });
}
