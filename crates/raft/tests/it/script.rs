//! Golden scripts: each file in `tests/scripts` is a story of one cluster.
//!
//! A file is a sequence of blocks, parted by empty lines: commands, a line `---`, and what they must print
//! (neither, if they print nothing).
//! `UPDATE=1 cargo test` writes what they do print. Lines that begin with `#` are for the reader.
//!
//! ```text
//! nodes 3 [learners=n] [pre_vote] [check_quorum] [inflight=n] [bytes=n] [inflight_bytes=n]
//!         [committed_bytes=n] [uncommitted_bytes=n]
//! logs 1,1,2 1            members with these terms on their disks
//! disk 2                  what member 2 has on disk
//! join 4 1 2 3            a new member, told only who the first voters were
//! campaign 1              tick 1 5                propose 1 a b c
//! conf 1 add 4            (or learner, remove)    read 1 context
//! conf2 1 auto add 4 remove 1                     (or implicit, explicit)    conf2 1 leave
//! time 1 500              led 1                   when it certainly led
//! transfer 1 2            report 1 2 ok           (or failed)
//! persist 1 [2]           all or so many writes   deliver [1>2]   all that is in flight now, or one link's
//! drop [1>2]              repeat 1>2              settle          write and deliver until nothing is left
//! cut 1>2                 heal                    crash 1         start 1
//! compact 1 5             unreachable 1 2         status          members 1       quiet <command>
//! ```

use std::path::Path;

use bytes::Bytes;
use proto::raftpb::{ConfState, Message};
use raft::Config;

use crate::changes;
use crate::cluster::Cluster;
use crate::trace;

#[test]
fn scripts_print_what_they_say() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let printed = run(&text);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, printed).unwrap();
        } else {
            assert_eq!(printed, text, "{} prints otherwise; UPDATE=1 rewrites it", path.display());
        }
    }
}

/// The script with the output it gives.
fn run(text: &str) -> String {
    let mut cluster = None;
    let mut blocks = Vec::new();
    for block in text.split("\n\n").map(str::trim).filter(|block| !block.is_empty()) {
        let commands = block.split("\n---").next().unwrap();
        let mut output = vec!["---".to_owned()];
        for command in commands.lines().filter(|line| !line.starts_with('#')) {
            execute(&mut cluster, command, &mut output);
        }
        let printed = if output.len() > 1 { format!("\n{}", output.join("\n")) } else { String::new() };
        blocks.push(format!("{commands}{printed}\n"));
    }
    blocks.join("\n")
}

fn execute(cluster: &mut Option<Cluster>, command: &str, output: &mut Vec<String>) {
    let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
    let words: Vec<&str> = rest.split_whitespace().collect();
    match verb {
        "nodes" => {
            *cluster = Some(create(&words));
            return;
        }
        "logs" => {
            *cluster = Some(create_with_logs(&words));
            return;
        }
        _ => {}
    }
    let cluster = cluster.as_mut().expect("a script begins with nodes");
    if verb == "quiet" {
        execute_on(cluster, words[0], &words[1..], &mut Vec::new());
        cluster.take_trace();
        return;
    }
    execute_on(cluster, verb, &words, output);
    output.append(&mut cluster.take_trace());
}

fn create(words: &[&str]) -> Cluster {
    let option = |name: &str| words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    let config = Config {
        max_inflight: option("inflight").map_or(512, |n| n.parse().unwrap()),
        max_inflight_bytes: option("inflight_bytes").map_or(u64::MAX, number),
        max_committed_bytes: option("committed_bytes").map_or(u64::MAX, number),
        max_uncommitted_bytes: option("uncommitted_bytes").map_or(u64::MAX, number),
        max_message_bytes: option("bytes").map_or(1 << 20, number),
        pre_vote: words.contains(&"pre_vote"),
        check_quorum: words.contains(&"check_quorum"),
        ..default_config(0)
    };
    let learners = option("learners").map_or(0, number);
    let mut cluster = Cluster::new(number(words[0]), learners, &config);
    cluster.set_trace();
    cluster
}

/// One member for each word, which lists the terms of the entries on its disk.
fn create_with_logs(words: &[&str]) -> Cluster {
    let logs: Vec<Vec<u64>> = words.iter().map(|word| word.split(',').map(number).collect()).collect();
    let mut cluster = Cluster::with_logs(&logs, &default_config(0));
    cluster.set_trace();
    cluster
}

fn execute_on(cluster: &mut Cluster, verb: &str, words: &[&str], output: &mut Vec<String>) {
    let id = words.first().and_then(|word| word.parse().ok()).unwrap_or(0);
    let second = || number(words[1]);
    match verb {
        "join" => {
            let voters = words[1..].iter().map(|word| number(word)).collect();
            cluster.add(default_config(id), ConfState { voters, ..ConfState::default() });
        }
        "campaign" => {
            cluster.input(id, raft::Raft::campaign);
        }
        "tick" => {
            for _ in 0..second() {
                cluster.input(id, raft::Raft::tick);
            }
        }
        "propose" => {
            let data: Vec<Bytes> = words[1..].iter().map(|&word| Bytes::from(word.to_owned())).collect();
            report(cluster.propose(id, &data), output);
        }
        "conf" => {
            let change = changes::encode(words[1], number(words[2]));
            report(cluster.input(id, |raft| raft.propose_conf_change(change)), output);
        }
        "conf2" => {
            let change = changes::encode_v2(&words[1..]);
            report(cluster.input(id, |raft| raft.propose_conf_change_v2(change)), output);
        }
        "transfer" => report(cluster.input(id, |raft| raft.transfer_leader(number(words[1]))), output),
        "report" => {
            cluster.input(id, |raft| raft.report_snapshot(second(), words[2] == "ok"));
        }
        "time" => {
            cluster.input(id, |raft| raft.set_time(second()));
        }
        "led" => {
            let led_at = cluster.node(id).raft.as_ref().unwrap().led_at();
            output.push(led_at.map_or("never".to_owned(), |time| format!("at {time}")));
        }
        "read" => cluster.read(id, Bytes::from(words[1].to_owned())),
        "persist" => cluster.persist(id, words.get(1).map_or(usize::MAX, |n| n.parse().unwrap()).min(99)),
        "deliver" => each_message(cluster, words, Cluster::deliver),
        "drop" => each_message(cluster, words, Cluster::lose),
        "repeat" => {
            let wanted = |message: &&Message| link(words[0]) == (message.from, message.to);
            let again: Vec<Message> = cluster.network.iter().filter(wanted).cloned().collect();
            cluster.network.extend(again);
        }
        "settle" => cluster.settle(),
        "cut" => {
            cluster.cut.insert(link(words[0]));
        }
        "heal" => cluster.cut.clear(),
        "crash" => cluster.crash(id, 0, 0),
        "start" => cluster.start(id),
        "compact" => cluster.compact(id, second()),
        "unreachable" => {
            cluster.input(id, |raft| raft.report_unreachable(second()));
        }
        "status" => {
            let statuses = cluster.ids().filter_map(|id| cluster.status(id)).collect::<Vec<_>>();
            output.extend(statuses.iter().map(trace::status));
        }
        "disk" => output.push(trace::entries(cluster.node(id).disk.entries())),
        "members" => output.extend(cluster.node(id).raft.as_ref().unwrap().members().map(trace::progress)),
        _ => panic!("unknown command {verb}"),
    }
}

fn default_config(id: u64) -> Config {
    Config {
        id,
        election_ticks: 10,
        heartbeat_ticks: 1,
        max_message_bytes: 1 << 20,
        max_inflight: 512,
        max_inflight_bytes: u64::MAX,
        max_committed_bytes: u64::MAX,
        max_uncommitted_bytes: u64::MAX,
        pre_vote: false,
        check_quorum: false,
        seed: 1,
    }
}

/// Acts on what is in flight at the start, in order, of one link or of all.
fn each_message(cluster: &mut Cluster, words: &[&str], act: impl Fn(&mut Cluster, usize)) {
    let wanted = words.first().map(|word| link(word));
    let is_wanted = |message: &Message| wanted.is_none_or(|link| link == (message.from, message.to));
    let (mut at, mut left) = (0, cluster.network.len());
    while left > 0 {
        left -= 1;
        if is_wanted(&cluster.network[at]) {
            act(cluster, at);
        } else {
            at += 1;
        }
    }
}

fn report<T: std::fmt::Debug>(result: Option<Result<T, raft::Error>>, output: &mut Vec<String>) {
    match result {
        Some(Ok(done)) => output.push(format!("{done:?}")),
        Some(Err(error)) => output.push(format!("error: {error}")),
        None => output.push("error: down".to_owned()),
    }
}

fn link(word: &str) -> (u64, u64) {
    let (from, to) = word.split_once('>').unwrap();
    (number(from), number(to))
}

fn number(word: &str) -> u64 {
    word.parse().unwrap()
}
