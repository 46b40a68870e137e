//! Reading the buckets of a database that become tables of a checkpoint: all but that of the keys.

use disk::bolt::{Bucket, Reader};
use prost::Message;
use proto::checkpointpb::Checkpoint;
use proto::etcdserverpb::AlarmMember;
use proto::{database_json, leasepb, member_json};

use super::import::{ImportError, find};
use super::meta::Meta;
use crate::lease::TTL_MAX_S;

/// Bytes of a row of a table at most: far more than the members of a cluster need.
const ROW_LEN_MAX: usize = 1 << 20;

/// Everything but revision and segments.
pub(super) fn read(database: &mut Reader, buckets: &[Bucket]) -> Result<Checkpoint, ImportError> {
    let meta = read_meta(database, find(database, buckets, "meta")?)?;
    refuse_users(database, buckets)?;
    let mut checkpoint = Checkpoint {
        applied_index: meta.applied_index,
        applied_term: meta.applied_term,
        conf_state: Some(meta.conf_state),
        compact_revision: meta.scheduled_compaction.max(meta.finished_compaction),
        ..Checkpoint::default()
    };
    for (name, read_row) in TABLES {
        let Some(bucket) = buckets.iter().find(|bucket| bucket.name == name.as_bytes()) else { continue };
        let mut read_one = |key: &[u8], value: &[u8]| read_row(&mut checkpoint, key, value).is_some();
        read_bucket(database, bucket, name, &mut read_one)?;
    }
    Ok(checkpoint)
}

/// Takes a row into the checkpoint; `None` if it is not one of the bucket.
type ReadRow = fn(&mut Checkpoint, &[u8], &[u8]) -> Option<()>;

const TABLES: [(&str, ReadRow); 5] = [
    ("alarm", read_alarm),
    ("cluster", read_cluster),
    ("lease", read_lease),
    ("members", read_member),
    ("members_removed", read_removed),
];

fn read_bucket(
    database: &mut Reader,
    bucket: &Bucket,
    name: &str,
    read_row: &mut dyn FnMut(&[u8], &[u8]) -> bool,
) -> Result<(), ImportError> {
    let mut entries = database.entries(bucket)?;
    while let Some(entry) = entries.next().transpose()? {
        let is_short = entry.key.len() + entry.value.len() <= ROW_LEN_MAX;
        if !is_short || !read_row(&entry.key, &entry.value) {
            let key = String::from_utf8_lossy(&entry.key[..entry.key.len().min(64)]).into_owned();
            let expected = format!("in bucket {name} at {key:?}: a row of this bucket");
            return Err(entries.corrupt(entry.page, expected).into());
        }
    }
    Ok(())
}

fn read_meta(database: &mut Reader, bucket: &Bucket) -> Result<Meta, ImportError> {
    let mut meta = Meta::empty();
    read_bucket(database, bucket, "meta", &mut |key, value| meta.read_row(key, value))?;
    Ok(meta)
}

/// There are no users here yet. A database that has some must not lose them silently, and with them what they guard.
fn refuse_users(database: &mut Reader, buckets: &[Bucket]) -> Result<(), ImportError> {
    for name in ["auth", "authRoles", "authUsers"] {
        let Some(bucket) = buckets.iter().find(|bucket| bucket.name == name.as_bytes()) else { continue };
        let mut entries = database.entries(bucket)?;
        while let Some(entry) = entries.next().transpose()? {
            let is_of_nobody = match &entry.key[..] {
                b"authRevision" => true,
                b"authEnabled" => entry.value == [0][..],
                _ => false,
            };
            if !is_of_nobody {
                return Err(ImportError::Unsupported {
                    what: "users or roles, which this version does not know",
                });
            }
        }
    }
    Ok(())
}

fn read_alarm(checkpoint: &mut Checkpoint, key: &[u8], _value: &[u8]) -> Option<()> {
    checkpoint.alarms.push(AlarmMember::decode(key).ok()?);
    Some(())
}

fn read_cluster(checkpoint: &mut Checkpoint, key: &[u8], value: &[u8]) -> Option<()> {
    match key {
        b"clusterVersion" => checkpoint.cluster_version = version(str::from_utf8(value).ok()?)?,
        b"downgrade" => {
            let target = database_json::decode_downgrade_target(value)?;
            checkpoint.downgrade_target = if target.is_empty() { target } else { version(&target)? };
        }
        _ => {}
    }
    Some(())
}

/// The text, if it is a version: three numbers.
fn version(text: &str) -> Option<String> {
    let is_number = |part: &str| part.parse::<u32>().is_ok();
    (text.split('.').count() == 3 && text.split('.').all(is_number)).then(|| text.to_owned())
}

fn read_lease(checkpoint: &mut Checkpoint, key: &[u8], value: &[u8]) -> Option<()> {
    let id = i64::from_be_bytes(key.try_into().ok()?);
    let lease = leasepb::Lease::decode(value).ok()?;
    let is_sound = lease.id == id
        && id != 0
        && (1..=TTL_MAX_S).contains(&lease.ttl)
        && (0..=TTL_MAX_S).contains(&lease.remaining_ttl);
    checkpoint.leases.push(lease);
    is_sound.then_some(())
}

fn read_member(checkpoint: &mut Checkpoint, key: &[u8], value: &[u8]) -> Option<()> {
    let member = member_json::decode(value)?;
    let is_sound = hex(key)? == member.id;
    checkpoint.members.push(member);
    is_sound.then_some(())
}

fn read_removed(checkpoint: &mut Checkpoint, key: &[u8], _value: &[u8]) -> Option<()> {
    checkpoint.removed_members.push(hex(key)?);
    Some(())
}

fn hex(key: &[u8]) -> Option<u64> {
    u64::from_str_radix(str::from_utf8(key).ok()?, 16).ok()
}
