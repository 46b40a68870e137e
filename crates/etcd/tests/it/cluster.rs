//! Clusters of real processes: members that are killed, paused, cut off, removed and replaced.
//!
//! ```text
//!   clients ────────▶ member ──▶ front of another member ──▶ that member
//!   of the test       a process   a proxy: a rule for each     a process
//!                                 directed link
//! ```
//!
//! A test waits for conditions, for as long as [`PATIENCE`] allows. The short tests show one rule each. The
//! [`storm`] draws faults under load and checks everything that clients have seen. Its long form:
//! `CLUSTER_SECONDS=3600 cargo test --release -p etcd --test it cluster -- --nocapture --test-threads=1`.

mod bootstrap;
mod catching_up;
mod checks;
mod dialer;
mod faults;
mod followers;
mod full_disk;
mod history;
mod leadership;
mod lease_owner;
mod load;
mod member;
mod membership;
mod outage;
mod proxy;
mod requests;
mod session;
mod storm;
mod timeline;
mod watcher;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use proto::etcdserverpb::{
    MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse, MemberPromoteRequest,
    MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse, StatusRequest, StatusResponse,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::client::{Client, Failure};
use member::{Member, Origin};
use proxy::{Link, Network, Rule};

/// How long a condition may take before the test fails. Far more than any machine needs.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a member has to tell its state before it is asked again: it may be paused.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
/// Between two looks at a condition, so that looking leaves the processor to the members.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Members, the network between them, and their data.
struct Cluster {
    dir: TempDir,
    network: Network,
    /// By place. A member that was removed keeps its place.
    members: Vec<Member>,
    flags: Vec<&'static str>,
    /// Where clients are taken now.
    endpoints: watch::Sender<Vec<SocketAddr>>,
}

impl Cluster {
    /// Starts a new cluster of so many members and waits until each takes clients.
    async fn start(n_members: usize) -> Cluster {
        Cluster::start_with(n_members, &[]).await
    }

    /// The same with more flags for each member.
    async fn start_with(n_members: usize, flags: &[&'static str]) -> Cluster {
        let mut cluster = Cluster::prepare(n_members, flags).await;
        cluster.found();
        cluster
    }

    /// Members of a new cluster that have not been started.
    async fn prepare(n_members: usize, flags: &[&'static str]) -> Cluster {
        let mut cluster = Cluster {
            dir: tempfile::tempdir().unwrap(),
            network: Network::new(),
            members: Vec::new(),
            flags: flags.to_vec(),
            endpoints: watch::Sender::default(),
        };
        for _ in 0..n_members {
            cluster.make_member().await;
        }
        cluster
    }

    /// Starts the members for the first time, and waits until each takes clients.
    fn found(&mut self) {
        let places: Vec<_> = (0..self.members.len()).collect();
        let initial_cluster = self.initial_cluster(&places);
        for member in &mut self.members {
            member.spawn(&self.network, Origin::New, &initial_cluster);
        }
        places.into_iter().for_each(|place| self.wait_until_ready(place));
    }

    /// A member that is not part of the cluster yet; its place.
    async fn make_member(&mut self) -> usize {
        let place = self.members.len();
        let front = self.network.add_front().await;
        let data_dir = self.dir.path().join(format!("m{place}"));
        self.members.push(Member::new(place, front, data_dir, &self.flags));
        place
    }

    /// The value of `--initial-cluster` that names the members at these places.
    fn initial_cluster(&self, places: &[usize]) -> String {
        let entries = places.iter().map(|&place| {
            let Member { name, peer_url, .. } = &self.members[place];
            format!("{name}={peer_url}")
        });
        entries.collect::<Vec<_>>().join(",")
    }

    /// Waits until the member takes clients.
    fn wait_until_ready(&mut self, place: usize) {
        self.members[place].wait_until_ready();
        self.publish_endpoints();
    }

    /// Tells the clients of the test whom they can reach. A paused member is among them.
    fn publish_endpoints(&self) {
        let addresses = self.members.iter().filter_map(Member::address).collect();
        self.endpoints.send_replace(addresses);
    }

    /// Starts a member again on its data, and does not wait until it is ready.
    fn spawn_again(&mut self, place: usize) {
        let cluster = self.initial_cluster(&[place]);
        self.members[place].spawn(&self.network, Origin::Existing, &cluster);
    }

    /// Starts a member again on its data and waits until it takes clients.
    fn restart(&mut self, place: usize) {
        self.spawn_again(place);
        self.wait_until_ready(place);
    }

    fn kill(&mut self, place: usize) {
        self.members[place].kill();
        self.publish_endpoints();
    }

    /// Cuts a member off from all others.
    fn cut_off(&self, place: usize) {
        self.set_links(place, Rule::Cut, Rule::Cut);
    }

    /// Gives all links from a member one rule and all links to it another.
    fn set_links(&self, place: usize, from: Rule, to: Rule) {
        for other in (0..self.members.len()).filter(|&other| other != place) {
            self.network.set((place, other), from);
            self.network.set((other, place), to);
        }
    }

    /// A connection to the member, which must be ready.
    async fn client(&self, place: usize) -> Client {
        Client::connect(self.members[place].address().expect("it takes clients")).await
    }

    /// What the member says of itself; `None` if it does not answer in time.
    async fn status(&self, place: usize) -> Option<StatusResponse> {
        let address = self.members[place].address()?;
        let asked = async {
            let client = Client::connect_if_up(address).await?;
            client.call("/etcdserverpb.Maintenance/Status", &StatusRequest::default()).await
        };
        timeout(ANSWER_LIMIT, asked).await.ok()?.ok()
    }

    /// Waits until a majority of all members agrees who leads, and so does the leader itself; the place of the leader.
    async fn leader(&self) -> usize {
        self.leader_that(|_| true).await
    }

    /// Waits until a majority agrees on a leader other than `place`.
    async fn leader_other_than(&self, place: usize) -> usize {
        self.leader_that(|leader| leader != place).await
    }

    async fn leader_that(&self, is_wanted: impl Fn(usize) -> bool) -> usize {
        eventually("there is a leader", async || self.agreed_leader().await.filter(|&place| is_wanted(place)))
            .await
    }

    async fn agreed_leader(&self) -> Option<usize> {
        let mut states = Vec::new();
        let mut n_members = 0;
        for (place, member) in self.members.iter().enumerate() {
            n_members += usize::from(member.is_running());
            if !member.is_paused()
                && let Some(status) = self.status(place).await
            {
                states.push((place, status));
            }
        }
        let (leader, own) =
            states.iter().find(|(_, status)| status.leader == status.header.as_ref().unwrap().member_id)?;
        let agreeing = states
            .iter()
            .filter(|(_, status)| (status.leader, status.raft_term) == (own.leader, own.raft_term));
        (agreeing.count() > n_members / 2).then_some(*leader)
    }

    /// The members whose processes run.
    fn running(&self) -> Vec<usize> {
        (0..self.members.len()).filter(|&place| self.members[place].is_running()).collect()
    }

    /// Every directed link between two members.
    fn links(&self) -> impl Iterator<Item = Link> {
        let n_members = self.members.len();
        let links = (0..n_members).flat_map(move |from| (0..n_members).map(move |to| (from, to)));
        links.filter(|(from, to)| from != to)
    }

    /// A member other than the leader.
    async fn follower(&self) -> usize {
        let leader = self.leader().await;
        let is_follower = |place: &usize| *place != leader && self.members[*place].address().is_some();
        (0..self.members.len()).find(is_follower).expect("a cluster has several members")
    }

    /// Makes a new member known to the cluster and starts it; its place. Waits until it takes clients.
    async fn join(&mut self, is_learner: bool) -> usize {
        self.wait_for_version().await;
        let known = self.member_places().await;
        let place = self.make_member().await;
        let request = MemberAddRequest { peer_ur_ls: vec![self.members[place].peer_url.clone()], is_learner };
        let _: MemberAddResponse = self.administer("/etcdserverpb.Cluster/MemberAdd", &request).await;
        let initial_cluster = self.initial_cluster(&[&known[..], &[place]].concat());
        self.members[place].spawn(&self.network, Origin::Existing, &initial_cluster);
        self.wait_until_ready(place);
        place
    }

    /// Waits until the leader has decided of which version the cluster is. Nobody may join before.
    async fn wait_for_version(&self) {
        eventually("the cluster has a version", async || {
            let address = self.members[self.agreed_leader().await?].address()?;
            let page = timeout(ANSWER_LIMIT, page(address, "/version")).await.ok()?.ok()?;
            page.contains(r#""etcdcluster":"3."#).then_some(())
        })
        .await;
    }

    /// Waits until the learner has caught up and votes.
    async fn promote(&self, place: usize) {
        let request = MemberPromoteRequest { id: self.members[place].id() };
        let _: MemberPromoteResponse = self.administer("/etcdserverpb.Cluster/MemberPromote", &request).await;
    }

    /// Removes a member from the cluster's table. Its process is not touched.
    async fn remove(&self, place: usize) {
        let request = MemberRemoveRequest { id: self.members[place].id() };
        let _: MemberRemoveResponse = self.administer("/etcdserverpb.Cluster/MemberRemove", &request).await;
    }

    /// The members that the cluster's table has.
    async fn member_places(&self) -> Vec<usize> {
        let list: MemberListResponse = self
            .administer("/etcdserverpb.Cluster/MemberList", &MemberListRequest { linearizable: true })
            .await;
        let is_listed = |place: &usize| {
            list.members.iter().any(|member| member.peer_ur_ls == [self.members[*place].peer_url.clone()])
        };
        (0..self.members.len()).filter(is_listed).collect()
    }

    /// Asks the leader to do something until it does. Asked again, a change that was made already is refused as
    /// such; what an operator would see then counts as done.
    async fn administer<R>(&self, path: &str, request: &impl prost::Message) -> R
    where
        R: prost::Message + Default,
    {
        eventually(path, async || {
            let leader = self.agreed_leader().await?;
            let asked = async {
                let client = Client::connect_if_up(self.members[leader].address()?).await.ok()?;
                Some(client.call(path, request).await)
            };
            match timeout(ANSWER_LIMIT * 10, asked).await.ok()?? {
                Ok(answer) => Some(answer),
                Err(Failure::Refused(_, text)) if is_done_already(&text) => Some(R::default()),
                Err(_) => None,
            }
        })
        .await
    }
}

/// The answer of a member to a request for a page.
async fn page(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut connection = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Whether a change of members is refused because it was made before. A learner that is not in sync yet is refused
/// with a longer text.
fn is_done_already(text: &str) -> bool {
    matches!(
        text,
        "etcdserver: member not found"
            | "etcdserver: Peer URLs already exists"
            | "etcdserver: can only promote a learner member"
    )
}

/// Looks until there is what the test waits for.
async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            sleep(BETWEEN_LOOKS).await;
        }
    };
    timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("waited for {PATIENCE:?} in vain: {what}"))
}
