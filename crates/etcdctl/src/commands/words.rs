//! Splits a line of input into words.

use bytes::Bytes;

use crate::failure::{Failure, INVALID_INPUT};
use crate::text::unquote;

/// Splits a line at blanks. Words in double quotes may have blanks and Go's escapes. Words in single quotes
/// are taken literally. A quote that is not closed is ignored.
pub(super) fn split(line: &[u8]) -> Result<Vec<Bytes>, Failure> {
    let mut words = Vec::new();
    let mut rest = line;
    while let Some((first, after)) = rest.split_first() {
        if is_blank(*first) {
            rest = after;
            continue;
        }
        let word_end = match first {
            b'"' => closing_quote(after),
            b'\'' => after.iter().position(|byte| *byte == b'\''),
            _ => {
                let end = rest.iter().position(|byte| is_blank(*byte)).unwrap_or(rest.len());
                words.push(Bytes::copy_from_slice(&rest[..end]));
                rest = &rest[end..];
                continue;
            }
        };
        let Some(end) = word_end else {
            rest = after;
            continue;
        };
        words.push(match first {
            b'"' => {
                let word = unquote(rest).ok_or_else(|| Failure::new(INVALID_INPUT, "invalid syntax"))?;
                word.0.into()
            }
            _ => Bytes::copy_from_slice(&after[..end]),
        });
        rest = &after[end + 1..];
    }
    Ok(words)
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | b'\x0c' | b'\r' | b' ')
}

/// The position of the first double quote without a backslash before it.
fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match text.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hold_words_together() {
        let words = split(br#"put  k "a \"b\"\x41" 'c "d' e"f "open"#).unwrap();
        let expected: [&[u8]; 6] = [b"put", b"k", b"a \"b\"A", b"c \"d", b"e\"f", b"open"];
        assert_eq!(words, expected);
    }

    #[test]
    fn an_unknown_escape_is_refused() {
        assert!(split(br#"put k "\q""#).is_err());
    }
}
