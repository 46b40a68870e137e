//! Uses the server at `$ETCD_ENDPOINT` through the crate `etcd-client`.

use etcd_client::{
    Client, Compare, CompareOp, DeleteOptions, Error, GetOptions, PutOptions, SortOrder, SortTarget, Txn,
    TxnOp, TxnOpResponse, WatchOptions, WatchStream,
};

type Result<T = ()> = std::result::Result<T, Error>;

async fn connect() -> Client {
    let endpoint = std::env::var("ETCD_ENDPOINT").expect("compat/run names a server");
    Client::connect([endpoint], None).await.unwrap()
}

/// The gRPC code and message of a refusal.
fn refusal<T: std::fmt::Debug>(result: Result<T>) -> (i32, String) {
    match result.unwrap_err() {
        Error::GRpcStatus(status) => (status.code() as i32, status.message().to_owned()),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn put_get_delete() -> Result {
    let mut client = connect().await;
    client.put("kv/a", "1", None).await?;
    let again = client.put("kv/a", "2", Some(PutOptions::new().with_prev_key())).await?;
    assert_eq!(again.prev_key().unwrap().value(), b"1");
    let got = client.get("kv/a", None).await?;
    let kv = &got.kvs()[0];
    assert_eq!((kv.value(), kv.version()), (&b"2"[..], 2));
    let old = client.get("kv/a", Some(GetOptions::new().with_revision(kv.create_revision()))).await?;
    assert_eq!(old.kvs()[0].value(), b"1");
    assert_eq!(client.delete("kv/a", None).await?.deleted(), 1);
    assert_eq!(client.get("kv/a", None).await?.count(), 0);
    Ok(())
}

#[tokio::test]
async fn ranges() -> Result {
    let mut client = connect().await;
    for name in ["b", "a", "c"] {
        client.put(format!("range/{name}"), name, None).await?;
    }
    let newest = GetOptions::new().with_prefix().with_limit(2).with_sort(SortTarget::Mod, SortOrder::Descend);
    let page = client.get("range/", Some(newest)).await?;
    let keys: Vec<&str> = page.kvs().iter().map(|kv| kv.key_str().unwrap()).collect();
    assert_eq!(keys, ["range/c", "range/a"]);
    assert_eq!((page.more(), page.count()), (true, 3));
    let deleted = client.delete("range/", Some(DeleteOptions::new().with_prefix().with_prev_key())).await?;
    assert_eq!(deleted.prev_kvs().len(), 3);
    Ok(())
}

#[tokio::test]
async fn transactions() -> Result {
    let mut client = connect().await;
    let create = || {
        Txn::new()
            .when([Compare::create_revision("txn/a", CompareOp::Equal, 0)])
            .and_then([TxnOp::put("txn/a", "1", None)])
            .or_else([TxnOp::get("txn/a", None)])
    };
    assert!(client.txn(create()).await?.succeeded());
    let refused = client.txn(create()).await?;
    assert!(!refused.succeeded());
    let TxnOpResponse::Get(got) = &refused.op_responses()[0] else { panic!("it was a get") };
    assert_eq!(got.kvs()[0].value(), b"1");
    Ok(())
}

#[tokio::test]
async fn watch_from_a_past_revision() -> Result {
    let mut client = connect().await;
    let start = client.put("watch/a", "1", None).await?.header().unwrap().revision();
    client.put("watch/a", "2", None).await?;
    client.delete("watch/a", None).await?;
    let options = WatchOptions::new().with_prefix().with_start_revision(start).with_prev_key();
    let mut stream = client.watch("watch/", Some(options)).await?;
    let told = events(&mut stream, 3).await?;
    assert_eq!(told, ["Put watch/a=1 ()", "Put watch/a=2 (1)", "Delete watch/a= (2)"]);
    stream.request_progress().await?;
    let progress = stream.message().await?.unwrap();
    assert_eq!((progress.watch_id(), progress.events().len()), (-1, 0));
    stream.cancel(0).await?;
    assert!(stream.message().await?.unwrap().canceled());
    Ok(())
}

/// Takes events until there are `n`.
async fn events(stream: &mut WatchStream, n: usize) -> Result<Vec<String>> {
    let mut told = Vec::new();
    while told.len() < n {
        let message = stream.message().await?.expect("the watch goes on");
        for event in message.events() {
            let kv = event.kv().unwrap();
            let before = event.prev_kv().map_or("", |kv| kv.value_str().unwrap());
            told.push(format!("{:?} {}={} ({before})", event.event_type(), kv.key_str()?, kv.value_str()?));
        }
    }
    Ok(told)
}

#[tokio::test]
async fn a_lease_ends_with_its_keys() -> Result {
    let mut client = connect().await;
    let id = client.lease_grant(60, None).await?.id();
    client.put("lease/a", "1", Some(PutOptions::new().with_lease(id))).await?;
    let (mut keeper, mut renewals) = client.lease_keep_alive(id).await?;
    keeper.keep_alive().await?;
    assert_eq!(renewals.message().await?.unwrap().ttl(), 60);
    assert_eq!(client.lease_time_to_live(id, None).await?.granted_ttl(), 60);
    client.lease_revoke(id).await?;
    assert_eq!(client.get("lease/a", None).await?.count(), 0);
    keeper.keep_alive().await?;
    assert_eq!(renewals.message().await?.unwrap().ttl(), 0);
    assert_eq!(
        refusal(client.lease_revoke(id).await),
        (5, "etcdserver: requested lease not found".to_owned())
    );
    Ok(())
}

#[tokio::test]
async fn a_lease_that_is_not_renewed_expires() -> Result {
    let mut client = connect().await;
    let mut stream = client.watch("expiry/a", None).await?;
    assert!(stream.message().await?.unwrap().created());
    let id = client.lease_grant(1, None).await?.id();
    client.put("expiry/a", "1", Some(PutOptions::new().with_lease(id))).await?;
    assert_eq!(events(&mut stream, 2).await?[1], "Delete expiry/a= ()");
    Ok(())
}

#[tokio::test]
async fn maintenance() -> Result {
    let mut client = connect().await;
    let status = client.status().await?;
    let members = client.member_list().await?;
    assert_eq!(status.leader(), members.members()[0].id());
    assert!(
        client
            .alarm(etcd_client::AlarmAction::Get, etcd_client::AlarmType::None, None)
            .await?
            .alarms()
            .is_empty()
    );
    let hash = client.hash_kv(0).await?;
    assert_ne!(hash.hash(), 0);
    client.hash().await?;
    client.defragment().await?;
    client.move_leader(status.leader()).await?;
    Ok(())
}

#[tokio::test]
async fn errors() {
    let mut client = connect().await;
    assert_eq!(refusal(client.put("", "1", None).await), (3, "etcdserver: key is not provided".to_owned()));
    let future = GetOptions::new().with_revision(i64::MAX);
    let text = "etcdserver: mvcc: required revision is a future revision".to_owned();
    assert_eq!(refusal(client.get("a", Some(future)).await), (11, text));
}
