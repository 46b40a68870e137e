//! What goes wrong with members and the network, and how it is mended.
//!
//! A fault that leaves a majority lasts until enough writes were acknowledged meanwhile: the others must go on. One
//! that leaves none lasts for a while.

use std::time::Duration;

use fastrand::Rng;
use proto::etcdserverpb::{MoveLeaderRequest, MoveLeaderResponse};
use tokio::time::timeout;

use super::load::Books;
use super::proxy::Rule;
use super::{ANSWER_LIMIT, Cluster};

/// Writes that are acknowledged while something is broken, and for how long nobody waits for them if there may be no
/// majority.
const WRITES: u64 = 40;
const A_WHILE: Duration = Duration::from_secs(3);
/// How many times all connections break, one after the other.
const FLAPS: u64 = 4;
/// The longest delay of a link.
const DELAY_MS_MAX: u64 = 80;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The process of the leader is killed.
    KilledLeader,
    /// The process of another member is killed.
    KilledFollower,
    /// All processes are killed at once.
    KilledAll,
    /// The leader stands still for a while, and does not know.
    PausedLeader,
    PausedFollower,
    /// No message passes to or from the leader.
    CutOffLeader,
    CutOffFollower,
    /// What the leader sends is lost. It goes on to hear the others.
    MuteLeader,
    /// What others send to the leader is lost. They go on to hear it.
    DeafLeader,
    /// One link of two directions loses everything.
    OneWayLink,
    /// No two members reach each other.
    CutAll,
    /// Each link has a delay of its own.
    Delays,
    /// All connections break, again and again.
    Flapping,
    /// The leader is asked to stop.
    StoppedLeader,
    /// Leadership is moved.
    MovedLeader,
    /// A member is removed with its data, and a new one takes its place.
    Replaced,
}

impl Fault {
    pub(super) const ALL: [Fault; 16] = [
        Fault::KilledLeader,
        Fault::KilledFollower,
        Fault::KilledAll,
        Fault::PausedLeader,
        Fault::PausedFollower,
        Fault::CutOffLeader,
        Fault::CutOffFollower,
        Fault::MuteLeader,
        Fault::DeafLeader,
        Fault::OneWayLink,
        Fault::CutAll,
        Fault::Delays,
        Fault::Flapping,
        Fault::StoppedLeader,
        Fault::MovedLeader,
        Fault::Replaced,
    ];

    /// Breaks something, lets clients meet it, and mends it.
    pub(super) async fn strike(self, cluster: &mut Cluster, books: &Books, random: &mut Rng) {
        match self {
            Fault::KilledLeader | Fault::KilledFollower | Fault::KilledAll | Fault::StoppedLeader => {
                self.end_processes(cluster, books, random).await;
            }
            Fault::PausedLeader | Fault::PausedFollower => {
                let place = self.victim(cluster, random).await;
                cluster.members[place].pause();
                books.wait_for_acknowledged(WRITES).await;
                cluster.members[place].resume();
            }
            Fault::MovedLeader => move_leader(cluster, random).await,
            Fault::Replaced => replace(cluster, random).await,
            _ => {
                self.break_network(cluster, books, random).await;
                cluster.network.heal();
            }
        }
        books.wait_for_acknowledged(WRITES).await;
    }

    /// The member that the fault meets.
    async fn victim(self, cluster: &Cluster, random: &mut Rng) -> usize {
        let leader = cluster.leader().await;
        let meets_leader = matches!(
            self,
            Fault::KilledLeader
                | Fault::StoppedLeader
                | Fault::PausedLeader
                | Fault::CutOffLeader
                | Fault::MuteLeader
                | Fault::DeafLeader
        );
        if meets_leader { leader } else { follower(cluster, leader, random) }
    }

    async fn end_processes(self, cluster: &mut Cluster, books: &Books, random: &mut Rng) {
        let victims = match self {
            Fault::KilledAll => cluster.running(),
            _ => vec![self.victim(cluster, random).await],
        };
        for &place in &victims {
            if self == Fault::StoppedLeader {
                cluster.members[place].terminate();
                cluster.members[place].wait_for_end();
            }
            cluster.kill(place);
        }
        if self != Fault::KilledAll {
            books.wait_for_acknowledged(WRITES).await;
        }
        victims.iter().for_each(|&place| cluster.spawn_again(place));
        victims.iter().for_each(|&place| cluster.wait_until_ready(place));
    }

    async fn break_network(self, cluster: &Cluster, books: &Books, random: &mut Rng) {
        let victim = self.victim(cluster, random).await;
        let network = &cluster.network;
        match self {
            Fault::MuteLeader => cluster.set_links(victim, Rule::Silent, Rule::Open),
            Fault::DeafLeader => cluster.set_links(victim, Rule::Open, Rule::Silent),
            Fault::OneWayLink => network.set((cluster.leader().await, victim), Rule::Silent),
            Fault::CutAll => {
                cluster.links().for_each(|link| network.set(link, Rule::Cut));
                return books.wait_a_while(WRITES, A_WHILE).await;
            }
            Fault::Delays => cluster.links().for_each(|link| {
                let delay = Duration::from_millis(random.u64(..=DELAY_MS_MAX));
                network.set(link, Rule::Delayed(delay));
            }),
            Fault::Flapping => {
                for _ in 0..FLAPS {
                    cluster.links().for_each(|link| network.break_connections(link));
                    books.wait_for_acknowledged(WRITES / FLAPS).await;
                }
            }
            _ => cluster.cut_off(victim),
        }
        books.wait_for_acknowledged(WRITES).await;
    }
}

/// A running member other than the leader.
fn follower(cluster: &Cluster, leader: usize, random: &mut Rng) -> usize {
    let others = cluster.running().into_iter().filter(|place| *place != leader);
    random.choice(others.collect::<Vec<_>>()).expect("there are others")
}

/// Asks once: what comes of it is up to the members.
async fn move_leader(cluster: &Cluster, random: &mut Rng) {
    let leader = cluster.leader().await;
    let target_id = cluster.members[follower(cluster, leader, random)].id();
    let client = cluster.client(leader).await;
    let request = MoveLeaderRequest { target_id };
    let _ = timeout(ANSWER_LIMIT, async {
        client.call::<MoveLeaderResponse>("/etcdserverpb.Maintenance/MoveLeader", &request).await
    })
    .await;
}

/// Brings in a new member as a learner, lets it vote, and removes an old one with its data.
async fn replace(cluster: &mut Cluster, random: &mut Rng) {
    let new = cluster.join(true).await;
    cluster.promote(new).await;
    let leader = cluster.leader().await;
    let old = match random.bool() {
        true => leader,
        false => follower(cluster, leader, random),
    };
    // A majority of four is three: with one killed before it is removed, all others are needed.
    cluster.remove(old).await;
    cluster.kill(old);
    std::fs::remove_dir_all(&cluster.members[old].data_dir).unwrap();
}
