//! Bytes of a client as Go's `%q` prints them, in texts that repeat what a client has sent.
//!
//! The texts are etcd's, whose users search for them. What is repeated is cut, so that a short request
//! cannot make a long answer: a header of 4 KB is one byte on the wire once it is in the table of the
//! header compression.

use std::fmt::Write;

/// Bytes of a client that a text repeats, before quoting; what follows is left out.
pub(super) const QUOTED_LEN_MAX: usize = 128;

/// Quotes the beginning of `bytes`, with an ellipsis behind the quotes if that is not all.
pub(super) fn quote(bytes: &[u8]) -> String {
    let (shown, is_cut) = match bytes.get(..QUOTED_LEN_MAX) {
        Some(start) if bytes.len() > QUOTED_LEN_MAX => (without_part_of_char(start), true),
        _ => (bytes, false),
    };
    let mut text = String::with_capacity(shown.len() + 2);
    text.push('"');
    for chunk in shown.utf8_chunks() {
        chunk.valid().chars().for_each(|c| put_char(c, &mut text));
        chunk.invalid().iter().for_each(|byte| put_hex(*byte, &mut text));
    }
    text.push_str(if is_cut { "\"..." } else { "\"" });
    text
}

/// The same bytes without a character at their end of which only the first bytes are there.
fn without_part_of_char(bytes: &[u8]) -> &[u8] {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => bytes.get(..error.valid_up_to()).unwrap_or(bytes),
        _ => bytes,
    }
}

fn put_char(c: char, text: &mut String) {
    match c {
        '"' | '\\' => text.extend(['\\', c]),
        '\u{7}' => text.push_str("\\a"),
        '\u{8}' => text.push_str("\\b"),
        '\u{c}' => text.push_str("\\f"),
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        '\u{b}' => text.push_str("\\v"),
        '\0'..' ' | '\u{7f}' => put_hex(c as u8, text),
        ' '..='~' => text.push(c),
        _ if !c.is_control() && !c.is_whitespace() => text.push(c),
        '\u{80}'..='\u{ffff}' => text.push_str(&format!("\\u{:04x}", c as u32)),
        _ => text.push_str(&format!("\\U{:08x}", c as u32)),
    }
}

fn put_hex(byte: u8, text: &mut String) {
    // Writing to a String does not fail.
    let _ = write!(text, "\\x{byte:02x}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_quoted_as_go_does() {
        assert_eq!(quote(b""), r#""""#);
        assert_eq!(quote(b"text/html; x=\"1\""), r#""text/html; x=\"1\"""#);
        assert_eq!(quote(b"it's\t\x00\x7f\\"), r#""it's\t\x00\x7f\\""#);
        assert_eq!(quote(b"\xc3\xa9\xff"), "\"\u{e9}\\xff\"");
        assert_eq!(quote("\u{80}\u{2028}".as_bytes()), r#""\u0080\u2028""#);
    }

    #[test]
    fn long_bytes_are_cut_between_characters() {
        let exact = "x".repeat(QUOTED_LEN_MAX);
        assert_eq!(quote(exact.as_bytes()), format!("\"{exact}\""));
        assert_eq!(quote(format!("{exact}y").as_bytes()), format!("\"{exact}\"..."));
        let split = format!("{}\u{e9}", "x".repeat(QUOTED_LEN_MAX - 1));
        assert_eq!(quote(split.as_bytes()), format!("\"{}\"...", "x".repeat(QUOTED_LEN_MAX - 1)));
        assert_eq!(quote(&[0xff; 1 << 16]).len(), 4 * QUOTED_LEN_MAX + 5);
    }
}
