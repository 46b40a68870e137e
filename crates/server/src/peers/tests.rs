//! Members on loopback: two of ours, and one whose bytes the test writes itself.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Condvar, Mutex};

use ::peer::{Identity, MessageDecoder, SnapshotHead};
use bytes::Bytes;
use proto::raftpb::{Entry, MessageType, Snapshot, SnapshotMetadata};

use super::*;
use crate::config::Url;
use crate::listen::Reuse;

const CLUSTER: u64 = 0xc;

/// What a member was told by its peers.
#[derive(Debug, Default)]
struct Told {
    messages: Vec<Message>,
    unreachable: Vec<u64>,
    snapshots: Vec<(u64, bool)>,
    is_removed: bool,
}

/// A member that only remembers.
#[derive(Debug, Default)]
struct Recorder {
    told: Mutex<Told>,
    changed: Condvar,
    backlog: Backlog,
    removed: Mutex<Vec<u64>>,
    /// The state that it has, and the directory for those of others.
    state: Mutex<Option<Vec<u8>>>,
    snapshot_dir: Mutex<Option<PathBuf>>,
}

impl Recorder {
    fn tell(&self, change: impl FnOnce(&mut Told)) {
        change(&mut self.told.lock().unwrap());
        self.changed.notify_all();
    }

    /// Waits until `found` finds something in what was told.
    fn wait<T>(&self, found: impl Fn(&Told) -> Option<T>) -> T {
        let mut told = self.told.lock().unwrap();
        loop {
            if let Some(found) = found(&told) {
                return found;
            }
            told = self.changed.wait(told).unwrap();
        }
    }

    fn wait_for_message(&self, is_wanted: impl Fn(&Message) -> bool) -> Message {
        self.wait(|told| told.messages.iter().find(|message| is_wanted(message)).cloned())
    }
}

impl Local for Recorder {
    fn step(&self, messages: &mut Vec<Message>) {
        self.tell(|told| told.messages.append(messages));
    }

    fn install(&self, message: Message, _: PathBuf) -> oneshot::Receiver<Installed> {
        let (done, installed) = oneshot::channel();
        self.tell(|told| told.messages.push(message));
        done.send(Ok(())).unwrap();
        installed
    }

    fn backlog(&self) -> &Backlog {
        &self.backlog
    }

    fn report_unreachable(&self, id: u64) {
        self.tell(|told| told.unreachable.push(id));
    }

    fn report_snapshot(&self, id: u64, is_ok: bool) {
        self.tell(|told| told.snapshots.push((id, is_ok)));
    }

    fn is_removed(&self, id: u64) -> bool {
        self.removed.lock().unwrap().contains(&id)
    }

    fn removed_by_peer(&self) {
        self.tell(|told| told.is_removed = true);
    }

    fn members(&self) -> Vec<Member> {
        vec![member(1, "http://127.0.0.1:1"), member(2, "http://127.0.0.1:2")]
    }

    fn cluster_version(&self) -> String {
        "3.7.0".to_owned()
    }

    fn open_snapshot(&self, message: Message) -> io::Result<OutgoingSnapshot> {
        let state = self.state.lock().unwrap().clone().ok_or(io::ErrorKind::Unsupported)?;
        Ok(OutgoingSnapshot { message, len: state.len() as u64, reader: Box::new(io::Cursor::new(state)) })
    }

    fn snapshot_dir(&self) -> io::Result<PathBuf> {
        Ok(self.snapshot_dir.lock().unwrap().clone().ok_or(io::ErrorKind::Unsupported)?)
    }
}

/// Answers each request with its path and its body.
#[derive(Debug)]
struct Echo;

impl Pages for Echo {
    fn answer(self: Rc<Self>, route: Route, body: Bytes) -> Pin<Box<dyn Future<Output = Answer>>> {
        let body = String::from_utf8_lossy(&body).into_owned();
        Box::pin(async move { Answer::json(format!("{route:?} {body}")) })
    }
}

/// A running member.
struct Node {
    id: u64,
    url: String,
    local: Arc<Recorder>,
    outbox: Arc<Outbox>,
    handle: PeersHandle,
    peers: Peers,
}

impl Node {
    fn start(id: u64) -> Node {
        Node::start_in(id, CLUSTER)
    }

    fn start_in(id: u64, cluster_id: u64) -> Node {
        let listener = Listener::bind(&Url::parse("http://127.0.0.1:0").unwrap(), Reuse::default()).unwrap();
        let url = format!("http://{}", listener.address());
        let identity = Identity { id, cluster_id, version: "3.7.1", peer_urls: url.clone() };
        let dial_limit = Duration::from_secs(5);
        let heartbeat_interval = Duration::from_secs(60);
        let settings = PeerSettings { identity, heartbeat_interval, dial_limit, message_len_max: 1 << 20 };
        let (local, outbox, handle) =
            (Arc::<Recorder>::default(), Arc::<Outbox>::default(), PeersHandle::default());
        let metrics = Arc::new(Metrics::new(false));
        let as_local = Arc::<Recorder>::clone(&local);
        let pages = || Rc::new(Echo) as Rc<dyn Pages>;
        let peers =
            Peers::start(settings, &handle, vec![listener], Arc::clone(&outbox), as_local, pages, metrics)
                .unwrap();
        Node { id, url, local, outbox, handle, peers }
    }

    fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    fn know(&self, members: &[(u64, &str)]) {
        let members: Vec<_> = members.iter().map(|(id, url)| member(*id, url)).collect();
        self.handle.set_members(&members);
    }

    fn send(&self, messages: &[Message]) {
        self.outbox.send(&mut messages.to_vec());
    }

    /// Sends a message again and again until it arrives: the first ones may find no connection yet.
    fn send_until_received(&self, message: &Message, receiver: &Node) {
        let mut told = receiver.local.told.lock().unwrap();
        while !told.messages.contains(message) {
            self.send(std::slice::from_ref(message));
            told = receiver.local.changed.wait_timeout(told, Duration::from_millis(50)).unwrap().0;
        }
    }
}

/// Waits for something that nobody announces.
fn wait_until(is_so: impl Fn() -> bool) {
    while !is_so() {
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

fn member(id: u64, url: &str) -> Member {
    Member { id, peer_ur_ls: vec![url.to_owned()], ..Member::default() }
}

fn two() -> (Node, Node) {
    let (a, b) = (Node::start(1), Node::start(2));
    a.know(&[(1, &a.url), (2, &b.url)]);
    b.know(&[(1, &a.url), (2, &b.url)]);
    (a, b)
}

fn message(r#type: MessageType, from: u64, to: u64) -> Message {
    Message { r#type: r#type as i32, from, to, term: 3, ..Message::default() }
}

fn append(from: u64, to: u64, index: u64, data: Bytes) -> Message {
    let entry = Entry { term: 3, index: index + 1, data, ..Entry::default() };
    Message { log_term: 3, index, entries: vec![entry], ..message(MessageType::MsgApp, from, to) }
}

fn snapshot(from: u64, to: u64, index: u64) -> Message {
    let metadata = Some(SnapshotMetadata { index, term: 3, ..SnapshotMetadata::default() });
    let snapshot = Some(Snapshot { metadata, ..Snapshot::default() });
    Message { snapshot, ..message(MessageType::MsgSnap, from, to) }
}

/// An HTTP/1.1 request written by hand, and the head of the answer and its body as far as `Content-Length` says.
fn ask(address: &str, request: &str, body: &[u8]) -> (TcpStream, String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    // The answer may come before all of the body is written.
    let _ = stream.write_all(body);
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut head, mut len) = (String::new(), 0);
    loop {
        let mut line = String::new();
        assert!(reader.read_line(&mut line).unwrap() > 0, "the answer ends in its head: {head}");
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.strip_prefix("Content-Length: ") {
            len = value.trim().parse().unwrap();
        }
        head.push_str(&line);
    }
    let mut body = vec![0; len];
    reader.read_exact(&mut body).unwrap();
    (stream, head, String::from_utf8(body).unwrap())
}

/// Headers of member 2, but for those in `changed`.
fn headers(changed: &[(&str, &str)]) -> String {
    let mut headers = vec![
        ("Host", "x"),
        ("X-Server-From", "2"),
        ("X-Server-Version", "3.7.1"),
        ("X-Min-Cluster-Version", "3.0.0"),
        ("X-Etcd-Cluster-ID", "c"),
        ("X-Raft-To", "1"),
    ];
    for (name, value) in changed {
        headers.retain(|(header, _)| header != name);
        headers.push((name, value));
    }
    headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect()
}

fn get(path: &str, changed: &[(&str, &str)]) -> String {
    format!("GET {path} HTTP/1.1\r\n{}\r\n", headers(changed))
}

fn post(path: &str, body_len: usize, changed: &[(&str, &str)]) -> String {
    format!("POST {path} HTTP/1.1\r\nContent-Length: {body_len}\r\n{}\r\n", headers(changed))
}

#[test]
fn messages_of_both_streams_arrive_at_the_other_member() {
    let (a, b) = two();
    a.send_until_received(&message(MessageType::MsgHeartbeat, 1, 2), &b);
    b.send_until_received(&message(MessageType::MsgHeartbeatResp, 2, 1), &a);
    let appends: Vec<_> = (10..20).map(|index| append(1, 2, index, Bytes::from_static(b"data"))).collect();
    a.send(&appends);
    let last = b.local.wait_for_message(|message| message.index == 19);
    assert_eq!(last, appends[9]);
    assert!(a.handle.active_since(b.id).is_some() && a.handle.n_active() == 1);
    a.peers.stop();
    b.peers.stop();
}

#[test]
fn a_message_that_finds_no_stream_is_posted() {
    let (a, b) = (Node::start(1), Node::start(2));
    // Only one side knows the other, so nobody asks it for a stream.
    a.know(&[(2, &b.url)]);
    a.send(&[append(1, 2, 7, Bytes::from_static(b"data"))]);
    let received = b.local.wait_for_message(|message| message.index == 7);
    assert_eq!(received, append(1, 2, 7, Bytes::from_static(b"data")));
}

#[test]
fn a_member_known_only_from_its_requests_can_be_answered() {
    let (a, b) = (Node::start(1), Node::start(2));
    a.know(&[(2, &b.url)]);
    a.send(&[message(MessageType::MsgHeartbeat, 1, 2)]);
    b.local.wait_for_message(|message| message.from == 1);
    b.send(&[message(MessageType::MsgHeartbeatResp, 2, 1)]);
    a.local.wait_for_message(|message| message.from == 2);
}

#[test]
fn a_dead_peer_is_reported_and_delays_nobody() {
    let (a, b) = (Node::start(1), Node::start(2));
    let dead = TcpListener::bind("127.0.0.1:0").unwrap();
    let dead_url = format!("http://{}", dead.local_addr().unwrap());
    drop(dead);
    a.know(&[(2, &b.url), (3, &dead_url)]);
    b.know(&[(1, &a.url)]);
    a.send(&[message(MessageType::MsgHeartbeat, 1, 3), message(MessageType::MsgHeartbeat, 1, 2)]);
    b.local.wait_for_message(|message| message.from == 1);
    a.local.wait(|told| told.unreachable.contains(&3).then_some(()));
    assert_eq!(a.handle.active_since(3), None);
}

#[test]
fn what_a_peer_does_not_read_is_bounded_and_reported() {
    let a = Node::start(1);
    // A peer that takes connections and reads nothing from them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    a.know(&[(2, &format!("http://{}", silent.local_addr().unwrap()))]);
    let (_stream, head, _) = ask(a.address(), &get("/raft/stream/msgapp/2", &[]), b"");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let data = Bytes::from(vec![7; 1 << 20]);
    // The queue of a stream takes 64 MiB, and the system some more.
    for index in 0..400 {
        a.send(&[append(1, 2, index, data.clone())]);
    }
    a.local.wait(|told| told.unreachable.contains(&2).then_some(()));
}

#[test]
fn a_removed_member_is_told_so() {
    let (a, b) = (Node::start(1), Node::start(2));
    b.local.removed.lock().unwrap().push(1);
    a.know(&[(1, &a.url), (2, &b.url)]);
    a.local.wait(|told| told.is_removed.then_some(()));
    let c = Node::start(3);
    b.local.removed.lock().unwrap().push(3);
    c.know(&[(2, &b.url)]);
    c.send(&[message(MessageType::MsgHeartbeat, 3, 2)]);
    c.local.wait(|told| told.is_removed.then_some(()));
}

#[test]
fn a_member_of_another_cluster_is_refused() {
    let (a, b) = (Node::start_in(1, 0xd), Node::start(2));
    a.know(&[(2, &b.url)]);
    b.know(&[(1, &a.url)]);
    a.send(&[message(MessageType::MsgHeartbeat, 1, 2)]);
    a.local.wait(|told| told.unreachable.contains(&2).then_some(()));
    assert!(b.local.told.lock().unwrap().messages.is_empty());
    assert_eq!(b.handle.active_since(1), None);
}

#[test]
fn requests_are_refused_with_the_statuses_and_texts_of_etcd() {
    let a = Node::start(1);
    a.know(&[(2, "http://127.0.0.1:1")]);
    a.local.removed.lock().unwrap().push(3);
    let from_removed = prost::Message::encode_to_vec(&message(MessageType::MsgHeartbeat, 3, 1));
    let for_other = prost::Message::encode_to_vec(&message(MessageType::MsgHeartbeat, 2, 9));
    let path = "/raft/stream/msgapp/2";
    for (request, body, status, text) in [
        (get(path, &[("X-Etcd-Cluster-ID", "d")]), &b""[..], 412, "cluster ID mismatch\n"),
        (get(path, &[("X-Server-Version", "2.3.0")]), b"", 412, "incompatible version\n"),
        (get(path, &[("X-Raft-To", "9")]), b"", 412, "to field mismatch\n"),
        (get("/raft/stream/other/2", &[]), b"", 404, "invalid path\n"),
        (get("/raft/stream/msgapp/x", &[]), b"", 404, "invalid from\n"),
        (get("/raft/stream/msgapp/4", &[]), b"", 404, "error sender not found\n"),
        (get("/raft/stream/msgapp/3", &[]), b"", 410, "removed member\n"),
        (get("/raft", &[]), b"", 405, "Method Not Allowed\n"),
        (get("/health", &[]), b"", 404, "404 page not found\n"),
        (post("/raft", 3, &[]), b"bad", 400, "error unmarshalling raft message\n"),
        (post("/raft", 2 << 20, &[]), &vec![0; 2 << 20], 400, "error reading raft message\n"),
        (
            post("/raft", from_removed.len(), &[]),
            &from_removed,
            403,
            r#"{"message":"cannot process message from removed member"}"#,
        ),
        (
            post("/raft", for_other.len(), &[]),
            &for_other,
            403,
            r#"{"message":"cannot process message to mismatch member"}"#,
        ),
    ] {
        let (_, head, answer) = ask(a.address(), &request, body);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{request}{head}");
        assert_eq!(answer, text, "{request}");
    }
    assert!(a.local.told.lock().unwrap().messages.is_empty());
}

#[test]
fn pages_of_the_peer_port() {
    let a = Node::start(1);
    let (_, head, body) = ask(a.address(), &get("/members", &[]), b"");
    assert!(head.contains("X-Etcd-Cluster-Id: c\r\n"), "{head}");
    assert_eq!(
        body,
        "[{\"id\":1,\"peerURLs\":[\"http://127.0.0.1:1\"]},{\"id\":2,\"peerURLs\":[\"http://127.0.0.1:2\"]}]\n"
    );
    let (_, _, body) = ask(a.address(), &get("/version", &[]), b"");
    assert_eq!(body, r#"{"etcdserver":"3.7.1","etcdcluster":"3.7.0","storage":"3.7.0"}"#);
    let (_, _, body) = ask(a.address(), &get("/raft/probing", &[]), b"");
    assert!(body.starts_with(r#"{"OK":true,"Now":""#), "{body}");
}

#[test]
fn a_cluster_is_described_by_the_first_member_that_answers() {
    let a = Node::start(1);
    let dead = TcpListener::bind("127.0.0.1:0").unwrap();
    let dead_url = Url::parse(&format!("http://{}", dead.local_addr().unwrap())).unwrap();
    drop(dead);
    let urls = [dead_url.clone(), Url::parse(&a.url).unwrap()];
    let mut failed = Vec::new();
    let cluster = ask_cluster(&urls, Duration::from_secs(60), |url, _| failed.push(url.clone())).unwrap();
    assert_eq!((cluster.id, cluster.members), (CLUSTER, a.local.members()));
    assert_eq!(failed, urls[..1]);
    assert!(ask_cluster(&[dead_url], Duration::from_secs(60), |_, _| {}).is_err());
}

#[test]
fn the_version_of_a_cluster_is_told_by_those_that_answer() {
    let a = Node::start(1);
    let urls = |urls: &[&str]| urls.iter().map(|url| Url::parse(url).unwrap()).collect::<Vec<_>>();
    let nobody = "http://127.0.0.1:1";
    let members = [(1, urls(&[nobody, &a.url])), (2, urls(&[nobody]))];
    let replies = ask_members(&members, &Question::version(), Duration::from_secs(60)).unwrap();
    let versions: Vec<_> = replies
        .into_iter()
        .map(|(id, reply)| (id, reply.ok().map(|r| r.version().unwrap().cluster_text)))
        .collect();
    assert_eq!(versions, [(1, Some("3.7.0".to_owned())), (2, None)]);
}

#[test]
fn a_new_stream_takes_the_place_of_the_old_one() {
    let a = Node::start(1);
    a.know(&[(2, "http://127.0.0.1:1")]);
    let open = || ask(a.address(), &get("/raft/stream/message/2", &[]), b"").0;
    let mut first = open();
    let mut second = open();
    // The last chunk, and no other: nothing was sent yet.
    let mut end = [0; 5];
    first.read_exact(&mut end).unwrap();
    assert_eq!(&end, b"0\r\n\r\n", "the old stream ends in order");
    a.send(&[message(MessageType::MsgHeartbeat, 1, 2)]);
    let mut decoder = MessageDecoder::new(1 << 20);
    let mut byte = [0];
    let received = loop {
        second.read_exact(&mut byte).unwrap();
        if byte == [b'\n'] {
            // Chunks are framed by lines; the first one holds the message.
            break read_chunk(&mut second, &mut decoder);
        }
    };
    assert_eq!(received, message(MessageType::MsgHeartbeat, 1, 2));
}

/// Reads the bytes of a chunk, whose length line has been read, up to the first message.
fn read_chunk(stream: &mut TcpStream, decoder: &mut MessageDecoder) -> Message {
    let mut byte = [0];
    loop {
        stream.read_exact(&mut byte).unwrap();
        decoder.extend(&byte);
        if let Some(message) = decoder.next_message().unwrap() {
            return message;
        }
    }
}

#[test]
fn a_stream_of_garbage_is_dropped_and_dialed_again() {
    let a = Node::start(1);
    let fake = TcpListener::bind("127.0.0.1:0").unwrap();
    a.know(&[(2, &format!("http://{}", fake.local_addr().unwrap()))]);
    let mut n_dialed = 0;
    while n_dialed < 4 {
        let (mut stream, _) = fake.accept().unwrap();
        let mut request = String::new();
        BufReader::new(stream.try_clone().unwrap()).read_line(&mut request).unwrap();
        if request.starts_with("GET /raft/stream/") {
            n_dialed += 1;
            let head = "HTTP/1.1 200 OK\r\nX-Server-Version: 3.7.1\r\nTransfer-Encoding: chunked\r\n\r\n";
            // Of a kind that there is not, and of a length that is over every limit.
            stream.write_all(head.as_bytes()).unwrap();
            let _ = stream.write_all(b"9\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\r\n");
        }
    }
    assert!(a.local.told.lock().unwrap().messages.is_empty());
}

#[test]
fn a_snapshot_without_its_state_is_never_stepped() {
    let a = Node::start(1);
    a.know(&[(2, "http://127.0.0.1:1")]);
    let body = prost::Message::encode_to_vec(&snapshot(2, 1, 9));
    let (_, head, _) = ask(a.address(), &post("/raft", body.len(), &[]), &body);
    assert!(head.starts_with("HTTP/1.1 400"), "{head}");
    assert!(a.local.told.lock().unwrap().messages.is_empty());
}

#[test]
fn a_state_arrives_as_a_file_and_then_its_message() {
    let (a, b) = two();
    let dir = tempfile::tempdir().unwrap();
    *b.local.snapshot_dir.lock().unwrap() = Some(dir.path().to_owned());
    let state: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
    *a.local.state.lock().unwrap() = Some(state.clone());
    a.send(&[snapshot(1, 2, 0x1f)]);
    let received = b.local.wait_for_message(|message| message.r#type == MessageType::MsgSnap as i32);
    assert_eq!(received, snapshot(1, 2, 0x1f));
    assert_eq!(std::fs::read(dir.path().join("000000000000001f.snap.db")).unwrap(), state);
    assert_eq!(a.local.wait(|told| told.snapshots.first().copied()), (2, true));
}

#[test]
fn a_state_that_cannot_be_sent_or_taken_is_reported() {
    let (a, b) = two();
    a.send(&[snapshot(1, 2, 7)]);
    assert_eq!(a.local.wait(|told| told.snapshots.first().copied()), (2, false), "it has none");
    *a.local.state.lock().unwrap() = Some(vec![1; 1 << 20]);
    a.send(&[snapshot(1, 2, 7)]);
    assert_eq!(a.local.wait(|told| told.snapshots.get(1).copied()), (2, false), "the other takes none");
    assert!(b.local.told.lock().unwrap().messages.is_empty());
}

#[test]
fn a_state_that_breaks_off_leaves_nothing() {
    let a = Node::start(1);
    a.know(&[(2, "http://127.0.0.1:1")]);
    let dir = tempfile::tempdir().unwrap();
    *a.local.snapshot_dir.lock().unwrap() = Some(dir.path().to_owned());
    let head = SnapshotHead::encode(&snapshot(2, 1, 5));
    let mut stream = TcpStream::connect(a.address()).unwrap();
    stream.write_all(post("/raft/snapshot", 1 << 20, &[]).as_bytes()).unwrap();
    stream.write_all(&head).unwrap();
    stream.write_all(b"half").unwrap();
    let files = || std::fs::read_dir(dir.path()).unwrap().count();
    wait_until(|| files() > 0);
    drop(stream);
    wait_until(|| files() == 0);
    assert!(a.local.told.lock().unwrap().messages.is_empty());
}

#[test]
fn states_that_arrive_at_a_time_are_bounded() {
    let a = Node::start(1);
    a.know(&[(2, "http://127.0.0.1:1")]);
    let dir = tempfile::tempdir().unwrap();
    *a.local.snapshot_dir.lock().unwrap() = Some(dir.path().to_owned());
    let begin = |index| {
        let mut stream = TcpStream::connect(a.address()).unwrap();
        stream.write_all(post("/raft/snapshot", 1 << 20, &[]).as_bytes()).unwrap();
        stream.write_all(&SnapshotHead::encode(&snapshot(2, 1, index))).unwrap();
        stream
    };
    let open: Vec<_> = (1..3).map(begin).collect();
    wait_until(|| std::fs::read_dir(dir.path()).unwrap().count() == open.len());
    let (_, head, _) = ask(a.address(), &post("/raft/snapshot", 0, &[]), b"");
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
}

#[test]
fn members_that_leave_are_disconnected() {
    let (a, b) = two();
    a.send_until_received(&message(MessageType::MsgHeartbeat, 1, 2), &b);
    wait_until(|| a.handle.active_since(2).is_some());
    a.know(&[(1, &a.url)]);
    wait_until(|| a.handle.active_since(2).is_none());
}

/// What the member `from` is told by `to`.
fn answered(from: &Node, to: u64, question: Question) -> io::Result<Reply> {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(from.handle.ask(to, question, Duration::from_secs(60)))
}

#[test]
fn members_answer_each_others_questions() {
    let (a, b) = two();
    // Once they are connected, they know each other.
    wait_until(|| a.handle.active_since(b.id).is_some());
    let versions = answered(&a, 2, Question::version()).unwrap().version().unwrap();
    assert_eq!(versions.server_text, "3.7.1");
    let reply = answered(&a, 2, Question::promotion(17)).unwrap();
    assert_eq!((reply.status, &*reply.body), (200, &b"Promote(\"17\") "[..]));
    let reply = answered(&a, 2, Question::hash(5)).unwrap();
    assert_eq!(&*reply.body, &b"HashKv {\"revision\":5}"[..]);
    // Nobody has this id.
    assert!(answered(&a, 3, Question::version()).is_err());
}

#[test]
fn many_questions_share_a_few_connections() {
    let (a, b) = two();
    wait_until(|| a.handle.active_since(b.id).is_some());
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(LocalSet::new().run_until(async {
        let ask = |id| {
            let handle = a.handle.clone();
            async move { handle.ask(2, Question::promotion(id), Duration::from_secs(60)).await }
        };
        let asked: Vec<_> = (0..2000).map(|id| tokio::task::spawn_local(ask(id))).collect();
        for (id, asked) in asked.into_iter().enumerate() {
            assert_eq!(asked.await.unwrap().unwrap().body, format!("Promote(\"{id}\") "));
        }
    }));
}

#[test]
fn a_question_to_a_member_that_is_down_fails_at_each_of_its_urls() {
    let a = Node::start(1);
    let dead = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let urls = dead.each_ref().map(|listener| format!("http://{}", listener.local_addr().unwrap()));
    drop(dead);
    let member = Member { id: 2, peer_ur_ls: urls.to_vec(), ..Member::default() };
    a.handle.set_members(&[member]);
    assert!(answered(&a, 2, Question::version()).is_err());
}

#[test]
fn a_question_finds_the_url_that_works() {
    let (a, b) = (Node::start(1), Node::start(2));
    let dead = TcpListener::bind("127.0.0.1:0").unwrap();
    let dead_url = format!("http://{}", dead.local_addr().unwrap());
    drop(dead);
    a.handle.set_members(&[Member { id: 2, peer_ur_ls: vec![dead_url, b.url.clone()], ..Member::default() }]);
    let reply = answered(&a, 2, Question::downgrade_enabled());
    assert_eq!(reply.unwrap().body, "DowngradeEnabled ");
}

#[test]
fn requests_for_pages_are_checked_before_the_store_is_asked() {
    let a = Node::start(1);
    let body = br#"{"revision":1}"#;
    let hash = |cluster| {
        let request = format!(
            "GET /members/hashkv HTTP/1.1\r\nHost: x\r\nX-Etcd-Cluster-ID: {cluster}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        ask(a.address(), &request, body)
    };
    let (_, head, text) = hash("d");
    assert!(head.starts_with("HTTP/1.1 412"), "{head}");
    assert_eq!(text, "cluster ID mismatch\n");
    let (_, head, text) = hash("c");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("X-Etcd-Cluster-Id: c"), "{head}");
    assert_eq!(text, r#"HashKv {"revision":1}"#);
    let long = vec![0; (64 << 10) + 1];
    let (_, head, _) = ask(a.address(), &post("/leases", long.len(), &[]), &long);
    assert!(head.starts_with("HTTP/1.1 413"), "{head}");
    let (_, head, _) = ask(a.address(), &get("/leases", &[]), b"");
    assert!(head.starts_with("HTTP/1.1 405") && head.contains("Allow: POST"), "{head}");
}
