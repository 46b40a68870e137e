//! The bytes of a stored key: `mvccpb.KeyValue` as Go writes it.
//!
//! These bytes are encoded once, when a change is applied, and copied ever after: into answers, events and
//! hashes. They must equal what etcd would store (fields in number order, zeros left out), since HashKV is
//! computed over them. Field numbers: 1 key, 2 create_revision, 3 mod_revision, 4 version, 5 value, 6 lease.

use bytes::Bytes;
use prost::encoding::encoded_len_varint;
use proto::wire::{message_field_len, put_bytes, put_int};

const KEY: u8 = 0x0a;
const CREATE_REVISION: u8 = 0x10;
const MOD_REVISION: u8 = 0x18;
const VERSION: u8 = 0x20;
const VALUE: u8 = 0x2a;
const LEASE: u8 = 0x30;

/// A key as it is about to be stored.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct KeyValue<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) create_revision: i64,
    pub(crate) mod_revision: i64,
    pub(crate) version: i64,
    pub(crate) value: &'a [u8],
    pub(crate) lease: i64,
}

impl KeyValue<'_> {
    /// Appends the protobuf bytes to `out`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, KEY, self.key);
        put_int(out, CREATE_REVISION, self.create_revision);
        put_int(out, MOD_REVISION, self.mod_revision);
        put_int(out, VERSION, self.version);
        put_bytes(out, VALUE, self.value);
        put_int(out, LEASE, self.lease);
    }

    /// Bytes that [`KeyValue::encode`] appends.
    pub(crate) fn encoded_len(&self) -> usize {
        let int_len = |value: i64| if value == 0 { 0 } else { 1 + encoded_len_varint(value.cast_unsigned()) };
        let bytes_len = |bytes: &[u8]| if bytes.is_empty() { 0 } else { message_field_len(bytes.len()) };
        let numbers = [self.create_revision, self.mod_revision, self.version, self.lease];
        bytes_len(self.key) + bytes_len(self.value) + numbers.map(int_len).iter().sum::<usize>()
    }
}

/// A stored key taken apart, sharing the stored bytes.
pub(crate) fn decode(stored: &Bytes) -> proto::mvccpb::KeyValue {
    prost::Message::decode(stored.clone()).expect("the record's checksum was right, and we wrote it")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    proptest! {
        #[test]
        fn equals_the_generated_encoding(
            key in prop::collection::vec(any::<u8>(), 0..40),
            value in prop::collection::vec(any::<u8>(), 0..300),
            numbers in any::<[i64; 4]>(),
        ) {
            let [create_revision, mod_revision, version, lease] = numbers;
            let ours = KeyValue { key: &key, create_revision, mod_revision, version, value: &value, lease };
            let mut out = Vec::new();
            ours.encode(&mut out);
            let generated = proto::mvccpb::KeyValue {
                key: key.clone().into(), create_revision, mod_revision, version, value: value.clone().into(), lease,
            };
            prop_assert_eq!(&out, &generated.encode_to_vec());
            prop_assert_eq!(out.len(), ours.encoded_len());
            prop_assert_eq!(decode(&out.into()), generated);
        }
    }
}
