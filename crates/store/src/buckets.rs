//! The control tables as etcd keeps them in its database: for the hash over all of it, and for snapshots.
//!
//! etcd's database is a row of buckets in the order of their names, each a row of keys with values; its
//! `Hash` goes over names, keys and values. What differs between members of a cluster is left out of it: the
//! log's position and the version of the format. Two things are not as in etcd: leases take no part, and no
//! record is kept of a downgrade that has ended.

use disk::Revision;
use prost::Message;
use proto::etcdserverpb::AlarmType;
use proto::member_json;

use crate::Control;

/// The revision of the users and roles of a cluster that never had any.
pub(crate) const FIRST_AUTH_REVISION: u64 = 1;

/// The bytes of the buckets before and after that of the keys.
pub(crate) fn around_keys(control: &Control, compact_revision: i64) -> (Vec<u8>, Vec<u8>) {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    bucket(&mut before, "alarm", alarms(control));
    let auth_revision = FIRST_AUTH_REVISION.to_be_bytes().to_vec();
    bucket(&mut before, "auth", [("authRevision".into(), auth_revision)]);
    bucket(&mut before, "authRoles", []);
    bucket(&mut before, "authUsers", []);
    bucket(&mut before, "cluster", cluster(control));
    bucket(&mut after, "lease", []);
    bucket(&mut after, "members", members(control));
    bucket(&mut after, "members_removed", removed(control));
    bucket(&mut after, "meta", meta(control, compact_revision));
    (before, after)
}

pub(crate) type Row = (Vec<u8>, Vec<u8>);

fn bucket(out: &mut Vec<u8>, name: &str, rows: impl IntoIterator<Item = Row>) {
    let mut rows: Vec<Row> = rows.into_iter().collect();
    rows.sort_unstable();
    out.extend_from_slice(name.as_bytes());
    for (key, value) in rows {
        out.extend_from_slice(&key);
        out.extend_from_slice(&value);
    }
}

pub(crate) fn alarms(control: &Control) -> impl Iterator<Item = Row> {
    let alarms = control.alarms().of_kind(AlarmType::None as i32);
    alarms.into_iter().map(|alarm| (alarm.encode_to_vec(), Vec::new()))
}

pub(crate) fn cluster(control: &Control) -> impl Iterator<Item = Row> {
    let version = ("clusterVersion".into(), control.cluster_version().into());
    let downgrade = control.downgrade_target().map(|target| {
        let json = format!(r#"{{"target-version":"{target}","enabled":true}}"#);
        ("downgrade".into(), json.into_bytes())
    });
    std::iter::once(version).chain(downgrade)
}

pub(crate) fn members(control: &Control) -> impl Iterator<Item = Row> {
    control.members().map(|member| (hex(member.id), member_json::encode(member).into_bytes()))
}

pub(crate) fn removed(control: &Control) -> impl Iterator<Item = Row> {
    control.removed_members().map(|id| (hex(id), "removed".into()))
}

fn hex(id: u64) -> Vec<u8> {
    format!("{id:x}").into_bytes()
}

fn meta(control: &Control, compact_revision: i64) -> Vec<Row> {
    let voters: Vec<_> = control.members().map(|member| member.id.to_string()).collect();
    let conf_state = format!(r#"{{"voters":[{}],"auto_leave":false}}"#, voters.join(","));
    let mut rows = vec![("confState".into(), conf_state.into_bytes())];
    if compact_revision >= 0 {
        let revision = Revision { main: compact_revision, sub: 0 }.to_key().to_vec();
        rows.push(("finishedCompactRev".into(), revision.clone()));
        rows.push(("scheduledCompactRev".into(), revision));
    }
    rows
}

#[cfg(test)]
mod tests {
    use proto::etcdserverpb::{AlarmRequest, Member};

    use super::*;
    use crate::MemberChange;

    /// The member of the etcd 3.7.1 that the hashes were asked of.
    fn control() -> Control {
        let mut control = Control::default();
        let member = Member {
            id: 13_822_187_967_963_654_688,
            name: "default".into(),
            peer_ur_ls: vec!["http://127.0.0.1:41801".into()],
            client_ur_ls: vec!["http://127.0.0.1:41791".into()],
            is_learner: false,
        };
        control.change_member(&MemberChange::Add(member), 1).unwrap();
        control.set_cluster_version("3.7.0");
        control
    }

    fn hash(control: &Control) -> u32 {
        let (before, after) = around_keys(control, -1);
        crc32c::crc32c(&[&before[..], b"key", &after].concat())
    }

    #[test]
    fn the_hash_of_an_empty_store_is_etcds() {
        assert_eq!(hash(&control()), 1_717_644_054);
    }

    #[test]
    fn alarms_take_part_in_the_hash() {
        let mut control = control();
        control.alarms_mut().apply(&AlarmRequest { action: 1, member_id: 5, alarm: 1 });
        assert_ne!(hash(&control), 1_717_644_054);
    }
}
