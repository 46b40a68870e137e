//! The task without a server, and with a server that does as the test says.

use std::slice;
use std::sync::Arc;

use bytes::Bytes;
use proto::etcdserverpb::ResponseHeader;
use proto::mvccpb::{Event, KeyValue};

use super::*;
use crate::config::Config;
use crate::fake_server::{Call, with_server, with_servers};

fn response(revision: i64) -> WatchResponse {
    let header = ResponseHeader { revision, ..ResponseHeader::default() };
    WatchResponse { header: Some(header), ..WatchResponse::default() }
}

fn resumed_from(start_revision: i64, responses: &[WatchResponse]) -> i64 {
    let request = WatchCreateRequest { start_revision, ..WatchCreateRequest::default() };
    let mut watch =
        Subscription { handle: 0, request, state: State::Asked, fragments: None, sender: channel(1).0 };
    for response in responses {
        watch.request.start_revision = watch.next_revision(response);
    }
    watch.request.start_revision
}

#[test]
fn a_watch_from_now_is_resumed_from_where_it_was_created() {
    let created = WatchResponse { created: true, ..response(7) };
    assert_eq!(resumed_from(0, slice::from_ref(&created)), 8);
    assert_eq!(resumed_from(3, &[created]), 3);
}

#[test]
fn a_watch_is_resumed_behind_its_last_event_or_notification() {
    let kv = KeyValue { mod_revision: 5, ..KeyValue::default() };
    let event = Event { kv: Some(kv), ..Event::default() };
    // The header is of the moment the event was sent, which may be much later.
    let events = WatchResponse { events: vec![event], ..response(9) };
    assert_eq!(resumed_from(3, slice::from_ref(&events)), 6);
    assert_eq!(resumed_from(3, &[events, response(12)]), 13);
}

/// Runs a test of a task without a server, with two watches that were created at revision 7.
fn with_hub(test: impl AsyncFnOnce(Hub, [Watch; 2])) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let endpoints = vec!["127.0.0.1:1".to_owned()];
        let client = Client::new(&Config { endpoints, ..Config::default() }).unwrap();
        let (drops, dropped) = unbounded_channel();
        let mut hub = Hub::new(client, channel(1).1, dropped);
        let watches = [0, 1].map(|handle| {
            let (sender, responses) = channel(QUEUE_MAX);
            hub.subscribe(handle, WatchCreateRequest::default(), sender);
            Watch { responses, _notice: DropNotice { handle, drops: drops.clone() } }
        });
        for watch_id in [1, 2] {
            hub.deliver(WatchResponse { watch_id, created: true, ..response(7) });
        }
        hub.requests.clear();
        test(hub, watches).await;
    });
}

fn cancel(watch_id: i64) -> WatchRequest {
    wrap(RequestUnion::CancelRequest(WatchCancelRequest { watch_id }))
}

fn event(watch_id: i64, mod_revision: i64) -> WatchResponse {
    let kv = KeyValue { mod_revision, ..KeyValue::default() };
    let event = Event { kv: Some(kv), ..Event::default() };
    WatchResponse { watch_id, events: vec![event], ..response(mod_revision) }
}

async fn next_revisions(watch: &mut Watch) -> Vec<i64> {
    let response = watch.next().await.unwrap().unwrap();
    response.events.iter().map(|event| event.kv.as_ref().unwrap().mod_revision).collect()
}

#[test]
fn a_watch_that_nobody_reads_waits_alone_and_misses_nothing() {
    with_hub(async |mut hub, [mut unread, mut read]| {
        let first = 8;
        let full = first + QUEUE_MAX as i64;
        (first..full).for_each(|revision| hub.deliver(event(1, revision)));
        assert!(hub.requests.is_empty());
        hub.deliver(event(1, full));
        assert_eq!(hub.requests.pop_front(), Some(cancel(1)), "one more than it holds");
        hub.deliver(event(1, full + 1));
        hub.deliver(WatchResponse { watch_id: 1, canceled: true, ..response(full) });
        hub.deliver(event(2, full));
        assert!(hub.requests.is_empty(), "what was sent before the server heard of it");
        assert_eq!(next_revisions(&mut read).await, [full], "the other one goes on");

        for revision in first..full {
            assert_eq!(next_revisions(&mut unread).await, [revision]);
        }
        let reader = hub.readers.join_next().await.unwrap();
        hub.reader_is_ready(reader);
        let again = WatchCreateRequest { watch_id: 3, start_revision: full, ..WatchCreateRequest::default() };
        assert_eq!(hub.requests.pop_front(), Some(create(&again)));
        hub.deliver(WatchResponse { watch_id: 3, created: true, ..response(full + 1) });
        hub.deliver(event(3, full));
        assert_eq!(next_revisions(&mut unread).await, [full]);
    });
}

#[test]
fn a_watch_is_told_its_end_however_late_it_is_read() {
    with_hub(async |mut hub, [mut unread, read]| {
        for revision in 8..8 + QUEUE_MAX as i64 {
            hub.deliver(event(1, revision));
        }
        hub.deliver(WatchResponse { watch_id: 1, canceled: true, ..response(90) });
        drop(read);
        let reader = async move {
            let mut last = None;
            while let Some(response) = unread.next().await {
                last = Some(response.unwrap());
            }
            last.unwrap()
        };
        let reason = Error::stream_ended();
        let (last, ()) = tokio::join!(reader, hub.fail(&reason));
        assert!(last.canceled);
    });
}

#[test]
fn fragments_are_put_together() {
    with_hub(async |mut hub, [mut watch, _]| {
        let revision = 8;
        hub.deliver(WatchResponse { fragment: true, ..event(1, revision) });
        hub.deliver(WatchResponse { fragment: true, ..event(1, revision) });
        assert_eq!(hub.watches[&1].request.start_revision, revision, "it is not seen yet");
        hub.deliver(event(1, revision));
        assert_eq!(next_revisions(&mut watch).await, [revision; 3]);
        assert_eq!(hub.watches[&1].request.start_revision, revision + 1);
    });
}

#[test]
fn a_notification_moves_only_watches_that_the_server_has() {
    with_hub(async |mut hub, [mut watch, _]| {
        let request = WatchCreateRequest { start_revision: 3, ..WatchCreateRequest::default() };
        let (sender, _responses) = channel(1);
        hub.subscribe(3, request, sender);
        hub.deliver(WatchResponse { watch_id: EVERY_WATCH, ..response(20) });
        assert!(next_revisions(&mut watch).await.is_empty());
        let next = hub.watches.values().map(|watch| watch.request.start_revision);
        assert_eq!(next.collect::<Vec<_>>(), [21, 21, 3]);
    });
}

#[test]
fn the_reason_of_a_cancellation_is_etcds() {
    let shown = |response| cancellation(&response).map(|error| error.to_string());
    let canceled = WatchResponse { canceled: true, ..response(1) };
    assert_eq!(shown(response(1)), None);
    let future = "etcdserver: mvcc: required revision is a future revision";
    assert_eq!(shown(canceled.clone()).as_deref(), Some(future));
    let compacted = WatchResponse { compact_revision: 3, ..canceled.clone() };
    let text = "etcdserver: mvcc: required revision has been compacted";
    assert_eq!(shown(compacted).as_deref(), Some(text));
    let denied = WatchResponse { cancel_reason: "etcdserver: permission denied".into(), ..canceled };
    assert_eq!(shown(denied).as_deref(), Some("etcdserver: permission denied"));
}

#[test]
fn a_dropped_watch_is_cancelled_without_another_response() {
    with_hub(async |mut hub, [dropped, _kept]| {
        drop(dropped);
        let handle = hub.dropped.recv().await.unwrap();
        hub.end_dropped(handle);
        assert_eq!(hub.requests.pop_front(), Some(cancel(1)));
        hub.deliver(event(1, 8));
        assert!(hub.requests.is_empty() && hub.watches.len() == 1 && hub.ids.len() == 1);
    });
}

#[test]
fn a_watch_dropped_before_the_server_answers_is_cancelled_with_the_answer() {
    with_hub(async |mut hub, _created| {
        let mut ask = |handle| {
            let (sender, responses) = channel(QUEUE_MAX);
            hub.subscribe(handle, WatchCreateRequest::default(), sender);
            responses
        };
        let (first, second, mut third) = (ask(3), ask(4), ask(5));
        hub.requests.clear();
        drop((first, second));
        hub.end_dropped(3);
        hub.end_dropped(4);
        hub.deliver(WatchResponse { watch_id: 3, created: true, ..response(8) });
        assert_eq!(hub.requests.pop_front(), Some(cancel(3)));
        // A refusal names no number, and must not hit the third watch.
        let refusal = WatchResponse { watch_id: EVERY_WATCH, created: true, canceled: true, ..response(8) };
        hub.deliver(refusal);
        hub.deliver(WatchResponse { watch_id: 5, created: true, ..response(8) });
        hub.deliver(event(5, 9));
        assert!(third.recv().await.unwrap().is_ok_and(|response| !response.canceled));
    });
}

#[test]
fn a_dropped_watch_that_waited_for_its_reader_is_forgotten() {
    with_hub(async |mut hub, [unread, _kept]| {
        (8..=8 + QUEUE_MAX as i64).for_each(|revision| hub.deliver(event(1, revision)));
        hub.requests.clear();
        drop(unread);
        let handle = hub.dropped.recv().await.unwrap();
        hub.end_dropped(handle);
        let reader = hub.readers.join_next().await.unwrap();
        hub.reader_is_ready(reader);
        assert!(hub.requests.is_empty() && hub.watches.len() == 1);
    });
}

#[test]
fn a_reader_is_served_while_no_request_can_be_sent() {
    with_server(async |mut server, client| {
        let watcher = Arc::new(client.watcher());
        let mut first = watcher.watch(WatchCreateRequest::default()).await;
        let mut call = server.accept().await;
        assert!(call.receive::<WatchRequest>().await.is_some());
        call.send(&WatchResponse { watch_id: 1, created: true, ..response(7) });

        let n_more = 200;
        let creator = Arc::clone(&watcher);
        let more = tokio::spawn(async move {
            let mut watches = Vec::new();
            for _ in 0..n_more {
                let key = Bytes::from(vec![b'k'; 1000]);
                watches
                    .push(creator.watch(WatchCreateRequest { key, ..WatchCreateRequest::default() }).await);
            }
            watches
        });
        call.stop_reading().await;
        call.send(&event(1, 8));
        assert_eq!(next_revisions(&mut first).await, [8]);
        assert!(!more.is_finished(), "requests were to wait");
        for _ in 0..n_more {
            assert!(call.receive::<WatchRequest>().await.is_some());
        }
        assert_eq!(more.await.unwrap().len(), n_more);
    });
}

#[test]
fn the_server_hears_that_an_idle_watch_was_dropped() {
    with_server(async |mut server, client| {
        let watcher = client.watcher();
        let watch = watcher.watch(WatchCreateRequest::default()).await;
        let mut call = server.accept().await;
        assert!(call.receive::<WatchRequest>().await.is_some());
        call.send(&WatchResponse { watch_id: 1, created: true, ..response(7) });
        drop(watch);
        assert_eq!(call.receive::<WatchRequest>().await, Some(cancel(1)));
    });
}

#[test]
fn a_watch_on_a_refused_stream_ends_with_an_error_also_if_it_comes_later() {
    with_server(async |mut server, client| {
        let watcher = client.watcher();
        let mut early = watcher.watch(WatchCreateRequest::default()).await;
        let mut call = server.accept().await;
        assert!(call.receive::<WatchRequest>().await.is_some());
        call.refuse(Code::PermissionDenied);
        // The task waits for `early` to be read, and must not make `late` wait with it.
        let mut late = watcher.watch(WatchCreateRequest::default()).await;
        assert!(late.next().await.unwrap().is_err());
        assert!(late.next().await.is_none());
        let error = early.next().await.unwrap().unwrap_err();
        assert!(matches!(error, Error::Refused { code: Code::PermissionDenied, .. }));
    });
}

#[test]
fn a_watch_that_waits_for_its_reader_goes_on_after_the_stream_has_broken() {
    with_server(async |mut server, client| {
        let watcher = client.watcher();
        let mut watch = watcher.watch(WatchCreateRequest::default()).await;
        let mut call = server.accept().await;
        assert!(call.receive::<WatchRequest>().await.is_some());
        call.send(&WatchResponse { watch_id: 1, created: true, ..response(7) });
        let last = 8 + QUEUE_MAX as i64;
        (8..=last).for_each(|revision| call.send(&event(1, revision)));
        assert_eq!(call.receive::<WatchRequest>().await, Some(cancel(1)));
        call.refuse(Code::Unavailable);
        // Now no watch is to be asked for, and a stream without a request might not be answered.
        for revision in 8..last {
            assert_eq!(next_revisions(&mut watch).await, [revision]);
        }
        let mut call = server.accept().await;
        let again = WatchCreateRequest { watch_id: 2, start_revision: last, ..WatchCreateRequest::default() };
        assert_eq!(call.receive::<WatchRequest>().await, Some(create(&again)));
    });
}

#[test]
fn a_watch_goes_on_at_another_endpoint_when_its_member_loses_the_leader_or_ends() {
    with_servers(async |[mut a, mut b, mut c], client| {
        let watcher = client.watcher();
        let mut watch = watcher.watch(WatchCreateRequest::default()).await;
        let mut call = a.accept().await;
        assert_eq!(next_request(&mut call).await, 0);
        call.send(&WatchResponse { watch_id: 1, created: true, ..response(7) });
        call.send(&event(1, 8));
        assert_eq!(next_revisions(&mut watch).await, [8]);
        call.refuse_with(Code::Unavailable, "etcdserver: no leader");

        b.refuse_without_leader().await;

        let mut call = c.accept().await;
        assert_eq!(next_request(&mut call).await, 9);
        call.send(&WatchResponse { watch_id: 1, created: true, ..response(9) });
        call.send(&event(1, 9));
        assert_eq!(next_revisions(&mut watch).await, [9]);
        drop((a, c));

        let mut call = b.accept().await;
        assert_eq!(next_request(&mut call).await, 10);
        call.send(&WatchResponse { watch_id: 1, created: true, ..response(9) });
        call.send(&event(1, 10));
        assert_eq!(next_revisions(&mut watch).await, [10]);
    });
}

/// The revision from which the next request asks for a watch.
async fn next_request(call: &mut Call) -> i64 {
    match call.receive::<WatchRequest>().await.unwrap().request_union {
        Some(RequestUnion::CreateRequest(request)) => request.start_revision,
        other => panic!("{other:?}"),
    }
}
