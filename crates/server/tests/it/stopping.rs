//! How a server goes down: calls under way are finished, as far as time allows.

use std::time::Duration;

use crate::client::{Client, frame};
use crate::testbed::with_server;

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn call_under_way_is_finished() {
    let (workers, (testbed, mut client, call)) = with_server(async |testbed| {
        let mut client = Client::connect(testbed.addr).await;
        let mut call = client.open("/t/Gate", &[]).await.unwrap();
        call.request.send_data(frame(0, b"patience"), true).unwrap();
        testbed.waiting.notified().await;
        (testbed, client, call)
    })
    .await;
    let stopping = tokio::task::spawn_blocking(move || workers.stop(LONG));
    // The connection says that it takes no more calls, which shows that the stop has begun.
    while let Ok(mut call) = client.open("/t/Echo", &[]).await {
        if call.request.send_data(frame(0, b"late"), true).is_err() || call.answer().await.is_err() {
            break;
        }
    }
    testbed.gate.notify_one();
    assert_eq!(call.answer().await.unwrap().body, frame(0, b"patience"));
    stopping.await.unwrap();
}

#[tokio::test]
async fn call_that_never_ends_is_cut_off_at_the_limit() {
    let (workers, (_testbed, call)) = with_server(async |testbed| {
        let mut client = Client::connect(testbed.addr).await;
        let mut call = client.open("/t/Gate", &[]).await.unwrap();
        call.request.send_data(frame(0, b"forever"), true).unwrap();
        testbed.waiting.notified().await;
        (testbed, call)
    })
    .await;
    tokio::task::spawn_blocking(move || workers.stop(Duration::ZERO)).await.unwrap();
    assert!(call.answer().await.is_err());
}
