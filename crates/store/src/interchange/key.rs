//! The keys of the bucket `key`: revisions.

use disk::Revision;

/// Greatest main revision that is taken from a file, and greatest sub revision: both leave room to count on.
const MAIN_MAX: i64 = i64::MAX / 4;
const SUB_MAX: i64 = i32::MAX as i64;

/// The revision that a key names, and whether it is that of a tombstone; `None` if the key has another form.
pub(super) fn decode(key: &[u8]) -> Option<(Revision, bool)> {
    let (head, tail) = key.split_first_chunk::<{ Revision::KEY_LEN }>()?;
    let main = i64::from_be_bytes(*head.first_chunk()?);
    let sub = i64::from_be_bytes(*head.last_chunk()?);
    let is_usable = (0..=MAIN_MAX).contains(&main) && (0..=SUB_MAX).contains(&sub) && head[8] == b'_';
    let tombstone = match tail {
        [] => false,
        [b't'] => true,
        _ => return None,
    };
    let revision = Revision { main, sub: u32::try_from(sub).ok()? };
    is_usable.then_some((revision, tombstone))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_read_as_it_is_written() {
        let revision = Revision { main: 1 << 40, sub: 77 };
        assert_eq!(decode(&revision.to_key()), Some((revision, false)));
        assert_eq!(decode(&[&revision.to_key()[..], b"t"].concat()), Some((revision, true)));
    }

    #[test]
    fn other_keys_are_none() {
        let key = Revision { main: 5, sub: 1 }.to_key();
        let changed = |at: usize, byte| {
            let mut key = key;
            key[at] = byte;
            key.to_vec()
        };
        let wrong = [
            key[..16].to_vec(),
            [&key[..], b"x"].concat(),
            [&key[..], b"tt"].concat(),
            changed(0, 0x80),
            changed(0, 0x7f),
            changed(8, b'-'),
            changed(9, 0x80),
            changed(13, 0x80),
        ];
        assert!(wrong.iter().all(|key| decode(key).is_none()));
    }
}
