//! The identity of a change: which transaction of the store made it, and which change of that transaction it is.

/// A revision: `main` grows by one with each transaction that changes anything, `sub` counts the changes within it
/// from 0. Ordered as the changes happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision {
    /// The transaction; what clients call the revision.
    pub main: i64,
    /// The change within the transaction.
    pub sub: u32,
}

impl Revision {
    /// Length of [`Revision::to_key`], bytes.
    pub const KEY_LEN: usize = 17;

    /// The name of this change in etcd's `key` bucket, which hashes of the store are fed with: `main` as 8 bytes,
    /// `_`, `sub` as 8 bytes, both big-endian. The name of a tombstone continues with a `t`.
    pub fn to_key(self) -> [u8; Self::KEY_LEN] {
        let mut key = [b'_'; Self::KEY_LEN];
        key[..8].copy_from_slice(&self.main.to_be_bytes());
        key[9..].copy_from_slice(&i64::from(self.sub).to_be_bytes());
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_keys_sort_as_the_revisions_do() {
        let revision = |main, sub| Revision { main, sub };
        let ordered = [revision(1, 0), revision(1, 2), revision(2, 0), revision(256, 1), revision(257, 0)];
        assert!(ordered.is_sorted());
        assert!(ordered.map(Revision::to_key).is_sorted());
    }

    #[test]
    fn bucket_key_is_two_big_endian_numbers_around_an_underscore() {
        let key = Revision { main: 0x0102, sub: 3 }.to_key();
        assert_eq!(key, *b"\0\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03");
    }
}
