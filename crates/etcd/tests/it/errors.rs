//! Every error of etcd 3.7 that one member can raise, raised through a socket: code and text, to the letter.
//!
//! etcd's Go client knows an error by its text alone, other clients by its code. Not raised here:
//!
//! | error | why |
//! |---|---|
//! | `too many requests` | 100,000 proposals under way: a test of the node |
//! | `no leader`, `request timed out`, `waiting for the applied index took too long` | a lone member commits, or stops |
//! | `not leader`, `leader changed`, `leader transfer took too long`, timeouts due to leader failure or connection lost | take more than one member |
//! | learner errors, `unhealthy cluster`, `cluster ID mismatch`, `member ID already exist` | take more than one member |
//! | `not capable` | every cluster version since 3.0 is |
//! | `server stopped` | a test of stopping |
//! | `request canceled`, `watch canceled` | the client has gone and is not told |
//! | `context deadline exceeded` with `etcdserver:`, `no inflight downgrade job` | defined, but etcd never says them |
//! | `cluster version not found during downgrade` | clients are let in once it is decided |
//! | errors of Auth without users and roles | the recorded conversation `auth-off` |
//! | the other errors of Auth, those of Lock and Election | not there yet |

use prost::Message;
use proto::etcdserverpb::request_op::Request as Op;
use proto::etcdserverpb::{
    AlarmRequest, AlarmResponse, CompactionRequest, Compare, DeleteRangeRequest, DowngradeRequest,
    HashKvRequest, MemberAddRequest, MemberListRequest, MemberListResponse, MemberPromoteRequest,
    MemberRemoveRequest, MemberUpdateRequest, MoveLeaderRequest, PutRequest, RangeRequest, RequestOp,
    StatusRequest, StatusResponse, TxnRequest,
};
use proto::health::{HealthCheckRequest, HealthCheckResponse};

use crate::client::{Client, Failure};
use crate::server::Server;

const INVALID_ARGUMENT: u32 = 3;
const NOT_FOUND: u32 = 5;
const RESOURCE_EXHAUSTED: u32 = 8;
const FAILED_PRECONDITION: u32 = 9;
const OUT_OF_RANGE: u32 = 11;
const UNIMPLEMENTED: u32 = 12;
const INTERNAL: u32 = 13;
const DATA_LOSS: u32 = 15;
const UNKNOWN: u32 = 2;

const NO_KEY: &str = "etcdserver: key is not provided";
const KEY_NOT_FOUND: &str = "etcdserver: key not found";
const TOO_MANY_OPS: &str = "etcdserver: too many operations in txn request";
const DUPLICATE_KEY: &str = "etcdserver: duplicate key given in txn request";
const INVALID_SORT: &str = "etcdserver: invalid sort option";
const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";
const FUTURE: &str = "etcdserver: mvcc: required revision is a future revision";
const NO_SPACE: &str = "etcdserver: mvcc: database space exceeded";
const CORRUPT: &str = "etcdserver: corrupt cluster";
const MEMBER_URLS: &str = "etcdserver: given member URLs are invalid";
const MEMBER_NOT_FOUND: &str = "etcdserver: member not found";
const UNKNOWN_METHOD: &str = "etcdserver: unknown method";

/// A call and the error it must end with.
type Row = (&'static str, Vec<u8>, u32, &'static str);

fn row(method: &'static str, request: &impl Message, code: u32, text: &'static str) -> Row {
    (method, request.encode_to_vec(), code, text)
}

async fn assert_raised(client: &Client, rows: Vec<Row>) {
    for (method, request, code, text) in rows {
        let answer = client.unary(method, &request).await;
        let expected = Failure::Refused(code, text.to_owned());
        assert_eq!(answer.as_ref().err(), Some(&expected), "{method} of {request:02x?} answers {answer:?}");
    }
}

fn op(request: Op) -> RequestOp {
    RequestOp { request: Some(request) }
}

fn put(key: &'static str) -> PutRequest {
    PutRequest { key: key.into(), value: "v".into(), ..PutRequest::default() }
}

fn range_at(revision: i64) -> RangeRequest {
    RangeRequest { key: "k".into(), revision, ..RangeRequest::default() }
}

fn txn(ops: Vec<RequestOp>) -> TxnRequest {
    TxnRequest { success: ops, ..TxnRequest::default() }
}

fn alarm(action: i32, alarm: i32) -> AlarmRequest {
    AlarmRequest { action, member_id: 0, alarm }
}

/// What is wrong with a request by itself.
fn malformed() -> Vec<Row> {
    let no_key = RangeRequest::default();
    let ignoring = PutRequest { ignore_value: true, ..put("k") };
    let puts = |n| (0..n).map(|_| op(Op::RequestPut(put("k")))).collect();
    let sorted = |sort_order, sort_target| RangeRequest { sort_order, sort_target, ..range_at(0) };
    let filtered = RangeRequest { min_mod_revision: 1, ..range_at(0) };
    let leased = PutRequest { ignore_lease: true, lease: 1, ..put("k") };
    let compare = TxnRequest { compare: vec![Compare::default()], ..TxnRequest::default() };
    vec![
        row("/etcdserverpb.KV/Range", &no_key, INVALID_ARGUMENT, NO_KEY),
        row("/etcdserverpb.KV/RangeStream", &no_key, INVALID_ARGUMENT, NO_KEY),
        row("/etcdserverpb.KV/Put", &PutRequest::default(), INVALID_ARGUMENT, NO_KEY),
        row("/etcdserverpb.KV/DeleteRange", &DeleteRangeRequest::default(), INVALID_ARGUMENT, NO_KEY),
        row("/etcdserverpb.KV/Txn", &compare, INVALID_ARGUMENT, NO_KEY),
        row(
            "/etcdserverpb.KV/Txn",
            &txn(vec![op(Op::RequestRange(no_key.clone()))]),
            INVALID_ARGUMENT,
            NO_KEY,
        ),
        row("/etcdserverpb.KV/Txn", &txn(vec![RequestOp::default()]), INVALID_ARGUMENT, KEY_NOT_FOUND),
        row("/etcdserverpb.KV/Put", &ignoring, INVALID_ARGUMENT, "etcdserver: value is provided"),
        row("/etcdserverpb.KV/Put", &leased, INVALID_ARGUMENT, "etcdserver: lease is provided"),
        row("/etcdserverpb.KV/Txn", &txn(puts(129)), INVALID_ARGUMENT, TOO_MANY_OPS),
        row(
            "/etcdserverpb.KV/Txn",
            &txn(vec![RequestOp::default(); 500_000]),
            INVALID_ARGUMENT,
            TOO_MANY_OPS,
        ),
        row("/etcdserverpb.KV/Txn", &txn(puts(2)), INVALID_ARGUMENT, DUPLICATE_KEY),
        row("/etcdserverpb.KV/Range", &sorted(9, 0), INVALID_ARGUMENT, INVALID_SORT),
        row("/etcdserverpb.KV/Range", &sorted(0, 9), INVALID_ARGUMENT, INVALID_SORT),
        row("/etcdserverpb.KV/RangeStream", &sorted(-1, 0), INVALID_ARGUMENT, INVALID_SORT),
        row(
            "/etcdserverpb.KV/RangeStream",
            &sorted(2, 0),
            UNIMPLEMENTED,
            "RangeStream does not support custom sort orders",
        ),
        row(
            "/etcdserverpb.KV/RangeStream",
            &filtered,
            UNIMPLEMENTED,
            "RangeStream does not support revision filters",
        ),
    ]
}

/// What the store has or has not, at revision 4 and compacted at 3.
fn refused_by_the_store() -> Vec<Row> {
    let write = |range| txn(vec![op(Op::RequestRange(range)), op(Op::RequestPut(put("k")))]);
    let missing = PutRequest { key: "missing".into(), ignore_value: true, ..PutRequest::default() };
    let leased = PutRequest { lease: 9, ..put("k") };
    let compact = |revision| CompactionRequest { revision, physical: false };
    let hash_at = |revision| HashKvRequest { revision };
    vec![
        row("/etcdserverpb.KV/Put", &missing, INVALID_ARGUMENT, KEY_NOT_FOUND),
        row("/etcdserverpb.KV/Put", &leased, NOT_FOUND, "etcdserver: requested lease not found"),
        row("/etcdserverpb.KV/Range", &range_at(1), OUT_OF_RANGE, COMPACTED),
        row("/etcdserverpb.KV/RangeStream", &range_at(1), OUT_OF_RANGE, COMPACTED),
        row("/etcdserverpb.KV/Txn", &write(range_at(1)), OUT_OF_RANGE, COMPACTED),
        row("/etcdserverpb.KV/Txn", &write(range_at(-1)), OUT_OF_RANGE, COMPACTED),
        row("/etcdserverpb.KV/Compact", &compact(3), OUT_OF_RANGE, COMPACTED),
        row("/etcdserverpb.Maintenance/HashKV", &hash_at(1), OUT_OF_RANGE, COMPACTED),
        row("/etcdserverpb.KV/Range", &range_at(99), OUT_OF_RANGE, FUTURE),
        row("/etcdserverpb.KV/RangeStream", &range_at(99), OUT_OF_RANGE, FUTURE),
        row("/etcdserverpb.KV/Txn", &write(range_at(99)), OUT_OF_RANGE, FUTURE),
        row("/etcdserverpb.KV/Compact", &compact(99), OUT_OF_RANGE, FUTURE),
        row("/etcdserverpb.Maintenance/HashKV", &hash_at(99), OUT_OF_RANGE, FUTURE),
    ]
}

/// What concerns the cluster, of which `id` is the only member, reached at `peer_url`.
fn refused_by_the_cluster(id: u64, peer_url: &str) -> Vec<Row> {
    let add = |urls: &[&str]| MemberAddRequest {
        peer_ur_ls: urls.iter().map(|url| (*url).to_owned()).collect(),
        is_learner: false,
    };
    let downgrade = |action, version: &str| DowngradeRequest { action, version: version.to_owned() };
    let wrong_version = "etcdserver: wrong downgrade target version format";
    let invalid_target = "etcdserver: invalid downgrade target version";
    let used = "etcdserver: Peer URLs already exists";
    let too_few = "etcdserver: re-configuration failed due to not enough started members";
    let transferee = "etcdserver: bad leader transferee";
    vec![
        row("/etcdserverpb.Cluster/MemberAdd", &add(&[]), INVALID_ARGUMENT, MEMBER_URLS),
        row("/etcdserverpb.Cluster/MemberAdd", &add(&["http://h"]), INVALID_ARGUMENT, MEMBER_URLS),
        row("/etcdserverpb.Cluster/MemberAdd", &add(&["ftp://h:1"]), INVALID_ARGUMENT, MEMBER_URLS),
        row("/etcdserverpb.Cluster/MemberAdd", &add(&["http://h:1/p"]), INVALID_ARGUMENT, MEMBER_URLS),
        row("/etcdserverpb.Cluster/MemberAdd", &add(&[peer_url]), FAILED_PRECONDITION, used),
        row(
            "/etcdserverpb.Cluster/MemberRemove",
            &MemberRemoveRequest { id: 1 },
            NOT_FOUND,
            MEMBER_NOT_FOUND,
        ),
        row("/etcdserverpb.Cluster/MemberRemove", &MemberRemoveRequest { id }, UNKNOWN, too_few),
        row(
            "/etcdserverpb.Cluster/MemberUpdate",
            &MemberUpdateRequest::default(),
            NOT_FOUND,
            MEMBER_NOT_FOUND,
        ),
        row(
            "/etcdserverpb.Cluster/MemberPromote",
            &MemberPromoteRequest { id: 1 },
            NOT_FOUND,
            MEMBER_NOT_FOUND,
        ),
        row(
            "/etcdserverpb.Cluster/MemberPromote",
            &MemberPromoteRequest { id },
            FAILED_PRECONDITION,
            "etcdserver: can only promote a learner member",
        ),
        row(
            "/etcdserverpb.Maintenance/MoveLeader",
            &MoveLeaderRequest { target_id: 1 },
            FAILED_PRECONDITION,
            transferee,
        ),
        row("/etcdserverpb.Maintenance/Downgrade", &downgrade(0, "x"), INVALID_ARGUMENT, wrong_version),
        row("/etcdserverpb.Maintenance/Downgrade", &downgrade(1, ""), INVALID_ARGUMENT, wrong_version),
        row("/etcdserverpb.Maintenance/Downgrade", &downgrade(0, "3.5.0"), INVALID_ARGUMENT, invalid_target),
        row("/etcdserverpb.Maintenance/Downgrade", &downgrade(1, "3.7"), INVALID_ARGUMENT, invalid_target),
        row("/etcdserverpb.Maintenance/Downgrade", &downgrade(9, ""), UNKNOWN, UNKNOWN_METHOD),
        row("/etcdserverpb.Maintenance/Alarm", &alarm(9, 1), UNKNOWN, UNKNOWN_METHOD),
    ]
}

/// What no method has to do with.
fn refused_by_the_shell() -> Vec<Row> {
    let unknown_service = HealthCheckRequest { service: "etcdserverpb.KV".to_owned() };
    vec![
        (
            "/etcdserverpb.KV/Nope",
            Vec::new(),
            UNIMPLEMENTED,
            "unknown method Nope for service etcdserverpb.KV",
        ),
        ("/etcdserverpb.Nope/Put", Vec::new(), UNIMPLEMENTED, "unknown service etcdserverpb.Nope"),
        (
            "/v3lockpb.Lock/Lock",
            Vec::new(),
            UNIMPLEMENTED,
            "v3lockpb.Lock/Lock is not supported by this version yet",
        ),
        row("/grpc.health.v1.Health/Check", &unknown_service, NOT_FOUND, "unknown service"),
        (
            "/etcdserverpb.KV/Put",
            vec![0; 2_097_153],
            RESOURCE_EXHAUSTED,
            "grpc: received message larger than max (2097153 vs. 2097152)",
        ),
        row(
            "/etcdserverpb.KV/Put",
            &PutRequest { value: vec![0; 1_572_864].into(), ..put("k") },
            INVALID_ARGUMENT,
            "etcdserver: request is too large",
        ),
    ]
}

#[tokio::test]
async fn every_error_comes_with_its_code_and_text() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let client = Client::connect(server.address).await;
    for _ in 0..3 {
        client.put(&put("k")).await.unwrap();
    }
    client.compact(&CompactionRequest { revision: 3, physical: true }).await.unwrap();
    let members: MemberListResponse =
        client.call("/etcdserverpb.Cluster/MemberList", &MemberListRequest::default()).await.unwrap();
    let (id, peer_url) = (members.members[0].id, members.members[0].peer_ur_ls[0].clone());

    assert_raised(&client, malformed()).await;
    assert_raised(&client, refused_by_the_store()).await;
    assert_raised(&client, refused_by_the_cluster(id, &peer_url)).await;
    assert_raised(&client, refused_by_the_shell()).await;
    let broken = client.unary("/etcdserverpb.KV/Put", b"\xff").await.unwrap_err();
    let Failure::Refused(INTERNAL, text) = broken else { panic!("broken bytes came to {broken:?}") };
    assert!(text.starts_with("grpc: error unmarshalling request: "), "{text}");

    let enable = DowngradeRequest { action: 1, version: "3.6".to_owned() };
    client.unary("/etcdserverpb.Maintenance/Downgrade", &enable.encode_to_vec()).await.unwrap();
    let under_way = "etcdserver: cluster has a downgrade job in progress";
    let lower = DowngradeRequest { version: "3.5".to_owned(), ..enable };
    // The leader lowers the cluster version when it has applied the downgrade: until then the target is another.
    while let Err(Failure::Refused(INVALID_ARGUMENT, _)) =
        client.unary("/etcdserverpb.Maintenance/Downgrade", &lower.encode_to_vec()).await
    {}
    let rows = vec![row("/etcdserverpb.Maintenance/Downgrade", &lower, FAILED_PRECONDITION, under_way)];
    assert_raised(&client, rows).await;
}

#[tokio::test]
async fn alarms_refuse_what_they_refuse_in_etcd() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let client = Client::connect(server.address).await;
    let set = async |action, kind| -> AlarmResponse {
        client.call("/etcdserverpb.Maintenance/Alarm", &alarm(action, kind)).await.unwrap()
    };
    let delete = DeleteRangeRequest { key: "k".into(), ..DeleteRangeRequest::default() };
    let put_txn = txn(vec![op(Op::RequestPut(put("k")))]);
    let delete_txn = txn(vec![op(Op::RequestDeleteRange(delete.clone()))]);
    client.put(&put("k")).await.unwrap();

    set(1, 1).await;
    let refused = vec![
        row("/etcdserverpb.KV/Put", &put("k"), RESOURCE_EXHAUSTED, NO_SPACE),
        row("/etcdserverpb.KV/Txn", &put_txn, RESOURCE_EXHAUSTED, NO_SPACE),
    ];
    assert_raised(&client, refused).await;
    client.txn(&delete_txn).await.unwrap();
    client.delete_range(&delete).await.unwrap();

    set(1, 2).await;
    let compaction = CompactionRequest { revision: 2, physical: false };
    let refused = vec![
        row("/etcdserverpb.KV/Put", &put("k"), DATA_LOSS, CORRUPT),
        row("/etcdserverpb.KV/DeleteRange", &delete, DATA_LOSS, CORRUPT),
        row("/etcdserverpb.KV/Txn", &delete_txn, DATA_LOSS, CORRUPT),
        row("/etcdserverpb.KV/Compact", &compaction, DATA_LOSS, CORRUPT),
    ];
    assert_raised(&client, refused).await;
    client.range(&range_at(0)).await.unwrap();
    let status: StatusResponse =
        client.call("/etcdserverpb.Maintenance/Status", &StatusRequest::default()).await.unwrap();
    assert_eq!(status.errors, ["alarm:NOSPACE", "alarm:CORRUPT"]);

    assert_eq!(set(0, 0).await.alarms.len(), 2);
    set(2, 1).await;
    set(2, 2).await;
    client.put(&put("k")).await.unwrap();
}

#[tokio::test]
async fn a_full_quota_raises_the_alarm_and_space_is_got_back_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &["--quota-backend-bytes", "2000000"]);
    let client = Client::connect(server.address).await;
    let big = PutRequest { value: vec![7; 100_000].into(), ..put("k") };
    let refusal = loop {
        if let Err(refusal) = client.put(&big).await {
            break refusal;
        }
    };
    let no_space = Failure::Refused(RESOURCE_EXHAUSTED, NO_SPACE.to_owned());
    assert_eq!(refusal, no_space);
    let raised: AlarmResponse = client.call("/etcdserverpb.Maintenance/Alarm", &alarm(0, 0)).await.unwrap();
    let raised = raised.alarms[0];
    assert_eq!((raised.alarm, raised.member_id != 0), (1, true));

    let revision = client.range(&range_at(0)).await.unwrap().header.unwrap().revision;
    client.compact(&CompactionRequest { revision, physical: true }).await.unwrap();
    client.unary("/etcdserverpb.Maintenance/Defragment", &[]).await.unwrap();
    let size = async || -> i64 {
        let status: StatusResponse =
            client.call("/etcdserverpb.Maintenance/Status", &StatusRequest::default()).await.unwrap();
        status.db_size
    };
    // It goes on in the background; the test ends by its client's patience if it does not.
    while size().await > 1_000_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(client.put(&big).await, Err(no_space), "the alarm stays until it is cleared");
    let clear = AlarmRequest { action: 2, member_id: raised.member_id, alarm: 1 };
    client.unary("/etcdserverpb.Maintenance/Alarm", &clear.encode_to_vec()).await.unwrap();
    client.put(&big).await.unwrap();
}

#[tokio::test]
async fn metadata_is_looked_at_before_anything_else() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let client = Client::connect(server.address).await;
    let invalid = [("client-api-version", &b"\xff"[..]), ("hasleader", b"true")];
    for path in ["/etcdserverpb.KV/Range", "/etcdserverpb.KV/RangeStream"] {
        let mut call = client.open_with(path, &invalid).await.unwrap();
        call.send(&[], true).unwrap();
        let version = "etcdserver: invalid client api version".to_owned();
        assert_eq!(call.next().await, Err(Failure::Refused(INVALID_ARGUMENT, version)));
    }
    let valid = [("client-api-version", "3.7.1".as_bytes()), ("hasleader", b"true")];
    let mut call = client.open_with("/etcdserverpb.KV/Range", &valid).await.unwrap();
    call.send(&range_at(0).encode_to_vec(), true).unwrap();
    assert!(call.next().await.unwrap().is_some());
}

#[tokio::test]
async fn health_is_told_and_watched() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let client = Client::connect(server.address).await;
    let health: HealthCheckResponse =
        client.call("/grpc.health.v1.Health/Check", &HealthCheckRequest::default()).await.unwrap();
    assert_eq!(health.status, 1);
    for (service, status) in [("", 1), ("nope", 3)] {
        let mut watch = client.open("/grpc.health.v1.Health/Watch").await.unwrap();
        let request = HealthCheckRequest { service: service.to_owned() };
        watch.send(&request.encode_to_vec(), true).unwrap();
        let told = HealthCheckResponse::decode(watch.next().await.unwrap().unwrap()).unwrap();
        assert_eq!(told.status, status, "{service:?}");
    }
}
