//! Members that fail one after another, as the owner of a lease sees them.

use super::*;
use crate::fake_server::{Call, settle, with_server, with_servers};

const ID: i64 = 7;

fn renewed(ttl: i64) -> LeaseKeepAliveResponse {
    LeaseKeepAliveResponse { id: ID, ttl, ..LeaseKeepAliveResponse::default() }
}

async fn renew(call: &mut Call, ttl: i64) {
    assert_eq!(call.receive().await, Some(LeaseKeepAliveRequest { id: ID }));
    call.send(&renewed(ttl));
}

#[test]
fn a_lease_is_renewed_on_one_stream_while_that_works() {
    with_server(async |mut server, client| {
        let mut keep_alive = client.keep_alive(ID);
        let member = async {
            let mut call = server.accept().await;
            renew(&mut call, 60).await;
            renew(&mut call, 60).await;
            call
        };
        let owner = async {
            assert_eq!(keep_alive.next().await, Some(renewed(60)));
            keep_alive.due = Instant::now();
            assert_eq!(keep_alive.next().await, Some(renewed(60)));
        };
        tokio::join!(member, owner);
    });
}

#[test]
fn a_lease_is_renewed_by_another_member_when_one_fails() {
    with_servers(async |[mut a, mut b, mut c], client| {
        let mut keep_alive = client.keep_alive(ID);
        let members = async {
            a.refuse_without_leader().await;
            let mut call = b.accept().await;
            renew(&mut call, 60).await;
            settle().await;
            // With the member its connections break.
            drop((call, b));
            let mut call = c.accept().await;
            renew(&mut call, 60).await;
            call
        };
        let owner = async {
            assert_eq!(keep_alive.next().await, Some(renewed(60)));
            settle().await;
            keep_alive.due = Instant::now();
            assert_eq!(keep_alive.next().await, Some(renewed(60)));
        };
        tokio::join!(members, owner);
    });
}

#[test]
fn a_member_that_never_answers_does_not_cost_the_lease() {
    with_servers(async |[mut a, mut b], client| {
        let mut keep_alive = client.keep_alive(ID);
        let members = async {
            let mut silent = a.accept().await;
            renew(&mut silent, 60).await;
            assert_eq!(silent.receive().await, Some(LeaseKeepAliveRequest { id: ID }));
            let mut call = b.accept().await;
            renew(&mut call, 60).await;
            (silent, call)
        };
        let owner = async {
            assert_eq!(keep_alive.next().await, Some(renewed(60)));
            assert_eq!(keep_alive.patience, Duration::from_secs(20));
            keep_alive.patience = Duration::from_millis(500);
            keep_alive.due = Instant::now();
            assert_eq!(keep_alive.next().await, Some(renewed(60)));
        };
        tokio::join!(members, owner);
    });
}

#[test]
fn a_lease_that_has_ended_is_not_asked_for_again() {
    with_servers(async |[mut a, mut b], client| {
        let mut keep_alive = client.keep_alive(ID);
        let member = async {
            let mut call = a.accept().await;
            renew(&mut call, 0).await;
            call
        };
        let (last, _call) = tokio::join!(keep_alive.next(), member);
        assert_eq!(last, None);
        assert!(b.is_idle().await);
    });
}

#[test]
fn one_renewal_passes_over_members_that_fail() {
    with_servers(async |[mut a, mut b, mut c], client| {
        let members = async {
            a.refuse_without_leader().await;
            b.accept().await.refuse(Code::Unavailable);
            let mut call = c.accept().await;
            renew(&mut call, 60).await;
            call
        };
        let (response, _call) = tokio::join!(client.keep_alive_once(ID), members);
        assert_eq!(response, Ok(renewed(60)));
    });
}

#[test]
fn an_absurd_time_to_live_is_cut() {
    with_server(async |mut server, client| {
        let mut keep_alive = client.keep_alive(ID);
        let member = async {
            let mut call = server.accept().await;
            renew(&mut call, i64::MAX).await;
            call
        };
        let (response, _call) = tokio::join!(keep_alive.next(), member);
        assert_eq!(response, Some(renewed(i64::MAX)));
        assert_eq!(keep_alive.patience, TTL_MAX / 3);
    });
}
