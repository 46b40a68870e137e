//! The log's bytes, against a log worked out by hand and one written by etcd.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use disk::wal::Metadata;
use disk::{Disk, SimDisk, Wal};
use proto::raftpb::{ConfState, Entry, HardState};
use proto::walpb::Snapshot;

use crate::wal_rig::{DIR, open};

/// Member 1 of cluster 2: one entry, its state and a checkpoint. The checksums were computed by a bitwise CRC-32C
/// (polynomial 0x82f63b78) that shares no code with ours.
#[rustfmt::skip]
const BY_HAND: &[u8] = &[
    // crc: nothing before
    0x04, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x84, 0x08, 0x04, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00,
    // metadata: member 1, cluster 2
    0x0e, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x82, 0x08, 0x01, 0x10, 0xa9, 0xf6, 0xf0, 0xac, 0x0c,
    0x1a, 0x04, 0x08, 0x01, 0x10, 0x02, 0x00, 0x00,
    // snapshot: index 0, term 0
    0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x08, 0x05, 0x10, 0xa9, 0xf6, 0xf0, 0xac, 0x0c,
    // entry: term 1, index 1, data "hello"
    0x15, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x83, 0x08, 0x02, 0x10, 0xf7, 0xad, 0x9f, 0xcd, 0x02,
    0x1a, 0x0b, 0x10, 0x01, 0x18, 0x01, 0x22, 0x05, 0x68, 0x65, 0x6c, 0x6c, 0x6f, 0x00, 0x00, 0x00,
    // state: term 1, vote 1, commit 1
    0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x08, 0x03, 0x10, 0xfb, 0xc4, 0xe0, 0xa3, 0x06,
    0x1a, 0x06, 0x08, 0x01, 0x10, 0x01, 0x18, 0x01,
    // snapshot: index 1, term 1, voter 1
    0x12, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x86, 0x08, 0x05, 0x10, 0xe9, 0xb8, 0xa3, 0xf2, 0x0d,
    0x1a, 0x08, 0x08, 0x01, 0x10, 0x01, 0x1a, 0x02, 0x08, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
];

#[test]
fn a_small_log_is_byte_for_byte_as_worked_out_by_hand() {
    let disk = SimDisk::new(1);
    let metadata = Metadata { member_id: 1, cluster_id: 2 };
    let mut wal = Wal::create_sized(Arc::new(disk.clone()), Path::new(DIR), metadata, 512).unwrap();
    let entry = Entry { r#type: 0, term: 1, index: 1, data: Bytes::from_static(b"hello") };
    wal.append(&[entry], Some(&HardState { term: 1, vote: 1, commit: 1 })).unwrap();
    let conf_state = Some(ConfState { voters: vec![1], ..ConfState::default() });
    wal.record_snapshot(&Snapshot { index: 1, term: 1, conf_state }).unwrap();
    let file = disk.open(&Path::new(DIR).join("0000000000000000-0000000000000000.wal")).unwrap();
    let bytes = file.read(0, 512).unwrap();
    assert_eq!(&bytes[..BY_HAND.len()], BY_HAND);
    assert!(bytes[BY_HAND.len()..].iter().all(|&byte| byte == 0));
}

/// See `tests/fixtures/wal-by-etcd/README.md`.
#[test]
fn a_log_written_by_etcd_is_read_and_continued() {
    const FILES: [(&str, &[u8]); 2] = [
        (
            "0000000000000000-0000000000000000.wal",
            include_bytes!("../fixtures/wal-by-etcd/0000000000000000-0000000000000000.wal"),
        ),
        (
            "0000000000000001-0000000000000008.wal",
            include_bytes!("../fixtures/wal-by-etcd/0000000000000001-0000000000000008.wal"),
        ),
    ];
    let disk = SimDisk::new(1);
    disk.create_dir(Path::new(DIR)).unwrap();
    for (name, bytes) in FILES {
        disk.create(&Path::new(DIR).join(name)).unwrap().write_at(0, bytes).unwrap();
    }
    let (mut wal, found) = open(&disk, 0).unwrap();
    let member_id = 0x8e9e_05c5_2164_694d;
    assert_eq!(found.metadata, Metadata { member_id, cluster_id: 0x2a });
    assert_eq!(found.hard_state, HardState { term: 2, vote: member_id, commit: 11 });
    let written = |index: u64| Entry {
        r#type: i32::from(index == 1),
        term: 2,
        index,
        data: vec![index as u8; 700].into(),
    };
    assert_eq!(found.entries, (1..=12).map(written).collect::<Vec<_>>());
    let conf_state = Some(ConfState { voters: vec![member_id], ..ConfState::default() });
    assert_eq!(found.snapshots, [Snapshot::default(), Snapshot { index: 5, term: 2, conf_state }]);
    assert_eq!(found.repaired, None);

    wal.append(&[written(13)], None).unwrap();
    assert_eq!(open(&disk, 5).unwrap().1.entries, (6..=13).map(written).collect::<Vec<_>>());
}
