//! The members that one side of a comparison runs: one alone, or several that form a cluster, on free loopback
//! ports.

use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use proto::etcdserverpb::{StatusRequest, StatusResponse};

use crate::client::Connection;
use crate::error::Error;
use crate::server::{self, Place, Server};
use crate::settings::Role;

/// The method that tells what a member is, and whom it takes for the leader.
const STATUS: &str = "/etcdserverpb.Maintenance/Status";
/// How long a leader is looked for.
const LEADER_MAX: Duration = Duration::from_secs(60);
/// How long one member may take to tell its status.
const STATUS_MAX: Duration = Duration::from_secs(1);
/// How often members are started at other ports because one of theirs was taken before they listened.
const STARTS_MAX: usize = 5;
/// Time between two looks for a leader.
const POLL: Duration = Duration::from_millis(10);

/// Running members.
pub(crate) struct Cluster {
    members: Vec<Server>,
}

/// Who leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leadership {
    /// The place of the leader among the members.
    pub(crate) leader: usize,
    /// Its term.
    pub(crate) term: u64,
}

impl Cluster {
    /// Starts `command` as each of `count` members, as [`Server::launch`] says, and waits until all of them answer
    /// a linearizable read.
    pub(crate) async fn start(
        command: &[String],
        parent: &Path,
        cores: &[usize],
        count: usize,
    ) -> Result<Self, Error> {
        if count > 1 && !server::takes_cluster(command) {
            let text =
                "the command has placeholders, but not {cluster}: its members would not find each other";
            return Err(Error::Usage(text.to_owned()));
        }
        let mut starts = 1;
        loop {
            match Self::start_once(command, parent, cores, count).await {
                Err(Error::Server { detail, .. }) if is_port_taken(&detail) && starts < STARTS_MAX => {
                    starts += 1;
                }
                result => return result,
            }
        }
    }

    /// Like [`Cluster::start`]. Fails if another process takes one of the ports before a member listens there.
    async fn start_once(
        command: &[String],
        parent: &Path,
        cores: &[usize],
        count: usize,
    ) -> Result<Self, Error> {
        let places = places(count)?;
        let launch = |place| Server::launch(command, place, &places, parent, cores);
        let mut members = places.iter().map(launch).collect::<Result<Vec<_>, _>>()?;
        for member in &mut members {
            member.wait_until_ready().await?;
        }
        Ok(Self { members })
    }

    /// The first member; the only one, where an experiment is about one server.
    pub(crate) fn first(&mut self) -> &mut Server {
        self.member(0)
    }

    /// The member at `place`.
    pub(crate) fn member(&mut self, place: usize) -> &mut Server {
        &mut self.members[place]
    }

    /// The process ids of all members.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.members.iter().map(Server::pid).collect()
    }

    /// Where clients of a member with this role connect, as `host:port`.
    pub(crate) fn endpoint(&self, role: Role, leadership: Leadership) -> &str {
        let place = match role {
            Role::Leader => leadership.leader,
            Role::Follower => (leadership.leader + 1) % self.members.len(),
        };
        self.members[place].endpoint()
    }

    /// Where clients of all members but the one at `place` connect, as `host:port`.
    pub(crate) fn endpoints_without(&self, place: usize) -> Vec<String> {
        let others = self.members.iter().enumerate().filter(|(idx, _)| *idx != place);
        others.map(|(_, member)| member.endpoint().to_owned()).collect()
    }

    /// Waits until a member says that it leads.
    pub(crate) async fn leadership(&self) -> Result<Leadership, Error> {
        let deadline = Instant::now() + LEADER_MAX;
        loop {
            if let Some(leadership) = self.claimed().await {
                return Ok(leadership);
            }
            if Instant::now() > deadline {
                return Err(Error::Answer(format!("no member leads after {LEADER_MAX:?}")));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The member with the highest term of those that say they lead.
    async fn claimed(&self) -> Option<Leadership> {
        let mut found: Option<Leadership> = None;
        for (leader, member) in self.members.iter().enumerate() {
            let Ok(status) = status(member.endpoint()).await else { continue };
            let own_id = status.header.map_or(0, |header| header.member_id);
            let leads = status.leader != 0 && status.leader == own_id;
            if leads && found.is_none_or(|found| found.term < status.raft_term) {
                found = Some(Leadership { leader, term: status.raft_term });
            }
        }
        found
    }
}

/// What the member at `endpoint` says of itself.
async fn status(endpoint: &str) -> Result<StatusResponse, Error> {
    let asked = async { status_over(&Connection::open(endpoint).await?).await };
    let in_time = tokio::time::timeout(STATUS_MAX, asked).await;
    in_time.unwrap_or_else(|_| Err(Error::Answer("none came".to_owned())))
}

/// What the member at the other end of `connection` says of itself.
pub(crate) async fn status_over(connection: &Connection) -> Result<StatusResponse, Error> {
    connection.call(STATUS, StatusRequest::default()).await
}

/// Whether a server ended because a port was taken, by what it printed: the text of ours and of etcd.
fn is_port_taken(detail: &str) -> bool {
    detail.contains("bind: address already in use")
}

/// Names, and loopback addresses that nothing listens on. All are held together first, so that they differ.
fn places(count: usize) -> Result<Vec<Place>, Error> {
    let hold = || {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        Ok((listener.local_addr()?.to_string(), listener))
    };
    let no_port = |cause: io::Error| Error::System { what: "cannot find a free port", cause };
    let held = (0..2 * count).map(|_| hold()).collect::<io::Result<Vec<_>>>().map_err(no_port)?;
    let place = |(idx, pair): (usize, &[(String, TcpListener)])| Place {
        name: format!("bench-{}", idx + 1),
        client: pair[0].0.clone(),
        peer: pair[1].0.clone(),
    };
    Ok(held.chunks_exact(2).enumerate().map(place).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_member_has_a_name_and_addresses_of_its_own() {
        let places = places(3).unwrap();
        let names: Vec<_> = places.iter().map(|place| place.name.as_str()).collect();
        assert_eq!(names, ["bench-1", "bench-2", "bench-3"]);
        let addresses: BTreeSet<_> = places.iter().flat_map(|place| [&place.client, &place.peer]).collect();
        assert_eq!(addresses.len(), 6);
    }

    #[tokio::test]
    async fn members_that_would_not_find_each_other_are_not_started() {
        let command = ["sh", "-c", "exit # {data}"].map(str::to_owned);
        let result = Cluster::start(&command, &std::env::temp_dir(), &[], 3).await;
        assert!(matches!(result, Err(Error::Usage(text)) if text.contains("{cluster}")));
    }

    #[tokio::test]
    async fn members_whose_ports_are_taken_are_started_at_others() {
        let dir = tempfile::tempdir().unwrap();
        let starts = dir.path().join("starts");
        let script =
            format!("echo {{client}} >>{}; echo bind: address already in use; exit 1", starts.display());
        let command = ["sh", "-c", &script].map(str::to_owned);
        let result = Cluster::start(&command, dir.path(), &[], 1).await;
        assert!(matches!(result, Err(Error::Server { .. })));
        assert_eq!(std::fs::read_to_string(starts).unwrap().lines().count(), STARTS_MAX);
    }

    #[test]
    fn the_path_is_a_method_of_the_service() {
        assert!(proto::etcdserverpb::MAINTENANCE.methods.iter().any(|method| method.path == STATUS));
    }
}
