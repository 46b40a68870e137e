//! What a member must not live on with.

use std::path::Path;

use disk::SimDisk;
use node::{Config, Fatal};
use proto::raftpb::EntryType;
use store::CommandError;

use crate::member::{ID, Member, append_foreign_entry, config, info, put};

/// A disk with the log of a member that has stopped.
fn left_behind() -> SimDisk {
    let disk = SimDisk::new(1);
    Member::lead(&disk, config()).apply(put("k", "v")).unwrap();
    disk.crash();
    disk
}

#[test]
fn a_log_of_another_member_or_cluster_is_refused() {
    let disk = left_behind();
    let other_member = Config { member: info(8), initial_members: vec![info(8)], ..config() };
    let other_cluster = Config { cluster_id: 98, ..config() };
    for (config, expected) in [(other_member, (8, 99)), (other_cluster, (ID, 98))] {
        let fatal = Member::start(&disk, config).map(|_| ()).unwrap_err();
        assert!(matches!(fatal, Fatal::Foreign { found: (ID, 99), expected: e } if e == expected), "{fatal}");
        disk.crash();
    }
    assert_eq!(Member::lead(&disk, config()).keys(), 1, "nothing was harmed");
}

#[test]
fn an_entry_that_is_no_command_stops_the_member_and_is_named() {
    // Field 99 is a request this version does not know; 0xff is no message at all; the last holds no request.
    let unknown: fn(&CommandError) -> bool = |error| matches!(error, CommandError::Unknown(99));
    let malformed: fn(&CommandError) -> bool = |error| matches!(error, CommandError::Malformed(_));
    let empty: fn(&CommandError) -> bool = |error| matches!(error, CommandError::Empty);
    let cases: [(&[u8], _); 3] =
        [(b"\x9a\x06\x00", unknown), (b"\xff", malformed), (b"\xa2\x06\x02\x08\x05", empty)];
    for (data, is_expected) in cases {
        let disk = left_behind();
        let at = append_foreign_entry(&disk, EntryType::EntryNormal, data);
        let fatal = Member::start(&disk, config()).map(|_| ()).unwrap_err();
        let Fatal::Entry { index, error } = fatal else { panic!("{fatal}") };
        assert!(index == at && is_expected(&error), "{index}: {error}");
    }
}

#[test]
fn a_configuration_change_that_cannot_be_read_stops_the_member() {
    for data in [&b"\xff"[..], b"\x18\x07\x22\x03{}x"] {
        let disk = left_behind();
        let at = append_foreign_entry(&disk, EntryType::EntryConfChange, data);
        let fatal = Member::start(&disk, config()).map(|_| ()).unwrap_err();
        assert!(matches!(fatal, Fatal::ConfChange { index } if index == at), "{fatal}");
    }
}

#[test]
fn a_sync_that_fails_is_final_and_nothing_is_answered() {
    let disk = SimDisk::new(1);
    let mut member = Member::lead(&disk, config());
    disk.fail_syncs(Path::new("/wal/0000000000000000-0000000000000000.wal")).unwrap();
    let waiter = member.propose(put("k", "v"));
    assert!(matches!(member.write_log(), Err(Fatal::Disk(_))));
    assert!(member.answer(waiter).is_none());
    assert_eq!(member.keys(), 0);
}
