//! From header blocks to the heads of requests, remembering the last few.
//!
//! A client that repeats a call sends the same block again. If such a block has added nothing to the table,
//! it means the same for as long as the table stays: then its head is found by comparing some bytes, and
//! shared.

use std::rc::Rc;

use bytes::Bytes;

use crate::head::{self, Head, Malformed};
use crate::hpack::{Corrupt, Decoder, FIELD_OVERHEAD, Field};
use crate::limits::HEADER_LIST_LEN_MAX;

/// Blocks remembered: the calls that a client alternates between.
const KNOWN_MAX: usize = 4;

/// Longest block remembered, in bytes.
const KNOWN_LEN_MAX: usize = 256;

/// A decoded section of headers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Request(Rc<Head>),
    /// Longer than the limit.
    TooLong,
    Malformed,
}

/// The receiving side of header compression.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    decoder: Decoder,
    known: Vec<Known>,
    /// The next to be replaced.
    next_replaced: usize,
    /// Work done for blocks and not yet reported: the bytes of blocks, and of the fields that came out of
    /// them.
    cost: usize,
}

#[derive(Debug)]
struct Known {
    n_changes: u64,
    block: Bytes,
    head: Rc<Head>,
}

impl Heads {
    /// The work done since the last call, as much as copying so many bytes.
    pub(crate) fn take_cost(&mut self) -> usize {
        std::mem::take(&mut self.cost)
    }

    /// Reads the block of a request.
    pub(crate) fn request(&mut self, block: &[u8]) -> Result<Section, Corrupt> {
        self.cost += block.len();
        let n_changes = self.decoder.n_changes();
        let is_known = |known: &&Known| known.n_changes == n_changes && known.block == block;
        if let Some(known) = self.known.iter().find(is_known) {
            return Ok(Section::Request(Rc::clone(&known.head)));
        }
        let Some(fields) = self.fields(block)? else { return Ok(Section::TooLong) };
        let Ok(head) = Head::new(fields) else { return Ok(Section::Malformed) };
        let head = Rc::new(head);
        if self.decoder.n_changes() == n_changes && block.len() <= KNOWN_LEN_MAX {
            let block = Bytes::copy_from_slice(block);
            self.remember(Known { n_changes, block, head: Rc::clone(&head) });
        }
        Ok(Section::Request(head))
    }

    /// Reads and checks the block of a request's trailers, which are then dropped.
    pub(crate) fn trailers(&mut self, block: &[u8]) -> Result<Result<(), Malformed>, Corrupt> {
        self.cost += block.len();
        let fields = self.fields(block)?;
        Ok(fields.ok_or(Malformed).and_then(|fields| head::check_trailers(&fields)))
    }

    /// The fields of a block, or nothing if they are too long.
    fn fields(&mut self, block: &[u8]) -> Result<Option<Vec<Field>>, Corrupt> {
        let mut fields = Vec::with_capacity(8);
        let is_short = self.decoder.decode(block, HEADER_LIST_LEN_MAX, &mut fields)?;
        self.cost += fields.iter().map(Field::len).sum::<usize>();
        if !is_short {
            // Each byte of the block may have been a field that was looked up and left out.
            self.cost += FIELD_OVERHEAD * block.len();
        }
        Ok(is_short.then_some(fields))
    }

    fn remember(&mut self, known: Known) {
        if self.known.len() < KNOWN_MAX {
            self.known.push(known);
            return;
        }
        self.known[self.next_replaced] = known;
        self.next_replaced = (self.next_replaced + 1) % KNOWN_MAX;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// POST http /x, the path as a literal that is not indexed.
    const BLOCK: &[u8] = b"\x83\x86\x04\x02/x";

    fn request(heads: &mut Heads, block: &[u8]) -> Rc<Head> {
        match heads.request(block).unwrap() {
            Section::Request(head) => head,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn equal_blocks_share_a_head() {
        let mut heads = Heads::default();
        let (first, second) = (request(&mut heads, BLOCK), request(&mut heads, BLOCK));
        assert!(Rc::ptr_eq(&first, &second));
    }

    #[test]
    fn changed_table_makes_equal_blocks_differ() {
        let mut heads = Heads::default();
        request(&mut heads, b"\x83\x86\x04\x02/x\x40\x01a\x01\x31");
        let block = b"\x83\x86\x04\x02/x\xbe";
        assert_eq!(request(&mut heads, block).get("a").unwrap(), "1");
        request(&mut heads, b"\x83\x86\x04\x02/x\x40\x01b\x01\x32");
        let changed = request(&mut heads, block);
        assert_eq!((changed.get("a"), changed.get("b").map(|b| &b[..])), (None, Some(&b"2"[..])));
    }

    #[test]
    fn block_that_changes_the_table_is_never_taken_for_known() {
        let mut heads = Heads::default();
        let block = b"\x83\x86\x04\x02/x\x40\x01a\x01\x31";
        assert!(!Rc::ptr_eq(&request(&mut heads, block), &request(&mut heads, block)));
        assert_eq!(heads.decoder.n_changes(), 2);
    }

    #[test]
    fn only_the_last_few_are_kept() {
        let mut heads = Heads::default();
        for name in 0..10 {
            request(&mut heads, &[0x83, 0x86, 0x04, 2, b'/', b'a' + name]);
        }
        assert_eq!(heads.known.len(), KNOWN_MAX);
    }
}
