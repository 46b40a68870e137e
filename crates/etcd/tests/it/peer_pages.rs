//! What members ask each other beside raft: three processes, of which only one leads.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use prost::Message;
use proto::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseLeasesRequest,
    LeaseLeasesResponse, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, MemberAddRequest,
    MemberAddResponse, MemberPromoteRequest, MemberPromoteResponse, PutRequest, StatusRequest,
    StatusResponse,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{Client, Failure};
use crate::server::{Server, own_flags};

/// How often something that nobody announces is looked for.
const LOOKS_MAX: usize = 600;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// Three members of one cluster.
struct Three {
    servers: Vec<Server>,
    clients: Vec<Client>,
    peer_addresses: [SocketAddr; 3],
    _data: TempDir,
}

impl Three {
    async fn start() -> Three {
        let held = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let peer_addresses = held.map(|listener| listener.local_addr().unwrap());
        let named = |(place, address)| format!("m{place}=http://{address}");
        let cluster = peer_addresses.iter().enumerate().map(named).collect::<Vec<_>>().join(",");
        let data = tempfile::tempdir().unwrap();
        // Each is ready only when it has found the others.
        let starting: Vec<_> = (0..3)
            .map(|place| {
                let (name, url) = (format!("m{place}"), format!("http://{}", peer_addresses[place]));
                let more =
                    ["--name", &name, "--listen-peer-urls", &url, "--initial-advertise-peer-urls", &url];
                let more = [&more[..], &["--initial-cluster", &cluster]].concat();
                let flags = own_flags(&data.path().join(&name), "127.0.0.1:0", &more);
                thread::spawn(move || Server::launch(&flags, &[]))
            })
            .collect();
        let servers: Vec<Server> = starting.into_iter().map(|server| server.join().unwrap()).collect();
        let mut clients = Vec::new();
        for server in &servers {
            clients.push(Client::connect(server.address).await);
        }
        Three { servers, clients, peer_addresses, _data: data }
    }

    /// The place of the leader, and those of the others.
    async fn leader(&self) -> (usize, Vec<usize>) {
        for place in 0..3 {
            let status: StatusResponse =
                call(&self.clients[place], "Maintenance/Status", StatusRequest {}).await.unwrap();
            if status.leader == status.header.unwrap().member_id {
                return (place, (0..3).filter(|other| *other != place).collect());
            }
        }
        panic!("nobody leads")
    }

    /// Asks the member at `place` for a page of its peer port.
    fn ask(&self, place: usize, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(self.peer_addresses[place]).unwrap();
        let len = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len}\r\n\r\n"
        );
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
        let status = str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
        (status, answer.split_off(end + 4))
    }
}

async fn call<R: Message + Default>(
    client: &Client,
    path: &str,
    request: impl Message,
) -> Result<R, Failure> {
    let answer = client.unary(&format!("/etcdserverpb.{path}"), &request.encode_to_vec()).await?;
    Ok(R::decode(answer).unwrap())
}

async fn keep_alive(client: &Client, id: i64) -> i64 {
    let mut stream = client.open("/etcdserverpb.Lease/LeaseKeepAlive").await.unwrap();
    stream.send(&LeaseKeepAliveRequest { id }.encode_to_vec(), true).unwrap();
    let answer = stream.next().await.unwrap().unwrap();
    LeaseKeepAliveResponse::decode(answer).unwrap().ttl
}

#[tokio::test]
async fn each_member_renews_leases_and_knows_their_time_and_their_list() {
    let three = Three::start().await;
    let grant = LeaseGrantRequest { id: 77, ttl: 1000 };
    let granted: LeaseGrantResponse = call(&three.clients[0], "Lease/LeaseGrant", grant).await.unwrap();
    assert_eq!(granted.ttl, 1000);
    let put = PutRequest { key: "k".into(), value: "v".into(), lease: 77, ..PutRequest::default() };
    three.clients[1].put(&put).await.unwrap();
    for client in &three.clients {
        assert_eq!((keep_alive(client, 77).await, keep_alive(client, 78).await), (1000, 0));
        let ask = |id| LeaseTimeToLiveRequest { id, keys: true };
        let left: LeaseTimeToLiveResponse = call(client, "Lease/LeaseTimeToLive", ask(77)).await.unwrap();
        assert_eq!((left.granted_ttl, &left.keys[..]), (1000, &["k".into()][..]));
        assert!((900..=1000).contains(&left.ttl), "{left:?}");
        assert_ne!(left.header.unwrap().member_id, 0, "the member that was asked says so");
        let left: LeaseTimeToLiveResponse = call(client, "Lease/LeaseTimeToLive", ask(78)).await.unwrap();
        assert_eq!((left.ttl, left.granted_ttl), (-1, 0));
    }
    // Each lists what it has applied, which may be less than what another has acknowledged.
    for client in &three.clients {
        let list = || call::<LeaseLeasesResponse>(client, "Lease/LeaseLeases", LeaseLeasesRequest {});
        let mut looks = 0;
        while list().await.unwrap().leases.len() != 1 {
            looks += 1;
            assert!(looks < LOOKS_MAX);
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }
}

#[tokio::test]
async fn a_renewal_at_a_follower_survives_the_loss_of_the_leader() {
    let mut three = Three::start().await;
    let grant = LeaseGrantRequest { id: 77, ttl: 1000 };
    let _: LeaseGrantResponse = call(&three.clients[0], "Lease/LeaseGrant", grant).await.unwrap();
    let (leader, others) = three.leader().await;
    three.servers.remove(leader).kill();
    // The question waits for the next leader, within the time of one request.
    assert_eq!(keep_alive(&three.clients[others[0]], 77).await, 1000);
}

#[tokio::test]
async fn the_pages_of_a_peer_port_answer_as_those_of_etcd() {
    let three = Three::start().await;
    let (leader, others) = three.leader().await;
    for place in 0..3 {
        let mut looks = 0;
        // The leader asks all members for their versions, which may take it more than one attempt.
        loop {
            let (_, body) = three.ask(place, "GET", "/version", b"");
            let versions: Value = serde_json::from_slice(&body).unwrap();
            if versions["etcdcluster"] == "3.7.0" {
                break;
            }
            looks += 1;
            assert!(looks < LOOKS_MAX, "{versions}");
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        assert_eq!(three.ask(place, "GET", "/downgrade/enabled", b""), (200, b"false".to_vec()));
        let (status, body) = three.ask(place, "GET", "/members/hashkv", br#"{"revision":1}"#);
        let hash: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((status, &hash["compact_revision"]), (200, &json!(-1)), "{hash}");
        let (status, body) = three.ask(place, "GET", "/members/hashkv", br#"{"revision":9}"#);
        assert_eq!((status, &body[..]), (400, &b"mvcc: required revision is a future revision\n"[..]));
        let (status, body) = three.ask(place, "POST", "/members/promote/x", b"");
        assert_eq!((status, &body[..]), (404, &b"member x not found in cluster\n"[..]));
    }
    let renewal = LeaseKeepAliveRequest { id: 78 }.encode_to_vec();
    let at_leader = three.ask(leader, "POST", "/leases", &renewal);
    assert_eq!(at_leader, (404, b"lease not found\n".to_vec()));
    let at_follower = three.ask(others[0], "POST", "/leases", &renewal);
    assert_eq!(at_follower, (400, b"not a primary lessor\n".to_vec()));
    let (status, _) = three.ask(others[0], "POST", "/leases/internal", b"\xff");
    assert_eq!(status, 400);
    assert_eq!(three.ask(leader, "POST", "/members/promote/12", b"").0, 404);
    assert_eq!(three.ask(others[0], "POST", "/members/promote/12", b"").0, 500);
}

#[tokio::test]
async fn each_member_tells_why_a_promotion_is_refused() {
    let three = Three::start().await;
    let urls = vec!["http://127.0.0.1:1".to_owned()];
    let add = MemberAddRequest { peer_ur_ls: urls, is_learner: true };
    // Members that were connected a moment ago only are no reason to change anything.
    let mut looks = 0;
    let added: MemberAddResponse = loop {
        match call(&three.clients[0], "Cluster/MemberAdd", add.clone()).await {
            Ok(added) => break added,
            Err(failure) => {
                let unhealthy = Failure::Refused(14, "etcdserver: unhealthy cluster".to_owned());
                assert_eq!(failure, unhealthy);
            }
        }
        looks += 1;
        assert!(looks < LOOKS_MAX);
        tokio::time::sleep(BETWEEN_LOOKS).await;
    };
    let id = added.member.unwrap().id;
    for place in 0..3 {
        let promote = async |id| -> Failure {
            let request = MemberPromoteRequest { id };
            let client = &three.clients[place];
            call::<MemberPromoteResponse>(client, "Cluster/MemberPromote", request).await.unwrap_err()
        };
        let behind = "etcdserver: can only promote a learner member which is in sync with leader";
        assert_eq!(promote(id).await, Failure::Refused(9, behind.to_owned()));
        assert_eq!(promote(12).await, Failure::Refused(5, "etcdserver: member not found".to_owned()));
    }
}
