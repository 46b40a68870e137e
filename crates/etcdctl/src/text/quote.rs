//! Strings in Go's double quotes.

use std::fmt::Write;

/// Puts `text` in quotes; what cannot be printed, and bytes that are not UTF-8, are escaped.
pub(crate) fn quote(text: impl AsRef<[u8]>) -> String {
    let mut quoted = String::from('"');
    for chunk in text.as_ref().utf8_chunks() {
        chunk.valid().chars().for_each(|c| push_escaped(&mut quoted, c));
        for byte in chunk.invalid() {
            push(&mut quoted, format_args!("\\x{byte:02x}"));
        }
    }
    quoted.push('"');
    quoted
}

/// A list of quoted strings in brackets.
pub(crate) fn quote_list<T: AsRef<[u8]>>(texts: &[T]) -> String {
    let quoted: Vec<String> = texts.iter().map(quote).collect();
    format!("[{}]", quoted.join(" "))
}

fn push_escaped(quoted: &mut String, c: char) {
    match c {
        '"' | '\\' => {
            quoted.push('\\');
            quoted.push(c);
        }
        '\x07' => quoted.push_str("\\a"),
        '\x08' => quoted.push_str("\\b"),
        '\x0c' => quoted.push_str("\\f"),
        '\n' => quoted.push_str("\\n"),
        '\r' => quoted.push_str("\\r"),
        '\t' => quoted.push_str("\\t"),
        '\x0b' => quoted.push_str("\\v"),
        c if is_printable(c) => quoted.push(c),
        c if c.is_ascii() => push(quoted, format_args!("\\x{:02x}", u32::from(c))),
        c if c <= '\u{ffff}' => push(quoted, format_args!("\\u{:04x}", u32::from(c))),
        c => push(quoted, format_args!("\\U{:08x}", u32::from(c))),
    }
}

fn push(quoted: &mut String, escaped: std::fmt::Arguments) {
    quoted.write_fmt(escaped).expect("a string takes anything");
}

/// Whether Unicode calls `c` a letter, mark, number, punctuation or symbol, or it is the plain space.
///
/// The standard library knows this, but shows it only in debug output. That escapes other characters, and
/// also one that combines with the character before, unless there is such a character.
fn is_printable(c: char) -> bool {
    c == '\'' || String::from_iter(['a', c]).escape_debug().nth(1) == Some(c)
}

/// Reads a quoted string at the start of `text`: the bytes it stands for and what follows it. Single quotes
/// and characters that Go does not take are refused, with `None`.
pub(crate) fn unquote(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    match text {
        [b'`', rest @ ..] => {
            let end = rest.iter().position(|byte| *byte == b'`')?;
            let raw = rest[..end].iter().copied().filter(|byte| *byte != b'\r').collect();
            Some((raw, &rest[end + 1..]))
        }
        [b'"', rest @ ..] => unescape(rest),
        _ => None,
    }
}

/// Reads up to the closing quote.
fn unescape(mut text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut unquoted = Vec::new();
    loop {
        let (first, rest) = text.split_first()?;
        text = match first {
            b'"' => return Some((unquoted, rest)),
            b'\n' => return None,
            b'\\' => escape(rest, &mut unquoted)?,
            byte => {
                unquoted.push(*byte);
                rest
            }
        };
    }
}

/// Reads the escape after a backslash and returns the text after the escape.
fn escape<'a>(text: &'a [u8], unquoted: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (kind, rest) = text.split_first()?;
    let simple = match kind {
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        b'\\' | b'"' => *kind,
        b'x' => return byte(rest, 2, 16, unquoted),
        b'0'..=b'7' => return byte(text, 3, 8, unquoted),
        b'u' => return character(rest, 4, unquoted),
        b'U' => return character(rest, 8, unquoted),
        _ => return None,
    };
    unquoted.push(simple);
    Some(rest)
}

fn byte<'a>(text: &'a [u8], digits: usize, base: u32, unquoted: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (value, rest) = number(text, digits, base)?;
    unquoted.push(u8::try_from(value).ok()?);
    Some(rest)
}

fn character<'a>(text: &'a [u8], digits: usize, unquoted: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (value, rest) = number(text, digits, 16)?;
    unquoted.extend_from_slice(char::from_u32(value)?.encode_utf8(&mut [0; 4]).as_bytes());
    Some(rest)
}

fn number(text: &[u8], digits: usize, base: u32) -> Option<(u32, &[u8])> {
    let (head, rest) = text.split_at_checked(digits)?;
    let digit = |byte: &u8| char::from(*byte).to_digit(base);
    let value = head.iter().try_fold(0u32, |value, byte| Some(value.wrapping_mul(base) + digit(byte)?))?;
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_printed_is_escaped() {
        let text = b"a\"\\\n\x00\x7f\xff\xe2\x80\x8b\xc2\xa0\xcc\x81\xe2\x82\xac'\xf3\xa0\x80\x81";
        assert_eq!(quote(text), "\"a\\\"\\\\\\n\\x00\\x7f\\xff\\u200b\\u00a0\u{301}€'\\U000e0001\"");
    }

    #[test]
    fn escapes_stand_for_bytes() {
        let (bytes, rest) = unquote(br#""a\tb\x00\101\u20ac" rest"#).unwrap();
        assert_eq!(bytes, "a\tb\0A€".as_bytes());
        assert_eq!(rest, b" rest");
        assert_eq!(unquote(b"`a\\b`").unwrap().0, b"a\\b");
    }

    #[test]
    fn unknown_escapes_and_open_ends_are_refused() {
        for text in [r#""\q""#, r#""a"#, r#""\'""#, r#""\400""#, r#""\ud800""#, "'a'", "a", "", "`a"] {
            assert_eq!(unquote(text.as_bytes()), None, "{text}");
        }
    }
}
