//! What a raft log entry asks the store to do.
//!
//! On the wire a command is an `etcdserverpb.InternalRaftRequest`. That message has forty optional fields of
//! which exactly one is set, next to the header; this enum reads and writes the same bytes without carrying
//! the other thirty-nine through the hot path.

mod v2;

use std::fmt;

use self::v2::V2Request;
use bytes::{Buf, Bytes, BytesMut};
use prost::encoding::{self, DecodeContext, WireType};
use prost::{DecodeError, Message};
use proto::etcdserverpb::{
    AlarmRequest, CompactionRequest, DeleteRangeRequest, LeaseCheckpointRequest, LeaseGrantRequest,
    LeaseRevokeRequest, PutRequest, RequestHeader, TxnRequest,
};
use proto::membershippb::{ClusterMemberAttrSetRequest, ClusterVersionSetRequest, DowngradeInfoSetRequest};

/// One command and who asked for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// Names the proposal; unique over the life of the cluster.
    pub id: u64,
    /// What to do.
    pub request: Request,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Write one key.
    Put(PutRequest),
    /// Delete one key or a range.
    DeleteRange(DeleteRangeRequest),
    /// Compare, then run one of two lists of operations.
    Txn(TxnRequest),
    /// Forget history up to a revision.
    Compact(CompactionRequest),
    /// Raise, clear or list alarms.
    Alarm(AlarmRequest),
    /// Grant a lease under an id that the proposer has chosen.
    LeaseGrant(LeaseGrantRequest),
    /// End a lease and delete its keys.
    LeaseRevoke(LeaseRevokeRequest),
    /// Write down how much of their time leases have left.
    LeaseCheckpoint(LeaseCheckpointRequest),
    /// Publish a member's name and client URLs.
    SetMemberAttributes(ClusterMemberAttrSetRequest),
    /// Decide the cluster version.
    SetClusterVersion(ClusterVersionSetRequest),
    /// Begin a downgrade of the cluster, or end it.
    SetDowngrade(DowngradeInfoSetRequest),
    /// Something about etcd's v2 store, which only members of etcd 3.5 and before have: nothing is done.
    V2,
}

/// Of a request of the v2 store.
const V2: u32 = 2;
const HEADER: u32 = 100;
const PUT: u32 = 4;
const DELETE_RANGE: u32 = 5;
const TXN: u32 = 6;
const COMPACTION: u32 = 7;
const LEASE_GRANT: u32 = 8;
const LEASE_REVOKE: u32 = 9;
const ALARM: u32 = 10;
const LEASE_CHECKPOINT: u32 = 11;
const CLUSTER_VERSION_SET: u32 = 1300;
const CLUSTER_MEMBER_ATTR_SET: u32 = 1301;
const DOWNGRADE_INFO_SET: u32 = 1302;

/// Bytes of memory that short commands share.
const SHARED_LEN: usize = 64 << 10;

/// A longer command has memory of its own: less than an eighth of what is shared is left unused.
const SHARING_LEN_MAX: usize = SHARED_LEN / 8;

impl Command {
    /// The protobuf bytes of the equal `InternalRaftRequest`.
    pub fn encode(&self) -> Bytes {
        let (tag, len) = self.tag_and_len();
        let mut out = BytesMut::with_capacity(len);
        self.put(tag, &mut out);
        out.freeze()
    }

    /// The same, in memory that short commands share: it costs them no allocation, and no freeing on another
    /// thread. `shared` is what is left of that memory.
    pub fn encode_in(&self, shared: &mut BytesMut) -> Bytes {
        let (tag, len) = self.tag_and_len();
        if len > SHARING_LEN_MAX {
            return self.encode();
        }
        if shared.capacity() < len {
            *shared = BytesMut::with_capacity(SHARED_LEN);
        }
        self.put(tag, shared);
        shared.split().freeze()
    }

    /// The field of its request, and the length of the whole message.
    fn tag_and_len(&self) -> (u32, usize) {
        let (tag, len) = self.request.tag_and_len();
        let field_len = encoding::key_len(tag) + encoding::encoded_len_varint(len as u64) + len;
        (tag, field_len + encoding::message::encoded_len(HEADER, &self.header()))
    }

    fn header(&self) -> RequestHeader {
        RequestHeader { id: self.id, ..RequestHeader::default() }
    }

    fn put(&self, tag: u32, out: &mut BytesMut) {
        let header = self.header();
        // Fields are in ascending order, as Go writes them. The most frequent requests have lower numbers
        // than the header.
        if tag > HEADER {
            encoding::message::encode(HEADER, &header, out);
        }
        match &self.request {
            Request::Put(r) => encoding::message::encode(tag, r, out),
            Request::DeleteRange(r) => encoding::message::encode(tag, r, out),
            Request::Txn(r) => encoding::message::encode(tag, r, out),
            Request::Compact(r) => encoding::message::encode(tag, r, out),
            Request::Alarm(r) => encoding::message::encode(tag, r, out),
            Request::LeaseGrant(r) => encoding::message::encode(tag, r, out),
            Request::LeaseRevoke(r) => encoding::message::encode(tag, r, out),
            Request::LeaseCheckpoint(r) => encoding::message::encode(tag, r, out),
            Request::SetMemberAttributes(r) => encoding::message::encode(tag, r, out),
            Request::SetClusterVersion(r) => encoding::message::encode(tag, r, out),
            Request::SetDowngrade(r) => encoding::message::encode(tag, r, out),
            Request::V2 => encoding::message::encode(tag, &V2Request::default(), out),
        }
        if tag < HEADER {
            encoding::message::encode(HEADER, &header, out);
        }
    }

    /// Reads an `InternalRaftRequest`. Fails on bytes that are not one, and on a request this version does
    /// not know: applying it differently from other members would be worse than stopping.
    pub fn decode(mut data: Bytes) -> Result<Command, CommandError> {
        if data.first() == Some(&v2::FIRST_BYTE) {
            return Ok(V2Request::decode(data)?.into_command());
        }
        let mut id = 0;
        let mut request = None;
        while data.has_remaining() {
            let (tag, wire_type) = encoding::decode_key(&mut data)?;
            match tag {
                HEADER => id = field::<RequestHeader>(wire_type, &mut data)?.id,
                V2 => request = Some(field::<V2Request>(wire_type, &mut data)?.into_command().request),
                PUT => request = Some(Request::Put(field(wire_type, &mut data)?)),
                DELETE_RANGE => request = Some(Request::DeleteRange(field(wire_type, &mut data)?)),
                TXN => request = Some(Request::Txn(field(wire_type, &mut data)?)),
                COMPACTION => request = Some(Request::Compact(field(wire_type, &mut data)?)),
                ALARM => request = Some(Request::Alarm(field(wire_type, &mut data)?)),
                LEASE_GRANT => request = Some(Request::LeaseGrant(field(wire_type, &mut data)?)),
                LEASE_REVOKE => request = Some(Request::LeaseRevoke(field(wire_type, &mut data)?)),
                LEASE_CHECKPOINT => request = Some(Request::LeaseCheckpoint(field(wire_type, &mut data)?)),
                CLUSTER_MEMBER_ATTR_SET => {
                    request = Some(Request::SetMemberAttributes(field(wire_type, &mut data)?));
                }
                CLUSTER_VERSION_SET => {
                    request = Some(Request::SetClusterVersion(field(wire_type, &mut data)?));
                }
                DOWNGRADE_INFO_SET => {
                    request = Some(Request::SetDowngrade(field(wire_type, &mut data)?));
                }
                _ => return Err(CommandError::Unknown(tag)),
            }
        }
        request.map(|request| Command { id, request }).ok_or(CommandError::Empty)
    }
}

impl Request {
    /// Whether it changes the control tables when it is applied.
    pub fn changes_control(&self) -> bool {
        match self {
            Request::Put(_)
            | Request::DeleteRange(_)
            | Request::Txn(_)
            | Request::Compact(_)
            | Request::LeaseGrant(_)
            | Request::LeaseRevoke(_)
            | Request::LeaseCheckpoint(_)
            | Request::V2 => false,
            Request::Alarm(_)
            | Request::SetMemberAttributes(_)
            | Request::SetClusterVersion(_)
            | Request::SetDowngrade(_) => true,
        }
    }

    fn tag_and_len(&self) -> (u32, usize) {
        match self {
            Request::Put(r) => (PUT, r.encoded_len()),
            Request::DeleteRange(r) => (DELETE_RANGE, r.encoded_len()),
            Request::Txn(r) => (TXN, r.encoded_len()),
            Request::Compact(r) => (COMPACTION, r.encoded_len()),
            Request::Alarm(r) => (ALARM, r.encoded_len()),
            Request::LeaseGrant(r) => (LEASE_GRANT, r.encoded_len()),
            Request::LeaseRevoke(r) => (LEASE_REVOKE, r.encoded_len()),
            Request::LeaseCheckpoint(r) => (LEASE_CHECKPOINT, r.encoded_len()),
            Request::SetMemberAttributes(r) => (CLUSTER_MEMBER_ATTR_SET, r.encoded_len()),
            Request::SetClusterVersion(r) => (CLUSTER_VERSION_SET, r.encoded_len()),
            Request::SetDowngrade(r) => (DOWNGRADE_INFO_SET, r.encoded_len()),
            Request::V2 => (V2, 0),
        }
    }
}

fn field<M: Message + Default>(wire_type: WireType, data: &mut Bytes) -> Result<M, DecodeError> {
    let mut message = M::default();
    encoding::message::merge(wire_type, &mut message, data, DecodeContext::default())?;
    Ok(message)
}

/// Why bytes are not a command.
#[derive(Debug, Clone, PartialEq)]
pub enum CommandError {
    /// They are no protobuf message.
    Malformed(DecodeError),
    /// They hold a request, by its field number, that this version does not know.
    Unknown(u32),
    /// They hold no request.
    Empty,
}

impl From<DecodeError> for CommandError {
    fn from(error: DecodeError) -> Self {
        CommandError::Malformed(error)
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommandError::Malformed(error) => write!(f, "not an InternalRaftRequest: {error}"),
            CommandError::Unknown(tag) => write!(f, "request {tag} is not known to this version"),
            CommandError::Empty => f.write_str("no request in it"),
        }
    }
}

impl std::error::Error for CommandError {}

#[cfg(test)]
mod tests {
    use proto::etcdserverpb::InternalRaftRequest;

    use super::*;

    fn put() -> PutRequest {
        PutRequest { key: "k".into(), value: "v".into(), lease: 7, ..PutRequest::default() }
    }

    #[test]
    fn encodes_as_internal_raft_request() {
        let command = Command { id: 9, request: Request::Put(put()) };
        let header = Some(RequestHeader { id: 9, ..RequestHeader::default() });
        let message = InternalRaftRequest { header, put: Some(put()), ..InternalRaftRequest::default() };
        assert_eq!(InternalRaftRequest::decode(command.encode()).unwrap(), message);
        assert_eq!(Command::decode(message.encode_to_vec().into()).unwrap(), command);
    }

    #[test]
    fn short_commands_share_memory() {
        let mut shared = BytesMut::new();
        let mut encode = |value_len: usize| {
            let put = PutRequest { value: vec![7; value_len].into(), ..put() };
            let command = Command { id: 9, request: Request::Put(put) };
            let encoded = command.encode_in(&mut shared);
            assert_eq!(encoded, command.encode());
            encoded.as_ptr_range()
        };
        let (first, long, second) = (encode(100), encode(SHARING_LEN_MAX), encode(200));
        assert_eq!(first.end, second.start);
        assert!(!(first.start..first.start.wrapping_add(SHARED_LEN)).contains(&long.start));
        assert!((0..1000).map(|_| encode(1000)).all(|range| range.start < range.end), "it never runs out");
    }

    #[test]
    fn a_default_request_is_still_told_apart() {
        for request in [
            Request::DeleteRange(DeleteRangeRequest::default()),
            Request::Txn(TxnRequest::default()),
            Request::Compact(CompactionRequest::default()),
            Request::Alarm(AlarmRequest::default()),
            Request::LeaseGrant(LeaseGrantRequest::default()),
            Request::LeaseRevoke(LeaseRevokeRequest::default()),
            Request::LeaseCheckpoint(LeaseCheckpointRequest::default()),
            Request::SetClusterVersion(ClusterVersionSetRequest { ver: "3.7.0".into() }),
            Request::SetDowngrade(DowngradeInfoSetRequest::default()),
            Request::SetMemberAttributes(ClusterMemberAttrSetRequest::default()),
            Request::V2,
        ] {
            let command = Command { id: 1, request };
            assert_eq!(Command::decode(command.encode()).unwrap(), command);
        }
    }

    #[test]
    fn an_unknown_request_is_an_error() {
        let message =
            InternalRaftRequest { auth_status: Some(Default::default()), ..InternalRaftRequest::default() };
        assert!(Command::decode(message.encode_to_vec().into()).is_err());
        assert!(Command::decode(Bytes::new()).is_err());
        assert!(Command::decode(Bytes::from_static(b"\xff\xff")).is_err());
    }
}
