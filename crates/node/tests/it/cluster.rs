//! Members that exchange messages: elections, reads by a quorum, and what becomes of requests when a leader is lost.

use std::collections::BTreeSet;

use disk::{Disk, SimDisk};
use node::{Answer, Config, Input, LeaseAnswer, LeaseQuery, Unserved};
use proto::etcdserverpb::{DeleteRangeRequest, LeaseGrantRequest, Member as MemberInfo};
use proto::raftpb::{Message, MessageType, Snapshot, SnapshotMetadata};
use store::{MemberChange, Request};

use crate::member::{Member, TICK, config, info, put, revision};

/// Ticks within which a leader is elected: two randomised election timeouts.
const ELECTION_TICKS_MAX: u32 = 40;
const WHO: u32 = u32::MAX;

/// Members 1 to n, and the links between them.
pub(crate) struct Cluster {
    pub(crate) members: Vec<Member>,
    pub(crate) disks: Vec<SimDisk>,
    /// Members whose messages are lost, and who get none.
    pub(crate) isolated: BTreeSet<u64>,
}

impl Cluster {
    fn new(n: u64) -> Cluster {
        let disks: Vec<SimDisk> = (1..=n).map(SimDisk::new).collect();
        let start = |(id, disk)| Member::start(disk, Cluster::config(n, id)).unwrap();
        Cluster { members: (1..).zip(&disks).map(start).collect(), disks, isolated: BTreeSet::new() }
    }

    pub(crate) fn config(n: u64, id: u64) -> Config {
        Config {
            member: info(id),
            initial_members: (1..=n).map(info).collect(),
            first_request_id: id << 48,
            seed: id,
            ..config()
        }
    }

    /// Kills a member, and starts it again with what is on its disk.
    fn restart(&mut self, id: u64) {
        let at = id as usize - 1;
        let now = self.members[at].now;
        self.disks[at].crash();
        let config =
            Config { first_request_id: id << 48 | 1 << 40, ..Cluster::config(self.disks.len() as u64, id) };
        self.members[at] = Member::start(&self.disks[at], config).unwrap();
        self.members[at].now = now;
    }

    /// Sends the state that `message` announces, and then the message.
    fn send_snapshot(&mut self, message: Message) {
        let mut export = self.member(message.from).node.export().unwrap();
        while export.measure_step().is_none() {}
        let mut state = Vec::new();
        while !export.write_step().unwrap() {
            state.append(export.output());
        }
        state.append(export.output());
        let metadata = SnapshotMetadata {
            conf_state: Some(export.conf_state().clone()),
            index: export.applied_index(),
            term: export.applied_term(),
        };
        let snapshot = Some(Snapshot { metadata: Some(metadata), ..Snapshot::default() });
        let (from, to) = (message.from, message.to);
        let file = std::path::PathBuf::from("/received.snap.db");
        self.disks[to as usize - 1].create(&file).unwrap().write_at(0, &state).unwrap();
        let message = Box::new(Message { snapshot, ..message });
        self.member(to).handle(vec![Input::Snapshot { message, file }]).unwrap();
        self.member(to).settle().unwrap();
        self.member(from).handle(vec![Input::SnapshotReported { id: to, is_ok: true }]).unwrap();
    }

    /// With a leader that can serve reads; returns its id.
    pub(crate) fn lead(n: u64) -> (Cluster, u64) {
        let mut cluster = Cluster::new(n);
        let leader = cluster.elect();
        (cluster, leader)
    }

    pub(crate) fn member(&mut self, id: u64) -> &mut Member {
        &mut self.members[id as usize - 1]
    }

    /// Lets time pass until those who are not isolated have a leader among them.
    pub(crate) fn elect(&mut self) -> u64 {
        for _ in 0..ELECTION_TICKS_MAX {
            self.tick();
            let ids = (1..=self.members.len() as u64).filter(|id| !self.isolated.contains(id));
            let leaders: BTreeSet<u64> =
                ids.map(|id| self.members[id as usize - 1].node.published().leader()).collect();
            if let [leader] = *leaders.iter().copied().collect::<Vec<_>>()
                && leader != 0
                && !self.isolated.contains(&leader)
            {
                return leader;
            }
        }
        panic!("no leader after {ELECTION_TICKS_MAX} ticks");
    }

    pub(crate) fn tick(&mut self) {
        for member in &mut self.members {
            member.now += TICK;
            member.handle(vec![Input::Tick]).unwrap();
        }
        self.settle();
    }

    /// Writes, runs and delivers until nothing is left to do.
    pub(crate) fn settle(&mut self) {
        for _ in 0..1000 {
            for member in &mut self.members {
                member.settle().unwrap();
            }
            if !self.deliver() && self.members.iter().all(|member| !member.has_work()) {
                return;
            }
        }
        panic!("the members do not come to rest");
    }

    /// Delivers the messages that were sent; true if there were any.
    fn deliver(&mut self) -> bool {
        let sent: Vec<_> = self.members.iter_mut().flat_map(|member| member.messages.drain(..)).collect();
        let has_sent = !sent.is_empty();
        for message in sent {
            if !self.isolated.contains(&message.from) && !self.isolated.contains(&message.to) {
                if message.r#type() == MessageType::MsgSnap {
                    self.send_snapshot(message);
                    continue;
                }
                let to = message.to;
                self.member(to).handle(vec![Input::Message(Box::new(message))]).unwrap();
            }
        }
        has_sent
    }
}

#[test]
fn a_put_at_any_member_is_applied_by_all() {
    for n in [2, 3] {
        let (mut cluster, _) = Cluster::lead(n);
        for id in 1..=n {
            let waiter = cluster.member(id).propose(put("k", "v"));
            cluster.settle();
            assert!(revision(cluster.member(id).answer(waiter)).is_some(), "member {id} of {n}");
        }
        // A commit index that nothing follows goes out with a heartbeat.
        cluster.tick();
        let revisions: BTreeSet<i64> = cluster.members.iter().map(|m| m.node.view().revision()).collect();
        assert_eq!(revisions.len(), 1);
        assert_eq!(revisions.first(), Some(&(n as i64 + 1)));
    }
}

#[test]
fn messages_and_wal_tasks_leave_before_anything_is_applied() {
    let (mut cluster, leader) = Cluster::lead(3);
    let member = cluster.member(leader);
    let (_, first) = member.proposal(put("k", "v"));
    member.handle(vec![first]).unwrap();
    member.write_log().unwrap();
    let follower = leader % 3 + 1;
    let acknowledgement = {
        let append = cluster.member(leader).messages.drain(..).find(|m| m.to == follower).unwrap();
        let member = cluster.member(follower);
        member.handle(vec![Input::Message(Box::new(append))]).unwrap();
        member.write_log().unwrap();
        member.messages.drain(..).next().unwrap()
    };
    let member = cluster.member(leader);
    let before = member.node.view().revision();
    let (_, second) = member.proposal(put("k", "w"));
    let mut output = node::Output::default();
    let inputs = vec![Input::Message(Box::new(acknowledgement)), second];
    member.node.decide(member.now, inputs, &mut output).unwrap();
    assert!(!output.wal.is_empty() && !output.messages.is_empty(), "the second is written and sent");
    assert_eq!(member.node.view().revision(), before, "the first is committed and not applied");
    member.node.apply(&mut output, &mut |_| {}).unwrap();
    assert_eq!(member.node.view().revision(), before + 1);
}

#[test]
fn consensus_goes_on_while_a_long_command_is_applied() {
    let (mut cluster, leader) = Cluster::lead(3);
    for n in 0..1000 {
        cluster.member(leader).propose(put(&format!("k{n}"), "v"));
    }
    cluster.settle();
    let delete = DeleteRangeRequest { key: "k".into(), range_end: "l".into(), prev_kv: false };
    let waiter = cluster.member(leader).propose(Request::DeleteRange(delete));
    cluster.member(leader).write_log().unwrap();
    let follower = leader % 3 + 1;
    let appends: Vec<_> = cluster.member(leader).messages.drain(..).filter(|m| m.to == follower).collect();
    let member = cluster.member(follower);
    member.handle(appends.into_iter().map(|m| Input::Message(Box::new(m))).collect()).unwrap();
    member.write_log().unwrap();
    let acknowledgements: Vec<_> = member.messages.drain(..).collect();

    let member = cluster.member(leader);
    let mut output = node::Output::default();
    let inputs = acknowledgements.into_iter().map(|m| Input::Message(Box::new(m)));
    member.node.decide(member.now, inputs, &mut output).unwrap();
    let revision = member.node.view().revision();
    let view = member.node.view();
    let (mut pauses, mut sent, mut put_back) = (0, Vec::new(), 0);
    let mut pause = |meanwhile: &mut node::Meanwhile<'_, u32>| {
        let mut output = node::Output::default();
        assert_eq!(view.revision(), revision, "nobody sees half of it");
        assert!(meanwhile.take(Input::Tick, &mut output).is_none());
        put_back += usize::from(meanwhile.take(Input::ReadIndex(WHO), &mut output).is_some());
        meanwhile.decide(&mut output);
        sent.extend(output.messages);
        pauses += 1;
    };
    member.node.apply(&mut output, &mut pause).unwrap();
    // 1,000 keys are counted, found and deleted, 500 steps at a time.
    assert!((5..20).contains(&pauses), "{pauses} pauses");
    assert_eq!(put_back, pauses, "a new read waits for its turn");
    let heartbeats = sent.iter().filter(|m| m.r#type() == MessageType::MsgHeartbeat).count();
    assert_eq!(heartbeats, 2 * pauses, "one to each follower with each tick");
    member.collect(output);
    assert_eq!(member.answer(waiter).and_then(|answer| self::revision(Some(answer))), Some(revision + 1));
}

#[test]
fn a_read_at_any_member_is_answered_by_a_quorum() {
    let (mut cluster, leader) = Cluster::lead(3);
    for id in 1..=3 {
        assert!(!cluster.member(id).node.published().reads_at_once(), "others can vote");
        cluster.member(id).handle(vec![Input::ReadIndex(WHO)]).unwrap();
        assert!(cluster.member(id).answer(WHO).is_none());
        cluster.settle();
        assert!(matches!(cluster.member(id).answer(WHO), Some(Answer::Readable)), "at member {id}");
    }
    // One other is enough; none is not.
    cluster.isolated.insert(leader % 3 + 1);
    cluster.member(leader).handle(vec![Input::ReadIndex(WHO)]).unwrap();
    cluster.settle();
    assert!(matches!(cluster.member(leader).answer(WHO), Some(Answer::Readable)));
    cluster.isolated.insert(leader);
    cluster.member(leader).handle(vec![Input::ReadIndex(WHO)]).unwrap();
    cluster.settle();
    assert!(cluster.member(leader).answer(WHO).is_none());
}

#[test]
fn a_lone_voter_with_a_learner_does_not_answer_reads_from_what_it_has_applied() {
    let disk = SimDisk::new(1);
    let mut member = Member::lead(&disk, Cluster::config(1, 1));
    assert!(member.node.published().reads_at_once());
    let learner = MemberInfo { is_learner: true, ..info(2) };
    for (id, change, is_alone) in
        [(71, MemberChange::Add(learner), false), (72, MemberChange::Remove(2), true)]
    {
        member.handle(vec![Input::ChangeMembers { id, change, waiter: WHO }]).unwrap();
        member.settle().unwrap();
        assert!(matches!(member.answer(WHO), Some(Answer::Applied(Ok(_)))));
        // The learner could have applied, and answered for, what this member knows to be committed.
        assert_eq!(member.node.published().reads_at_once(), is_alone);
        member.handle(vec![Input::ReadIndex(WHO)]).unwrap();
        member.settle().unwrap();
        assert!(matches!(member.answer(WHO), Some(Answer::Readable)), "it needs nobody to confirm it");
    }
}

#[test]
fn a_read_whose_answer_was_lost_is_asked_again() {
    let (mut cluster, leader) = Cluster::lead(3);
    let follower = leader % 3 + 1;
    cluster.member(follower).handle(vec![Input::ReadIndex(WHO)]).unwrap();
    cluster.member(follower).messages.clear();
    (0..4).for_each(|_| cluster.tick());
    assert!(cluster.member(follower).answer(WHO).is_none());
    (0..2).for_each(|_| cluster.tick());
    assert!(matches!(cluster.member(follower).answer(WHO), Some(Answer::Readable)));
}

#[test]
fn a_leader_renews_only_while_a_majority_has_lately_confirmed_it() {
    let (mut cluster, leader) = Cluster::lead(3);
    let granted = cluster.member(leader).propose(Request::LeaseGrant(LeaseGrantRequest { id: 5, ttl: 60 }));
    cluster.settle();
    assert!(cluster.member(leader).answer(granted).is_some());
    cluster.tick();
    let member = cluster.member(leader);
    let renewer = member.node.lease_renewer();
    assert_eq!(renewer.renew(5, member.now), Some(60), "each tick brings a proof");
    // The thread of the node stands still for longer than an election timeout.
    member.now += 11 * TICK;
    assert_eq!(renewer.renew(5, member.now), None);
    member.handle(vec![Input::Lease(LeaseQuery::Renew { id: 5 }, WHO)]).unwrap();
    assert!(cluster.member(leader).answer(WHO).is_none(), "it waits for the others to confirm");
    cluster.settle();
    let answer = cluster.member(leader).answer(WHO);
    assert!(matches!(answer, Some(Answer::Lease(LeaseAnswer::Renewed(60)))), "{answer:?}");
}

#[test]
fn leadership_is_handed_over_and_proposals_meanwhile_are_not_lost() {
    let (mut cluster, leader) = Cluster::lead(3);
    let to = leader % 3 + 1;
    for (wrong, why) in [(9, Unserved::BadTransferee), (0, Unserved::BadTransferee)] {
        let input = Input::TransferLeader { to: wrong, waiter: WHO };
        cluster.member(leader).handle(vec![input]).unwrap();
        assert!(matches!(cluster.member(leader).answer(WHO), Some(Answer::Unserved(w)) if w == why));
    }
    cluster.member(to).handle(vec![Input::TransferLeader { to, waiter: WHO }]).unwrap();
    assert!(matches!(cluster.member(to).answer(WHO), Some(Answer::Unserved(Unserved::NotLeader))));

    let member = cluster.member(leader);
    member.handle(vec![Input::TransferLeader { to, waiter: WHO }]).unwrap();
    let proposal = member.propose(put("k", "v"));
    assert!(member.answers.is_empty());
    cluster.settle();
    assert!(matches!(cluster.member(leader).answer(WHO), Some(Answer::Transferred)));
    assert_eq!(cluster.member(to).node.published().leader(), to);
    cluster.tick();
    assert!(revision(cluster.member(leader).answer(proposal)).is_some(), "the new leader was told");
}

#[test]
fn a_member_that_has_fallen_far_behind_takes_over_the_state_of_the_leader() {
    let (mut cluster, leader) = Cluster::lead(3);
    let behind = leader % 3 + 1;
    cluster.isolated.insert(behind);
    let grant = Request::LeaseGrant(LeaseGrantRequest { id: 5, ttl: 60 });
    cluster.member(leader).propose(grant);
    for n in 0..50 {
        cluster.member(leader).propose(put(&format!("k{n}"), "v"));
        cluster.settle();
    }
    cluster.isolated.clear();
    // The one that was cut off may have a later term; then a leader is elected anew.
    (0..ELECTION_TICKS_MAX).for_each(|_| cluster.tick());
    let taken = |note: &node::Note| matches!(note, node::Note::Snapshot { refusal: None, .. });
    assert!(cluster.member(behind).notes.iter().any(taken), "{:?}", cluster.member(behind).notes);
    let hash = |cluster: &mut Cluster, id| cluster.member(id).node.view().hash_now(0).unwrap();
    assert_eq!(hash(&mut cluster, behind), hash(&mut cluster, leader));
    assert!(cluster.member(behind).node.leases().term(5).is_some());

    let new_leader = cluster.member(1).node.published().leader();
    let waiter = cluster.member(new_leader).propose(put("k", "w"));
    cluster.settle();
    assert!(revision(cluster.member(new_leader).answer(waiter)).is_some());
    cluster.tick();
    assert_eq!(hash(&mut cluster, behind), hash(&mut cluster, new_leader));

    cluster.restart(behind);
    (0..ELECTION_TICKS_MAX).for_each(|_| cluster.tick());
    assert_eq!(hash(&mut cluster, behind), hash(&mut cluster, new_leader), "after a crash");
    assert!(cluster.member(behind).node.leases().term(5).is_some());
}

#[test]
fn a_member_makes_itself_known_again_if_a_state_took_the_place_of_its_first_word() {
    let (mut cluster, leader) = Cluster::lead(3);
    let behind = leader % 3 + 1;
    cluster.isolated.insert(behind);
    for n in 0..50 {
        cluster.member(leader).propose(put(&format!("k{n}"), "v"));
        cluster.settle();
    }
    cluster.restart(behind);
    cluster.isolated.clear();
    // Less than the time after which a lost proposal is made again.
    (0..ELECTION_TICKS_MAX).for_each(|_| cluster.tick());
    let notes = &cluster.member(behind).notes;
    let is_taken = |note: &node::Note| matches!(note, node::Note::Snapshot { refusal: None, .. });
    let is_known = |note: &node::Note| matches!(note, node::Note::Published);
    assert!(notes.iter().any(is_taken) && notes.iter().any(is_known), "{notes:?}");
}

#[test]
fn a_state_that_is_damaged_or_old_changes_nothing() {
    let (mut cluster, leader) = Cluster::lead(3);
    let follower = leader % 3 + 1;
    let waiter = cluster.member(leader).propose(put("k", "v"));
    cluster.settle();
    assert!(cluster.member(leader).answer(waiter).is_some());
    cluster.tick();
    let before = cluster.member(follower).node.view().hash_now(0).unwrap();
    let term = cluster.member(leader).node.published().term();
    let metadata = SnapshotMetadata { index: 900, term, ..SnapshotMetadata::default() };
    let file = std::path::PathBuf::from("/received.snap.db");
    cluster.disks[follower as usize - 1].create(&file).unwrap().write_at(0, b"no database").unwrap();
    let message = Message {
        r#type: MessageType::MsgSnap as i32,
        from: leader,
        to: follower,
        term,
        snapshot: Some(Snapshot { metadata: Some(metadata), ..Snapshot::default() }),
        ..Message::default()
    };
    let input = Input::Snapshot { message: Box::new(message.clone()), file: file.clone() };
    cluster.member(follower).handle(vec![input]).unwrap();
    cluster.settle();
    let refused = |note: &node::Note| matches!(note, node::Note::Snapshot { index: 900, refusal: Some(_) });
    assert!(cluster.member(follower).notes.iter().any(refused));
    // Without its state the message is worth nothing.
    cluster.member(follower).handle(vec![Input::Message(Box::new(message.clone()))]).unwrap();
    // A state that this member has already.
    cluster.send_snapshot(message);
    cluster.settle();
    assert!(
        cluster
            .member(follower)
            .notes
            .iter()
            .filter(|note| matches!(note, node::Note::Snapshot { .. }))
            .count()
            == 2
    );
    assert_eq!(cluster.member(follower).node.view().hash_now(0).unwrap(), before);
    assert!(cluster.disks[follower as usize - 1].open(&file).is_err(), "files are removed");
    let waiter = cluster.member(follower).propose(put("k", "w"));
    cluster.settle();
    assert!(revision(cluster.member(follower).answer(waiter)).is_some());
}

#[test]
fn a_leader_whose_disk_stands_still_hands_over_once() {
    let (mut cluster, leader) = Cluster::lead(3);
    cluster.member(leader).propose(put("k", "v"));
    // The WAL of the leader writes nothing any more; messages go on.
    let tick = |cluster: &mut Cluster| {
        for id in 1..=3 {
            cluster.member(id).now += TICK;
            cluster.member(id).handle(vec![Input::Tick]).unwrap();
        }
        for _ in 0..20 {
            (1..=3).filter(|id| *id != leader).for_each(|id| cluster.member(id).settle().unwrap());
            if !cluster.deliver() {
                break;
            }
        }
    };
    (0..9).for_each(|_| tick(&mut cluster));
    let stalled = |note: &&node::Note| matches!(note, node::Note::DiskStalled { .. });
    assert_eq!(cluster.member(leader).notes.iter().filter(stalled).count(), 0);
    (0..3).for_each(|_| tick(&mut cluster));
    assert_eq!(cluster.member(leader).notes.iter().filter(stalled).count(), 1);
    let follower = leader % 3 + 1;
    let new_leader = cluster.member(follower).node.published().leader();
    assert!(new_leader != leader && new_leader != 0);
    let waiter = cluster.member(new_leader).propose(put("k", "w"));
    (0..2).for_each(|_| tick(&mut cluster));
    assert!(revision(cluster.member(new_leader).answer(waiter)).is_some());
}

#[test]
fn a_leader_that_is_cut_off_ends_reads_and_renewals_and_its_proposals_time_out() {
    let (mut cluster, leader) = Cluster::lead(3);
    let grant = Request::LeaseGrant(LeaseGrantRequest { id: 5, ttl: 60 });
    let granted = cluster.member(leader).propose(grant);
    cluster.settle();
    assert!(cluster.member(leader).answer(granted).is_some());

    cluster.isolated.insert(leader);
    let member = cluster.member(leader);
    let proposal = member.propose(put("k", "lost"));
    member.handle(vec![Input::ReadIndex(WHO)]).unwrap();
    let new_leader = cluster.elect();
    assert_ne!(new_leader, leader);
    // A leader that no quorum has answered for an election timeout steps down.
    (0..20).for_each(|_| cluster.tick());
    let member = cluster.member(leader);
    assert!(matches!(member.answer(WHO), Some(Answer::Unserved(Unserved::LeaderChanged))));
    member.handle(vec![Input::Lease(LeaseQuery::Renew { id: 5 }, WHO)]).unwrap();
    assert!(matches!(member.answer(WHO), Some(Answer::Unserved(Unserved::NotLeader))));
    assert_eq!(member.node.lease_renewer().renew(5, member.now), None);
    assert!(member.answer(proposal).is_none(), "it may yet be committed");
    (0..70).for_each(|_| cluster.tick());
    let answer = cluster.member(leader).answer(proposal);
    assert!(matches!(answer, Some(Answer::Unserved(Unserved::TimedOut))), "{answer:?}");

    // The new leader counts the lease, and the old one follows again.
    let member = cluster.member(new_leader);
    member.handle(vec![Input::Lease(LeaseQuery::Renew { id: 5 }, WHO)]).unwrap();
    assert!(matches!(member.answer(WHO), Some(Answer::Lease(LeaseAnswer::Renewed(60)))));
    let kept = cluster.member(new_leader).propose(put("k", "kept"));
    cluster.settle();
    assert!(revision(cluster.member(new_leader).answer(kept)).is_some());
    cluster.isolated.clear();
    (0..5).for_each(|_| cluster.tick());
    let revisions: BTreeSet<i64> = cluster.members.iter().map(|m| m.node.view().revision()).collect();
    assert_eq!(revisions, BTreeSet::from([2]), "the lost put was never applied");
}

#[test]
fn what_waited_for_a_leader_is_carried_out_when_there_is_one_unless_its_time_is_over() {
    let mut cluster = Cluster::new(3);
    cluster.isolated = BTreeSet::from([1, 2, 3]);
    let early = cluster.member(1).propose(put("early", "v"));
    (0..69).for_each(|_| cluster.tick());
    assert!(cluster.member(1).answers.is_empty());
    let late = cluster.member(1).propose(put("late", "v"));
    cluster.tick();
    assert!(matches!(cluster.member(1).answer(early), Some(Answer::Unserved(Unserved::TimedOut))));
    cluster.isolated.clear();
    cluster.elect();
    assert!(revision(cluster.member(1).answer(late)).is_some());
    assert_eq!(cluster.member(1).keys(), 1, "what timed out is not carried out later");
}
