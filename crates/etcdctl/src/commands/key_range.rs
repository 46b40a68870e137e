//! The range of keys that the arguments of a command name.

use bytes::Bytes;

use crate::cli::Values;
use crate::failure::Failure;

/// As a key, the lowest one. As a range end, it means that the range has no end.
const ZERO: Bytes = Bytes::from_static(b"\0");

/// A key, and the end of the range that begins with it: exclusive, empty for the key alone, zero for all that
/// follow.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KeyRange {
    pub(super) key: Bytes,
    pub(super) end: Bytes,
}

/// Reads `<key> [range_end]` with the flags `--prefix` and `--from-key`.
pub(super) fn read(flags: &Values, args: &[Bytes]) -> Result<KeyRange, Failure> {
    let (prefix, from_key) = (flags.bool("prefix"), flags.bool("from-key"));
    if (prefix || from_key) && args.len() > 1 {
        return Err(Failure::bad_args(
            "too many arguments, only accept one argument when `--prefix` or `--from-key` is set",
        ));
    }
    let key = args[0].clone();
    if from_key {
        return Ok(KeyRange { key: if key.is_empty() { ZERO } else { key }, end: ZERO });
    }
    if prefix {
        return Ok(with_prefix(key));
    }
    Ok(KeyRange { key, end: args.get(1).cloned().unwrap_or_default() })
}

/// Refuses `--prefix` together with `--from-key`.
pub(super) fn check_flags(flags: &Values) -> Result<(), Failure> {
    if flags.bool("prefix") && flags.bool("from-key") {
        return Err(Failure::bad_args(
            "`--prefix` and `--from-key` cannot be set at the same time, choose one",
        ));
    }
    Ok(())
}

/// All keys that begin with `prefix`.
pub(super) fn with_prefix(prefix: Bytes) -> KeyRange {
    if prefix.is_empty() {
        return KeyRange { key: ZERO, end: ZERO };
    }
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return KeyRange { key: prefix, end: end.into() };
        }
    }
    KeyRange { key: prefix, end: ZERO }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next_one() {
        for (prefix, end) in [("a", "b"), ("a\u{7f}", "a\u{80}"), ("", "\0")] {
            let prefix = Bytes::copy_from_slice(prefix.as_bytes());
            let end: Vec<u8> = end.chars().map(|c| c as u8).collect();
            assert_eq!(with_prefix(prefix).end, end);
        }
        assert_eq!(with_prefix(Bytes::from_static(b"a\xff\xff")).end, &b"b"[..]);
        assert_eq!(with_prefix(Bytes::from_static(b"\xff")).end, ZERO);
    }
}
