//! The revision log against files that are not what was written.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk::{Disk, Error, RealDisk, SimDisk};
use proto::checkpointpb::Segment;

use crate::revision_log_rig::*;

fn path(segment: &Segment, extension: &str) -> PathBuf {
    Path::new(DIR).join(format!("{:016x}.{extension}", segment.id))
}

/// Several sealed segments and a tail, all durable.
fn sample() -> (SimDisk, Vec<Segment>) {
    let disk = SimDisk::new(1);
    let mut log = open(&disk, &[]).unwrap();
    fill(&mut log, 2..=45);
    let listed = sync(&mut log).unwrap();
    assert!(listed.len() >= 4);
    (disk, listed)
}

#[test]
fn any_changed_byte_of_a_mapped_record_is_noticed_when_it_is_appended_to_an_answer() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("log");
    let mut log = open_on(Arc::new(RealDisk), &dir, &[]).unwrap();
    let places = fill(&mut log, 2..=4);
    let segments = log.reader().snapshot();
    let append = |out: &mut Vec<u8>| segments.append_all(&places, |out, len| out.push(len as u8), out);
    let mut expected = Vec::new();
    for &at in &places {
        expected.push(at.len as u8);
        expected.extend_from_slice(&segments.read(at).unwrap());
    }
    let mut whole = Vec::new();
    append(&mut whole).unwrap();
    assert_eq!(whole, expected);
    let before = 1 + places[0].len as usize;
    let file = File::options().read(true).write(true).open(dir.join("0000000000000001.seg")).unwrap();
    for at in (places[1].offset.into()..).take(places[1].record_len() as usize) {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[!byte[0]], at).unwrap();
        let mut out = Vec::new();
        assert!(matches!(append(&mut out), Err(Error::Corrupt { .. })), "byte {at}");
        assert_eq!(out[..before], whole[..before]);
        assert_eq!(out.len(), before + 1, "nothing of the damaged record is there");
        file.write_all_at(&byte, at).unwrap();
    }
}

/// Opens, loads and reads every record.
fn read_everything(disk: &SimDisk, listed: &[Segment]) -> Result<usize, Error> {
    let log = open(disk, listed)?;
    let records = load(&log)?;
    for (_, _, at) in &records {
        log.read(*at)?;
    }
    Ok(records.len())
}

#[test]
fn any_flipped_bit_of_a_segment_is_noticed() {
    let (disk, listed) = sample();
    for segment in [&listed[0], listed.last().unwrap()] {
        let path = path(segment, "seg");
        for at in 0..segment.length {
            let bit = (at % 8) as u8;
            disk.flip_bit(&path, at, bit).unwrap();
            match read_everything(&disk, &listed) {
                Err(Error::Corrupt { path: named, offset, .. }) => {
                    assert_eq!(named, path);
                    assert!(offset <= at, "byte {at} reported at {offset}");
                }
                other => panic!("byte {at}: {other:?}"),
            }
            disk.flip_bit(&path, at, bit).unwrap();
        }
    }
    assert_eq!(read_everything(&disk, &listed).unwrap(), 44);
}

#[test]
fn any_flipped_bit_of_a_sidecar_does_no_harm() {
    let (disk, listed) = sample();
    let expected = load(&open(&disk, &listed).unwrap()).unwrap();
    let sidecar = path(&listed[0], "idx");
    for at in 0..disk.open(&sidecar).unwrap().len().unwrap() {
        disk.flip_bit(&sidecar, at, 3).unwrap();
        assert_eq!(load(&open(&disk, &listed).unwrap()).unwrap(), expected, "byte {at}");
        disk.flip_bit(&sidecar, at, 3).unwrap();
    }
}

#[test]
fn a_sidecar_cut_at_any_length_does_no_harm() {
    let (disk, listed) = sample();
    let expected = load(&open(&disk, &listed).unwrap()).unwrap();
    let sidecar = disk.open(&path(&listed[0], "idx")).unwrap();
    for len in (0..sidecar.len().unwrap()).rev() {
        sidecar.set_len(len).unwrap();
        assert_eq!(load(&open(&disk, &listed).unwrap()).unwrap(), expected, "cut at {len}");
    }
}

#[test]
fn the_sidecar_of_another_segment_is_not_believed() {
    let (disk, listed) = sample();
    let expected = load(&open(&disk, &listed).unwrap()).unwrap();
    disk.rename(&path(&listed[1], "idx"), &path(&listed[0], "idx")).unwrap();
    assert_eq!(load(&open(&disk, &listed).unwrap()).unwrap(), expected);
}

#[test]
fn a_segment_shorter_than_listed_is_corrupt() {
    let (disk, listed) = sample();
    let path = path(&listed[1], "seg");
    disk.open(&path).unwrap().set_len(listed[1].length - 1).unwrap();
    let error = open(&disk, &listed).unwrap_err();
    assert!(matches!(&error, Error::Corrupt { path: named, .. } if *named == path), "{error}");
}

#[test]
fn a_missing_segment_is_named() {
    let (disk, listed) = sample();
    disk.remove(&path(&listed[1], "seg")).unwrap();
    let error = open(&disk, &listed).unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error}");
    assert!(error.to_string().contains("0000000000000002.seg"), "{error}");
}

#[test]
fn a_segment_under_another_name_is_corrupt() {
    let (disk, listed) = sample();
    disk.rename(&path(&listed[1], "seg"), &path(&listed[0], "seg")).unwrap();
    let error = open(&disk, &listed).unwrap_err();
    assert!(error.to_string().contains("expected segment id 1"), "{error}");
}

#[test]
fn a_list_that_contradicts_the_segments_is_refused() {
    let (disk, listed) = sample();
    let mut swapped = listed.clone();
    swapped.swap(0, 1);
    let mut unsealed = listed.clone();
    unsealed[0].sealed = false;
    let mut misdated = listed.clone();
    misdated[0].first_revision += 1;
    let mut empty = listed.clone();
    empty[0].length = 10;
    let mut unnameable = listed.clone();
    unnameable[0].id = 1 << 40;
    for list in [swapped, unsealed, misdated, empty, unnameable] {
        let error = open(&disk, &list).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    }
    assert_eq!(read_everything(&disk, &listed).unwrap(), 44, "no file was touched");
}

#[test]
fn a_write_that_landed_elsewhere_is_noticed() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk, &[]).unwrap();
    fill(&mut log, 2..=15);
    let tail = path(log.segments().last().unwrap(), "seg");
    let victim = path(&log.segments()[0], "seg");
    disk.misdirect_next_write(&tail, &victim, 300).unwrap();
    let lost = fill(&mut log, 16..=16)[0];
    assert!(matches!(log.read(lost), Err(Error::Corrupt { .. })));
    let listed = sync(&mut log).unwrap_err();
    assert!(matches!(listed, Error::Corrupt { .. }), "sealing reads what it makes durable");
}

#[test]
fn a_scan_ends_at_damage_with_an_error() {
    let (disk, listed) = sample();
    disk.flip_bit(&path(&listed[1], "seg"), 400, 0).unwrap();
    let log = open(&disk, &listed).unwrap();
    let mut scan = log.reader().scan(disk::Revision::default());
    assert!(scan.by_ref().any(|record| record.is_err()));
    assert!(scan.next().is_none());
}
