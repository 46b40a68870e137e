//! Commands that ask several members, with the answers of a cluster of three etcd members.

use std::process::{Command, Output};

use proto::etcdserverpb::{DowngradeInfo, ResponseHeader, StatusResponse};

use crate::fake_member;
use crate::script::etcdctl;

const A: u64 = 0x9e73_7feb_b6b9_9eee;
const B: u64 = 0x77d3_0ea1_5428_0a1c;
const C: u64 = 0xcf92_fc64_7896_968c;

fn member(member_id: u64, leader: u64) -> String {
    let cluster_id = 0x2585_72a3_907e_f252;
    fake_member::start(StatusResponse {
        header: Some(ResponseHeader { cluster_id, member_id, revision: 2, raft_term: 2 }),
        version: "3.7.1".to_owned(),
        db_size: 20_480,
        leader,
        raft_index: 9,
        raft_term: 2,
        raft_applied_index: 9,
        db_size_in_use: 16_384,
        storage_version: "3.7.0".to_owned(),
        db_size_quota: 2 << 30,
        downgrade_info: Some(DowngradeInfo::default()),
        ..StatusResponse::default()
    })
}

fn run(endpoints: &[String], args: &[&str]) -> Output {
    Command::new(etcdctl()).arg("--endpoints").arg(endpoints.join(",")).args(args).output().unwrap()
}

#[test]
fn the_status_of_each_endpoint_is_a_line_in_the_order_of_the_flag() {
    let endpoints = [member(A, A), member(B, A), member(C, A)];
    let output = run(&endpoints, &["endpoint", "status"]);
    let line = |endpoint: &String, id: u64, leads: bool| {
        format!(
            "{endpoint}, {id:x}, 3.7.1, 3.7.0, 20 kB, 16 kB, 20%, 2.1 GB, {leads}, false, 2, 9, 9, , , false\n"
        )
    };
    let [a, b, c] = &endpoints;
    let expected = line(a, A, true) + &line(b, B, false) + &line(c, C, false);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    assert!(output.status.success());
}

#[test]
fn leadership_is_not_moved_without_the_leader_among_the_endpoints() {
    let endpoints = [member(B, A), member(C, A)];
    let output = run(&endpoints, &["move-leader", "77d30ea154280a1c"]);
    let expected = format!("Error: no leader endpoint given at [{} {}]\n", endpoints[0], endpoints[1]);
    assert_eq!(String::from_utf8(output.stderr).unwrap(), expected);
    assert_eq!(output.status.code(), Some(128));
}

#[test]
fn leadership_is_moved_by_the_leader() {
    let endpoints = [member(B, A), member(A, A), "127.0.0.1:1".to_owned()];
    let output = run(&endpoints, &["move-leader", "77d30ea154280a1c"]);
    // The fake leader refuses that call, so it was asked; the endpoint behind it was not.
    let expected = "Error: rpc error: code = Unimplemented desc = \n";
    assert_eq!(String::from_utf8(output.stderr).unwrap(), expected);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn all_calls_of_a_move_share_the_time_for_the_command() {
    let endpoints = [member(B, A), "127.0.0.1:1".to_owned()];
    let output = run(&endpoints, &["--command-timeout=200ms", "move-leader", "77d30ea154280a1c"]);
    assert_eq!(output.stderr, b"Error: context deadline exceeded\n");
    assert_eq!(output.status.code(), Some(1));
}
