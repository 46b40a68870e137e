//! The write-ahead log: opening must end in an error or in a WAL that can be appended to.
//!
//! Each input is tried as it is, which tests that damage is distinguished from a torn tail. It is also tried
//! with corrected checksums, which tests the code behind them.

use std::path::Path;

use bytes::Bytes;
use disk::wal::{Metadata, Recovered, Wal};
use disk::{Disk, Error};
use prost::{Message, encoding};
use proto::raftpb::{ConfState, Entry, HardState};
use proto::walpb;

use crate::files::{disk_with, read};

const DIR: &str = "/data/wal";
const FILE: &str = "wal/0000000000000000-0000000000000000.wal";

/// Small, so that an input holds a whole file.
const SEGMENT_BYTES: u64 = 4096;

/// The type of the record that begins a file and carries the checksum so far.
const CRC_TYPE: i64 = 4;

/// One file of the WAL. What was recovered must be recovered again, together with what is appended after it.
pub fn wal(data: &[u8]) {
    for data in [data.to_vec(), seal(data)] {
        let disk = disk_with(&[]);
        disk.create_dir(Path::new(DIR)).expect("the disk is empty");
        let file = disk.create(&Path::new("/data").join(FILE)).expect("the name is free");
        file.write_at(0, &data).expect("the disk is sound");
        let open = || Wal::open_sized(disk.clone(), Path::new(DIR), 0, SEGMENT_BYTES);
        if let Ok((mut log, first)) = open() {
            let entry = next_entry(&first);
            let hard_state = HardState { term: entry.term, ..first.hard_state };
            log.append(std::slice::from_ref(&entry), Some(&hard_state)).expect("the disk is sound");
            log.sync().expect("the disk is sound");
            drop(log);
            let (_, second) = open().expect("what was opened once can be opened again");
            let entries = [first.entries, vec![entry]].concat();
            assert_eq!(second, Recovered { hard_state, entries, repaired: None, ..first });
        }
    }
}

fn next_entry(recovered: &Recovered) -> Entry {
    let index = recovered.entries.last().map_or(1, |last| last.index + 1);
    Entry {
        term: recovered.hard_state.term.max(1),
        index,
        data: Bytes::from_static(b"next"),
        ..Entry::default()
    }
}

/// Corrects the checksums of all records; `disk::wal` describes the format.
fn seal(data: &[u8]) -> Vec<u8> {
    let (mut sealed, mut rest, mut chain) = (Vec::new(), data, 0);
    while let Some((mut record, next)) = split_record(rest) {
        if record.r#type == CRC_TYPE {
            chain = record.crc;
        } else {
            chain = crc32c::crc32c_append(chain, &record.data);
            record.crc = chain;
        }
        push_record(&mut sealed, &record);
        rest = next;
    }
    sealed.extend_from_slice(rest);
    sealed
}

/// The first record, and what follows its padding.
fn split_record(data: &[u8]) -> Option<(walpb::Record, &[u8])> {
    let (word, rest) = data.split_first_chunk::<8>()?;
    let [length @ .., padding] = *word;
    let length = length.iter().rev().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
    let (record, rest) = rest.split_at_checked(length)?;
    let record = walpb::Record::decode(record).ok().filter(|_| length > 0)?;
    Some((record, rest.get(usize::from(padding & 7)..)?))
}

/// Appends a frame; like etcd, it writes type and checksum even if they are zero.
fn push_record(out: &mut Vec<u8>, record: &walpb::Record) {
    let mut body = Vec::new();
    encoding::int64::encode(1, &record.r#type, &mut body);
    encoding::uint32::encode(2, &record.crc, &mut body);
    if !record.data.is_empty() {
        encoding::bytes::encode(3, &record.data, &mut body);
    }
    let padding = body.len().wrapping_neg() % 8;
    let flag = if padding > 0 { 0x80 } else { 0 };
    out.extend_from_slice(&(body.len() as u64 | (flag | padding as u64) << 56).to_le_bytes());
    out.extend_from_slice(&body);
    out.resize(out.len() + padding, 0);
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let file = write().expect("the disk is sound");
    // Once with the zeros that stand behind the last record, once without most of them.
    let end = file.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 16);
    vec![file[..end].to_vec(), file]
}

fn write() -> Result<Vec<u8>, Error> {
    let disk = disk_with(&[]);
    let metadata = Metadata { member_id: 1, cluster_id: 2 };
    let mut log = Wal::create_sized(disk.clone(), Path::new(DIR), metadata, SEGMENT_BYTES)?;
    for index in 1..=9 {
        let data = Bytes::from(vec![b'd'; 20 * index as usize]);
        let entry = Entry { term: 1 + index / 4, index, data, ..Entry::default() };
        let state = HardState { term: entry.term, vote: 1, commit: index - 1 };
        log.append(&[entry], (index % 3 == 0).then_some(&state))?;
    }
    let conf_state = Some(ConfState { voters: vec![1], ..ConfState::default() });
    log.record_snapshot(&walpb::Snapshot { index: 4, term: 2, conf_state })?;
    log.sync()?;
    Ok(read(&*disk, FILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealing_leaves_a_sound_file_as_it_is() {
        assert!(seeds().iter().all(|seed| seal(seed) == *seed));
    }

    #[test]
    fn sealing_mends_a_changed_byte() {
        let seed = &seeds()[0];
        let mut damaged = seed.clone();
        let at = seed.iter().rposition(|byte| *byte == b'd').unwrap();
        damaged[at] = b'e';
        assert_ne!(seal(&damaged), damaged);
    }
}
