//! What etcd's `etcdctl` 3.7.1 printed about a cluster of three etcd members, and about changes of members.

use proto::etcdserverpb::{
    DowngradeInfo, DowngradeResponse, HashKvResponse, Member, MemberAddResponse, MemberListResponse,
    MemberPromoteResponse, MemberRemoveResponse, MoveLeaderResponse, ResponseHeader, StatusResponse,
};

use super::*;

const CLUSTER: u64 = 2_703_693_198_135_325_266;
const A: u64 = 0x9e73_7feb_b6b9_9eee;
const B: u64 = 0x77d3_0ea1_5428_0a1c;
const C: u64 = 0xcf92_fc64_7896_968c;

fn header(member_id: u64) -> Option<ResponseHeader> {
    Some(ResponseHeader { cluster_id: CLUSTER, member_id, revision: 0, raft_term: 2 })
}

fn member(id: u64, name: &str, port: u16) -> Member {
    Member {
        id,
        name: name.to_owned(),
        peer_ur_ls: vec![format!("http://127.0.0.1:{}", port + 1)],
        client_ur_ls: vec![format!("http://127.0.0.1:{port}")],
        is_learner: false,
    }
}

fn three_members() -> Vec<Member> {
    vec![member(B, "b", 22479), member(A, "a", 22379), member(C, "c", 22579)]
}

fn written(format: Format, hex: bool, answer: &Answer) -> String {
    let out = Printer { format, hex, values_only: false }.written(answer).unwrap();
    String::from_utf8(out).unwrap()
}

fn lines(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[test]
fn three_members_are_listed_in_the_order_of_the_answer() {
    let response = MemberListResponse { header: header(C), members: three_members() };
    let answer = Answer::Members(&response);
    let simple = lines(&[
        "77d30ea154280a1c, started, b, http://127.0.0.1:22480, http://127.0.0.1:22479, false",
        "9e737febb6b99eee, started, a, http://127.0.0.1:22380, http://127.0.0.1:22379, false",
        "cf92fc647896968c, started, c, http://127.0.0.1:22580, http://127.0.0.1:22579, false",
    ]);
    assert_eq!(written(Format::Simple, false, &answer), simple);
    let table = lines(&[
        "┌──────────────────┬─────────┬──────┬────────────────────────┬────────────────────────┬────────────┐",
        "│        ID        │ STATUS  │ NAME │       PEER ADDRS       │      CLIENT ADDRS      │ IS LEARNER │",
        "├──────────────────┼─────────┼──────┼────────────────────────┼────────────────────────┼────────────┤",
        "│ 77d30ea154280a1c │ started │    b │ http://127.0.0.1:22480 │ http://127.0.0.1:22479 │      false │",
        "│ 9e737febb6b99eee │ started │    a │ http://127.0.0.1:22380 │ http://127.0.0.1:22379 │      false │",
        "│ cf92fc647896968c │ started │    c │ http://127.0.0.1:22580 │ http://127.0.0.1:22579 │      false │",
        "└──────────────────┴─────────┴──────┴────────────────────────┴────────────────────────┴────────────┘",
    ]);
    assert_eq!(written(Format::Table, false, &answer), table);
    let json = "{\"header\":{\"cluster_id\":2703693198135325266,\"member_id\":14957294820900902540,\"raft_term\":2},\
                \"members\":[{\"ID\":8634260996663806492,\"name\":\"b\",\"peerURLs\":[\"http://127.0.0.1:22480\"],\
                \"clientURLs\":[\"http://127.0.0.1:22479\"]},{\"ID\":11417610130673999598,\"name\":\"a\",\
                \"peerURLs\":[\"http://127.0.0.1:22380\"],\"clientURLs\":[\"http://127.0.0.1:22379\"]},\
                {\"ID\":14957294820900902540,\"name\":\"c\",\"peerURLs\":[\"http://127.0.0.1:22580\"],\
                \"clientURLs\":[\"http://127.0.0.1:22579\"]}]}";
    assert_eq!(written(Format::Json, false, &answer), lines(&[json]));
}

#[test]
fn a_member_that_was_never_started_has_no_name() {
    let mut new = member(0xab7f_4f86_47a7_c5f7, "", 9997);
    new.peer_ur_ls.push("http://127.0.0.1:9999".to_owned());
    new.client_ur_ls.clear();
    new.is_learner = true;
    let members = vec![member(0x61f9_7220_ab05_2a12, "default", 23379), new];
    let response = MemberListResponse { header: header(A), members };
    let table = lines(&[
        "┌──────────────────┬───────────┬─────────┬─────────────────────────────────────────────┬────────────────────────┬────────────┐",
        "│        ID        │  STATUS   │  NAME   │                 PEER ADDRS                  │      CLIENT ADDRS      │ IS LEARNER │",
        "├──────────────────┼───────────┼─────────┼─────────────────────────────────────────────┼────────────────────────┼────────────┤",
        "│ 61f97220ab052a12 │   started │ default │                      http://127.0.0.1:23380 │ http://127.0.0.1:23379 │      false │",
        "│ ab7f4f8647a7c5f7 │ unstarted │         │ http://127.0.0.1:9998,http://127.0.0.1:9999 │                        │       true │",
        "└──────────────────┴───────────┴─────────┴─────────────────────────────────────────────┴────────────────────────┴────────────┘",
    ]);
    assert_eq!(written(Format::Table, false, &Answer::Members(&response)), table);
}

fn status(member_id: u64) -> StatusResponse {
    StatusResponse {
        header: Some(ResponseHeader { cluster_id: CLUSTER, member_id, revision: 2, raft_term: 2 }),
        version: "3.7.1".to_owned(),
        db_size: 20_480,
        leader: A,
        raft_index: 9,
        raft_term: 2,
        raft_applied_index: 9,
        errors: vec![],
        db_size_in_use: 16_384,
        is_learner: false,
        storage_version: "3.7.0".to_owned(),
        db_size_quota: 2 << 30,
        downgrade_info: Some(DowngradeInfo::default()),
    }
}

#[test]
fn one_of_three_members_is_the_leader() {
    let list = [
        ("127.0.0.1:22379".to_owned(), status(A)),
        ("127.0.0.1:22479".to_owned(), status(B)),
        ("127.0.0.1:22579".to_owned(), status(C)),
    ];
    let simple = lines(&[
        "127.0.0.1:22379, 9e737febb6b99eee, 3.7.1, 3.7.0, 20 kB, 16 kB, 20%, 2.1 GB, true, false, 2, 9, 9, , , false",
        "127.0.0.1:22479, 77d30ea154280a1c, 3.7.1, 3.7.0, 20 kB, 16 kB, 20%, 2.1 GB, false, false, 2, 9, 9, , , false",
        "127.0.0.1:22579, cf92fc647896968c, 3.7.1, 3.7.0, 20 kB, 16 kB, 20%, 2.1 GB, false, false, 2, 9, 9, , , false",
    ]);
    assert_eq!(written(Format::Simple, false, &Answer::Status(&list)), simple);
    let table = written(Format::Table, false, &Answer::Status(&list[..1]));
    let row = "│ 127.0.0.1:22379 │ 9e737febb6b99eee │   3.7.1 │           3.7.0 │   20 kB │  16 kB │                   20% │ 2.1 GB \
               │      true │      false │         2 │          9 │                  9 │        │                          │             false │";
    assert_eq!(table.lines().nth(3), Some(row));
}

#[test]
fn hashes_and_health_of_three_members_are_tables() {
    let hash = HashKvResponse { hash: 3_628_877_040, hash_revision: 2, ..HashKvResponse::default() };
    let hashes = [22379, 22479, 22579].map(|port| (format!("127.0.0.1:{port}"), hash));
    let table = lines(&[
        "┌─────────────────┬────────────┬───────────────┐",
        "│    ENDPOINT     │    HASH    │ HASH REVISION │",
        "├─────────────────┼────────────┼───────────────┤",
        "│ 127.0.0.1:22379 │ 3628877040 │             2 │",
        "│ 127.0.0.1:22479 │ 3628877040 │             2 │",
        "│ 127.0.0.1:22579 │ 3628877040 │             2 │",
        "└─────────────────┴────────────┴───────────────┘",
    ]);
    assert_eq!(written(Format::Table, false, &Answer::HashKv(&hashes)), table);
    let took = [(22379, "1.91758ms"), (22479, "16.843742ms"), (22579, "15.004339ms")];
    let health = took.map(|(port, took)| Health {
        endpoint: format!("http://127.0.0.1:{port}"),
        is_healthy: true,
        took: took.to_owned(),
        error: String::new(),
    });
    let table = lines(&[
        "┌────────────────────────┬────────┬─────────────┬───────┐",
        "│        ENDPOINT        │ HEALTH │    TOOK     │ ERROR │",
        "├────────────────────────┼────────┼─────────────┼───────┤",
        "│ http://127.0.0.1:22379 │   true │   1.91758ms │       │",
        "│ http://127.0.0.1:22479 │   true │ 16.843742ms │       │",
        "│ http://127.0.0.1:22579 │   true │ 15.004339ms │       │",
        "└────────────────────────┴────────┴─────────────┴───────┘",
    ]);
    assert_eq!(written(Format::Table, false, &Answer::Health(&health)), table);
}

#[test]
fn an_added_voter_gets_the_addresses_of_all_members() {
    let new = Member {
        id: 0xab,
        peer_ur_ls: vec!["http://127.0.0.1:1".to_owned(), "http://127.0.0.1:2".to_owned()],
        ..Member::default()
    };
    let members = [std::slice::from_ref(&new), &three_members()[..]].concat();
    let response = MemberAddResponse { header: header(A), member: Some(new), members };
    let peer_urls = "http://127.0.0.1:1,http://127.0.0.1:2";
    let answer = Answer::MemberAdd { response: &response, name: "new", peer_urls };
    let simple = lines(&[
        "Member               ab added to cluster 258572a3907ef252",
        "",
        "ETCD_NAME=\"new\"",
        "ETCD_INITIAL_CLUSTER=\"new=http://127.0.0.1:1,new=http://127.0.0.1:2,b=http://127.0.0.1:22480,\
         a=http://127.0.0.1:22380,c=http://127.0.0.1:22580\"",
        "ETCD_INITIAL_ADVERTISE_PEER_URLS=\"http://127.0.0.1:1,http://127.0.0.1:2\"",
        "ETCD_INITIAL_CLUSTER_STATE=\"existing\"",
    ]);
    assert_eq!(written(Format::Simple, false, &answer), simple);
}

#[test]
fn ids_of_less_than_sixteen_digits_are_filled_up_with_blanks() {
    let removed = MemberRemoveResponse { header: header(A), members: vec![] };
    let expected = "Member              123 removed from cluster 258572a3907ef252\n";
    assert_eq!(written(Format::Simple, false, &Answer::MemberRemove(0x123, &removed)), expected);
    let promoted = MemberPromoteResponse { header: header(A), members: vec![] };
    let expected = "Member 77d30ea154280a1c promoted in cluster 258572a3907ef252\n";
    assert_eq!(written(Format::Simple, false, &Answer::MemberPromote(B, &promoted)), expected);
    let moved = Answer::MoveLeader { from: 0x123, to: B, response: &MoveLeaderResponse::default() };
    let expected = "Leadership transferred from 123 to 77d30ea154280a1c\n";
    assert_eq!(written(Format::Simple, false, &moved), expected);
}

#[test]
fn a_promotion_lists_the_members_and_in_hexadecimal_never_leaves_them_out() {
    let response = MemberPromoteResponse { header: header(0xab), members: vec![] };
    let answer = Answer::MemberPromote(0xab, &response);
    let expected = "{\"header\":{\"cluster_id\":2703693198135325266,\"member_id\":171,\"raft_term\":2}}\n";
    assert_eq!(written(Format::Json, false, &answer), expected);
    let expected = "{\"header\":{\"cluster_id\":\"258572a3907ef252\",\"member_id\":\"ab\",\"raft_term\":2},\
                    \"members\":[]}\n";
    assert_eq!(written(Format::Json, true, &answer), expected);
}

#[test]
fn a_downgrade_is_written_as_its_bytes() {
    // Recorded from etcd, but for the ids.
    let header = ResponseHeader { cluster_id: 1, member_id: 2, revision: 1, raft_term: 2 };
    let response = DowngradeResponse { header: Some(header), version: "3.7".to_owned() };
    let printer = Printer { format: Format::Protobuf, hex: false, values_only: false };
    let bytes = printer.written(&Answer::Downgrade("validate", &response)).unwrap();
    assert_eq!(bytes, b"\x0a\x08\x08\x01\x10\x02\x18\x01\x20\x02\x12\x033.7");
}
