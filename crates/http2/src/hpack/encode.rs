//! The encoder of header blocks: static names and plain literals.
//!
//! [`encode`] never adds to the peer's table, so a block can be made once and sent on any connection, and
//! sending it is a copy. A response of gRPC is some forty bytes longer for it. Who wants to use the table
//! keeps count of what it has added: [`encode_entry`] adds, [`encode_newer`] refers to it.

use super::table::STATIC;

/// Tells the peer that its table is not used. Due at the start of the next block once the peer has lowered
/// `SETTINGS_HEADER_TABLE_SIZE`; holds for good.
pub const NO_TABLE: u8 = 0x20;

/// Appends a block of fields, pseudo fields first, names in lower case.
pub fn encode<'a>(fields: impl IntoIterator<Item = (&'a str, &'a [u8])>, block: &mut Vec<u8>) {
    for (name, value) in fields {
        match place(|(n, v)| n == name && v.as_bytes() == value) {
            Some(index) => put_integer(block, 0x80, 7, index),
            None => put_literal(block, (0, 4), name, value),
        }
    }
}

/// Appends a field that the peer adds to its table, as the newest entry.
pub fn encode_entry(name: &str, value: &[u8], block: &mut Vec<u8>) {
    put_literal(block, (0x40, 6), name, value);
}

/// Appends the field of the entry of the peer's table to which `newer` entries have been added since.
pub fn encode_newer(newer: usize, block: &mut Vec<u8>) {
    put_integer(block, 0x80, 7, STATIC.len() + 1 + newer);
}

/// Appends a field whose kind is told by `flags`, which leave `prefix_len` bits for the name.
fn put_literal(block: &mut Vec<u8>, (flags, prefix_len): (u8, u32), name: &str, value: &[u8]) {
    match place(|(n, _)| n == name) {
        Some(index) => put_integer(block, flags, prefix_len, index),
        None => {
            block.push(flags);
            put_string(block, name.as_bytes());
        }
    }
    put_string(block, value);
}

/// The index of the first static field that matches.
fn place(matches: impl Fn((&str, &str)) -> bool) -> Option<usize> {
    STATIC.iter().position(|field| matches(*field)).map(|at| at + 1)
}

fn put_string(block: &mut Vec<u8>, string: &[u8]) {
    put_integer(block, 0, 7, string.len());
    block.extend_from_slice(string);
}

fn put_integer(block: &mut Vec<u8>, flags: u8, prefix_len: u32, value: usize) {
    let prefix_max = (1 << prefix_len) - 1;
    if value < prefix_max {
        block.push(flags | value as u8);
        return;
    }
    block.push(flags | prefix_max as u8);
    let mut rest = value - prefix_max;
    while rest >= 0x80 {
        block.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    block.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::{Decoder, Field};
    use super::*;

    #[test]
    fn fields_are_decoded_as_they_were_and_leave_no_trace() {
        let long = "x".repeat(40_000);
        let list = [
            (":status", "200"),
            (":status", "415"),
            ("content-type", "application/grpc"),
            ("grpc-status", "0"),
            ("grpc-message", long.as_str()),
            ("grpc-message", ""),
        ];
        let mut block = Vec::new();
        encode(list.map(|(name, value)| (name, value.as_bytes())), &mut block);
        let mut decoder = Decoder::default();
        let mut fields = Vec::new();
        assert_eq!(decoder.decode(&block, 1 << 20, &mut fields), Ok(true));
        let text = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        assert_eq!(fields, list.map(|(name, value)| Field { name: text(name), value: text(value) }));
        assert_eq!(decoder.n_changes(), 0);
    }

    #[test]
    fn entries_are_found_by_how_many_are_newer() {
        let mut block = Vec::new();
        for (name, value) in [(":path", "/x"), ("te", "trailers"), ("content-type", "text")] {
            encode_entry(name, value.as_bytes(), &mut block);
        }
        for newer in [2, 0] {
            encode_newer(newer, &mut block);
        }
        let (mut decoder, mut fields) = (Decoder::default(), Vec::new());
        assert_eq!(decoder.decode(&block, 1 << 20, &mut fields), Ok(true));
        assert_eq!((fields[3].clone(), fields[4].clone()), (fields[0].clone(), fields[2].clone()));
        assert_eq!((&fields[1].name[..], decoder.n_changes()), (&b"te"[..], 3));
    }

    #[test]
    fn known_fields_are_one_byte() {
        let mut block = Vec::new();
        encode([(":status", &b"200"[..])], &mut block);
        assert_eq!(block, [0x88]);
    }
}
