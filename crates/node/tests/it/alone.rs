//! A member that leaves its cluster behind and goes on alone.

use disk::SimDisk;
use node::{Config, Fatal, Forced, Input};
use store::MemberChange;

use crate::cluster::Cluster;
use crate::member::{Member, put, revision};

/// Starts the member `id` of three with what is on its disk, as the only one.
fn force(disk: &SimDisk, id: u64) -> Result<Member, Fatal> {
    disk.crash();
    let later = Config { first_request_id: id << 48 | 1 << 40, ..Cluster::config(3, id) };
    Member::start(disk, Config { force_new_cluster: true, ..later })
}

/// Three members with one key, which all of them have applied and know to be committed.
fn with_a_key() -> (Cluster, u64) {
    let (mut cluster, leader) = Cluster::lead(3);
    let waiter = cluster.member(leader).propose(put("k", "v"));
    cluster.settle();
    assert_eq!(revision(cluster.member(leader).answer(waiter)), Some(2));
    // The commit index goes to the disk with the next tick, and is durable with the next entry.
    cluster.tick();
    cluster.member(leader).propose(put("k", "w"));
    cluster.settle();
    cluster.tick();
    (cluster, leader)
}

#[test]
fn one_of_three_goes_on_alone_with_what_was_committed() {
    let (cluster, leader) = with_a_key();
    let disk = &cluster.disks[(leader % 3) as usize];
    let own = leader % 3 + 1;
    let mut member = force(disk, own).unwrap();
    let forced = member.forced.unwrap();
    assert_eq!(
        (forced.committed - forced.committed_before, forced.dropped),
        (2, 1),
        "two others, the last put"
    );
    member.settle().unwrap();
    let published = member.node.published();
    assert_eq!((published.leader(), published.reads_at_once()), (own, true), "it waits for nobody");
    assert_eq!(published.control().members().map(|member| member.id).collect::<Vec<_>>(), [own]);
    assert!((1..=3).filter(|id| *id != own).all(|id| published.control().is_removed(id)));
    assert_eq!((member.keys(), member.node.view().revision()), (1, 2));
    let waiter = member.propose(put("k", "x"));
    member.settle().unwrap();
    assert_eq!(revision(member.answer(waiter)), Some(3));

    // The flag may be left out now, and does no harm if it is not.
    drop(member);
    for force_new_cluster in [false, true] {
        disk.crash();
        let config =
            Config { force_new_cluster, first_request_id: own << 48 | 1 << 41, ..Cluster::config(3, own) };
        let mut member = Member::start(disk, config).unwrap();
        member.settle().unwrap();
        assert_eq!(member.forced, None, "there is nobody to leave, and nothing is dropped");
        assert_eq!((member.node.published().leader(), member.node.view().revision()), (own, 3));
    }
}

#[test]
fn what_was_never_committed_is_dropped() {
    let (mut cluster, leader) = with_a_key();
    cluster.isolated.insert(leader);
    for i in 0..3 {
        cluster.member(leader).propose(put("lost", format!("{i}")));
        cluster.settle();
    }
    let mut member = force(&cluster.disks[leader as usize - 1], leader).unwrap();
    let Forced { dropped, .. } = member.forced.unwrap();
    assert!((1..=3).contains(&dropped), "{dropped}");
    member.settle().unwrap();
    assert_eq!((member.keys(), member.node.view().revision()), (1, 3));
}

#[test]
fn a_kill_at_any_moment_of_it_leaves_a_member_that_can_do_it_again() {
    let (cluster, leader) = with_a_key();
    let own = leader % 3 + 1;
    let disk = &cluster.disks[(leader % 3) as usize];
    drop(force(disk, own).unwrap());
    // It was killed before anything was applied: the next start applies what is in the log.
    disk.crash();
    let mut member = Member::start(disk, Cluster::config(3, own)).unwrap();
    assert_eq!(member.forced, None);
    member.settle().unwrap();
    assert_eq!(member.node.published().control().members().count(), 1);
    assert_eq!(member.node.published().leader(), own);
}

#[test]
fn a_member_that_was_removed_cannot_be_the_one_that_is_left() {
    let (mut cluster, leader) = with_a_key();
    let other = leader % 3 + 1;
    let change = MemberChange::Remove(other);
    cluster.member(leader).handle(vec![Input::ChangeMembers { id: 77, change, waiter: 1 }]).unwrap();
    cluster.settle();
    cluster.tick();
    cluster.tick();
    assert!(cluster.member(other).node.published().control().is_removed(other));
    // Stopped and not killed: that its removal is committed was written, and was not synced.
    let disk = &cluster.disks[other as usize - 1];
    let forced = Config { force_new_cluster: true, ..Cluster::config(3, other) };
    let error = Member::start(disk, forced).map(drop).unwrap_err();
    assert!(matches!(error, Fatal::NotAlone(_)), "{error}");
}

#[test]
fn a_member_without_data_cannot_be_the_one_that_is_left() {
    let disk = SimDisk::new(1);
    let joining = || Config { initial_members: Vec::new(), ..Cluster::config(3, 1) };
    drop(Member::start(&disk, joining()).unwrap());
    let forced = Config { force_new_cluster: true, ..joining() };
    assert!(matches!(Member::start(&disk, forced).map(drop), Err(Fatal::NotAlone(_))));
}
