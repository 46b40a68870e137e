//! Tests with a name server on this host.

use std::net::TcpListener;
use std::thread;

use simple_dns::ResourceRecord;
use simple_dns::rdata::SRV;

use super::*;

const NAME: &str = "_etcd-server._tcp.example.com";

/// Makes an answer from a query.
type Reply = Box<dyn Fn(&[u8]) -> Vec<u8> + Send>;

/// Starts a name server that answers one datagram with each of `answers` in turn, made from the query.
fn serve_udp(answers: Vec<Reply>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut query = [0; 512];
        for answer in answers {
            let (len, from) = socket.recv_from(&mut query).unwrap();
            socket.send_to(&answer(&query[..len]), from).unwrap();
        }
    });
    address
}

fn resolver(server: SocketAddr) -> Resolver {
    Resolver { servers: vec![server], time_limit: Duration::from_secs(60) }
}

/// Answers a query with these records: priority, weight, port and target.
fn answer(query: &[u8], records: &[(u16, u16, u16, &str)]) -> Vec<u8> {
    with(query, |reply| {
        for (priority, weight, port, target) in records {
            let (target, port) = (Name::new(target).unwrap().into_owned(), *port);
            let srv = SRV { priority: *priority, weight: *weight, port, target };
            let record = ResourceRecord::new(Name::new_unchecked(NAME), CLASS::IN, 60, RData::SRV(srv));
            reply.answers.push(record);
        }
    })
}

/// A reply to `query` with the same question, changed by `change`.
fn with(query: &[u8], change: impl FnOnce(&mut Packet<'_>)) -> Vec<u8> {
    let query = Packet::parse(query).unwrap();
    let mut reply = Packet::new_reply(query.id());
    reply.questions.clone_from(&query.questions);
    change(&mut reply);
    reply.build_bytes_vec().unwrap()
}

#[test]
fn records_come_by_priority_and_weight() {
    let records = [(2, 0, 1, "c.example.com"), (1, 5, 2, "b.example.com"), (1, 9, 3, "a.example.com")];
    let server = serve_udp(vec![Box::new(move |query| answer(query, &records))]);
    let found = resolver(server).srv(NAME).unwrap();
    let found: Vec<_> = found.iter().map(|record| (&*record.target, record.port)).collect();
    assert_eq!(found, [("a.example.com", 3), ("b.example.com", 2), ("c.example.com", 1)]);
}

#[test]
fn a_name_without_records_is_told_in_the_words_of_go() {
    let unknown = |query: &[u8]| with(query, |reply| *reply.rcode_mut() = RCODE::NameError);
    let server = serve_udp(vec![Box::new(unknown), Box::new(|query| answer(query, &[]))]);
    let text = format!("lookup {NAME} on {server}: no such host");
    for _ in 0..2 {
        assert_eq!(resolver(server).srv(NAME), Err(text.clone()));
    }
}

#[test]
fn a_server_that_cannot_tell_is_asked_again() {
    let fails = |query: &[u8]| with(query, |reply| *reply.rcode_mut() = RCODE::ServerFailure);
    let server = serve_udp(vec![Box::new(fails), Box::new(|query| answer(query, &[(0, 0, 7, "a.b")]))]);
    assert_eq!(resolver(server).srv(NAME).unwrap()[0].port, 7);
    let server = serve_udp(vec![Box::new(fails), Box::new(fails)]);
    let text = format!("lookup {NAME} on {server}: server misbehaving");
    assert_eq!(resolver(server).srv(NAME), Err(text));
}

#[test]
fn an_answer_too_long_for_a_datagram_comes_by_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let udp = UdpSocket::bind(address).unwrap();
    thread::spawn(move || {
        let mut query = [0; 512];
        let (len, from) = udp.recv_from(&mut query).unwrap();
        let truncated = with(&query[..len], |reply| reply.set_flags(PacketFlag::TRUNCATION));
        udp.send_to(&truncated, from).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        let mut query = vec![0; len + 2];
        stream.read_exact(&mut query).unwrap();
        let answer = answer(&query[2..], &[(0, 0, 7, "a.b")]);
        stream.write_all(&(answer.len() as u16).to_be_bytes()).unwrap();
        stream.write_all(&answer).unwrap();
    });
    assert_eq!(resolver(address).srv(NAME), Ok(vec![SrvRecord { target: "a.b".to_owned(), port: 7 }]));
}

#[test]
fn a_target_that_is_no_host_name_is_passed_over() {
    let records = [(0, 0, 1, "a,b=http://c"), (0, 0, 2, "a b"), (0, 0, 3, "a.b")];
    let server = serve_udp(vec![Box::new(move |query| answer(query, &records))]);
    let found = resolver(server).srv(NAME).unwrap();
    assert_eq!(found, [SrvRecord { target: "a.b".to_owned(), port: 3 }]);
}

#[test]
fn what_answers_another_question_is_passed_over() {
    let query = Query::new(NAME).unwrap();
    let good = answer(&query.bytes, &[(0, 0, 7, "a.b")]);
    assert!(matches!(query.read(&good), Some(Ok(Answer::Records(_)))));
    let mut other_id = good.clone();
    other_id[0] ^= 1;
    let other_name = {
        let other = Query::new("_etcd-server._tcp.example.org").unwrap();
        let mut bytes = answer(&other.bytes, &[(0, 0, 7, "a.b")]);
        bytes[..2].copy_from_slice(&query.id.to_be_bytes());
        bytes
    };
    for stray in [&other_id[..], &other_name, &query.bytes, b"", b"garbage of some length that is no packet"]
    {
        assert!(query.read(stray).is_none(), "{stray:?}");
    }
    for len in 0..good.len() {
        assert!(!matches!(query.read(&good[..len]), Some(Ok(Answer::Records(_)))), "{len} bytes");
    }
}

#[test]
fn name_servers_stand_in_the_configuration() {
    let servers = servers_of("# comment\nsearch a b\nnameserver 10.0.0.1\nnameserver ::1\nnameserver x\n");
    assert_eq!(servers, ["10.0.0.1:53".parse().unwrap(), "[::1]:53".parse::<SocketAddr>().unwrap()]);
    assert_eq!(servers_of(""), ["127.0.0.1:53".parse().unwrap()]);
    assert_eq!(servers_of(&"nameserver 10.0.0.1\n".repeat(9)).len(), SERVERS_MAX);
}
