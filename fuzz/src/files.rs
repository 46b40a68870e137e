//! Files of the data directory: opening must end in an error or in a file that can be read to its end.
//!
//! Each input is tried as it is, which tests that damage is noticed. Where a checksum would hide the decoder
//! behind it, the input is also tried with corrected checksums.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use disk::revision_log::Options;
use disk::{
    Disk, Error, Location, RecordMeta, Revision, RevisionLog, SimDisk, checkpoint as checkpoint_file,
};
use prost::Message;
use proto::checkpointpb::{Checkpoint, Segment};
use proto::etcdserverpb::Member;
use proto::mvccpb::KeyValue;
use proto::raftpb::ConfState;

/// The data directory.
const DIR: &str = "/data";

/// Small, so that a few records fill more than one segment.
const OPTIONS: Options = Options { segment_bytes: 2048 };

/// The `checkpoint` file. An accepted one must be the same after it was saved again.
pub fn checkpoint(data: &[u8]) {
    for data in [data.to_vec(), seal_checkpoint(data)] {
        let disk = disk_with(&[("checkpoint", &data)]);
        if let Ok(Some(body)) = checkpoint_file::load(&*disk, Path::new(DIR)) {
            checkpoint_file::save(&*disk, Path::new(DIR), &body).expect("the disk is sound");
            let again = checkpoint_file::load(&*disk, Path::new(DIR)).expect("just saved");
            assert_eq!(again, Some(body));
        }
    }
}

/// A segment of the revision log. Each visited record must be readable at its location.
pub fn segment(data: &[u8]) {
    for data in [data.to_vec(), seal_segment(data)] {
        let listed = Segment { length: data.len() as u64, sealed: false, ..SAMPLE.listed[0] };
        let disk = disk_with(&[(&file_name(&listed, "seg"), &data)]);
        if let Ok(log) = RevisionLog::open(disk, Path::new(DIR), OPTIONS, &[listed])
            && let Ok(records) = visit(&log)
        {
            read_all(&log, &records);
        }
    }
}

/// The sidecar of a sound segment. A damaged one must not change what is visited.
pub fn sidecar(data: &[u8]) {
    let listed = &SAMPLE.listed[..1];
    let names = ["seg", "idx"].map(|extension| file_name(&listed[0], extension));
    let disk = disk_with(&[(&names[0], &SAMPLE.segment), (&names[1], data)]);
    let log = RevisionLog::open(disk, Path::new(DIR), OPTIONS, listed).expect("the segment is sound");
    let records = visit(&log).expect("the segment is sound");
    assert_eq!(records, SAMPLE.records);
    read_all(&log, &records);
}

type Visited = (Vec<u8>, RecordMeta, Location);

fn visit(log: &RevisionLog) -> Result<Vec<Visited>, Error> {
    let mut records = Vec::new();
    log.load(&mut |key, meta, at| records.push((key.to_vec(), *meta, at)))?;
    records.sort_by_key(|(_, meta, _)| meta.revision);
    Ok(records)
}

/// Reads what was visited one by one and in a scan.
fn read_all(log: &RevisionLog, records: &[Visited]) {
    let reader = log.reader();
    let scanned: Vec<_> = reader
        .scan(Revision { main: i64::MIN, sub: 0 })
        .map(|record| record.expect("a visited record can be scanned"))
        .collect();
    assert_eq!(scanned.len(), records.len());
    for ((key, meta, at), record) in records.iter().zip(&scanned) {
        let key_value = reader.read(*at).expect("a visited record can be read");
        assert_eq!((record.key(), record.meta, record.at), (key.as_slice(), *meta, *at));
        assert_eq!(record.key_value(), key_value);
    }
}

/// Corrects the length and the checksum of a checkpoint; offsets as documented in `disk::checkpoint`.
fn seal_checkpoint(data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    if let Some(body_len) = data.len().checked_sub(24) {
        data[12..20].copy_from_slice(&(body_len as u64).to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&data[..20]), &data[24..]);
        data[20..24].copy_from_slice(&crc.to_le_bytes());
    }
    data
}

/// Corrects the checksums of a segment's header and records; offsets as documented in `disk::revision_log`.
fn seal_segment(data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    if let Some((head, mut rest)) = data.split_at_mut_checked(32) {
        let crc = crc32c::crc32c(&head[..28]);
        head[28..].copy_from_slice(&crc.to_le_bytes());
        while let Some(len) = rest.get(4..).and_then(|bytes| bytes.first_chunk()) {
            let end = 52 + u32::from_le_bytes(*len) as usize;
            let Some((record, next)) = rest.split_at_mut_checked(end) else { break };
            let crc = crc32c::crc32c(&record[4..]);
            record[..4].copy_from_slice(&crc.to_le_bytes());
            rest = next;
        }
    }
    data
}

/// A revision log of two segments, of which the first is sealed, as our own code writes it.
struct Sample {
    listed: Vec<Segment>,
    /// The first segment, its sidecar, and its records.
    segment: Vec<u8>,
    sidecar: Vec<u8>,
    records: Vec<Visited>,
}

static SAMPLE: LazyLock<Sample> = LazyLock::new(|| Sample::write().expect("the disk is sound"));

impl Sample {
    fn write() -> Result<Sample, Error> {
        let disk = disk_with(&[]);
        let mut log = RevisionLog::open(disk.clone(), Path::new(DIR), OPTIONS, &[])?;
        for main in 2.. {
            append(&mut log, main)?;
            log.flush()?;
            if log.segments().len() == 2 {
                break;
            }
        }
        log.sync_job().run()?;
        let listed = log.segments();
        let mut records = visit(&log)?;
        records.retain(|(_, _, at)| u64::from(at.segment) == listed[0].id);
        let segment = read(&*disk, &file_name(&listed[0], "seg"));
        let length = usize::try_from(listed[0].length).expect("a small file");
        let sidecar = read(&*disk, &file_name(&listed[0], "idx"));
        Ok(Sample { segment: segment[..length].to_vec(), sidecar, records, listed })
    }
}

fn append(log: &mut RevisionLog, main: i64) -> Result<(), Error> {
    let tombstone = main % 5 == 0;
    let key_value = KeyValue {
        key: Bytes::from(format!("key-{main}")),
        value: Bytes::from(vec![b'v'; if tombstone { 0 } else { 100 }]),
        mod_revision: main,
        ..KeyValue::default()
    };
    let meta = RecordMeta { revision: Revision { main, sub: 0 }, tombstone, ..RecordMeta::default() };
    log.append(&meta, &key_value.encode_to_vec()).map(drop)
}

pub(crate) fn segment_seeds() -> Vec<Vec<u8>> {
    vec![SAMPLE.segment.clone()]
}

pub(crate) fn sidecar_seeds() -> Vec<Vec<u8>> {
    vec![SAMPLE.sidecar.clone()]
}

pub(crate) fn checkpoint_seeds() -> Vec<Vec<u8>> {
    let member = Member { id: 1, name: "a".to_owned(), ..Member::default() };
    let full = Checkpoint {
        applied_index: 9,
        applied_term: 2,
        conf_state: Some(ConfState { voters: vec![1], ..ConfState::default() }),
        revision: 7,
        segments: SAMPLE.listed.clone(),
        members: vec![member],
        ..Checkpoint::default()
    };
    [Checkpoint::default(), full].iter().map(checkpoint_bytes).collect()
}

fn checkpoint_bytes(body: &Checkpoint) -> Vec<u8> {
    let disk = disk_with(&[]);
    checkpoint_file::save(&*disk, Path::new(DIR), body).expect("the disk is sound");
    read(&*disk, "checkpoint")
}

fn file_name(segment: &Segment, extension: &str) -> String {
    format!("{:016x}.{extension}", segment.id)
}

/// A disk with these files in [`DIR`].
pub(crate) fn disk_with(files: &[(&str, &[u8])]) -> Arc<SimDisk> {
    let disk = SimDisk::new(0);
    disk.create_dir(Path::new(DIR)).expect("the disk is empty");
    for (name, bytes) in files {
        let file = disk.create(&Path::new(DIR).join(name)).expect("the name is free");
        file.write_at(0, bytes).expect("the disk is sound");
    }
    Arc::new(disk)
}

/// The content of a file in [`DIR`].
pub(crate) fn read(disk: &dyn Disk, name: &str) -> Vec<u8> {
    let file = disk.open(&Path::new(DIR).join(name)).expect("the file was written");
    let mut bytes = vec![0; file.len().expect("the disk is sound") as usize];
    file.read_at(0, &mut bytes).expect("the disk is sound");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealing_leaves_sound_files_as_they_are() {
        assert_eq!(seal_segment(&SAMPLE.segment), SAMPLE.segment);
        for seed in checkpoint_seeds() {
            assert_eq!(seal_checkpoint(&seed), seed);
        }
    }

    #[test]
    fn the_sample_fills_a_segment_with_both_kinds_of_records() {
        assert!(SAMPLE.listed[0].sealed && SAMPLE.records.len() > 5);
        assert!(SAMPLE.records.iter().any(|(_, meta, _)| meta.tombstone));
        assert!(!SAMPLE.sidecar.is_empty());
    }
}
