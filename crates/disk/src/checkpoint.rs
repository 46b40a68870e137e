//! The checkpoint file: all that a member trusts after a crash besides its raft log, replaced as a whole.
//!
//! All numbers are little-endian.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic `FERRETCP` |
//! | 8 | 4 | format version, 1 |
//! | 12 | 8 | length of the body |
//! | 20 | 4 | CRC-32C of everything else |
//! | 24 | | `checkpointpb.Checkpoint`, protobuf |
//!
//! Why one file and in which order it is replaced: `docs/checkpoint.md`.

use std::io;
use std::path::{Path, PathBuf};

use prost::Message;
use proto::checkpointpb::Checkpoint;

use crate::directory::{Directory, remove_if_there};
use crate::{Disk, Error};

const FILE: &str = "checkpoint";
const STAGED_FILE: &str = "checkpoint.tmp";

const MAGIC: [u8; 8] = *b"FERRETCP";
const FORMAT: u32 = 1;
const HEAD_LEN: usize = 24;

/// Replaces the checkpoint in `dir`, which must exist, durably and atomically: after a crash at any point the old one
/// or the new one is there, whole. What the body refers to must be durable before. Returns the length of the file.
///
/// After an error that [`Error::may_be_retried`] the old one still counts, and the call may be repeated. After any
/// other error it is unknown which one a crash would leave.
pub fn save(disk: &dyn Disk, dir: &Path, body: &Checkpoint) -> Result<u64, Error> {
    let staged = dir.join(STAGED_FILE);
    // Opened before anything changes: what it is needed for last must not fail for want of a file descriptor.
    let directory = Directory::open(disk, dir)?;
    remove_if_there(disk, &staged)?;
    let bytes = encode(body);
    let renamed = stage(disk, &staged, &bytes)
        .and_then(|()| disk.rename(&staged, &dir.join(FILE)).map_err(Error::io("rename", &staged)));
    if let Err(error) = renamed {
        // Gives back what space was taken; the next call removes it otherwise.
        let _ = disk.remove(&staged);
        return Err(error);
    }
    let is_sync_skipped = crate::seeded_bug!("checkpoint-name-not-synced");
    if !is_sync_skipped {
        directory.sync()?;
    }
    Ok(bytes.len() as u64)
}

/// Where the checkpoint of `dir` lies.
pub fn path(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

/// Reads the checkpoint in `dir`. `None` if none was ever saved; [`Error::Corrupt`] if it does not hold what was
/// saved.
///
/// Its name is durable when this returns: a process may have been killed between renaming it and syncing the directory,
/// and whoever loads it goes on to remove what the checkpoint before it needed.
pub fn load(disk: &dyn Disk, dir: &Path) -> Result<Option<Checkpoint>, Error> {
    let path = path(dir);
    let file = match disk.open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("open", &path)(error)),
    };
    Directory::open(disk, dir)?.sync()?;
    let len = file.len().map_err(Error::io("measure", &path))?;
    let too_long = |_| Error::corrupt(&path, 0, "a file that fits the memory");
    let mut bytes = vec![0; usize::try_from(len).map_err(too_long)?];
    file.read_at(0, &mut bytes).map_err(Error::read(&path, 0))?;
    decode(&bytes).map(Some).map_err(|(offset, expected)| Error::corrupt(&path, offset, expected))
}

fn stage(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let file = disk.create(path).map_err(Error::io("create", path))?;
    file.write_at(0, bytes).map_err(Error::io("write", path))?;
    file.sync().map_err(Error::io("sync", path))
}

fn encode(body: &Checkpoint) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_LEN + body.encoded_len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&(body.encoded_len() as u64).to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&body.encode_to_vec());
    let crc = checksum(&bytes);
    bytes[20..HEAD_LEN].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The body; the error is an offset in the file and what was expected there.
fn decode(bytes: &[u8]) -> Result<Checkpoint, (u64, String)> {
    let Some((head, body)) = bytes.split_first_chunk::<HEAD_LEN>() else {
        return Err((bytes.len() as u64, format!("a head of {HEAD_LEN} bytes")));
    };
    let u32_at = |at: usize| u32::from_le_bytes(*head[at..].first_chunk().expect("within the head"));
    let body_len = u64::from_le_bytes(*head[12..].first_chunk().expect("within the head"));
    if head[..8] != MAGIC {
        return Err((0, "the magic FERRETCP of a checkpoint".into()));
    }
    if u32_at(8) != FORMAT {
        return Err((8, "checkpoint format 1".into()));
    }
    if body_len != body.len() as u64 {
        return Err((12, format!("a body length of {}, what the file holds", body.len())));
    }
    if u32_at(20) != checksum(bytes) {
        return Err((20, "the checksum of the checkpoint".into()));
    }
    Checkpoint::decode(body).map_err(|error| (HEAD_LEN as u64, format!("a protobuf Checkpoint: {error}")))
}

/// The checksum of all bytes but its own.
fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..20]), &bytes[HEAD_LEN..])
}

#[cfg(test)]
mod tests {
    use proto::checkpointpb::Segment;

    use super::*;
    use crate::SimDisk;

    const DIR: &str = "/d";

    fn disk(seed: u64) -> SimDisk {
        let disk = SimDisk::new(seed);
        disk.create_dir(Path::new(DIR)).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        disk
    }

    fn body(applied_index: u64) -> Checkpoint {
        let segments = vec![Segment { id: 3, first_revision: 2, length: 4096, sealed: true }];
        Checkpoint { applied_index, segments, cluster_version: "3.7.0".into(), ..Default::default() }
    }

    fn load_from(disk: &SimDisk) -> Result<Option<Checkpoint>, Error> {
        load(disk, Path::new(DIR))
    }

    #[test]
    fn the_last_one_saved_is_loaded() {
        let disk = disk(1);
        assert_eq!(load_from(&disk).unwrap(), None);
        for applied_index in 1..4 {
            save(&disk, Path::new(DIR), &body(applied_index)).unwrap();
            assert_eq!(load_from(&disk).unwrap(), Some(body(applied_index)));
        }
        assert_eq!(disk.list(Path::new(DIR)).unwrap(), [FILE]);
    }

    #[test]
    fn a_checkpoint_of_nothing_can_be_saved() {
        let disk = disk(1);
        save(&disk, Path::new(DIR), &Checkpoint::default()).unwrap();
        assert_eq!(load_from(&disk).unwrap(), Some(Checkpoint::default()));
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let disk = disk(1);
        save(&disk, Path::new(DIR), &body(7)).unwrap();
        let path = Path::new(DIR).join(FILE);
        for bit in 0..disk.open(&path).unwrap().len().unwrap() * 8 {
            disk.flip_bit(&path, bit / 8, (bit % 8) as u8).unwrap();
            match load_from(&disk) {
                Err(Error::Corrupt { path: named, .. }) => assert_eq!(named, path),
                other => panic!("bit {bit}: {other:?}"),
            }
            disk.flip_bit(&path, bit / 8, (bit % 8) as u8).unwrap();
        }
        assert_eq!(load_from(&disk).unwrap(), Some(body(7)));
    }

    #[test]
    fn a_file_of_another_length_is_noticed() {
        let disk = disk(1);
        save(&disk, Path::new(DIR), &body(7)).unwrap();
        let file = disk.open(&Path::new(DIR).join(FILE)).unwrap();
        let len = file.len().unwrap();
        for wrong in (0..len).rev().chain([len + 1]) {
            file.set_len(wrong).unwrap();
            assert!(matches!(load_from(&disk), Err(Error::Corrupt { .. })), "{wrong} bytes");
        }
    }

    #[test]
    fn power_lost_at_any_effect_leaves_the_old_or_the_new_one() {
        let mut found = [0, 0];
        for (seed, n) in (0..40).flat_map(|seed| (0..5).map(move |n| (seed, n))) {
            let disk = disk(seed);
            save(&disk, Path::new(DIR), &body(0)).unwrap();
            disk.crash_at_op(n);
            assert!(save(&disk, Path::new(DIR), &body(1)).is_err(), "{n} effects are too few");
            disk.crash();
            let applied_index = load_from(&disk).unwrap().expect("one of the two").applied_index;
            assert!(applied_index == 0 || n >= 4, "the new one before its rename, at effect {n}");
            found[usize::try_from(applied_index).unwrap()] += 1;
            save(&disk, Path::new(DIR), &body(2)).unwrap();
            assert_eq!(load_from(&disk).unwrap(), Some(body(2)));
        }
        assert!(found.iter().all(|n| *n > 0), "{found:?}");
    }

    #[test]
    fn a_saved_one_outlives_a_loss_of_power() {
        for seed in 0..40 {
            let disk = disk(seed);
            save(&disk, Path::new(DIR), &body(5)).unwrap();
            disk.crash();
            assert_eq!(load_from(&disk).unwrap(), Some(body(5)));
        }
    }

    #[test]
    fn a_loaded_one_outlives_a_loss_of_power_though_its_writer_was_killed() {
        for (seed, n) in (0..20).flat_map(|seed| (0..6).map(move |n| (seed, n))) {
            let disk = disk(seed);
            save(&disk, Path::new(DIR), &body(5)).unwrap();
            disk.crash_at_op(n);
            let _ = save(&disk, Path::new(DIR), &body(6));
            disk.kill();
            let loaded = load_from(&disk).unwrap();
            disk.crash();
            assert_eq!(load_from(&disk).unwrap(), loaded, "seed {seed}, killed after {n} effects");
        }
    }

    #[test]
    fn a_full_disk_keeps_the_old_one_and_leaves_nothing_behind() {
        let disk = disk(1);
        save(&disk, Path::new(DIR), &body(5)).unwrap();
        for spare in 0..30 {
            let used = disk.used();
            disk.set_capacity(Some(used + spare));
            let refused = save(&disk, Path::new(DIR), &body(6));
            assert!(matches!(refused, Err(Error::NoSpace { .. })), "{spare} bytes to spare");
            assert_eq!(load_from(&disk).unwrap(), Some(body(5)));
            assert_eq!(disk.list(Path::new(DIR)).unwrap(), [FILE]);
        }
        disk.set_capacity(None);
        save(&disk, Path::new(DIR), &body(6)).unwrap();
        assert_eq!(load_from(&disk).unwrap(), Some(body(6)));
    }

    #[test]
    fn what_an_interrupted_save_left_is_replaced() {
        let disk = disk(1);
        disk.create(&Path::new(DIR).join(STAGED_FILE)).unwrap().write_at(0, b"half").unwrap();
        assert_eq!(load_from(&disk).unwrap(), None);
        save(&disk, Path::new(DIR), &body(5)).unwrap();
        assert_eq!(disk.list(Path::new(DIR)).unwrap(), [FILE]);
    }
}
