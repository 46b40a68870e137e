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
use std::path::Path;

use prost::Message;
use proto::checkpointpb::Checkpoint;

use crate::{Disk, Error};

const FILE: &str = "checkpoint";
const STAGED_FILE: &str = "checkpoint.tmp";

const MAGIC: [u8; 8] = *b"FERRETCP";
const FORMAT: u32 = 1;
const HEAD_LEN: usize = 24;

/// Replaces the checkpoint in `dir`, which must exist, durably and atomically: after a crash at any point the old one
/// or the new one is there, whole. What the body refers to must be durable before.
///
/// After [`Error::NoSpace`] the old one still counts, and the call may be repeated once there is room. After any
/// other error it is unknown which one a crash would leave.
pub fn save(disk: &dyn Disk, dir: &Path, body: &Checkpoint) -> Result<(), Error> {
    let staged = dir.join(STAGED_FILE);
    remove_if_there(disk, &staged)?;
    if let Err(error) = stage(disk, &staged, &encode(body)) {
        // Gives back what space was taken; the next call removes it otherwise.
        let _ = disk.remove(&staged);
        return Err(error);
    }
    disk.rename(&staged, &dir.join(FILE)).map_err(Error::io("rename", &staged))?;
    disk.sync_dir(dir).map_err(Error::io("sync", dir))
}

/// Reads the checkpoint in `dir`. `None` if none was ever saved; [`Error::Corrupt`] if it does not hold what was
/// saved.
pub fn load(disk: &dyn Disk, dir: &Path) -> Result<Option<Checkpoint>, Error> {
    let path = dir.join(FILE);
    let file = match disk.open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("open", &path)(error)),
    };
    let len = file.len().map_err(Error::io("measure", &path))?;
    let mut bytes = vec![0; usize::try_from(len).expect("a file fits the address space")];
    file.read_at(0, &mut bytes).map_err(Error::io("read", &path))?;
    decode(&bytes).map(Some).map_err(|(offset, expected)| Error::corrupt(&path, offset, expected))
}

fn remove_if_there(disk: &dyn Disk, path: &Path) -> Result<(), Error> {
    match disk.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
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
