//! Random faults under a seed: lost, repeated, late and reordered messages, links cut one way, slow disks,
//! crashes that lose unconfirmed writes or tear them, changes of members. The checker looks at each step,
//! and progress must resume after the faults.

use bytes::Bytes;
use fastrand::Rng;
use raft::{Config, Role};

use crate::changes;
use crate::cluster::Cluster;

const STEPS: u32 = 3000;

#[test]
fn invariants_hold_under_faults_and_progress_resumes_after_them() {
    let (mut applied, mut reads, mut elections) = (0, 0, 0);
    let (mut snapshots, mut handovers, mut proofs) = (0, 0, 0);
    for seed in 0..500 {
        let (cluster, has_progress) = run(seed, false);
        assert!(has_progress, "seed {seed}: no progress although all members run and all links work");
        applied += cluster.checker.last_applied();
        reads += cluster.checker.reads_answered();
        proofs += cluster.checker.proofs();
        elections += cluster.checker.elections();
        snapshots += cluster.counts.snapshots;
        handovers += cluster.counts.handovers;
    }
    // A run that does nothing would prove nothing.
    assert!(applied > 10_000, "only {applied} entries were applied");
    assert!(reads > 3_000, "only {reads} reads were answered");
    assert!(elections > 600, "only {elections} elections were won");
    assert!(proofs > 5_000, "only {proofs} times were proven");
    assert!(handovers > 100, "only {handovers} members were told to take over");
    assert!(snapshots > 100, "only {snapshots} snapshots were received");
}

#[test]
fn same_seed_gives_the_same_run() {
    let statuses = |mut cluster: Cluster| -> Vec<_> { cluster.ids().map(|id| cluster.status(id)).collect() };
    assert_eq!(statuses(run(42, true).0), statuses(run(42, true).0));
}

#[test]
fn invariants_hold_while_members_come_and_go() {
    let (mut changes, mut joint, mut snapshots, mut progressed) = (0, 0, 0, 0);
    for seed in 0..300 {
        let (cluster, has_progress) = run(seed, true);
        changes += cluster.conf_changes();
        joint += cluster.counts.joint;
        snapshots += cluster.counts.snapshots;
        progressed += u32::from(has_progress);
    }
    assert!(joint > 200, "only {joint} joint configurations were entered");
    assert!(snapshots > 200, "only {snapshots} snapshots were received");
    assert!(changes > 1_000, "only {changes} changes were applied");
    assert_eq!(progressed, 300, "some clusters made no progress although all members run and all links work");
}

/// A leader that was replaced without noticing, and that one follower still answers: its state may be old,
/// so it must not answer reads.
#[test]
fn a_replaced_leader_with_one_follower_answers_no_reads() {
    let config = Config { check_quorum: true, pre_vote: false, ..config(1, &mut Rng::with_seed(1)) };
    let mut cluster = Cluster::new(5, 0, &config);
    cluster.input(1, raft::Raft::campaign);
    cluster.settle();
    for (old, new) in [(1, 3), (1, 4), (1, 5), (2, 3), (2, 4), (2, 5)] {
        cluster.cut.extend([(old, new), (new, old)]);
    }
    let new_leader = (0..100).find_map(|_| {
        for id in 3..=5 {
            cluster.input(id, raft::Raft::tick);
        }
        cluster.settle();
        leader(&mut cluster).filter(|id| *id != 1)
    });
    cluster.propose(new_leader.unwrap(), &[Bytes::from_static(b"new")]);
    cluster.settle();
    assert_eq!(cluster.status(1).unwrap().role, Role::Leader, "it has not noticed");
    cluster.read(1, Bytes::from_static(b"read"));
    cluster.settle();
    assert_eq!(cluster.checker.reads_answered(), 0);
}

/// Runs members under faults until they have come to rest. If `with_changes`, some begin as learners, and
/// any may be added, demoted and removed; removed ones keep running. Also says whether progress resumed
/// after the faults.
fn run(seed: u64, with_changes: bool) -> (Cluster, bool) {
    let mut random = Rng::with_seed(seed);
    let config = config(seed, &mut random);
    let mut cluster = if with_changes {
        Cluster::new(5, 2, &Config { pre_vote: true, check_quorum: true, ..config })
    } else {
        Cluster::new(1 + seed % 7, 0, &config)
    };
    // In half of the runs, several inputs come between two `Ready`.
    cluster.report_snapshots();
    cluster.set_clock();
    cluster.set_delays((seed % 2 == 1).then(|| Rng::with_seed(seed)));
    for step in 0..STEPS {
        act(&mut cluster, &mut random, step);
        if with_changes && random.u32(..20) == 0 {
            change_members(&mut cluster, &mut random);
        }
    }
    cluster.set_delays(None);
    let has_progress = heal(&mut cluster);
    (cluster, has_progress)
}

/// Small limits, so that they are reached.
fn config(seed: u64, random: &mut Rng) -> Config {
    Config {
        id: 0,
        election_ticks: 4 + random.u32(..6),
        heartbeat_ticks: 1 + random.u32(..2),
        max_message_bytes: 60 + u64::from(random.u32(..200)),
        max_inflight: 1 + random.u32(..4) as usize,
        max_inflight_bytes: 50 + u64::from(random.u32(..400)),
        max_committed_bytes: 50 + u64::from(random.u32(..400)),
        max_uncommitted_bytes: 1000 + u64::from(random.u32(..3000)),
        pre_vote: random.u32(..2) == 0,
        check_quorum: random.u32(..4) != 0,
        seed,
    }
}

/// One random event.
fn act(cluster: &mut Cluster, random: &mut Rng, step: u32) {
    let id = 1 + u64::from(random.u32(..cluster.nodes.len() as u32));
    match random.u32(..1000) {
        0..500 => with_message(cluster, random, Cluster::deliver),
        500..530 => with_message(cluster, random, Cluster::lose),
        530..550 => with_message(cluster, random, |cluster, at| {
            cluster.network.push(cluster.network[at].clone());
        }),
        550..690 => {
            cluster.input(id, raft::Raft::tick);
        }
        690..700 => {
            let other = 1 + u64::from(random.u32(..cluster.nodes.len() as u32));
            cluster.input(id, |raft| raft.transfer_leader(other));
        }
        700..860 => cluster.persist(id, 1 + random.u32(..2) as usize),
        860..920 => {
            let batch = 1 + random.u32(..3);
            let data: Vec<Bytes> = (0..batch).map(|n| Bytes::from(format!("{step}.{n}"))).collect();
            cluster.propose(id, &data);
        }
        920..960 => cluster.read(id, Bytes::from(format!("read {step}"))),
        960..968 => {
            let written = random.u32(..3) as usize;
            let torn = random.usize(..3);
            cluster.crash(id, written, torn);
        }
        968..980 if !cluster.is_up(id) => cluster.start(id),
        980..986 => {
            let other = 1 + u64::from(random.u32(..cluster.nodes.len() as u32));
            cluster.cut.insert((id, other));
        }
        986..988 => split(cluster, random),
        988..991 => cluster.cut.clear(),
        991..993 => cluster.checkpoint(id),
        993..997 => compact(cluster, random),
        997..999 => {
            let other = 1 + u64::from(random.u32(..cluster.nodes.len() as u32));
            cluster.input(id, |raft| raft.report_unreachable(other));
        }
        999 => {
            cluster.input(id, raft::Raft::campaign);
        }
        _ => {}
    }
}

/// Proposes a change of one or more members.
fn change_members(cluster: &mut Cluster, random: &mut Rng) {
    const VERBS: [&str; 4] = ["add", "add", "learner", "remove"];
    const TRANSITIONS: [&str; 4] = ["auto", "implicit", "explicit", "leave"];
    let id = 1 + u64::from(random.u32(..5));
    let verb = VERBS[random.usize(..4)];
    let member = 1 + u64::from(random.u32(..5));
    if random.bool() {
        let change = changes::encode(verb, member);
        cluster.input(id, |raft| raft.propose_conf_change(change));
        return;
    }
    let transition = TRANSITIONS[random.usize(..4)];
    let (first, second) = (member.to_string(), (1 + member % 5).to_string());
    let words = match transition {
        "leave" => vec!["leave"],
        _ => vec![transition, verb, &first, VERBS[random.usize(..4)], &second],
    };
    let change = changes::encode_v2(&words);
    cluster.input(id, |raft| raft.propose_conf_change_v2(change));
}

/// Parts the cluster in two.
fn split(cluster: &mut Cluster, random: &mut Rng) {
    let side = random.u32(..1 << cluster.nodes.len());
    let is_left = |id: u64| side >> (id - 1) & 1 == 1;
    for from in cluster.ids() {
        let others = cluster.ids().filter(|&to| is_left(from) != is_left(to));
        cluster.cut.extend(others.map(|to| (from, to)));
    }
}

/// Applies `act` to a message in flight, mostly to an old one.
fn with_message(cluster: &mut Cluster, random: &mut Rng, act: impl FnOnce(&mut Cluster, usize)) {
    let len = cluster.network.len() as u32;
    if len > 0 {
        let reach = if random.u32(..4) == 0 { len } else { len.min(3) };
        act(cluster, random.u32(..reach) as usize);
    }
}

/// Every member compacts its log up to what it has applied, or almost.
fn compact(cluster: &mut Cluster, random: &mut Rng) {
    let kept = u64::from(random.u32(..2));
    for id in cluster.ids() {
        let index = cluster.node(id).applied().saturating_sub(kept);
        cluster.compact(id, index);
    }
}

/// Ends all faults and waits until every member has applied a new proposal; false if that does not come.
fn heal(cluster: &mut Cluster) -> bool {
    cluster.cut.clear();
    for id in cluster.ids() {
        if !cluster.is_up(id) {
            cluster.start(id);
        }
    }
    let mut proposed = None;
    for round in 0..400 {
        for id in cluster.ids() {
            cluster.input(id, raft::Raft::tick);
        }
        cluster.settle();
        if proposed.is_none() && round > 100 {
            proposed = propose_on_leader(cluster);
        }
        if proposed.is_some_and(|index| has_applied(cluster, index)) {
            return true;
        }
    }
    false
}

/// Proposes on the leader, if there is one, and returns the index of the entry.
fn propose_on_leader(cluster: &mut Cluster) -> Option<u64> {
    let leader = leader(cluster)?;
    match cluster.propose(leader, &[Bytes::from_static(b"healed")]) {
        Some(Ok(raft::Proposed::Appended { first_index, .. })) => Some(first_index),
        _ => None,
    }
}

/// Whether all members of the leader's configuration have applied `index` and all that anyone has.
fn has_applied(cluster: &mut Cluster, index: u64) -> bool {
    let Some(leader) = leader(cluster) else { return false };
    let members: Vec<u64> =
        cluster.node(leader).raft.as_ref().unwrap().members().map(|member| member.id).collect();
    let last = cluster.checker.last_applied();
    last >= index && members.iter().all(|&id| cluster.status(id).is_some_and(|s| s.applied == last))
}

/// The leader of the highest term.
fn leader(cluster: &mut Cluster) -> Option<u64> {
    let statuses: Vec<_> = cluster.ids().filter_map(|id| cluster.status(id)).collect();
    let leaders = statuses.iter().filter(|status| status.role == Role::Leader);
    leaders.max_by_key(|status| status.term).map(|status| status.id)
}
