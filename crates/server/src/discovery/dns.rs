//! Asks name servers for SRV records.
//!
//! The system resolves host names, but has no portable call for other records. So the name servers of
//! `/etc/resolv.conf` are asked directly: by UDP, and by TCP if the answer is too long for that. Names are taken as they
//! are; the search list of the file does not count. An answer is foreign data: it must repeat number and question, and
//! no more than [`RECORDS_MAX`] records of it are read.

use std::cmp::Reverse;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};

use crate::config::go_text;

const CONFIGURATION: &str = "/etc/resolv.conf";
const DNS_PORT: u16 = 53;
/// How long a server may take, how often all are asked, and how many there may be: the defaults of resolvers.
const TIME_LIMIT: Duration = Duration::from_secs(5);
const ATTEMPTS: usize = 2;
const SERVERS_MAX: usize = 3;
/// Bytes of a datagram that are read. Servers send no more than 512 unless they are asked to.
const DATAGRAM_LEN_MAX: usize = 4096;
/// Datagrams that may come before the one that answers the question.
const STRAYS_MAX: usize = 16;
/// Records of an answer that are read.
const RECORDS_MAX: usize = 256;

/// Where a service is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SrvRecord {
    /// The name of the host, without a dot at its end.
    pub(super) target: String,
    pub(super) port: u16,
}

/// Something that knows SRV records.
pub(super) trait SrvLookup {
    /// The records of `name`, the preferred ones first; or why there are none, in Go's words.
    fn srv(&mut self, name: &str) -> Result<Vec<SrvRecord>, String>;
}

/// The name servers to ask, in this order.
#[derive(Debug)]
pub(super) struct Resolver {
    servers: Vec<SocketAddr>,
    time_limit: Duration,
}

impl Resolver {
    /// The servers that the system uses.
    pub(super) fn of_system() -> Resolver {
        let configuration = std::fs::read_to_string(CONFIGURATION).unwrap_or_default();
        Resolver { servers: servers_of(&configuration), time_limit: TIME_LIMIT }
    }

    fn ask(&self, server: SocketAddr, name: &str) -> Result<Vec<SrvRecord>, Failure> {
        let query = Query::new(name)?;
        match query.by_udp(server, self.time_limit)? {
            Answer::Records(records) => Ok(records),
            Answer::Truncated => match query.by_tcp(server, self.time_limit)? {
                Answer::Records(records) => Ok(records),
                Answer::Truncated => Err(Failure::Server),
            },
        }
    }
}

impl SrvLookup for Resolver {
    fn srv(&mut self, name: &str) -> Result<Vec<SrvRecord>, String> {
        let mut error = String::new();
        for server in self.servers.iter().cycle().take(ATTEMPTS * self.servers.len()) {
            match self.ask(*server, name) {
                Ok(records) => return Ok(records),
                Err(failure) => {
                    error = format!("lookup {name} on {server}: {failure}");
                    if matches!(failure, Failure::NoSuchHost) {
                        break;
                    }
                }
            }
        }
        Err(error)
    }
}

/// Why a server gave no records.
#[derive(Debug)]
enum Failure {
    /// It knows that there are none.
    NoSuchHost,
    /// It cannot tell, or its answer makes no sense.
    Server,
    Socket(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Socket(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NoSuchHost => f.write_str("no such host"),
            Failure::Server => f.write_str("server misbehaving"),
            Failure::Socket(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => f.write_str("i/o timeout"),
                _ => f.write_str(&go_text(error)),
            },
        }
    }
}

/// What a server answers.
#[derive(Debug, PartialEq)]
enum Answer {
    Records(Vec<SrvRecord>),
    /// The answer is too long for a datagram.
    Truncated,
}

/// A question for the SRV records of a name.
#[derive(Debug)]
struct Query {
    id: u16,
    name: String,
    bytes: Vec<u8>,
}

impl Query {
    fn new(name: &str) -> Result<Query, Failure> {
        // No other program can guess the number, so it cannot answer in place of the server.
        let id = RandomState::new().build_hasher().finish() as u16;
        let mut packet = Packet::new_query(id);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        let qname = Name::new(name).map_err(|_| Failure::NoSuchHost)?;
        packet.questions.push(Question::new(qname, QTYPE::TYPE(TYPE::SRV), QCLASS::CLASS(CLASS::IN), false));
        let bytes = packet.build_bytes_vec().map_err(|_| Failure::NoSuchHost)?;
        Ok(Query { id, name: name.to_owned(), bytes })
    }

    fn by_udp(&self, server: SocketAddr, time_limit: Duration) -> Result<Answer, Failure> {
        let any: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0))?;
        socket.set_read_timeout(Some(time_limit))?;
        // A connected socket takes nothing from anybody else.
        socket.connect(server)?;
        socket.send(&self.bytes)?;
        let mut datagram = [0; DATAGRAM_LEN_MAX];
        for _ in 0..STRAYS_MAX {
            let len = socket.recv(&mut datagram)?;
            if let Some(answer) = self.read(&datagram[..len]) {
                return answer;
            }
        }
        Err(Failure::Server)
    }

    /// The same by TCP, where two bytes before each message say how long it is.
    fn by_tcp(&self, server: SocketAddr, time_limit: Duration) -> Result<Answer, Failure> {
        let mut stream = TcpStream::connect_timeout(&server, time_limit)?;
        stream.set_read_timeout(Some(time_limit))?;
        stream.set_write_timeout(Some(time_limit))?;
        let len = u16::try_from(self.bytes.len()).map_err(|_| Failure::NoSuchHost)?;
        stream.write_all(&[&len.to_be_bytes()[..], &self.bytes].concat())?;
        let mut len = [0; 2];
        stream.read_exact(&mut len)?;
        let mut answer = vec![0; usize::from(u16::from_be_bytes(len))];
        stream.read_exact(&mut answer)?;
        self.read(&answer).unwrap_or(Err(Failure::Server))
    }

    /// Reads an answer; `None` if it answers something else.
    fn read(&self, bytes: &[u8]) -> Option<Result<Answer, Failure>> {
        let packet = Packet::parse(bytes).ok()?;
        let [question] = &packet.questions[..] else { return None };
        let is_ours = packet.id() == self.id
            && packet.has_flags(PacketFlag::RESPONSE)
            && question.qname.to_string().eq_ignore_ascii_case(&self.name);
        is_ours.then(|| answer_of(&packet))
    }
}

fn answer_of(packet: &Packet<'_>) -> Result<Answer, Failure> {
    match packet.rcode() {
        RCODE::NoError => {}
        RCODE::NameError => return Err(Failure::NoSuchHost),
        _ => return Err(Failure::Server),
    }
    if packet.has_flags(PacketFlag::TRUNCATION) {
        return Ok(Answer::Truncated);
    }
    let records = packet.answers.iter().filter_map(|record| match &record.rdata {
        RData::SRV(srv) if is_host_name(&srv.target.to_string()) => Some(srv),
        _ => None,
    });
    let mut records: Vec<_> = records.take(RECORDS_MAX).collect();
    // The order of servers is random. One that does not change gives the members the same names each time.
    records.sort_by_key(|srv| (srv.priority, Reverse(srv.weight), srv.target.to_string(), srv.port));
    let records = records.iter().map(|srv| SrvRecord { target: srv.target.to_string(), port: srv.port });
    let records: Vec<SrvRecord> = records.collect();
    if records.is_empty() { Err(Failure::NoSuchHost) } else { Ok(Answer::Records(records)) }
}

/// Whether a name can stand in a URL. DNS allows any bytes.
fn is_host_name(name: &str) -> bool {
    let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    !name.is_empty() && name.bytes().all(is_usual)
}

/// The name servers that the configuration of a resolver names; one on this host if it names none.
fn servers_of(configuration: &str) -> Vec<SocketAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        let address = words.next().filter(|word| *word == "nameserver").and_then(|_| words.next())?;
        address.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, DNS_PORT))
    };
    let mut servers: Vec<SocketAddr> = configuration.lines().filter_map(server).take(SERVERS_MAX).collect();
    if servers.is_empty() {
        servers.push((Ipv4Addr::LOCALHOST, DNS_PORT).into());
    }
    servers
}

#[cfg(test)]
mod tests;
